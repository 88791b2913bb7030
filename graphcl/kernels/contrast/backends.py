"""The table of backends, each a function of one `Problem`, and how one is chosen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from graphcl.errors import ArgumentError, NonFiniteArgumentError
from graphcl.kernels.contrast.dense import dense_log_sum_exp
from graphcl.kernels.contrast.groups import group_order, group_tile, reordered
from graphcl.kernels.contrast.native import native_log_sum_exp
from graphcl.kernels.contrast.problem import Problem
from graphcl.kernels.contrast.tiles import tiled_log_sum_exp
from graphcl.kernels.contrast.triton_backend import triton_log_sum_exp
from graphcl.kernels.triton_device import triton_serves
from graphcl.native import native_library, warn_if_missing

Backend = Literal["auto", "dense", "tiles", "native", "triton"]
BACKENDS: tuple[str, ...] = get_args(Backend)

DENSE_LIMIT = 1 << 16
"""`backend="auto"` stores the full matrix up to this many entries, and streams above.

Near this size dense and tiles take the same time on a CPU; the matrix is then under 1 MB.
"""

LogSumExp = Callable[[Problem, int], tuple[Tensor, Tensor | None]]

LOG_SUM_EXP: dict[str, LogSumExp] = {
    "dense": dense_log_sum_exp,
    "tiles": tiled_log_sum_exp,
    "native": native_log_sum_exp,
    "triton": triton_log_sum_exp,
}
"""Row and, if the problem asks for them, column log-sum-exp, by name of the backend."""

WITH_BLOCKS = ("dense", "tiles")
"""The backends that can add a callable's log-weights to a block of logits."""


def resolve_backend(
    backend: str, shape: tuple[int, int], like: Tensor, among: tuple[str, ...] = BACKENDS
) -> str:
    """The backend that "auto" stands for; never one that stores more than `DENSE_LIMIT` entries.

    On the CPU that is the compiled passes where they were built (a warning says
    once that they were not), else tiles. On a CUDA device it is Triton's kernels
    where triton is installed, else tiles.
    """
    if backend != "auto":
        return backend
    if shape[0] * shape[1] <= DENSE_LIMIT:
        return "dense"
    if like.device.type == "cpu" and "native" in among:
        if native_library() is not None:
            return "native"
        warn_if_missing()
    if "triton" in among and triton_serves(like):
        return "triton"
    return "tiles"


def log_sum_exp(problem: Problem, backend: str, tile: int) -> tuple[Tensor, Tensor | None]:
    """Row and column log-sum-exp of a problem by a named backend.

    Raises:
        ArgumentError: if the backend cannot add a block weight.
        NonFiniteArgumentError: if a block weight was NaN or +inf.
    """
    if problem.block_weight is not None:
        if backend not in WITH_BLOCKS:
            raise ArgumentError(
                f"callable weights need a backend of {', '.join(WITH_BLOCKS)}; got '{backend}'"
            )
        rows, columns = LOG_SUM_EXP[backend](problem, tile)
        if bool((torch.isnan(rows) | torch.isposinf(rows)).any()):
            raise NonFiniteArgumentError("weights returned a log-weight that is NaN or +inf")
        return rows, columns
    if backend == "dense":
        return LOG_SUM_EXP[backend](problem, tile)
    tile = group_tile(problem.row_excluded, tile)
    order = group_order(problem.row_excluded)
    if order is None:
        return LOG_SUM_EXP[backend](problem, tile)
    rows, columns = LOG_SUM_EXP[backend](reordered(problem, order), tile)
    rows = order.restore_rows(rows)
    return rows, None if columns is None else order.restore_columns(columns)
