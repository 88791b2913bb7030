"""Sparse kernels at Gowalla's size beside what others do: propagation, loss, sampling, ranking.

    GRAPHCL_DATA=... python benchmarks/sparse.py
    GRAPHCL_DATA=... python benchmarks/sparse.py --parts propagation dropping

Gowalla on LightGCN's split: 29,858 users, 40,981 items, 810,128 training interactions, so a
symmetric adjacency of 70,839 nodes and 1.62 million entries; d = 64, float32. The peers
(`sparse_peers.py`) are written from their definition. Variants of one table take turns in one
process, so that a busy machine hits all alike; medians of CPU seconds are compared on one thread,
of wall seconds on more. Every table's answers are compared before anything is timed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import contrast as contrast_benchmark
import networkx
import numpy as np
import sparse_peers as peers
import torch
from torch import Tensor

from graphcl.encoders import bipartite_adjacency
from graphcl.kernels.communities import community_strength
from graphcl.kernels.negatives import sample_negatives
from graphcl.kernels.spmm import SparseMatrix, drop_entries, horner, keep_probability, scaled, spmm
from graphcl.kernels.topk import Lists, rank_items
from graphcl.views.drop_edges_by_community import community_keep_probability
from recsys.data import Interactions
from recsys.evaluate.metrics import find_places, metrics_per_user

DIMENSION, LAYERS, RATE, TOP = 64, 3, 0.2, 20
Work = Callable[[], object]


class Gowalla:
    """The log and the matrices that all parts share."""

    def __init__(self, folder: Path) -> None:
        self.train, self.test = (read(folder / f"{part}.txt") for part in ("train", "test"))
        self.users, self.items = self.train.num_users, self.train.num_items
        self.pairs = torch.stack(self.train.edges())
        self.interactions = SparseMatrix.from_edge_index(self.pairs, shape=(self.users, self.items))
        self.graph = bipartite_adjacency(self.interactions)
        self.nodes = self.graph.shape[0]


def read(path: Path) -> Interactions:
    rows = [[int(number) for number in line.split()] for line in path.read_text().splitlines()]
    users = torch.tensor([row[0] for row in rows for _ in row[1:]])
    items = torch.tensor([item for row in rows for item in row[1:]])
    return Interactions.from_indices(users, items, num_users=29_858, num_items=40_981)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def race(title: str, variants: dict[str, tuple[Work, float]], rounds: int, unit: str) -> None:
    """Time all in turn and print the table; each does so many units of work a call."""
    for work, _ in variants.values():
        work()
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, (work, count) in variants.items():
            processor, wall = time.process_time(), time.perf_counter()
            work()
            spent = time.process_time() - processor, time.perf_counter() - wall
            runs[name].append((spent[0] / count, spent[1] / count))
    clock = 0 if torch.get_num_threads() == 1 else 1
    base = statistics.median(run[clock] for run in next(iter(runs.values())))
    print(
        f"\n### {title}\n\n| variant | CPU {unit} | wall {unit} | times faster |\n|---|---|---|---|"
    )
    factor = 1e6 if unit.startswith("us") else 1e3
    for name, measured in runs.items():
        processor, wall = (statistics.median(column) for column in zip(*measured, strict=True))
        faster = base / (processor, wall)[clock]
        print(f"| {name} | {factor * processor:.3g} | {factor * wall:.3g} | {faster:.2f} |")


def step(forward: Callable[[Tensor], Tensor], x: Tensor, upstream: Tensor) -> Callable[[], Tensor]:
    """Forward and backward; returns the gradient."""

    def work() -> Tensor:
        x.grad = None
        forward(x).backward(upstream)
        assert x.grad is not None
        return x.grad

    return work


# ---- propagation --------------------------------------------------------------------------------


def propagation(data: Gowalla, rounds: int) -> None:
    normal, free = data.graph.normalised(), scaled(data.graph)
    matrix = peers.coo(normal.row, normal.column, normal.value, data.nodes).coalesce()
    plain_csr = normal.to_torch()
    x, upstream = random(data.nodes, DIMENSION).requires_grad_(), random(data.nodes, DIMENSION)
    weights = [1 / (LAYERS + 1)] * (LAYERS + 1)
    forwards = {
        "COO `torch.sparse.mm` (SELFRec, RecBole)": lambda x: peers.layers_mean(matrix, x, LAYERS),
        "gather and `index_add` (message passing)": lambda x: peers.scatter_mean(
            normal.row, normal.column, normal.value, x, LAYERS
        ),
        "CSR `torch.sparse.mm`, plain autograd": lambda x: peers.layers_mean(plain_csr, x, LAYERS),
        "ours, torch": lambda x: horner(normal, x, weights, backend="torch"),
        "ours, native": lambda x: horner(normal, x, weights, backend="native"),
        "ours, native, no values": lambda x: horner(free, x, weights, backend="native"),
    }
    race_steps("Three layers forward and backward", forwards, x, upstream, rounds)


def race_steps(
    title: str,
    forwards: dict[str, Callable[[Tensor], Tensor]],
    x: Tensor,
    upstream: Tensor,
    rounds: int,
    same: bool = True,
) -> None:
    steps = {name: step(forward, x, upstream) for name, forward in forwards.items()}
    if same:
        wanted = next(iter(steps.values()))()
        for name, work in steps.items():
            error = float((work() - wanted).norm() / wanted.norm())
            assert error < 1e-5, (name, error)
    race(title, {name: (work, 1) for name, work in steps.items()}, rounds, "ms")


def dropping(data: Gowalla, rounds: int) -> None:
    normal, free = data.graph.normalised(), scaled(data.graph)
    x, upstream = random(data.nodes, DIMENSION).requires_grad_(), random(data.nodes, DIMENSION)
    weights = [1 / (LAYERS + 1)] * (LAYERS + 1)
    generator = torch.Generator().manual_seed(0)
    users, items = (side.numpy() for side in data.pairs)
    share = 0.6 + 0.4 * torch.rand(data.nodes, generator=generator)
    by_edge = keep_probability(data.graph, torch.minimum(*share[torch.stack(
        [data.graph.row, data.graph.column])]))  # fmt: skip

    def ours(matrix: object, rate: object, correct: str) -> Callable[[Tensor], Tensor]:
        return lambda x: horner(
            drop_entries(matrix, rate, generator=generator, correct=correct), x, weights
        )

    check_dropping(data, x.detach())
    race_steps(
        f"A new mask each step (rate {RATE}), three layers forward and backward",
        {
            "COO rebuilt for each layer (LightGCL)": lambda x: peers.rebuilt_for_each_layer(
                normal.row, normal.column, normal.value, x, LAYERS, RATE
            ),
            "rebuilt and normalised in scipy each step (SGL)": lambda x: peers.layers_mean(
                peers.rebuilt_in_scipy(users, items, data.interactions.shape, RATE), x, LAYERS
            ),
            "ours": ours(normal, RATE, "expectation"),
            "ours, no values": ours(free, RATE, "expectation"),
            "ours, normalised anew": ours(free, RATE, "degrees"),
            "ours, a probability for each edge": ours(free, by_edge, "degrees"),
        },
        x,
        upstream,
        rounds,
        same=False,
    )


def check_dropping(data: Gowalla, x: Tensor) -> None:
    """A dropped view is the graph of the edges that are left."""
    view = drop_entries(scaled(data.graph), RATE, correct="degrees")
    kept = view.kept()
    row, column = data.graph.row[kept], data.graph.column[kept]
    left = SparseMatrix.from_edge_index(torch.stack([row, column]), shape=data.nodes)
    error = (spmm(view, x) - spmm(left.normalised(), x)).norm() / x.norm()
    assert float(error) < 1e-6, error
    assert abs(float(kept.double().mean()) - 1 + RATE) < 0.002


def convolution(data: Gowalla, rounds: int) -> None:
    from torch_geometric.nn import GCNConv
    from torch_geometric.utils import dropout_edge

    edge_index = torch.stack([data.graph.row, data.graph.column])
    layer = GCNConv(DIMENSION, DIMENSION, cached=False, bias=False)
    weight = layer.lin.weight
    free = scaled(data.graph, self_loops=True)
    x, upstream = random(data.nodes, DIMENSION).requires_grad_(), random(data.nodes, DIMENSION)
    generator = torch.Generator().manual_seed(0)

    def theirs(x: Tensor) -> Tensor:
        kept, _ = dropout_edge(edge_index, RATE, force_undirected=True)
        return layer(x, kept)

    def ours(x: Tensor) -> Tensor:
        view = drop_entries(free, RATE, generator=generator, correct="degrees")
        return spmm(view, x @ weight.T)

    view = drop_entries(free, RATE, generator=generator, correct="degrees")
    kept = view.kept() & (view.matrix.row != view.matrix.column)
    left = torch.stack([view.matrix.row[kept], view.matrix.column[kept]])
    wanted = layer(x, left)
    error = ((spmm(view, x @ weight.T) - wanted).norm() / wanted.norm()).detach()
    assert float(error) < 1e-5, error
    race_steps(
        f"One graph convolution of a new view (rate {RATE}), forward and backward",
        {"`dropout_edge` and `GCNConv` (PyG)": theirs, "ours": ours},
        x,
        upstream,
        rounds,
        same=False,
    )


# ---- the loss over all nodes --------------------------------------------------------------------


def loss(data: Gowalla, rounds: int) -> None:
    inputs = contrast_benchmark.leaves("one-sided", 0, DIMENSION)
    variants = contrast_benchmark.OBJECTIVES["one-sided"]
    names = ("definition", "tiles", "native", "native, high", "native, medium")
    exact = contrast_benchmark.gradient(variants["native"].step, inputs)
    for name in names:
        found = contrast_benchmark.gradient(variants[name].step, inputs)
        assert float((found - exact).norm() / exact.norm()) < 1e-3, name
    users, items = contrast_benchmark.USERS, contrast_benchmark.ITEMS
    race(
        f"Loss of {users} anchors against all {items} items, forward and backward",
        {name: (lambda name=name: variants[name].step(inputs), 1) for name in names},
        rounds,
        "ms",
    )
    threads = torch.get_num_threads()
    for name in names:
        peak = contrast_benchmark.peak("one-sided", name, 0, DIMENSION, threads)
        print(f"peak memory above the inputs, {name}: {peak:.0f} MB")


# ---- negatives ----------------------------------------------------------------------------------


def negatives(data: Gowalla, rounds: int) -> None:
    keys = data.train.pair_keys()
    users = keys // data.items
    shuffled = users[torch.randperm(len(users), generator=torch.Generator().manual_seed(0))]
    few = shuffled[:50_000].numpy()
    taken = data.interactions.to_scipy().todok()
    generator = torch.Generator().manual_seed(0)

    def ours(backend: str) -> Callable[[], Tensor]:
        return lambda: sample_negatives(shuffled, data.items, keys, generator, backend=backend)

    for drawn, of in ((ours("native")(), shuffled), (ours("torch")(), shuffled)):
        assert not bool(torch.isin(of * data.items + drawn, keys).any())
    race(
        f"A negative for each of {len(users):,} interactions",
        {
            "dictionary of keys, one by one (LightGCL)": (
                lambda: peers.negatives_by_dictionary(few, data.items, taken),
                len(few),
            ),
            "ours, torch": (ours("torch"), len(users)),
            "ours, native": (ours("native"), len(users)),
        },
        rounds,
        "us/sample",
    )


# ---- ranking ------------------------------------------------------------------------------------


def ranking(data: Gowalla, rounds: int) -> None:
    # Multiples of 1/64, so that products are exact in any order and the ids must be identical.
    users, items = (
        (random(count, DIMENSION, seed=seed) * 32).round().clamp(-127, 127) / 64
        for seed, count in ((1, data.users), (2, data.items))
    )
    offsets = data.train.offsets
    lists = Lists(offsets, data.train.items.long())
    seen = [data.train.history(user).numpy() for user in range(2000)]
    csr = data.interactions.to_scipy()[:256]
    everybody = data.users

    def ours(count: int, backend: str) -> np.ndarray:
        found = rank_items(
            (users[:count], items), k=TOP, excluded=lists.part(0, count), backend=backend
        )
        return found.ids.numpy()

    wanted = ours(everybody, "native")
    assert (peers.rank_by_heap(users[:2000], items, seen, TOP) == wanted[:2000]).all()
    assert (peers.rank_by_argsort(users[:256], items, csr, TOP) == wanted[:256]).all()
    assert (ours(2048, "torch") == wanted[:2048]).all()

    def whole_evaluation() -> dict[str, Tensor]:
        rows, targets = self_and_targets
        places = find_places((users, items), rows, targets, excluded)
        return metrics_per_user(places, everybody, (20, 40))

    self_and_targets = (data.test.users(), data.test.items.long())
    excluded = (data.train.users(), data.train.items.long())
    race(
        f"The best {TOP} of {data.items:,} unseen items for each user, products included",
        {
            "one argsort a user, dense mask (LightGCL)": (
                lambda: peers.rank_by_argsort(users[:256], items, csr, TOP),
                256,
            ),
            "one product and heap a user (SELFRec)": (
                lambda: peers.rank_by_heap(users[:2000], items, seen, TOP),
                2000,
            ),
            "ours, torch": (lambda: ours(2048, "torch"), 2048),
            "ours, native": (lambda: ours(everybody, "native"), everybody),
            "ours, recall and NDCG of all targets instead": (whole_evaluation, everybody),
        },
        rounds,
        "us/user",
    )


# ---- communities --------------------------------------------------------------------------------


def communities(data: Gowalla, rounds: int) -> None:
    nodes, edges = 20_000, 200_000
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(50, (nodes,), generator=generator)
    pairs = torch.randint(nodes, (2, edges), generator=generator)
    pairs = torch.unique(pairs[:, pairs[0] < pairs[1]], dim=1)
    edge_index = torch.cat([pairs, pairs.flip(0)], 1)
    graph = networkx.Graph(pairs.T.tolist())
    graph.add_nodes_from(range(nodes))
    by_node = dict(enumerate(labels.tolist()))
    strength = community_strength(edge_index, labels)
    listed = peers.strength_by_loop(graph, by_node)
    torch.testing.assert_close(torch.tensor(listed), strength, rtol=0, atol=1e-7)
    weight = peers.weights_by_loop(edge_index, by_node, listed)
    keep = community_keep_probability(edge_index, labels, strength[labels], 0.5)
    torch.testing.assert_close(keep, (0.5 * weight / weight.mean()).clamp(0, 1), atol=1e-4, rtol=0)

    def loops() -> Tensor:
        listed = peers.strength_by_loop(graph, by_node)
        return peers.weights_by_loop(edge_index, by_node, listed)

    def ours() -> Tensor:
        strength = community_strength(edge_index, labels)
        return community_keep_probability(edge_index, labels, strength[labels], 0.5)

    race(
        f"Community strength and edge weights of {edge_index.shape[1]:,} directed edges",
        {
            "loops over neighbours and edges (CSGCL)": (loops, 1),
            "loop of the strength alone": (lambda: peers.strength_by_loop(graph, by_node), 1),
            "ours": (ours, 1),
            "ours, strength alone": (lambda: community_strength(edge_index, labels), 1),
        },
        rounds,
        "ms",
    )


PARTS = {
    "propagation": propagation,
    "dropping": dropping,
    "convolution": convolution,
    "loss": loss,
    "negatives": negatives,
    "ranking": ranking,
    "communities": communities,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    root = os.environ.get("GRAPHCL_DATA")
    if root is None:
        raise SystemExit("set GRAPHCL_DATA to a folder with rec/gowalla/train.txt and test.txt")
    data = Gowalla(Path(root) / "rec" / "gowalla")
    assert data.graph.entries == 2 * 810_128
    print(f"torch {torch.__version__}, {arguments.threads} thread(s), {arguments.rounds} rounds")
    for part in arguments.parts:
        PARTS[part](data, arguments.rounds)


if __name__ == "__main__":
    main()
