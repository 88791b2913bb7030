"""Node centralities in float64 by sparse products; isolated nodes and empty graphs included."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.spmm import SparseMatrix, spmm

Centrality = Literal["degree", "eigenvector", "pagerank"]
_STEPS = 1000


def node_centrality(edge_index: Tensor, num_nodes: int, kind: Centrality = "degree") -> Tensor:
    """Centrality of every node, (N,), of torch's default dtype.

    - "degree": number of incoming edges.
    - "eigenvector": the leading eigenvector of A^T (a node is central when nodes that point to it
      are), of length one and non-negative, by power iteration on A^T + I as in networkx.
    - "pagerank": damping 0.85, dangling nodes jump anywhere; sums to one.

    Raises:
        ArgumentError: unknown kind, ids out of range.
    """
    check_centrality(kind)
    incoming = SparseMatrix.from_edge_index(
        edge_index, shape=num_nodes, rows="target", dtype=torch.float64
    )
    if kind == "degree" or num_nodes == 0:
        result = incoming.sum(1)
    elif kind == "eigenvector":
        result = _eigenvector(incoming)
    else:
        result = _pagerank(incoming)
    return result.to(torch.get_default_dtype())


def check_centrality(kind: str) -> None:
    """`kind` is one that `node_centrality` knows."""
    if kind not in get_args(Centrality):
        allowed = ", ".join(get_args(Centrality))
        raise ArgumentError(f"centrality must be one of {allowed}, got {kind!r}")


def _eigenvector(incoming: SparseMatrix, tolerance: float = 1e-8) -> Tensor:
    nodes = incoming.shape[0]
    current = incoming.value.new_full((nodes,), nodes**-0.5)
    for _ in range(_STEPS):
        # The identity moves the spectrum so that bipartite graphs do not oscillate.
        following = current + spmm(incoming, current)
        following = following / following.norm()
        change = (following - current).abs().max()
        current = following
        if change < tolerance:
            break
    return current


def _pagerank(incoming: SparseMatrix, damping: float = 0.85, tolerance: float = 1e-10) -> Tensor:
    nodes = incoming.shape[0]
    outgoing = incoming.sum(0)
    dangling = outgoing == 0
    share = torch.where(dangling, 0.0, 1 / outgoing.clamp(min=1))
    current = incoming.value.new_full((nodes,), 1 / nodes)
    for _ in range(_STEPS):
        lost = current[dangling].sum()
        following = damping * (spmm(incoming, current * share) + lost / nodes)
        following = following + (1 - damping) / nodes
        change = (following - current).abs().sum()
        current = following
        if change < tolerance:
            break
    return current
