"""PamC: graph clustering by contrasting blocks, with no parameter and no pair of nodes.

Kulatilleke, Portmann, Chandra, "Efficient Block Contrastive Learning via Parameter-free
Meta-node Approximation", 2022, arXiv 2209.14067.

The encoder is a multi-layer perceptron; the graph enters through the loss alone. With soft
assignments to K learned centres mu (Student's t with one degree of freedom),

    q_ik ~ 1 / (1 + |z_i - mu_k|^2),    p_ik ~ q_ik^2 / sum_i q_ik,    rows of both summing to 1

every node is drawn to the nodes that it reaches in the graph, and the meta-nodes of the blocks,
m_k = sum of z_i with argmax q_i = k, are pushed apart (`graphcl.losses.BlockContrast`):

    L_block = -1/N sum_i log sum_j R_ij e^{s cosine(z_i, z_j)}
              + 1/K sum_k log sum_l e^{s cosine(m_k, m_l)}
    L = alpha L_block + beta KL(p || q)

R is P + P^2 + ... + P^r of the row-normalised adjacency with self-loops, computed once; p is
computed anew in every epoch and gets no gradient. Before the first epoch an auto-encoder
(mean squared error, mirrored decoder) gives the encoder its start and k-means the centres
theirs. A node belongs to the cluster of its largest q; the labels choose nothing.

Cost per epoch: O(nnz(R) d + N d F) with F the encoder's widths, no pair of nodes but those of
R; before training `pretrain_epochs` passes over the auto-encoder.

Deviations from the authors' code: it loads an auto-encoder of SDCN (not part of its
repository) where this one trains its own; its scores are the best of all epochs by the true
labels, apart for every metric, where these are those of the last epoch; an empty cluster keeps
its place and its centre instead of shrinking K or giving 0/0.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from graphcl.config import Count, tunable
from graphcl.encoders import MLP
from graphcl.errors import ConfigError, NonFiniteError
from graphcl.kernels.kmeans import best_kmeans
from graphcl.kernels.reachability import reachability
from graphcl.kernels.sparse_matrix import SparseMatrix
from graphcl.losses import BlockContrast
from graphcl.methods.contract import MethodConfig
from graphcl.methods.features import FeatureScaling
from graphcl.methods.graph_method import GraphMethod

RESTARTS = 20
"""Of the k-means that places the centres."""


class PamCConfig(MethodConfig):
    """Settings of PamC; the defaults are the paper's for ACM."""

    epochs: int = tunable(200, low=50, high=500, log=True, ge=0)
    learning_rate: float = tunable(1e-3, low=1e-5, high=1e-2, log=True, gt=0)
    widths: tuple[int, ...] = (500, 500, 2000, 10)
    """Of the encoder's layers; the last is the embedding's."""
    clusters: int | None = Field(None, ge=1)
    """K; None for the number of classes, which the task tells."""
    order: int = tunable(1, low=1, high=4, ge=1)
    """r, the longest walk of R."""
    cumulative: bool = True
    """False takes P^r alone for R."""
    scale: float = tunable(0.5, low=0.1, high=2.0, gt=0)
    """s, an inverse temperature (the paper's tau)."""
    block_weight: float = tunable(0.5, low=0.1, high=4.0, log=True, ge=0)
    """alpha."""
    cluster_weight: float = tunable(0.5, low=0.1, high=16.0, log=True, ge=0)
    """beta."""
    pretrain_epochs: Count = 30
    """Of the auto-encoder; 0 starts from random weights."""
    pretrain_batch: int = Field(256, ge=1)
    feature_scaling: FeatureScaling = "none"
    """See `graphcl.methods.features.scale_features`."""


class PamC(GraphMethod):
    """Clusters as meta-nodes: near what a node reaches, blocks apart (Kulatilleke et al. 2022)."""

    Config = PamCConfig
    tasks = ("clustering",)

    def __init__(self, config: PamCConfig, data: Any) -> None:
        super().__init__(config, data)
        clusters = config.clusters or data.get("clusters")
        if clusters is None:
            raise ConfigError("the number of clusters is not known (got None); set clusters")
        adjacency = SparseMatrix.from_edge_index(data.edge_index, shape=data.num_nodes)
        reached = reachability(adjacency, config.order, cumulative=config.cumulative)
        self.reached = torch.stack([reached.row, reached.column]), reached.value
        self.encoder = MLP(data.num_features, config.widths)
        self.centres = nn.Parameter(torch.randn(clusters, config.widths[-1]))
        self.block_contrast = BlockContrast(scale=config.scale, clusters=clusters)
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))

    def epoch_start(self, epoch: int, generator: torch.Generator) -> None:
        """Before the first epoch the auto-encoder and k-means."""
        if bool(self.started):
            return
        if self.config.pretrain_epochs > 0:
            self._pretrain(generator)
        start = best_kmeans(self.embed(self.data), len(self.centres), RESTARTS, generator=generator)
        self.centres.data.copy_(start.centroids)
        self.started.fill_(True)  # type: ignore[operator]

    def loss(self, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        """The contrast of blocks and the sharpening of assignments, on the whole graph."""
        config = self.config
        z = self.encoder(self.features)
        log_q = log_assignment(z, self.centres)
        blocks = self.block_contrast(z, log_q.argmax(dim=1), *self.reached)
        clusters = sharpening(log_q)
        total = config.block_weight * blocks + config.cluster_weight * clusters
        return {"blocks": blocks, "clusters": clusters, "total": total}

    def assign_clusters(self, data: Any) -> Tensor:
        """The cluster (N,) of the largest q."""
        return log_assignment(self.embed(data), self.centres.detach()).argmax(dim=1)

    def _pretrain(self, generator: torch.Generator) -> None:
        config = self.config
        x = self.features.to_dense() if isinstance(self.features, SparseMatrix) else self.features
        decoder = MLP(config.widths[-1], [*reversed(config.widths[:-1]), x.shape[1]]).to(x.device)
        parameters = [*self.encoder.parameters(), *decoder.parameters()]
        optimizer = torch.optim.Adam(parameters, lr=1e-3)
        for _ in range(config.pretrain_epochs):
            order = torch.randperm(len(x), generator=generator, device=generator.device)
            for rows in order.to(x.device).split(config.pretrain_batch):
                optimizer.zero_grad()
                mse_loss(decoder(self.encoder(x[rows])), x[rows]).backward()
                optimizer.step()
        if not all(bool(parameter.isfinite().all()) for parameter in parameters):
            raise NonFiniteError(
                f"pre-training diverged on features of up to {float(x.abs().max()):g}; "
                "feature_scaling=norm makes them comparable"
            )


def log_assignment(z: Tensor, centres: Tensor) -> Tensor:
    """log q (N, K): Student's t similarities of rows to centres, normalised by rows."""
    apart = torch.cdist(z, centres, compute_mode="donot_use_mm_for_euclid_dist").square()
    return (-torch.log1p(apart)).log_softmax(dim=1)


def sharpening(log_q: Tensor) -> Tensor:
    """KL(p || q) per node, p the assignments squared and balanced, without gradient."""
    fixed = log_q.detach()
    # In logarithms: squares of small assignments vanish, and 0 log 0 is NaN.
    log_p = (2 * fixed - fixed.logsumexp(dim=0)).log_softmax(dim=1)
    return (log_p.exp() * (log_p - log_q)).sum() / len(log_q)
