"""What several graph methods do to node features before anything else."""

from typing import Literal

import torch
from torch import Tensor

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

    Rows of zeros stay zeros.
    """
    if scaling == "none":
        return x
    if scaling == "norm":
        return torch.nn.functional.normalize(x, dim=1)
    # A choice without a branch on values, which could not be exported.
    return torch.where((x < 0).any(), x, x / x.sum(dim=1, keepdim=True).clamp(min=1))


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
