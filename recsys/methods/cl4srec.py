"""CL4SRec: two random views of a sequence should be encoded alike.

Xie et al., "Contrastive Learning for Sequential Recommendation", ICDE 2022 (arXiv 2010.14395).

For subsequences s drawn from the batch, two views by an operator each, drawn from crop, mask and
reorder (section 3.3), h their last states:

    total = next_item + contrast_weight * InfoNCE(h(view_1(s)), h(view_2(s)))        (eq. 4, 8)

over the 2B views, by dot products over the temperature.

Deviations: the next-item part is the full softmax at every position instead of one sampled
negative, as for SASRec here; the contrasted sequences are prefixes drawn from all positions of the
batch (`anchors`), where the authors take each user's whole history.

Cost of a step: that of SASRec, and two more encodings of `anchors` subsequences.
"""

from __future__ import annotations

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
from recsys.views import CropItems, MaskItems, OneOf, ReorderItems


class CL4SRecConfig(ContrastiveConfig):
    """Settings of CL4SRec."""

    crop: float = tunable(0.4, low=0.1, high=0.9, ge=0, le=1)
    """Share of a sequence cut away."""
    mask: float = tunable(0.5, low=0.1, high=0.9, ge=0, le=1)
    reorder: float = tunable(0.5, low=0.1, high=0.9, ge=0, le=1)


class CL4SRec(ContrastiveSequential):
    """Random views of subsequences, encoded alike (Xie et al. 2022)."""

    Config = CL4SRecConfig
    tokens = 1

    def __init__(self, config: CL4SRecConfig, data: Interactions) -> None:
        super().__init__(config, data)
        self.view = self.make_view()

    def make_view(self) -> OneOf:
        """The operators that a view is drawn from."""
        config, padding = self.config, self.encoder.padding_id
        return OneOf(
            [
                CropItems(config.crop, padding=padding),
                MaskItems(config.mask, self.encoder.mask_id, padding=padding),
                ReorderItems(config.reorder, padding=padding),
            ],
            padding=padding,
        )

    def loss(self, batch: SequenceBatch, generator: torch.Generator) -> dict[str, Tensor]:
        """`total`, the next-item loss under its name, and `view_contrast`."""
        next_item = self.next_item(batch, generator)
        places = batch.places[self.anchors(batch, generator)]
        items, lengths = self.subsequences.gather(self.subsequences.row_at[places])
        first, second = (self.last_states(*self.view(items, lengths, generator)) for _ in range(2))
        contrast = paired_info_nce(first, second, self.config.temperature)
        return {
            "total": next_item + self.config.contrast_weight * contrast,
            self.next_item_loss.name: next_item,
            "view_contrast": contrast,
        }
