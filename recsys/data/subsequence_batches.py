"""Training batches of prefix rows: one subsequence, one target."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from graphcl.errors import ArgumentError, DataError
from recsys.views.subsequences import Subsequences


@dataclass(frozen=True)
class SubsequenceBatch:
    """B subsequences, padded on the right, with the item that follows each."""

    rows: Tensor
    """int64 (B,): their numbers in the `Subsequences`."""
    items: Tensor
    """int64 (B, L), oldest first."""
    lengths: Tensor
    """int64 (B,), all >= 1."""
    users: Tensor
    """int64 (B,)."""
    targets: Tensor
    """int64 (B,)."""


class SubsequenceBatches:
    """Every row of `subsequences` once per epoch, in random order.

    The way most published code trains: a causal encoder does the same in one pass over the
    histories (`SequenceBatches`), with about as many positions as there are items. Rows are for
    what looks at whole subsequences: contrasting them, or an encoder that sees both sides.

    Args:
        subsequences: the rows.
        batch_size: rows in a batch (the last batch of an epoch may be smaller), >= 1.

    Raises:
        ArgumentError: `batch_size` is below 1.
        DataError: there is no row.
    """

    def __init__(self, subsequences: Subsequences, batch_size: int) -> None:
        if batch_size < 1:
            raise ArgumentError(f"batch_size must be at least 1 (got {batch_size})")
        if len(subsequences) == 0:
            raise DataError(
                "a sequence method needs at least one user with two interactions (got none)"
            )
        self.subsequences = subsequences
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.subsequences) // self.batch_size)

    def epoch(self, generator: torch.Generator) -> Iterator[SubsequenceBatch]:
        """All rows once."""
        count = len(self.subsequences)
        order = torch.randperm(count, generator=generator, device=generator.device)
        for rows in order.to(self.subsequences.targets.device).split(self.batch_size):
            yield self.gather(rows)

    def gather(self, rows: Tensor) -> SubsequenceBatch:
        """The batch of `rows` int64 (B,)."""
        items, lengths = self.subsequences.gather(rows)
        return SubsequenceBatch(
            rows=rows,
            items=items,
            lengths=lengths,
            users=self.subsequences.users[rows],
            targets=self.subsequences.targets[rows],
        )
