"""Time and peak memory of GRACE's objective: as its definition reads, dense, and in tiles.

    python benchmarks/contrast_memory.py --nodes 4000 12000 --rounds 3

Forward and backward on random float32 embeddings, temperature 0.5. Times are
interleaved in one process (round-robin, so that a busy machine hits all
variants alike) and reported as medians; memory is the peak resident set above
the resident set with inputs and gradients in place, each in a process of its own.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from graphcl.losses import info_nce

TEMPERATURE = 0.5
# The dense backend at 12,000 nodes takes over 10 GB.
DENSE_UP_TO = 6000


def definition(z1: Tensor, z2: Tensor) -> Tensor:
    """Zhu et al. 2020, eq. 1 and 2, on full matrices."""

    def one_direction(u: Tensor, v: Tensor) -> Tensor:
        u, v = (torch.nn.functional.normalize(view, dim=1) for view in (u, v))
        within = torch.exp(u @ u.T / TEMPERATURE)
        between = torch.exp(u @ v.T / TEMPERATURE)
        others = within.sum(1) - within.diag()
        return -torch.log(between.diag() / (between.sum(1) + others))

    return ((one_direction(z1, z2) + one_direction(z2, z1)) / 2).mean()


def with_backend(backend: str) -> Callable[[Tensor, Tensor], Tensor]:
    def loss(z1: Tensor, z2: Tensor) -> Tensor:
        return info_nce(z1, z2, TEMPERATURE, intra_view=True, backend=backend)

    return loss


VARIANTS = {
    "definition": definition,
    "dense": with_backend("dense"),
    "tiles": with_backend("tiles"),
}


def views(nodes: int, dimension: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    pair = torch.randn(2, nodes, dimension, generator=generator)
    leaves = [view.clone().requires_grad_() for view in pair]
    for leaf in leaves:
        leaf.grad = torch.zeros_like(leaf)
    return leaves[0], leaves[1]


def variants(nodes: int) -> list[str]:
    return [name for name in VARIANTS if name != "dense" or nodes <= DENSE_UP_TO]


def megabytes(field: str) -> float:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field)) / 1024


def report_peak(name: str, nodes: int, dimension: int) -> None:
    VARIANTS[name](*views(1000, dimension)).backward()
    pair = views(nodes, dimension)
    before = megabytes("VmRSS")
    VARIANTS[name](*pair).backward()
    print(megabytes("VmHWM") - before)


def peak(name: str, nodes: int, dimension: int, threads: int) -> float:
    command = [sys.executable, __file__, "--peak", name, "--nodes", str(nodes)]
    command += ["--dimension", str(dimension), "--threads", str(threads)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def seconds(name: str, pair: tuple[Tensor, Tensor]) -> tuple[float, float]:
    wall, processor = time.perf_counter(), time.process_time()
    VARIANTS[name](*pair).backward()
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=[4000, 12000])
    parser.add_argument("--dimension", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--peak", choices=list(VARIANTS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.peak:
        report_peak(arguments.peak, arguments.nodes[0], arguments.dimension)
        return

    print(f"torch {torch.__version__}, {arguments.threads} thread(s), d = {arguments.dimension}")
    print("| N | variant | CPU s | wall s | times faster (CPU) | peak MB |")
    print("|---|---|---|---|---|---|")
    for nodes in arguments.nodes:
        pair = views(nodes, arguments.dimension)
        names = variants(nodes)
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
        seconds("tiles", pair)
        for _ in range(arguments.rounds):
            for name in names:
                runs[name].append(seconds(name, pair))
        values = {name: float(VARIANTS[name](*pair).detach()) for name in names}
        if max(values.values()) - min(values.values()) > 1e-4:
            raise SystemExit(f"the variants disagree: {values}")
        processor = {
            name: statistics.median(run[1] for run in measured) for name, measured in runs.items()
        }
        for name in names:
            wall = statistics.median(run[0] for run in runs[name])
            faster = processor["definition"] / processor[name]
            memory = peak(name, nodes, arguments.dimension, arguments.threads)
            print(
                f"| {nodes} | {name} | {processor[name]:.2f} | {wall:.2f} "
                f"| {faster:.2f} | {memory:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
