"""Two Triton kernels: log-sum-exp of the rows and columns of s, and the gradient of one side.

Importing this module imports triton; `triton_backend` does so when it computes.
Logits are in base 2 throughout (the host multiplies scale and biases by
log2(e)), so that a logit is one multiply-add and its exponential one instruction.

`forward_kernel` cuts s into stripes of rows and stripes of columns; a program
owns one crossing. It keeps (maximum, sum) of a block of rows in registers while
it marches over the columns, and that of the columns in a slot of memory no
other program writes. `gradient_kernel` owns a block of rows of one side, marches
over the other side, and keeps the gradient of its rows in registers. Neither
uses atomics, so results are the same in every run.

Arguments named `*_pairs`, `*_block*`, `*_search_steps`, `*_ids` and `*_groups`
belong to an exclusion and `limits` to all of them, as `triton_exclusion` lays them out.
"""

from __future__ import annotations

from graphcl.kernels.contrast.triton_forward import forward_kernel
from graphcl.kernels.contrast.triton_gradient import gradient_kernel
from graphcl.kernels.contrast.triton_parts import INTERPRETED

__all__ = ["INTERPRETED", "forward_kernel", "gradient_kernel"]
