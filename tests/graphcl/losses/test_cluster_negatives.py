"""ClusterNegatives against its definition, and the constant it must not add."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.losses import ClusterNegatives, cluster_negatives, info_nce

CLUSTERS = torch.tensor([0, 2, 0, -1, 0, 2, 1])


def definition(
    loops: Any,
    z1: Tensor,
    z2: Tensor,
    centroids: Tensor,
    *,
    temperature: float,
    centroid_weight: float,
    shared_centroids: bool,
    lower_margin: float,
    upper_margin: float,
    margin_weight: float,
    symmetric: bool,
) -> list[Tensor]:
    count, centroids = len(z1), centroids.detach()
    values = []
    for i in range(count):
        directions = []
        for own, other in ((z1, z2), (z2, z1)) if symmetric else ((z1, z2),):
            hard = []
            for k in range(count):
                others = [c for c in range(len(centroids)) if c != int(CLUSTERS[k])]
                hard.append(
                    max(others, key=lambda c: float(loops.cosine(own[k].detach(), centroids[c])))
                )
            hard = hard if shared_centroids else [hard[i]]
            positive = loops.cosine(own[i], other[i])
            logits = [loops.cosine(own[i], other[j]) / temperature for j in range(count)]
            total = sum(value.exp() for value in logits)
            for c in hard:
                push = (loops.cosine(own[i], centroids[c]) / temperature).exp()
                total = total + centroid_weight * push
            value = total.log() - positive / temperature
            same = [j for j in range(count) if j != i and CLUSTERS[j] == CLUSTERS[i] >= 0]
            for j in same:
                gap = loops.cosine(own[i], other[j]) - positive
                outside = (gap + lower_margin).clamp(min=0) + (-gap - upper_margin).clamp(min=0)
                value = value + margin_weight * outside / len(same)
            directions.append(value)
        values.append(sum(directions) / len(directions))
    return values


@pytest.mark.parametrize("backend", ["dense", "tiles"])
@pytest.mark.parametrize("shared_centroids", [False, True])
@pytest.mark.parametrize("symmetric", [False, True])
def test_matches_the_definition(
    symmetric: bool, shared_centroids: bool, backend: str, loops: Any
) -> None:
    settings = {
        "temperature": 0.3,
        "centroid_weight": 1.7,
        "shared_centroids": shared_centroids,
        "lower_margin": 0.2,
        "upper_margin": 0.5,
        "margin_weight": 0.8,
        "symmetric": symmetric,
    }
    centroids = loops.random(4, 3, seed=5)
    loops.agree(
        lambda z1, z2: cluster_negatives(
            z1, z2, centroids, CLUSTERS, reduction="none", backend=backend, **settings
        ),
        lambda z1, z2: definition(loops, z1, z2, centroids, **settings),
        loops.random(7, 3),
        loops.random(7, 3, seed=1),
    )


def test_without_centroids_and_margin_it_is_info_nce(loops: Any) -> None:
    z1, z2 = loops.random(7, 3), loops.random(7, 3, seed=1)
    expected = info_nce(z1, z2, 0.1, reduction="none")
    for centroids, weights in (
        (loops.random(4, 3), {"centroid_weight": 0.0, "margin_weight": 0.0}),
        (loops.random(0, 3), {"margin_weight": 0.0}),
    ):
        nothing = torch.full((7,), -1)
        clusters = CLUSTERS if len(centroids) else nothing
        actual = cluster_negatives(z1, z2, centroids, clusters, 0.1, reduction="none", **weights)
        assert torch.allclose(actual, expected, rtol=1e-12)


def test_one_cluster_has_no_other_centroid(loops: Any) -> None:
    z1, z2 = loops.random(7, 3), loops.random(7, 3, seed=1)
    clusters = torch.zeros(7, dtype=torch.int64)
    for shared in (False, True):
        actual = cluster_negatives(
            z1, z2, loops.random(1, 3), clusters, 0.1, margin_weight=0.0, shared_centroids=shared
        )
        assert float(actual) == pytest.approx(float(info_nce(z1, z2, 0.1)))


def test_nodes_alone_in_their_cluster_add_no_margin(loops: Any) -> None:
    z1, z2 = loops.random(7, 3), loops.random(7, 3, seed=1)
    centroids = loops.random(7, 3, seed=2)
    values = [
        cluster_negatives(z1, z2, centroids, torch.arange(7), 0.1, margin_weight=weight)
        for weight in (0.0, 100.0)
    ]
    assert torch.equal(*values)


def test_false_negatives_between_the_margins_cost_nothing() -> None:
    # Positives at cosine 1; the other node of the cluster at the cosine 1 + gap.
    centroids = torch.tensor([[0.0, 1.0], [0.0, -1.0]], dtype=torch.float64)
    clusters = torch.zeros(2, dtype=torch.int64)
    settings = {"centroid_weight": 0.0, "margin_weight": 1.0}
    for gap, cost in ((-0.1, 0.1), (-0.2, 0.0), (-0.35, 0.0), (-0.5, 0.0), (-0.8, 0.3)):
        angle = math.acos(1 + gap)
        z = torch.tensor([[1.0, 0.0], [math.cos(angle), math.sin(angle)]], dtype=torch.float64)
        value = cluster_negatives(z, z, centroids, clusters, 0.1, **settings)
        assert float(value - info_nce(z, z, 0.1)) == pytest.approx(cost, abs=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z, c: ClusterNegatives(margin_weight=-1.0), "margin_weight must be a finite"),
        (lambda z, c: ClusterNegatives(lower_margin=0.6), "upper_margin must be at least lower"),
        (lambda z, c: cluster_negatives(z, z, c[:2], CLUSTERS), "below the number of centroids, 2"),
        (
            lambda z, c: cluster_negatives(z, z, c[:, :2], CLUSTERS),
            r"centroids must be \(rows, 3\)",
        ),
        (lambda z, c: cluster_negatives(z, z, c, CLUSTERS[:3]), r"assignments must have shape"),
        (lambda z, c: cluster_negatives(z, z, c, CLUSTERS * 1.0), "integer dtype"),
        (lambda z, c: cluster_negatives(z, z, c / 0, CLUSTERS), "centroids must be finite"),
    ],
)
def test_wrong_arguments_are_named(call: Callable[[Tensor, Tensor], object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call(torch.ones(7, 3), torch.ones(3, 3))
