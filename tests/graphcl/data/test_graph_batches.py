"""Batches of a graph: every node once, right edges, everything by the generator."""

from __future__ import annotations

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.utils import is_undirected

from graphcl.data.graph_batches import ClusterBatches, NeighbourBatches
from graphcl.data.synthetic import planted_partition
from graphcl.errors import ArgumentError

LOADERS = ("neighbours", "clusters")


def example(weighted: bool = False) -> Data:
    data = planted_partition(
        103, 400, classes=4, features=3, generator=torch.Generator().manual_seed(0)
    )
    if weighted:
        data.edge_weight = torch.rand(800, generator=torch.Generator().manual_seed(1))
    return data


def loader(name: str, data: Data, batch_size: int = 20):
    if name == "neighbours":
        return NeighbourBatches(data, batch_size, (3, 2))
    return ClusterBatches(data, data.y, batch_size)


def epoch(name: str, data: Data, seed: int = 0) -> list[Data]:
    return list(loader(name, data).epoch(torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("name", LOADERS)
def test_every_node_once(name):
    data = example()
    batches = epoch(name, data)
    assert len(batches) == len(loader(name, data)) == 6
    seeds = torch.cat([batch.n_id[: batch.batch_size] for batch in batches])
    assert torch.equal(seeds.sort().values, torch.arange(103))


@pytest.mark.parametrize("name", LOADERS)
def test_edges_features_and_weights_are_those_of_the_graph(name):
    data = example(weighted=True)
    dense = torch.zeros(103, 103)
    dense[data.edge_index[0], data.edge_index[1]] = data.edge_weight
    for batch in epoch(name, data):
        assert batch.validate()
        assert torch.equal(batch.x, data.x[batch.n_id])
        assert torch.equal(batch.y, data.y[batch.n_id])
        source, target = batch.n_id[batch.edge_index]
        assert torch.equal(batch.edge_weight, dense[source, target])
        assert (batch.edge_weight > 0).all()


def test_clusters_stay_together_with_all_their_edges():
    data = example()
    batches = list(
        ClusterBatches(data, torch.arange(103) // 10, 30).epoch(torch.Generator().manual_seed(3))
    )
    for batch in batches:
        assert is_undirected(batch.edge_index, num_nodes=batch.num_nodes)
        inside = torch.isin(data.edge_index, batch.n_id).all(0)
        assert int(inside.sum()) == batch.edge_index.shape[1]
    parts = [len((batch.n_id // 10).unique()) for batch in batches]
    assert max(parts) <= 5


def test_neighbours_lead_to_the_seeds():
    data = example()
    for batch in epoch("neighbours", data):
        degree = torch.bincount(batch.edge_index[1], minlength=batch.num_nodes)
        whole = torch.bincount(data.edge_index[1], minlength=103)[batch.n_id]
        seeds = slice(0, batch.batch_size)
        assert torch.equal(degree[seeds], whole[seeds].clamp(max=3))
        assert (degree[batch.batch_size :] <= 2).all()


@pytest.mark.parametrize("name", LOADERS)
def test_the_generator_decides(name):
    data = example()
    first, second, third = (epoch(name, data, seed) for seed in (0, 0, 1))
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.n_id, other.n_id)
        assert torch.equal(one.edge_index, other.edge_index)
    assert not torch.equal(first[0].n_id[:20], third[0].n_id[:20])


def test_a_graph_without_edges():
    data = Data(x=torch.ones(3, 1), edge_index=torch.empty(2, 0, dtype=torch.long), num_nodes=3)
    for batches in (
        NeighbourBatches(data, 2, (2,)),
        ClusterBatches(data, torch.zeros(3).long(), 2),
    ):
        sizes = [
            (batch.num_nodes, batch.edge_index.shape[1])
            for batch in batches.epoch(torch.Generator().manual_seed(0))
        ]
        assert sizes == [(2, 0), (1, 0)]


def test_refusals():
    data = example()
    with pytest.raises(ArgumentError, match="batch_size must be an integer of at least 1, got 0"):
        NeighbourBatches(data, 0, (2,))
    with pytest.raises(ArgumentError, match="clusters must be integers"):
        ClusterBatches(data, data.y.float(), 2)
    with pytest.raises(ArgumentError, match="clusters must be integers"):
        ClusterBatches(data, data.y[1:], 2)
