"""Samples of neighbours and induced subgraphs against sets of edges."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcl.errors import ArgumentError
from graphcl.kernels import compiled
from graphcl.kernels.neighbours import Subgraph, induced_subgraph, sample_neighbours
from graphcl.kernels.spmm import SparseMatrix, spmm
from graphcl.native import load_library, missing_reason, usable_libraries

no_kernels = pytest.mark.skipif(missing_reason() is not None, reason="no compiled kernels")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_graph(nodes: int, edges: int, seed: int = 0) -> SparseMatrix:
    """Directed, with repetitions and self-loops."""
    ends = torch.randint(nodes, (2, edges), generator=generator(seed))
    return SparseMatrix.from_edge_index(ends, shape=nodes, rows="target")


@st.composite
def problems(draw):
    nodes = draw(st.integers(1, 12))
    graph = random_graph(nodes, draw(st.integers(0, 60)), draw(st.integers(0, 999)))
    seeds = draw(st.lists(st.integers(0, nodes - 1), unique=True))
    fan_outs = draw(st.lists(st.integers(-1, 4), max_size=3))
    return graph, torch.tensor(seeds, dtype=torch.int64), fan_outs


def check(graph: SparseMatrix, seeds: torch.Tensor, fan_outs: list[int], found: Subgraph) -> None:
    """Everything that a sample promises but its distribution."""
    nodes, entry = found.nodes, found.entry
    assert torch.equal(nodes[: len(seeds)], seeds)
    assert nodes.unique().numel() == nodes.numel()
    assert entry.unique().numel() == entry.numel()
    source, target = found.edge_index
    assert torch.equal(graph.column[entry], nodes[source])
    assert torch.equal(graph.row[entry], nodes[target])
    # Hop by hop: who was met before is expanded with as many edges as asked for or there are.
    met, frontier = set(seeds.tolist()), seeds.tolist()
    place = 0
    for wanted in fan_outs:
        new = set()
        for node in frontier:
            degree = int(graph.row_pointer[node + 1] - graph.row_pointer[node])
            count = degree if wanted < 0 else min(wanted, degree)
            own = entry[place : place + count]
            assert (graph.row[own] == node).all()
            assert own.tolist() == sorted(own.tolist())
            new |= set(graph.column[own].tolist())
            place += count
        frontier = sorted(new - met)
        met |= new
    assert place == entry.numel()
    assert set(nodes.tolist()) == met


@given(problems(), st.integers(0, 2**30))
@settings(max_examples=100, deadline=None)
def test_samples_are_what_was_asked_for(problem, seed):
    graph, seeds, fan_outs = problem
    found = sample_neighbours(graph, seeds, fan_outs, generator(seed), backend="torch")
    check(graph, seeds, fan_outs, found)


@no_kernels
@pytest.mark.parametrize("name", usable_libraries())
@given(problem=problems(), seed=st.integers(0, 2**30))
@settings(max_examples=60, deadline=None)
def test_compiled_samples_are_the_same(name, problem, seed):
    graph, seeds, fan_outs = problem
    library = load_library(name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "native_library", lambda: library)
        found, wanted = (
            sample_neighbours(graph, seeds, fan_outs, generator(seed), backend=backend)
            for backend in ("native", "torch")
        )
    assert torch.equal(found.nodes, wanted.nodes)
    assert torch.equal(found.edge_index, wanted.edge_index)
    assert torch.equal(found.entry, wanted.entry)


def test_every_set_of_neighbours_is_equally_likely():
    # Nodes 0 .. 3999 with the same five neighbours each: one call, many draws of 2 of 5.
    target = torch.arange(4000).repeat_interleave(5)
    source = 4000 + torch.arange(5).repeat(4000)
    graph = SparseMatrix.from_edge_index(torch.stack([source, target]), shape=4005, rows="target")
    found = sample_neighbours(graph, torch.arange(4000), [2], generator())
    pairs = (graph.column[found.entry] - 4000).view(4000, 2)
    counts = torch.bincount(pairs[:, 0] * 5 + pairs[:, 1], minlength=25).double()
    counts = counts[counts > 0]
    assert counts.numel() == 10
    chi_squared = ((counts - 400) ** 2 / 400).sum()
    assert chi_squared < 27.9  # 0.1 % point with 9 degrees of freedom
    other = sample_neighbours(graph, torch.arange(4000), [2], generator(1))
    same = (other.entry.view(4000, 2) == found.entry.view(4000, 2)).all(1).double().mean()
    assert 0.07 < same < 0.13


@pytest.mark.parametrize("backend", ["torch", "native"])
def test_all_neighbours_give_what_the_whole_graph_gives(backend):
    graph = random_graph(60, 300).normalised("row")
    x = torch.randn(60, 4, generator=generator())
    seeds = torch.tensor([7, 3, 59])
    found = sample_neighbours(graph, seeds, [-1, -1], generator(), backend=backend)
    part = SparseMatrix.from_edge_index(
        found.edge_index,
        graph.value[found.entry],
        shape=found.nodes.numel(),
        rows="target",
    )
    # The third hop is missing, so only the seeds are right after two layers.
    result = spmm(part, spmm(part, x[found.nodes]))[: len(seeds)]
    torch.testing.assert_close(result, spmm(graph, spmm(graph, x))[seeds])


@given(problems())
@settings(max_examples=50, deadline=None)
def test_induced_subgraph(problem):
    graph, nodes, _ = problem
    found = induced_subgraph(graph, nodes)
    inside = set(nodes.tolist())
    wanted = [
        place
        for place in range(graph.entries)
        if int(graph.row[place]) in inside and int(graph.column[place]) in inside
    ]
    assert sorted(found.entry.tolist()) == wanted
    assert torch.equal(found.nodes, nodes)
    source, target = found.edge_index
    assert torch.equal(nodes[source], graph.column[found.entry])
    assert torch.equal(nodes[target], graph.row[found.entry])


def test_same_generator_state_same_sample():
    graph = random_graph(50, 1000)
    first, second, third = (
        sample_neighbours(graph, torch.arange(10), [5, 5], generator(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first.entry, second.entry)
    assert not torch.equal(first.entry, third.entry)


def test_refusals():
    graph = random_graph(4, 8)
    one = torch.tensor([1])
    with pytest.raises(ArgumentError, match="distinct"):
        sample_neighbours(graph, torch.tensor([1, 1]), [2])
    with pytest.raises(ArgumentError, match=r"seeds must lie in \[0, 4\), got 4 to 4"):
        sample_neighbours(graph, torch.tensor([4]), [2])
    with pytest.raises(ArgumentError, match="vector of int64"):
        sample_neighbours(graph, one.int(), [2])
    with pytest.raises(ArgumentError, match="fan_outs"):
        sample_neighbours(graph, one, [-2])
    with pytest.raises(ArgumentError, match="fan_outs"):
        sample_neighbours(graph, one, [1.5])
    rectangle = SparseMatrix.from_edge_index(torch.tensor([[0], [0]]), shape=(2, 3))
    with pytest.raises(ArgumentError, match="square"):
        sample_neighbours(rectangle, one, [1])
    with pytest.raises(ArgumentError, match="distinct"):
        induced_subgraph(graph, torch.tensor([1, 1]))
