"""CoSeRec: views that respect which items go together.

Liu et al., "Contrastive Self-supervised Sequential Recommendation with Robust Augmentation"
(arXiv 2108.06479).

As CL4SRec, with two more operators: substitute an item by one that occurs with it, and insert such
an item. Short sequences, of fewer than `short` items, only draw from these two and mask, which
leave them recognisable (section 3.3). Substitute and insert take at least one item, as in the
authors' code: the floor of a share of a short sequence is none, and its two views would differ by
dropout alone.

    total = next_item + contrast_weight * InfoNCE(h(view_1(s)), h(view_2(s)))

Deviations: items go together by co-occurrence in histories with weights by length (ItemCF); the
authors switch to the cosine of learned embeddings during training. The authors' code reorders with
the mask rate by an oversight; here each operator has its own. Full softmax and anchors as in
CL4SRec here.

Cost of a step: that of CL4SRec, with five operators computed for every view. The item-to-item
counts are made once, O(sum of squared lengths).
"""

from __future__ import annotations

from pydantic import Field

from graphcl.config import tunable
from recsys.methods.cl4srec import CL4SRec, CL4SRecConfig
from recsys.views import (
    CropItems,
    InsertItems,
    MaskItems,
    NeighbourTable,
    OneOf,
    ReorderItems,
    SubstituteItems,
    co_occurring_items,
)


class CoSeRecConfig(CL4SRecConfig):
    """Settings of CoSeRec."""

    crop: float = tunable(0.4, low=0.1, high=0.9, ge=0, le=1)
    mask: float = tunable(0.3, low=0.1, high=0.9, ge=0, le=1)
    reorder: float = tunable(0.2, low=0.1, high=0.9, ge=0, le=1)
    substitute: float = tunable(0.2, low=0.1, high=0.5, ge=0, le=1)
    insert: float = tunable(0.4, low=0.1, high=0.5, ge=0, le=1)
    short: int = tunable(4, choices=[4, 8, 12], ge=0)
    """Sequences with fewer items keep to the operators that leave them recognisable."""
    neighbours: int = Field(default=1, ge=1)
    """Items that may stand in for one; the authors take the nearest."""


class CoSeRec(CL4SRec):
    """Views by operators that respect which items go together (Liu et al. 2021)."""

    Config = CoSeRecConfig

    def make_view(self) -> OneOf:
        """The operators that a view of a long, and of a short sequence is drawn from."""
        config, padding, data = self.config, self.encoder.padding_id, self.data
        table = NeighbourTable(
            co_occurring_items(data.items, data.offsets, data.num_items, config.neighbours)
        )
        mask = MaskItems(config.mask, self.encoder.mask_id, padding=padding)
        substitute = SubstituteItems(config.substitute, table, least=1, padding=padding)
        insert = InsertItems(
            config.insert, table, least=1, max_length=config.max_length, padding=padding
        )
        crop = CropItems(config.crop, padding=padding)
        reorder = ReorderItems(config.reorder, padding=padding)
        return OneOf(
            [crop, mask, reorder, substitute, insert],
            short=[mask, substitute, insert],
            threshold=config.short,
            padding=padding,
        )
