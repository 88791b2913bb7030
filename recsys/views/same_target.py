"""Other subsequences that lead to the same item."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from recsys.views.checks import check_integers, check_one_each, check_range, check_sequences
from recsys.views.places import whole_below
from recsys.views.subsequences import Subsequences


class SameTargetSubsequences:
    """Replace a sequence by another one that is followed by the same item.

    Two histories that lead to the same choice share an intent: the supervised view of DuoRec
    (Qiu et al. 2022, arXiv 2110.05730, section 3.2) and the coarse view of ICSRec (Qin et al.
    2024, arXiv 2310.14318, section 3.2). The rows are sorted by target once; a draw is then one
    random number, uniform over the rows of that target, whatever the size of the group. Memory is
    O(N) and one number for every id up to the largest, so number items from 0.

    Deviation from ICSRec's code: its loop always ends at the last subsequence of the group; the
    paper draws one at random, as is done here.

    Shapes:
        items integers (B, L), padded on the right; lengths, targets and rows integers (B,).
        Returns items (B, L') of the same dtype, L' the longest result, and lengths int64 (B,).

    Args:
        items: integers (N,), all histories one after the other, each oldest first; or
            `Subsequences`, and then no other argument.
        offsets: int64 (users + 1,): history u is `items[offsets[u]:offsets[u + 1]]`.
        max_length: longest subsequence.
        min_length: shortest subsequence; by default 1.
        padding: what is written after the end; by default 0.

    Raises:
        ArgumentError: shapes, dtypes or numbers are not as above.

    Example:
        >>> items, offsets = torch.tensor([1, 2, 3, 4, 2, 5, 6, 2]), torch.tensor([0, 3, 6, 8])
        >>> view = SameTargetSubsequences(items, offsets, max_length=50)
        >>> seen, _ = view(torch.tensor([[1]]), torch.tensor([1]), targets=torch.tensor([2]),
        ...                rows=torch.tensor([0]))
        >>> int(seen) in (4, 6)
        True
    """

    def __init__(
        self,
        items: Tensor | Subsequences,
        offsets: Tensor | None = None,
        max_length: int | None = None,
        *,
        min_length: int | None = None,
        padding: int | None = None,
    ) -> None:
        if isinstance(items, Subsequences):
            others = {
                "offsets": offsets,
                "max_length": max_length,
                "min_length": min_length,
                "padding": padding,
            }
            given = [name for name, value in others.items() if value is not None]
            if given:
                raise ArgumentError(
                    f"Subsequences have their own {', '.join(others)} (got {', '.join(given)} too)"
                )
            self.subsequences = items
        elif offsets is None or max_length is None:
            raise ArgumentError("flat items need their offsets and a max_length (got none)")
        else:
            self.subsequences = Subsequences(
                items,
                offsets,
                max_length,
                min_length=1 if min_length is None else min_length,
                padding=0 if padding is None else padding,
            )
        targets = self.subsequences.targets
        if len(targets) and int(targets.min()) < 0:
            raise ArgumentError(f"items must not be negative (got {int(targets.min())})")
        self.order = torch.argsort(targets, stable=True)
        """Rows sorted by target."""
        sizes = torch.bincount(targets, minlength=1)
        self.group_starts = torch.cat((sizes.new_zeros(1), sizes.cumsum(0)))
        """Where in `order` the rows of each target start."""
        self.rank = torch.empty_like(self.order)
        self.rank[self.order] = torch.arange(len(targets), device=targets.device)

    def group_sizes(self, targets: Tensor) -> Tensor:
        """How many rows each target has, int64; 0 for a target that never occurred."""
        known = (targets >= 0) & (targets < len(self.group_starts) - 1)
        number = targets.long().where(known, torch.zeros_like(targets, dtype=torch.long))
        return (self.group_starts[number + 1] - self.group_starts[number]) * known

    def draw(
        self, targets: Tensor, rows: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """A row with each target, uniform over its group.

        Args:
            targets: integers (B,).
            rows: None, or int64 (B,): rows that are not drawn themselves; -1 for none.
            generator: source of the draws.

        Returns:
            int64 (B,); -1 where the group has no (other) row.

        Raises:
            ArgumentError: `targets` or `rows` are no integers, differ in shape, or there is no
                such row.
        """
        check_integers("targets", targets)
        sizes = self.group_sizes(targets)
        if rows is None:
            rows = torch.full_like(sizes, -1)
        check_one_each("rows", rows, targets)
        check_range("rows", rows, -1, len(self.subsequences) - 1)
        own = rows >= 0
        number = targets.long().clamp(0, len(self.group_starts) - 2)
        start = self.group_starts[number]
        own_rank = self.rank[rows.clamp(min=0)] - start if len(self.rank) else rows
        own &= (own_rank >= 0) & (own_rank < sizes)
        others = sizes - own.long()
        rank = whole_below(others.clamp(min=1), generator)
        # The own place is stepped over, so each other one is as likely as any.
        rank += (own & (rank >= own_rank)).long()
        if len(self.order) == 0:
            return torch.full_like(sizes, -1)
        place = (start + rank).clamp(max=len(self.order) - 1)
        return self.order[place].masked_fill(others == 0, -1)

    def __call__(
        self,
        items: Tensor,
        lengths: Tensor,
        generator: torch.Generator | None = None,
        *,
        targets: Tensor,
        rows: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Another subsequence with the same target for every row; the row itself if none has it.

        Args:
            items, lengths: the sequences.
            generator: source of the draws.
            targets: the item that follows each sequence.
            rows: the number of each sequence in `subsequences`, -1 where it is none. Without
                them a sequence may be given back itself, with probability 1 / group size.
        """
        check_sequences(items, lengths)
        check_one_each("targets", targets, lengths)
        return self.subsequences.replace(items, lengths, self.draw(targets, rows, generator))

    def __repr__(self) -> str:
        return f"SameTargetSubsequences({len(self.subsequences)} rows)"
