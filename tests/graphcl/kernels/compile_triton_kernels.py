"""Compiles the Triton kernels for Hopper as the backend would launch them, without a GPU.

Run by `test_contrast_triton.py` with TRITON_INTERPRET=0; prints a line for every
kernel, which ends in the bytes of shared memory that it takes.
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch
import triton
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from graphcl.kernels.contrast import contrast, contrast_both, triton_backend, triton_kernels

TYPES = {
    torch.bfloat16: "*bf16",
    torch.float32: "*fp32",
    torch.float64: "*fp64",
    torch.int32: "*i32",
}
HOPPER = GPUTarget("cuda", 90, 32)


class Compiled:
    """Stands in for a kernel: compiles what it would launch."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        return self._compile

    def _compile(
        self,
        *arguments: Any,
        num_warps: int,
        num_stages: int,
        enable_fp_fusion: bool,
        **constants: Any,
    ) -> None:
        values = dict(zip(self._kernel.arg_names, arguments, strict=False)) | constants
        signature, folded, facts = {}, {}, {}
        for place, (name, value) in enumerate(values.items()):
            if isinstance(value, Tensor):
                signature[name] = TYPES[value.dtype]
                facts[place,] = [["tt.divisibility", 16]]
            elif name in constants or value is None:
                signature[name], folded[place,] = "constexpr", value
            else:
                signature[name] = "i32"
                if value % 16 == 0 and name.endswith("stride"):
                    facts[place,] = [["tt.divisibility", 16]]
        source = ASTSource(self._kernel, signature, folded, facts)
        options = {
            "num_warps": num_warps,
            "num_stages": num_stages,
            "enable_fp_fusion": enable_fp_fusion,
        }
        kernel = triton.compile(source, target=HOPPER, options=options)
        print(self._kernel.__name__, constants, kernel.metadata.shared)


def random(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    unit = torch.nn.functional.normalize(torch.randn(*shape), dim=1)
    return unit.to(dtype).requires_grad_()


def main() -> None:
    triton_kernels.forward_kernel = Compiled(triton_kernels.forward_kernel)
    triton_kernels.gradient_kernel = Compiled(triton_kernels.gradient_kernel)
    # The passes run on the CPU up to the launch.
    triton_kernels.INTERPRETED = True
    triton_backend._on_device = lambda like: contextlib.nullcontext()

    ids, groups = torch.arange(300) % 2, torch.arange(300) // 100
    options: dict[str, Any] = {"scale": 2.0, "backend": "triton"}
    # Self-similar and bounded, of 256 features.
    contrast(random(300, 256, dtype=torch.bfloat16), **options).denominator.sum().backward()
    # A key of its own, ids that are compared, groups, a maximum, features in parts.
    output = contrast(
        random(300, 300),
        random(300, 300),
        row_ids=ids,
        column_ids=ids,
        row_groups=groups,
        column_groups=groups,
        **(options | {"scale": 100.0}),
    )
    output.denominator.sum().backward()
    # Both directions, with biases and other exclusions each way.
    torch.set_float32_matmul_precision("high")
    forth, back = contrast_both(
        random(300, 100),
        random(200, 100),
        first_bias=torch.zeros(300, requires_grad=True),
        second_bias=torch.zeros(200, requires_grad=True),
        first_positive=torch.arange(300) % 200,
        second_positive=torch.arange(200),
        decoupled=True,
        **options,
    )
    (forth.denominator.sum() + back.denominator.sum()).backward()
    contrast(random(300, 20, dtype=torch.float64), **options).denominator.sum().backward()
    contrast(random(300, 20).detach(), **options)


if __name__ == "__main__":
    main()
