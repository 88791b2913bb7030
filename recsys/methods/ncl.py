"""NCL: contrast with a node's structural neighbours and with the prototype of its cluster.

Lin, Tian, Hou & Zhao, "Improving Graph Collaborative Filtering with Neighborhood-enriched
Contrastive Learning", WWW 2022 (arXiv 2202.06200).

With E^(l) the layers of LightGCN, k an even number of steps (from users to users) and c(v) the
centroid of the cluster that v's E^(0) belongs to,

    structure = sum over sides of mean_{a in batch}
        [ log sum_v exp(cos(E^(k)_a, E^(0)_v) / tau) - cos(E^(k)_a, E^(0)_a) / tau ]
    prototype = sum over sides of mean_{a in batch}
        [ log sum_c exp(cos(E^(0)_a, c) / tau) - cos(E^(0)_a, c(a)) / tau ]
    total = bpr + structure_weight * structure + prototype_weight * prototype + l2

The item side of both contrasts counts `item_weight` times (alpha of the paper). Every epoch after
`warm_up` begins with k-means of users and of items (the E step); the batches are the M step.

Deviations from the authors' code: contrasts are means over the batch's distinct users and distinct
positive items (theirs: sums over all its rows beside a mean BPR, so that their 1e-6 with batches of
4096 is 4e-3 here); k-means is of rows of length one, since the contrast is by cosine (theirs: of
the rows as they are, whose centroids are scaled afterwards).

Cost of a step: that of LightGCN, O(B (M + N) d) for the structure and O(B clusters d) for the
prototypes, in O((M + N) d) memory; once an epoch k-means, O((M + N) clusters d) an iteration.
"""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.config import Count, tunable
from graphcl.encoders.lightgcn import propagate_layers
from graphcl.errors import ConfigError
from graphcl.kernels.kmeans import KMeans, kmeans
from graphcl.losses import InfoNCEAllNodes
from graphcl.losses.unit_rows import unit_rows
from recsys.data.batches import TripleBatch
from recsys.data.interactions import Interactions
from recsys.methods.lightgcn import LightGCN, LightGCNConfig
from recsys.methods.sides import all_node_contrast


class NCLConfig(LightGCNConfig):
    """Settings of NCL: those of LightGCN and the contrasts'."""

    layers: int = tunable(3, choices=[2, 3, 4], ge=1)
    """Propagation steps L, at least `structure_steps`."""
    minimum_epochs: int = 30
    """Prototypes come after `warm_up` only: stopping before would never use them."""
    temperature: float = tunable(0.1, low=0.05, high=0.5, log=True, ge=1e-3, le=10)
    structure_weight: float = tunable(0.01, low=1e-4, high=1.0, log=True, ge=0)
    prototype_weight: float = tunable(0.01, low=1e-4, high=1.0, log=True, ge=0)
    item_weight: float = tunable(1.0, choices=[0.5, 1.0, 1.5], ge=0)
    """Weight of the item side against the user side in both contrasts."""
    structure_steps: int = tunable(2, choices=[2, 4], ge=2, multiple_of=2)
    """k: the layer that is contrasted with layer 0; even, so that it is of the same side."""
    clusters: int = tunable(100, choices=[10, 50, 100, 500, 1000, 2000], ge=1)
    """Prototypes of each side; more than there are nodes is the same as one for each."""
    warm_up: Count = 20
    """Epochs without prototypes."""


class NCL(LightGCN):
    """LightGCN with structural and semantic neighbours as positives (Lin et al. 2022).

    Raises:
        ConfigError: `structure_steps` is above `layers`.
    """

    Config = NCLConfig
    config: NCLConfig

    def __init__(self, config: NCLConfig, data: Interactions) -> None:
        if config.structure_steps > config.layers:
            raise ConfigError(
                f"setting 'structure_steps' must be at most layers = {config.layers} "
                f"(got {config.structure_steps})"
            )
        super().__init__(config, data)
        self.info_nce = InfoNCEAllNodes(config.temperature)
        self._prototypes: list[KMeans] = []

    def epoch_start(self, epoch: int, generator: torch.Generator) -> None:
        """The E step: cluster users and items by their layer 0."""
        self._prototypes = []
        if epoch <= self.config.warm_up:
            return
        for side in self.split(unit_rows(self.embeddings.detach())):
            clusters = min(self.config.clusters, len(side))
            self._prototypes.append(kmeans(side, clusters, generator=generator))

    def loss(self, batch: TripleBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """`bpr`, `structure`, `prototype` and `l2` (the last three weighted), their sum `total`.

        `prototype` is 0 before the end of the warm-up.
        """
        config = self.config
        layers = propagate_layers(self.adjacency, self.embeddings, config.layers)
        users, items = self.split(torch.stack(layers).mean(0))
        nodes = (batch.users, batch.positives)
        own = self.split(self.embeddings)
        structure = self._weighted(
            *all_node_contrast(
                self.info_nce, self.split(layers[config.structure_steps]), own, nodes
            )
        )
        parts = {
            "bpr": self.ranking_loss(users, items, batch),
            "structure": config.structure_weight * structure,
            "prototype": config.prototype_weight * self.prototype_contrast(own, nodes),
            "l2": self.penalty(batch),
        }
        total = parts["bpr"] + parts["structure"] + parts["prototype"] + parts["l2"]
        return {"total": total, **parts}

    def prototype_contrast(
        self, own: tuple[Tensor, Tensor], nodes: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Distinct nodes of the batch against the centroids of their side, unweighted."""
        if not self._prototypes:
            return self.embeddings.new_zeros(())
        sides = []
        for embeddings, chosen, found in zip(own, nodes, self._prototypes, strict=True):
            distinct = torch.unique(chosen)
            # An empty cluster's centroid would be a negative that stands for no node.
            used = found.counts > 0
            number = used.cumsum(0) - 1
            positive = number[found.assignment[distinct]]
            sides.append(self.info_nce(embeddings[distinct], found.centroids[used], positive))
        return self._weighted(*sides)

    def _weighted(self, of_users: Tensor, of_items: Tensor) -> Tensor:
        return of_users + self.config.item_weight * of_items
