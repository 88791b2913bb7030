"""A differentiable histogram of the products of all pairs of rows, in linear memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from graphcl.kernels.contrast.checks import full_precision

# Products held at a time.
_ENTRIES_PER_CHUNK = 1 << 18


def soft_histogram(u: Tensor, v: Tensor, knots: int) -> Tensor:
    """The share of the products <u_i, v_j>, i ≠ j, at each of `knots` equal steps of [-1, 1].

    A product between two knots counts for both, in proportion to its nearness
    (linear interpolation), so that the sum of f(knot) times share is the mean of f's
    piecewise linear interpolant over all pairs. That is also what is differentiated.

    Args:
        u, v: (N, d) rows of length one, or 0.
        knots: at least 2.

    Returns:
        (knots,) of sum 1, or 0 where N < 2; differentiable once. Memory O(N d + knots).
    """
    shares: Tensor = _SoftHistogram.apply(u, v, knots)
    return shares


class _SoftHistogram(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, v: Tensor, knots: int) -> Tensor:
        ctx.save_for_backward(u, v)
        ctx.knots = knots
        counts = torch.zeros(knots, dtype=torch.float64, device=u.device)
        for start, rows in _chunks(u):
            below, part = _place(_products(rows, v), knots)
            present = torch.ones_like(part)
            _diagonal(present, start).zero_()
            for index, weight in ((below, present * (1 - part)), (below + 1, present * part)):
                counts += torch.bincount(index.view(-1), weight.double().view(-1), minlength=knots)
        return (counts / _pairs(u)).to(u.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, Tensor, None]:
        u, v = ctx.saved_tensors
        slopes = upstream.diff() * ((ctx.knots - 1) / 2 / _pairs(u))
        to_u, to_v = torch.zeros_like(u), torch.zeros_like(v)
        for start, rows in _chunks(u):
            below, _ = _place(_products(rows, v), ctx.knots)
            slope = slopes[below]
            _diagonal(slope, start).zero_()
            to_u[start : start + rows.shape[0]] = _products(slope, v.T)
            to_v += _products(slope.T, rows.T)
        return to_u, to_v, None


def _products(rows: Tensor, columns: Tensor) -> Tensor:
    with full_precision(rows):
        return rows @ columns.T


def _pairs(u: Tensor) -> int:
    return max(u.shape[0] * (u.shape[0] - 1), 1)


def _chunks(u: Tensor) -> list[tuple[int, Tensor]]:
    step = max(1, _ENTRIES_PER_CHUNK // max(u.shape[0], 1))
    return [(start, u[start : start + step]) for start in range(0, u.shape[0], step)]


def _place(products: Tensor, knots: int) -> tuple[Tensor, Tensor]:
    """The knot below every product, and how far the product is towards the next one."""
    position = (products + 1) * ((knots - 1) / 2)
    # A cosine may leave [-1, 1] by a rounding.
    below = position.long().clamp_(0, knots - 2)
    return below, position - below


def _diagonal(block: Tensor, start: int) -> Tensor:
    """The entries of a block of rows that start at `start` where row and column agree."""
    return block.diagonal(offset=start)
