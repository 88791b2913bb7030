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

    Rows of zeros stay zeros; integers become the default floating dtype where they are divided.

    Raises:
        ArgumentError: `scaling` is none of these.
    """
    if scaling not in get_args(FeatureScaling):
        raise ArgumentError(
            f"scaling must be one of {', '.join(get_args(FeatureScaling))} (got '{scaling}')"
        )
    if scaling == "none":
        return x
    if scaling == "norm":
        x = x if x.is_floating_point() else x.to(torch.get_default_dtype())
        length = x.norm(dim=1, keepdim=True)
        return x / length.where(length > 0, 1)
    signed = (x < 0).any()
    if torch.compiler.is_exporting():
        # Both, since an exported function cannot branch on values.
        return torch.where(signed, x, x / x.sum(dim=1, keepdim=True).clamp(min=1))
    return x if bool(signed) else x / x.sum(dim=1, keepdim=True).clamp(min=1)


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
