"""A sparse matrix in compressed sparse row form (CSR), with its transpose built once.

Graphs, user-item matrices and their normalisations are all `SparseMatrix`; the product
with a dense matrix is `graphcl.kernels.spmm.spmm`.
"""

from __future__ import annotations

import warnings
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from graphcl.errors import ArgumentError

if TYPE_CHECKING:
    import scipy.sparse


@dataclass
class _Structure:
    """Derived from where the entries are; shared by matrices that differ in values only."""

    row: Tensor | None = None
    compact: tuple[Tensor, Tensor] | None = None
    transposed: tuple[Tensor, Tensor, Tensor] | None = None


@dataclass
class _Derived:
    """Derived from structure and values.

    The way back from a transpose is weak: a cycle would keep the matrices of past epochs
    alive until the garbage collector happens to run.
    """

    torch_csr: Tensor | None = None
    transpose: SparseMatrix | None = None
    transpose_of: weakref.ref[SparseMatrix] | None = None


@dataclass(frozen=True, eq=False)
class SparseMatrix:
    """A constant or weighted sparse matrix in CSR form, with its transpose cached.

    Row r holds the columns `column[row_pointer[r]:row_pointer[r + 1]]`. Columns need not
    be sorted inside a row, and an entry that occurs twice counts twice (as in a multigraph).

    Attributes:
        row_pointer: (M + 1,) int64, starts at 0 and ends at the number of entries.
        column: (entries,) int64 in [0, N).
        value: (entries,) floating point; may require a gradient.
        shape: (M, N).
        symmetric: the caller's promise that the matrix equals its transpose; the backward
            pass then uses the matrix itself. Not verified, since that costs a transpose.
    """

    row_pointer: Tensor
    column: Tensor
    value: Tensor
    shape: tuple[int, int]
    symmetric: bool = False
    _structure: _Structure = field(default_factory=_Structure, repr=False)
    _derived: _Derived = field(default_factory=_Derived, init=False, repr=False)

    def __post_init__(self) -> None:
        rows, columns = self.shape
        if self.row_pointer.shape != (rows + 1,):
            raise ArgumentError(
                f"row_pointer must have shape ({rows + 1},) for {rows} rows, "
                f"got {tuple(self.row_pointer.shape)}"
            )
        if self.column.dim() != 1 or self.value.shape != self.column.shape:
            raise ArgumentError(
                "column and value must be vectors of one length, got shapes "
                f"{tuple(self.column.shape)} and {tuple(self.value.shape)}"
            )
        if not self.value.is_floating_point():
            raise ArgumentError(f"value must be floating point, got {self.value.dtype}")
        if self.symmetric and rows != columns:
            raise ArgumentError(f"a symmetric matrix must be square, got shape {self.shape}")

    # ------------------------------------------------------------------ construction

    @classmethod
    def from_edge_index(
        cls,
        edge_index: Tensor,
        weight: Tensor | None = None,
        *,
        shape: int | tuple[int, int],
        rows: Literal["source", "target"] = "source",
        symmetric: bool = False,
        dtype: torch.dtype | None = None,
    ) -> SparseMatrix:
        """The matrix of a list of edges (source, target).

        Args:
            edge_index: (2, E) integers. When already sorted by the row side, nothing is sorted.
            weight: (E,) floating point, or None for ones; gradients flow through it.
            shape: the number of nodes N for N x N, or (M, N) for a bipartite graph whose
                sources count M and targets count N (before `rows` is applied).
            rows: "source" gives A with A[u, v] = w for the edge u -> v; "target" gives its
                transpose, the matrix with which messages flow from sources to targets.
            symmetric: promise that every edge occurs in both directions with equal weight.
                Then both orientations are the same matrix and the cheaper one is taken.
            dtype: of the values; default the weight's, or torch's default dtype.

        Raises:
            ArgumentError: wrong shape or dtype, or an id outside the shape.
        """
        if edge_index.dim() != 2 or edge_index.size(0) != 2:
            raise ArgumentError(f"edge_index must have shape (2, E), got {tuple(edge_index.shape)}")
        if edge_index.is_floating_point() or edge_index.dtype == torch.bool:
            raise ArgumentError(f"edge_index must hold integers, got {edge_index.dtype}")
        if rows not in ("source", "target"):
            raise ArgumentError(f"rows must be 'source' or 'target', got {rows!r}")
        sources, targets = (shape, shape) if isinstance(shape, int) else shape
        row, column = edge_index[0].long(), edge_index[1].long()
        _check_ids("source", row, sources)
        _check_ids("target", column, targets)
        if weight is None:
            weight = torch.ones(row.numel(), dtype=dtype, device=row.device)
        elif weight.shape != row.shape:
            raise ArgumentError(
                f"weight must have shape ({row.numel()},), got {tuple(weight.shape)}"
            )
        elif dtype is not None:
            weight = weight.to(dtype)
        if rows == "target" and not symmetric:
            row, column, sources, targets = column, row, targets, sources
        pointer, order = _compress(row, sources)
        if order is not None:
            column, weight = column[order], weight[order]
        return cls(pointer, column.contiguous(), weight, (sources, targets), symmetric)

    @classmethod
    def from_scipy(
        cls,
        matrix: Any,
        *,
        symmetric: bool = False,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> SparseMatrix:
        """A copy of a scipy sparse matrix or array of any format; `dtype` defaults to its own."""
        import scipy.sparse

        untyped: Any = matrix
        if not scipy.sparse.issparse(matrix):
            raise ArgumentError(
                f"matrix must be a scipy sparse matrix, got {type(matrix).__name__}"
            )
        csr = untyped.tocsr()
        value = torch.from_numpy(np.array(csr.data))
        if dtype is None and not value.is_floating_point():
            dtype = torch.get_default_dtype()
        return cls(
            torch.from_numpy(csr.indptr.astype(np.int64)).to(device),
            torch.from_numpy(csr.indices.astype(np.int64)).to(device),
            value.to(device=device, dtype=dtype),
            (int(csr.shape[0]), int(csr.shape[1])),
            symmetric,
        )

    # ------------------------------------------------------------------ plain facts

    @property
    def entries(self) -> int:
        """Number of stored entries."""
        return self.column.numel()

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the values."""
        return self.value.dtype

    @property
    def device(self) -> torch.device:
        """Where the matrix lives."""
        return self.value.device

    @property
    def row(self) -> Tensor:
        """(entries,) int64, the row of every stored entry; cached."""
        if self._structure.row is None:
            counts = self.row_pointer[1:] - self.row_pointer[:-1]
            self._structure.row = torch.repeat_interleave(counts, output_size=self.entries)
        return self._structure.row

    def compact(self) -> tuple[Tensor, Tensor]:
        """(row_pointer, column) as compiled kernels read them: contiguous, columns int32; cached.

        Raises:
            ArgumentError: the pointer does not ascend from 0 to the number of entries, or a column
                is out of range. A kernel would read outside the arrays.
        """
        if self._structure.compact is None:
            pointer, columns = self.row_pointer, self.shape[1]
            ends = pointer[[0, -1]].tolist()
            if ends != [0, self.entries] or bool((pointer[1:] < pointer[:-1]).any()):
                raise ArgumentError(
                    f"row_pointer must ascend from 0 to the number of entries {self.entries}, "
                    f"got {ends[0]} to {ends[1]}"
                )
            if self.entries and (int(self.column.min()) < 0 or int(self.column.max()) >= columns):
                raise ArgumentError(
                    f"column must lie in [0, {columns}), got {int(self.column.min())} to "
                    f"{int(self.column.max())}"
                )
            if columns > torch.iinfo(torch.int32).max:
                raise ArgumentError(f"compiled kernels take up to 2^31 - 1 columns, got {columns}")
            self._structure.compact = (pointer.contiguous(), self.column.to(torch.int32))
        return self._structure.compact

    @property
    def T(self) -> SparseMatrix:
        """The transpose, cached; the matrix itself when `symmetric`.

        With values that require a gradient only the structure is cached: the values are
        gathered anew, so that they follow an optimiser's updates.
        """
        if self.symmetric:
            return self
        derived = self._derived
        if derived.transpose is not None:
            return derived.transpose
        original = derived.transpose_of() if derived.transpose_of is not None else None
        if original is not None:
            return original
        pointer, column, order = self.transposed_structure()
        transposed = SparseMatrix(
            pointer, column, self.value[order], (self.shape[1], self.shape[0])
        )
        if not self.value.requires_grad:
            transposed._derived.transpose_of = weakref.ref(self)
            derived.transpose = transposed
        return transposed

    def transposed_structure(self) -> tuple[Tensor, Tensor, Tensor]:
        """(row_pointer, column, order) of the transpose, whose values are `value[order]`."""
        if self._structure.transposed is None:
            pointer, order = _compress(self.column, self.shape[1])
            if order is None:
                order = torch.arange(self.entries, device=self.device)
            self._structure.transposed = (pointer, self.row[order], order)
        return self._structure.transposed

    # ------------------------------------------------------------------ derived matrices

    def with_value(self, value: Tensor, *, symmetric: bool = False) -> SparseMatrix:
        """The same structure with other values (entries,); what was cached of it is shared."""
        return SparseMatrix(
            self.row_pointer, self.column, value, self.shape, symmetric, self._structure
        )

    def keep_columns(self, kept: Tensor) -> SparseMatrix:
        """The same structure with the values of columns that are not `kept` (N,) set to zero."""
        if kept.shape != (self.shape[1],) or kept.dtype != torch.bool:
            raise ArgumentError(
                f"kept must be bool of shape ({self.shape[1]},), "
                f"got {kept.dtype} of shape {tuple(kept.shape)}"
            )
        return self.with_value(self.value * kept[self.column])

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> SparseMatrix:
        """A copy on another device or with another value dtype; itself when nothing changes."""
        # Made there, so that "cuda" is the card that it means.
        target = self.device if device is None else torch.empty(0, device=device).device
        if target == self.device and dtype in (None, self.dtype):
            return self
        if target == self.device:
            return self.with_value(self.value.to(dtype), symmetric=self.symmetric)
        return SparseMatrix(
            self.row_pointer.to(target),
            self.column.to(target),
            self.value.to(device=target, dtype=dtype),
            self.shape,
            self.symmetric,
        )

    def sum(self, dim: int) -> Tensor:
        """Row sums (`dim=1`, shape (M,)) or column sums (`dim=0`, shape (N,))."""
        if dim not in (0, 1):
            raise ArgumentError(f"dim must be 0 or 1, got {dim}")
        index, size = (self.row, self.shape[0]) if dim == 1 else (self.column, self.shape[1])
        return self.value.new_zeros(size).index_add(0, index, self.value)

    def with_self_loops(self) -> SparseMatrix:
        """A weight of one on the diagonal of every row that has no diagonal entry yet.

        A graph without self-loops becomes A + I (Kipf & Welling, ICLR 2017); existing
        self-loops keep their weight, as PyG's `add_remaining_self_loops` does.
        """
        size = self.shape[0]
        if size != self.shape[1]:
            raise ArgumentError(f"self-loops need a square matrix, got shape {self.shape}")
        row = self.row
        missing = torch.ones(size, dtype=torch.bool, device=self.device)
        missing[self.column[row == self.column]] = False
        added = missing.long()
        # Every new entry goes to the end of its row, so no sorting is needed.
        offset = torch.cumsum(added, 0) - added
        pointer = self.row_pointer.clone()
        pointer[1:] += torch.cumsum(added, 0)
        entries = self.entries + int(offset[-1] + added[-1]) if size else 0
        old = torch.arange(self.entries, device=self.device) + offset[row]
        new = pointer[1:][missing] - 1
        column = self.column.new_empty(entries)
        column[old] = self.column
        column[new] = torch.nonzero(missing).view(-1)
        value = self.value.new_ones(entries).index_copy(0, old, self.value)
        return SparseMatrix(pointer, column, value, self.shape, self.symmetric)

    def normalised(
        self, kind: Literal["symmetric", "row", "gcn"] = "symmetric", *, self_loops: bool = False
    ) -> SparseMatrix:
        """Scaled by degrees; rows and columns without weight stay zero instead of 0/0.

        With r the row sums and c the column sums (of A, plus self-loops where asked):

        - "symmetric": diag(r)^-1/2 A diag(c)^-1/2. For an undirected graph this is
          D^-1/2 A D^-1/2; for a rectangular user-item matrix it is R_ui / sqrt(d_u d_i).
        - "gcn": diag(r)^-1/2 A diag(r)^-1/2, square only. Equal to "symmetric" on an undirected
          graph; on a directed one it is what PyG's `GCNConv` computes from `rows="target"`.
        - "row": diag(r)^-1 A, the mean over neighbours.

        Degrees that are not positive scale by zero. Gradients flow through the values.
        """
        if kind not in ("symmetric", "row", "gcn"):
            raise ArgumentError(f"kind must be 'symmetric', 'row' or 'gcn', got {kind!r}")
        if kind == "gcn" and self.shape[0] != self.shape[1]:
            raise ArgumentError(f"kind 'gcn' needs a square matrix, got shape {self.shape}")
        matrix = self.with_self_loops() if self_loops else self
        row_sum = matrix.sum(1)
        if kind == "row":
            return matrix.with_value(matrix.value * _power(row_sum, -1.0)[matrix.row])
        left = _power(row_sum, -0.5)
        same = kind == "gcn" or matrix.symmetric
        right = left if same else _power(matrix.sum(0), -0.5)
        value = matrix.value * left[matrix.row] * right[matrix.column]
        return matrix.with_value(value, symmetric=matrix.symmetric)

    # ------------------------------------------------------------------ other forms

    def to_torch(self) -> Tensor:
        """A torch CSR tensor that shares this matrix's storage (detached); cached."""
        if self._derived.torch_csr is None:
            self._derived.torch_csr = torch_csr(
                self.row_pointer, self.column, self.value.detach(), self.shape
            )
        return self._derived.torch_csr

    def to_scipy(self) -> scipy.sparse.csr_matrix:
        """A scipy CSR matrix on the CPU, a copy; entries that occur twice stay apart."""
        import scipy.sparse

        arrays = [
            part.detach().cpu().numpy() for part in (self.value, self.column, self.row_pointer)
        ]
        # scipy sorts and sums in the memory it is given.
        parts = arrays[0], arrays[1], arrays[2]
        return scipy.sparse.csr_matrix(parts, shape=self.shape, copy=True)

    def to_dense(self) -> Tensor:
        """(M, N) dense, entries that occur twice summed. For small matrices and tests."""
        flat = self.value.new_zeros(self.shape[0] * self.shape[1])
        flat = flat.index_add(0, self.row * self.shape[1] + self.column, self.value)
        return flat.view(self.shape)


def torch_csr(pointer: Tensor, column: Tensor, value: Tensor, shape: tuple[int, int]) -> Tensor:
    """A torch CSR tensor of the given parts, without torch's warnings."""
    with warnings.catch_warnings():
        # torch announces once per process that CSR support is in beta, and some versions that
        # what is not checked is not checked.
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        warnings.filterwarnings("ignore", message="Sparse invariant checks are implicitly")
        return torch.sparse_csr_tensor(pointer, column, value, shape, check_invariants=False)


def _compress(row: Tensor, rows: int) -> tuple[Tensor, Tensor | None]:
    """(row_pointer, order): `order` sorts the entries by row stably, None when they already are."""
    pointer = torch.zeros(rows + 1, dtype=torch.long, device=row.device)
    if row.numel() == 0:
        return pointer, None
    is_sorted = bool((row[1:] >= row[:-1]).all())
    if is_sorted or row.device.type != "cpu":
        torch.cumsum(torch.bincount(row, minlength=rows), 0, out=pointer[1:])
        return pointer, None if is_sorted else torch.argsort(row, stable=True)
    # Transposing the one-entry-per-row matrix (entry -> its row) is a counting sort, O(E + M),
    # about three times faster than torch's comparison sort.
    import scipy.sparse

    entries = row.numel()
    incidence = scipy.sparse.csr_matrix(
        (np.ones(entries, dtype=np.int8), row.numpy(), np.arange(entries + 1)),
        shape=(entries, rows),
    ).tocsc()
    return (
        torch.from_numpy(incidence.indptr.astype(np.int64)),
        torch.from_numpy(incidence.indices.astype(np.int64)),
    )


def _check_ids(side: str, ids: Tensor, size: int) -> None:
    if size < 0:
        raise ArgumentError(f"shape must not be negative, got {size} {side} nodes")
    if ids.numel() == 0:
        return
    low, high = (int(bound) for bound in torch.aminmax(ids))
    if low < 0 or high >= size:
        wrong = low if low < 0 else high
        raise ArgumentError(f"{side} id {wrong} in edge_index is outside [0, {size})")


def _power(degree: Tensor, exponent: float) -> Tensor:
    """degree ** exponent, and 0 where the degree is not positive, without NaN gradients."""
    positive = degree > 0
    safe = torch.where(positive, degree, torch.ones_like(degree))
    return torch.where(positive, safe.pow(exponent), torch.zeros_like(degree))
