"""The seed of a request."""

from __future__ import annotations

import hashlib
import json

import wmtp

SEEDS = 2**32 - 1
"""2**32 − 1 itself means *random* to llama.cpp's server."""


def request_seed(seed: int, key: wmtp.SampleKey) -> int:
    """A seed of 32 bits for one sample: a hash of the run's seed and the sample's key, so the same for every attempt.

    Hashed and not counted up: llama.cpp gives the choices of one request the seeds s, s + 1, s + 2, so neighbouring seeds
    would give neighbouring samples one text.
    """
    name = json.dumps([seed, key.evaluator, key.problem, key.index], ensure_ascii=True).encode()
    return int.from_bytes(hashlib.sha256(name).digest()[:8], "big") % SEEDS
