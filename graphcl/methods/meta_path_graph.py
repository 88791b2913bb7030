"""What methods on heterogeneous graphs read: features, meta-path neighbours, meta-path contexts."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from graphcl.data.place import data_device
from graphcl.errors import DataError
from graphcl.kernels.meta_paths import path_sim_neighbours
from graphcl.kernels.sparse_matrix import SparseMatrix
from graphcl.kernels.spmm import spmm
from graphcl.methods.features import FeatureScaling, prepare_features


@dataclass(frozen=True)
class Context:
    """The nodes of one type that a meta-path passes on its way, for every target node."""

    kind: str
    steps: tuple[SparseMatrix, ...]
    """The relations from the target type to these nodes."""
    inverse_count: Tensor
    """(N, 1), one over the number of paths to them; 0 where there is none."""

    def mean(self, x: Tensor) -> Tensor:
        """(N, d) mean of x (nodes of `kind`, d) over the paths; 0 where there is none."""
        # Step by step from the far end: the product of the steps can be dense.
        for step in reversed(self.steps):
            x = spmm(step, x)
        return x * self.inverse_count


@dataclass(frozen=True)
class MetaPath:
    """One meta-path from the target type back to it."""

    name: str
    neighbours: SparseMatrix
    """(N, N) path counts of the nearest nodes by PathSim."""
    matrix: SparseMatrix
    """`neighbours` as a GCN propagates over them."""
    contexts: tuple[Context, ...]


@dataclass(frozen=True)
class MetaPathGraph:
    """A heterogeneous graph seen from its target nodes."""

    target: str
    features: dict[str, Tensor | SparseMatrix]
    """Of the target type and of every type on a meta-path; one-hot for a type without."""
    paths: tuple[MetaPath, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Node types with features, the target first."""
        return tuple(self.features)

    def mean_matrix(self) -> SparseMatrix:
        """The mean of the propagation matrices of all meta-paths."""
        count = len(self.paths)
        size = self.features[self.target].shape[0]
        entries = [torch.stack([path.matrix.row, path.matrix.column]) for path in self.paths]
        values = [path.matrix.value / count for path in self.paths]
        return SparseMatrix.from_edge_index(
            torch.cat(entries, dim=1), torch.cat(values), shape=size
        )


def meta_path_graph(
    data: Any, neighbours: Sequence[int], *, feature_scaling: FeatureScaling
) -> MetaPathGraph:
    """Features, neighbours and contexts of `data`, the `HeteroData` that the task gives.

    Args:
        data: with `target`, `meta_paths` and relations.
        neighbours: how many of the most similar nodes stay, for each meta-path.
        feature_scaling: what the rows of the features are divided by.
    """
    # A choice among equally similar neighbours belongs to the graph, not to a run.
    generator = torch.Generator().manual_seed(0)
    paths = tuple(
        _meta_path(data, name, kinds, count, generator)
        for (name, kinds), count in zip(data.meta_paths.items(), neighbours, strict=True)
    )
    features = {
        kind: node_features(data, kind, feature_scaling)
        for kind in dict.fromkeys([data.target, *itertools.chain(*data.meta_paths.values())])
    }
    return MetaPathGraph(data.target, features, paths)


def node_features(data: Any, kind: str, scaling: FeatureScaling) -> Tensor | SparseMatrix:
    """Features (N, F) of the nodes of one type; a type without is one-hot."""
    x = data[kind].get("x")
    if x is not None:
        return prepare_features(x, scaling)
    count = int(data[kind].num_nodes)
    numbers = torch.arange(count, device=data_device(data))
    return SparseMatrix.from_edge_index(numbers.expand(2, count), shape=count)


def relation_matrix(data: Any, source: str, target: str) -> SparseMatrix:
    """(sources, targets) 0/1 matrix of the relation of two node types, stored either way round.

    Raises:
        DataError: there is no such relation.
    """
    shape = (int(data[source].num_nodes), int(data[target].num_nodes))
    for first, name, second in data.edge_types:
        edges = data[first, name, second].edge_index
        if (first, second) == (source, target):
            return SparseMatrix.from_edge_index(edges, shape=shape)
        if (first, second) == (target, source):
            return SparseMatrix.from_edge_index(edges.flip(0), shape=shape)
    raise DataError(f"the graph has no relation of {source} and {target}")


def _meta_path(
    data: Any, name: str, kinds: Sequence[str], count: int, generator: torch.Generator
) -> MetaPath:
    steps = [relation_matrix(data, *pair) for pair in itertools.pairwise(kinds)]
    neighbours = path_sim_neighbours(steps, count, generator)
    return MetaPath(
        name,
        neighbours,
        neighbours.normalised("gcn", self_loops=True),
        tuple(_contexts(kinds, steps)),
    )


def _contexts(kinds: Sequence[str], steps: Sequence[SparseMatrix]) -> Iterable[Context]:
    for length in range(1, len(steps)):
        before = tuple(steps[:length])
        counts = torch.ones(before[-1].shape[1], 1, device=before[-1].device)
        for step in reversed(before):
            counts = spmm(step, counts)
        inverse = torch.where(counts > 0, 1 / counts.clamp_min(1), 0.0)
        yield Context(kinds[length], before, inverse)
