"""Columns (feature dimensions) centred and scaled over the rows of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.losses.precision import widened
from graphcl.losses.unit_rows import unit_rows

# A column that varies by no more than this many roundings of its largest entry is constant.
NOISE_ROUNDINGS = 4


def centred_columns(z: Tensor) -> Tensor:
    """Each column of z (N, d) minus its mean; a constant column becomes exactly 0.

    A collapsed dimension, which holds one number up to rounding, must not be
    scaled up to unit variance and taken for a signal: it becomes 0 and receives
    no gradient. float16 and bfloat16 are computed and returned in float32. NaN
    stays visible.
    """
    z = widened(z)
    if z.shape[0] == 0:
        return z
    with torch.no_grad():
        noise = NOISE_ROUNDINGS * torch.finfo(z.dtype).eps * z.abs().amax(dim=0)
        # Not by the deviations: the mean of equal numbers is off by roundings too.
        constant = z.amax(dim=0) - z.amin(dim=0) <= noise
    return (z - z.mean(dim=0)).masked_fill(constant, 0.0)


def unit_columns(z: Tensor) -> Tensor:
    """Centred columns of Euclidean length one, so that A.T @ B holds Pearson correlations.

    Times sqrt(N), they have mean 0 and (population) variance 1. Constant
    columns are 0.
    """
    return unit_rows(centred_columns(z).T).T


def without_diagonal(matrix: Tensor) -> Tensor:
    """The square matrix with zeros on its diagonal."""
    return matrix - torch.diag(matrix.diagonal())
