"""Put similar items into a sequence."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from recsys.views.checks import check_count, check_padding, check_rate, check_sequences, check_whole
from recsys.views.neighbours import NeighbourTable
from recsys.views.places import drawn_places, inside


def insert_items(
    items: Tensor,
    lengths: Tensor,
    rate: float,
    generator: torch.Generator | None = None,
    *,
    neighbours: Tensor | NeighbourTable,
    least: int = 0,
    max_length: int | None = None,
    padding: int = 0,
) -> tuple[Tensor, Tensor]:
    """Functional twin of `InsertItems`; the same arguments."""
    check_sequences(items, lengths)
    padding = check_padding(padding, items)
    rate, least = check_rate("rate", rate), check_count("least", least, least=0)
    table = neighbours if isinstance(neighbours, NeighbourTable) else NeighbourTable(neighbours)
    lengths = lengths.long()
    batch, width = items.shape
    most = width if max_length is None else check_count("max_length", max_length)
    if most < width:
        raise ArgumentError(f"max_length must not be below the width {width} (got {most})")
    chosen = drawn_places(lengths, width, rate, generator, "count", least)
    similar, has = table.draw(items, generator)
    chosen &= has
    # Item number p goes behind the items inserted at or before p, its own one directly before it.
    added = chosen.long().cumsum(1)
    new_lengths = lengths + chosen.sum(1)
    # What exceeds the window is cut at the front: the latest items count most.
    cut = (new_lengths - most).clamp(min=0)[:, None]
    place = torch.arange(width, device=items.device) + added - cut
    real = inside(lengths, width)
    result = items.new_full((batch, most + 1), padding)
    for values, where, wanted in ((items, place, real), (similar, place - 1, chosen)):
        # The last column takes everything that is not wanted and is then dropped.
        target = where.where(wanted & (where >= 0), torch.full_like(where, most))
        result = result.scatter(1, target, values)
    new_lengths = new_lengths.clamp(max=most)
    # What follows is padding that an encoder would pay for.
    longest = max(width, int(new_lengths.max()) if batch else 0)
    return result[:, :longest], new_lengths


class InsertItems:
    """Put a similar item before a random share of the items.

    CoSeRec's insert (Liu et al. 2021, arXiv 2108.06479, section 3.2): floor(rate n) items are
    drawn, and before each one an item is inserted that is similar to it. Of a result that is
    longer than `max_length` the latest items stay.

    Shapes:
        items integers (B, L), padded on the right; lengths integers (B,). Returns items
        (B, L') of the same dtype, L' the longest result and at least L, and lengths int64 (B,).

    Args:
        rate: inserted items as a share of the sequence, in [0, 1].
        neighbours: integers (num_items, K), -1 where there are fewer than K; nothing is inserted
            before an item without neighbours. `recsys.views.neighbours` builds such tables.
        least: items drawn at least, or all of a shorter sequence: of a short one floor(rate n) is
            none.
        max_length: longest result, at least L; None is L.
        padding: what is written after the end.

    Raises:
        ArgumentError: an argument is not allowed, shapes or dtypes are wrong, or an item of the
            table does not fit the dtype of the items.

    Example:
        >>> insert = InsertItems(0.5, torch.tensor([[1], [2], [0]]), max_length=6)
        >>> items, lengths = insert(torch.tensor([[0, 1, 2, 0]]), torch.tensor([4]))
        >>> int(lengths)
        6
    """

    def __init__(
        self,
        rate: float,
        neighbours: Tensor | NeighbourTable,
        *,
        least: int = 0,
        max_length: int | None = None,
        padding: int = 0,
    ) -> None:
        self.rate = check_rate("rate", rate)
        self.neighbours = (
            neighbours if isinstance(neighbours, NeighbourTable) else NeighbourTable(neighbours)
        )
        self.max_length = (
            max_length if max_length is None else check_count("max_length", max_length)
        )
        self.least = check_count("least", least, least=0)
        self.padding = check_whole("padding", padding)

    def __call__(
        self, items: Tensor, lengths: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """One view of every row."""
        return insert_items(
            items,
            lengths,
            self.rate,
            generator,
            neighbours=self.neighbours,
            least=self.least,
            max_length=self.max_length,
            padding=self.padding,
        )

    def __repr__(self) -> str:
        return f"InsertItems({self.rate:g})"
