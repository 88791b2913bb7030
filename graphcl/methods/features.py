"""What several graph methods do to node features before anything else."""

from typing import Literal, get_args

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.sparse_matrix import SparseMatrix

SPARSE_BELOW = 0.1
"""Share of non-zero features below which a sparse product is the faster one."""


FeatureScaling = Literal["sum", "norm", "none"]
"""What every node's features are divided by; see `scale_features`."""


def scale_features(x: Tensor, scaling: FeatureScaling) -> Tensor:
    """Every row of x (N, F) scaled, each for itself.

    - `sum`: divided by its sum, where that is above 1. For counts and bags of words this is PyG's
      NormalizeFeatures, which GRACE, GCA and CSGCL train on. With hundreds of words a node the
      values become so small that learning is slow. Features with negative values are returned
      as they are: their sums say nothing about their size.
    - `norm`: of Euclidean length 1, whatever the number of words.
    - `none`: as the data set has it.

    Rows of zeros stay zeros; integers become the default floating dtype.

    Raises:
        ArgumentError: `scaling` is none of these.
    """
    if scaling not in get_args(FeatureScaling):
        raise ArgumentError(
            f"scaling must be one of {', '.join(get_args(FeatureScaling))} (got '{scaling}')"
        )
    x = x if x.is_floating_point() else x.to(torch.get_default_dtype())
    if scaling == "none":
        return x
    if scaling == "norm":
        # By the largest first: squares and sums of huge features have no finite float.
        x = x / positive_or_one(largest(x))
        return x / positive_or_one(x.norm(dim=1, keepdim=True))
    signed = (x < 0).any()
    if torch.compiler.is_exporting():
        # Both, since an exported function cannot branch on values.
        return torch.where(signed, x, divided_by_sum(x))
    return x if bool(signed) else divided_by_sum(x)


def divided_by_sum(x: Tensor) -> Tensor:
    """Rows of non-negative x (N, F) divided by their sum, where that is above 1."""
    size = largest(x).clamp(min=1)
    x = x / size
    return x / torch.maximum(x.sum(dim=1, keepdim=True), 1 / size)


def largest(x: Tensor) -> Tensor:
    """The largest absolute value of every row, (N, 1); 0 of rows without columns."""
    return x.abs().amax(dim=1, keepdim=True) if x.shape[1] else x.new_zeros(len(x), 1)


def positive_or_one(value: Tensor) -> Tensor:
    """`value`, but 1 where it is 0."""
    return value.where(value > 0, 1)


def prepare_features(x: Tensor, scaling: FeatureScaling) -> Tensor | SparseMatrix:
    """Features (N, F) as a GCN takes them: scaled, and sparse where few are non-zero.

    Bags of words have about one non-zero in a hundred, and the first layer's product is the
    widest of the encoder.
    """
    x = scale_features(x, scaling)
    if int(torch.count_nonzero(x)) > SPARSE_BELOW * x.numel():
        return x
    present = x.nonzero(as_tuple=False).T
    rows, columns = x.shape
    return SparseMatrix.from_edge_index(present, x[present[0], present[1]], shape=(rows, columns))
