"""Hide random items of a sequence behind a mask token."""

from __future__ import annotations

import torch
from torch import Tensor

from recsys.views.checks import check_fits, check_padding, check_rate, check_sequences, check_whole
from recsys.views.places import Draw, check_draw, drawn_places, inside


def mask_items(
    items: Tensor,
    lengths: Tensor,
    rate: float,
    generator: torch.Generator | None = None,
    *,
    mask_item: int,
    draw: Draw = "count",
    padding: int = 0,
) -> tuple[Tensor, Tensor]:
    """Functional twin of `MaskItems`; the same arguments."""
    check_sequences(items, lengths)
    padding = check_padding(padding, items)
    rate, draw = check_rate("rate", rate), check_draw(draw)
    mask_item = check_fits("mask_item", check_whole("mask_item", mask_item), items)
    width = items.shape[1]
    hidden = drawn_places(lengths, width, rate, generator, draw)
    masked = items.masked_fill(hidden, mask_item)
    return masked.masked_fill(~inside(lengths, width), padding), lengths.long().clone()


class MaskItems:
    """Replace a random share of the items by a mask token.

    The item mask of CL4SRec (Xie et al. 2020, arXiv 2010.14395, section 3.3). MCLRec's code
    writes the padding number instead of a token, which also takes the place out of attention:
    `mask_item=padding` in an encoder that hides padding by number.

    Shapes:
        items integers (B, L), padded on the right; lengths integers (B,). Returns items of the
        same shape and dtype, and lengths int64 (B,), unchanged.

    Args:
        rate: the share replaced, in [0, 1].
        mask_item: the token's number; it needs an embedding of its own.
        draw: "count" masks exactly floor(rate n) items, "each" every one by itself.
        padding: what is written after the end.

    Raises:
        ArgumentError: `rate`, `mask_item`, `draw` or `padding` is not allowed, or shapes or dtypes
            are wrong.

    Example:
        >>> mask = MaskItems(0.3, mask_item=99)
        >>> items, _ = mask(torch.arange(1, 11)[None], torch.tensor([10]))
        >>> int((items == 99).sum())
        3
    """

    def __init__(
        self, rate: float, mask_item: int, *, draw: Draw = "count", padding: int = 0
    ) -> None:
        self.rate = check_rate("rate", rate)
        self.mask_item = check_whole("mask_item", mask_item)
        self.draw = check_draw(draw)
        self.padding = check_whole("padding", padding)

    def __call__(
        self, items: Tensor, lengths: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """One view of every row."""
        return mask_items(
            items,
            lengths,
            self.rate,
            generator,
            mask_item=self.mask_item,
            draw=self.draw,
            padding=self.padding,
        )

    def __repr__(self) -> str:
        return f"MaskItems({self.rate:g}, mask_item={self.mask_item})"
