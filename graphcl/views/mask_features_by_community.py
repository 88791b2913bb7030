"""Mask features that strong communities use less often (community-aware attribute voting)."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch_geometric.transforms import BaseTransform

from graphcl.errors import ArgumentError
from graphcl.views.add_communities import node_communities
from graphcl.views.checks import check_fraction, check_homogeneous
from graphcl.views.mask_features import (
    feature_mask_probability,
    mask_features_with_probability,
)

if TYPE_CHECKING:
    from torch_geometric.data import Data


def community_mask_probability(
    x: Tensor,
    node_strength: Tensor,
    rate: float,
    threshold: float = 1.0,
    *,
    variant: Literal["sparse", "dense"] = "sparse",
) -> Tensor:
    """Probability of masking each column (CAV of CSGCL), (F,); see `feature_mask_probability`.

    `node_strength` (N,) is the strength of each node's community:
    `community_strength(edge_index, labels)[labels]`. `threshold` 1.0 is the authors' command
    line (their function's own default is 0.7).
    """
    return feature_mask_probability(x, node_strength, rate, threshold, variant=variant)


def mask_features_by_community(
    x: Tensor,
    rate: float,
    *,
    node_strength: Tensor,
    threshold: float = 1.0,
    variant: Literal["sparse", "dense"] = "sparse",
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """One draw with `community_mask_probability`: a new (N, F) tensor and `kept` (F,) bool."""
    probability = community_mask_probability(x, node_strength, rate, threshold, variant=variant)
    return mask_features_with_probability(x, probability, generator=generator)


class MaskFeaturesByCommunity(BaseTransform):
    r"""Mask feature columns that strong communities use less often than others.

    Community-aware attribute voting (CAV) of CSGCL, Chen et al., IJCAI 2023: with S_i the
    strength of node i's community, a_f = log sum_i |x_if| S_i, d_f = (max a - a_f) / (max a -
    min a), and column f is masked with probability clip(rate d_f / mean(d), 0, threshold).
    Strengths of weak communities are negative: see `feature_mask_probability` for the guard.

    Uses `data.community` and `data.community_strength` (set by `AddCommunities`) if present;
    otherwise it detects communities at every call.

    Shapes: `data.x` (N, F) -> (N, F).

    Args:
        rate: expected share of columns masked, in [0, 1].
        threshold: largest probability of masking a column.
        variant: "sparse" never masks columns that are zero everywhere; "dense" may.
        method: "leiden" or "louvain", where communities are not given.
        resolution: of the detection.
        seed: of the detection.
        generator: source of randomness for the draw; None is torch's global one.

    Raises:
        ArgumentError: rate or threshold outside [0, 1] or NaN; no `x` or `edge_index`.

    Example:
        >>> view = MaskFeaturesByCommunity(0.2)(data)
    """

    def __init__(
        self,
        rate: float,
        *,
        threshold: float = 1.0,
        variant: Literal["sparse", "dense"] = "sparse",
        method: Literal["leiden", "louvain"] = "leiden",
        resolution: float = 1.0,
        seed: int = 0,
        generator: torch.Generator | None = None,
    ) -> None:
        self.rate = check_fraction("rate", rate)
        self.threshold = check_fraction("threshold", threshold)
        if variant not in ("sparse", "dense"):
            raise ArgumentError(f"variant must be 'sparse' or 'dense', got {variant!r}")
        self.variant: Literal["sparse", "dense"] = variant
        self.method: Literal["leiden", "louvain"] = method
        self.resolution = resolution
        self.seed = seed
        self.generator = generator

    def forward(self, data: Data) -> Data:
        """The view of `data`; `data` itself is not changed."""
        result = copy.copy(check_homogeneous(data, "x", "edge_index"))
        _, strength = node_communities(
            data, method=self.method, resolution=self.resolution, seed=self.seed
        )
        result.x, _ = mask_features_by_community(
            data.x,
            self.rate,
            node_strength=strength,
            threshold=self.threshold,
            variant=self.variant,
            generator=self.generator,
        )
        return result

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.rate})"
