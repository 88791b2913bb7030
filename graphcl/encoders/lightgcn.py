"""LightGCN's propagation (He et al., SIGIR 2020): neighbourhood averages without weights."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.spmm import Matrix, SparseMatrix, horner, spmm


def bipartite_adjacency(interactions: SparseMatrix) -> SparseMatrix:
    """The symmetric (M + N) x (M + N) matrix [[0, R], [R^T, 0]] of a user-item matrix R (M, N).

    Users are nodes 0..M-1, items M..M+N-1. Follow with `.normalised("symmetric")` for
    LightGCN's matrix. Marked symmetric, so that backward needs no transpose.
    """
    users, items = interactions.shape
    transposed = interactions.T
    pointer = torch.cat(
        [interactions.row_pointer, transposed.row_pointer[1:] + interactions.entries]
    )
    column = torch.cat([interactions.column + users, transposed.column])
    value = torch.cat([interactions.value, transposed.value])
    return SparseMatrix(pointer, column, value, (users + items, users + items), symmetric=True)


def propagate(
    matrix: Matrix,
    embeddings: Tensor,
    layers: int,
    *,
    readout: Literal["mean", "sum", "last"] = "mean",
) -> Tensor:
    """E^l = A E^{l-1}, read out as the mean, the sum or the last of E^0..E^L (eq. 7, 8).

    By Horner's scheme (`graphcl.kernels.spmm.horner`): no layer is stored, and neither is
    anything for the backward pass.

    Args:
        matrix: (N, N), normalised (`.normalised("symmetric")`, or `graphcl.kernels.spmm.scaled`
            without a value per entry); see `bipartite_adjacency`.
        embeddings: (N, d).
        layers: L >= 0.
        readout: "mean" is LightGCN's alpha_l = 1 / (L + 1).

    Returns:
        (N, d).

    Raises:
        ArgumentError: negative layers, unknown readout, shapes that do not fit.
    """
    if readout not in ("mean", "sum", "last"):
        raise ArgumentError(f"readout must be 'mean', 'sum' or 'last', got {readout!r}")
    _check_layers(matrix, layers)
    weight = 1 / (layers + 1) if readout == "mean" else 1.0
    weights = [weight] * (layers + 1)
    if readout == "last":
        weights[:-1] = [0.0] * layers
    return horner(matrix, embeddings, weights)


def propagate_layers(matrix: Matrix, embeddings: Tensor, layers: int) -> list[Tensor]:
    """Every layer [E^0, ..., E^L], each (N, d), for methods that contrast layers."""
    _check_layers(matrix, layers)
    outputs = [embeddings]
    for _ in range(layers):
        outputs.append(spmm(matrix, outputs[-1]))
    return outputs


def _check_layers(matrix: Matrix, layers: int) -> None:
    if layers < 0:
        raise ArgumentError(f"layers must not be negative, got {layers}")
    if matrix.shape[0] != matrix.shape[1]:
        raise ArgumentError(
            f"propagation needs a square matrix, got shape {matrix.shape}; see bipartite_adjacency"
        )
