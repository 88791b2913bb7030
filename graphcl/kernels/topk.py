"""Full ranking: the best k items of every user, and how many items stand above given targets.

The scores come as a matrix of a block of users, or as inner products of user and item vectors that
are formed and used a tile at a time, so that no users x items matrix ever exists. Items that a user
has seen are left out through lists in CSR form.

Ties are defined: of equal scores the lower item number comes first. Ranks are counted, not sorted:
a target is behind the items that score higher, and shares its place with those that score the same.

Backends: "native", one pass over the scores in compiled code on the CPU, with threads; "torch" for
any device; "dense", full sorting, for tests. All give the same ids and counts for given scores;
products are summed in another order by each, so that scores may differ in their last bit. "auto"
takes the first that can.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from graphcl.errors import ArgumentError, NonFiniteError
from graphcl.kernels.compiled import Ranking, WithDense, address, call, use_compiled

CELLS = 1 << 22
"""Scores that the torch path holds at once."""
_CELLS_IN_CACHE = 1 << 18
"""Scores compared at once on a CPU: eight times faster than a block that leaves the cache."""
_EXACT_IN_FLOAT = 1 << 24
"""float32 counts exactly up to here."""


class Lists(NamedTuple):
    """A list of items for each of B users: those of user b are `items[pointer[b]:pointer[b + 1]]`.

    `pointer` int64 (B + 1,), `items` int64 (S,), in any order, repetitions allowed.
    """

    pointer: Tensor
    items: Tensor

    @staticmethod
    def from_pairs(rows: Tensor, items: Tensor, num_rows: int) -> Lists:
        """From (row, item) pairs in any order; those of a row keep theirs."""
        if bool((rows[1:] < rows[:-1]).any()):
            rows, order = torch.sort(rows, stable=True)
            items = items[order]
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
    itself included where it is one.
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
    backend: WithDense = "auto",
) -> Ranks:
    """Rank N items for B users: the best k, and the places of targets, in one pass.

    Args:
        scores: (B, N), higher is better, infinities allowed; or user vectors (B, d) and item
            vectors (N, d) of one dtype, whose inner products are the scores.
        k: how many best items, at least 0.
        targets: items whose places are wanted; no item twice for a user.
        excluded: items that are no candidates, such as those seen.
        keep_targets: a target is a candidate even when it is excluded.
        backend: see the module. Half precision is ranked in float32.

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
    if items is not None and items.device != users.device:
        raise ArgumentError(
            f"user and item vectors must be on one device, got {users.device} and {items.device}"
        )
    for name, lists in (("targets", targets), ("excluded", excluded)):
        if lists is not None and {part.device for part in lists} != {users.device}:
            raise ArgumentError(
                f"{name} must be on the scores' device {users.device}, got {lists[1].device}"
            )
        _check_lists(name, lists, count, size)
    with torch.no_grad():
        if use_compiled(backend, users, among=WithDense):
            return _compiled(users, items, k, targets, excluded, keep_targets)
        best = _best_of_sorted if backend == "dense" else _best
        return _chunks(users, items, k, targets, excluded, keep_targets, best)


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
    if (
        int(pointer[0]) != 0
        or int(pointer[-1]) != items.numel()
        or bool((pointer.diff() < 0).any())
    ):
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
    wanted = 0 if targets is None else targets.items.numel()
    found = Ranks(
        torch.empty(count, k, dtype=torch.int64),
        users.new_empty(count, k),
        torch.empty(wanted, dtype=torch.int64),
        torch.empty(wanted, dtype=torch.int64),
    )
    arrays = {"scores": users} if items is None else {"query": users, "key": items}
    if excluded is not None:
        arrays |= {"excluded_pointer": excluded.pointer, "excluded": excluded.items}
    if targets is not None:
        arrays |= {"target_pointer": targets.pointer, "target": targets.items}
    # Contiguous copies have to live until the call is over.
    held = {name: array.contiguous() for name, array in arrays.items()}
    ranking = Ranking(
        **{name: address(array) for name, array in held.items()},
        rows=count,
        columns=size,
        dimension=0 if items is None else users.shape[1],
        k=k,
        top=address(found.ids),
        top_score=address(found.scores),
        higher=address(found.higher),
        tied=address(found.tied),
        keep_targets=keep_targets,
        threads=torch.get_num_threads(),
    )
    if call("rank", ranking, users.dtype) == 1:
        raise NonFiniteError(_NAN)
    return found


_NAN = "NaN scores cannot be ranked; a ranking needs comparable numbers"


Best = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]


def _chunks(
    users: Tensor,
    items: Tensor | None,
    k: int,
    targets: Lists | None,
    excluded: Lists | None,
    keep_targets: bool,
    best: Best,
) -> Ranks:
    size = users.shape[1] if items is None else len(items)
    step = max(1, CELLS // max(1, size))
    parts = []
    # One chunk at least, so that the results have their shapes.
    for start in range(0, max(len(users), 1), step):
        stop = min(start + step, len(users))
        block = users[start:stop] if items is None else users[start:stop] @ items.T
        if bool(block.isnan().any()):
            raise NonFiniteError(_NAN)
        wanted, left_out = (
            None if part is None else part.part(start, stop) for part in (targets, excluded)
        )
        candidate = torch.ones_like(block, dtype=torch.bool)
        if left_out is not None:
            candidate[left_out.rows(), left_out.items] = False
        if wanted is not None and keep_targets:
            candidate[wanted.rows(), wanted.items] = True
        parts.append(Ranks(*best(block, candidate, k), *_places(block, candidate, wanted)))
    return Ranks(*(torch.cat(field) for field in zip(*parts, strict=True)))


def _best_of_sorted(scores: Tensor, candidate: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best candidates, by sorting everything."""
    # Candidates first, whatever their score; both sorts are stable, so lower items come first.
    order = torch.sort(scores, dim=1, descending=True, stable=True).indices
    place = torch.sort(candidate.gather(1, order).byte(), dim=1, descending=True, stable=True)
    order = order.gather(1, place.indices)[:, :k]
    there = candidate.gather(1, order)
    width = k - order.shape[1]
    ids = functional.pad(order.where(there, -1), (0, width), value=-1)
    best = scores.gather(1, order).where(there, -torch.inf)
    return ids, functional.pad(best, (0, width), value=-torch.inf)


def _best(scores: Tensor, candidate: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k best candidates, by sorting those that reach the k-th best score."""
    ids = torch.full((len(scores), k), -1, device=scores.device)
    best = scores.new_full(ids.shape, -torch.inf)
    wanted = min(k, scores.shape[1])
    if wanted == 0:
        return ids, best
    masked = scores.where(candidate, -torch.inf)
    # `topk` leaves the order of equal scores open, and which of them it takes.
    bound = masked.topk(wanted, dim=1).values[:, -1:]
    rows, items = torch.nonzero((masked >= bound) & candidate, as_tuple=True)
    order = torch.sort(masked[rows, items], descending=True, stable=True).indices
    order = order[torch.sort(rows[order], stable=True).indices]
    rows, items = rows[order], items[order]
    counts = torch.bincount(rows, minlength=len(scores))
    place = torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[rows]
    rows, items, place = (part[place < k] for part in (rows, items, place))
    ids[rows, place] = items
    best[rows, place] = scores[rows, items]
    return ids, best


def _places(scores: Tensor, candidate: Tensor, targets: Lists | None) -> tuple[Tensor, Tensor]:
    """How many candidates score higher than each target, and how many the same."""
    if targets is None:
        none = torch.empty(0, dtype=torch.int64, device=scores.device)
        return none, none
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
        higher[part] = _count(torch.gt, block, own[part, None])
        tied[part] = _count(torch.eq, block, own[part, None])
    return higher, tied


def _count(compare: Callable[..., Tensor], field: Tensor, own: Tensor) -> Tensor:
    """How many of each row of `field` (T, N) compare true with `own` (T, 1), int64 (T,)."""
    if field.shape[1] >= _EXACT_IN_FLOAT:
        found: Tensor = compare(field, own).sum(1)
        return found
    # Comparing into float32 and adding that is vectorised; adding booleans is not: five times.
    flags = compare(field, own, out=torch.empty_like(field, dtype=torch.float32))
    return flags.sum(1).long()
