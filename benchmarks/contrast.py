"""Time, peak memory and gradient error of contrastive objectives, beside what others ship.

    python benchmarks/contrast.py --objective grace --nodes 4000 12000 20000 --dimension 64 128 256
    python benchmarks/contrast.py --objective cross-view --nodes 12000 --dimension 128
    python benchmarks/contrast.py --objective one-sided --dimension 64 128 256
    python benchmarks/contrast.py --objective metric-learning --nodes 128 256 --dimension 128

Forward and backward on random float32 embeddings. The variants of one line of the
table are run in turn in one process, so that a busy machine hits all alike, and the
medians are compared; the slow ones run `--slow-rounds` times. Memory is the peak
resident set above the one with inputs and gradients in place, each variant in a
process of its own; large blocks are mapped on their own there
(MALLOC_MMAP_THRESHOLD_), so that holes in the heap are not counted. The error is
that of the gradient, relative to the gradient in float64. A variant that would take
more than `--memory` GB is not run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.modules.linear_cross_entropy_options import LinearCrossEntropyOptions

from graphcl.losses import cross_entropy, info_nce

TEMPERATURE = 0.5
USERS, ITEMS = 4096, 41_000  # a batch of Gowalla's size
Inputs = tuple[Tensor, ...]
Loss = Callable[..., Tensor]


@contextmanager
def product_precision(name: str) -> Iterator[None]:
    """Torch's "high" and "medium" allow products of float32 to be computed from bfloat16 parts."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@dataclass(frozen=True)
class Variant:
    loss: Loss
    # Bytes per pair of rows that it keeps, to skip what the machine cannot hold.
    bytes_per_pair: float = 0.0
    precision: str = "highest"

    def step(self, inputs: Inputs) -> None:
        with product_precision(self.precision):
            self.loss(*inputs).backward()


# ---- GRACE's objective: both directions, nodes of both views as negatives ---------------


def grace(z1: Tensor, z2: Tensor) -> Tensor:
    """Zhu et al. 2020, eq. 1 and 2, on full matrices."""

    def one_direction(u: Tensor, v: Tensor) -> Tensor:
        u, v = (functional.normalize(view, dim=1) for view in (u, v))
        within = torch.exp(u @ u.T / TEMPERATURE)
        between = torch.exp(u @ v.T / TEMPERATURE)
        others = within.sum(1) - within.diag()
        return -torch.log(between.diag() / (between.sum(1) + others))

    return ((one_direction(z1, z2) + one_direction(z2, z1)) / 2).mean()


def masked(z1: Tensor, z2: Tensor) -> Tensor:
    """The same with dense float masks over N x 2N, as PyGCL's dual-branch contrast works."""

    def one_branch(anchor: Tensor, other: Tensor) -> Tensor:
        count = anchor.shape[0]
        identity = torch.eye(count)
        positive = torch.cat([identity, torch.zeros(count, count)], dim=1)
        negative = torch.cat([1.0 - identity, 1.0 - identity], dim=1)
        sample = torch.cat([other, anchor])
        unit, target = functional.normalize(anchor, dim=1), functional.normalize(sample, dim=1)
        similarity = unit @ target.T / TEMPERATURE
        total = (torch.exp(similarity) * (positive + negative)).sum(dim=1, keepdim=True)
        log_probability = (similarity - torch.log(total)) * positive
        return -(log_probability.sum(dim=1) / positive.sum(dim=1)).mean()

    return (one_branch(z1, z2) + one_branch(z2, z1)) / 2


def ours_grace(backend: str) -> Loss:
    return lambda z1, z2: info_nce(z1, z2, TEMPERATURE, intra_view=True, backend=backend)


# ---- the bipartite objective: nodes of the other view only ------------------------------


def bipartite(z1: Tensor, z2: Tensor) -> Tensor:
    u, v = functional.normalize(z1, dim=1), functional.normalize(z2, dim=1)
    logits, target = u @ v.T / TEMPERATURE, torch.arange(len(u))
    forth, back = (functional.cross_entropy(part, target) for part in (logits, logits.T))
    return (forth + back) / 2


def linear_bipartite(z1: Tensor, z2: Tensor) -> Tensor:
    u, v = functional.normalize(z1, dim=1), functional.normalize(z2, dim=1)
    target = torch.arange(len(u))
    return (linear_cross_entropy(u, v, target) + linear_cross_entropy(v, u, target)) / 2


def ours_bipartite(backend: str) -> Loss:
    return lambda z1, z2: info_nce(z1, z2, TEMPERATURE, backend=backend)


# ---- the one-sided objective: a batch against every item ---------------------------------


def dense_one_sided(query: Tensor, items: Tensor) -> Tensor:
    query, items = functional.normalize(query, dim=1), functional.normalize(items, dim=1)
    return functional.cross_entropy(query @ items.T / TEMPERATURE, torch.arange(len(query)))


def linear_one_sided(query: Tensor, items: Tensor) -> Tensor:
    query, items = functional.normalize(query, dim=1), functional.normalize(items, dim=1)
    return linear_cross_entropy(query, items, torch.arange(len(query)))


def ours_one_sided(backend: str) -> Loss:
    def loss(query: Tensor, items: Tensor) -> Tensor:
        query, items = functional.normalize(query, dim=1), functional.normalize(items, dim=1)
        return cross_entropy(query, items, torch.arange(len(query)), TEMPERATURE, backend=backend)

    return loss


def linear_cross_entropy(query: Tensor, key: Tensor, target: Tensor) -> Tensor:
    """Torch's chunked cross-entropy (2.13 and later), which keeps no matrix of logits."""
    options = LinearCrossEntropyOptions()
    return functional.linear_cross_entropy(query / TEMPERATURE, key, target, options=options)


# ---- NT-Xent as pytorch-metric-learning computes it --------------------------------------


def metric_learning(z1: Tensor, z2: Tensor) -> Tensor:
    from pytorch_metric_learning.losses import NTXentLoss, SelfSupervisedLoss

    return SelfSupervisedLoss(NTXentLoss(temperature=TEMPERATURE))(z1, z2)


OURS = {
    "tiles": Variant(ours_grace("tiles")),
    "native": Variant(ours_grace("native")),
    "native, high": Variant(ours_grace("native"), precision="high"),
    "native, medium": Variant(ours_grace("native"), precision="medium"),
}
OBJECTIVES: dict[str, dict[str, Variant]] = {
    "grace": {
        "definition": Variant(grace, 29.0),
        "PyGCL's masks": Variant(masked, 98.0),
        **OURS,
    },
    "cross-view": {
        "definition": Variant(bipartite, 16.0),
        "torch linear_cross_entropy": Variant(linear_bipartite),
        "tiles": Variant(ours_bipartite("tiles")),
        "native": Variant(ours_bipartite("native")),
        "native, high": Variant(ours_bipartite("native"), precision="high"),
        "native, medium": Variant(ours_bipartite("native"), precision="medium"),
    },
    "one-sided": {
        "definition": Variant(dense_one_sided, 12.0),
        "torch linear_cross_entropy": Variant(linear_one_sided),
        "tiles": Variant(ours_one_sided("tiles")),
        "native": Variant(ours_one_sided("native")),
        "native, high": Variant(ours_one_sided("native"), precision="high"),
        "native, medium": Variant(ours_one_sided("native"), precision="medium"),
    },
    "metric-learning": {
        "definition": Variant(grace, 29.0),
        "metric-learning NTXentLoss": Variant(metric_learning),
        **OURS,
    },
}
EXACT = {
    "grace": ours_grace("native"),
    "cross-view": ours_bipartite("native"),
    "one-sided": ours_one_sided("native"),
    "metric-learning": ours_grace("native"),
}
SLOW_SECONDS = 3.0


def leaves(objective: str, nodes: int, dimension: int) -> Inputs:
    generator = torch.Generator().manual_seed(0)
    sizes = (USERS, ITEMS) if objective == "one-sided" else (nodes, nodes)
    made = [torch.randn(size, dimension, generator=generator).requires_grad_() for size in sizes]
    for leaf in made:
        leaf.grad = torch.zeros_like(leaf)
    return tuple(made)


def megabytes(field: str) -> float:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field)) / 1024


def report_peak(variant: Variant, objective: str, nodes: int, dimension: int) -> None:
    # A first small call loads the libraries.
    variant.step(tuple(part[:128].detach().requires_grad_() for part in leaves("", 128, 8)))
    inputs = leaves(objective, nodes, dimension)
    before = megabytes("VmRSS")
    variant.step(inputs)
    print(megabytes("VmHWM") - before)


def peak(objective: str, name: str, nodes: int, dimension: int, threads: int) -> float:
    command = [sys.executable, __file__, "--objective", objective, "--peak", name]
    command += ["--nodes", str(nodes), "--dimension", str(dimension), "--threads", str(threads)]
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return float(result.stdout)


def seconds(variant: Variant, inputs: Inputs) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    variant.step(inputs)
    return time.process_time() - processor, time.perf_counter() - wall


def gradient(step: Callable[[Inputs], object], inputs: Inputs) -> Tensor:
    for part in inputs:
        part.grad = torch.zeros_like(part)
    step(inputs)
    return torch.cat([part.grad.double().view(-1) for part in inputs])


def error(variant: Variant, inputs: Inputs, exact: Tensor) -> float:
    return float((gradient(variant.step, inputs) - exact).norm() / exact.norm())


def growth(sizes: list[int], peaks: list[float]) -> str:
    """The straight line through the peaks, how well it fits, and the exponent of a power law."""
    size, memory = torch.tensor(sizes, dtype=torch.float64), torch.tensor(peaks).double()
    design = torch.stack([torch.ones_like(size), size], dim=1)
    offset, slope = torch.linalg.lstsq(design, memory[:, None]).solution.view(-1).tolist()
    residual = (memory - offset - slope * size).square().sum()
    explained = 1 - residual / (memory - memory.mean()).square().sum()
    exponent = torch.linalg.lstsq(
        torch.stack([torch.ones_like(size), size.log()], dim=1), memory.log()[:, None]
    ).solution[1]
    return (
        f"{offset:.1f} MB + {1000 * slope:.2f} MB per 1000 nodes (R2 {float(explained):.4f}), "
        f"N^{float(exponent):.2f}"
    )


def compare(
    arguments: argparse.Namespace, nodes: int, dimension: int
) -> dict[str, tuple[int, float]]:
    """One block of the table; returns the peak of every variant."""
    objective = arguments.objective
    pairs = USERS * ITEMS if objective == "one-sided" else nodes * nodes
    variants = {
        name: variant
        for name, variant in OBJECTIVES[objective].items()
        if variant.bytes_per_pair * pairs < arguments.memory * 1e9
    }
    inputs = leaves(objective, nodes, dimension)
    doubles = tuple(part.detach().double().requires_grad_() for part in inputs)
    exact = gradient(Variant(EXACT[objective]).step, doubles)
    del doubles
    errors = {name: error(variant, inputs, exact) for name, variant in variants.items()}
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    for turn in range(arguments.rounds):
        for name, variant in variants.items():
            slow = bool(runs[name]) and runs[name][0][0] > SLOW_SECONDS
            if not slow or turn < arguments.slow_rounds:
                runs[name].append(seconds(variant, inputs))
    # On one thread CPU seconds compare better on a shared machine; more threads add theirs up.
    clock = 0 if arguments.threads == 1 else 1
    compared = {
        name: statistics.median(run[clock] for run in measured) for name, measured in runs.items()
    }
    size = f"{USERS} x {ITEMS}" if objective == "one-sided" else str(nodes)
    peaks = {}
    for name in variants:
        processor, wall = (statistics.median(column) for column in zip(*runs[name], strict=True))
        memory = peak(objective, name, nodes, dimension, arguments.threads)
        peaks[name] = (nodes, memory)
        faster = compared["definition"] / compared[name]
        print(
            f"| {size} | {dimension} | {name} | {processor:.3f} | {wall:.3f} "
            f"| {faster:.1f} | {memory:.0f} | {errors[name]:.0e} |",
            flush=True,
        )
    for name in OBJECTIVES[objective].keys() - variants.keys():
        needed = OBJECTIVES[objective][name].bytes_per_pair * pairs / 1e9
        print(f"| {size} | {dimension} | {name} | - | - | - | about {needed:.0f} GB | - |")
    return peaks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--objective", choices=list(OBJECTIVES), default="grace")
    parser.add_argument("--nodes", type=int, nargs="+", default=[4000])
    parser.add_argument("--dimension", type=int, nargs="+", default=[128])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slow-rounds", type=int, default=2, help="of what takes over 3 s")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory", type=float, default=14.0, help="GB a variant may take")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.peak:
        variant = OBJECTIVES[arguments.objective][arguments.peak]
        report_peak(variant, arguments.objective, arguments.nodes[0], arguments.dimension[0])
        return
    print(f"{arguments.objective}: torch {torch.__version__}, {arguments.threads} thread(s)")
    print("| N | d | variant | CPU s | wall s | times faster | peak MB | gradient error |")
    print("|---|---|---|---|---|---|---|---|")
    peaks: dict[tuple[str, int], list[tuple[int, float]]] = {}
    for nodes in arguments.nodes[:1] if arguments.objective == "one-sided" else arguments.nodes:
        for dimension in arguments.dimension:
            for name, point in compare(arguments, nodes, dimension).items():
                peaks.setdefault((name, dimension), []).append(point)
    for (name, dimension), points in peaks.items():
        if len(points) >= 3:
            sizes, memory = zip(*points, strict=True)
            print(f"peak memory of {name}, d = {dimension}: {growth(list(sizes), list(memory))}")


if __name__ == "__main__":
    main()
