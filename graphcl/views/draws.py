"""Random draws for views: reproducible, and shared by both directions of an edge.

An undirected graph lists every edge twice. To treat both listings alike without sorting
or looking for reverse edges, `uniform_per_pair` hashes the unordered pair {u, v} together with
a seed drawn from the generator (SplitMix64, Steele, Lea & Flood, OOPSLA 2014). The draw then
depends on the pair alone: not on direction, position or device.
"""

from __future__ import annotations

import torch
from torch import Tensor

# SplitMix64's increment and multipliers, written as signed 64-bit integers.
_INCREMENT = -7046029254386353131
_FIRST_MULTIPLIER = -4658895280553007687
_SECOND_MULTIPLIER = -7723592293110705685


def uniform(size: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
    """(size,) float32, uniform on [0, 1). Drawn where the generator lives, then moved.

    A CPU generator therefore gives the same view of a graph on any device.
    """
    source = generator.device if generator is not None else device
    return torch.rand(size, generator=generator, device=source).to(device)


def uniform_per_pair(edge_index: Tensor, generator: torch.Generator | None) -> Tensor:
    """(E,) float32, uniform on [0, 1), equal for all listings of one unordered node pair.

    Distinct pairs are independent. Takes one integer from the generator. Needs node ids below
    2^31. Values are multiples of 2^-24.
    """
    seed = torch.empty((), dtype=torch.int64, device=_device(generator, edge_index))
    seed = seed.random_(generator=generator).to(edge_index.device)
    source, target = edge_index[0].long(), edge_index[1].long()
    state = torch.minimum(source, target)
    state = state.bitwise_left_shift_(32).bitwise_or_(torch.maximum(source, target))
    # In place: `state` is our own, and passes over memory are what this costs.
    state.mul_(_INCREMENT).add_(seed)
    state.bitwise_xor_(_shift_right(state, 30)).mul_(_FIRST_MULTIPLIER)
    state.bitwise_xor_(_shift_right(state, 27)).mul_(_SECOND_MULTIPLIER)
    # SplitMix64 folds once more to mend the low bits; only the high 24 are used here.
    return _shift_right(state, 40).to(torch.float32).mul_(2.0**-24)


def _shift_right(bits: Tensor, count: int) -> Tensor:
    """The shift that moves zeros in; torch's own copies the sign bit."""
    return (bits >> count).bitwise_and_((1 << (64 - count)) - 1)


def _device(generator: torch.Generator | None, like: Tensor) -> torch.device:
    return generator.device if generator is not None else like.device
