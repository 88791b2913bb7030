"""MEOW: meta-path contexts and weighted negatives on heterogeneous graphs.

Yu, Li, "Heterogeneous Graph Contrastive Learning with Meta-path Contexts and Weighted Negative
Samples", SDM 2023; with AdaMEOW in Yu, Ge, Li, Zhou, TKDE 2024, arXiv 2212.13847.

Coarse rows c_i are the anchors, fine rows f_j the samples (`graphcl.methods.meta_path_contexts`).
In every epoch k-means clusters the fine rows once for each K of a list. A negative weighs as many
of these clusterings as tell it from the anchor, so that probable false negatives weigh nothing:

    L_info = -mean_i log e^{c_i f_i / tau} / sum_j w_ij e^{c_i f_j / tau},
    w_ij = number of clusterings with i and j in different clusters.

w_ii = 0: the positive is not in the denominator (it is decoupled). Anchors are also drawn to the
prototype mu of their cluster y(i) in every clustering,

    L_proto = -mean_i log e^{c_i mu_y(i) / phi_y(i)} / sum_l e^{c_i mu_l / phi_l},

phi_l = mean distance to mu_l / log(n_l + 5), clipped to its 10 % and 90 % quantiles and scaled to
mean tau: loose clusters pull less. L = L_info + lambda L_proto.

sum_j w_ij e^{...} is the sum over the clusterings of the denominators over other clusters, so the
weights are exclusions by id of `graphcl.kernels.contrast`; no N x N matrix is made.

Cost per epoch: O(entries of the neighbour lists d) for the encoder, 6 N^2 d operations for each
clustering in O(N d) memory, and k-means.

Deviations from the authors' code: masks are drawn anew in every epoch, and the masked copies stay
out of the embedding (`masks: fixed` does as the code); the embedding is without dropout, where
theirs is that of the last training pass; the density phi is of distances (`density: similarity`
takes the square roots of similarities as their index happens to return, of which negative ones
become NaN there and 0 here) and at least tau / 10; k-means runs once, not the best of five; L_proto
lacks the constant log(K / N); a node's row of the neighbour matrix holds the neighbours it chose,
not those that chose it, and its own where it has none; dropout is before a layer's product, not
after; the epoch is chosen by validation, not by the training loss.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from graphcl.config import tunable
from graphcl.kernels.contrast import contrast, log_add_exp
from graphcl.kernels.kmeans import KMeans, kmeans
from graphcl.losses.arguments import anchor_values
from graphcl.losses.unit_rows import row_products, unit_rows
from graphcl.methods.meta_path_contexts import MetaPathConfig, MetaPathMethod

ITERATIONS = 20
"""Of Lloyd's k-means."""


class MEOWConfig(MetaPathConfig):
    """Settings of MEOW; the defaults are the authors' for ACM."""

    clusters: tuple[Annotated[int, Field(ge=1)], ...] = Field((100, 300), min_length=1)
    """K of every clustering."""
    prototype_weight: float = tunable(1.0, low=0.01, high=10.0, log=True, ge=0)
    """lambda."""
    density: Literal["distance", "similarity"] = "distance"


class MEOW(MetaPathMethod):
    """Meta-path contexts against meta-path neighbours, negatives weighted by clusters (Yu 2023)."""

    Config = MEOWConfig

    def loss(self, batch: object, generator: torch.Generator) -> dict[str, Tensor]:
        """L_info, L_proto and their weighted sum."""
        coarse, fine = self.contrasted(generator)
        rows = fine.detach()
        found = [kmeans(rows, count, ITERATIONS, generator) for count in self.config.clusters]
        tau = self.config.temperature
        info = cluster_weighted_info_nce(coarse, fine, [part.assignment for part in found], tau)
        prototypes = [
            prototype_contrast(coarse, part, concentration(rows, part, tau, self.config.density))
            for part in found
        ]
        proto = torch.stack(prototypes).mean()
        total = info + self.config.prototype_weight * proto
        return {"contrast": info, "prototypes": proto, "total": total}


def cluster_weighted_info_nce(
    anchors: Tensor, samples: Tensor, clusterings: list[Tensor], temperature: float
) -> Tensor:
    """L_info of unit rows (N, d), given the cluster (N,) of every node in each clustering.

    A node that all clusterings have together with all others has no negative and contributes 0.
    """
    scale = 1 / temperature
    denominators = [
        contrast(anchors, samples, scale=scale, row_ids=own, column_ids=own).denominator
        for own in clusterings
    ]
    positive = scale * row_products(anchors, samples)
    return anchor_values(log_add_exp(*denominators), positive).mean()


def prototype_contrast(anchors: Tensor, found: KMeans, phi: Tensor) -> Tensor:
    """L_proto of unit rows (N, d) for one clustering with concentrations phi (K,)."""
    prototypes = unit_rows(found.centroids) / phi[:, None]
    output = contrast(anchors, prototypes, scale=1.0, positive=found.assignment)
    return anchor_values(output.denominator, output.positive).mean()


def concentration(
    rows: Tensor, found: KMeans, temperature: float, density: str = "distance"
) -> Tensor:
    """phi (K,): how loose every cluster of unit rows (N, d) is, scaled to mean `temperature`.

    Li et al. 2021 (arXiv 2005.04966), equation 12, with the clipping of MEOW. A cluster of one
    node or none counts as the loosest.
    """
    centroids = found.centroids[found.assignment]
    if density == "distance":
        apart = (rows - centroids).square().sum(dim=1).sqrt()
    else:
        apart = row_products(rows, centroids).clamp_min(0).sqrt()
    sizes = found.counts.to(rows.dtype)
    total = torch.zeros_like(sizes).index_add(0, found.assignment, apart)
    phi = total / sizes.clamp_min(1) / (sizes + 5).log()
    several = found.counts > 1
    phi = torch.where(several, phi, torch.where(several, phi, 0.0).max())
    low, high = torch.quantile(phi, phi.new_tensor([0.1, 0.9])).unbind()
    phi = phi.clamp(low, high)
    mean = phi.mean()
    if not bool(mean > 0):
        # Every cluster is of equal rows: none is looser than another.
        return torch.full_like(phi, temperature)
    return (temperature * phi / mean).clamp_min(temperature / 10)
