"""Compiles the sparse product for Hopper as it would be launched, without a GPU.

Run by `test_sparse_triton.py` with TRITON_INTERPRET=0; prints a line for every kernel.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from graphcl.kernels import sparse_triton_kernel
from graphcl.kernels.spmm import SparseMatrix, drop_entries, scaled, spmm

TYPES = {
    torch.float32: "*fp32",
    torch.float64: "*fp64",
    torch.int32: "*i32",
    torch.int64: "*i64",
}
NUMBERS = {"seed_low": "i64", "seed_high": "i64"}


class Compiled:
    """Stands in for the kernel: compiles what it would launch."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        return self._compile

    def _compile(self, *arguments: Any, **constants: Any) -> None:
        values = dict(zip(self._kernel.arg_names, arguments, strict=False)) | constants
        signature, folded = {}, {}
        for place, (name, value) in enumerate(values.items()):
            if isinstance(value, Tensor):
                signature[name] = TYPES[value.dtype]
            elif name in constants or value is None:
                signature[name], folded[place,] = "constexpr", value
            else:
                signature[name] = NUMBERS.get(name, "i32")
        source = ASTSource(self._kernel, signature, folded, {})
        kernel = triton.compile(source, target=GPUTarget("cuda", 90, 32))
        print(self._kernel.__name__, constants, kernel.metadata.shared)


def main() -> None:
    sparse_triton_kernel.product_kernel = Compiled(sparse_triton_kernel.product_kernel)
    # Everything runs on the CPU up to the launch.
    sparse_triton_kernel.INTERPRETED = True
    edges = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    graph = SparseMatrix.from_edge_index(edges, shape=3, symmetric=True)
    x = torch.randn(3, 64)
    spmm(graph, x, backend="triton")
    spmm(drop_entries(scaled(graph), 0.5), x, backend="triton")
    spmm(drop_entries(graph, 0.5, undirected=False), torch.randn(3, 200), backend="triton")


if __name__ == "__main__":
    main()
