"""Log-weights of pairs: listed ones join the denominator, a callable's are added by the block."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast.exclusion import Exclusion
from graphcl.kernels.contrast.log_add_exp import log_add_exp, segment_log_sum_exp
from graphcl.kernels.contrast.pair_logits import pair_products
from graphcl.kernels.contrast.pairs import Pairs, check_pairs
from graphcl.kernels.contrast.problem import BlockWeight


def check_weights(weights: Pairs, shape: tuple[int, int], like: Tensor) -> None:
    """Raise for indices out of range, unusable log-weights, or a pair listed twice."""
    check_pairs("weights", weights, shape, like)
    keys = (weights.rows * shape[1] + weights.columns).sort().values
    twice = (keys[1:] == keys[:-1]).nonzero()
    if twice.numel():
        row, column = divmod(int(keys[int(twice[0])]), shape[1])
        raise ArgumentError(
            f"weights must list a pair at most once; got row {row}, column {column} twice"
        )


def add_listed(
    denominator: Tensor,
    query: Tensor,
    key: Tensor | None,
    scale: Tensor,
    bias: Tensor | None,
    weights: Pairs,
    excluded: Exclusion,
    *,
    dense: bool,
) -> Tensor:
    """The denominator (M,) of all other pairs, joined with the listed ones that are candidates."""
    present = (~excluded.contains(weights.rows, weights.columns)).nonzero().view(-1)
    rows, columns = weights.rows[present], weights.columns[present]
    if present.numel() == 0 or weights.log_weight is None:
        return denominator
    logits = scale * pair_products(query, key, rows, columns, dense=dense)
    logits = logits + weights.log_weight.to(logits.dtype)[present]
    if bias is not None:
        logits = logits + bias[columns]
    return log_add_exp(denominator, segment_log_sum_exp(logits, rows, denominator.numel()))


def listed_weight(weights: Pairs, index: Tensor, columns: int) -> Tensor:
    """(M,) log-weight of the pair (i, index[i]); 0 where it is not listed or index[i] < 0."""
    if weights.log_weight is None or weights.rows.numel() == 0:
        return torch.zeros(index.numel(), device=index.device)
    keys, order = (weights.rows * columns + weights.columns).sort()
    wanted = torch.arange(index.numel(), device=index.device) * columns + index
    place = torch.searchsorted(keys, wanted).clamp_max(keys.numel() - 1)
    listed = (keys[place] == wanted) & (index >= 0)
    return torch.where(listed, weights.log_weight[order[place]], 0.0)


def checked_blocks(weights: Callable[[slice, slice], Tensor], like: Tensor) -> BlockWeight:
    """The callable without gradient, its answers checked and brought to the dtype of `like`."""

    def block(rows: slice, columns: slice) -> Tensor:
        with torch.no_grad():
            values = weights(rows, columns)
        wanted = (rows.stop - rows.start, columns.stop - columns.start)
        if not isinstance(values, Tensor) or not values.is_floating_point():
            kind = values.dtype if isinstance(values, Tensor) else type(values).__name__
            raise ArgumentError(f"weights must return a floating tensor; got {kind}")
        if tuple(values.shape) != wanted:
            raise ArgumentError(
                f"weights must return {wanted} for such slices; got {tuple(values.shape)}"
            )
        return values.detach().to(like)

    return block


def block_weight_at(block: BlockWeight, index: Tensor, shape: tuple[int, int], tile: int) -> Tensor:
    """(M,) the callable's log-weight of the pair (i, index[i]), 0 where index[i] < 0.

    Only the blocks that hold such a pair are asked for.
    """
    rows = (index >= 0).nonzero().view(-1)
    columns = index[rows]
    found: Tensor | None = None
    keys = torch.stack([rows // tile, columns // tile], dim=1)
    for first, second in keys.unique(dim=0).tolist():
        of_rows = slice(first * tile, min((first + 1) * tile, shape[0]))
        of_columns = slice(second * tile, min((second + 1) * tile, shape[1]))
        values = block(of_rows, of_columns)
        found = values.new_zeros(shape[0]) if found is None else found
        here = (keys[:, 0] == first) & (keys[:, 1] == second)
        inside = values[rows[here] - of_rows.start, columns[here] - of_columns.start]
        found[rows[here]] = inside
    return torch.zeros(shape[0], device=index.device) if found is None else found
