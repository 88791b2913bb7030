"""AdaMEOW: MEOW whose negatives have weights that are learned.

Yu, Ge, Li, Zhou, "Heterogeneous Graph Contrastive Learning with Meta-path Contexts and Adaptively
Weighted Negative Samples", TKDE 2024, arXiv 2212.13847.

Views and encoder are those of MEOW (`graphcl.methods.meta_path_contexts`). Fine rows f_i are the
anchors, coarse rows c_j the samples, and a small network weighs every pair:

    L = -mean_i log e^{f_i c_i / tau} / sum_j w_ij e^{f_i c_j / tau},
    w_ij = sigmoid( W_2 tanh( W_1 (f_i + c_j) + b_1 ) + b_2 ).

As it stands L has no lower bound: w can go to 0 for all pairs at once. Here the weights of every
anchor count relative to their mean, w_ij / mean_l w_il, so that they can only say which samples
matter more; L is then at least log N - 2 / tau. `constrained: false` is the authors' loss.

W_1 is linear in the sum, so W_1 f_i and W_1 c_j are computed once for every node, and the weights
block by block (`graphcl.kernels.contrast.learned_weight_log_sum_exp`): no N x N matrix, and none
of N x N x 16.

Cost per epoch: O(entries of the neighbour lists d) for the encoder, and 6 N^2 d operations and
about 100 N^2 for the weights, in O(N d) memory; `anchors` takes that many random anchors of the N.

Deviations from the authors' code: the constraint; masks, embedding, neighbours and dropout as said
for MEOW; the epoch is chosen by validation, where theirs is picked by hand from test results
printed every 100 epochs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from graphcl.config import Count, tunable
from graphcl.kernels.contrast import learned_weight_log_sum_exp
from graphcl.losses.unit_rows import row_products
from graphcl.methods.meta_path_contexts import MetaPathConfig, MetaPathMethod


class AdaMEOWConfig(MetaPathConfig):
    """Settings of AdaMEOW; the defaults are the authors' for ACM, at MEOW's learning rate."""

    weight_decay: float = tunable(1e-5, choices=[0.0, 1e-5, 1e-4, 1e-3], ge=0)
    dropout: float = tunable(0.3, low=0.0, high=0.6, ge=0, lt=1)
    temperature: float = tunable(1.0, low=0.1, high=1.0, ge=1e-3, le=10)
    head: int = tunable(64, choices=[16, 32, 64], gt=0)
    """Width of the rows that are contrasted."""
    hidden: int = tunable(16, choices=[8, 16, 32], gt=0)
    """Width of the network that weighs the pairs."""
    constrained: bool = True
    """Weights relative to their mean over each anchor's samples."""
    anchors: Count = 0
    """Random anchors in every epoch; 0 takes all nodes."""


class AdaMEOW(MetaPathMethod):
    """Meta-path contexts against meta-path neighbours, weights of negatives learned (Yu 2024)."""

    Config = AdaMEOWConfig

    def __init__(self, config: AdaMEOWConfig, data: object) -> None:
        super().__init__(config, data, config.head)
        self.first = nn.Linear(config.head, config.hidden)
        self.second = nn.Linear(config.hidden, 1)

    def loss(self, batch: object, generator: torch.Generator) -> dict[str, Tensor]:
        """The weighted contrast, over all anchors or a random part of them."""
        coarse, fine = self.contrasted(generator)
        positive = row_products(fine, coarse)
        if 0 < self.config.anchors < len(fine):
            order = torch.randperm(len(fine), generator=generator, device=generator.device)
            chosen = order[: self.config.anchors].to(fine.device)
            fine, positive = fine[chosen], positive[chosen]
        scale = 1 / self.config.temperature
        denominator = learned_weight_log_sum_exp(
            fine, coarse, scale=scale, log_weight=log_weight,
            row_terms=self.first(fine), column_terms=coarse @ self.first.weight.T,
            parameters=(self.second.weight.view(-1), self.second.bias),
            normalised=self.config.constrained, tile=128,
        )  # fmt: skip
        contrast = (denominator - scale * positive).mean()
        return {"contrast": contrast, "total": contrast}


def log_weight(rows: Tensor, columns: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """log w_ij (h, w) from W_1 f_i + b_1 (h, r) and W_1 c_j (w, r)."""
    return logsigmoid(torch.tanh(rows[:, None] + columns) @ weight + bias)
