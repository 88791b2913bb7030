"""DirectAU: alignment of users with their items, uniformity of both, and nothing else.

Wang, Yu, Ma, Zhang & Liu, "Towards Representation Alignment and Uniformity in Collaborative
Filtering", KDD 2022 (arXiv 2206.12811).

With u and i the final embeddings of a user and an item, scaled to length one,

    alignment  = mean over the batch's interactions of |u - i|^2
    uniformity = 1/2 [log mean exp(-2 |u - u'|^2) + log mean exp(-2 |i - i'|^2)]
    total = alignment + uniformity_weight * uniformity + l2

where uniformity is over all pairs of rows of the batch. No negatives are drawn for it. Scores are
inner products of the embeddings as they are; lengths take no part in training.

Deviations from the authors' code: `l2` is of the batch's own embeddings (0 by default) in place of
Adam's weight decay, which `weight_decay` still gives. With layers=0 the encoder is matrix
factorisation, the paper's main one; otherwise LightGCN.

Cost of a step: that of LightGCN and O(B^2 d) for uniformity, in O(B d) memory.
"""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.config import tunable
from graphcl.losses.alignment_uniformity import distance_power, log_mean_potential
from graphcl.losses.unit_rows import unit_rows
from recsys.data.batches import TripleBatch
from recsys.methods.lightgcn import LightGCN, LightGCNConfig


class DirectAUConfig(LightGCNConfig):
    """Settings of DirectAU: those of LightGCN and the weight of uniformity."""

    layers: int = tunable(0, choices=[0, 1, 2, 3], ge=0)
    """Propagation steps of the encoder; 0 is matrix factorisation."""
    learning_rate: float = tunable(1e-3, low=5e-4, high=1e-2, log=True, gt=0)
    l2: float = tunable(0.0, choices=[0.0, 1e-5, 1e-4, 1e-3], ge=0)
    """Weight of the squared norms of the batch's own embeddings."""
    uniformity_weight: float = tunable(1.0, low=0.1, high=10.0, log=True, ge=0)
    """gamma of the paper."""


class DirectAU(LightGCN):
    """Alignment and uniformity optimised directly, without negatives (Wang et al. 2022)."""

    Config = DirectAUConfig
    config: DirectAUConfig

    def loss(self, batch: TripleBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """`alignment`, `uniformity` and `l2` (both weighted) and their sum `total`."""
        users, items = self.propagate()
        user, item = unit_rows(users[batch.users]), unit_rows(items[batch.positives])
        uniformity = (log_mean_potential(user, 2.0) + log_mean_potential(item, 2.0)) / 2
        parts = {
            "alignment": distance_power(user, item, 2.0).mean(),
            "uniformity": self.config.uniformity_weight * uniformity,
            "l2": self.penalty(batch),
        }
        return {"total": parts["alignment"] + parts["uniformity"] + parts["l2"], **parts}
