"""ItemKNN: items similar to those a user took, by the cosine of who took them.

Sarwar, Karypis, Konstan & Riedl, "Item-Based Collaborative Filtering Recommendation Algorithms",
WWW 2001 (doi 10.1145/371920.372071), for logs without ratings as in Deshpande & Karypis,
"Item-Based Top-N Recommendation Algorithms", TOIS 2004 (doi 10.1145/963770.963776).

    cos(i, j) = |U_i and U_j| / (sqrt(|U_i| |U_j|) + shrinkage)       U_i: who took item i
    s(u, j) = sum of cos(i, j) over the items i that u took and that are among the `neighbours`
              items most similar to j

A baseline without parameters that beats many a graph network on sparse logs. Deviations: the
neighbours kept are those of the item to be scored (Sarwar et al.; Deshpande & Karypis keep those
of the item taken, scaled to sum 1); shrinkage is a later habit, and 0 is the papers' formula.

Cost: one sparse product R^T R in blocks of rows, never N x N at once; O(N neighbours) memory.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from graphcl.config import tunable
from graphcl.kernels.sparse_matrix import SparseMatrix
from graphcl.kernels.spmm import spmm
from graphcl.kernels.svd import truncated_svd
from graphcl.methods.contract import MethodConfig
from recsys.data.interactions import Interactions
from recsys.data.sequences import flat_histories
from recsys.methods.contract import Recommender, check_users

CELLS = 1 << 24
"""Largest number of similarities held at once."""
EMBEDDING_WIDTH = 64


class ItemKNNConfig(MethodConfig):
    """Settings of ItemKNN."""

    epochs: int = 0
    neighbours: int = tunable(100, choices=[10, 20, 50, 100, 200, 400], ge=1)
    """Similar items kept for each item."""
    shrinkage: float = tunable(0.0, choices=[0.0, 1.0, 10.0, 100.0], ge=0)
    """Added to the denominator: similarities of rare items count less."""
    known: Literal["train", "history"] = "train"
    """What a user is known by: the training items only, as every graph method, or all that is
    known at that moment (validation items at test time; a new user's items)."""


class ItemKNN(Recommender):
    """Cosine similarity of items by their users, `neighbours` kept for each item."""

    Config: ClassVar[type[MethodConfig]] = ItemKNNConfig
    tasks: ClassVar[tuple[str, ...]] = ("ranking", "next-item", "cold-start")
    trainable: ClassVar[bool] = False

    similar: Tensor
    """int64 (N, k): the items most similar to each, best first."""
    similarity: Tensor
    """float32 (N, k), 0 where there are fewer than k."""

    def __init__(self, config: ItemKNNConfig, data: Interactions) -> None:
        super().__init__(config, data)
        similar, similarity = cosine_neighbours(data, config.neighbours, config.shrinkage)
        self.register_buffer("similar", similar)
        self.register_buffer("similarity", similarity)

    @torch.no_grad()
    def score(self, users: Tensor, history: Interactions) -> Tensor:
        """Sums of similarities, float32 (B, num_items); zero for a user without items."""
        return self.score_newcomers(users, self.data if self.config.known == "train" else history)

    @torch.no_grad()
    def score_newcomers(self, users: Tensor, history: Interactions) -> Tensor:
        """Sums of similarities to the items of `history`, float32 (B, num_items)."""
        check_users(users, history)
        taken = self.similarity.new_zeros(len(users), self.data.num_items)
        # Repeated interactions count once.
        taken[flat_histories(history.to(taken.device), users)] = 1.0
        return spmm(self.similarities(), taken.T.contiguous()).T

    @torch.no_grad()
    def item_similarity(self, items: Tensor) -> Tensor:
        """The cosine of the neighbours that were kept, 0 for all others: (B, num_items)."""
        rows = self.similarity.new_zeros(len(items), self.data.num_items)
        return rows.scatter_(1, self.similar[items], self.similarity[items])

    def similarities(self) -> SparseMatrix:
        """Row j holds what is similar to item j: (N, N)."""
        items, width = self.similar.shape
        pointer = torch.arange(items + 1, device=self.similar.device) * width
        return SparseMatrix(
            pointer, self.similar.flatten(), self.similarity.flatten(), (items, items)
        )

    @torch.no_grad()
    def embed(self, data: Interactions) -> Tensor:
        """(num_items, at most 64): vectors whose inner products are the cosines, as near as can be.

        R with columns of length one is U S V^T; the rows of V S are returned.
        """
        users, items = data.edges()
        length = torch.bincount(items, minlength=data.num_items).clamp(min=1).float().rsqrt()
        matrix = SparseMatrix.from_edge_index(
            torch.stack([users, items]),
            length[items],
            shape=(data.num_users, data.num_items),
        )
        rank = min(EMBEDDING_WIDTH, data.num_users, data.num_items)
        svd = truncated_svd(matrix, rank, generator=torch.Generator().manual_seed(0))
        return svd.right * svd.singular


def cosine_neighbours(
    data: Interactions, neighbours: int, shrinkage: float = 0.0
) -> tuple[Tensor, Tensor]:
    """The `neighbours` most similar items of each item and their similarities, best first.

    Args:
        data: the training log; repeated interactions count once.
        neighbours: at least 1; at most all other items are returned.
        shrinkage: at least 0, see the module.

    Returns:
        int64 and float32, both (N, k) with k = min(neighbours, N). An item itself and items that
        share no user have similarity 0.
    """
    users, items = data.edges()
    shape = (data.num_users, data.num_items)
    taken = SparseMatrix.from_edge_index(torch.stack([users, items]), shape=shape).to_scipy()
    by_item = taken.T.tocsr()
    length = torch.bincount(items, minlength=data.num_items).double().sqrt().to("cpu")
    width = min(neighbours, data.num_items)
    step = max(1, CELLS // data.num_items)
    similar, similarity = [], []
    for start in range(0, data.num_items, step):
        together = torch.from_numpy((by_item[start : start + step] @ taken).toarray()).double()
        rows = torch.arange(len(together))
        together[rows, start + rows] = 0.0
        scale = length[start : start + step, None] * length + shrinkage
        cosine = together / torch.where(scale > 0, scale, 1.0)
        best = cosine.topk(width, dim=1)
        similar.append(best.indices)
        similarity.append(best.values.float())
    return torch.cat(similar).to(data.device), torch.cat(similarity).to(data.device)
