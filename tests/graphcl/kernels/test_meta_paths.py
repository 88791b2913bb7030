"""Path counts and PathSim's nearest neighbours against the definition on dense matrices."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels import meta_paths
from graphcl.kernels.meta_paths import count_paths, path_sim_neighbours
from graphcl.kernels.sparse_matrix import SparseMatrix


def sparse(dense: Tensor) -> SparseMatrix:
    edges = dense.nonzero().T
    return SparseMatrix.from_edge_index(edges, dense[edges[0], edges[1]], shape=tuple(dense.shape))


def random_steps(seed: int, sizes: list[int], density: float = 0.3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        (torch.rand(a, b, generator=generator, dtype=torch.float64) < density).double()
        for a, b in itertools.pairwise(sizes)
    ]


def path_sim(counts: Tensor) -> Tensor:
    """Definition, entry by entry; -1 where no path is, infinity for a node with itself."""
    size = len(counts)
    similarity = torch.full((size, size), -1.0, dtype=torch.float64)
    for i in range(size):
        for j in range(size):
            if counts[i, j] > 0:
                similarity[i, j] = 2 * counts[i, j] / (counts[i, i] + counts[j, j])
        if counts[i, i] > 0:
            similarity[i, i] = torch.inf
    return similarity


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    middle=st.lists(st.integers(1, 7), min_size=0, max_size=2),
    size=st.integers(1, 9),
    count=st.integers(1, 10),
    entries=st.integers(1, 30),
)
def test_neighbours_are_the_most_similar(seed, middle, size, count, entries) -> None:
    half = random_steps(seed, [size, *middle, 5])
    dense = [*half, *(step.T for step in reversed(half))]
    steps = [sparse(step) for step in dense]
    counts = torch.linalg.multi_dot(dense)
    torch.testing.assert_close(count_paths(steps).to_dense(), counts)
    with pytest.MonkeyPatch.context() as patch:
        # Blocks of a row or a few: the result must not depend on where they end.
        patch.setattr(meta_paths, "_ENTRIES_PER_BLOCK", entries)
        found = path_sim_neighbours(steps, count, torch.Generator().manual_seed(seed))
    kept = found.to_dense()
    torch.testing.assert_close(kept, torch.where(kept > 0, counts, 0.0))
    similarity = path_sim(counts)
    for row in range(size):
        inside, present = kept[row] > 0, counts[row] > 0
        assert int(inside.sum()) == min(count, int(present.sum()))
        left_out = similarity[row][present & ~inside]
        if len(left_out):
            assert similarity[row][inside].min() >= left_out.max()


@pytest.mark.parametrize("length", [1, 3])
def test_odd_paths_too(length: int) -> None:
    dense = random_steps(3, [6] * (length + 1))
    counts = torch.linalg.multi_dot(dense) if length > 1 else dense[0]
    found = path_sim_neighbours([sparse(step) for step in dense], 6)
    torch.testing.assert_close(found.to_dense(), counts)


def test_equals_are_chosen_by_the_generator_and_spread() -> None:
    # One subject for all: every pair has one path and similarity 1.
    one = sparse(torch.ones(200, 1))
    first, again, other = (
        path_sim_neighbours([one, one.T], 5, torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    )
    assert torch.equal(first.column, again.column)
    assert not torch.equal(first.column, other.column)
    # Every node is its own neighbour; the four others are spread over all nodes.
    chosen = torch.bincount(first.column, minlength=200)
    assert int(chosen.min()) >= 1
    assert int(chosen.max()) <= 20
    assert bool((first.to_dense().diagonal() == 1).all())


def test_no_edges_no_neighbours() -> None:
    nothing = sparse(torch.zeros(4, 3))
    assert path_sim_neighbours([nothing, nothing.T], 2).entries == 0
    empty = SparseMatrix.from_edge_index(torch.zeros(2, 0, dtype=torch.long), shape=(0, 3))
    assert path_sim_neighbours([empty, empty.T], 2).shape == (0, 0)


def test_misuse_is_named() -> None:
    step = sparse(torch.ones(3, 2))
    with pytest.raises(ArgumentError, match="at least one step"):
        count_paths([])
    with pytest.raises(ArgumentError, match=r"follow each other; got shapes \(3, 2\) and \(3, 2\)"):
        count_paths([step, step])
    with pytest.raises(ArgumentError, match="lead back to the 3 nodes"):
        path_sim_neighbours([step], 1)
    with pytest.raises(ArgumentError, match="count must be at least 1; got 0"):
        path_sim_neighbours([step, step.T], 0)
    with pytest.raises(ArgumentError, match=r"at least 0; got -1"):
        path_sim_neighbours([sparse(-torch.ones(3, 3))], 1)
