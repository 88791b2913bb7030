"""Meta-node losses against loops over nodes and clusters, and the error of the approximation."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from graphcl.errors import ArgumentError, NonFiniteArgumentError
from graphcl.kernels.kmeans import kmeans
from graphcl.losses import (
    BlockContrast,
    InfoNCE,
    MetaNodeInfoNCE,
    block_contrast,
    meta_node_info_nce,
)
from graphcl.losses.meta_node_info_nce import approximation_error
from graphcl.losses.meta_nodes import meta_nodes

TEMPERATURE = 0.4


def test_meta_nodes_are_means_and_sizes(loops: Any) -> None:
    z = loops.random(5, 2)
    centroids, counts = meta_nodes(z, torch.tensor([2, 0, 2, 2, 0]), 4)
    assert counts.tolist() == [2, 0, 3, 0]
    torch.testing.assert_close(centroids[0], (z[1] + z[4]) / 2)
    torch.testing.assert_close(centroids[2], (z[0] + z[2] + z[3]) / 3)
    assert not centroids[[1, 3]].any()


# ------------------------------------------------------------------ MetaNodeInfoNCE


def definition(
    loops: Any,
    z1: Tensor,
    z2: Tensor,
    labels: list[int],
    intra_view: bool,
    symmetric: bool,
) -> list[Tensor]:
    N, d = z1.shape
    units = [[loops.unit(row) for row in z] for z in (z1, z2)]
    values = []
    for i in range(N):
        value = torch.zeros((), dtype=torch.float64)
        directions = [(0, 1), (1, 0)] if symmetric else [(0, 1)]
        for a, b in directions:
            positive = torch.exp(loops.dot(units[a][i], units[b][i]) / TEMPERATURE)
            total = positive
            for rows in [units[b], units[a]] if intra_view else [units[b]]:
                for c in range(max(labels) + 1):
                    members = [j for j in range(N) if labels[j] == c and j != i]
                    if not members:
                        continue
                    mean = [sum(rows[j][k] for j in members) / len(members) for k in range(d)]
                    logit = loops.dot(units[a][i], mean) / TEMPERATURE
                    total = total + len(members) * torch.exp(logit)
            value = value - torch.log(positive / total) / len(directions)
        values.append(value)
    return values


@pytest.mark.parametrize("intra_view", [False, True])
@pytest.mark.parametrize("symmetric", [False, True])
def test_meta_node_info_nce_is_its_definition(
    loops: Any, intra_view: bool, symmetric: bool
) -> None:
    # Cluster 1 is empty and cluster 3 has one node.
    labels = [0, 2, 2, 3, 0, 0]
    loops.agree(
        lambda a, b: meta_node_info_nce(
            a,
            b,
            torch.tensor(labels),
            TEMPERATURE,
            intra_view=intra_view,
            symmetric=symmetric,
            reduction="none",
        ),
        lambda a, b: definition(loops, a, b, labels, intra_view, symmetric),
        *loops.random(2, 6, 3),
    )


@pytest.mark.parametrize("intra_view", [False, True])
@pytest.mark.parametrize("symmetric", [False, True])
def test_a_cluster_per_node_is_info_nce(loops: Any, intra_view: bool, symmetric: bool) -> None:
    z1, z2 = (part.requires_grad_() for part in loops.random(2, 40, 4))
    settings = {"intra_view": intra_view, "symmetric": symmetric}
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    assert approximation_error(z1, z2, order, 0.1, **settings).abs().max() < 1e-12
    exact = InfoNCE(0.1, **settings)(z1, z2)
    got = MetaNodeInfoNCE(0.1, **settings)(z1, z2, order)
    for one, other in zip(
        torch.autograd.grad(got, (z1, z2)), torch.autograd.grad(exact, (z1, z2)), strict=True
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("intra_view", [False, True])
def test_error_is_zero_for_coinciding_members(loops: Any, intra_view: bool) -> None:
    labels = torch.arange(30) % 5
    z1, z2 = loops.random(5, 3)[labels], loops.random(5, 3, seed=1)[labels]
    assert approximation_error(z1, z2, labels, 0.1, intra_view=intra_view).abs().max() < 1e-12


@pytest.mark.parametrize("intra_view", [False, True])
def test_error_shrinks_with_the_number_of_clusters(loops: Any, intra_view: bool) -> None:
    z1, noise = loops.random(2, 200, 3)
    z2 = z1 + 0.3 * noise
    unit = z1 / z1.norm(dim=1, keepdim=True)
    errors = []
    for clusters in (1, 4, 16, 64, 200):
        found = kmeans(unit, clusters, generator=torch.Generator().manual_seed(0))
        error = approximation_error(z1, z2, found.assignment, 0.3, intra_view=intra_view)
        # Jensen: never above the exact value.
        assert error.min() > -1e-12
        errors.append(float(error.mean()))
    assert all(later < 0.6 * earlier for earlier, later in itertools.pairwise(errors))
    # Half a nat with one cluster; no more than rounding with one per node.
    assert errors[0] > 0.5
    assert errors[-1] < 1e-9


def test_error_shrinks_with_the_purity_of_clusters(loops: Any) -> None:
    labels = torch.arange(120) % 6
    directions, noise = torch.eye(6, dtype=torch.float64), loops.random(2, 120, 6)
    z1, z2 = (directions[labels] + 0.1 * part for part in noise)
    errors = []
    for moved in (0, 30, 60, 120):
        # The first nodes are dealt out to clusters that are not theirs.
        wrong = torch.where(torch.arange(120) < moved, labels // 2 + 3 * (labels % 2), labels)
        wrong[:moved] = (torch.arange(moved) // 6) % 6
        errors.append(float(approximation_error(z1, z2, wrong, 0.2).mean()))
    assert errors == sorted(errors)
    assert errors[0] < 0.1 < errors[-1]


@pytest.mark.parametrize("temperature", [1e-3, 10.0])
def test_extreme_temperatures_agree_with_double(loops: Any, temperature: float) -> None:
    labels = torch.arange(50) % 7
    z1, z2 = loops.random(2, 50, 4)
    loss = MetaNodeInfoNCE(temperature, intra_view=True)
    rounded = loss(z1.float(), z2.float(), labels)
    torch.testing.assert_close(rounded.double(), loss(z1, z2, labels), rtol=1e-4, atol=1e-4)


# ------------------------------------------------------------------ BlockContrast


def block_loop(
    loops: Any, z: Tensor, labels: list[int], reached: Tensor, tau: float
) -> list[Tensor]:
    """Kulatilleke 2022: τ multiplies; meta-nodes are sums; own cosines are 0."""
    N, d = z.shape
    blocks = [
        [sum(z[i][k] for i in range(N) if labels[i] == c) for k in range(d)]
        for c in sorted(set(labels))
    ]
    negative = torch.zeros((), dtype=torch.float64)
    for k, block in enumerate(blocks):
        total = torch.zeros((), dtype=torch.float64)
        for other, neighbour in enumerate(blocks):
            cosine = loops.cosine(block, neighbour) if k != other else z.new_zeros(())
            total = total + torch.exp(tau * cosine)
        negative = negative + torch.log(total) / len(blocks)
    values = []
    for i in range(N):
        total = torch.zeros((), dtype=torch.float64)
        for j in range(N):
            cosine = loops.cosine(z[i], z[j]) if i != j else z.new_zeros(())
            total = total + float(reached[i, j]) * torch.exp(tau * cosine)
        values.append(negative - torch.log(total) if reached[i].any() else negative)
    return values


@pytest.mark.parametrize("tau", [0.5, 1.5])
@pytest.mark.parametrize("backend", ["dense", "tiles"])
def test_block_contrast_is_its_definition(loops: Any, tau: float, backend: str) -> None:
    # Cluster 1 is empty; node 3 reaches nothing, node 2 only itself.
    labels = [0, 2, 2, 3, 0, 3]
    reached = loops.random(6, 6, seed=5).clamp_min(0)
    reached[3] = 0
    reached[2] = torch.tensor([0, 0, 0.7, 0, 0, 0])
    rows, columns = reached.nonzero().T
    loops.agree(
        lambda z: block_contrast(
            z,
            torch.tensor(labels),
            torch.stack([rows, columns]),
            reached[rows, columns],
            scale=tau,
            reduction="none",
            backend=backend,
        ),
        lambda z: block_loop(loops, z, labels, reached, tau),
        loops.random(6, 3),
    )


def test_entries_may_repeat_and_be_zero(loops: Any) -> None:
    z, labels = loops.random(4, 3), torch.tensor([0, 0, 1, 1])
    edges = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])
    loss = BlockContrast()
    twice = loss(z, labels, edges.repeat(1, 2))
    torch.testing.assert_close(twice, loss(z, labels, edges, torch.full((4,), 2.0)))
    more = torch.cat([edges, torch.tensor([[0, 2], [2, 0]])], dim=1)
    weight = torch.tensor([1.0, 1, 1, 1, 0, 0])
    torch.testing.assert_close(loss(z, labels, more, weight), loss(z, labels, edges))


def test_long_embeddings_weigh_more_in_a_meta_node(loops: Any) -> None:
    z, labels = loops.random(6, 3), torch.tensor([0, 0, 0, 1, 1, 1])
    edges = torch.arange(6).expand(2, 6)
    stretched = z * torch.tensor([1, 1, 5, 1, 1, 1.0])[:, None]
    assert not torch.allclose(
        block_contrast(z, labels, edges), block_contrast(stretched, labels, edges)
    )
    # The length of all embeddings together does not matter.
    torch.testing.assert_close(
        block_contrast(1e8 * z, labels, edges), block_contrast(z, labels, edges)
    )


def test_one_cluster_has_nothing_to_be_far_from(loops: Any) -> None:
    z, edges = loops.random(4, 3), torch.arange(4).expand(2, 4)
    # Only own pairs: both logarithms are of e^0.
    assert float(block_contrast(z, torch.zeros(4, dtype=torch.int64), edges)) == 0


def test_mistakes_are_named() -> None:
    z, labels, edges = torch.randn(4, 2), torch.tensor([0, 1, 2, 0]), torch.zeros(2, 3).long()
    with pytest.raises(ArgumentError, match=r"assignment must be int64 of shape \(4,\)"):
        MetaNodeInfoNCE()(z, z, labels[:3])
    with pytest.raises(ArgumentError, match=r"at most 1; got values in 0 \.\. 2"):
        MetaNodeInfoNCE(clusters=2)(z, z, labels)
    with pytest.raises(ArgumentError, match="clusters must be an integer of at least 1; got 0"):
        MetaNodeInfoNCE(clusters=0)(z, z, labels)
    with pytest.raises(ArgumentError, match=r"edge_index must lie in 0 \.\. 3; got values in 0"):
        BlockContrast()(z, labels, edges + torch.tensor([[0], [4]]))
    with pytest.raises(ArgumentError, match=r"edge_weight must be at least 0; got -1\.0"):
        BlockContrast()(z, labels, edges, torch.tensor([1.0, -1, 0]))
    with pytest.raises(NonFiniteArgumentError, match="edge_weight must be finite; got inf"):
        BlockContrast()(z, labels, edges, torch.tensor([1.0, math.inf, 0]))
    with pytest.raises(ArgumentError, match="scale must be a finite number above 0; got 0"):
        BlockContrast(scale=0)
