"""What several graph methods do to node features before anything else."""

import torch
from torch import Tensor

from graphcl.kernels.sparse_matrix import SparseMatrix

SPARSE_BELOW = 0.1
"""Share of non-zero features below which a sparse product is the faster one."""


def scale_features(x: Tensor) -> Tensor:
    """Every row of x (N, F) divided by its sum, where the sum is above 1.

    For counts and bags of words this is PyG's NormalizeFeatures, which GRACE, GCA and
    CSGCL train on. Features with negative values are returned as they are: their sums
    say nothing about their size.
    """
    if bool((x < 0).any()):
        return x
    return x / x.sum(dim=1, keepdim=True).clamp(min=1)


def prepare_features(x: Tensor, *, scale: bool) -> Tensor | SparseMatrix:
    """Features (N, F) as a GCN takes them: scaled if asked, sparse where few are non-zero.

    Bags of words have about one non-zero in a hundred, and the first layer's product is the
    widest of the encoder.
    """
    x = scale_features(x) if scale else x
    if int(torch.count_nonzero(x)) > SPARSE_BELOW * x.numel():
        return x
    present = x.nonzero(as_tuple=False).T
    rows, columns = x.shape
    return SparseMatrix.from_edge_index(present, x[present[0], present[1]], shape=(rows, columns))
