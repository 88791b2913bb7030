"""Communities of a graph and how strong each one is.

Modularity (Newman & Girvan 2004) is a sum over communities; the summand of one community is
its strength in CSGCL (Chen et al., IJCAI 2023, eq. 1):

    S_c = e_c / m - (vol_c / (2 m))^2

with m edges in total, e_c of them inside c (a self-loop counts once), and vol_c the sum of
the degrees in c (a self-loop counts twice).
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.sparse_matrix import SparseMatrix

_EDGES_AT_A_TIME = 1 << 15
"""What is computed of them then stays in a processor's cache."""


def detect_communities(
    edge_index: Tensor,
    num_nodes: int,
    *,
    method: Literal["leiden", "louvain"] = "leiden",
    resolution: float = 1.0,
    seed: int = 0,
    backend: Literal["scikit-network", "networkit"] = "scikit-network",
) -> Tensor:
    """Partition the nodes by maximising modularity. Done once, on the CPU, before training.

    The edges are read as undirected: u -> v and v -> u are one edge, as are repetitions. A node
    without neighbours is a community of its own.

    Args:
        edge_index: (2, E) node ids in [0, num_nodes).
        num_nodes: number of nodes, isolated ones included.
        method: "leiden" (Traag et al. 2019) or "louvain" (Blondel et al. 2008).
        resolution: larger values give more and smaller communities; 1 is modularity itself.
        seed: same seed, same labels. scikit-network visits the nodes in an order shuffled by it,
            and its Leiden draws from C's `rand()`, which is therefore seeded for the process.
        backend: "networkit" is faster and optional (`pip install networkit`); it runs on one
            thread here, because its parallel order is not reproducible.

    Returns:
        (num_nodes,) int64 labels 0..C-1 on `edge_index`'s device, numbered by the smallest node
        id that each community holds.

    Raises:
        ArgumentError: ids out of range, an unknown method or backend, a resolution that is not
            positive and finite, or a backend that is not installed.
    """
    if method not in ("leiden", "louvain"):
        raise ArgumentError(f"method must be 'leiden' or 'louvain', got {method!r}")
    if backend not in ("scikit-network", "networkit"):
        raise ArgumentError(f"backend must be 'scikit-network' or 'networkit', got {backend!r}")
    if not 0 < resolution < float("inf"):
        raise ArgumentError(f"resolution must be positive and finite, got {resolution}")
    adjacency = SparseMatrix.from_edge_index(edge_index.cpu(), shape=num_nodes).to_scipy()
    adjacency = adjacency.maximum(adjacency.T).tocsr()
    adjacency.data[:] = 1
    if adjacency.nnz == 0:
        labels = np.arange(num_nodes)
    elif backend == "networkit":
        labels = _networkit(adjacency, method, resolution, seed)
    else:
        labels = _scikit_network(adjacency, method, resolution, seed)
    isolated = np.flatnonzero(np.diff(adjacency.indptr) == 0)
    labels = labels.astype(np.int64)
    labels[isolated] = labels.max(initial=-1) + 1 + np.arange(isolated.size)
    return torch.from_numpy(_by_first_member(labels)).to(edge_index.device)


def community_strength(edge_index: Tensor, labels: Tensor) -> Tensor:
    """S_c = e_c / m - (vol_c / (2 m))^2 for every community, O(E).

    The strengths of a partition sum to its modularity. A community of one node without
    self-loop has a strength of zero or less. An undirected graph lists each edge in both
    directions and each self-loop once; an edge listed in one direction only counts half,
    and repetitions count again.

    Args:
        edge_index: (2, E) node ids in [0, N).
        labels: (N,) int64 labels in [0, C). The strength of node i is `strength[labels[i]]`.

    Returns:
        (C,) of torch's default dtype (summed in float64); zeros for a graph without edges.

    Raises:
        ArgumentError: an id or label out of range. A label of -1 for "no community" is refused:
            give such a node a community of its own.
    """
    if labels.dim() != 1 or labels.is_floating_point():
        raise ArgumentError(
            f"labels must be a vector of integers, got {labels.dtype} {tuple(labels.shape)}"
        )
    if edge_index.dim() != 2 or edge_index.size(0) != 2:
        raise ArgumentError(f"edge_index must have shape (2, E), got {tuple(edge_index.shape)}")
    nodes = labels.numel()
    if nodes and int(labels.min()) < 0:
        raise ArgumentError(f"labels must not be negative, got {int(labels.min())}")
    low, high = (int(end) for end in edge_index.aminmax()) if edge_index.numel() else (0, -1)
    if low < 0 or high >= nodes:
        raise ArgumentError(
            f"edge_index holds ids from {low} to {high}, allowed are [0, {nodes}) as given by "
            "labels"
        )
    communities = int(labels.max()) + 1 if nodes else 0
    dtype = torch.get_default_dtype()
    if edge_index.size(1) == 0:
        return torch.zeros(communities, dtype=dtype, device=labels.device)

    def counted(members: Tensor, weight: Tensor | None = None) -> Tensor:
        return torch.bincount(members, weight, minlength=communities).double()

    ends = inside = loops = torch.zeros(communities, dtype=torch.float64, device=labels.device)
    for part in edge_index.split(_EDGES_AT_A_TIME, dim=1):
        source, target = part[0].long(), part[1].long()
        own, other = labels.index_select(0, source), labels.index_select(0, target)
        ends = ends + counted(own) + counted(other)
        inside = inside + counted(own, (own == other).double())
        loop = source == target
        if bool(loop.any()):
            loops = loops + counted(own[loop])
    # An edge is listed in both directions, so each counts half; a self-loop is listed once.
    edges = (edge_index.size(1) + loops.sum()) / 2
    volume, inside = ends / 2 + loops, (inside + loops) / 2
    return (inside / edges - (volume / (2 * edges)) ** 2).to(dtype)


def _scikit_network(adjacency: Any, method: str, resolution: float, seed: int) -> np.ndarray:
    from sknetwork.clustering import Leiden, Louvain

    _seed_c_library(seed)
    algorithm = (Leiden if method == "leiden" else Louvain)(
        resolution=resolution,
        modularity="newman",
        shuffle_nodes=True,
        return_probs=False,
        return_aggregate=False,
        random_state=seed,
    )
    return np.asarray(algorithm.fit_predict(adjacency))


def _seed_c_library(seed: int) -> None:
    """scikit-network's Leiden draws from C's `rand()`, which its `random_state` does not reach."""
    library = ctypes.CDLL("ucrtbase" if sys.platform == "win32" else None)
    library.srand(ctypes.c_uint(seed & 0xFFFFFFFF))


def _networkit(adjacency: Any, method: str, resolution: float, seed: int) -> np.ndarray:
    if importlib.util.find_spec("networkit") is None:
        raise ArgumentError(
            "backend 'networkit' is not installed; `pip install networkit`, "
            "or use backend='scikit-network'"
        )
    import networkit
    import scipy.sparse

    upper = scipy.sparse.triu(adjacency).tocoo()
    ends = (upper.row.astype(np.uint64), upper.col.astype(np.uint64))
    graph = networkit.GraphFromCoo((upper.data.astype(np.float64), ends), n=upper.shape[0])
    threads = networkit.getMaxNumberOfThreads()
    networkit.setSeed(seed, False)
    networkit.setNumberOfThreads(1)
    try:
        if method == "leiden":
            algorithm = networkit.community.ParallelLeiden(graph, gamma=resolution)
        else:
            algorithm = networkit.community.PLM(graph, gamma=resolution, refine=True)
        return np.asarray(algorithm.run().getPartition().getVector())
    finally:
        networkit.setNumberOfThreads(threads)


def _by_first_member(labels: np.ndarray) -> np.ndarray:
    """Renumber 0..C-1 in the order in which the labels first occur."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(first.size, dtype=np.int64)
    rank[np.argsort(first)] = np.arange(first.size)
    return rank[inverse.reshape(-1)]
