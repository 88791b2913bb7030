"""SRA-CL: positives that mean the same, retrieved by what items are and not by who took them.

Cui et al., "Semantic Retrieval Augmented Contrastive Learning for Sequential Recommendation",
NeurIPS 2025 (arXiv 2503.04162).

With g an embedding of what items mean, and g(s) that of a subsequence s:

    cross = InfoNCE(h(s), sum_j alpha_j h(s_j)),  s_1 ... s_k the nearest of s by g among others'
            subsequences, alpha learned from g (`NeighbourSynthesis`)
    intra = InfoNCE(h(view_1(s)), h(view_2(s))),  a view replaces each item with probability
            `substitute` by one of its k nearest by g
    total = next_item + contrast_weight * cross + intra_weight * intra

by dot products over the temperature.

Deviations: the authors ask a large language model to describe every item and every subsequence,
and embed its answers; here g is any matrix of items (`embedding`, see
`recsys.data.item_embeddings`) and g(s) the mean over the items of s. Their pool holds every prefix,
also those with validation items and later ones of the same user, which contain the target; here it
holds training subsequences of other users, at most `pool` of them. A step encodes `encoded` of the
k neighbours of each anchor, drawn anew; the authors encode all and drop half of the weights. Full
softmax and anchors as in CL4SRec here. A subsequence without neighbours is not contrasted.

Cost of a step: that of SASRec, and 2 + `encoded` more encodings of `anchors` subsequences, 3 +
`encoded` where histories are longer than `max_length`.
Retrieval, once: O(R P D) time for R subsequences and a pool of P, and O(R (D + k)) memory: some
10 s for the 97 thousand subsequences of MovieLens-100k.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from graphcl.config import tunable
from graphcl.errors import ArgumentError
from recsys.data.batches import SequenceBatch
from recsys.data.interactions import Interactions
from recsys.data.item_embeddings import item_embedding
from recsys.methods.sequence_contrast import (
    ContrastiveConfig,
    ContrastiveSequential,
    paired_info_nce,
)
from recsys.views import NeighbourSynthesis, SubstituteItems, nearest_rows
from recsys.views.places import uniform


class SRACLConfig(ContrastiveConfig):
    """Settings of SRA-CL; `contrast_weight` is the weight of the cross-sequence part (alpha)."""

    intra_weight: float = tunable(0.1, low=0.01, high=0.5, log=True, ge=0)
    """Weight of the part within a sequence (beta)."""
    neighbours: int = tunable(10, choices=[5, 10, 20], ge=1)
    """Semantic neighbours of an item and of a subsequence (k)."""
    substitute: float = tunable(0.2, low=0.1, high=0.5, ge=0, le=1)
    embedding: str = "auto"
    """What items mean: words, sentences, histories, auto, or the path of a .npy file."""
    embedding_dimension: int = tunable(64, choices=[32, 64, 128], ge=1)
    """Width of an embedding by words or histories."""
    pool: int = tunable(16384, choices=[4096, 16384, 65536], ge=1)
    """Subsequences that may be neighbours; drawn at random where there are more."""
    encoded: int = tunable(2, choices=[1, 2, 5], ge=1)
    """Neighbours that a step encodes for each anchor."""
    synthesis_dropout: float = tunable(0.0, choices=[0.0, 0.2, 0.5], ge=0, lt=1)
    """Rate on the weights of neighbours; the authors take 0.5, and encode all neighbours."""


class SRACL(ContrastiveSequential):
    """Contrast with semantic neighbours, across and within sequences (Cui et al. 2025)."""

    Config = SRACLConfig

    def __init__(
        self, config: SRACLConfig, data: Interactions, embedding: Tensor | None = None
    ) -> None:
        """`embedding`, floating (num_items, D), takes the place of the setting of that name."""
        super().__init__(config, data)
        if embedding is None:
            embedding = item_embedding(data, config.embedding, config.embedding_dimension)
        if embedding.dim() != 2 or len(embedding) != data.num_items:
            raise ArgumentError(
                f"embedding must be ({data.num_items}, D), one row an item "
                f"(got {tuple(embedding.shape)})"
            )
        meaning = normalize(embedding.detach().to(data.device, torch.float32), dim=1)
        self.substitute = SubstituteItems.from_embedding(
            config.substitute,
            meaning,
            config.neighbours,
            draw="each",
            padding=self.encoder.padding_id,
        )
        self.meaning = self.subsequences.mean_embedding(meaning)
        """g(s) of every subsequence, (R, D)."""
        self.neighbours = nearest_rows(
            self.meaning,
            config.neighbours,
            groups=self.subsequences.users,
            pool=drawn_rows(len(self.meaning), config.pool).to(data.device),
        )
        """int64 (R, k), -1 where there are fewer."""
        self.synthesis = NeighbourSynthesis(
            meaning.shape[1], config.dimension, config.synthesis_dropout
        ).to(data.device)

    def loss(self, batch: SequenceBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """`total`, the next-item loss under its name, `cross` and `intra`."""
        config = self.config
        hidden = self.hidden(batch)
        next_item = self.next_item(batch, generator, hidden)
        chosen = self.anchors(batch, generator)
        rows = self.subsequences.row_at[batch.places[chosen]]
        items, lengths = self.subsequences.gather(rows)
        first, second = (
            self.last_states(*self.substitute(items, lengths, generator)) for _ in range(2)
        )
        intra = paired_info_nce(first, second, config.temperature)
        has = (self.neighbours[rows] >= 0).any(1)
        positive = self.synthesised(rows[has], generator)
        own = self.anchor_states(batch, chosen[has], hidden)
        cross = paired_info_nce(own, positive, config.temperature)
        return {
            "total": next_item + config.contrast_weight * cross + config.intra_weight * intra,
            self.next_item_loss.name: next_item,
            "cross": cross,
            "intra": intra,
        }

    def synthesised(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """The positive (B, d) that neighbours of subsequences `rows` int64 (B,) make."""
        found = self.drawn_neighbours(rows, generator)
        present = found >= 0
        found = found.clamp(min=0)
        states = self.last_states(*self.subsequences.gather(found.flatten()))
        positive: Tensor = self.synthesis(
            self.meaning[rows],
            self.meaning[found],
            states.view(*found.shape, states.shape[1]),
            present,
        )
        return positive

    def drawn_neighbours(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Up to `encoded` different neighbours of each row, int64 (B, m), -1 where fewer."""
        found = self.neighbours[rows]
        noise = uniform(tuple(found.shape), generator, found.device)
        order = noise.masked_fill(found < 0, 2.0).argsort(dim=1, stable=True)
        return found.gather(1, order[:, : self.config.encoded])


def drawn_rows(count: int, limit: int) -> Tensor:
    """Up to `limit` of the numbers below `count`, int64, ascending, always the same ones."""
    generator = torch.Generator().manual_seed(0)
    return torch.randperm(count, generator=generator)[:limit].sort().values
