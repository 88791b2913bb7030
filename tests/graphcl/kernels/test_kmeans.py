"""k-means against the definition of its fixed points, and its promises."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from graphcl.errors import ArgumentError, NonFiniteArgumentError
from graphcl.kernels.kmeans import kmeans


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(count: int = 300, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    labels = torch.arange(count) % 5
    corners = 10 * torch.randn(5, 4, generator=seeded(7), dtype=dtype)
    return corners[labels] + torch.randn(count, 4, generator=seeded(), dtype=dtype), labels


def test_a_fixed_point_of_lloyds_iteration() -> None:
    x, _ = blobs()
    found = kmeans(x, 8, 100, seeded())
    for i in range(len(x)):
        distances = [float((x[i] - c).square().sum()) for c in found.centroids]
        assert distances.index(min(distances)) == int(found.assignment[i])
    for c in range(8):
        members = x[found.assignment == c]
        assert len(members) == int(found.counts[c])
        torch.testing.assert_close(found.centroids[c], members.mean(dim=0))


def test_iterations_never_raise_the_cost() -> None:
    x = torch.randn(200, 3, generator=seeded(3), dtype=torch.float64)
    costs = []
    for iterations in range(8):
        found = kmeans(x, 6, iterations, seeded())
        costs.append(float((x - found.centroids[found.assignment]).square().sum()))
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < 0.9 * costs[0]


@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_well_separated_clusters_are_found(shift: float) -> None:
    # Far from the origin float32 has few digits left for distances that are not centred.
    x, labels = blobs(dtype=torch.float32)
    found = kmeans(x + shift, 5, generator=seeded())
    for c in range(5):
        assert len(set(found.assignment[labels == c].tolist())) == 1
    assert sorted(found.counts.tolist()) == [60] * 5


def test_the_same_generator_gives_the_same_clusters() -> None:
    x = torch.randn(100, 3, generator=seeded(1))
    first, again, other = (kmeans(x, 7, generator=seeded(seed)) for seed in (0, 0, 1))
    assert all(torch.equal(one, same) for one, same in zip(first, again, strict=True))
    assert not torch.equal(first.assignment, other.assignment)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x, _ = blobs()
    whole = kmeans(x, 6, generator=seeded())
    monkeypatch.setattr("graphcl.kernels.kmeans._ENTRIES_PER_CHUNK", 50)
    parts = kmeans(x, 6, generator=seeded())
    assert torch.equal(parts.assignment, whole.assignment)
    torch.testing.assert_close(parts.centroids, whole.centroids)


@pytest.mark.parametrize("size", [0.0, 1e-25, 1.0, 1e25])
def test_more_clusters_than_distinct_rows(size: float) -> None:
    x = size * torch.tensor([[1.0, 0], [1, 0], [0, 2], [0, 2], [1, 0]])
    found = kmeans(x, 4, generator=seeded())
    assert torch.isfinite(found.centroids).all()
    assert int((found.counts > 0).sum()) == (2 if size else 1)
    assert int(found.counts.sum()) == 5
    torch.testing.assert_close(found.centroids[found.assignment], x)


def test_every_row_its_own_cluster() -> None:
    x = torch.randn(30, 3, generator=seeded())
    assert sorted(kmeans(x, 30, generator=seeded()).assignment.tolist()) == list(range(30))


def test_no_rows_no_gradient_and_sixteen_bits() -> None:
    none = kmeans(torch.randn(0, 3), 2)
    assert none.assignment.shape == (0,)
    assert none.counts.tolist() == [0, 0]
    assert not kmeans(torch.randn(9, 3, requires_grad=True), 2).centroids.requires_grad
    assert kmeans(torch.randn(9, 3).half(), 2).centroids.dtype == torch.float32


def test_mistakes_are_named() -> None:
    x = torch.randn(4, 2)
    with pytest.raises(ArgumentError, match="clusters must be at least 1; got 0"):
        kmeans(x, 0)
    with pytest.raises(ArgumentError, match="iterations must be at least 0; got -1"):
        kmeans(x, 2, -1)
    with pytest.raises(ArgumentError, match=r"x must be \(rows, d\)"):
        kmeans(x[0], 2)
    x[1, 1] = math.inf
    with pytest.raises(NonFiniteArgumentError, match="x must be finite; got inf"):
        kmeans(x, 2)
