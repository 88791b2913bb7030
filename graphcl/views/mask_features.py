"""Set whole feature columns to zero: at one rate, or with a given probability for each."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from torch import Tensor
from torch_geometric.transforms import BaseTransform

from graphcl.errors import ArgumentError
from graphcl.kernels.sparse_matrix import SparseMatrix
from graphcl.views.checks import (
    check_features,
    check_fraction,
    check_homogeneous,
    check_vector,
)
from graphcl.views.draws import uniform

if TYPE_CHECKING:
    from torch_geometric.data import Data


Features = TypeVar("Features", bound=Tensor | SparseMatrix)
"""Node features: a dense matrix, or for bags of words a sparse one."""


def mask_features(
    x: Features, rate: float, *, generator: torch.Generator | None = None
) -> tuple[Features, Tensor]:
    """Set each column of x to zero with probability `rate`, for all nodes alike.

    Args:
        x: (N, F), dense or a `SparseMatrix`.
        rate: expected share of columns masked, in [0, 1].
        generator: source of randomness; None is torch's global one.

    Returns:
        A new (N, F) matrix of the same kind, and `kept` (F,) bool.

    Raises:
        ArgumentError: rate outside [0, 1] or NaN, x not a dense matrix or a `SparseMatrix`.
    """
    columns = _number_of_columns(x)
    kept = uniform(columns, generator, x.device) >= check_fraction("rate", rate)
    return _keep_columns(x, kept), kept


def mask_features_with_probability(
    x: Features, mask_probability: Tensor, *, generator: torch.Generator | None = None
) -> tuple[Features, Tensor]:
    """Set column f of x to zero with probability `mask_probability[f]`, (F,).

    The per-epoch half of a weighted view: compute the probabilities once, draw every epoch.

    Returns:
        A new (N, F) matrix of the same kind, and `kept` (F,) bool.
    """
    columns = _number_of_columns(x)
    check_vector("mask_probability", mask_probability, columns, "column")
    kept = uniform(columns, generator, x.device) >= mask_probability
    return _keep_columns(x, kept), kept


def _number_of_columns(x: Tensor | SparseMatrix) -> int:
    if not isinstance(x, SparseMatrix):
        check_features(x)
    return x.shape[1]


def _keep_columns(x: Any, kept: Tensor) -> Any:
    return x.keep_columns(kept) if isinstance(x, SparseMatrix) else torch.where(kept, x, 0)


def feature_mask_probability(
    x: Tensor,
    node_weight: Tensor,
    rate: float,
    threshold: float = 0.7,
    *,
    variant: Literal["sparse", "dense"] = "sparse",
) -> Tensor:
    """Probability of masking each column, small for columns that important nodes use.

        a_f = log sum_i |x_if| weight_i
        d_f = (max a - a_f) / (max a - min a)
        p_f = clip( rate d_f / mean(d), 0, threshold )

    With the strength of each node's community as weight this is CAV of CSGCL (Chen et al.,
    IJCAI 2023); with a centrality it is GCA's feature masking (Zhu et al., WWW 2021, eq. 7-9;
    there (max - a) / (max - mean a), which is the same number as d / mean d).

    Weights may be negative (weak communities), and the sum then need not be positive, where the
    authors' logarithm gives NaN. Such a sum is raised to the smallest positive one: the column
    is as likely to be masked as the least important column with a positive sum. When no sum is
    positive, or all a_f are equal, every column has probability `rate`, before the clip.

    Args:
        x: (N, F).
        node_weight: (N,).
        rate: in [0, 1].
        threshold: largest probability, in [0, 1]. CSGCL's command line uses 1.0.
        variant: "sparse" never masks a column that is zero everywhere; such columns count in
            mean(d), so the others take over their share, as in the authors' code. "dense" treats
            it as the least important column.

    Returns:
        (F,) of `x`'s floating dtype, in [0, threshold].

    Raises:
        ArgumentError: rate or threshold outside [0, 1], wrong shapes, unknown variant.
    """
    check_features(x)
    check_vector("node_weight", node_weight, x.size(0), "node")
    rate = check_fraction("rate", rate)
    threshold = check_fraction("threshold", threshold)
    if variant not in ("sparse", "dense"):
        raise ArgumentError(f"variant must be 'sparse' or 'dense', got {variant!r}")
    dtype = x.dtype if x.is_floating_point() else torch.get_default_dtype()
    size = x.abs().to(dtype)
    if size.numel():
        # Only ratios count, and sums of huge features have no finite float.
        largest = size.max()
        size = size / largest.where(largest > 0, 1)
    total = node_weight.to(dtype) @ size
    positive = total > 0
    never_masked = torch.zeros_like(positive)
    if variant == "sparse":
        never_masked = (x == 0).all(0)
    probability = torch.full_like(total, rate)
    if positive.any():
        score = torch.where(positive, total, total[positive].min()).log()
        low, high = torch.aminmax(score[positive])
        distance = ((high - score) / (high - low)).masked_fill(never_masked, 0)
        if high > low and distance.any():
            probability = rate * distance / distance.mean()
    return probability.masked_fill(never_masked, 0).clamp(0, threshold)


class MaskFeatures(BaseTransform):
    r"""Set randomly chosen feature columns to zero, for all nodes alike.

    x'_if = m_f x_if with m_f ~ Bernoulli(1 - rate). GRACE, Zhu et al. 2020, section 3.2.1.

    Shapes: `data.x` (N, F) -> (N, F).

    Args:
        rate: expected share of columns masked, in [0, 1].
        generator: source of randomness; None is torch's global one.

    Raises:
        ArgumentError: rate outside [0, 1] or NaN; no `x`, or not a matrix.

    Example:
        >>> view = MaskFeatures(0.2, generator=torch.Generator().manual_seed(0))(data)
    """

    def __init__(self, rate: float, *, generator: torch.Generator | None = None) -> None:
        self.rate = check_fraction("rate", rate)
        self.generator = generator

    def forward(self, data: Data) -> Data:
        """The view of `data`; `data` itself is not changed."""
        result = copy.copy(check_homogeneous(data, "x"))
        result.x, _ = mask_features(data.x, self.rate, generator=self.generator)
        return result

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.rate})"
