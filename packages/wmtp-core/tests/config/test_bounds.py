"""Numbers that no machine can serve are refused where they are written, before anything is started."""

from __future__ import annotations

import pytest

import wmtp


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sampling.n", 10**9),
        ("sampling.n", 10**20),
        ("sampling.max_new_tokens", 10**20),
        ("batch_size", 10**20),
    ],
)
def test_a_number_out_of_reach_is_refused_in_the_recipe(key: str, value: int) -> None:
    plugins = wmtp.create_plugin_manager()
    with pytest.raises(wmtp.ConfigError, match=rf"recipe\.eval\.{key} .*: must be at most \d+, not {value}"):
        wmtp.load_recipe(None, plugins=plugins, overrides=[f"eval.{key}={value}"])


@pytest.mark.parametrize("key", ["judging.workers", "devices.threads", "devices.replicas"])
def test_a_number_out_of_reach_is_refused_in_the_config(key: str) -> None:
    with pytest.raises(wmtp.ConfigError, match=rf"config\.{key} .*: must be at most \d+"):
        wmtp.load_config(None, plugins=wmtp.create_plugin_manager(), overrides=[f"{key}=1000000000"])
