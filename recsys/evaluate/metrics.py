"""Ranking metrics of positions: recall, NDCG, hit rate, precision, reciprocal rank.

Every metric is a function of where a user's targets stand among the candidates. A target that
ties with other candidates has no single place, so the tie policy is explicit:

- `mean`: the expected metric when ties are broken at random. A constant score gets exactly the
  value of a random ranking.
- `optimistic`: targets stand before the other tied candidates.
- `pessimistic`: targets stand behind the other tied candidates.

Averaging the *rank* instead would let NDCG exceed 1 where several targets tie; averaging the
metric cannot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from graphcl.errors import ArgumentError, NonFiniteError

TiePolicy = Literal["mean", "optimistic", "pessimistic"]

CELLS = 1 << 24
"""Largest number of scores held at once."""

CELLS_IN_CACHE = 1 << 18
"""Scores compared at once on a CPU: eight times faster than a block that leaves the cache."""

EXACT_IN_FLOAT = 1 << 24
"""float32 counts exactly up to here."""


@dataclass(frozen=True)
class Places:
    """Where targets stand: `higher` candidates before them, in a group of `tied` equal scores.

    All tensors are int64 (T,). A target is at one of the positions `higher` ...
    `higher + tied - 1` (from 0), each equally likely.
    """

    rows: Tensor
    """The user row of each target, ascending."""
    higher: Tensor
    tied: Tensor
    """Candidates with the target's score, itself included, so >= 1."""


def find_places(
    scores: Tensor,
    rows: Tensor,
    targets: Tensor,
    excluded: tuple[Tensor, Tensor] | None = None,
    ties: TiePolicy = "mean",
) -> Places:
    """Count, for each target, the candidates that score higher and as high: no sorting of items.

    All items are candidates but the excluded ones; a target is a candidate even when excluded,
    and a user's other targets are candidates too.

    Args:
        scores: float (B, N); may hold infinities, not NaN.
        rows: int64 (T,), ascending: the row of `scores` of each target.
        targets: int64 (T,), the target items; no (row, item) pair twice.
        excluded: rows and items, each int64 (S,), that are no candidates (seen items).
        ties: see the module; `optimistic` and `pessimistic` settle the order, so `tied` is 1.

    Raises:
        NonFiniteError: a score is NaN.
        ArgumentError: `ties` is not a policy.
    """
    if ties not in get_args(TiePolicy):
        raise ArgumentError(f"ties must be one of {', '.join(get_args(TiePolicy))} (got {ties!r})")
    # A maximum is NaN where anything is, and reads the scores once.
    if scores.numel() and bool(scores.amax().isnan()):
        raise NonFiniteError("the method gave NaN scores; a ranking needs comparable numbers")
    own = scores[rows, targets]
    out = _Lists(*excluded, len(scores)) if excluded is not None else None
    kept = _Lists(rows, targets, len(scores))
    higher = torch.empty_like(rows)
    tied = torch.empty_like(rows)
    cells = CELLS_IN_CACHE if scores.device.type == "cpu" else CELLS
    step = max(1, cells // max(1, scores.shape[1]))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        field = scores.index_select(0, rows[part])
        if out is not None:
            place, items = out.of(rows[part])
            # NaN is neither above nor equal to anything, so it is never counted.
            field[place, items] = torch.nan
            place, items = kept.of(rows[part])
            field[place, items] = scores[rows[part][place], items]
        higher[part] = _count(torch.gt, field, own[part, None])
        tied[part] = _count(torch.eq, field, own[part, None])
    if ties == "mean":
        return Places(rows, higher, tied)
    place, size = _order_among_equals(rows, higher)
    before = higher + place + (tied - size if ties == "pessimistic" else 0)
    return Places(rows, before, torch.ones_like(tied))


class _Lists:
    """Flat (row, item) pairs, looked up by row."""

    def __init__(self, rows: Tensor, items: Tensor, num_rows: int) -> None:
        if bool((rows[1:] < rows[:-1]).any()):
            rows, order = torch.sort(rows, stable=True)
            items = items[order]
        self.items = items
        counts = torch.bincount(rows, minlength=num_rows)
        self.counts, self.starts = counts, counts.cumsum(0) - counts

    def of(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """For all items of `rows`: which of `rows` it belongs to, and the item."""
        counts = self.counts[rows]
        place = torch.arange(len(rows), device=rows.device).repeat_interleave(counts)
        first = counts.cumsum(0) - counts
        within = torch.arange(len(place), device=rows.device) - first[place]
        return place, self.items[self.starts[rows][place] + within]


def _count(compare: Callable[..., Tensor], field: Tensor, own: Tensor) -> Tensor:
    """How many of each row of `field` (T, N) compare true with `own` (T, 1), int64 (T,)."""
    if field.shape[1] >= EXACT_IN_FLOAT:
        found: Tensor = compare(field, own).sum(1)
        return found
    # Comparing into float32 and adding that is vectorised; adding booleans is not: five times.
    flags = compare(field, own, out=torch.empty_like(field, dtype=torch.float32))
    return flags.sum(1).long()


def _order_among_equals(rows: Tensor, higher: Tensor) -> tuple[Tensor, Tensor]:
    """Number the targets of a row that tie with each other 0, 1, ..., and how many they are."""
    if len(rows) == 0:
        return rows, rows
    group = rows * (int(higher.max()) + 1) + higher
    _, group, sizes = torch.unique(group, return_inverse=True, return_counts=True)
    order = torch.sort(group, stable=True).indices
    starts = sizes.cumsum(0) - sizes
    place = torch.empty_like(rows)
    place[order] = torch.arange(len(rows), device=rows.device) - starts[group[order]]
    return place, sizes[group]


def metrics_per_user(places: Places, num_rows: int, cutoffs: Sequence[int]) -> dict[str, Tensor]:
    """Every metric of every row, float64 (num_rows,); a row without targets is NaN.

    With T the targets of a user and D(p) = 1 / log2(p + 2) for a position p from 0:
    `recall@k` = hits in the top k / |T|; `precision@k` = hits / k; `hit@k` = whether there is a
    hit; `ndcg@k` = sum of D over the hits / sum of D over the first min(k, |T|) positions (the
    ideal list: Jarvelin & Kekalainen 2002); `mrr` = 1 / (1 + position of the first target), and
    `mrr@k` the same where that position is below k, else 0.
    Each is averaged over the positions that ties allow.

    Raises:
        ArgumentError: a cutoff is below 1.
    """
    if not cutoffs or min(cutoffs) < 1:
        raise ArgumentError(f"cutoffs must be positive integers (got {list(cutoffs)})")
    rows, higher, tied = places.rows, places.higher, places.tied
    device, width = rows.device, tied.double()
    number = torch.bincount(rows, minlength=num_rows)
    positions = torch.arange(max(cutoffs), dtype=torch.float64, device=device)
    zero = torch.zeros(1, dtype=torch.float64, device=device)
    discount_sum = torch.cat((zero, torch.log2(positions + 2).reciprocal().cumsum(0)))
    first_at, probability = _first_target(places, num_rows)

    def total(values: Tensor) -> Tensor:
        return zero.new_zeros(num_rows).index_add_(0, rows, values)

    empty = torch.full((num_rows,), torch.nan, dtype=torch.float64, device=device)
    result: dict[str, Tensor] = {}
    for cutoff in cutoffs:
        low, high = higher.clamp(max=cutoff), (higher + tied).clamp(max=cutoff)
        hits = total((high - low) / width)
        gain = total((discount_sum[high] - discount_sum[low]) / width)
        ideal = discount_sum[number.clamp(max=cutoff)]
        result[f"recall@{cutoff}"] = hits / number
        result[f"ndcg@{cutoff}"] = gain / ideal
        result[f"hit@{cutoff}"] = (probability * (first_at < cutoff)).sum(1)
        result[f"precision@{cutoff}"] = hits / cutoff
        within = probability * (first_at < cutoff)
        result[f"mrr@{cutoff}"] = (within / (first_at + 1)).sum(1)
    result["mrr"] = (probability / (first_at + 1)).sum(1)
    return {name: values.where(number > 0, empty) for name, values in result.items()}


def _first_target(places: Places, num_rows: int) -> tuple[Tensor, Tensor]:
    """Possible positions of a row's first target, (num_rows, W), and their probabilities.

    Of the best tie group with m members, g of them targets, the first target stands p places
    behind the head of the group when the p places before it miss and it hits:
    prod_{i < p} (m - g - i) / (m - i) * g / (m - p).
    """
    rows, higher, tied = places.rows, places.higher, places.tied
    large = torch.iinfo(torch.int64).max
    head = torch.full((num_rows,), large, device=rows.device)
    head.scatter_reduce_(0, rows, higher, "amin")
    best = higher == head[rows]
    group = torch.bincount(rows[best], minlength=num_rows).clamp(min=1)
    members = torch.ones_like(head)
    members[rows[best]] = tied[best]
    width = int((members - group).max()) + 1 if num_rows else 1
    behind = torch.arange(max(width, 1), device=rows.device)
    m, g = members.double()[:, None], group.double()[:, None]
    left = (m - behind).clamp(min=1)
    # None of the first p places is a target: product over i < p of (m - g - i) / (m - i).
    misses = ((left - g).clamp(min=0) / left).cumprod(1)
    reached = torch.cat((torch.ones_like(m), misses[:, :-1]), 1)
    probability = reached * (g / left).where(behind <= m - g, torch.zeros_like(left))
    return head.where(head < large, 0)[:, None] + behind, probability
