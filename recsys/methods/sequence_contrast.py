"""What contrastive sequence methods share: the anchors of a step and the loss of two views."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from graphcl.config import tunable
from graphcl.kernels.contrast import contrast, log_add_exp
from recsys.data.batches import SequenceBatch
from recsys.data.interactions import Interactions
from recsys.encoders import last_by_length
from recsys.methods.sequential import SequentialRecommender, TransformerConfig
from recsys.views import Prototypes, Subsequences

TOGETHER = 1024
"""Subsequences encoded at once for prototypes."""


def paired_info_nce(
    first: Tensor, second: Tensor, temperature: float, labels: Tensor | None = None
) -> Tensor:
    r"""InfoNCE over the 2B rows of two views, by dot products, without false negatives.

    .. math::
        \frac{1}{2B} \sum_a -\log
            \frac{e^{l_{a,p(a)}}}{e^{l_{a,p(a)}} + \sum_{c \in N(a)} e^{l_{ac}}}

    with l the dot product over the temperature and p(a) the other view of row a. N(a) is every
    other row but p(a) or, with `labels`, every row of another label: rows that share a's label
    are suspected to be alike (the false-negative mask of ICLRec and ICSRec).

    Args:
        first, second: (B, d) representations, un-normalised; row i of both are a pair.
        temperature: above 0.
        labels: None, or integers (B,).

    Returns:
        0-d mean; 0 without rows.
    """
    count = len(first)
    rows = torch.cat([first, second])
    place = torch.arange(2 * count, device=rows.device)
    partner = (place + count) % max(2 * count, 1)
    ids = None if labels is None else labels.repeat(2)
    # With ids, rows of the same label exclude each other, the row itself and its partner too.
    output = contrast(rows, scale=1.0 / temperature, positive=partner, row_ids=ids, decoupled=True)
    denominator = log_add_exp(output.denominator, output.positive)
    return (denominator - output.positive).sum() / max(2 * count, 1)


class ContrastiveConfig(TransformerConfig):
    """Settings of sequence methods with a contrastive part."""

    contrast_weight: float = tunable(0.1, low=0.01, high=0.5, log=True, ge=0)
    temperature: float = tunable(1.0, low=0.05, high=10.0, log=True, ge=1e-3, le=10)
    """Dot products are divided by it. The papers have 1; states of width 64 have length 8, whose
    products are up to 64, and a temperature of 8 can learn much sooner."""
    anchors: int = tunable(256, choices=[128, 256, 512], ge=2)
    """Subsequences contrasted in a step, drawn from all positions of the batch. Batches of long
    histories are of few users, and prefixes of one user are each other's negatives too: on Amazon
    Beauty 2 % of the negatives on average, 9 % in the worst batch."""


class ContrastiveSequential(SequentialRecommender):
    """Base of the methods that contrast subsequences beside predicting the next item."""

    config: Any

    def __init__(self, config: ContrastiveConfig, data: Interactions) -> None:
        super().__init__(config, data)
        self.subsequences = Subsequences(
            data.items, data.offsets, config.max_length, padding=self.encoder.padding_id
        )
        # The last item of a history is no input.
        self.several_windows = int(data.lengths().max()) > config.max_length + 1

    def anchors(self, batch: SequenceBatch, generator: torch.Generator) -> Tensor:
        """Up to `config.anchors` positions of the batch, int64, drawn without replacement."""
        count = len(batch.places)
        order = torch.randperm(count, generator=generator, device=generator.device)
        return order[: self.config.anchors].to(batch.places.device)

    def hidden(self, batch: SequenceBatch) -> Tensor:
        """The states (T, d) at the real positions, each of what its window holds up to there."""
        states: Tensor = self.encoder(batch.items, batch.lengths)[batch.real]
        return states

    def anchor_states(self, batch: SequenceBatch, chosen: Tensor, hidden: Tensor) -> Tensor:
        """The states (B, d) of the subsequences that end at the positions `chosen` int64 (B,).

        That is the one in `hidden`, where the window begins no later than the subsequence. In the
        later windows of a history longer than `max_length` it begins later: those subsequences,
        58 % of MovieLens-100k in windows of 100 and 6 % of Amazon Beauty in windows of 50, are
        encoded by themselves.
        """
        states = hidden[chosen]
        if not self.several_windows:
            return states
        apart = torch.nonzero(~self.whole(batch)[chosen]).flatten()
        rows = self.subsequences.row_at[batch.places[chosen[apart]]]
        if len(rows) == 0:
            return states
        return states.index_copy(0, apart, self.last_states(*self.subsequences.gather(rows)))

    def whole(self, batch: SequenceBatch) -> Tensor:
        """bool (T,): whether a position's window holds all of the subsequence that ends there."""
        seen = batch.real.cumsum(1)[batch.real]
        return seen == self.subsequences.lengths[self.subsequences.row_at[batch.places]]

    def last_states(self, items: Tensor, lengths: Tensor) -> Tensor:
        """`encoder.last` of every row (B, d); processes that train together divide the rows."""
        share = self.sharing.of(len(items))
        return share.gathered(last_by_length(self.encoder, items[share.rows], lengths[share.rows]))

    @torch.no_grad()
    def fit_prototypes(self, prototypes: Prototypes, generator: torch.Generator) -> None:
        """Move prototypes to the states, without dropout, of subsequences drawn from all.

        `prototypes.sample` are drawn for each prototype: of those that a window holds whole the
        states are cheaper, but where histories are long they are the short ones only, and the
        others, assigned to prototypes that have never seen their like, would fall on a few.
        """
        training = self.training
        self.eval()
        count = len(self.subsequences)
        drawn = torch.randperm(count, generator=generator, device=generator.device)
        rows = drawn[: prototypes.sample * prototypes.count].to(self.subsequences.lengths.device)
        # Rows of about equal length together.
        rows = rows[self.subsequences.lengths[rows].argsort()]
        states = [
            self.last_states(*self.subsequences.gather(part)) for part in rows.split(TOGETHER)
        ]
        prototypes.fit(torch.cat(states), generator)
        self.train(training)
