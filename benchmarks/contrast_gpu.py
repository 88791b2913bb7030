"""The Triton kernels on a CUDA device: checked against the dense oracle, then timed.

    python benchmarks/contrast_gpu.py
    python benchmarks/contrast_gpu.py --nodes 169343 --dimension 256 --rounds 3

First value and gradient at 1,500 nodes of two views against float64 matrices,
with self-similarity, both directions, and excluded pairs. Then GRACE's objective
(Zhu et al. 2020, every node of both views a negative), forward and backward, at
the size of ogbn-arxiv: 338,686 rows, whose matrix of logits would take 459 GB.
One table: the best of a few rounds, operations per second of the 20 N^2 d that
the Triton kernels do, and the peak memory above the embeddings. Not yet run on a
GPU.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from graphcl.kernels.contrast import contrast, contrast_both

SCALE = 2.0
CHECKED_NODES = 1500
# (dtype of the embeddings, what torch is allowed to do with float32, bound of the relative error)
PRECISIONS = {
    "bf16": (torch.bfloat16, "highest", 2e-2),
    "tf32": (torch.float32, "high", 5e-3),
    "fp32": (torch.float32, "highest", 1e-5),
}


@contextmanager
def allowed(precision: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    yield
    torch.set_float32_matmul_precision(before)


def unit_rows(count: int, dimension: int, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator("cuda").manual_seed(0)
    rows = torch.randn(count, dimension, generator=generator, device="cuda")
    return torch.nn.functional.normalize(rows, dim=1).to(dtype)


def self_similar(rows: Tensor, backend: str) -> Tensor:
    """GRACE's objective on the stacked views."""
    partner = torch.arange(len(rows), device=rows.device).roll(len(rows) // 2)
    output = contrast(rows, scale=SCALE, positive=partner, backend=backend)
    return (output.denominator - output.positive).mean()


def two_sides(rows: Tensor, backend: str) -> Tensor:
    """InfoNCE both ways."""
    first, second = rows.chunk(2)
    index = torch.arange(len(first), device=rows.device)
    forth, back = contrast_both(
        first,
        second,
        scale=SCALE,
        first_positive=index,
        second_positive=index,
        decoupled=True,
        backend=backend,
    )
    outputs = (forth, back)
    return sum((one.denominator - one.positive).mean() for one in outputs)


def excluding(rows: Tensor, backend: str) -> Tensor:
    """A running maximum (temperature 0.01), repeated ids and a key of its own."""
    first, second = rows.chunk(2)
    ids = torch.arange(len(first), device=rows.device) % 50
    output = contrast(first, second, scale=100.0, row_ids=ids, column_ids=ids, backend=backend)
    return output.denominator.mean()


def value_and_gradient(
    objective: Callable[[Tensor, str], Tensor], rows: Tensor, backend: str
) -> tuple[Tensor, Tensor]:
    leaf = rows.clone().requires_grad_()
    value = objective(leaf, backend)
    value.backward()
    assert leaf.grad is not None
    return value.detach().double(), leaf.grad.double()


def check(dimension: int) -> None:
    for name, (dtype, precision, bound) in PRECISIONS.items():
        rows = unit_rows(2 * CHECKED_NODES, dimension, dtype)
        for objective in (self_similar, two_sides, excluding):
            exact = value_and_gradient(objective, rows.double(), "dense")
            with allowed(precision):
                got = value_and_gradient(objective, rows, "triton")
                again = value_and_gradient(objective, rows, "triton")
            errors = [
                float((one - other).norm() / other.norm())
                for one, other in zip(got, exact, strict=True)
            ]
            # A logit of up to 100 is rounded before its exponential is taken.
            wide = 100 if objective is excluding else 1
            if not max(errors) <= bound * wide or not torch.equal(got[1], again[1]):
                raise SystemExit(f"{name}, {objective.__name__}: relative errors {errors}")
            print(f"{name}, {objective.__name__}: value {errors[0]:.1e}, gradient {errors[1]:.1e}")


def timed(rows: Tensor, backend: str) -> tuple[float, float, float, float]:
    """Seconds of forward and backward, peak bytes above the embeddings, and the value."""
    leaf = rows.clone().requires_grad_()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before, start = torch.cuda.memory_allocated(), time.perf_counter()
    value = self_similar(leaf, backend)
    torch.cuda.synchronize()
    middle = time.perf_counter()
    value.backward()
    torch.cuda.synchronize()
    end = time.perf_counter()
    peak = torch.cuda.max_memory_allocated() - before
    return middle - start, end - middle, peak, float(value.detach())


def measure(nodes: int, dimension: int, rounds: int, backends: list[str]) -> None:
    print("| precision | backend | forward s | backward s | TFLOP/s of 20 N^2 d | peak MB | loss |")
    print("|---|---|---|---|---|---|---|")
    for name, (dtype, precision, _) in PRECISIONS.items():
        rows = unit_rows(2 * nodes, dimension, dtype)
        for backend in backends:
            with allowed(precision):
                timed(rows[:4096], backend)
                runs = [timed(rows, backend) for _ in range(rounds)]
            forward, backward, peak, value = min(runs, key=lambda run: run[0] + run[1])
            rate = 20 * nodes**2 * dimension / (forward + backward) / 1e12
            print(
                f"| {name} | {backend} | {forward:.3f} | {backward:.3f} | {rate:.0f} "
                f"| {peak / 1e6:.0f} | {value:.6f} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--nodes", type=int, default=169_343)
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backends", nargs="+", default=["triton", "tiles"])
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("this benchmark needs a CUDA device, and torch finds none here")
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    check(arguments.dimension)
    measure(arguments.nodes, arguments.dimension, arguments.rounds, arguments.backends)


if __name__ == "__main__":
    main()
