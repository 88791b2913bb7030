"""Sparse products at Gowalla's size on a CUDA device: checked against float64, then timed.

    GRAPHCL_DATA=... python benchmarks/sparse_gpu.py

The adjacency of `benchmarks/sparse.py` (70,839 nodes, 1.62 million entries, d = 64), three layers
forward and backward: as it is, and with a new mask in every step. Then one graph convolution of a
new view. Variants take turns; times are medians of CUDA events. Peers are written from their
definition.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from graphcl.encoders import bipartite_adjacency
from graphcl.kernels.spmm import SparseMatrix, drop_entries, horner, scaled, spmm
from recsys.data import read_interactions

DIMENSION, LAYERS, RATE = 64, 3, 0.2
DEVICE = torch.device("cuda")
Forward = Callable[[Tensor], Tensor]


def event_ms(work: Callable[[], object]) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    work()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end)


def race(title: str, forwards: dict[str, Forward], x: Tensor, rounds: int) -> None:
    """Forward and backward of all in turn; the table."""
    upstream = torch.randn_like(x)

    def step(forward: Forward) -> None:
        leaf = x.detach().requires_grad_()
        forward(leaf).backward(upstream)

    for forward in forwards.values():
        step(forward)
        step(forward)
    times: dict[str, list[float]] = {name: [] for name in forwards}
    for _ in range(rounds):
        for name, forward in forwards.items():
            times[name].append(event_ms(lambda forward=forward: step(forward)))
    base = statistics.median(next(iter(times.values())))
    print(f"\n### {title}\n\n| variant | ms | times faster |\n|---|---|---|")
    for name, measured in times.items():
        middle = statistics.median(measured)
        print(f"| {name} | {middle:.3g} | {base / middle:.2f} |", flush=True)


def layers_mean(matrix: Tensor, x: Tensor) -> Tensor:
    outputs = [x]
    for _ in range(LAYERS):
        outputs.append(torch.sparse.mm(matrix, outputs[-1]))
    return torch.stack(outputs).mean(0)


def coo(graph: SparseMatrix, value: Tensor) -> Tensor:
    index = torch.stack([graph.row, graph.column])
    return torch.sparse_coo_tensor(index, value, graph.shape, check_invariants=False)


def check(graph: SparseMatrix, x: Tensor) -> None:
    """Both backends, whole and dropped, forward and backward, against float64."""
    double = graph.to(dtype=torch.float64)
    weights = [1 / (LAYERS + 1)] * (LAYERS + 1)
    for name, correct in (("whole", None), ("dropped", "expectation"), ("normalised", "degrees")):
        results = {}
        for backend, matrix, start in (
            ("float64", double, x.double()), ("torch", graph, x), ("triton", graph, x),
        ):  # fmt: skip
            view = scaled(matrix)
            if correct:
                generator = torch.Generator(DEVICE).manual_seed(1)
                view = drop_entries(view, RATE, generator=generator, correct=correct)
            leaf = start.detach().requires_grad_()
            out = horner(view, leaf, weights, backend="torch" if backend == "float64" else backend)
            out.square().sum().backward()
            assert leaf.grad is not None
            results[backend] = torch.cat([out.detach(), leaf.grad]).double()
        for backend in ("torch", "triton"):
            error = results[backend] - results["float64"]
            relative = float(error.norm() / results["float64"].norm())
            print(f"{name}, {backend}: relative error {relative:.1e}")
            if not relative < 1e-5:
                raise SystemExit("wrong")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}")
    folder = Path(os.environ["GRAPHCL_DATA"]) / "rec" / "gowalla"
    log = read_interactions(folder / "train.txt").to(DEVICE)
    pairs = torch.stack(log.edges())
    graph = bipartite_adjacency(
        SparseMatrix.from_edge_index(pairs, shape=(log.num_users, log.num_items))
    )
    print(f"{graph.shape[0]} nodes, {graph.entries} entries")
    x = torch.randn(graph.shape[0], DIMENSION, device=DEVICE)
    check(graph, x)

    normal, free = graph.normalised(), scaled(graph)
    weights = [1 / (LAYERS + 1)] * (LAYERS + 1)
    matrix = coo(normal, normal.value).coalesce()
    generator = torch.Generator(DEVICE).manual_seed(0)

    def whole(chosen: object, backend: str) -> Forward:
        return lambda x: horner(chosen, x, weights, backend=backend)

    def dropped(chosen: object, backend: str, correct: str = "expectation") -> Forward:
        return lambda x: horner(
            drop_entries(chosen, RATE, generator=generator, correct=correct),
            x, weights, backend=backend,
        )  # fmt: skip

    race(
        "Three layers forward and backward",
        {
            "COO `torch.sparse.mm`": lambda x: layers_mean(matrix, x),
            "ours, torch (cuSPARSE)": whole(normal, "torch"),
            "ours, triton": whole(normal, "triton"),
            "ours, triton, no values": whole(free, "triton"),
        },
        x,
        arguments.rounds,
    )
    race(
        f"A new mask each step (rate {RATE}), three layers forward and backward",
        {
            "COO rebuilt with dropped values": lambda x: layers_mean(
                coo(normal, functional.dropout(normal.value, RATE)), x
            ),
            "ours, torch (cuSPARSE)": dropped(normal, "torch"),
            "ours, triton": dropped(normal, "triton"),
            "ours, triton, no values": dropped(free, "triton"),
            "ours, triton, normalised anew": dropped(free, "triton", "degrees"),
        },
        x,
        arguments.rounds,
    )
    convolution(graph, x, arguments.rounds)


def convolution(graph: SparseMatrix, x: Tensor, rounds: int) -> None:
    from torch_geometric.nn import GCNConv
    from torch_geometric.utils import dropout_edge

    edge_index = torch.stack([graph.row, graph.column])
    layer = GCNConv(DIMENSION, DIMENSION, cached=False, bias=False).to(DEVICE)
    weight = layer.lin.weight
    free = scaled(graph, self_loops=True)
    generator = torch.Generator(DEVICE).manual_seed(0)

    def theirs(x: Tensor) -> Tensor:
        kept, _ = dropout_edge(edge_index, RATE, force_undirected=True)
        return layer(x, kept)

    def ours(backend: str) -> Forward:
        return lambda x: spmm(
            drop_entries(free, RATE, generator=generator, correct="degrees"),
            x @ weight.T, backend=backend,
        )  # fmt: skip

    race(
        f"One graph convolution of a new view (rate {RATE}), forward and backward",
        {
            "`dropout_edge` and `GCNConv` (PyG)": theirs,
            "ours, torch": ours("torch"),
            "ours, triton": ours("triton"),
        },
        x,
        rounds,
    )


if __name__ == "__main__":
    main()
