"""Which columns are candidates of which rows, from the arguments all operators share."""

from __future__ import annotations

from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast.checks import check_finite, check_matrix, check_vector
from graphcl.kernels.contrast.exclusion import (
    Exclusion,
    diagonal,
    match_ids,
    nothing_excluded,
    within_groups,
)
from graphcl.kernels.contrast.pairs import Pairs, check_pairs


def check_sides(
    query: Tensor, key: Tensor | None, names: tuple[str, str] = ("query", "key")
) -> tuple[int, int]:
    """(M, N) of two alike, finite matrices of rows."""
    check_matrix(names[0], query, None)
    if key is not None:
        check_matrix(names[1], key, query)
    check_finite(names[0], query)
    if key is not None:
        check_finite(names[1], key)
    return query.shape[0], (query if key is None else key).shape[0]


def excluded_pairs(
    shape: tuple[int, int],
    like: Tensor,
    *,
    self_similar: bool,
    row_ids: Tensor | None = None,
    column_ids: Tensor | None = None,
    row_groups: Tensor | None = None,
    column_groups: Tensor | None = None,
    exclude: Pairs | None = None,
) -> Exclusion:
    """The pairs that are no candidates.

    With `self_similar` (the rows are the columns) the ids and groups of the
    columns default to those of the rows, and without ids each row excludes itself.
    """
    if self_similar:
        column_ids = row_ids if column_ids is None else column_ids
        column_groups = row_groups if column_groups is None else column_groups
    ids = _both_sides("ids", row_ids, column_ids, shape, like)
    groups = _both_sides("groups", row_groups, column_groups, shape, like)
    if ids is not None:
        excluded = match_ids(*ids)
    elif self_similar:
        excluded = diagonal(shape[0], like.device)
    else:
        excluded = nothing_excluded(like.device)
    if exclude is not None:
        check_pairs("exclude", exclude, shape, like)
        excluded = excluded.with_pairs(exclude.rows, exclude.columns)
    return excluded if groups is None else within_groups(excluded, *groups)


def without_positive(excluded: Exclusion, positive: Tensor | None) -> Exclusion:
    """The set and every row's positive."""
    if positive is None:
        return excluded
    rows = (positive >= 0).nonzero().view(-1)
    return excluded.with_pairs(rows, positive[rows])


def _both_sides(
    kind: str,
    of_rows: Tensor | None,
    of_columns: Tensor | None,
    shape: tuple[int, int],
    like: Tensor,
) -> tuple[Tensor, Tensor] | None:
    check_vector(f"row {kind}", of_rows, shape[0], like, floating=False)
    check_vector(f"column {kind}", of_columns, shape[1], like, floating=False)
    if of_rows is None and of_columns is None:
        return None
    if of_rows is None or of_columns is None:
        raise ArgumentError(
            f"{kind} compare a row with a column, so both sides need them; got only one side"
        )
    return of_rows, of_columns
