"""ICSRec: subsequences that lead to the same item share an intent, coarse and fine.

Qin et al., "Intent Contrastive Learning with Cross Subsequences for Sequential Recommendation",
WSDM 2024 (arXiv 2310.14318).

For subsequences s1 with next item y, and s2 another one with the same next item (section 3.2):

    coarse = InfoNCE(h(s1), h(s2)),  rows with the same next item no negatives
    fine   = InfoNCE(h(s1), c(s1)) + InfoNCE(h(s2), c(s2)),  rows of the same cluster no negatives
    total  = next_item + contrast_weight * coarse + fine_weight * fine                (eq. 15)

by dot products over the temperature, with c(s) the nearest of `intents` prototypes of
subsequences, of length one, found by k-means at the start of every epoch.

`positive: last` draws s2 as the authors' code does: always the last other subsequence of the
group, because its loop has no break; the default draws one at random, as the paper says.

Deviations: h(s1) is the state of the packed pass (the encoder is causal, so it is the state of the
prefix), or of a pass of its own where a history is longer than `max_length` and its window begins
after s1; k-means is of 64 subsequences for each prototype, drawn every epoch, and goes on from the
last epoch's centres over mini-batches, where the authors run it from scratch five times; contrast
is over `anchors` positions of a batch. A subsequence without a mate stands in for itself.

Cost of a step: that of SASRec, and one more encoding of `anchors` subsequences, or two where
histories are longer than `max_length`; of an epoch: one encoding of 64 `intents` subsequences, and
O(intents^2 d).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from graphcl.config import tunable
from recsys.data.batches import SequenceBatch
from recsys.data.interactions import Interactions
from recsys.methods.sequence_contrast import (
    ContrastiveConfig,
    ContrastiveSequential,
    paired_info_nce,
)
from recsys.views import Prototypes, SameTargetSubsequences


class ICSRecConfig(ContrastiveConfig):
    """Settings of ICSRec; `contrast_weight` is the weight of the coarse part (lambda)."""

    contrast_weight: float = tunable(0.3, low=0.05, high=0.5, log=True, ge=0)
    fine_weight: float = tunable(0.1, low=0.02, high=0.5, log=True, ge=0)
    intents: int = tunable(256, choices=[128, 256, 512, 1024], ge=1)
    positive: Literal["random", "last"] = "random"


class ICSRec(ContrastiveSequential):
    """Coarse and fine contrast of intents across subsequences (Qin et al. 2024)."""

    Config = ICSRecConfig

    def __init__(self, config: ICSRecConfig, data: Interactions) -> None:
        super().__init__(config, data)
        self.same_target = SameTargetSubsequences(self.subsequences)
        self.prototypes = Prototypes(config.intents, config.dimension).to(data.device)

    def epoch_start(self, epoch: int, generator: torch.Generator) -> None:
        """Move the prototypes to the states of subsequences, taken without dropout."""
        self.fit_prototypes(self.prototypes, generator)

    def loss(self, batch: SequenceBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """`total`, the next-item loss under its name, `coarse` and `fine`."""
        config = self.config
        hidden = self.hidden(batch)
        next_item = self.next_item(batch, generator, hidden)
        chosen = self.anchors(batch, generator)
        targets = batch.targets[chosen]
        first = self.anchor_states(batch, chosen, hidden)
        second = self.last_states(*self.mates(batch.places[chosen], targets, generator))
        coarse = paired_info_nce(first, second, config.temperature, labels=targets)
        fine = self.to_prototypes(first) + self.to_prototypes(second)
        return {
            "total": next_item + config.contrast_weight * coarse + config.fine_weight * fine,
            self.next_item_loss.name: next_item,
            "coarse": coarse,
            "fine": fine,
        }

    def mates(
        self, places: Tensor, targets: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Another subsequence with the same next item for every place: items and lengths."""
        rows = self.subsequences.row_at[places]
        items, lengths = self.subsequences.gather(rows)
        if self.config.positive == "random":
            return self.same_target(items, lengths, generator, targets=targets, rows=rows)
        ends = self.same_target.group_starts[targets + 1]
        last = self.same_target.order[ends - 1]
        # The last one's own mate is the one before it, if there is one.
        before = self.same_target.order[(ends - 2).clamp(min=0)]
        alone = self.same_target.group_sizes(targets) < 2
        found = last.where(last != rows, before).masked_fill(alone, -1)
        return self.subsequences.replace(items, lengths, found)

    def to_prototypes(self, states: Tensor) -> Tensor:
        """InfoNCE of states (B, d) with the prototypes of their clusters."""
        labels, centres = self.prototypes(states)
        centres = torch.nn.functional.normalize(centres, dim=1)
        return paired_info_nce(states, centres, self.config.temperature, labels=labels)
