"""A Ray cluster of two small nodes on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

os.environ.setdefault("RAY_ENABLE_UINT", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
STORE_BYTES = 80 * 2**20


@pytest.fixture
def cluster() -> Iterator[Any]:
    ray = pytest.importorskip("ray", reason="needs wmtp-ray")
    from ray.cluster_utils import Cluster

    made = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 1,
            "object_store_memory": STORE_BYTES,
            "include_dashboard": False,
            "resources": {"head": 1},
        },
    )
    made.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
    yield made
    ray.shutdown()
    made.shutdown()
