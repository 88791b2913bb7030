"""Shuffle a random contiguous part of a sequence."""

from __future__ import annotations

import torch
from torch import Tensor

from recsys.views.checks import check_padding, check_rate, check_sequences, check_whole
from recsys.views.places import inside, share, uniform, whole_below


def reorder_items(
    items: Tensor,
    lengths: Tensor,
    rate: float,
    generator: torch.Generator | None = None,
    *,
    padding: int = 0,
) -> tuple[Tensor, Tensor]:
    """Functional twin of `ReorderItems`; the same arguments."""
    check_sequences(items, lengths)
    padding = check_padding(padding, items)
    rate = check_rate("rate", rate)
    lengths = lengths.long().clone()
    width = items.shape[1]
    moved = share(lengths, rate)
    start = whole_below(lengths - moved + 1, generator)[:, None]
    place = torch.arange(width, device=items.device)
    among = (place >= start) & (place < start + moved[:, None])
    # Sorted by these keys, the part gets a random order and everything else its own place.
    noise = uniform((len(items), width), generator, items.device).double()
    keys = torch.where(among, start + noise * (moved[:, None] - 0.5), place.double())
    source = keys.argsort(dim=1, stable=True)
    return items.gather(1, source).masked_fill(~inside(lengths, width), padding), lengths


class ReorderItems:
    """Shuffle a random contiguous part of a sequence.

    Of n items a part of floor(rate n), from a uniformly drawn start, gets a uniformly drawn
    order: the item reorder of CL4SRec (Xie et al. 2020, arXiv 2010.14395, section 3.3).

    Shapes:
        items integers (B, L), padded on the right; lengths integers (B,). Returns items of the
        same shape and dtype, and lengths int64 (B,), unchanged.

    Args:
        rate: the share shuffled, in [0, 1].
        padding: what is written after the end.

    Raises:
        ArgumentError: `rate` lies outside [0, 1], `padding` is no whole number, or shapes or dtypes
            are wrong.

    Example:
        >>> items, _ = ReorderItems(0.6)(torch.arange(1, 11)[None], torch.tensor([10]))
        >>> sorted(items[0].tolist()) == list(range(1, 11))
        True
    """

    def __init__(self, rate: float, *, padding: int = 0) -> None:
        self.rate = check_rate("rate", rate)
        self.padding = check_whole("padding", padding)

    def __call__(
        self, items: Tensor, lengths: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """One view of every row."""
        return reorder_items(items, lengths, self.rate, generator, padding=self.padding)

    def __repr__(self) -> str:
        return f"ReorderItems({self.rate:g})"
