"""The public operator in one direction: checks its arguments and builds the problem."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast.backends import (
    BACKENDS,
    WITH_BLOCKS,
    log_sum_exp,
    resolve_backend,
)
from graphcl.kernels.contrast.candidates import check_sides, excluded_pairs, without_positive
from graphcl.kernels.contrast.checks import (
    accumulation_dtype,
    check_bias,
    check_choice,
    check_hardness,
    check_positive,
    full_precision,
    product_precision,
    scale_tensor,
)
from graphcl.kernels.contrast.exclusion import nothing_excluded
from graphcl.kernels.contrast.hardness import steeper
from graphcl.kernels.contrast.outputs import ContrastOutput
from graphcl.kernels.contrast.pair_logits import pair_products
from graphcl.kernels.contrast.pairs import Pairs
from graphcl.kernels.contrast.problem import Problem
from graphcl.kernels.contrast.weights import (
    add_listed,
    block_weight_at,
    check_weights,
    checked_blocks,
    listed_weight,
)


def contrast(
    query: Tensor,
    key: Tensor | None = None,
    *,
    scale: float | Tensor,
    positive: Tensor | None = None,
    row_ids: Tensor | None = None,
    column_ids: Tensor | None = None,
    row_groups: Tensor | None = None,
    column_groups: Tensor | None = None,
    exclude: Pairs | None = None,
    weights: Pairs | Callable[[slice, slice], Tensor] | None = None,
    column_bias: Tensor | None = None,
    hardness: float = 0.0,
    decoupled: bool = False,
    backend: str = "auto",
    tile: int = 512,
) -> ContrastOutput:
    r"""Log-sum-exp over all candidates of every row, and the logit of its positive.

    .. math::
        l_{ij} = scale \cdot s_{ij} + column\_bias_j + w_{ij}, \qquad
        s_{ij} = \langle q_i, k_j \rangle

        denominator_i = \log \sum_{j \in C_i} e^{l_{ij} + hardness \cdot sg(s_{ij})}, \qquad
        positive_i = l_{i,p(i)}

    where C_i is every column but those with `column_ids[j] == row_ids[i]`, those
    of another group, those in `exclude` and, if `decoupled`, p(i); sg is the
    stop-gradient and w the `weights`. The positive may be an excluded column.

    Args:
        query: (M, d) rows, float16/bfloat16/float32/float64. Not normalised here.
        key: (N, d) columns, same dtype. None: the rows are also the columns
            (self-similarity), and unless ids are given each row excludes itself.
        scale: inverse temperature, a positive number or 0-d tensor (differentiable).
        positive: (M,) int64 column of each row's positive, -1 for none. None: no
            row has one.
        row_ids, column_ids: (M,) and (N,) integer ids; equal ids exclude the pair
            from the denominator (the same node in the same view, a known
            neighbour group, ...). Ids may repeat. With `key=None`, `column_ids`
            defaults to `row_ids`.
        row_groups, column_groups: (M,) and (N,) integer groups (classes,
            communities, graphs of a batch); only columns of the row's own group are
            candidates. With `key=None`, `column_groups` defaults to `row_groups`.
            Time falls with the sizes of the groups, except with callable weights.
        exclude: pairs that are no candidates; their log-weights are not used.
        weights: log-weights of pairs. `Pairs`: of the listed ones (differentiable),
            for instance a margin on the positive; -inf removes a pair. Pairs that
            are excluded anyway stay excluded. A callable: `weights(rows, columns)`
            for two slices returns the (h, w) log-weights of that block, the same at
            every call, and gets no gradient; backends "dense" and "tiles" only.
        column_bias: (N,) log-weight of each column in logit units (differentiable);
            -inf removes a column.
        hardness: at least 0. Weighs each candidate by e^{hardness s} as a constant:
            the value has the slope scale + hardness, the gradient of query and key
            the slope scale (LLaVE, Lan et al. 2025; with a positive in the
            denominator it is weighed too, so LLaVE is `decoupled`). `positive` is
            left alone.
        decoupled: leave the positive out of the denominator (Yeh et al. 2021).
        backend: "dense" (O(M N) memory, twice differentiable), "tiles" (exact,
            O((M + N) d) memory), "native" (the same in C++, on the CPU), "triton" (on
            CUDA devices), or "auto": dense up to `DENSE_LIMIT`
            entries, above that the fastest of the others.
        tile: side of a tile in rows. Memory grows with its square.

    Returns:
        `ContrastOutput`, in float64 for float64 input and float32 otherwise.

    Raises:
        ArgumentError: for a wrong shape, dtype, device, index or backend name.
        NonFiniteArgumentError: for NaN or infinity in query or key, and for NaN or
            +inf in a bias or weight.
    """
    shape = check_sides(query, key)
    check_choice(backend, BACKENDS, tile)
    blocks = None if weights is None or isinstance(weights, Pairs) else weights
    if blocks is not None and not callable(blocks):
        raise ArgumentError(f"weights must be Pairs or a callable; got {type(weights).__name__}")
    backend = resolve_backend(backend, shape, query, BACKENDS if blocks is None else WITH_BLOCKS)
    check_bias("column_bias", column_bias, shape[1], query)
    check_positive("positive", positive, *shape, query)
    check_hardness(hardness)
    excluded = excluded_pairs(
        shape,
        query,
        self_similar=key is None,
        row_ids=row_ids,
        column_ids=column_ids,
        row_groups=row_groups,
        column_groups=column_groups,
        exclude=exclude,
    )
    if decoupled:
        excluded = without_positive(excluded, positive)
    listed = None
    if isinstance(weights, Pairs):
        check_weights(weights, shape, query)
        # Without log-weights the pairs are as all others.
        listed = None if weights.log_weight is None else weights

    dtype, precision = accumulation_dtype(query), product_precision(query)
    query = query.to(dtype)
    key = None if key is None else key.to(dtype)
    bias = None if column_bias is None else column_bias.to(dtype)
    factor = scale_tensor(scale, query)
    dense = backend == "dense"
    if blocks is not None:
        blocks = checked_blocks(blocks, query)
    rows, columns, slope = steeper(query, key, factor, hardness)
    problem = Problem(
        query=rows,
        key=columns,
        scale=slope,
        query_bias=None,
        key_bias=bias,
        row_excluded=(
            excluded if listed is None else excluded.with_pairs(listed.rows, listed.columns)
        ),
        column_excluded=nothing_excluded(query.device),
        columns=False,
        block_weight=blocks,
        precision=precision,
    )
    with full_precision(query):
        denominator, _ = log_sum_exp(problem, backend, tile)
        if listed is not None:
            denominator = add_listed(
                denominator, rows, columns, slope, bias, listed, excluded, dense=dense
            )
        logits = positive_logits(query, key, positive, factor, bias, dense=dense)
        if positive is not None and listed is not None:
            logits = logits + listed_weight(listed, positive, shape[1]).to(dtype)
        if positive is not None and blocks is not None:
            side = max(*shape, 1) if dense else tile
            logits = logits + block_weight_at(blocks, positive, shape, side).to(dtype)
    return ContrastOutput(denominator, logits)


def positive_logits(
    query: Tensor,
    key: Tensor | None,
    positive: Tensor | None,
    scale: Tensor,
    bias: Tensor | None,
    *,
    dense: bool,
) -> Tensor:
    """(M,) logit of every row's positive, a connected 0 without one."""
    if positive is None or 0 in (query.shape[0], (query if key is None else key).shape[0]):
        return 0.0 * query.sum(dim=1)
    index = positive.clamp_min(0)
    logits = scale * pair_products(query, key, None, index, dense=dense)
    if bias is not None:
        logits = logits + bias.index_select(0, index)
    return torch.where(positive >= 0, logits, 0.0)
