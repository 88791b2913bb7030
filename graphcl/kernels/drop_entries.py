"""A matrix without a random subset of its entries, at no cost but the products with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch

from graphcl.errors import ArgumentError
from graphcl.kernels.dropped import Dropped, KeepProbability
from graphcl.kernels.edge_hash import draw_seed
from graphcl.kernels.scaled import rescaled
from graphcl.kernels.scaled_matrix import ScaledMatrix
from graphcl.kernels.sparse_matrix import SparseMatrix


def drop_entries(
    matrix: ScaledMatrix | SparseMatrix,
    rate: float | KeepProbability,
    *,
    generator: torch.Generator | None = None,
    undirected: bool | None = None,
    keep_self_loops: bool = True,
    correct: Literal["expectation", "degrees", "none"] = "expectation",
) -> ScaledMatrix:
    """A view of the matrix without a random subset of its entries; O(1) unless degrees are asked.

    Products with it (`graphcl.kernels.spmm.spmm`, `horner`) and their gradients see the same
    entries, and so does its transpose. Repetitions of an entry share their draw.

    Args:
        matrix: (M, N); a `SparseMatrix` counts with its values, without gradient for them.
        rate: expected share of the entries that is dropped, in [0, 1], or a probability of
            staying for each (`keep_probability`).
        generator: source of the seed, one draw; None is torch's global one.
        undirected: (r, c) and (c, r) share one draw; default for a square matrix marked
            symmetric. A rectangular user-item matrix is directed.
        keep_self_loops: entries on the diagonal of a square matrix stay, as those that a graph
            convolution adds.
        correct: "expectation" divides what stays by its probability of staying, so that the
            expected product is that of the whole matrix; "degrees" normalises anew by the
            degrees that are left, as if the edges had been dropped from the list (one pass over
            the entries); "none" leaves what stays as it is.

    Raises:
        ArgumentError: rate outside [0, 1] or NaN, or of another matrix; `undirected` for a
            rectangular matrix; "degrees" for a matrix without normalisation; a matrix that has
            dropped entries already.
    """
    if isinstance(matrix, SparseMatrix):
        matrix = ScaledMatrix(matrix)
    if correct not in ("expectation", "degrees", "none"):
        raise ArgumentError(f"correct must be 'expectation', 'degrees' or 'none', got {correct!r}")
    if correct == "degrees" and matrix.kind == "none":
        raise ArgumentError("correct='degrees' needs a normalised matrix; see `scaled`")
    if matrix.dropped is not None:
        raise ArgumentError("the matrix has dropped entries already; drop from the whole one")
    rows, columns = matrix.shape
    if undirected is None:
        undirected = matrix.matrix.symmetric
    if undirected and rows != columns:
        raise ArgumentError(f"undirected entries need a square matrix, got shape {matrix.shape}")
    dropped = Dropped(
        draw_seed(generator),
        _checked_probability(rate, matrix),
        undirected=undirected,
        # On a rectangular matrix row 3 and column 3 are not one node.
        keep_self_loops=keep_self_loops and rows == columns,
        divide=correct == "expectation",
    )
    view = replace(matrix, dropped=dropped)
    return rescaled(view) if correct == "degrees" else view


def _checked_probability(
    rate: float | KeepProbability, matrix: ScaledMatrix
) -> float | KeepProbability:
    if isinstance(rate, KeepProbability):
        if rate.threshold.numel() != matrix.entries:
            raise ArgumentError(
                f"the probabilities are of a matrix with {rate.threshold.numel()} entries, "
                f"this one has {matrix.entries}"
            )
        if rate.threshold.device != matrix.device:
            raise ArgumentError(
                f"the probabilities must be on the matrix's device {matrix.device}, "
                f"got {rate.threshold.device}"
            )
        return rate
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate <= 1:
        raise ArgumentError(f"rate must be a number in [0, 1], got {rate!r}")
    return 1.0 - rate
