"""Keep a random contiguous part of a sequence."""

from __future__ import annotations

import torch
from torch import Tensor

from recsys.views.checks import check_padding, check_rate, check_sequences, check_whole
from recsys.views.places import inside, share, whole_below


def crop_items(
    items: Tensor,
    lengths: Tensor,
    rate: float,
    generator: torch.Generator | None = None,
    *,
    padding: int = 0,
) -> tuple[Tensor, Tensor]:
    """Functional twin of `CropItems`; the same arguments."""
    check_sequences(items, lengths)
    padding = check_padding(padding, items)
    rate = check_rate("rate", rate)
    lengths = lengths.long()
    kept = torch.maximum(share(lengths, 1 - rate), lengths.clamp(max=1))
    start = whole_below(lengths - kept + 1, generator)
    real = inside(kept, items.shape[1])
    place = torch.arange(items.shape[1], device=items.device)
    source = (start[:, None] + place).where(real, place)
    return items.gather(1, source).masked_fill(~real, padding), kept


class CropItems:
    """Cut a random share of a sequence away at its two ends.

    Of n items a contiguous part of max(1, floor((1 - rate) n)) stays, from a uniformly drawn
    start: the item crop of CL4SRec (Xie et al. 2020, arXiv 2010.14395, section 3.3), whose
    ratio is 1 - rate.

    Shapes:
        items integers (B, L), padded on the right; lengths integers (B,). Returns items of the
        same shape and dtype, and lengths int64 (B,).

    Args:
        rate: the share cut away, in [0, 1]; 0 keeps everything.
        padding: what is written after the new end.

    Raises:
        ArgumentError: `rate` lies outside [0, 1], `padding` is no whole number, or shapes or dtypes
            are wrong.

    Example:
        >>> crop = CropItems(0.4)
        >>> items, lengths = crop(torch.arange(1, 11)[None], torch.tensor([10]))
        >>> int(lengths)
        6
    """

    def __init__(self, rate: float, *, padding: int = 0) -> None:
        self.rate = check_rate("rate", rate)
        self.padding = check_whole("padding", padding)

    def __call__(
        self, items: Tensor, lengths: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """One view of every row."""
        return crop_items(items, lengths, self.rate, generator, padding=self.padding)

    def __repr__(self) -> str:
        return f"CropItems({self.rate:g})"
