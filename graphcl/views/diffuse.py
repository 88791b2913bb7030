"""Replace edges by a graph diffusion, made sparse again: PageRank or heat kernel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch_geometric.transforms import BaseTransform

from graphcl.errors import ArgumentError
from graphcl.kernels.spmm import SparseMatrix, spmm
from graphcl.views.checks import (
    check_edge_index,
    check_fraction,
    check_homogeneous,
    number_of_nodes,
)
from graphcl.views.edge_attributes import replace_edges

if TYPE_CHECKING:
    from torch_geometric.data import Data

# Truncate the series where what is left sums to less than this.
_TOLERANCE = 1e-5
_MOST_TERMS = 10_000


def diffuse_edges(
    edge_index: Tensor,
    *,
    num_nodes: int,
    edge_weight: Tensor | None = None,
    kernel: Literal["ppr", "heat"] = "ppr",
    alpha: float = 0.15,
    time: float = 5.0,
    top_k: int | None = 64,
    threshold: float | None = None,
    block: int = 64,
) -> tuple[Tensor, Tensor]:
    """The diffusion S = sum_k theta_k T^k of a graph, with small entries cut off.

    T = D^-1/2 (A + I) D^-1/2; personalised PageRank has theta_k = alpha (1 - alpha)^k, the heat
    kernel theta_k = e^-time time^k / k! (Gasteiger et al., NeurIPS 2019, eq. 1 and 2). The series
    is summed for `block` target nodes at a time, so memory is O(N block), never N x N;
    truncation error is below 1e-5 per unit of weight. Weights are those of S, not re-normalised.
    The work is O(N E K) for a series of K terms (about 70 for alpha 0.15): meant to run once.

    Args:
        edge_index: (2, E) node ids in [0, num_nodes).
        num_nodes: N.
        edge_weight: (E,) positive, or None for ones.
        kernel: "ppr" or "heat".
        alpha: restart probability of "ppr", in (0, 1]; below 0.0012 the series is too long.
        time: of "heat", positive; above about 9000 the series is too long.
        top_k: keep each target's `top_k` largest entries; None keeps all above `threshold`.
        threshold: keep entries of at least this size; None keeps all that are positive.
        block: how many columns are computed at a time; narrow ones stay in the cache.

    Returns:
        edge_index (2, E') sorted by target, source ids ascending, and edge_weight (E',).

    Raises:
        ArgumentError: a parameter out of its range, neither cut given, ids out of range.
    """
    check_edge_index(edge_index, num_nodes)
    _check_settings(kernel, alpha, time, top_k, threshold)
    if block < 1:
        raise ArgumentError(f"block must be at least 1, got {block}")
    transition = SparseMatrix.from_edge_index(
        edge_index, edge_weight, shape=num_nodes, rows="source"
    ).normalised("symmetric", self_loops=True)
    coefficients = _coefficients(kernel, alpha, time)
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for first in range(0, num_nodes, block):
        targets = torch.arange(first, min(first + block, num_nodes), device=edge_index.device)
        power = transition.value.new_zeros(num_nodes, targets.numel())
        power[targets, targets - first] = 1
        column = coefficients[0] * power
        for coefficient in coefficients[1:]:
            power = spmm(transition, power)
            column = column.add(power, alpha=coefficient)
        kept = column >= threshold if threshold is not None else column > 0
        if top_k is not None and top_k < num_nodes:
            largest = column.topk(top_k, dim=0).indices
            kept &= torch.zeros_like(kept).scatter_(0, largest, True)
        target, source = kept.T.nonzero(as_tuple=True)
        parts.append((source, targets[target], column[source, target]))
    if not parts:
        return edge_index.new_zeros(2, 0), transition.value.new_zeros(0)
    source, target, weight = (torch.cat(part) for part in zip(*parts, strict=True))
    return torch.stack([source, target]), weight


def _check_settings(
    kernel: str, alpha: float, time: float, top_k: int | None, threshold: float | None
) -> None:
    if kernel not in ("ppr", "heat"):
        raise ArgumentError(f"kernel must be 'ppr' or 'heat', got {kernel!r}")
    if check_fraction("alpha", alpha) == 0:
        raise ArgumentError("alpha must be in (0, 1], got 0")
    if not 0 < time < math.inf:
        raise ArgumentError(f"time must be positive and finite, got {time}")
    _coefficients(kernel, alpha, time)
    if top_k is None and threshold is None:
        raise ArgumentError("give top_k or threshold; without a cut the result is dense")
    if top_k is not None and top_k < 1:
        raise ArgumentError(f"top_k must be at least 1, got {top_k}")
    if threshold is not None and not 0 < threshold < math.inf:
        raise ArgumentError(f"threshold must be positive and finite, got {threshold}")


def _coefficients(kernel: str, alpha: float, time: float) -> list[float]:
    """theta_0, theta_1, ... until the rest of them (which sum to one) is below the tolerance."""
    coefficients: list[float] = []
    rest = 1.0
    while rest > _TOLERANCE:
        k = len(coefficients)
        if k == _MOST_TERMS:
            setting = f"alpha={alpha:g}" if kernel == "ppr" else f"time={time:g}"
            raise ArgumentError(
                f"the series of the {kernel} diffusion must end within {_MOST_TERMS} terms, "
                f"got {setting}, of which they leave {rest:.2g}"
            )
        if kernel == "ppr":
            theta = coefficients[-1] * (1 - alpha) if k else alpha
        else:
            # By its logarithm: e^-time alone vanishes from 750 on.
            theta = math.exp(k * math.log(time) - time - math.lgamma(k + 1))
        coefficients.append(theta)
        rest -= theta
    return coefficients


class DiffuseEdges(BaseTransform):
    r"""Replace the edges by a sparse graph diffusion: personalised PageRank or heat kernel.

    S = sum_k theta_k T^k with T = D^-1/2 (A + I) D^-1/2, theta_k = alpha (1 - alpha)^k ("ppr") or
    e^-time time^k / k! ("heat"), reduced to each node's largest entries. Gasteiger et al.,
    "Diffusion improves graph learning", NeurIPS 2019. Deterministic. With `top_k` the result is
    directed: a node may be among another's largest without the converse.

    Shapes: `data.edge_index` (2, E) -> (2, E') sorted by target; `data.edge_weight` (E',) is set.
    Other edge-level attributes do not survive, since the edges are new ones.

    Args:
        kernel: "ppr" or "heat".
        alpha: restart probability of "ppr".
        time: of "heat".
        top_k: entries kept per node; None: only `threshold` decides.
        threshold: smallest entry kept; None: all positive ones.

    Raises:
        ArgumentError: a parameter out of its range; no `edge_index`; ids out of range.

    Example:
        >>> view = DiffuseEdges("ppr", alpha=0.15, top_k=32)(data)
    """

    def __init__(
        self,
        kernel: Literal["ppr", "heat"] = "ppr",
        *,
        alpha: float = 0.15,
        time: float = 5.0,
        top_k: int | None = 64,
        threshold: float | None = None,
    ) -> None:
        _check_settings(kernel, alpha, time, top_k, threshold)
        self.kernel: Literal["ppr", "heat"] = kernel
        self.alpha = alpha
        self.time = time
        self.top_k = top_k
        self.threshold = threshold

    def forward(self, data: Data) -> Data:
        """The view of `data`; `data` itself is not changed."""
        data = check_homogeneous(data, "edge_index")
        edge_index, weight = diffuse_edges(
            data.edge_index,
            num_nodes=number_of_nodes(data),
            edge_weight=getattr(data, "edge_weight", None),
            kernel=self.kernel,
            alpha=self.alpha,
            time=self.time,
            top_k=self.top_k,
            threshold=self.threshold,
        )
        return replace_edges(data, edge_index, weight)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.kernel!r})"
