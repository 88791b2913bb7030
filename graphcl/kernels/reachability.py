"""How much of a random walk from every node reaches every other within a few steps."""

from __future__ import annotations

from graphcl.errors import ArgumentError
from graphcl.kernels.sparse_matrix import SparseMatrix


def reachability(adjacency: SparseMatrix, order: int, *, cumulative: bool = True) -> SparseMatrix:
    """The influence matrix R = P + P² + ... + P^order of a graph, sparse.

    P is the row-normalised adjacency with self-loops, so that R_ij is the expected
    number of visits to j in `order` steps of a walk from i (Kulatilleke et al. 2022,
    arXiv 2209.14067, positives of `graphcl.losses.BlockContrast`). Done once, on the CPU.
    Powers fill up: on a graph of small diameter an order of 3 or 4 can be dense.

    Args:
        adjacency: (N, N), weights at least 0.
        order: at least 1.
        cumulative: False for the last power alone.

    Raises:
        ArgumentError: for a matrix that is not square, or an order below 1.
    """
    if adjacency.shape[0] != adjacency.shape[1]:
        raise ArgumentError(f"adjacency must be square; got shape {adjacency.shape}")
    if order < 1:
        raise ArgumentError(f"order must be at least 1; got {order}")
    step = adjacency.normalised("row", self_loops=True).to_scipy()
    power, total = step, step
    for _ in range(order - 1):
        power = power @ step
        total = total + power
    return SparseMatrix.from_scipy(total if cumulative else power, device=adjacency.device)
