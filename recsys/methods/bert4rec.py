"""BERT4Rec: fill the gaps of a history, seeing both sides.

Sun et al., "BERT4Rec: Sequential Recommendation with Bidirectional Encoder Representations from
Transformer", CIKM 2019 (arXiv 1904.06690).

A random share of the items of a window is hidden behind a mask token; with h_t the state of a
bidirectional transformer at a hidden position,

    total = cross_entropy = mean over hidden positions of
            -log softmax_i(<LN(GELU(W h_t + b)), v_i>) at the item i that was hidden (eq. 7 and 8)

Prediction appends a mask token to the latest `max_length - 1` items and reads the state there, so
the paper also trains on windows of which only the last item is hidden (section 3.6): here a share
`last_only` of the rows, as one in eleven of the authors' code.

What the method needs and often does not get (Petrov & Macdonald, RecSys 2022, arXiv 2207.07483):
only the hidden fifth of the positions is a target in a step, so it wants many more epochs than
SASRec; stopping early with little patience ends it unfinished.

Deviations: no bias an item in the output; LN, the layer normalisation of the authors' code, is not
in the paper's equation; the last item of a row with none hidden by chance is
hidden; windows of a long history share one item with the next, instead of sliding; histories are
padded on the right. Neither padding nor mask is ever ranked.

Cost of an epoch: that of SASRec, with scores at the hidden positions only.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from graphcl.config import Count, tunable
from recsys.data.batches import SequenceBatch, SequenceBatches
from recsys.data.interactions import Interactions
from recsys.encoders.contract import SequenceEncoder
from recsys.encoders.sasrec import Activation, Norm
from recsys.methods.sequential import SequentialRecommender, TransformerConfig
from recsys.views.places import drawn_places, uniform


class BERT4RecConfig(TransformerConfig):
    """Settings of BERT4Rec."""

    epochs: int = tunable(200, low=50, high=1000, log=True, ge=0)
    evaluate_every: Count = 5
    patience: Count = 10
    minimum_epochs: Count = 50
    max_length: int = tunable(200, choices=[50, 100, 200], ge=2)
    mask: float = tunable(0.2, low=0.1, high=0.6, gt=0, le=1)
    """Share of the items that is hidden."""
    last_only: float = tunable(0.1, choices=[0.0, 0.1, 0.3], ge=0, le=1)
    """Share of the rows of which only the last item is hidden."""
    norm: Norm = tunable("post", choices=["pre", "post"])
    activation: Activation = tunable("gelu", choices=["relu", "gelu"])
    encoder: Literal["sasrec", "ligr"] = "sasrec"
    """sasrec, or ligr (gated layers, norm pre): a recurrent network has one side only."""


class BERT4Rec(SequentialRecommender):
    """A bidirectional transformer that fills gaps of a history (Sun et al. 2019)."""

    Config = BERT4RecConfig
    tokens = 1
    causal = False

    def __init__(self, config: BERT4RecConfig, data: Interactions) -> None:
        super().__init__(config, data)
        self.head = nn.Sequential(
            nn.Linear(config.dimension, config.dimension),
            nn.GELU(),
            nn.LayerNorm(config.dimension),
        ).to(data.device)
        # A window is the items before its last target, and that target.
        self._batches = SequenceBatches(
            data, self.history_length, config.batch_size, self.encoder.padding_id,
            targets_of=self.expected_hidden,
        )  # fmt: skip

    def expected_hidden(self, lengths: Tensor) -> Tensor:
        """How many items of windows of `lengths` + 1 items are hidden on average, (W,) float64."""
        items, rate, alone = lengths.double() + 1, self.config.mask, self.config.last_only
        # Where none is hidden by chance, the last one is.
        return alone + (1 - alone) * (items * rate + (1 - rate) ** items)

    def loss(self, batch: SequenceBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """`total` and the loss of the hidden items under its name."""
        items, lengths = whole_windows(batch, self.encoder.padding_id)
        hidden = self.hidden_places(lengths, items.shape[1], generator)
        users = batch.users[:, None].expand_as(hidden)[hidden]
        share = self.sharing.of(len(items))
        before = int(hidden[: share.start].sum())
        items, lengths, hidden = (part[share.rows] for part in (items, lengths, hidden))
        states = self.encoder(items.masked_fill(hidden, self.encoder.mask_id), lengths)[hidden]
        value = self.next_item_loss(
            self.head(states), self.encoder.item_table, items[hidden], users, generator,
            slice(before, before + len(states)),
        )  # fmt: skip
        value = share.mean(value, len(states), len(users))
        return {"total": value, self.next_item_loss.name: value}

    def hidden_places(self, lengths: Tensor, width: int, generator: torch.Generator) -> Tensor:
        """bool (B, width): what is masked, at least one item a row."""
        hidden = drawn_places(lengths, width, self.config.mask, generator, "each")
        alone = uniform((len(lengths),), generator, lengths.device) < self.config.last_only
        last = torch.arange(width, device=lengths.device) == (lengths - 1)[:, None]
        return last.where((alone | ~hidden.any(1))[:, None], hidden)

    @property
    def history_length(self) -> int:
        """One item less than the encoder takes: the mask needs a place."""
        length: int = self.config.max_length - 1
        return length

    def history_encoder(self) -> nn.Module:
        """What reads a mask token behind each history."""
        return MaskedHistoryEncoder(self.encoder, self.head)


class MaskedHistoryEncoder(nn.Module):
    """Histories -> the state at a mask token behind the last item of each, also of an empty one."""

    def __init__(self, encoder: SequenceEncoder, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, items: Tensor, lengths: Tensor) -> Tensor:
        """(B, L) and (B,) integers -> (B, d)."""
        shown = torch.nn.functional.pad(items, (0, 1), value=self.encoder.padding_id)
        shown = shown.scatter(1, lengths[:, None], self.encoder.mask_id)
        state: Tensor = self.head(self.encoder.last(shown, lengths + 1))
        return state


def whole_windows(batch: SequenceBatch, padding: int) -> tuple[Tensor, Tensor]:
    """Each window with its last target behind it: items (B, L + 1) and lengths (B,)."""
    ends = batch.lengths.cumsum(0) - 1
    items = torch.nn.functional.pad(batch.items, (0, 1), value=padding)
    return items.scatter(1, batch.lengths[:, None], batch.targets[ends][:, None]), batch.lengths + 1
