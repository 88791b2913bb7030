"""Any two views, encoder and loss of the library, named in the config.

The common form of contrastive learning on graphs (GRACE, arXiv 2006.04131, and most since):

    view 1, view 2 ~ the graph,    z = encoder(view),    h = g(z),    L = loss(h1, h2)

so that an ablation over views or losses is a matter of settings:

    graphcl run two-view cora --set loss=BarlowTwins
    graphcl run two-view cora --set view_1.DropEdges=0.3 --set loss.InfoNCE.temperature=0.2
    graphcl run two-view cora --set 'view_2={DiffuseEdges: {top_k: 32}, MaskFeatures: 0.2}'

Views are applied in the order in which they stand; `graphcl list views` and `graphcl show NAME`
tell their settings, and a bare value is the first one, mostly the rate. The parts at the front
of a view that draw nothing (a diffusion, nearest neighbours) are applied once and kept;
communities and centralities are those of the whole graph, found once. The loss is
one of two views (N, d) of the same nodes, or of any number of views, or `MetaNodeInfoNCE`, for
which k-means finds `clusters` groups of nodes before each epoch. A loss that goes one way only
(`Bootstrap`) predicts view 2 from view 1. Embeddings are the encoder's output on the whole graph,
before the projection head g.

Cost per epoch: two views and encodings, and the loss; with the losses on the contrast engine
16 N^2 d operations in O(N d) memory.

Deviations: none, as there is no paper of its own. With the default settings it is GRACE on Cora.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn
from torch_geometric.data import Data

from graphcl.config import Count, tunable
from graphcl.encoders import ENCODERS, ProjectionHead, gcn_matrix
from graphcl.errors import ConfigError
from graphcl.kernels.kmeans import kmeans
from graphcl.losses import LOSSES, MetaNodeInfoNCE
from graphcl.losses.examples import several_views, two_views
from graphcl.losses.unit_rows import unit_rows
from graphcl.methods.components import Spelled, build, spelled_out
from graphcl.methods.features import FeatureScaling, prepare_features, scale_features
from graphcl.methods.graph_method import BatchedConfig, TwoViewMethod, View, of_batch
from graphcl.views import VIEWS, AddCentrality, AddCommunities, LowRankView
from graphcl.views.centrality import Centrality

PAIR_LOSSES: dict[str, type[nn.Module]] = {
    name: loss
    for name, loss in LOSSES.items()
    if getattr(loss, "example", None) in (two_views, several_views) or loss is MetaNodeInfoNCE
}
"""The losses that need nothing but the embeddings of both views."""


class TwoViewConfig(BatchedConfig):
    """Settings of `two-view`; the defaults are GRACE's for Cora."""

    epochs: int = tunable(200, low=50, high=2000, log=True, ge=0)
    learning_rate: float = tunable(5e-4, low=1e-4, high=1e-2, log=True, gt=0)
    weight_decay: float = tunable(1e-5, choices=[0.0, 1e-5, 1e-4], ge=0)
    evaluate_every: Count = 20
    view_1: Spelled = Field({"DropEdges": 0.2, "MaskFeatures": 0.3})
    view_2: Spelled = Field({"DropEdges": 0.4, "MaskFeatures": 0.4})
    encoder: Spelled = Field({"GCN": {"widths": [256, 128]}})
    projection: Count = 128
    """Width of the projection head; 0 compares the encoder's outputs themselves."""
    loss: Spelled = Field({"InfoNCE": {"temperature": 0.4, "intra_view": True}})
    clusters: int = Field(100, ge=1)
    """Groups of nodes, for the loss MetaNodeInfoNCE."""
    feature_scaling: FeatureScaling = "sum"
    """Of every node's features, before the views; see `graphcl.methods.features.scale_features`."""

    @field_validator("view_1", "view_2")
    @classmethod
    def _views_are_possible(cls, spelled: Spelled) -> Spelled:
        build_views(spelled)
        return spelled

    @model_validator(mode="after")
    def _communities_agree(self) -> TwoViewConfig:
        detection([build_views(self.view_1), build_views(self.view_2)])
        return self

    @field_validator("encoder")
    @classmethod
    def _encoder_is_possible(cls, spelled: Spelled) -> Spelled:
        build_encoder(spelled, 1)
        return spelled

    @field_validator("loss")
    @classmethod
    def _loss_is_possible(cls, spelled: Spelled) -> Spelled:
        build_loss(spelled)
        return spelled


class TwoView(TwoViewMethod):
    """Any two views, encoder and loss of the library, as the config names them."""

    Config = TwoViewConfig

    def __init__(self, config: TwoViewConfig, data: Any) -> None:
        super().__init__(config, data)
        self.views = [build_views(config.view_1), build_views(config.view_2)]
        first, second = (
            self.undirected and all(getattr(part, "keep_undirected", True) for part in view)
            for view in self.views
        )
        self._both_directions = first, second
        self.scaled = scale_features(data.x, config.feature_scaling)
        start = Data(x=self.scaled, edge_index=data.edge_index, num_nodes=data.num_nodes)
        communities = detection(self.views)
        start = start if communities is None else communities(start)
        for kind in centralities(self.views):
            start = AddCentrality(kind)(start)
        self.start = start
        self.starts = [apply_fixed_parts(start, view) for view in self.views]
        if config.batch_size and any(begun is not start for begun in self.starts):
            raise ConfigError(
                "views that start from another form of the whole graph (a diffusion, nearest "
                f"neighbours, a low rank) take no batches (got batch_size={config.batch_size})"
            )
        self.start_matrices = [
            self._matrix_of_view(begun, self.undirected) for begun in self.starts
        ]
        self.encoder = build_encoder(config.encoder, data.num_features)
        width = self.encoder.out_features
        self.head = (
            ProjectionHead(width, config.projection, width) if config.projection else nn.Identity()
        )
        self.contrast = build_loss(config.loss)
        self.assignment: Tensor | None = None

    def epoch_start(self, epoch: int, generator: torch.Generator) -> None:
        """Groups of nodes, where the loss asks for some."""
        if isinstance(self.contrast, MetaNodeInfoNCE):
            training = self.training
            # As evaluation sees them: without dropout, and no step of the running statistics.
            embedding = unit_rows(self.eval().embed(self.data))
            self.train(training)
            self.assignment = kmeans(
                embedding, self.config.clusters, generator=generator
            ).assignment

    def draw_views(self, data: Any, generator: torch.Generator) -> tuple[View, View]:
        """Both views' parts, one after the other."""
        starts = self.starts if data.get("n_id") is None else [data, data]
        first, second = (
            self._draw_view(number, start, generator) for number, start in enumerate(starts)
        )
        return first, second

    def graph(self) -> Data:
        """The graph with its communities and centralities, where views read them."""
        return self.start

    def drop_probability(self) -> tuple[Tensor, Tensor]:
        """Of every edge, by the parts that drop edges, each as if it came first.

        Raises:
            ConfigError: a part changes the edges in another way.
        """
        first, second = (
            drop_probability(spelled, self.start)
            for spelled in (self.config.view_1, self.config.view_2)
        )
        return first, second

    def both_directions(self) -> tuple[bool, bool]:
        """Not where a part drops each direction of an edge by itself."""
        return self._both_directions

    def compare(self, z1: Tensor, z2: Tensor, views: tuple[View, View]) -> dict[str, Tensor]:
        """The loss of both projections."""
        h1, h2 = self.head(z1), self.head(z2)
        contrast: Callable[..., Tensor] = self.contrast
        if isinstance(self.contrast, MetaNodeInfoNCE):
            assignment = of_batch(cast(Tensor, self.assignment), views[0].nodes)
            value = contrast(h1, h2, assignment)
        elif self.contrast.example is several_views:
            value = contrast(torch.stack([h1, h2]))
        else:
            value = contrast(h1, h2)
        return {"contrast": value, "total": value}

    def _draw_view(self, number: int, start: Data, generator: torch.Generator) -> View:
        view = start
        for part in self.views[number]:
            part.generator = generator
            view = part(view)
        same = view.edge_index is self.starts[number].edge_index
        return View(
            self.features if view.x is self.scaled else prepare_features(view.x, "none"),
            self.start_matrices[number]
            if same
            else self._matrix_of_view(view, self._both_directions[number]),
            view.edge_index,
            view.get("n_id"),
        )

    def _matrix_of_view(self, view: Data, undirected: bool) -> Any:
        if "low_rank" in view:
            # Its rows are sources; messages go to targets.
            return view.low_rank if undirected else view.low_rank.T
        # Weights come from a diffusion or from nearest neighbours, which need not go both ways;
        # nor need the edges of a batch.
        weight = view.get("edge_weight")
        if weight is None and view.get("whole_degree") is not None:
            return self.propagation(view.edge_index, view)
        undirected = undirected and weight is None and view.get("n_id") is None
        return gcn_matrix(view.edge_index, view.num_nodes, weight, undirected=undirected)


def apply_fixed_parts(data: Data, view: list[Any]) -> Data:
    """`data` after the parts at the front of `view` that draw nothing, which are taken out."""
    # LowRankView has a generator, but only for where its solver starts.
    while view and (not hasattr(view[0], "generator") or isinstance(view[0], LowRankView)):
        data = view.pop(0)(data)
    return data


def detection(views: list[list[Any]]) -> AddCommunities | None:
    """How communities are detected for all parts that read them; None where none does.

    Raises:
        ConfigError: two parts ask for different communities.
    """
    parts = (part for view in views for part in view if "Community" in type(part).__name__)
    ways = {(part.method, part.resolution, part.seed) for part in parts}
    if len(ways) > 1:
        told = " and ".join(
            f"{method}, {resolution:g}, {seed}" for method, resolution, seed in sorted(ways)
        )
        raise ConfigError(
            "communities are detected once, so all parts of both views need the same method, "
            f"resolution and seed (got {told})"
        )
    if not ways:
        return None
    method, resolution, seed = ways.pop()
    return AddCommunities(method=method, resolution=resolution, seed=seed)


def build_views(spelled: Spelled) -> list[Any]:
    """The transforms of one view, in their order.

    Raises:
        ConfigError: a name or setting that is not possible, or a part that changes edges after
            LowRankView has taken their place.
    """
    components = spelled_out("a view", spelled)
    names = [name for name, _ in components]
    after = names[names.index("LowRankView") + 1 :] if "LowRankView" in names else []
    views = [build("view", VIEWS, name, settings) for name, settings in components]
    for name in after:
        if not name.startswith("MaskFeatures"):
            raise ConfigError(
                "LowRankView takes the place of the edges, so only features can be changed after "
                f"it (got {name}); put {name} before it"
            )
    return views


def build_encoder(spelled: Spelled, in_features: int) -> Any:
    """The one encoder that is named.

    Raises:
        ConfigError: not exactly one, or a name or setting that is not possible.
    """
    name, settings = _only("encoder", spelled)
    return build("encoder", ENCODERS, name, settings, in_features=in_features)


def build_loss(spelled: Spelled) -> Any:
    """The one loss that is named.

    Raises:
        ConfigError: not exactly one, a loss that needs more than two views, or a name or setting
            that is not possible.
    """
    name, settings = _only("loss", spelled)
    if name in LOSSES and name not in PAIR_LOSSES:
        raise ConfigError(
            f"the loss {name} needs more than the embeddings of two views; two-view takes "
            f"{', '.join(PAIR_LOSSES)}"
        )
    return build("loss", PAIR_LOSSES, name, settings)


def _only(kind: str, spelled: Spelled) -> tuple[str, Any]:
    components = spelled_out(f"the {kind}", spelled)
    if len(components) != 1:
        raise ConfigError(
            f"the {kind} takes one name (got {', '.join(name for name, _ in components)})"
        )
    return components[0]


def centralities(views: list[list[Any]]) -> list[Centrality]:
    """The kinds of centrality that parts weigh by, each once."""
    parts = (part for view in views for part in view)
    return sorted({part.centrality for part in parts if hasattr(part, "centrality")})


def drop_probability(spelled: Spelled, data: Data) -> Tensor:
    """With which each edge of `data` is missing from a view, (E,).

    Of parts that drop edges or mask features.

    Raises:
        ConfigError: another part.
    """
    kept = torch.ones(data.edge_index.shape[1:], device=data.edge_index.device)
    for (name, _), part in zip(spelled_out("a view", spelled), build_views(spelled), strict=True):
        if name.startswith("DropEdges"):
            kept = kept * (1 - part.drop_probability(data))
        elif not name.startswith("MaskFeatures"):
            raise ConfigError(
                f"the view {name} does not only drop edges, so there is no budget of dropped "
                "edges; give DropEdges, DropEdgesByCentrality or DropEdgesByCommunity"
            )
    return 1 - kept
