"""DuoRec: the same sequence under another dropout, and other sequences with the same target.

Qiu et al., "Contrastive Learning for Representation Degeneration Problem in Sequential
Recommendation", WSDM 2022 (arXiv 2110.05730).

For subsequences s with next item y, h'(s) the state of a pass of their own (other dropout than the
next-item loss sees), and s+ another subsequence that is followed by y:

    total = next_item + contrast_weight * InfoNCE(h'(s), h(s+))

over the 2B rows, by dot products over the temperature. Rows with the same target are no negatives
of each other.

Deviations: the authors keep same-target rows as negatives; full softmax and anchors as in CL4SRec
here. A subsequence without a mate stands in for itself.

Cost of a step: that of SASRec, and two more encodings of `anchors` subsequences.
"""

from __future__ import annotations

import torch
from torch import Tensor

from recsys.data.batches import SequenceBatch
from recsys.data.interactions import Interactions
from recsys.methods.sequence_contrast import (
    ContrastiveConfig,
    ContrastiveSequential,
    paired_info_nce,
)
from recsys.views import SameTargetSubsequences


class DuoRecConfig(ContrastiveConfig):
    """Settings of DuoRec."""


class DuoRec(ContrastiveSequential):
    """Dropout views and same-target views (Qiu et al. 2022)."""

    Config = DuoRecConfig

    def __init__(self, config: DuoRecConfig, data: Interactions) -> None:
        super().__init__(config, data)
        self.same_target = SameTargetSubsequences(self.subsequences)

    def loss(self, batch: SequenceBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """`total`, the next-item loss under its name, and `contrast`."""
        next_item = self.next_item(batch, generator)
        chosen = self.anchors(batch, generator)
        rows, targets = self.subsequences.row_at[batch.places[chosen]], batch.targets[chosen]
        items, lengths = self.subsequences.gather(rows)
        mates = self.same_target(items, lengths, generator, targets=targets, rows=rows)
        again, mate = self.last_states(items, lengths), self.last_states(*mates)
        contrast = paired_info_nce(again, mate, self.config.temperature, labels=targets)
        return {
            "total": next_item + self.config.contrast_weight * contrast,
            self.next_item_loss.name: next_item,
            "contrast": contrast,
        }
