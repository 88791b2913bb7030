"""BPR-MF: matrix factorisation trained by Bayesian personalised ranking.

Rendle, Freudenthaler, Gantner & Schmidt-Thieme, "BPR: Bayesian Personalized Ranking from Implicit
Feedback", UAI 2009 (arXiv 1205.2618).

    s(u, i) = <e_u, e_i>
    total = bpr + l2
    bpr = mean softplus(s(u, j) - s(u, i))                              (BPR-Opt, section 4.1)
    l2  = weight / (2 B) sum over the batch of |e_u|^2 + |e_i|^2 + |e_j|^2

over B triples of a user u, an item i it took and an item j it did not. It is LightGCN without a
graph, and the baseline that says what a graph adds.

Deviations from the paper: Adam on batches of triples, each interaction once an epoch, in place of
stochastic gradient descent on triples drawn with replacement; one weight of the penalty for users,
positive and negative items; no item bias. softplus in place of log(sigmoid), which is -infinity in
float32 at a gap of 104. Cost of a step: O(B d) and an update of all M + N embeddings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

import torch
from torch import Tensor, nn

from graphcl.config import Count, tunable
from graphcl.losses import BPR
from graphcl.methods.contract import MethodConfig
from recsys.data.batches import TripleBatch, TripleBatches
from recsys.data.interactions import Interactions
from recsys.methods.contract import Recommender, check_users


class BPRConfig(MethodConfig):
    """Settings of BPR-MF."""

    epochs: int = tunable(100, low=20, high=1000, log=True, ge=0)
    learning_rate: float = tunable(5e-3, low=5e-4, high=2e-2, log=True, gt=0)
    evaluate_every: Count = 5
    patience: Count = 5
    dimension: int = tunable(64, choices=[32, 64, 128], ge=1)
    batch_size: int = tunable(2048, choices=[1024, 2048, 4096, 8192], ge=1)
    """Triples in a batch."""
    l2: float = tunable(1e-4, low=1e-6, high=1e-1, log=True, ge=0)
    """Weight of the squared norms of the batch's own embeddings."""


class BPRMF(Recommender):
    """Matrix factorisation trained by BPR (Rendle et al. 2009); base of the graph recommenders.

    A subclass that only changes how the final embeddings come about overrides `propagate`.
    """

    Config = BPRConfig
    tasks = ("ranking", "next-item")

    def __init__(self, config: BPRConfig, data: Interactions) -> None:
        super().__init__(config, data)
        self.num_users = data.num_users
        nodes = data.num_users + data.num_items
        self.embeddings = nn.Parameter(torch.empty(nodes, config.dimension))
        """Users first, then items."""
        self.reset_parameters()
        self.to(data.device)
        self.bpr = BPR()
        self._batches = TripleBatches(data, config.batch_size)
        self._cached: tuple[list[tuple[int, int]], tuple[Tensor, Tensor]] | None = None

    def reset_parameters(self) -> None:
        """Embeddings from N(0, 0.1^2)."""
        nn.init.normal_(self.embeddings, std=0.1)

    def batches(self, generator: torch.Generator) -> Iterator[TripleBatch]:
        """Every training interaction once, each with a negative item."""
        yield from self._batches.epoch(generator)

    def propagate(self) -> tuple[Tensor, Tensor]:
        """Final embeddings of all users (M, d) and items (N, d)."""
        return self.split(self.embeddings)

    def split(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """(M + N, d) -> users (M, d) and items (N, d)."""
        return nodes[: self.num_users], nodes[self.num_users :]

    def loss(self, batch: TripleBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """`bpr`, `l2` (weighted) and their sum `total`."""
        users, items = self.propagate()
        parts = {"bpr": self.ranking_loss(users, items, batch), "l2": self.penalty(batch)}
        return {"total": parts["bpr"] + parts["l2"], **parts}

    def ranking_loss(self, users: Tensor, items: Tensor, batch: TripleBatch) -> Tensor:
        """BPR of the batch from final embeddings."""
        anchor = users[batch.users]
        positive = (anchor * items[batch.positives]).sum(1)
        negative = (anchor * items[batch.negatives]).sum(1)
        return self.bpr(positive, negative)

    def penalty(self, batch: TripleBatch) -> Tensor:
        """Squared norms of the batch's own (layer 0) embeddings, halved, per triple, weighted."""
        rows = (
            batch.users,
            self.num_users + batch.positives,
            self.num_users + batch.negatives,
        )
        squares = torch.stack([self.embeddings[row].square().sum() for row in rows]).sum()
        return self.config.l2 / (2 * len(batch.users)) * squares

    def train(self, mode: bool = True) -> Self:
        """As `torch.nn.Module.train`; what `representations` kept is let go."""
        self._cached = None
        return super().train(mode)

    @torch.no_grad()
    def representations(self) -> tuple[Tensor, Tensor]:
        """Final embeddings (M, d) and (N, d) without gradient.

        In evaluation mode they are kept until a parameter changes, or the mode does.
        """
        if self.training:
            return self.propagate()
        # torch counts changes in place, such as a loaded state's; a fused optimiser's it does not.
        version = [(value.data_ptr(), value._version) for value in self.parameters()]
        if self._cached is None or self._cached[0] != version:
            self._cached = (version, self.propagate())
        return self._cached[1]

    @torch.no_grad()
    def score(self, users: Tensor, history: Interactions) -> Tensor:
        """<e_u, e_i> for all items, (B, num_items); `history` is not used."""
        own, items = self.vectors(users, history)
        return own @ items.T

    @torch.no_grad()
    def vectors(self, users: Tensor, history: Interactions) -> tuple[Tensor, Tensor]:
        """Final embeddings e_u (B, d) and e_i (num_items, d)."""
        check_users(users, self.data)
        all_users, items = self.representations()
        return all_users[users], items

    @torch.no_grad()
    def embed(self, data: Interactions) -> Tensor:
        """Final item embeddings (num_items, d)."""
        return self.representations()[1].clone()
