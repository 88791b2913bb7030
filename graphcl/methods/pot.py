"""POT: provable training for graph contrastive learning, a regulariser of two-view methods.

Yu, Wang, Zhang, Liu, Shi, "Provable Training for Graph Contrastive Learning", NeurIPS 2023,
arXiv 2309.13944.

Some nodes follow the contrastive principle for one pair of views and not for another. The
compactness of node i in view 1 against view 2 is the worst case over all views within the
budget of dropped edges (definition 1):

    c_i = min over views 1 of  z1_i . w_i,    w_i = zbar2_i - mean over j != i of zbar2_j

with z the encoder's output and zbar its unit vector. A low estimate p_i of it, by bound
propagation through the encoder (`graphcl.encoders.gcn_bounds`), is pushed up beside the loss of
the `host`, any two-view method:

    L = (1 - kappa) L_host + kappa/2 ( L_pot(1, 2) + L_pot(2, 1) ),
    L_pot = mean over i of -log sigmoid(p_i)

`--set host=gca` chooses the host, whose own defaults then hold instead of what a config has for its
host, and `--set host_settings.temperature=0.4` sets its settings;
epochs and those of the optimiser are POT's own and the host's alike.

`bound` says how p_i is found: "released" as in the authors' code, which is what the paper
trains with and no bound at all; "interval" is a true lower bound at the same cost; "rows" is a
tighter one for graphs of some hundred nodes. The host's encoder is a two-layer GCN with ReLU,
PReLU or their like.

Cost per epoch: the host's, and O((E + N) d) twice for the bounds: sparse, no N x N matrix.

Deviations from the authors' code: all nodes are regularised in every step, where it takes a
random subset and forgets the neighbours outside; the bounds stand for the edges and the
diagonal only, where it has dense N x N matrices; both directions of an edge are dropped
together, or apart where the host's settings say so. The budget of a node is its expected
number of dropped edges, at most all but one.
"""

from __future__ import annotations

import importlib
from typing import Any, ClassVar

import torch
from pydantic import Field, model_validator
from torch import Tensor

from graphcl.config import configure, tunable
from graphcl.encoders.gcn_bounds import (
    MatrixBounds,
    ScoreBound,
    check_bounded,
    edge_budget,
    matrix_bounds,
    score_bound,
)
from graphcl.errors import ConfigError, unknown_name
from graphcl.losses.arguments import softplus
from graphcl.losses.unit_rows import unit_rows
from graphcl.methods.contract import Method, MethodConfig, PortableEncoder
from graphcl.methods.graph_method import TwoViewMethod, View

HOSTS = {
    "cca-ssg": "graphcl.methods.cca_ssg:CCASSGMethod",
    "csgcl": "graphcl.methods.csgcl:CSGCL",
    "gca": "graphcl.methods.gca:GCA",
    "gcool": "graphcl.methods.gcool:GCooL",
    "grace": "graphcl.methods.grace:GRACE",
    "two-view": "graphcl.methods.two_view:TwoView",
}
"""The two-view methods by their command-line names."""


class POTConfig(MethodConfig):
    """Settings of POT; the defaults are the authors' for GRACE on Cora."""

    goes_with: ClassVar[dict[str, str]] = {"host_settings": "host"}

    epochs: int = tunable(200, low=50, high=2000, log=True, ge=0)
    learning_rate: float = tunable(5e-4, low=1e-4, high=1e-2, log=True, gt=0)
    weight_decay: float = tunable(1e-5, choices=[0.0, 1e-5, 1e-4], ge=0)
    evaluate_every: int = Field(20, ge=0)
    host: str = "grace"
    """The two-view method that is regularised."""
    host_settings: dict[str, Any] = Field(default_factory=dict)
    """Settings of the host, as it has them itself."""
    kappa: float = tunable(0.4, low=0.05, high=0.6, ge=0, le=1)
    """Share of the regulariser in the loss."""
    bound: ScoreBound = "released"

    @model_validator(mode="after")
    def _host_is_possible(self) -> POTConfig:
        self.host_config()
        return self

    def host_config(self) -> MethodConfig:
        """The host's settings, with the epochs and optimiser settings of this one."""
        shared = {key: getattr(self, key) for key in MethodConfig.model_fields}
        for key in self.host_settings:
            if key in shared:
                raise ConfigError(
                    f"'{key}' is set for pot and its host alike (got host_settings.{key}); "
                    f"use {key}"
                )
        config = host_class(self.host).Config
        try:
            host = configure(config, {**self.host_settings, **shared})
        except ConfigError as error:
            raise type(error)(f"host_settings of the host {self.host}: {error}") from None
        if getattr(host, "batch_size", 0):
            raise ConfigError(
                "pot bounds what any view of the whole graph may do, so its host takes no batches "
                f"(got host_settings.batch_size={getattr(host, 'batch_size', 0)})"
            )
        return host


class POT(Method):
    """A two-view method whose nodes are pushed to stay compact in any view (Yu et al. 2023)."""

    Config = POTConfig
    tasks = ("node-classification", "link-prediction", "clustering")

    def __init__(self, config: POTConfig, data: Any) -> None:
        super().__init__(config, data)
        self.host = host_class(config.host)(config.host_config(), data)
        check_bounded(self.host.encoder)
        self.bounds = self._bounds_of_views(data, tight=config.bound != "released")

    def loss(self, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        """The host's loss and the compactness of both views against the other."""
        views = self.host.draw_views(batch, generator)
        z1, z2 = (self.host.encode_view(view) for view in views)
        host = self.host.compare(z1, z2, views)
        regulariser = (
            softplus(-self._compactness(views[0], self.bounds[0], z2)).mean()
            + softplus(-self._compactness(views[1], self.bounds[1], z1)).mean()
        ) / 2
        kappa = self.config.kappa
        total = (1 - kappa) * host["total"] + kappa * regulariser
        return {**host, "compactness": regulariser, "total": total}

    def epoch_start(self, epoch: int, generator: torch.Generator) -> None:
        """The host's schedule."""
        self.host.epoch_start(epoch, generator)

    def optimizer(self) -> torch.optim.Optimizer:
        """The host's; POT has no parameters of its own."""
        return self.host.optimizer()

    def embed(self, data: Any) -> Tensor:
        """The host's embeddings (N, d)."""
        return self.host.embed(data)

    def portable_encoder(self) -> PortableEncoder | None:
        """The host's."""
        return self.host.portable_encoder()

    def histograms(self) -> dict[str, Tensor]:
        """The host's, and the compactness of the nodes."""
        return {**self.host.histograms(), "node compactness": self.node_compactness(self.data)}

    @torch.no_grad()
    def node_compactness(self, data: Any) -> Tensor:
        """(N,) compactness, the mean over both views, against the graph that lost nothing.

        For `graphcl.diagnostics.node_compactness`. By "interval" unless `bound` is "rows", so
        that it is a bound whatever training used.
        """
        whole = View(self.host.features_of(data), self.host.matrix_of(data), data.edge_index)
        z = self.host.encode_view(whole)
        bound: ScoreBound = "rows" if self.config.bound == "rows" else "interval"
        values = [
            score_bound(self.host.encoder, whole.features, bounds, directions(z), bound=bound)
            for bounds in self._bounds_of_views(data, tight=True)
        ]
        return torch.stack(values).mean(dim=0)

    def _bounds_of_views(self, data: Any, *, tight: bool) -> list[MatrixBounds]:
        return [
            matrix_bounds(
                data.edge_index, data.num_nodes,
                edge_budget(data.edge_index, data.num_nodes, probability),
                undirected=together, tight=tight,
            )
            for probability, together in zip(
                self.host.drop_probability(), self.host.both_directions(), strict=True
            )
        ]  # fmt: skip

    def _compactness(self, view: View, bounds: MatrixBounds, other: Tensor) -> Tensor:
        return score_bound(
            self.host.encoder, view.features, bounds, directions(other),
            bound=self.config.bound, sampled=view.matrix,
        )  # fmt: skip


def directions(z: Tensor) -> Tensor:
    """w (N, d): the unit vector of every row of z less the mean of those of the others."""
    unit = unit_rows(z)
    return unit - (unit.sum(dim=0) - unit) / max(len(unit) - 1, 1)


def host_class(name: str) -> type[TwoViewMethod]:
    """The two-view method called `name`.

    Raises:
        UnknownNameError: there is none; the message names the nearest.
    """
    if name not in HOSTS:
        raise unknown_name("host of pot", name, HOSTS)
    module, _, attribute = HOSTS[name].partition(":")
    found: type[TwoViewMethod] = getattr(importlib.import_module(module), attribute)
    return found
