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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Literal, get_args

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.topk import Lists, rank_items
from recsys.views.checks import check_integers

TiePolicy = Literal["mean", "optimistic", "pessimistic"]

Scores = Tensor | tuple[Tensor, Tensor]
"""(B, N), or user vectors (B, d) and item vectors (N, d) whose inner products they are."""

CELLS = 1 << 20
"""Positions looked at at once: users without history tie with every item there is."""


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
    scores: Scores,
    rows: Tensor,
    targets: Tensor,
    excluded: tuple[Tensor, Tensor] | None = None,
    ties: TiePolicy = "mean",
) -> Places:
    """Count, for each target, the candidates that score higher and as high: no sorting of items.

    All items are candidates but the excluded ones; a target is a candidate even when excluded,
    and a user's other targets are candidates too.

    Args:
        scores: float; may hold infinities, not NaN.
        rows: integers (T,), ascending: the row of `scores` of each target.
        targets: integers (T,), the target items; no (row, item) pair twice.
        excluded: rows and items, each integers (S,), that are no candidates (seen items).
        ties: see the module; `optimistic` and `pessimistic` settle the order, so `tied` is 1.

    Raises:
        NonFiniteError: a score is NaN.
        ArgumentError: `ties` is not a policy, `rows` do not ascend, or rows and items are no
            integers, differ in number or are not among those of `scores`.
    """
    if ties not in get_args(TiePolicy):
        raise ArgumentError(f"ties must be one of {', '.join(get_args(TiePolicy))} (got {ties!r})")
    count = len(scores if isinstance(scores, Tensor) else scores[0])
    rows, targets = _checked_pairs(("rows", "targets"), rows, targets, count)
    falls = rows[1:] < rows[:-1]
    # The ranks come in the order of the rows: otherwise they would be those of other users.
    if bool(falls.any()):
        at = int(falls.int().argmax())
        raise ArgumentError(f"rows must ascend (got {int(rows[at])} before {int(rows[at + 1])})")
    if excluded is not None:
        excluded = _checked_pairs(("rows excluded", "items excluded"), *excluded, count)
    ranks = rank_items(
        scores,
        targets=Lists.from_pairs(rows, targets, count),
        excluded=None if excluded is None else Lists.from_pairs(*excluded, count),
    )
    higher, tied = ranks.higher, ranks.tied
    if ties == "mean":
        return Places(rows, higher, tied)
    place, size = _order_among_equals(rows, higher)
    before = higher + place + (tied - size if ties == "pessimistic" else 0)
    return Places(rows, before, torch.ones_like(tied))


def _checked_pairs(
    names: tuple[str, str], rows: Tensor, items: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    for name, given in zip(names, (rows, items), strict=True):
        check_integers(name, given)
    if rows.dim() != 1 or rows.shape != items.shape:
        raise ArgumentError(
            f"{names[0]} and {names[1]} must be of one dimension and one length "
            f"(got {tuple(rows.shape)} and {tuple(items.shape)})"
        )
    rows, items = rows.long(), items.long()
    if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < count:
        raise ArgumentError(
            f"{names[0]} must lie in 0..{count - 1}, those of scores "
            f"(got {int(rows.min())}..{int(rows.max())})"
        )
    return rows, items


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
        ArgumentError: there is no cutoff, or one is not an integer of at least 1.
    """
    check_cutoffs(cutoffs)
    rows, higher, tied = places.rows, places.higher, places.tied
    device, width = rows.device, tied.double()
    number = torch.bincount(rows, minlength=num_rows)
    positions = torch.arange(max(cutoffs), dtype=torch.float64, device=device)
    zero = torch.zeros(1, dtype=torch.float64, device=device)
    discount_sum = torch.cat((zero, torch.log2(positions + 2).reciprocal().cumsum(0)))
    first = _first_target(places, num_rows, cutoffs)

    # All cutoffs at once, (K, T) and (K, num_rows): short rows cost what their operations cost.
    limits = torch.tensor(cutoffs, device=device)[:, None]
    low, high = torch.minimum(higher, limits), torch.minimum(higher + tied, limits)

    def total(values: Tensor) -> Tensor:
        return zero.new_zeros(len(cutoffs), num_rows).index_add_(1, rows, values)

    hits = total((high - low) / width)
    gain = total((discount_sum[high] - discount_sum[low]) / width)
    ideal = discount_sum[torch.minimum(number, limits)]
    by_name = {"recall": hits / number, "ndcg": gain / ideal, "precision": hits / limits, **first}
    missing = number == 0
    for values in by_name.values():
        values.masked_fill_(missing, torch.nan)
    result = {
        f"{name}@{cutoff}": by_name[name][at]
        for at, cutoff in enumerate(cutoffs)
        for name in ("recall", "ndcg", "hit", "precision", "mrr")
    }
    return {**result, "mrr": by_name["reciprocal"]}


def check_cutoffs(cutoffs: Sequence[int]) -> None:
    """Refuse what are not positive integers, one or more."""
    listed = isinstance(cutoffs, Sequence) and len(cutoffs) > 0
    if not listed or any(
        isinstance(k, bool) or not isinstance(k, Integral) or k < 1 for k in cutoffs
    ):
        raise ArgumentError(
            f"cutoffs must be positive integers, one or more of them (got {cutoffs!r})"
        )


def _first_target(places: Places, num_rows: int, cutoffs: Sequence[int]) -> dict[str, Tensor]:
    """What looks at a row's first target: `hit` and `mrr` (K, num_rows), `reciprocal` (num_rows,).

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
    head = head.where(head < large, 0)
    # Where the whole group are targets, the first of them is at its head.
    within = head < torch.tensor(cutoffs, device=rows.device)[:, None]
    reciprocal = (head + 1).double().reciprocal()
    found = {"hit": within.double(), "mrr": within * reciprocal, "reciprocal": reciprocal}
    unsettled = torch.nonzero(members > group).flatten()
    for part in _narrow_blocks((members - group + 1)[unsettled]):
        block = unsettled[part]
        m, g = members[block].double()[:, None], group[block].double()[:, None]
        behind = torch.arange(int((members - group)[block].max()) + 1, device=rows.device)
        left = (m - behind).clamp(min=1)
        # None of the first p places is a target: product over i < p of (m - g - i) / (m - i).
        misses = ((left - g).clamp(min=0) / left).cumprod(1)
        reached = torch.cat((torch.ones_like(m), misses[:, :-1]), 1)
        probability = reached * (g / left).where(behind <= m - g, torch.zeros_like(left))
        position = head[block][:, None] + behind
        share = probability / (position + 1)
        found["reciprocal"][block] = share.sum(1)
        for at, cutoff in enumerate(cutoffs):
            within = position[:, :cutoff] < cutoff
            found["hit"][at, block] = (probability[:, :cutoff] * within).sum(1)
            found["mrr"][at, block] = (share[:, :cutoff] * within).sum(1)
    return found


def _narrow_blocks(width: Tensor) -> Iterator[Tensor]:
    """All rows, those of about equal width together, in blocks of at most `CELLS` (or one row)."""
    order = torch.argsort(width)
    while len(order):
        cells = width[order] * torch.arange(1, len(order) + 1, device=order.device)
        count = max(1, int((cells <= CELLS).sum()))
        yield order[:count]
        order = order[count:]
