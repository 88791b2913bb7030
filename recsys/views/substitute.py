"""Replace random items of a sequence by similar ones."""

from __future__ import annotations

import torch
from torch import Tensor

from recsys.views.checks import check_count, check_padding, check_rate, check_sequences, check_whole
from recsys.views.neighbours import NeighbourTable, co_occurring_items, nearest_rows
from recsys.views.places import Draw, check_draw, drawn_places, inside


def substitute_items(
    items: Tensor,
    lengths: Tensor,
    rate: float,
    generator: torch.Generator | None = None,
    *,
    neighbours: Tensor | NeighbourTable,
    draw: Draw = "count",
    least: int = 0,
    padding: int = 0,
) -> tuple[Tensor, Tensor]:
    """Functional twin of `SubstituteItems`; the same arguments."""
    check_sequences(items, lengths)
    padding = check_padding(padding, items)
    rate, draw = check_rate("rate", rate), check_draw(draw)
    least = check_count("least", least, least=0)
    table = neighbours if isinstance(neighbours, NeighbourTable) else NeighbourTable(neighbours)
    width = items.shape[1]
    replaced = drawn_places(lengths, width, rate, generator, draw, least)
    similar, _ = table.draw(items, generator)
    changed = similar.where(replaced, items)
    return changed.masked_fill(~inside(lengths, width), padding), lengths.long().clone()


class SubstituteItems:
    """Replace a random share of the items by similar ones.

    The similar item is drawn uniformly from a table of neighbours: with one neighbour each, by
    co-occurrence, this is CoSeRec's substitute (Liu et al. 2021, arXiv 2108.06479, section 3.2);
    with the k nearest by any embedding and `draw="each"`, the semantic replacement of SRA-CL
    (Cui et al. 2025, arXiv 2503.04162). An item without neighbours stays.

    Shapes:
        items integers (B, L), padded on the right; lengths integers (B,). Returns items of the
        same shape and dtype, and lengths int64 (B,), unchanged.

    Args:
        rate: the share replaced, in [0, 1].
        neighbours: integers (num_items, K), -1 where there are fewer than K; see
            `from_embedding` and `from_histories`.
        draw: "count" replaces exactly floor(rate n) items, "each" every one by itself.
        least: with "count", at least so many are replaced, or all of a shorter sequence: of a
            short one floor(rate n) is none.
        padding: what is written after the end.

    Raises:
        ArgumentError: an argument is not allowed, shapes or dtypes are wrong, or an item of the
            table does not fit the dtype of the items.

    Example:
        >>> substitute = SubstituteItems.from_embedding(0.5, torch.randn(100, 8), count=10)
        >>> items, lengths = substitute(torch.arange(10)[None], torch.tensor([10]))
    """

    def __init__(
        self,
        rate: float,
        neighbours: Tensor | NeighbourTable,
        *,
        draw: Draw = "count",
        least: int = 0,
        padding: int = 0,
    ) -> None:
        self.rate = check_rate("rate", rate)
        self.neighbours = (
            neighbours if isinstance(neighbours, NeighbourTable) else NeighbourTable(neighbours)
        )
        self.draw = check_draw(draw)
        self.least = check_count("least", least, least=0)
        self.padding = check_whole("padding", padding)

    @classmethod
    def from_embedding(
        cls,
        rate: float,
        embedding: Tensor,
        count: int = 10,
        *,
        draw: Draw = "count",
        least: int = 0,
        padding: int = 0,
    ) -> SubstituteItems:
        """Neighbours: the `count` nearest rows of any `embedding` (num_items, d), by cosine."""
        return cls(rate, nearest_rows(embedding, count), draw=draw, least=least, padding=padding)

    @classmethod
    def from_histories(
        cls,
        rate: float,
        items: Tensor,
        offsets: Tensor,
        num_items: int,
        count: int = 1,
        *,
        draw: Draw = "count",
        least: int = 0,
        padding: int = 0,
    ) -> SubstituteItems:
        """Neighbours: the `count` items that co-occur most; see `co_occurring_items`."""
        neighbours = co_occurring_items(items, offsets, num_items, count)
        return cls(rate, neighbours, draw=draw, least=least, padding=padding)

    def __call__(
        self, items: Tensor, lengths: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """One view of every row."""
        return substitute_items(
            items,
            lengths,
            self.rate,
            generator,
            neighbours=self.neighbours,
            draw=self.draw,
            least=self.least,
            padding=self.padding,
        )

    def __repr__(self) -> str:
        return f"SubstituteItems({self.rate:g})"
