"""What others do, written from its definition, for `benchmarks/sparse.py` to compare with."""

from __future__ import annotations

import random

import networkx
import numba
import numpy as np
import scipy.sparse
import torch
from torch import Tensor
from torch.nn import functional

# ---- propagation ------------------------------------------------------------------------------


def coo(row: Tensor, column: Tensor, value: Tensor, size: int) -> Tensor:
    """A float matrix in coordinate form, as SELFRec and RecBole keep it."""
    return torch.sparse_coo_tensor(
        torch.stack([row, column]), value, (size, size), check_invariants=False
    )


def layers_mean(matrix: Tensor, embeddings: Tensor, layers: int) -> Tensor:
    """LightGCN: the mean of all layers, each a `torch.sparse.mm`."""
    outputs = [embeddings]
    for _ in range(layers):
        outputs.append(torch.sparse.mm(matrix, outputs[-1]))
    return torch.stack(outputs, dim=1).mean(dim=1)


def scatter_mean(row: Tensor, column: Tensor, value: Tensor, x: Tensor, layers: int) -> Tensor:
    """The same by gathering and adding messages, as message passing on an edge list does."""
    outputs = [x]
    for _ in range(layers):
        message = outputs[-1][column] * value[:, None]
        outputs.append(torch.zeros_like(x).index_add(0, row, message))
    return torch.stack(outputs, dim=1).mean(dim=1)


def rebuilt_for_each_layer(
    row: Tensor, column: Tensor, value: Tensor, x: Tensor, layers: int, rate: float
) -> Tensor:
    """Dropout on the values and a new matrix in coordinate form for every layer (LightGCL)."""
    outputs = [x]
    for _ in range(layers):
        matrix = coo(row, column, functional.dropout(value, rate), x.shape[0])
        outputs.append(torch.sparse.mm(matrix, outputs[-1]))
    return torch.stack(outputs, dim=1).mean(dim=1)


def rebuilt_in_scipy(
    users: np.ndarray, items: np.ndarray, shape: tuple[int, int], rate: float
) -> Tensor:
    """Some interactions left out, the square adjacency normalised anew in scipy (SGL)."""
    kept = random.sample(range(len(users)), int(len(users) * (1 - rate)))
    size = shape[0] + shape[1]
    ends = (users[kept], items[kept] + shape[0])
    half = scipy.sparse.csr_matrix((np.ones(len(kept), np.float32), ends), shape=(size, size))
    adjacency = half + half.T
    degree = np.asarray(adjacency.sum(1)).ravel()
    with np.errstate(divide="ignore"):
        scale = np.power(degree, -0.5)
    scale[np.isinf(scale)] = 0
    diagonal = scipy.sparse.diags(scale.astype(np.float32))
    normal = diagonal.dot(adjacency).dot(diagonal).tocoo()
    row, column = (torch.from_numpy(part.astype(np.int64)) for part in (normal.row, normal.col))
    return coo(row, column, torch.from_numpy(normal.data), size)


# ---- negatives ----------------------------------------------------------------------------------


def negatives_by_dictionary(
    users: np.ndarray, num_items: int, taken: scipy.sparse.dok_matrix
) -> np.ndarray:
    """Draw until the pair is not in the dictionary of keys (LightGCL)."""
    negatives = np.empty(len(users), dtype=np.int64)
    for place, user in enumerate(users):
        while True:
            item = np.random.randint(num_items)  # noqa: NPY002
            if (user, item) not in taken:
                break
        negatives[place] = item
    return negatives


# ---- ranking ------------------------------------------------------------------------------------


@numba.njit(cache=False)
def k_largest_by_heap(k: int, scores: np.ndarray) -> np.ndarray:
    """The k best of one user's scores, with a heap of the best so far (SELFRec)."""
    heap = [(scores[item], -item) for item in range(k)]
    # A list in ascending order is a heap.
    heap.sort()
    for item in range(k, len(scores)):
        score = scores[item]
        if score > heap[0][0]:
            # Replace the root and sift it down.
            at = 0
            heap[0] = (score, -item)
            while True:
                child = 2 * at + 1
                if child >= k:
                    break
                if child + 1 < k and heap[child + 1] < heap[child]:
                    child += 1
                if heap[at] <= heap[child]:
                    break
                heap[at], heap[child] = heap[child], heap[at]
                at = child
    heap.sort(reverse=True)
    return np.array([-entry[1] for entry in heap])


def rank_by_heap(users: Tensor, items: Tensor, seen: list[np.ndarray], k: int) -> np.ndarray:
    """One product and one heap for each user (SELFRec)."""
    found = np.empty((len(users), k), dtype=np.int64)
    for row in range(len(users)):
        scores = (users[row] @ items.T).numpy()
        scores[seen[row]] = -1e8
        found[row] = k_largest_by_heap(k, scores)
    return found


def rank_by_argsort(
    users: Tensor, items: Tensor, seen: scipy.sparse.csr_matrix, k: int, together: int = 256
) -> np.ndarray:
    """A dense mask and a full argsort of all items for each user (LightGCL)."""
    found = []
    for start in range(0, len(users), together):
        part = slice(start, start + together)
        mask = torch.from_numpy(seen[part].toarray())
        scores = users[part] @ items.T
        scores = scores * (1 - mask) - 1e8 * mask
        found.append(scores.argsort(dim=1, descending=True, stable=True)[:, :k].numpy())
    return np.concatenate(found)


# ---- communities --------------------------------------------------------------------------------


def strength_by_loop(graph: networkx.Graph, labels: dict[int, int]) -> list[float]:
    """S_c = e_c / m - (vol_c / 2m)^2 by a loop over nodes and their neighbours (CSGCL)."""
    inside: dict[int, float] = {}
    volume: dict[int, float] = {}
    total = graph.size(weight="weight")
    for node in graph:
        own = labels[node]
        volume[own] = volume.get(own, 0.0) + graph.degree(node, weight="weight")
        for neighbour, attributes in graph[node].items():
            weight = attributes.get("weight", 1)
            if labels[neighbour] == own:
                share = weight if neighbour == node else weight / 2
                inside[own] = inside.get(own, 0.0) + share
    return [
        inside.get(own, 0.0) / total - (volume[own] / (2 * total)) ** 2 for own in sorted(volume)
    ]


def weights_by_loop(edge_index: Tensor, labels: dict[int, int], strength: list[float]) -> Tensor:
    """S_c inside a community, -(S_c + S_c') across, scaled to [0, 1], edge by edge (CSGCL)."""
    weights = []
    for source, target in edge_index.T:
        one, other = labels[source.item()], labels[target.item()]
        weights.append(strength[one] if one == other else -(strength[one] + strength[other]))
    found = torch.tensor(weights)
    return (found - found.min()) / (found.max() - found.min())
