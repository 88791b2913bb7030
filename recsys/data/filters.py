"""k-core filtering."""

from __future__ import annotations

from graphcl.errors import ArgumentError, DataError
from recsys.data.interactions import Interactions


def k_core(interactions: Interactions, min_user: int = 5, min_item: int = 5) -> Interactions:
    """The largest log in which every user and every item has enough interactions.

    Users and items below the bound are dropped in turns until none is left; the result does not
    depend on the order. Repetitions count. The result is compacted: it numbers what is left anew.

    Raises:
        ArgumentError: a bound is negative.
        DataError: nothing is left.
    """
    if min_user < 0 or min_item < 0:
        raise ArgumentError(f"k-core bounds must be >= 0 (got {min_user} and {min_item})")
    kept = interactions
    while True:
        users = kept.users()
        mask = (kept.lengths() >= min_user)[users]
        mask &= (kept.item_counts() >= min_item)[kept.items.long()]
        if bool(mask.all()):
            break
        kept = kept.select(mask)
    if len(kept) == 0:
        raise DataError(
            f"no interactions of '{interactions.name}' are left after the k-core filter "
            f"(got bounds of {min_user} per user and {min_item} per item)"
        )
    return kept.compact()
