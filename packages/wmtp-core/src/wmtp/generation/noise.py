"""Counter-based Gumbel noise: a pure function of (seed, evaluator, problem, sample index, position, token).

So a sample depends on nothing but its own name: not on batch size, order, neighbours, resume, or speculation, which draws
draft and target under the same noise (Daliri, Musco, Suresh: drafter-invariant decoding, arXiv 2408.07978).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence

import torch
from torch import Tensor

_GOLDEN, _M1, _M2 = -1640531527, -2048144789, -1028477387  # 0x9E3779B1 and murmur3's finaliser, as int32


def row_key(seed: int, evaluator: str, problem: str, index: int) -> bytes:
    """The key of one sample's noise. Lengths are hashed with the texts, so that no two names run together."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (str(seed), evaluator, problem, str(index)):
        data = part.encode("utf-8", "surrogatepass")
        digest.update(struct.pack("<Q", len(data)) + data)
    return digest.digest()


def _words(key: bytes, position: int) -> tuple[int, int]:
    digest = hashlib.blake2b(struct.pack("<Q", position), digest_size=8, key=key).digest()
    first, second = struct.unpack("<ii", digest)
    return first, second


def _mix(x: Tensor) -> Tensor:
    """murmur3's finaliser on int32, whose products wrap around. Shifts are arithmetic, so their sign bits are masked."""
    x = (x ^ ((x >> 16) & 0xFFFF)) * _M1
    x = (x ^ ((x >> 13) & 0x7FFFF)) * _M2
    return x ^ ((x >> 16) & 0xFFFF)


def uniform_bits(
    noise_keys: Sequence[tuple[bytes, int]], vocabulary: int, device: torch.device | str = "cpu"
) -> Tensor:
    """32 hashed bits for each (row key, position) and token: int32 [keys, vocabulary]."""
    words = torch.tensor([_words(key, position) for key, position in noise_keys], dtype=torch.int32, device=device)
    tokens = torch.arange(vocabulary, dtype=torch.int32, device=device) * _GOLDEN
    mixed = _mix(tokens[None] ^ words[:, :1])
    return _mix(mixed ^ words[:, 1:])


def gumbel(noise_keys: Sequence[tuple[bytes, int]], vocabulary: int, device: torch.device | str = "cpu") -> Tensor:
    """Standard Gumbel noise, float32 [keys, vocabulary].

    The uniform is taken near 0, where float32 is fine: an exponential is −log1p(−v), and the token with the smallest
    one wins.
    """
    bits = uniform_bits(noise_keys, vocabulary, device)
    v = (bits.to(torch.float32) + 2147483648.5) * 2.0**-32
    exponential = -torch.log1p(-v.clamp(2.0**-33, 1.0 - 2.0**-24))
    return -torch.log(exponential)
