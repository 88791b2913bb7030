"""The passes over all pairs in C++: vectorised, threaded, in bfloat16 where allowed.

The same sums, the same order of work and the same memory bound as `tiles`, but each
block of products is turned into exponentials, sums and gradients while it is in the
cache. See `graphcl/native/sources`.

Precision: float64 and float32 are computed as such by default. A processor that multiplies
bfloat16 computes float32 products from bfloat16 parts where
`torch.set_float32_matmul_precision` allows it: with "medium", or for bfloat16 embeddings,
from one product (AMX, that is 4th generation Xeon and later, or AVX-512 with BF16, such as
AMD from Zen 4 on), with "high" from three products of two parts each (AMX alone: elsewhere
they take longer than float32). Sums are float32. Nothing is rounded where a log-sum-exp
leaves [-40, 40], or a product of two norms, times the scale, exceeds 160: what rounding
takes away grows with it. Relative error of the gradient of GRACE's objective at
temperature 0.5: 2e-7 by default, 1e-6 with "high", 1e-4 with "medium"; of the full
softmax over a trained item table (norms' product 51, logits up to 29) 1e-6 by default
and 1e-2 with "medium".

Threads: `torch.get_num_threads()`. For one number of threads the result is the same
to the bit; each thread beyond the first takes another (M, d) for its gradients.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast import bounded, running
from graphcl.kernels.contrast.exclusion import Exclusion
from graphcl.kernels.contrast.operands import Gradients, Operands, Sums
from graphcl.kernels.contrast.problem import Problem
from graphcl.kernels.contrast.recompute import recomputed_log_sum_exp
from graphcl.native import NativeLibrary, missing_reason, native_library

LARGEST_ROUNDED = 160.0
"""Products of norms, times the scale, up to which a precision below "highest" rounds."""

# The last words of the names of the compiled functions.
_NAMES = {torch.float32: "float", torch.float64: "double"}


class _Exclusion(ctypes.Structure):
    _fields_: ClassVar[Sequence[tuple[str, type]]] = [
        (name, ctypes.c_void_p)
        for name in (
            "pointer",
            "columns",
            "row_ids",
            "column_ids",
            "row_groups",
            "column_groups",
        )
    ]


class _Contrast(ctypes.Structure):
    _fields_: ClassVar[Sequence[tuple[str, type]]] = [
        ("rows", ctypes.c_int64),
        ("columns", ctypes.c_int64),
        ("dimension", ctypes.c_int64),
        ("query", ctypes.c_void_p),
        ("key", ctypes.c_void_p),
        ("scale", ctypes.c_double),
        ("query_term", ctypes.c_void_p),
        ("key_term", ctypes.c_void_p),
        ("row_excluded", _Exclusion),
        ("column_excluded", _Exclusion),
        ("self_similar", ctypes.c_int32),
        ("two_sided", ctypes.c_int32),
        ("bounded", ctypes.c_int32),
        ("same_excluded", ctypes.c_int32),
        ("threads", ctypes.c_int32),
    ]


class _ContrastGradient(ctypes.Structure):
    _fields_: ClassVar[Sequence[tuple[str, type]]] = [
        (name, ctypes.c_void_p)
        for name in (
            "row_sum",
            "row_share",
            "column_sum",
            "column_share",
            "query",
            "key",
            "query_term",
            "key_term",
        )
    ]


def native_log_sum_exp(problem: Problem, tile: int) -> tuple[Tensor, Tensor | None]:
    """Row and, if asked for, column log-sum-exp; see `Problem` for the definition.

    Differentiable once. `tile` is not used: the blocks fit the processor's cache.

    Raises:
        ArgumentError: the compiled kernels are missing, or the tensors are not on the CPU.
    """
    if problem.query.device.type != "cpu":
        raise ArgumentError(
            f"backend 'native' computes on the CPU; got tensors on {problem.query.device}; "
            "'tiles' and 'triton' compute there"
        )
    reason = missing_reason()
    library = native_library()
    if library is None:
        raise ArgumentError(
            f"backend 'native' needs the compiled kernels: {reason}; "
            "`python -m graphcl.native` builds them, 'tiles' does without"
        )
    return recomputed_log_sum_exp(problem, _NativePasses(problem, library))


class _NativePasses:
    def __init__(self, problem: Problem, library: NativeLibrary) -> None:
        # Not the problem itself: it would keep the embeddings alive after backward has
        # freed what it saved.
        self._functions = library.functions
        self._shape, self._wants_columns = problem.shape, problem.columns
        mirrored = problem.mirrored_exclusion()
        self._same_excluded = mirrored.same_pairs(problem.row_excluded)
        rows = problem.shape[0]
        self._row_excluded = _PackedExclusion(problem.row_excluded, rows)
        self._column_excluded = self._row_excluded
        if not self._same_excluded:
            self._column_excluded = _PackedExclusion(mirrored, rows)
        self._rounded_type = library.rounded.get(problem.precision)
        """In the functions' names, if the precision and the processor allow rounding."""
        self._bounded = False
        """Whether exponentials need no shift."""
        self._rounded = False
        """Whether the logits are small enough to be rounded, if the precision allows it."""

    def forward(self, operands: Operands) -> Sums:
        largest = bounded.largest_logit(operands)
        self._bounded = largest <= bounded.LIMIT[operands.query.dtype]
        self._rounded = largest <= LARGEST_ROUNDED
        if not self._bounded and bounded.looks_bounded(operands):
            self._bounded = True
            sums = self._sums(operands)
            if bounded.was_bounded(sums):
                return sums
            self._bounded = False
        return self._sums(operands)

    def _sums(self, operands: Operands) -> Sums:
        rows, columns = self._shape
        row_sums = operands.query.new_empty(rows)
        column_sums = operands.query.new_empty(columns) if self._wants_columns else None
        call = _Call(self, operands, two_sided=self._wants_columns)
        call.run("forward", _address(row_sums), _address(column_sums))
        if self._bounded:
            row_sums.log_().add_(call.key_shift)
            if column_sums is not None:
                column_sums.log_().add_(call.query_shift)
        return Sums(row_sums, row_sums if call.self_similar else column_sums)

    def backward(self, operands: Operands, sums: Sums, upstream: Sums, out: Gradients) -> None:
        two_sided = sums.columns is not None and upstream.columns is not None
        call = _Call(self, operands, two_sided=two_sided)
        row_sum, row_share = call.shares(sums.rows, upstream.rows, call.key_shift)
        column_sum, column_share = row_sum, row_share
        if not call.self_similar:
            column_sum, column_share = call.shares(sums.columns, upstream.columns, call.query_shift)
        gradient = _ContrastGradient(
            _address(row_sum),
            _address(row_share),
            _address(column_sum),
            _address(column_share),
            _address(out.query),
            _address(out.key),
            _address(out.query_bias),
            _address(out.key_bias),
        )
        call.run("backward", ctypes.addressof(gradient))


class _Call:
    """One call of a compiled pass; holds the arrays it reads until it is over."""

    def __init__(self, passes: _NativePasses, operands: Operands, *, two_sided: bool) -> None:
        self._bounded, self._rounded = passes._bounded, passes._rounded
        self.self_similar = operands.self_similar
        self._query = _array(operands.query)
        self._key = self._query if self.self_similar else _array(operands.key)
        self._key_term, self.key_shift = self._term(operands.key_bias, self._key)
        self._query_term, self.query_shift = self._key_term, self.key_shift
        if not self.self_similar:
            self._query_term, self.query_shift = self._term(operands.query_bias, self._query)
        self._contrast = _Contrast(
            *(self._query.shape[0], self._key.shape[0], self._query.shape[1]),
            *(_address(self._query), _address(self._key), float(operands.scale)),
            *(_address(self._query_term), _address(self._key_term)),
            *(passes._row_excluded.structure, passes._column_excluded.structure),
            *(self.self_similar, two_sided, self._bounded, passes._same_excluded),
            torch.get_num_threads(),
        )
        self._suffix = _NAMES[self._query.dtype]
        if self._suffix == "float" and self._bounded and self._rounded:
            self._suffix = passes._rounded_type or self._suffix
        self._functions = passes._functions

    def run(self, direction: str, *addresses: int | None) -> None:
        """Call `contrast_<direction>_<type>`."""
        function = getattr(self._functions, f"contrast_{direction}_{self._suffix}")
        if function(ctypes.addressof(self._contrast), *addresses) != 0:
            raise MemoryError("the contrast kernel could not allocate its working memory")

    def shares(
        self, log_sum: Tensor | None, gradient: Tensor | None, shift: Tensor
    ) -> tuple[Tensor | None, Tensor | None]:
        """The log-sum-exps and gradients in the form that the backward pass reads."""
        if log_sum is None or gradient is None:
            return None, None
        if self._bounded:
            return log_sum, bounded.share(gradient, log_sum, shift).contiguous()
        return running.guarded(log_sum, gradient)

    def _term(self, bias: Tensor | None, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        if self._bounded:
            weight, shift = bounded.weights(bias, embeddings)
            return _array(weight), shift
        none = embeddings.new_zeros(())
        return _array(none.expand(len(embeddings)) if bias is None else bias), none


class _PackedExclusion:
    """An `Exclusion` as the arrays that the compiled passes read."""

    def __init__(self, exclusion: Exclusion, rows: int) -> None:
        pointer = columns = None
        if exclusion.rows.numel():
            width = int(exclusion.columns.max()) + 1
            pairs = torch.unique(exclusion.rows * width + exclusion.columns)
            counts = torch.bincount(pairs // width, minlength=rows)
            pointer = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
            columns = (pairs % width).to(torch.int32)
        ids = _small_ids(exclusion.row_ids, exclusion.column_ids)
        groups = _small_ids(exclusion.row_groups, exclusion.column_groups)
        self._arrays = (pointer, columns, *ids, *groups)
        self.structure = _Exclusion(*(_address(array) for array in self._arrays))


def _small_ids(
    rows: Tensor | None, columns: Tensor | None
) -> tuple[Tensor, Tensor] | tuple[None, None]:
    # Half the bytes to compare; what matters is only which are equal.
    if rows is None or columns is None:
        return None, None
    both = torch.unique(torch.cat([rows, columns]), return_inverse=True)[1].to(torch.int32)
    return both[: len(rows)], both[len(rows) :]


def _array(tensor: Tensor) -> Tensor:
    """The tensor laid out as its values; a view by -1 holds those of its base."""
    return tensor.resolve_neg().contiguous()


def _address(array: Tensor | None) -> int | None:
    if array is None:
        return None
    try:
        return array.data_ptr()
    except RuntimeError as error:
        raise ArgumentError(
            "backend 'native' reads the memory of its tensors, and those of a transform of "
            "torch.func have none; use backend='dense' there"
        ) from error
