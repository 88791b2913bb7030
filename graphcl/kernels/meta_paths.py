"""Meta-paths of a heterogeneous graph: how many paths join two nodes, and the most similar ones."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from graphcl.errors import ArgumentError
from graphcl.kernels.sparse_matrix import SparseMatrix

# Entries of a product that are held at a time: about 100 MB with what sorting them takes.
_ENTRIES_PER_BLOCK = 1 << 20


def count_paths(steps: Sequence[SparseMatrix]) -> SparseMatrix:
    """The number of paths along `steps` between every two nodes, as one sparse matrix.

    A meta-path such as paper - author - paper is the product of the relations it passes, here
    A_pa A_pa^T, whose entry (i, j) counts the authors that i and j share (Sun et al., PathSim,
    VLDB 2011). Computed on the CPU; a product can be much denser than its factors, which
    `path_sim_neighbours` avoids.

    Args:
        steps: at least one matrix; the columns of each are the rows of the next.

    Raises:
        ArgumentError: no step, or shapes that do not follow each other.
    """
    _check_steps(steps)
    return SparseMatrix.from_scipy(_product(steps), device=steps[0].device)


def path_sim_neighbours(
    steps: Sequence[SparseMatrix], count: int, generator: torch.Generator | None = None
) -> SparseMatrix:
    r"""The `count` nodes that are most similar to every node by PathSim, with their path counts.

    .. math::
        s_{ij} = \frac{2 A_{ij}}{A_{ii} + A_{jj}}

    with A = `count_paths(steps)` (Sun et al., VLDB 2011). A node with a path to itself is its own
    most similar neighbour. Of equally similar ones a random choice stays: the first by number
    would make the same few nodes everybody's neighbours, and where every node has one path
    (papers with one subject) all are equal.

    A is never held: rows of the product are made and cut to `count` block by block, so memory is
    that of the two halves of the path, a block, and the result. O(entries of A log count) time,
    on the CPU.

    Args:
        steps: as in `count_paths`; from N nodes back to the same N, values at least 0.
        count: at least 1.
        generator: source of the choice among equals; None is torch's global one.

    Returns:
        (N, N) with at most `count` entries a row; their values are the path counts A_ij.

    Raises:
        ArgumentError: steps that do not lead back to the nodes they start from, a negative
            value, or a count below 1.
    """
    _check_steps(steps)
    size = steps[0].shape[0]
    if size != steps[-1].shape[1]:
        raise ArgumentError(
            f"a meta-path must lead back to the {size} nodes it starts from; "
            f"got {steps[-1].shape[1]}"
        )
    if count < 1:
        raise ArgumentError(f"count must be at least 1; got {count}")
    for step in steps:
        if step.entries and float(step.value.detach().min()) < 0:
            raise ArgumentError(
                f"path counts must be at least 0; got {float(step.value.detach().min())}"
            )
    middle = len(steps) // 2
    second = _product(steps[middle:])
    first = _product(steps[:middle]) if middle else None
    diagonal = second.diagonal() if first is None else _diagonal_of_product(first, second)
    rows, columns, values = [], [], []
    for start, block in _row_blocks(first, second):
        row, column, value = _most_similar(start, block, diagonal, count, generator)
        rows.append(row)
        columns.append(column)
        values.append(value)
    indices = np.stack([np.concatenate(rows), np.concatenate(columns)]).astype(np.int64)
    weight = torch.from_numpy(np.concatenate(values)).to(steps[0].value)
    return SparseMatrix.from_edge_index(
        torch.from_numpy(indices).to(steps[0].device), weight, shape=(size, size)
    )


def _check_steps(steps: Sequence[SparseMatrix]) -> None:
    if not steps:
        raise ArgumentError("a meta-path needs at least one step; got none")
    for before, after in itertools.pairwise(steps):
        if before.shape[1] != after.shape[0]:
            raise ArgumentError(
                f"the steps of a meta-path must follow each other; got shapes {before.shape} "
                f"and {after.shape}"
            )


def _product(steps: Sequence[SparseMatrix]) -> Any:
    product: Any = steps[0].to_scipy()
    for step in steps[1:]:
        product = product @ step.to_scipy()
    product.sum_duplicates()
    return product


def _diagonal_of_product(first: Any, second: Any) -> np.ndarray:
    """The diagonal of `first @ second` in the time of reading both once."""
    return np.asarray(first.multiply(second.T.tocsr()).sum(axis=1)).ravel()


def _row_blocks(first: Any, second: Any) -> Iterator[tuple[int, Any]]:
    """Consecutive rows of `first @ second` (of `second` where `first` is None) with their place."""
    size = (second if first is None else first).shape[0]
    widths = np.diff(second.indptr)
    if first is None:
        bound = widths
    else:
        # No row of the product has more entries than the rows of `second` that it adds up.
        pattern = first.copy()
        pattern.data = np.ones(first.nnz)
        bound = np.minimum(pattern @ widths, second.shape[1])
    block = np.cumsum(bound) // _ENTRIES_PER_BLOCK
    starts = np.flatnonzero(np.diff(block, prepend=-1)) if size else np.zeros(1, dtype=int)
    for start, stop in itertools.pairwise([*starts.tolist(), size]):
        yield start, second[start:stop] if first is None else first[start:stop] @ second


def _most_similar(
    start: int, block: Any, diagonal: np.ndarray, count: int, generator: torch.Generator | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row, column and value of what stays of the rows `start`, `start + 1`, ... of A."""
    block.eliminate_zeros()
    block.sort_indices()
    sizes = np.diff(block.indptr)
    rows = start + np.repeat(np.arange(block.shape[0]), sizes)
    both = diagonal[rows] + diagonal[block.indices]
    similarity = np.divide(2 * block.data, both, out=np.zeros(block.nnz), where=both > 0)
    similarity[rows == block.indices] = np.inf
    device = "cpu" if generator is None else generator.device
    draws = torch.rand(block.nnz, generator=generator, device=device).numpy(force=True)
    order = np.lexsort((draws, -similarity, rows))
    rank = np.arange(block.nnz) - np.repeat(block.indptr[:-1], sizes)
    kept = np.sort(order[rank < count])
    return rows[kept], block.indices[kept], block.data[kept]
