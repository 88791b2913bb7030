"""Block sizes of the Triton kernels: a table instead of a search at run time.

Not yet tuned on a GPU; chosen by counting for a Hopper multiprocessor (H100:
132 of them, 227 kB of shared memory and 64k registers each), and by what the
compiler reports for it (tensor-core instructions, no or next to no registers
spilled, shared memory as below):

- A block of owned rows is read once and blocks of columns pass by: ROWS
  operations per byte of a bfloat16 column block forward, twice as many backward.
  The second-level cache feeds the tensor cores from about 180 on: 256 rows
  forward, 128 backward. TF32 has four bytes per number; half the rows fit.
- The owned rows and `stages` column blocks lie in shared memory: 256 x 256 and
  2 x 64 x 256 of bfloat16 take 192 kB. Logits and (backward) ROWS x OUTPUT of the
  gradient lie in registers: 8 warps hold 128 x 256 in 128 registers a thread,
  which leaves 64 columns for the logits.
- Features that do not fit at once are taken in parts, and a program of the
  backward kernel then computes `output` features of the gradient.
- "ieee" float32 runs on the ordinary units, whose operands lie in registers:
  small blocks, few features at a time. So does float64 where there are no tensor
  cores for it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

PROGRAMS = 528
"""Programs that a grid should have at least: four for each multiprocessor of an H100."""

STRIPES = 32
"""Stripes of rows and of columns of a two-sided forward pass.

Its partial sums take 8 (STRIPES + 1) bytes per row, and 32 * 33 / 2 = `PROGRAMS`.
"""


@dataclass(frozen=True)
class Blocks:
    """What one program works on at a time.

    `rows` owned rows against `columns` rows of the other side, `features` of
    the inner dimension at a time; `output` features of the gradient per program.
    With `whole`, all features are held at once and `output` is `features`.
    """

    rows: int
    columns: int
    features: int
    output: int
    whole: bool
    warps: int
    stages: int


# (padded width up to which it holds, rows, columns, warps, stages) by kind of product.
_FORWARD: dict[str, tuple[tuple[int, int, int, int, int], ...]] = {
    "bfloat16": ((128, 256, 64, 8, 3), (256, 256, 64, 8, 2)),
    "tf32": ((128, 128, 64, 8, 3), (256, 128, 32, 8, 2)),
}
_BACKWARD: dict[str, tuple[tuple[int, int, int, int, int], ...]] = {
    "bfloat16": ((128, 128, 64, 8, 3), (256, 128, 64, 8, 2)),
    "tf32": ((64, 128, 64, 8, 3), (128, 64, 64, 4, 2), (256, 64, 32, 8, 2)),
}
# (rows, columns, features at a time, warps, stages) where the features do not fit at once.
_CHUNKED: dict[str, tuple[int, int, int, int, int]] = {
    "bfloat16": (128, 64, 64, 8, 3),
    "tf32": (64, 64, 32, 8, 3),
    "ieee": (64, 64, 16, 4, 2),
    "float64": (32, 32, 16, 4, 1),
}
# Features of the gradient per program where they do not fit at once.
_OUTPUT = {"bfloat16": 256, "tf32": 256, "ieee": 64, "float64": 32}


def forward_blocks(kind: str, width: int, tile: int) -> Blocks:
    """Blocks of the forward kernel; no side of a block is above `tile` (16 at least)."""
    return _limited(_blocks(_FORWARD, kind, width), tile)


def backward_blocks(kind: str, width: int, tile: int) -> Blocks:
    """Blocks of the gradient kernel; no side of a block is above `tile` (16 at least)."""
    return _limited(_blocks(_BACKWARD, kind, width), tile)


def _blocks(
    table: dict[str, tuple[tuple[int, int, int, int, int], ...]], kind: str, width: int
) -> Blocks:
    padded = max(16, power_of_two(width))
    for limit, rows, columns, warps, stages in table.get(kind, ()):
        if padded <= limit:
            return Blocks(rows, columns, padded, padded, True, warps, stages)
    rows, columns, features, warps, stages = _CHUNKED[kind]
    output = min(padded, _OUTPUT[kind])
    return Blocks(rows, columns, min(features, padded), output, False, warps, stages)


def _limited(blocks: Blocks, tile: int) -> Blocks:
    side = max(16, power_of_two(tile + 1) // 2)
    return replace(blocks, rows=min(blocks.rows, side), columns=min(blocks.columns, side))


def power_of_two(number: int) -> int:
    """The smallest power of two that is not below `number`."""
    return 1 << max(0, number - 1).bit_length()
