"""An odd-even sorting network whose swaps are probabilities, hence differentiable."""

from __future__ import annotations

import math

import torch
from torch import Tensor

TIE_WIDTH = 1e-3
"""Differences well below this count as ties: there the relaxation is linear in them."""


def swap_free_probability(difference: Tensor, steepness: float, sharpening: float) -> Tensor:
    r"""Probability that two values whose later minus earlier one is `difference` stay in place.

    .. math::
        f(x) = \tfrac12 + \tfrac1\pi \arctan(\beta \varphi(x)), \qquad
        \varphi(x) = x / (x^2 + \epsilon^2)^{\lambda / 2}

    The Cauchy distribution function, whose heavy tails keep the network
    monotonic (Petersen et al. 2022, arXiv 2203.09630), of a difference of which
    small ones are magnified (the activation replacement trick of Petersen et al.
    2021, arXiv 2105.04019). Deviation: their φ has slope 1e10 at a tie, which turns the
    gradient of two equal rows into noise; here it is ε^-λ, with ε = `TIE_WIDTH`.
    """
    magnified = difference / (difference.square() + TIE_WIDTH**2) ** (sharpening / 2)
    # The angle form keeps the digits of probabilities near 0.
    return torch.atan2(torch.ones_like(magnified), -steepness * magnified) / math.pi


def sort_relaxed(
    values: Tensor, steepness: float = 1.0, sharpening: float = 0.25
) -> tuple[Tensor, list[Tensor]]:
    """Each row sorted towards ascending order, and the gates that did it.

    Args:
        values: (M, n).
        steepness: β above 0; the network tends to a hard sort as it grows.
        sharpening: λ in [0, 1).

    Returns:
        (M, n) relaxed sorted values, and n gates: probabilities (M, pairs) with
        which the neighbouring pairs of each layer stay in place.
    """
    count = values.shape[1]
    gates = []
    for layer in range(count):
        left, right = _pairs(values, layer % 2)
        stay = swap_free_probability(right - left, steepness, sharpening)
        gates.append(stay)
        values = _mixed(values, stay, layer % 2)
    return values, gates


def rank_mass(gates: list[Tensor], ranks: Tensor) -> Tensor:
    """How much of every element's probability lies on some ranks, for gates of `sort_relaxed`.

    The relaxed permutation matrix is the product of the layers, P = S_n ... S_1,
    and each S is symmetric. What is asked for is Pᵀ ranks = S_1 ... S_n ranks: a vector
    is carried back through the layers, and no n x n matrix is stored for any row.

    Args:
        gates: n tensors (M, pairs).
        ranks: (M, n) or (1, n) weight of each rank, for instance 1 where it is asked about.

    Returns:
        (M, n) sum over ranks of the probability of the element times the rank's weight.
    """
    for layer in reversed(range(len(gates))):
        ranks = _mixed(ranks, gates[layer], layer % 2)
    return ranks


def _pairs(values: Tensor, start: int) -> tuple[Tensor, Tensor]:
    stop = start + 2 * ((values.shape[1] - start) // 2)
    return values[:, start:stop:2], values[:, start + 1 : stop : 2]


def _mixed(values: Tensor, stay: Tensor, start: int) -> Tensor:
    if stay.shape[1] == 0:
        return values
    left, right = _pairs(values, start)
    first, second = stay * left + (1 - stay) * right, stay * right + (1 - stay) * left
    inner = torch.stack([first, second], dim=2).flatten(1)
    stop = start + inner.shape[1]
    rows = inner.shape[0]
    ends = values[:, :start].expand(rows, -1), values[:, stop:].expand(rows, -1)
    return torch.cat([ends[0], inner, ends[1]], dim=1)
