"""The planted partition: what it promises, and memory that grows with its size only."""

from __future__ import annotations

import pytest
import torch

from graphcl.data.synthetic import planted_partition
from graphcl.errors import ArgumentError


def draw(seed: int = 0, **settings):
    generator = torch.Generator().manual_seed(seed)
    return planted_partition(2000, 20_000, **settings, generator=generator)


def test_edges_are_undirected_distinct_and_as_many_as_asked():
    data = draw()
    assert data.edge_index.shape == (2, 40_000)
    source, target = data.edge_index
    keys = source * 2000 + target
    assert (keys[1:] > keys[:-1]).all()
    assert (source != target).all()
    assert torch.equal((target * 2000 + source).sort().values, keys)
    assert data.x.shape == (2000, 64)
    assert data.validate()


@pytest.mark.parametrize("mixing", [0.0, 0.3, 1.0])
def test_share_of_edges_inside_classes(mixing):
    data = draw(mixing=mixing, classes=5)
    inside = (data.y[data.edge_index[0]] == data.y[data.edge_index[1]]).double().mean()
    assert abs(float(inside) - (1 - mixing + mixing / 5)) < 0.03
    counts = torch.bincount(data.y, minlength=5)
    assert counts.min() > 300


def test_degrees_follow_the_power_law():
    data = draw(exponent=2.2)
    degree = torch.bincount(data.edge_index[0], minlength=2000).double()
    assert degree.max() > 6 * degree.mean()
    # Of a power law with exponent g, (x / 2)^(1 - g) of what is above x / 2 is above x.
    tail = (degree > 80).sum() / (degree > 40).sum()
    assert 0.5**1.2 - 0.15 < tail < 0.5**1.2 + 0.15
    flat = torch.bincount(draw(exponent=50.0).edge_index[0], minlength=2000).double()
    assert flat.max() < 3 * flat.mean()


def test_features_tell_the_classes():
    data = draw(signal=1.0, classes=4)
    centres = torch.stack([data.x[data.y == own].mean(0) for own in range(4)])
    nearest = torch.cdist(data.x, centres).argmin(1)
    assert (nearest == data.y).double().mean() > 0.95
    unclear = draw(signal=0.0, classes=4)
    assert torch.stack([unclear.x[unclear.y == own].mean(0) for own in range(4)]).std() < 0.07


def test_same_seed_same_graph():
    first, second, third = draw(1), draw(1), draw(2)
    assert torch.equal(first.edge_index, second.edge_index)
    assert torch.equal(first.x, second.x)
    assert not torch.equal(first.edge_index, third.edge_index)


def test_small_ones():
    assert planted_partition(1, 0, classes=1).edge_index.shape == (2, 0)
    assert planted_partition(9, 9, classes=9).edge_index.shape == (2, 18)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((10, 12), r"num_edges must be in \[0, 11\]"),
        ((10, -1), "num_edges"),
        ((3, 0, 5), "classes at most num_nodes"),
    ],
)
def test_refusals(arguments, message):
    nodes, edges, *classes = arguments
    with pytest.raises(ArgumentError, match=message):
        planted_partition(nodes, edges, classes=classes[0] if classes else 2)


def test_classes_without_room_for_their_edges_are_refused():
    """Drawing until enough pairs are different would never end."""
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(ArgumentError, match="different edges of 40; more mixing or"):
        planted_partition(20, 40, classes=10, mixing=0.0, generator=generator)
    data = planted_partition(20, 40, classes=10, mixing=1.0, generator=generator)
    assert data.num_edges == 80


@pytest.mark.parametrize("setting", [{"mixing": 1.5}, {"exponent": 2.0}, {"signal": -1.0}])
def test_refused_settings(setting):
    with pytest.raises(ArgumentError, match="mixing must be in"):
        planted_partition(10, 3, classes=2, **setting)
