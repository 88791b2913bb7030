"""What MEOW and AdaMEOW share: a coarse view, a fine view of meta-path contexts, one encoder.

The coarse view says which target nodes meta-paths join: a GCN on the projected features h over
the mean of the meta-path graphs. The fine view says how: for each meta-path phi the nodes that its
paths pass are added first,

    h_phi = ELU( h + sum over the types t on the way of W_phi,t mean of h_t over the paths ),

then the same GCN runs on the graph of phi, once as it is and once masked (fewer edges of weight
one, fewer features), and semantic attention fuses the unit rows of all of them. The neighbours of
a node are its k most similar by PathSim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from graphcl.config import Count, tunable
from graphcl.encoders import GCN, SemanticAttention
from graphcl.errors import ConfigError
from graphcl.kernels.sparse_matrix import SparseMatrix
from graphcl.kernels.spmm import spmm
from graphcl.losses.unit_rows import unit_rows
from graphcl.methods.contract import Method, MethodConfig
from graphcl.methods.features import FeatureScaling
from graphcl.methods.meta_path_graph import MetaPathGraph, meta_path_graph
from graphcl.views.draws import uniform

Rate = Annotated[float, Field(ge=0, le=1)]
Neighbours = Annotated[int, Field(ge=1)]


class MetaPathConfig(MethodConfig):
    """Settings of both methods; the defaults are MEOW's for ACM."""

    epochs: int = tunable(200, low=20, high=2000, log=True, ge=0)
    learning_rate: float = tunable(7e-4, low=5e-5, high=1e-2, log=True, gt=0)
    evaluate_every: Count = 10
    dimension: int = tunable(64, choices=[32, 64, 128], gt=0)
    dropout: float = tunable(0.2, low=0.0, high=0.6, ge=0, lt=1)
    temperature: float = tunable(0.4, low=0.1, high=1.0, ge=1e-3, le=10)
    neighbours: Neighbours | tuple[Neighbours, ...] = 100
    """k of the top k by PathSim; a list has one for each meta-path of the data, in its order."""
    mask_features: float = tunable(0.3, low=0.0, high=0.7, ge=0, le=1)
    """Share of the non-zero features that the masked copies lack."""
    mask_edges: Rate | tuple[Rate, ...] = 0.3
    """Share of the edges that the masked copies lack; a list as for `neighbours`."""
    masks: Literal["fresh", "fixed"] = "fresh"
    """"fixed" draws the masks once, before training, by the seed of the run, and keeps the masked
    copies in the embedding, as the authors' code does."""
    feature_scaling: FeatureScaling = "sum"
    """`sum`, every node's (non-negative) features divided by their sum, is the authors'."""


@dataclass(frozen=True)
class Masks:
    """The masked copies of one epoch."""

    features: Tensor | SparseMatrix
    """Of the target type."""
    matrices: tuple[SparseMatrix, ...]
    """Of every meta-path."""


class Projection(nn.Module):
    """Features of one node type in the common space: ELU(dropout(x W + b))."""

    def __init__(self, in_features: int, dimension: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(in_features, dimension))
        self.bias = nn.Parameter(torch.zeros(dimension))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x: Tensor | SparseMatrix) -> Tensor:
        """(N, in_features) -> (N, dimension), before dropout and activation."""
        product = spmm(x, self.weight) if isinstance(x, SparseMatrix) else x @ self.weight
        return product + self.bias


class MetaPathMethod(Method):
    """Coarse and fine view of a heterogeneous graph; a subclass contrasts them."""

    tasks = ("heterogeneous-node-classification",)

    def __init__(self, config: Any, data: Any, head: int | None = None) -> None:
        """`head` is the width of the head's output; default that of the embedding.

        Raises:
            ConfigError: a setting has not as many values as the data have meta-paths.
        """
        super().__init__(config, data)
        names = list(data.meta_paths)
        self._mask_edges = _for_each("mask_edges", config.mask_edges, names)
        self.graph = self._read(data)
        self._coarse = self.graph.mean_matrix()
        width = config.dimension
        self.projections = nn.ModuleList(
            Projection(x.shape[1], width) for x in self.graph.features.values()
        )
        self.aggregators = nn.ModuleList(
            nn.ModuleList(nn.Linear(width, width, bias=False) for _ in path.contexts)
            for path in self.graph.paths
        )
        self.encoder = GCN(
            width, [width, width],
            activation="prelu", last_activation=False, dropout=config.dropout, bias=False,
        )  # fmt: skip
        self.attention = SemanticAttention(width)
        self.head = nn.Linear(width, width if head is None else head)
        self._fixed_masks = self._draw_masks(None) if config.masks == "fixed" else None

    def contrasted(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Unit rows (N, head) of the coarse and of the fine view, with masked copies."""
        masks = self._fixed_masks or self._draw_masks(generator)
        projected = self._project(self.graph, generator)
        coarse = self._encode(projected[self.graph.target], self._coarse, generator)
        fine = self._fine(self.graph, projected, masks, generator)
        first, second = (unit_rows(torch.tanh(self.head(view))) for view in (coarse, fine))
        return first, second

    @torch.no_grad()
    def embed(self, data: Any) -> Tensor:
        """The fine view (targets, dimension) before the head."""
        graph = self.graph if data is self.data else self._read(data)
        masks = self._fixed_masks if data is self.data else None
        return self._fine(graph, self._project(graph, None), masks, None)

    def _read(self, data: Any) -> MetaPathGraph:
        neighbours = _for_each("neighbours", self.config.neighbours, list(data.meta_paths))
        return meta_path_graph(data, neighbours, feature_scaling=self.config.feature_scaling)

    def _project(
        self, graph: MetaPathGraph, generator: torch.Generator | None
    ) -> dict[str, Tensor]:
        return {
            kind: functional.elu(self._drop(projection(x), generator))
            for (kind, x), projection in zip(graph.features.items(), self.projections, strict=True)
        }

    def _fine(
        self,
        graph: MetaPathGraph,
        projected: dict[str, Tensor],
        masks: Masks | None,
        generator: torch.Generator | None,
    ) -> Tensor:
        masked = None
        if masks is not None:
            masked = functional.elu(self._drop(self.projections[0](masks.features), generator))
        views = []
        for number, path in enumerate(graph.paths):
            aggregators: Any = self.aggregators[number]
            context: Any = sum(
                self._drop(linear(part.mean(projected[part.kind])), generator)
                for part, linear in zip(path.contexts, aggregators, strict=True)
            )
            copies = [(projected[graph.target], path.matrix)]
            if masks is not None and masked is not None:
                copies.append((masked, masks.matrices[number]))
            views += [
                unit_rows(self._encode(functional.elu(h + context), matrix, generator))
                for h, matrix in copies
            ]
        fused: Tensor = self.attention(views)
        return fused

    def _encode(self, h: Tensor, matrix: SparseMatrix, generator: torch.Generator | None) -> Tensor:
        # Standardised over the whole matrix, not row by row: what the authors' code does, and
        # what keeps how large a node's embedding is against the others'.
        z = self.encoder(h, matrix, generator=generator)
        return functional.layer_norm(z, z.shape)

    def _drop(self, x: Tensor, generator: torch.Generator | None) -> Tensor:
        rate = self.config.dropout
        if not self.training or rate == 0:
            return x
        kept = uniform(x.numel(), generator, x.device).view(x.shape) >= rate
        return x * kept / (1 - rate)

    def _draw_masks(self, generator: torch.Generator | None) -> Masks:
        x = self.graph.features[self.graph.target]
        values = x.value if isinstance(x, SparseMatrix) else x
        kept = uniform(values.numel(), generator, values.device) >= self.config.mask_features
        values = values * kept.view(values.shape)
        return Masks(
            x.with_value(values) if isinstance(x, SparseMatrix) else values,
            tuple(
                _mask_edges(path.matrix, rate, generator)
                for path, rate in zip(self.graph.paths, self._mask_edges, strict=True)
            ),
        )


def _mask_edges(
    edges: SparseMatrix, rate: float, generator: torch.Generator | None
) -> SparseMatrix:
    """All entries of weight one but for a share of the edges, self-loops kept, for a GCN."""
    # Entries of value 0 instead of fewer entries: the structure and its transpose stay cached.
    kept = uniform(edges.entries, generator, edges.device) >= rate
    kept |= edges.row == edges.column
    return edges.with_value(kept.to(edges.dtype)).normalised("gcn")


def _for_each(setting: str, value: Any, names: Sequence[str]) -> tuple[Any, ...]:
    """One value for each meta-path, from one for all or one for each."""
    values = value if isinstance(value, tuple) else (value,) * len(names)
    if len(values) != len(names):
        raise ConfigError(
            f"setting '{setting}' needs one value, or one for each of the {len(names)} meta-paths "
            f"{', '.join(names)} (got {len(values)})"
        )
    return values
