"""Listed (row, column) pairs: what is excluded or weighted without an M x N matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast.checks import (
    check_index,
    check_log_weight,
    check_tensor,
    check_vector,
)

if TYPE_CHECKING:
    from graphcl.kernels.sparse_matrix import SparseMatrix


@dataclass(frozen=True)
class Pairs:
    """A list of pairs of one row and one column, each at most once.

    Attributes:
        rows: (P,) int64, in 0 .. M - 1.
        columns: (P,) int64, in 0 .. N - 1.
        log_weight: (P,) floating, in logit units, differentiable; -inf removes the
            pair. None stands for 0.
    """

    rows: Tensor
    columns: Tensor
    log_weight: Tensor | None = None

    @classmethod
    def from_csr(cls, pointer: Tensor, columns: Tensor, log_weight: Tensor | None = None) -> Pairs:
        """The pairs of a CSR structure: row i holds `columns[pointer[i]:pointer[i + 1]]`.

        Args:
            pointer: (M + 1,) int64, from 0 to P, never falling.
            columns: (P,) int64.
            log_weight: (P,) floating, or None.

        Raises:
            ArgumentError: for a pointer that does not describe the columns.
        """
        if pointer.dim() != 1 or pointer.numel() == 0 or pointer.dtype != torch.int64:
            raise ArgumentError(
                "pointer must be (M + 1,) of dtype torch.int64; "
                f"got shape {tuple(pointer.shape)} of {pointer.dtype}"
            )
        counts = pointer.diff()
        if int(pointer[0]) != 0 or int(pointer[-1]) != columns.numel() or bool((counts < 0).any()):
            raise ArgumentError(
                f"pointer must rise from 0 to the number of columns, {columns.numel()}; "
                f"got {int(pointer[0])} to {int(pointer[-1])}"
            )
        return cls(torch.repeat_interleave(counts), columns, log_weight)

    @classmethod
    def from_sparse(cls, matrix: SparseMatrix) -> Pairs:
        """The stored entries of a sparse matrix; the log-weight is log(value).

        An entry of value 0 gets log-weight -inf, which removes the pair.

        Raises:
            ArgumentError: for a negative value.
        """
        value = matrix.value
        if value.numel() and float(value.detach().min()) < 0:
            raise ArgumentError(
                "the values of a matrix of pair weights must be at least 0; "
                f"got {float(value.detach().min())}"
            )
        # log(0) would turn the gradient of a stored 0 into NaN; it has none.
        stored = value > 0
        log_weight = torch.where(stored, value, 1.0).log().masked_fill(~stored, -torch.inf)
        return cls(matrix.row, matrix.column, log_weight)

    def transposed(self) -> Pairs:
        """The same pairs with rows and columns exchanged."""
        return Pairs(self.columns, self.rows, self.log_weight)


def check_pairs(name: str, pairs: Pairs, shape: tuple[int, int], like: Tensor) -> None:
    """Raise unless the indices lie in the shape and the log-weights are usable."""
    if not isinstance(pairs, Pairs):
        raise ArgumentError(f"{name} must be Pairs; got {type(pairs).__name__}")
    check_tensor(f"{name}.rows", pairs.rows)
    count = pairs.rows.numel()
    check_index(f"{name}.rows", pairs.rows, count, shape[0], like)
    check_index(f"{name}.columns", pairs.columns, count, shape[1], like)
    if pairs.log_weight is not None:
        check_vector(f"{name}.log_weight", pairs.log_weight, count, like, floating=True)
        check_log_weight(f"{name}.log_weight", pairs.log_weight)
