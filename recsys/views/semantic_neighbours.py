"""Sequences that mean about the same, by any embedding."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from recsys.views.checks import check_one_each, check_sequences, check_tensor
from recsys.views.neighbours import NeighbourTable, nearest_rows
from recsys.views.subsequences import Subsequences


class SemanticNeighbours:
    """Replace a subsequence by one of another user that is close in a given embedding.

    The retrieval of SRA-CL (Cui et al. 2025, arXiv 2503.04162). The embedding may be anything:
    a sentence model's vectors, the mean of item texts (`Subsequences.mean_embedding`), TF-IDF.

    Deviation from the authors' code: the pool is `subsequences` alone, so built from training
    histories nothing of validation or test is in it, and subsequences of the same user are left
    out (there, later prefixes of a user hold the very target).

    Shapes:
        items integers (B, L), padded on the right; lengths and rows integers (B,). Returns items
        (B, L') of the same dtype, L' the longest result, and lengths int64 (B,).

    Args:
        subsequences: the pool.
        embedding: floating (R, d), one row for each row of `subsequences`.
        count: how many nearest rows are kept, at least 1.

    Attributes:
        neighbours: int64 (R, count), most similar first, -1 where there are fewer.

    Raises:
        ArgumentError: shapes, dtypes or numbers are not as above.

    Example:
        >>> pool = Subsequences(torch.arange(6), torch.tensor([0, 3, 6]), max_length=5)
        >>> view = SemanticNeighbours(pool, torch.randn(4, 8), count=2)
        >>> items, lengths = view(*pool.gather(torch.tensor([0])), rows=torch.tensor([0]))
    """

    def __init__(self, subsequences: Subsequences, embedding: Tensor, count: int = 10) -> None:
        check_tensor("embedding", embedding)
        if embedding.dim() != 2 or len(embedding) != len(subsequences):
            raise ArgumentError(
                f"embedding must be ({len(subsequences)}, d), one row a subsequence "
                f"(got {tuple(embedding.shape)})"
            )
        if len(subsequences) == 0:
            raise ArgumentError("subsequences must have at least one row (got none)")
        self.subsequences = subsequences
        self.neighbours = nearest_rows(embedding, count, groups=subsequences.users)
        self._table = NeighbourTable(self.neighbours)

    def __call__(
        self,
        items: Tensor,
        lengths: Tensor,
        generator: torch.Generator | None = None,
        *,
        rows: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """One of the nearest subsequences of each of `rows`, drawn uniformly.

        A row of -1 or without neighbours gives the sequence itself.
        """
        check_sequences(items, lengths)
        check_one_each("rows", rows, lengths)
        found, has = self._table.draw(rows, generator)
        return self.subsequences.replace(items, lengths, found.masked_fill(~has, -1))

    def __repr__(self) -> str:
        return f"SemanticNeighbours({len(self.subsequences)} rows)"
