"""Batches of a large graph, each a PyG `Data` of its own.

They have the fields of PyG's `NeighborLoader`, which may take their place where pyg-lib is
installed: all node and edge attributes, `n_id` and `e_id`, the nodes' and edges' numbers in the
whole graph, and `batch_size`, the leading nodes that the loss is for. Batches follow the generator
that is passed in, and nothing else.

Where neighbours are sampled, `whole_degree` and `sampled_degree` (n,) say how many incoming edges a
node has in the whole graph and in the batch, so that a method can weigh those that it got.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.neighbours import Subgraph, induced_subgraph, sample_neighbours
from graphcl.kernels.sparse_matrix import SparseMatrix


class NeighbourBatches:
    """Every node once an epoch, with a sample of its neighbourhood (Hamilton et al. 2017).

    Args:
        data: PyG `Data` with `edge_index`.
        batch_size: nodes in a batch that the loss is for, at least 1.
        fan_outs: neighbours that each hop takes of a node; as many hops as the encoder has layers.

    Raises:
        ArgumentError: `batch_size` below 1.
    """

    def __init__(self, data: Any, batch_size: int, fan_outs: Sequence[int]) -> None:
        _check_size(batch_size)
        self.data, self.batch_size, self.fan_outs = data, batch_size, tuple(fan_outs)
        self.graph = incoming(data)

    def __len__(self) -> int:
        return -(-self.graph.shape[0] // self.batch_size)

    def epoch(self, generator: torch.Generator) -> Iterator[Any]:
        """All nodes in random order; the last batch may be smaller."""
        size = self.graph.shape[0]
        order = torch.randperm(size, generator=generator, device=generator.device)
        for seeds in order.to(self.graph.device).split(self.batch_size):
            sample = sample_neighbours(self.graph, seeds, self.fan_outs, generator)
            batch = as_data(self.data, self.graph, sample, seeds.numel())
            pointer, nodes = self.graph.row_pointer, sample.nodes
            batch.whole_degree = pointer[nodes + 1] - pointer[nodes]
            batch.sampled_degree = torch.bincount(sample.edge_index[1], minlength=nodes.numel())
            yield batch


class ClusterBatches:
    """Every node once an epoch, clusters together, with all edges inside the batch.

    Cluster-GCN (Chiang et al., KDD 2019, arXiv 1905.07953): in every epoch clusters are joined at
    random. Nodes are laid out cluster by cluster and cut into batches of one size, so that a large
    cluster is cut at random. The loss is for all nodes of a batch.

    Args:
        data: PyG `Data` with `edge_index`.
        clusters: (N,) integers; `graphcl.kernels.communities.detect_communities` finds some.
        batch_size: nodes in a batch, at least 1.

    Raises:
        ArgumentError: `batch_size` below 1, or another number of clusters than nodes.
    """

    def __init__(self, data: Any, clusters: Tensor, batch_size: int) -> None:
        _check_size(batch_size)
        if clusters.shape != (data.num_nodes,) or clusters.is_floating_point():
            raise ArgumentError(
                f"clusters must be integers of shape ({data.num_nodes},), got {clusters.dtype} "
                f"of shape {tuple(clusters.shape)}"
            )
        self.data, self.batch_size = data, batch_size
        self.clusters = clusters.unique(return_inverse=True)[1]
        self.graph = incoming(data)

    def __len__(self) -> int:
        return -(-self.graph.shape[0] // self.batch_size)

    def epoch(self, generator: torch.Generator) -> Iterator[Any]:
        """All nodes, clusters in random order; the last batch may be smaller."""
        count = int(self.clusters.max()) + 1 if self.clusters.numel() else 0
        source = generator.device
        place = torch.randperm(count, generator=generator, device=source)
        within = torch.rand(
            self.clusters.numel(), generator=generator, dtype=torch.float64, device=source
        )
        device = self.graph.device
        order = torch.argsort(place.to(device)[self.clusters] + within.to(device))
        for nodes in order.split(self.batch_size):
            sample = induced_subgraph(self.graph, nodes)
            yield as_data(self.data, self.graph, sample, nodes.numel())


def incoming(data: Any) -> SparseMatrix:
    """The matrix of a graph's edges, rows are targets; its values number the edges."""
    # float64 holds whole numbers up to 2^53.
    number = torch.arange(
        data.edge_index.size(1), dtype=torch.float64, device=data.edge_index.device
    )
    return SparseMatrix.from_edge_index(
        data.edge_index, number, shape=data.num_nodes, rows="target"
    )


def as_data(data: Any, graph: SparseMatrix, sample: Subgraph, batch_size: int) -> Any:
    """The sample as PyG `Data`, with what `data` knows of its nodes and edges."""
    from torch_geometric.data import Data

    batch = Data(
        edge_index=sample.edge_index,
        n_id=sample.nodes,
        e_id=graph.value[sample.entry].long(),
        batch_size=batch_size,
        num_nodes=sample.nodes.numel(),
    )
    for name, value in data.to_dict().items():
        if name == "edge_index" or not isinstance(value, Tensor):
            continue
        if data.is_node_attr(name):
            batch[name] = value[batch.n_id]
        elif data.is_edge_attr(name):
            batch[name] = value[batch.e_id]
    return batch


def _check_size(batch_size: int) -> None:
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ArgumentError(f"batch_size must be an integer of at least 1, got {batch_size!r}")
