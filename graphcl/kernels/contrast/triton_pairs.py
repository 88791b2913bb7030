"""Excluded pairs as the Triton kernels read them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from graphcl.kernels.contrast.exclusion import Exclusion

Argument = Tensor | int | None


@dataclass(frozen=True)
class ListedPairs:
    """Distinct pairs in rows: the columns of row i are `columns[pointer[i]:pointer[i + 1]]`, sorted.

    `search_steps` suffice to find a column in the longest row by bisection.
    """

    rows: Tensor
    columns: Tensor
    pointer: Tensor
    search_steps: int


@dataclass(frozen=True)
class KernelExclusion:
    """An exclusion seen from one side: its listed pairs and ids, either may be None."""

    pairs: ListedPairs | None
    left_ids: Tensor | None
    right_ids: Tensor | None

    def arguments(
        self, shape: tuple[int, int], rows: int, columns: int, per_stripe: int, stripes: int
    ) -> list[Argument]:
        """The eight arguments of a kernel whose blocks are `rows` x `columns`.

        pointer, columns; then the blocks that hold a listed pair, sorted: those of
        row block I in stripe b are `edges[I * (stripes + 1) + b]` up to the next
        entry of `edges`, each with its first column and the most pairs that one
        row has in it; then the bisection steps and the ids of both sides.
        Most blocks of a large matrix hold no pair and cost one comparison.
        """
        if self.pairs is None:
            return [None, None, None, None, None, 0, self.left_ids, self.right_ids]
        pairs, across = self.pairs, -(-shape[1] // columns)
        row_blocks = -(-shape[0] // rows)
        blocks = pairs.rows // rows * across + pairs.columns // columns
        # Sorted by row and column, the pairs of one row in one block are neighbours.
        runs = pairs.rows * across + pairs.columns // columns
        _, which, counts = torch.unique_consecutive(runs, return_inverse=True, return_counts=True)
        present, place = torch.unique(blocks, return_inverse=True)
        rounds = torch.zeros_like(present).scatter_reduce_(0, place, counts[which], "amax")
        ends = torch.arange(stripes + 1, device=blocks.device) * (per_stripe // columns)
        first = torch.arange(row_blocks, device=blocks.device)[:, None] * across
        edges = torch.searchsorted(present, first + ends.clamp_max(across)[None, :])
        return [
            pairs.pointer,
            pairs.columns.to(torch.int32),
            edges.to(torch.int32).contiguous(),
            (present % across * columns).to(torch.int32),
            rounds.to(torch.int32),
            pairs.search_steps,
            self.left_ids,
            self.right_ids,
        ]


def kernel_exclusion(
    exclusion: Exclusion, shape: tuple[int, int], triangle: int | None = None
) -> KernelExclusion:
    """The exclusion laid out for kernels that own rows.

    With `triangle`, pairs left of the diagonal block of `triangle` rows are
    dropped: blocks there are not visited.
    """
    return KernelExclusion(_listed(exclusion, shape, triangle), *_compact_ids(exclusion))


def _listed(
    exclusion: Exclusion, shape: tuple[int, int], triangle: int | None
) -> ListedPairs | None:
    rows, columns = exclusion.rows, exclusion.columns
    if triangle is not None:
        kept = columns >= rows // triangle * triangle
        rows, columns = rows[kept], columns[kept]
    if rows.numel() == 0:
        return None
    keys = torch.unique(rows * shape[1] + columns)
    rows, columns = keys // shape[1], keys % shape[1]
    pointer = torch.searchsorted(rows, torch.arange(shape[0] + 1, device=rows.device))
    longest = int((pointer[1:] - pointer[:-1]).max())
    if rows.numel() < 2**31:
        pointer = pointer.to(torch.int32)
    return ListedPairs(rows, columns, pointer, longest.bit_length())


def _compact_ids(exclusion: Exclusion) -> tuple[Tensor | None, Tensor | None]:
    # Numbered from 0 up: 32 bits are compared instead of 64, and -1 and -2 stay free for
    # positions beyond the end.
    if exclusion.row_ids is None or exclusion.column_ids is None:
        return None, None
    both = torch.cat([exclusion.row_ids, exclusion.column_ids])
    numbers = torch.unique(both, return_inverse=True)[1].to(torch.int32)
    count = exclusion.row_ids.numel()
    return numbers[:count].contiguous(), numbers[count:].contiguous()
