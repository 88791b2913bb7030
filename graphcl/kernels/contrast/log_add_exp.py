"""Log-sum-exp of the parts of one denominator: key segments, listed pairs."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast.checks import check_index
from graphcl.kernels.contrast.dense import guarded_log_sum_exp


def log_add_exp(*terms: Tensor) -> Tensor:
    r"""Elementwise log-sum-exp of tensors of one shape; joins the denominators of key segments.

    .. math::
        \log \sum_t e^{x_t}

    Where every term is -inf (nowhere a candidate) the value is -inf and the
    gradient exactly 0. Differentiable twice.

    Args:
        terms: at least one floating tensor; all of one shape, dtype and device.

    Returns:
        A tensor of that shape.

    Raises:
        ArgumentError: without terms, or for shapes that differ.
    """
    if not terms:
        raise ArgumentError("log_add_exp needs at least one term; got none")
    if len({term.shape for term in terms}) > 1:
        shapes = ", ".join(str(tuple(term.shape)) for term in terms)
        raise ArgumentError(f"the terms of log_add_exp must have one shape; got {shapes}")
    if len(terms) == 1:
        return terms[0]
    return guarded_log_sum_exp(torch.stack(terms, dim=-1))


def segment_log_sum_exp(values: Tensor, segment: Tensor, count: int) -> Tensor:
    r"""Log-sum-exp of the values of every segment; values need not be sorted.

    .. math::
        y_s = \log \sum_{p : segment_p = s} e^{values_p}

    A segment without values, or with none above -inf, is -inf with gradient
    exactly 0. Differentiable twice.

    Args:
        values: (P,) floating.
        segment: (P,) int64 in 0 .. count - 1.
        count: number of segments.

    Returns:
        (count,).

    Raises:
        ArgumentError: for a wrong shape, dtype or index.
    """
    if values.dim() != 1 or not values.is_floating_point():
        raise ArgumentError(
            f"values must be a floating vector; got {values.dtype} of shape {tuple(values.shape)}"
        )
    check_index("segment", segment, values.numel(), count, values)
    largest = values.detach().new_full((count,), -torch.inf)
    largest = largest.scatter_reduce(0, segment, values.detach(), "amax")
    empty = torch.isneginf(largest)
    shift = largest.masked_fill(empty, 0.0)
    total = torch.zeros_like(shift).index_add(0, segment, (values - shift[segment]).exp())
    # Of an empty segment neither log 0 nor its derivative may reach the gradient.
    return (total.masked_fill(empty, 1.0).log() + shift).masked_fill(empty, -torch.inf)
