"""Full ranking: the best k items of every user, and how many items stand above given targets.

The scores come as a matrix of a block of users, or as inner products of user and item vectors that
are formed and used a tile at a time, so that no users x items matrix ever exists. Items that a user
has seen are left out through lists in CSR form.

Ties are defined: of equal scores the lower item number comes first. Ranks are counted, not sorted:
a target is behind the items that score higher, and shares its place with those that score the same.

Backends: "native", one pass over the scores in compiled code on the CPU, with threads; "torch" for
any device, the same ids and counts for given scores. Products are summed in another order by each,
so that scores may differ in their last bit.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from graphcl.errors import ArgumentError, NonFiniteError
from graphcl.kernels.compiled import Backend, Ranking, address, call, use_compiled

CELLS = 1 << 22
"""Scores that the torch path holds at once."""
_CELLS_IN_CACHE = 1 << 18


class Lists(NamedTuple):
    """A list of items for each of B users: those of user b are `items[pointer[b]:pointer[b + 1]]`.

    `pointer` int64 (B + 1,), `items` int64 (S,), in any order, repetitions allowed.
    """

    pointer: Tensor
    items: Tensor

    @staticmethod
    def from_pairs(rows: Tensor, items: Tensor, num_rows: int) -> Lists:
        """From (row, item) pairs, rows ascending."""
        pointer = torch.zeros(num_rows + 1, dtype=torch.int64, device=rows.device)
        torch.cumsum(torch.bincount(rows, minlength=num_rows), 0, out=pointer[1:])
        return Lists(pointer, items.long().contiguous())

    def rows(self) -> Tensor:
        """The user of each item, int64 (S,)."""
        return torch.repeat_interleave(self.pointer.diff(), output_size=self.items.numel())

    def part(self, start: int, stop: int) -> Lists:
        """Those of users start..stop - 1."""
        low, high = int(self.pointer[start]), int(self.pointer[stop])
        return Lists(self.pointer[start : stop + 1] - low, self.items[low:high])


class Ranks(NamedTuple):
    """What `rank_items` found; fields that were not asked for are empty.

    `ids` int64 (B, k): best first, -1 where fewer than k items are left. `scores` (B, k): their
    scores, -inf there. For the T targets, in the order of their lists: `higher` int64 (T,), the
    candidates that score higher, and `tied` int64 (T,), those that score the same, the target
    itself included.
    """

    ids: Tensor
    scores: Tensor
    higher: Tensor
    tied: Tensor


def rank_items(
    scores: Tensor | tuple[Tensor, Tensor],
    *,
    k: int = 0,
    targets: Lists | None = None,
    excluded: Lists | None = None,
    keep_targets: bool = True,
    backend: Backend = "auto",
) -> Ranks:
    """Rank N items for B users: the best k, and the places of targets, in one pass.

    Args:
        scores: (B, N), higher is better, infinities allowed; or user vectors (B, d) and item
            vectors (N, d) of one dtype, whose inner products are the scores.
        k: how many best items, at least 0.
        targets: items whose places are wanted; no item twice for a user.
        excluded: items that are no candidates, such as those seen.
        keep_targets: a target is a candidate even when it is excluded.
        backend: "auto", "native" or "torch", see the module. Half-precision is ranked in float32.

    Returns:
        `Ranks`; without gradient.

    Raises:
        NonFiniteError: a score is NaN.
        ArgumentError: shapes that do not fit, an item out of range, a negative k.
    """
    users, items = _operands(scores)
    count, size = len(users), users.shape[1] if items is None else len(items)
    if isinstance(k, bool) or not isinstance(k, int) or k < 0:
        raise ArgumentError(f"k must be an integer of at least 0, got {k!r}")
    for name, lists in (("targets", targets), ("excluded", excluded)):
        _check_lists(name, lists, count, size)
    with torch.no_grad():
        if use_compiled(backend, users):
            return _compiled(users, items, k, targets, excluded, keep_targets)
        return _chunks(users, items, k, targets, excluded, keep_targets)


def _operands(scores: Tensor | tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor | None]:
    """The scores and None, or user vectors and item vectors; detached, at least float32."""
    users, items = (scores, None) if isinstance(scores, Tensor) else scores
    for part in (users,) if items is None else (users, items):
        if part.dim() != 2 or not part.is_floating_point():
            raise ArgumentError(
                "scores must be a floating point matrix, or two of them; "
                f"got {part.dtype} of shape {tuple(part.shape)}"
            )
    if items is not None and (users.shape[1] != items.shape[1] or users.dtype != items.dtype):
        raise ArgumentError(
            "user and item vectors must have one dtype and width, got "
            f"{users.dtype} {tuple(users.shape)} and {items.dtype} {tuple(items.shape)}"
        )
    if users.dtype in (torch.float16, torch.bfloat16):
        users, items = users.float(), None if items is None else items.float()
    return users.detach(), None if items is None else items.detach()


def _check_lists(name: str, lists: Lists | None, count: int, size: int) -> None:
    if lists is None:
        return
    pointer, items = lists
    if pointer.shape != (count + 1,) or pointer.dtype != torch.int64 or items.dtype != torch.int64:
        raise ArgumentError(
            f"{name} must have an int64 pointer of shape ({count + 1},) and int64 items, got "
            f"{pointer.dtype} {tuple(pointer.shape)} and {items.dtype}"
        )
    if int(pointer[0]) != 0 or int(pointer[-1]) != items.numel() or bool((pointer.diff() < 0).any()):
        raise ArgumentError(f"{name} must have a pointer that ascends from 0 to {items.numel()}")
    if items.numel() and (int(items.min()) < 0 or int(items.max()) >= size):
        raise ArgumentError(
            f"{name} must hold items in [0, {size}), got {int(items.min())} to {int(items.max())}"
        )


def _compiled(
    users: Tensor,
    items: Tensor | None,
    k: int,
    targets: Lists | None,
    excluded: Lists | None,
    keep_targets: bool,
) -> Ranks:
    count, size = len(users), users.shape[1] if items is None else len(items)
    users, items = users.contiguous(), None if items is None else items.contiguous()
    wanted = 0 if targets is None else targets.items.numel()
    result = Ranks(
        torch.empty(count, k, dtype=torch.int64),
        users.new_empty(count, k),
        torch.empty(wanted, dtype=torch.int64),
        torch.empty(wanted, dtype=torch.int64),
    )
    given = [part.contiguous() for lists in (excluded, targets) for part in lists or ()]
    at = iter(given)
    ranking = Ranking(
        rows=count,
        columns=size,
        dimension=0 if items is None else users.shape[1],
        k=k,
        top=address(result.ids),
        top_score=address(result.scores),
        higher=address(result.higher),
        tied=address(result.tied),
        keep_targets=keep_targets,
        threads=torch.get_num_threads(),
    )
    if items is None:
        ranking.scores = address(users)
    else:
        ranking.query, ranking.key = address(users), address(items)
    if excluded is not None:
        ranking.excluded_pointer, ranking.excluded = address(next(at)), address(next(at))
    if targets is not None:
        ranking.target_pointer, ranking.target = address(next(at)), address(next(at))
    if call("rank", ranking, users.dtype) == 1:
        raise NonFiniteError(_NAN)
    return result


_NAN = "NaN scores cannot be ranked; a ranking needs comparable numbers"


def _chunks(
    users: Tensor,
    items: Tensor | None,
    k: int,
    targets: Lists | None,
    excluded: Lists | None,
    keep_targets: bool,
) -> Ranks:
    size = users.shape[1] if items is None else len(items)
    step = max(1, CELLS // max(1, size))
    parts = []
    for start in range(0, len(users), step):
        stop = min(start + step, len(users))
        block = users[start:stop] if items is None else users[start:stop] @ items.T
        lists = (None if part is None else part.part(start, stop) for part in (targets, excluded))
        parts.append(_one_chunk(block, k, *lists, keep_targets))
    if not parts:
        none = torch.empty(0, dtype=torch.int64, device=users.device)
        return Ranks(none.view(0, k) if k else none.view(0, 0), users.new_empty(0, k), none, none)
    return Ranks(*(torch.cat(field) for field in zip(*parts, strict=True)))


def _one_chunk(
    scores: Tensor, k: int, targets: Lists | None, excluded: Lists | None, keep_targets: bool
) -> Ranks:
    if bool(scores.isnan().any()):
        raise NonFiniteError(_NAN)
    candidate = torch.ones_like(scores, dtype=torch.bool)
    if excluded is not None:
        candidate[excluded.rows(), excluded.items] = False
    if targets is not None and keep_targets:
        candidate[targets.rows(), targets.items] = True
    higher = tied = torch.empty(0, dtype=torch.int64, device=scores.device)
    if targets is not None:
        higher, tied = _places(scores, candidate, targets)
    ids, best = _best(scores, candidate, k)
    return Ranks(ids, best, higher, tied)


def _best(scores: Tensor, candidate: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best candidates: stable sorts, as `topk` leaves the order of equal scores open."""
    size = scores.shape[1]
    masked = scores.where(candidate, -torch.inf)
    # All that score as the k-th best or more, usually k; sorting just these is much faster.
    wanted = min(k, size)
    if wanted == 0:
        ids = torch.full((len(scores), k), -1, device=scores.device)
        return ids, scores.new_full(ids.shape, -torch.inf)
    bound = masked.topk(wanted, dim=1).values[:, -1:]
    rows, items = torch.nonzero((masked >= bound) & candidate, as_tuple=True)
    order = torch.sort(masked[rows, items], descending=True, stable=True).indices
    order = order[torch.sort(rows[order], stable=True).indices]
    rows, items = rows[order], items[order]
    counts = torch.bincount(rows, minlength=len(scores))
    place = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[rows]
    kept = place < k
    ids = torch.full((len(scores), k), -1, device=scores.device)
    best = scores.new_full(ids.shape, -torch.inf)
    ids[rows[kept], place[kept]] = items[kept]
    best[rows[kept], place[kept]] = scores[rows[kept], items[kept]]
    return ids, best


def _places(scores: Tensor, candidate: Tensor, targets: Lists) -> tuple[Tensor, Tensor]:
    rows = targets.rows()
    own = scores[rows, targets.items]
    # NaN is neither above nor equal to anything, so it is never counted.
    field = scores.where(candidate, torch.nan)
    higher, tied = torch.empty_like(rows), torch.empty_like(rows)
    cells = _CELLS_IN_CACHE if scores.device.type == "cpu" else CELLS
    step = max(1, cells // max(1, scores.shape[1]))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        block = field[rows[part]]
        higher[part] = (block > own[part, None]).sum(1)
        tied[part] = (block == own[part, None]).sum(1)
    return higher, tied
