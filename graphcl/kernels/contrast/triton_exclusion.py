"""Exclusions as the Triton kernels read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from graphcl.kernels.contrast.exclusion import Exclusion

Argument = Tensor | int | None


@dataclass(frozen=True)
class Cut:
    """How a kernel cuts s: blocks of `rows` x `columns`, `per_stripe` columns to a stripe."""

    shape: tuple[int, int]
    rows: int
    columns: int
    per_stripe: int

    @property
    def blocks_down(self) -> int:
        """Blocks of rows."""
        return -(-self.shape[0] // self.rows)

    @property
    def blocks_across(self) -> int:
        """Blocks of columns."""
        return -(-self.shape[1] // self.columns)

    def limits(self, excluded: Sequence[KernelExclusion]) -> Tensor | None:
        """(blocks of rows, 2): the columns between which a block has any candidate.

        None: nothing is known, all of them are visited.
        """
        limits = [one.limits for one in excluded]
        known = [one for one in limits if one is not None]
        if not known or len(known) < len(limits):
            return None
        first = torch.stack([one[:, 0] for one in known]).amin(0)
        last = torch.stack([one[:, 1] for one in known]).amax(0)
        return torch.stack([first, last], dim=1).to(torch.int32)


@dataclass(frozen=True)
class ListedPairs:
    """Listed pairs, sorted by row and column, each once.

    The columns of row i are `columns[pointer[i]:pointer[i + 1]]`; `search_steps`
    of bisection find a column in any row. The blocks that hold a pair follow, so
    that all others cost one comparison: those of row block I in stripe b are
    `edges[I * (stripes + 1) + b]` up to the next edge, each with its first
    column and the most pairs that one row has in it.
    """

    pointer: Tensor
    columns: Tensor
    edges: Tensor
    block_columns: Tensor
    block_rounds: Tensor
    search_steps: int


@dataclass(frozen=True)
class KernelExclusion:
    """An exclusion seen by a kernel that owns rows: pairs, ids that differ, groups that agree.

    Ids and groups are numbered from 0 up in 32 bits. `limits` (blocks of rows, 2)
    are the first and last column, whole blocks, that share a group with the rows.
    """

    pairs: ListedPairs | None = None
    ids: tuple[Tensor | None, Tensor | None] = (None, None)
    groups: tuple[Tensor | None, Tensor | None] = (None, None)
    limits: Tensor | None = field(default=None, repr=False)

    @classmethod
    def of(cls, excluded: Exclusion, cut: Cut, *, triangle: bool) -> KernelExclusion:
        """Lay out an exclusion; with `triangle`, blocks left of the diagonal are not visited."""
        ids = _numbered(excluded.row_ids, excluded.column_ids)
        groups = _numbered(excluded.row_groups, excluded.column_groups)
        pairs = _listed(excluded, cut, triangle)
        return cls(pairs, ids, groups, _limits(groups, cut))

    def arguments(self) -> list[Argument]:
        """The arguments of a kernel, in its order."""
        pairs = self.pairs
        if pairs is None:
            return [None, None, None, None, None, 0, *self.ids, *self.groups]
        return [
            *(pairs.pointer, pairs.columns, pairs.edges, pairs.block_columns, pairs.block_rounds),
            *(pairs.search_steps, *self.ids, *self.groups),
        ]


def _listed(excluded: Exclusion, cut: Cut, triangle: bool) -> ListedPairs | None:
    rows, columns = excluded.rows, excluded.columns
    if triangle:
        kept = columns >= rows // cut.rows * cut.rows
        rows, columns = rows[kept], columns[kept]
    if excluded.row_groups is not None and excluded.column_groups is not None:
        # The groups leave the others out already, and not all of their blocks are visited.
        kept = excluded.row_groups[rows] == excluded.column_groups[columns]
        rows, columns = rows[kept], columns[kept]
    if rows.numel() == 0:
        return None
    keys = torch.unique(rows * cut.shape[1] + columns)
    rows, columns = keys // cut.shape[1], keys % cut.shape[1]
    device, across = rows.device, cut.blocks_across
    pointer = torch.searchsorted(rows, torch.arange(cut.shape[0] + 1, device=device))
    longest = int((pointer[1:] - pointer[:-1]).max())

    # Sorted by row and column, the pairs of one row in one block are neighbours.
    runs = rows * across + columns // cut.columns
    runs, counts = torch.unique_consecutive(runs, return_counts=True)
    blocks = runs // across // cut.rows * across + runs % across
    present, place = torch.unique(blocks, return_inverse=True)
    rounds = torch.zeros_like(present).scatter_reduce_(0, place, counts, "amax")
    stripe = cut.per_stripe // cut.columns
    ends = torch.arange(-(-cut.shape[1] // cut.per_stripe) + 1, device=device) * stripe
    first = torch.arange(cut.blocks_down, device=device)[:, None] * across
    edges = torch.searchsorted(present, first + ends.clamp_max(across)[None, :])
    return ListedPairs(
        pointer if rows.numel() >= 2**31 else pointer.to(torch.int32),
        columns.to(torch.int32),
        edges.to(torch.int32),
        (present % across * cut.columns).to(torch.int32),
        rounds.to(torch.int32),
        longest.bit_length(),
    )


def _numbered(
    rows: Tensor | None, columns: Tensor | None
) -> tuple[Tensor, Tensor] | tuple[None, None]:
    if rows is None or columns is None:
        return None, None
    numbers = torch.unique(torch.cat([rows, columns]), return_inverse=True)[1].to(torch.int32)
    # The second half is copied to where an aligned load can begin.
    return numbers[: len(rows)], numbers[len(rows) :].clone()


def _limits(groups: tuple[Tensor | None, Tensor | None], cut: Cut) -> Tensor | None:
    rows, columns = groups
    if rows is None or columns is None or not bool((columns[1:] >= columns[:-1]).all()):
        return None
    padding = cut.blocks_down * cut.rows - len(rows)
    blocks = torch.cat([rows, rows[-1:].expand(padding)]).view(-1, cut.rows)
    lowest, highest = blocks.aminmax(dim=1)
    first = torch.searchsorted(columns, lowest) // cut.columns * cut.columns
    last = torch.searchsorted(columns, highest, right=True)
    return torch.stack([first, last], dim=1)
