"""Bounds on what a two-layer GCN can output while its graph loses edges.

Yu, Wang, Zhang, Liu, Shi, "Provable Training for Graph Contrastive Learning", NeurIPS 2023,
arXiv 2309.13944 (POT). Every node may lose edges up to its budget. What it does to an entry of
the propagation matrix is bounded first, what that does to a layer by intervals, and what that
does to a score w_i . z_i of a node's embedding z_i by one of three ways; see `score_bound`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from graphcl.encoders.activations import MeanRReLU
from graphcl.encoders.gcn import GCN, gcn_matrix
from graphcl.errors import ArgumentError
from graphcl.kernels.sparse_matrix import SparseMatrix
from graphcl.kernels.spmm import spmm

ScoreBound = Literal["released", "interval", "rows"]


@dataclass(frozen=True)
class MatrixBounds:
    """Entrywise bounds of D^-1/2 (A + I) D^-1/2 over the graphs within a budget, sparse."""

    lower: SparseMatrix
    upper: SparseMatrix
    centre: SparseMatrix
    """(lower + upper) / 2."""
    radius: SparseMatrix
    """(upper - lower) / 2."""
    whole: SparseMatrix
    """The matrix of the graph that lost nothing."""


def edge_budget(edge_index: Tensor, num_nodes: int, drop_probability: Tensor | float) -> Tensor:
    """How many edges every node may lose: min(max(d - 1, 0), round(expected number lost)), (N,).

    d is the number of incoming edges but self-loops, so that a node with an edge keeps one.

    Args:
        edge_index: (2, E) node ids in [0, num_nodes).
        num_nodes: N.
        drop_probability: of every edge, one number or (E,).
    """
    between = edge_index[0] != edge_index[1]
    target = edge_index[1][between].long()
    expected = torch.as_tensor(
        drop_probability, dtype=torch.get_default_dtype(), device=edge_index.device
    ).expand(edge_index.size(1))
    lost = expected.new_zeros(num_nodes).index_add(0, target, expected[between])
    degree = torch.bincount(target, minlength=num_nodes)
    return torch.minimum((degree - 1).clamp(min=0), lost.round().long())


def matrix_bounds(
    edge_index: Tensor,
    num_nodes: int,
    budget: Tensor,
    *,
    undirected: bool = False,
    tight: bool = True,
) -> MatrixBounds:
    """Bounds of every entry of the propagation matrix, O(E + N).

    With d~ the degree of the whole graph, self-loops included, and b the budget:

        A_ij in [ 0, ((d~_i - b_i) (d~_j - b_j))^-1/2 ],    A_ii in [ 1/d~_i, 1/(d~_i - b_i) ]

    With `tight`, an edge that cannot be lost has the lower bound (d~_i d~_j)^-1/2; the authors'
    code has 0 there. An edge is lost by its target; where the graph is `undirected` and loses both
    directions together, by either end. For graphs without self-loops and repeated edges; see
    `edge_budget` for the arguments.

    Raises:
        ArgumentError: a budget that is not (N,), or that leaves a node without weight.
    """
    whole = gcn_matrix(edge_index, num_nodes, undirected=undirected)
    if budget.shape != (num_nodes,):
        raise ArgumentError(f"budget must have shape ({num_nodes},), got {tuple(budget.shape)}")
    adjacency = SparseMatrix.from_edge_index(
        edge_index, shape=num_nodes, rows="target", symmetric=undirected
    ).with_self_loops()
    degree = adjacency.sum(1)
    left = degree - budget
    if bool((budget < 0).any()) or bool((left <= 0).any()):
        raise ArgumentError("budget must be at least 0 and smaller than the degree + 1 of a node")
    grown = (degree / left).sqrt()
    row, column = whole.row, whole.column
    stays = row == column
    if tight:
        losable = torch.minimum(budget[row], budget[column]) if undirected else budget[row]
        stays |= losable == 0
    lower, upper = whole.value * stays, whole.value * grown[row] * grown[column]
    values = (lower, upper, (lower + upper) / 2, (upper - lower) / 2)
    lower_matrix, upper_matrix, centre, radius = (
        whole.with_value(value, symmetric=whole.symmetric) for value in values
    )
    return MatrixBounds(lower_matrix, upper_matrix, centre, radius, whole)


def score_bound(
    encoder: GCN,
    features: Tensor | SparseMatrix,
    bounds: MatrixBounds,
    weight: Tensor,
    *,
    bound: ScoreBound = "released",
    sampled: SparseMatrix | None = None,
) -> Tensor:
    """Low estimates (N,) of the scores w_i . z_i, z the output of `encoder`, over all graphs.

    - "interval": intervals through both layers. A true lower bound, O((E + N) d).
    - "rows": for every node i its own linear relaxation (CROWN) of both layers with the signs
      that w_i calls for, and the larger of it and "interval". A true lower bound, tighter, and
      meant for small graphs: O(N^2 (N + d)) time and O(N^2) memory.
    - "released": as the authors' code, O((E + N) d), and no bound: the second layer's intervals
      start from the hidden state of the whole graph, every neighbour enters with its own w in
      place of the node's, and the relaxation is evaluated on one `sampled` graph. Where it is
      positive, the score may well be negative, even on the graph that lost nothing.

    Args:
        encoder: two layers with activations that are linear on both sides of 0 ("relu",
            "prelu", "rrelu", "identity"), without normalisation and dropout.
        features: (N, F), the same for all graphs.
        bounds: of the propagation matrix.
        weight: (N, d) the rows w.
        bound: which of the three.
        sampled: the propagation matrix that "released" is evaluated on.

    Raises:
        ArgumentError: another encoder, a weight of another shape, "released" without `sampled`.
    """
    first, second = check_bounded(encoder)
    inputs = spmm(features, first.weight) if isinstance(features, SparseMatrix) else (
        features @ first.weight
    )  # fmt: skip
    if weight.shape != (len(inputs), encoder.out_features):
        raise ArgumentError(
            f"weight must have shape ({len(inputs)}, {encoder.out_features}), "
            f"got {tuple(weight.shape)}"
        )
    if bound == "released":
        if sampled is None:
            raise ArgumentError("bound 'released' is evaluated on a sampled graph; give `sampled`")
        return _released(first, second, inputs, bounds, weight, sampled)
    if bound not in ("interval", "rows"):
        raise ArgumentError(f"bound must be 'released', 'interval' or 'rows', got {bound!r}")
    before_first = _propagate_rows(bounds, inputs, first.bias)
    hidden = _activate(*before_first, first.slope)
    positive, negative = second.weight.clamp(min=0), second.weight.clamp(max=0)
    before_second = _propagate_intervals(
        bounds,
        hidden[0] @ positive + hidden[1] @ negative,
        hidden[1] @ positive + hidden[0] @ negative,
        second.bias,
    )
    low, high = _activate(*before_second, second.slope)
    by_intervals = (weight.clamp(min=0) * low + weight.clamp(max=0) * high).sum(dim=1)
    if bound == "interval":
        return by_intervals
    lines = _lines(*before_first, first.slope), _lines(*before_second, second.slope)
    return torch.maximum(by_intervals, _by_rows(first, second, inputs, bounds, weight, lines))


# ---------------------------------------------------------------------- layers and intervals


@dataclass(frozen=True)
class _Layer:
    weight: Tensor
    bias: Tensor
    slope: Tensor
    """Of the activation below 0."""


@dataclass(frozen=True)
class _Lines:
    """Lines of one slope on both sides of an activation, elementwise: the chord and the parallel
    through the origin."""

    slope: Tensor
    offset: Tensor
    """Of the chord."""
    above: bool
    """Whether the chord is the upper one: the activation is convex, its slope below 0 under 1."""


def check_bounded(encoder: nn.Module) -> tuple[_Layer, _Layer]:
    """The two layers of an encoder whose outputs can be bounded.

    Raises:
        ArgumentError: it is another one; see `score_bound`.
    """
    if not isinstance(encoder, GCN):
        raise ArgumentError(f"bounds are known for a GCN; got {type(encoder).__name__}")
    if len(encoder.weights) != 2 or len(encoder.norms) > 0 or encoder.dropout > 0:
        raise ArgumentError(
            "bounds are known for a GCN of two layers without normalisation and dropout; got "
            f"{len(encoder.weights)} layers, "
            f"{'with' if len(encoder.norms) else 'without'} normalisation, "
            f"dropout {encoder.dropout:g}"
        )
    layers = []
    for number, weight in enumerate(encoder.weights):
        bias = encoder.biases[number] if len(encoder.biases) else weight.new_zeros(weight.size(1))
        layers.append(_Layer(weight, bias, _slope(encoder.activations[number], weight)))
    return layers[0], layers[1]


def _slope(activation: nn.Module, like: Tensor) -> Tensor:
    if isinstance(activation, nn.PReLU):
        # As in the authors' code: the bound does not train the slope.
        return activation.weight.detach()
    for kind, slope in ((nn.ReLU, 0.0), (nn.Identity, 1.0)):
        if isinstance(activation, kind):
            return like.new_tensor(slope)
    if isinstance(activation, MeanRReLU):
        return -activation(like.new_tensor(-1.0))
    raise ArgumentError(
        "bounds are known for the activations relu, prelu, rrelu and identity; "
        f"got {type(activation).__name__}"
    )


def _propagate_rows(bounds: MatrixBounds, values: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """The interval of A V + b, (N, d) twice, for A within its bounds."""
    middle = spmm(bounds.centre, values) + bias
    half = spmm(bounds.radius, values.abs())
    return middle - half, middle + half


def _propagate_intervals(
    bounds: MatrixBounds, low: Tensor, high: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor]:
    """The interval of A V + b for A within its bounds and V in [low, high]."""
    # Entries of A are not negative, so the sign of V alone decides which end is the worst.
    least = spmm(bounds.lower, low.clamp(min=0)) + spmm(bounds.upper, low.clamp(max=0))
    most = spmm(bounds.upper, high.clamp(min=0)) + spmm(bounds.lower, high.clamp(max=0))
    return least + bias, most + bias


def _apply(x: Tensor, slope: Tensor) -> Tensor:
    return x.clamp(min=0) + slope * x.clamp(max=0)


def _activate(low: Tensor, high: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """The image of [low, high]."""
    ends = _apply(low, slope), _apply(high, slope)
    if bool(slope >= 0):
        return ends
    # Falling and then rising: the least is at 0 where that is inside.
    least, most = torch.minimum(*ends), torch.maximum(*ends)
    return torch.where((low < 0) & (high > 0), 0.0, least), most


def _lines(low: Tensor, high: Tensor, slope: Tensor) -> _Lines:
    # On one side of 0 one of the ends is 0, and the chord is the activation's own line.
    low, high = low.clamp(max=0), high.clamp(min=0)
    width = (high - low).clamp(min=torch.finfo(low.dtype).tiny)
    return _Lines(
        slope=(high - slope * low) / width,
        offset=(slope - 1) * (high * (low / width)),
        above=bool(slope <= 1),
    )


def _relax(weight: Tensor, lines: _Lines, bias: Tensor) -> tuple[Tensor, Tensor]:
    """w . activation(x + b) >= w' . x + constant: w' of the shape of w, constants without d."""
    slope = weight * lines.slope
    # The line that is worse for the sign of w; only the chord has an offset.
    chord = weight.clamp(max=0) if lines.above else weight.clamp(min=0)
    return slope, (chord * lines.offset).sum(dim=-1) + slope @ bias


# ---------------------------------------------------------------------- the scores


def _released(
    first: _Layer,
    second: _Layer,
    inputs: Tensor,
    bounds: MatrixBounds,
    weight: Tensor,
    sampled: SparseMatrix,
) -> Tensor:
    hidden = _apply(spmm(bounds.whole, inputs) + first.bias, first.slope)
    lines = (
        _lines(*_propagate_rows(bounds, inputs, first.bias), first.slope),
        _lines(*_propagate_rows(bounds, hidden @ second.weight, second.bias), second.slope),
    )
    outer, outer_constant = _relax(weight, lines[1], second.bias)
    inner, inner_constant = _relax(outer @ second.weight.T, lines[0], first.bias)
    scores = spmm(sampled, (inputs * inner).sum(dim=1)) + inner_constant
    return spmm(sampled, scores) + outer_constant


def _by_rows(
    first: _Layer,
    second: _Layer,
    inputs: Tensor,
    bounds: MatrixBounds,
    weight: Tensor,
    lines: tuple[_Lines, _Lines],
) -> Tensor:
    outer, outer_constant = _relax(weight, lines[1], second.bias)
    through = outer @ second.weight.T
    lower, upper = bounds.lower.to_dense(), bounds.upper.to_dense()
    scores = []
    for node, row in enumerate(through):
        # (N, d): what node's weight makes of every other node's hidden state.
        inner, inner_constant = _relax(row.expand_as(inputs), lines[0], first.bias)
        reached = inner @ inputs.T
        ends = lower * reached.clamp(min=0) + upper * reached.clamp(max=0)
        hidden = ends.sum(dim=1) + inner_constant
        scores.append((lower[node] * hidden.clamp(min=0) + upper[node] * hidden.clamp(max=0)).sum())
    return torch.stack([*scores, outer_constant.new_zeros(())])[:-1] + outer_constant
