"""One random number per edge, from its two nodes and a seed; as graphcl/native/sources/edge_hash.h.

The compiled kernels draw it where they need it, so that a random subset of edges is a seed and not
a list. This is the same in torch, bit for bit, on any device.
"""

from __future__ import annotations

import torch
from torch import Tensor

WHOLE = 1 << 30
"""Draws lie in [0, WHOLE); an edge stays when its draw is below its threshold."""
_WORD = 0xFFFFFFFF


def draw_seed(generator: torch.Generator | None) -> int:
    """A seed of 62 bits from the generator, or from torch's global one."""
    device = None if generator is None else generator.device
    return int(torch.randint(1 << 62, (1,), generator=generator, device=device))


def edge_draws(first: Tensor, second: Tensor, seed: int) -> Tensor:
    """(E,) int64 in [0, 2^30) for pairs of ids (E,), (E,) below 2^32; order matters."""
    low, high = seed & _WORD, seed >> 32
    mixed = _mixed((first.long() + low) & _WORD) + second.long()
    return _mixed((mixed & _WORD) ^ high) >> 2


def thresholds(probability: Tensor | float) -> Tensor:
    """int32 thresholds below which the draws lie with probabilities in [0, 1]; 0 and 1 exactly."""
    given = torch.as_tensor(probability, dtype=torch.float64)
    return (given * WHOLE).round().to(torch.int32)


def _mixed(x: Tensor) -> Tensor:
    x = x ^ (x >> 16)
    x = _times(x, 0x21F0AAAD)
    x = x ^ (x >> 15)
    x = _times(x, 0x735A2D97)
    return x ^ (x >> 15)


def _times(x: Tensor, factor: int) -> Tensor:
    # Products of 32-bit numbers may pass 2^63: the high half of x counts modulo 2^32 only.
    low, high = x & 0xFFFF, x >> 16
    return (low * factor + (((high * factor) & 0xFFFF) << 16)) & _WORD
