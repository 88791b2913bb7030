"""Every prefix of every history, with the item that follows it, as an index and not as rows."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast.checks import check_finite
from recsys.views.checks import (
    check_count,
    check_fits,
    check_floats,
    check_histories,
    check_integers,
    check_range,
    check_whole,
)
from recsys.views.places import inside


class Subsequences:
    """All (subsequence, target) pairs of some histories; row r is known by three numbers.

    The target of a row is an item of a history that has at least `min_length` items before it;
    the subsequence is the latest `max_length` items before the target. Rows are in the order of
    users and time. This is the sliding segmentation that prefix training writes out as padded
    rows (131 thousand rows of 50 for Beauty's 0.13 million tokens); here a row is gathered when
    it is asked for.

    Args:
        items: integers (N,): all histories, one after the other, each oldest first.
        offsets: int64 (users + 1,): history u is `items[offsets[u]:offsets[u + 1]]`.
        max_length: longest subsequence, at least 1.
        min_length: shortest subsequence, at least 1.
        padding: what `gather` writes after the end.

    Attributes:
        starts, lengths, users, targets: int64 (R,), of each row.
        row_at: int64 (N,): the row whose target stands at that place of `items`, -1 for none.

    Raises:
        ArgumentError: shapes, dtypes or numbers are not as above.

    Example:
        >>> rows = Subsequences(torch.tensor([5, 6, 7, 8]), torch.tensor([0, 4]), max_length=2)
        >>> rows.targets.tolist(), rows.gather(torch.tensor([2]))[0].tolist()
        ([6, 7, 8], [[6, 7]])
    """

    def __init__(
        self,
        items: Tensor,
        offsets: Tensor,
        max_length: int,
        *,
        min_length: int = 1,
        padding: int = 0,
    ) -> None:
        check_histories(items, offsets)
        max_length = check_count("max_length", max_length)
        min_length = check_count("min_length", min_length)
        if min_length > max_length:
            raise ArgumentError(
                f"min_length must not be above max_length={max_length} (got {min_length})"
            )
        offsets = offsets.long()
        self.items = items
        self.highest = int(items.max()) if len(items) else -1
        self.offsets = offsets
        self.max_length = max_length
        self.padding = check_whole("padding", padding)
        owners = torch.arange(len(offsets) - 1, device=items.device).repeat_interleave(
            offsets.diff(), output_size=len(items)
        )
        before = torch.arange(len(items), device=items.device) - offsets[owners]
        is_target = before >= min_length
        places = torch.nonzero(is_target).flatten()
        self.users = owners[places]
        self.lengths = before[places].clamp(max=max_length)
        self.starts = places - self.lengths
        self.targets = items[places].long()
        self.row_at = (is_target.long().cumsum(0) - 1).masked_fill(~is_target, -1)

    def __len__(self) -> int:
        return len(self.targets)

    def gather(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The subsequences `rows` int64 (B,): int64 items (B, L), padded right, and lengths.

        L is the longest of them, and at least 1.

        Raises:
            ArgumentError: `rows` are no integers (B,), or (on a CPU) there is no such row.
        """
        check_integers("rows", rows)
        if rows.dim() != 1:
            raise ArgumentError(f"rows must be of one dimension (got {tuple(rows.shape)})")
        check_range("rows", rows, 0, len(self) - 1)
        lengths = self.lengths[rows]
        width = int(lengths.max()) if len(rows) else 1
        place = torch.arange(width, device=lengths.device)
        real = place < lengths[:, None]
        source = (self.starts[rows][:, None] + place).where(real, torch.zeros_like(place))
        if len(self.items) == 0:
            return torch.full_like(source, self.padding), lengths
        return self.items[source].long().masked_fill(~real, self.padding), lengths

    def replace(self, items: Tensor, lengths: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
        """The subsequences `found` int64 (B,) in place of the given ones, which stay at -1.

        Raises:
            ArgumentError: an item of the histories, or the padding, does not fit the dtype of
                `items`.
        """
        check_fits("the histories", max(self.highest, 0), items)
        check_fits("padding", self.padding, items)
        has = found >= 0
        other, other_lengths = self.gather(found[has])
        width = max(items.shape[1], other.shape[1])
        result = items.new_full((len(items), width), self.padding)
        past = ~inside(lengths, items.shape[1])
        result[:, : items.shape[1]] = items.masked_fill(past, self.padding)
        result[has] = functional.pad(
            other.to(items.dtype), (0, width - other.shape[1]), value=self.padding
        )
        new_lengths = lengths.long().clone()
        new_lengths[has] = other_lengths
        return result, new_lengths

    def last_rows(self) -> Tensor:
        """The row of each user's longest subsequence, int64, users without a row left out."""
        ends = self.offsets[1:][self.offsets.diff() > 0] - 1
        rows = self.row_at[ends]
        return rows[rows >= 0]

    def mean_embedding(self, embedding: Tensor) -> Tensor:
        """The mean of each subsequence's item embeddings: (R, d) from (num_items, d).

        O(N d), by running sums in float64: no subsequence is walked.

        Raises:
            ArgumentError: `embedding` is not floating (num_items, d), or has no row for some item.
            NonFiniteArgumentError: `embedding` holds NaN or infinity, which a running sum would
                carry on to other users.
        """
        check_floats("embedding", embedding, "(num_items, d)", 2)
        if self.highest >= len(embedding):
            raise ArgumentError(
                f"embedding must have a row for every item, up to {self.highest} "
                f"(got {len(embedding)} rows)"
            )
        check_finite("embedding", embedding)
        running = embedding[self.items.long()].double().cumsum(0)
        running = torch.cat((running.new_zeros(1, running.shape[1]), running))
        total = running[self.starts + self.lengths] - running[self.starts]
        return (total / self.lengths[:, None]).to(embedding.dtype)
