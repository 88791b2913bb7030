"""What methods with one encoder on one graph share: features, a random view, embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch_geometric.utils import is_undirected

from graphcl.config import Count
from graphcl.data.graph_batches import ClusterBatches, NeighbourBatches
from graphcl.encoders import GCN, gcn_matrix
from graphcl.errors import DataError
from graphcl.kernels.communities import detect_communities
from graphcl.kernels.sparse_matrix import SparseMatrix
from graphcl.methods.contract import Method, MethodConfig, PortableEncoder
from graphcl.methods.features import prepare_features
from graphcl.methods.portable import portable_gcn
from graphcl.views import drop_edges, mask_features


@dataclass(frozen=True)
class View:
    """One draw of a view, as an encoder takes it."""

    features: Any
    """(N, F), dense or a `SparseMatrix`."""
    matrix: Any
    """Propagation matrix (N, N)."""
    edge_index: Tensor
    """The edges (2, E') that are in the view, without the self-loops of the matrix."""
    nodes: Tensor | None = None
    """(N,) numbers of a batch's nodes in the whole graph; None for the whole graph."""


class GraphMethod(Method):
    """Prepares the features once; embeddings are those of `self.encoder` on the whole graph.

    A subclass has `feature_scaling` in its Config and sets `self.encoder`.

    Raises:
        DataError: the graph has no nodes.
    """

    tasks: ClassVar[tuple[str, ...]] = ("node-classification", "link-prediction", "clustering")
    encoder: Any

    def __init__(self, config: Any, data: Any) -> None:
        super().__init__(config, data)
        if data.num_nodes == 0:
            raise DataError("the graph has no nodes, so there is nothing to learn from")
        self.features = prepare_features(data.x, config.feature_scaling)
        # Data sets are undirected; a graph of one's own need not be.
        self.undirected = bool(is_undirected(data.edge_index, num_nodes=data.num_nodes))
        self._matrix: SparseMatrix | None = None

    @torch.no_grad()
    def embed(self, data: Any) -> Tensor:
        """Encoder output (N, d) on the un-augmented graph."""
        embedding: Tensor = self.encoder(self.features_of(data), self.matrix_of(data))
        return embedding

    def portable_encoder(self) -> PortableEncoder | None:
        """The encoder on raw features and edges, where it is a GCN."""
        if not isinstance(self.encoder, GCN):
            return None
        return portable_gcn(self.encoder, self.data, scaling=self.config.feature_scaling)

    def features_of(self, data: Any) -> Tensor | SparseMatrix:
        """The features of `data` as the encoder takes them."""
        if data.x is self.data.x:
            return self.features
        return prepare_features(data.x, self.config.feature_scaling)

    def matrix_of(self, data: Any) -> SparseMatrix:
        """The propagation matrix of the un-augmented graph; that of the training data is kept."""
        if data.edge_index is not self.data.edge_index:
            return gcn_matrix(data.edge_index, data.x.shape[0])
        if self._matrix is None:
            self._matrix = self.propagation(data.edge_index, data)
        return self._matrix

    def propagation(
        self, edge_index: Tensor, data: Any, *, undirected: bool = True
    ) -> SparseMatrix:
        """The propagation matrix of some edges of `data`, in both directions if it has both.

        `undirected=False` says that the two directions of an edge need not be there together,
        as they need not in a batch.
        """
        if data.get("whole_degree") is not None:
            return sampled_gcn_matrix(edge_index, data.whole_degree, data.sampled_degree)
        whole = self.undirected and data.get("n_id") is None
        return gcn_matrix(edge_index, data.x.shape[0], undirected=undirected and whole)

    def random_view(
        self, data: Any, edge_rate: float, feature_rate: float, generator: torch.Generator
    ) -> View:
        """The graph with random edges dropped and feature columns masked.

        The two corruptions of GRACE (Zhu et al. 2020, section 3.2.1), what most two-view methods
        draw in every epoch; both directions of an edge together, or with the setting
        `directed_views` apart, which the Config has as a `RandomViewsConfig`.
        """
        together = not self.config.directed_views
        edge_index, _ = drop_edges(
            data.edge_index, edge_rate,
            num_nodes=data.num_nodes, generator=generator, keep_undirected=together,
        )  # fmt: skip
        x, _ = mask_features(self.features_of(data), feature_rate, generator=generator)
        matrix = self.propagation(edge_index, data, undirected=together)
        return View(x, matrix, edge_index, data.get("n_id"))


class RandomViewsConfig(MethodConfig):
    """Settings of methods whose views are the graph less some edges."""

    directed_views: bool = False
    """Drop the two directions of an edge apart, as the authors' code does."""


class BatchedConfig(MethodConfig):
    """Settings of methods that may be trained on batches of a large graph."""

    batch_size: Count = 0
    """Nodes that the loss of a step compares; 0 compares all of the graph in one step."""
    sampler: Literal["neighbours", "clusters"] = "neighbours"
    """What else is in a batch: sampled neighbours of its nodes, weighed by how many they stand for,
    or nothing, its nodes being communities joined at random (see `graphcl.data.graph_batches`)."""
    fan_out: int = Field(10, ge=1)
    """Neighbours sampled of a node for each layer of the encoder."""


class TwoViewMethod(GraphMethod):
    """Draws two views of the graph, encodes both and compares the embeddings.

    A subclass implements `draw_views`, `compare` and `drop_probability`, and its Config is a
    `BatchedConfig`. Methods that act on any of them (`graphcl.methods.pot`) call the same three.

    With a `batch_size` the views are those of a batch, and the loss is exact among its nodes:
    they are compared with each other instead of with all of the graph.
    """

    def __init__(self, config: Any, data: Any) -> None:
        super().__init__(config, data)
        self._batches: NeighbourBatches | ClusterBatches | None = None

    def batches(self, generator: torch.Generator) -> Iterator[Any]:
        """The whole graph, or every node once in batches."""
        if self.config.batch_size == 0:
            yield self.data
            return
        if self._batches is None:
            self._batches = self._make_batches(self.graph())
        yield from self._batches.epoch(generator)

    def graph(self) -> Any:
        """The graph that batches are taken from."""
        return self.data

    def _make_batches(self, data: Any) -> NeighbourBatches | ClusterBatches:
        config = self.config
        if config.sampler == "neighbours":
            fan_outs = [config.fan_out] * len(self.encoder.weights)
            return NeighbourBatches(data, config.batch_size, fan_outs)
        clusters = detect_communities(data.edge_index, data.num_nodes, method="louvain")
        return ClusterBatches(data, clusters, config.batch_size)

    def draw_views(self, data: Any, generator: torch.Generator) -> tuple[View, View]:
        """Two fresh views of `data`."""
        raise NotImplementedError(f"{type(self).__name__} does not define draw_views()")

    def compare(self, z1: Tensor, z2: Tensor, views: tuple[View, View]) -> dict[str, Tensor]:
        """`total` and its parts for the encoder's outputs (N, d) on both views."""
        raise NotImplementedError(f"{type(self).__name__} does not define compare()")

    def drop_probability(self) -> tuple[Tensor | float, Tensor | float]:
        """For either view, the probability with which it lacks an edge: one for all, or (E,)."""
        raise NotImplementedError(f"{type(self).__name__} does not define drop_probability()")

    def both_directions(self) -> tuple[bool, bool]:
        """For either view, whether every edge in it is there in both directions."""
        together = self.undirected and not getattr(self.config, "directed_views", False)
        return together, together

    def loss(self, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        """The comparison of two fresh views of the whole graph, or of a batch."""
        first, second = self.draw_views(batch, generator)
        z1, z2 = self.encode_view(first, generator), self.encode_view(second, generator)
        compared = batch.get("batch_size")
        if compared is not None:
            # The other nodes were there for their messages only.
            z1, z2 = z1[:compared], z2[:compared]
            first, second = of_first(first, compared), of_first(second, compared)
        return self.compare(z1, z2, (first, second))

    def encode_view(self, view: View, generator: torch.Generator | None = None) -> Tensor:
        """Encoder output (N, d); dropout, if there is any, draws from `generator`."""
        embedding: Tensor = self.encoder(view.features, view.matrix, generator=generator)
        return embedding


def sampled_gcn_matrix(
    edge_index: Tensor, whole_degree: Tensor, sampled_degree: Tensor
) -> SparseMatrix:
    """The propagation matrix of a view of sampled neighbours, in the place of the whole graph's.

    An edge counts for as many as its target has for each one that was sampled, so that without
    dropped edges a sampled row is the whole graph's in expectation; it is the row itself where all
    neighbours were taken. A node at the rim, of which no edge was sampled, would have degree one
    and send too much: it gets the degree of the whole graph, less the share that the view dropped.

    Args:
        edge_index: (2, E) what the view kept of the batch's edges.
        whole_degree: (n,) incoming edges in the whole graph.
        sampled_degree: (n,) incoming edges in the batch.
    """
    dtype = torch.get_default_dtype()
    rim = (sampled_degree == 0) & (whole_degree > 0)
    share = edge_index.shape[1] / max(int(sampled_degree.sum()), 1)
    each = whole_degree.to(dtype) / sampled_degree.clamp(min=1)
    loops = rim.nonzero().view(-1)
    edges = torch.cat([edge_index, loops.expand(2, -1)], dim=1)
    weight = torch.cat([each[edge_index[1]], 1 + share * whole_degree[rim].to(dtype)])
    return gcn_matrix(edges, whole_degree.numel(), weight)


def of_first(view: View, count: int) -> View:
    """The view with the edges among its first nodes only; features and matrix stay whole."""
    inside = (view.edge_index < count).all(dim=0)
    nodes = None if view.nodes is None else view.nodes[:count]
    return replace(view, edge_index=view.edge_index[:, inside], nodes=nodes)


def of_batch(values: Tensor, numbers: Tensor | None) -> Tensor:
    """The values of a batch's nodes or edges, by their numbers; all where there are none."""
    return values if numbers is None else values[numbers]
