"""What several graph methods do to node features before anything else."""

from torch import Tensor


def scale_features(x: Tensor) -> Tensor:
    """Every row of x (N, F) divided by its sum, where the sum is above 1.

    What PyG calls NormalizeFeatures, and what GRACE, GCA and CSGCL train on.
    """
    return x / x.sum(dim=1, keepdim=True).clamp(min=1)
