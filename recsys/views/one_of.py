"""A random choice among views, drawn for each sequence."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from recsys.views.checks import check_count, check_fits, check_sequences, check_whole
from recsys.views.places import whole_below

SequenceView = Callable[[Tensor, Tensor, "torch.Generator | None"], tuple[Tensor, Tensor]]


class OneOf:
    """Apply to every sequence one of several views, drawn uniformly.

    The random choice of an operator in CL4SRec (Xie et al. 2020, arXiv 2010.14395, section 3.3)
    and, with `pair`, of two different ones in MCLRec (Qin et al. 2023, arXiv 2304.07763).
    Sequences shorter than `threshold` choose among `short` only: CoSeRec (Liu et al. 2021,
    arXiv 2108.06479) keeps short sequences away from operators that destroy them. Every view is
    computed for every row and one is taken, so the cost is that of all views together.

    Shapes:
        items integers (B, L), padded on the right; lengths integers (B,). Returns items
        (B, L') of the same dtype, L' the widest of the views' results, and lengths int64 (B,).

    Args:
        views: at least one view.
        short: the views of short sequences; None gives them `views` as well.
        threshold: sequences with fewer items than this are short.
        padding: what widens a narrower view's result.

    Raises:
        ArgumentError: there is no view, one cannot be called, `threshold` or `padding` is no whole
            number, or shapes or dtypes are wrong.

    Example:
        >>> from recsys.views import CropItems, ReorderItems
        >>> view = OneOf([CropItems(0.4), ReorderItems(0.6)])
        >>> items, lengths = view(torch.arange(1, 11)[None], torch.tensor([10]))
    """

    def __init__(
        self,
        views: Sequence[SequenceView],
        short: Sequence[SequenceView] | None = None,
        threshold: int = 0,
        *,
        padding: int = 0,
    ) -> None:
        self.views = list(views)
        self.short = None if short is None else list(short)
        if not self.views or (self.short is not None and not self.short):
            raise ArgumentError("a choice of views needs at least one view (got none)")
        for view in (*self.views, *(self.short or ())):
            if not callable(view):
                raise ArgumentError(f"views must be callable (got {type(view).__name__})")
        self.threshold = check_count("threshold", threshold, least=0)
        self.padding = check_whole("padding", padding)

    def __call__(
        self, items: Tensor, lengths: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """One view of every row."""
        check_sequences(items, lengths)
        results = self._results(items, lengths, generator)
        limits = self._counts(lengths)
        return self._take(results, self._first(lengths) + whole_below(limits, generator))

    def pair(
        self, items: Tensor, lengths: Tensor, generator: torch.Generator | None = None
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Two views of every row by two different members (the same twice if there is one)."""
        check_sequences(items, lengths)
        limits = self._counts(lengths)
        first = whole_below(limits, generator)
        # A step of 1 .. limit - 1 around the circle reaches each other member alike.
        step = 1 + whole_below((limits - 1).clamp(min=1), generator)
        second = (first + step) % limits
        start = self._first(lengths)
        return (
            self._take(self._results(items, lengths, generator), start + first),
            self._take(self._results(items, lengths, generator), start + second),
        )

    def _results(
        self, items: Tensor, lengths: Tensor, generator: torch.Generator | None
    ) -> list[tuple[Tensor, Tensor]]:
        return [view(items, lengths, generator) for view in (*self.views, *(self.short or ()))]

    def _is_short(self, lengths: Tensor) -> Tensor:
        return (lengths < self.threshold) & (self.short is not None)

    def _first(self, lengths: Tensor) -> Tensor:
        return self._is_short(lengths).long() * len(self.views)

    def _counts(self, lengths: Tensor) -> Tensor:
        short = len(self.short or self.views)
        every = torch.full_like(lengths, len(self.views), dtype=torch.long)
        return every.masked_fill(self._is_short(lengths), short)

    def _take(self, results: list[tuple[Tensor, Tensor]], choice: Tensor) -> tuple[Tensor, Tensor]:
        width = max(items.shape[1] for items, _ in results)
        items = results[0][0]
        items = items.new_full((len(choice), width), check_fits("padding", self.padding, items))
        lengths = torch.zeros_like(choice)
        for number, (seen, seen_lengths) in enumerate(results):
            wanted = choice == number
            items[:, : seen.shape[1]] = seen.where(wanted[:, None], items[:, : seen.shape[1]])
            lengths = seen_lengths.where(wanted, lengths)
        return items, lengths

    def __repr__(self) -> str:
        return f"OneOf({self.views})"
