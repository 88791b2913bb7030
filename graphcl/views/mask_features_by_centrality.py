"""Mask features that central nodes use less often (GCA's adaptive feature masking)."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch_geometric.transforms import BaseTransform

from graphcl.views.add_centrality import centrality_of
from graphcl.views.centrality import Centrality, check_centrality
from graphcl.views.checks import check_fraction, check_homogeneous
from graphcl.views.mask_features import (
    feature_mask_probability,
    mask_features_with_probability,
)

if TYPE_CHECKING:
    from torch_geometric.data import Data


class MaskFeaturesByCentrality(BaseTransform):
    r"""Mask feature columns that central nodes use less often than others.

    With phi the centrality, s_f = log sum_i |x_if| phi_i: column f is masked with probability
    min(rate (max s - s_f) / (max s - mean s), threshold). GCA, Zhu et al., WWW 2021 (arXiv
    2010.14945), eq. 7-9; the pure form is `feature_mask_probability(x, phi, rate, threshold)`.

    Uses `data.degree_centrality` and the like (set by `AddCentrality`) if present; otherwise it is
    that of the edges which it is given, at every call.

    Shapes: `data.x` (N, F) -> (N, F).

    Args:
        rate: in [0, 1]; about the share of columns masked, less what the threshold cuts off.
        centrality: "degree", "eigenvector" or "pagerank".
        threshold: largest probability of masking a column.
        generator: source of randomness; None is torch's global one.

    Raises:
        ArgumentError: rate or threshold outside [0, 1] or NaN; unknown centrality; no `x` or
            `edge_index`.

    Example:
        >>> view = MaskFeaturesByCentrality(0.2)(data)
    """

    def __init__(
        self,
        rate: float,
        *,
        centrality: Centrality = "degree",
        threshold: float = 0.7,
        generator: torch.Generator | None = None,
    ) -> None:
        self.rate = check_fraction("rate", rate)
        self.threshold = check_fraction("threshold", threshold)
        check_centrality(centrality)
        self.centrality: Centrality = centrality
        self.generator = generator

    def forward(self, data: Data) -> Data:
        """The view of `data`; `data` itself is not changed."""
        result = copy.copy(check_homogeneous(data, "x", "edge_index"))
        weight = centrality_of(data, self.centrality)
        probability = feature_mask_probability(data.x, weight, self.rate, self.threshold)
        result.x, _ = mask_features_with_probability(data.x, probability, generator=self.generator)
        return result

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.rate}, centrality={self.centrality!r})"
