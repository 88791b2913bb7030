"""gCooL, POT, PamC and two-view against their formulas."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid
from torch_geometric.data import Data

from graphcl.config import configure, parse_override, with_override
from graphcl.diagnostics import node_compactness
from graphcl.encoders import gcn_matrix
from graphcl.encoders.gcn_bounds import edge_budget, matrix_bounds, score_bound
from graphcl.errors import ArgumentError, ConfigError, NonFiniteError, UnknownNameError
from graphcl.kernels.communities import detect_communities
from graphcl.losses.unit_rows import unit_rows
from graphcl.methods.bgrl import BGRL
from graphcl.methods.cca_ssg import CCASSGMethod
from graphcl.methods.csgcl import CSGCL
from graphcl.methods.gca import GCA
from graphcl.methods.gcool import GCooL, community_contrast, dense_aggregation
from graphcl.methods.grace import GRACE
from graphcl.methods.graph_method import View
from graphcl.methods.pamc import PamC, log_assignment, sharpening
from graphcl.methods.pot import HOSTS, POT, directions, host_class
from graphcl.methods.two_view import PAIR_LOSSES, TwoView
from graphcl.views import (
    VIEWS,
    centrality_keep_probability,
    community_keep_probability,
    node_centrality,
    node_communities,
)


def graph(nodes: int = 14, seed: int = 0, share: float = 0.3) -> Data:
    generator = torch.Generator().manual_seed(seed)
    adjacent = torch.rand(nodes, nodes, generator=generator).triu(1) > 1 - share
    source, target = adjacent.nonzero(as_tuple=True)
    edge_index = torch.stack([torch.cat([source, target]), torch.cat([target, source])])
    x = (torch.rand(nodes, 9, generator=generator) > 0.6).float()
    return Data(x=x, edge_index=edge_index, num_nodes=nodes, clusters=3)


def build(method: type, **settings: Any) -> Any:
    torch.manual_seed(0)
    return method(configure(method.Config, settings), graph())


def seeded(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---------------------------------------------------------------------- gCooL


def test_dense_aggregation_is_the_formula() -> None:
    data = graph()
    shares = torch.randn(14, 4, generator=seeded(), dtype=torch.float64).softmax(dim=1)
    dense = torch.zeros(14, 14, dtype=torch.float64)
    dense[data.edge_index[0], data.edge_index[1]] = 1
    f = shares.T @ dense @ shares
    n, between = 14, 0.7
    wanted = (between * f.sum() - (n - 1 + between) * f.trace()) / (n * (n - 1))
    wanted = wanted + shares.square().sum() / (2 * n)
    torch.testing.assert_close(dense_aggregation(shares, data.edge_index, between), wanted)


def test_community_contrast_is_the_formula() -> None:
    h, other = (
        unit_rows(torch.randn(14, 5, generator=seeded(seed), dtype=torch.float64))
        for seed in (1, 2)
    )
    y = torch.arange(14) % 3  # community 3 is empty
    centroids = [other[y == k].mean(dim=0) for k in range(3)] + [torch.zeros(5).double()]
    values = []
    for i in range(14):
        own = centroids[y[i]]
        omega = [math.exp(-0.9 * float((own - c).square().sum())) for c in centroids]
        terms = [
            float(torch.exp(h[i] @ c / 0.4)) * (1.0 if k == y[i] else omega[k])
            for k, c in enumerate(centroids)
        ]
        values.append(-math.log(terms[y[i]] / sum(terms)))
    found = community_contrast(h, other, y, clusters=4, temperature=0.4, nearness=0.9)
    assert float(found) == pytest.approx(sum(values) / 14)


def test_gcool_adds_communities_that_fade() -> None:
    model = build(GCooL, dimension=6, hidden=7, communities=4, stride=50, fade=0.2)
    model.epoch_start(4, seeded())
    assert (model.alpha, model.beta) == pytest.approx((1 - 4 / 10, math.exp(-4 / 50)))
    parts = model.loss(model.data, seeded())
    communal = model.beta * parts["aggregation"] + (1 - model.beta) * parts["communities"]
    torch.testing.assert_close(parts["total"], parts["nodes"] + model.alpha * communal)
    parts["total"].backward()
    assert model.centres.grad.abs().sum() > 0
    model.epoch_start(10, seeded())
    assert model.loss(model.data, seeded()).keys() == {"nodes", "total"}


def test_only_the_centres_learn_from_the_aggregation() -> None:
    model = build(GCooL, dimension=6, hidden=7, communities=4)
    model.epoch_start(1, seeded())
    model.loss(model.data, seeded())["aggregation"].backward()
    assert [name for name, p in model.named_parameters() if p.grad is not None] == ["centres"]


def test_the_released_gcool_has_one_direction_and_no_weights() -> None:
    paper, released = (
        build(GCooL, dimension=6, hidden=7, nearness=0.5, variant=variant)
        for variant in ("paper", "released")
    )
    for model in (paper, released):
        model.epoch_start(1, seeded())
    one, other = (model.loss(model.data, seeded()) for model in (paper, released))
    torch.testing.assert_close(one["aggregation"], other["aggregation"])
    # Weights below 1 leave less in the denominator.
    assert one["communities"] < other["communities"]
    assert one["nodes"] != other["nodes"]
    assert not released.contrast.symmetric


# ---------------------------------------------------------------------- POT


def test_pot_is_its_host_and_the_regulariser() -> None:
    settings = {"dimension": 6, "projection": 6, "mask_features_1": 0.0, "mask_features_2": 0.5}
    model = build(POT, host="grace", host_settings=settings, kappa=0.3)
    parts = model.loss(model.data, seeded())
    host = model.host
    views = host.draw_views(model.data, seeded())
    z = [host.encode_view(view) for view in views]
    contrast = host.compare(*z, views)["total"]
    terms = []
    for view, other, rate in ((views[0], z[1], 0.2), (views[1], z[0], 0.4)):
        budget = edge_budget(model.data.edge_index, 14, rate)
        bounds = matrix_bounds(model.data.edge_index, 14, budget, undirected=True, tight=False)
        estimate = score_bound(
            host.encoder, view.features, bounds, directions(other), sampled=view.matrix
        )
        terms.append(-logsigmoid(estimate).mean())
    torch.testing.assert_close(parts["compactness"], sum(terms) / 2)
    torch.testing.assert_close(parts["total"], 0.7 * contrast + 0.3 * sum(terms) / 2)
    parts["total"].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_directions_are_a_node_against_the_others() -> None:
    z = torch.randn(5, 3, generator=seeded(), dtype=torch.float64)
    unit = z / z.norm(dim=1, keepdim=True)
    for i in range(5):
        others = torch.stack([unit[j] for j in range(5) if j != i])
        torch.testing.assert_close(directions(z)[i], unit[i] - others.mean(dim=0))
    torch.testing.assert_close(directions(z[:1]), unit[:1])


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("bound", ["released", "interval", "rows"])
def test_every_two_view_method_is_a_host(host: str, bound: str) -> None:
    fields = host_class(host).Config.model_fields
    small = {"dimension": 6} if "dimension" in fields else {"encoder": {"GCN": [6, 4]}}
    model = build(POT, host=host, host_settings=small, bound=bound)
    model.epoch_start(1, seeded())
    parts = model.loss(model.data, seeded())
    assert torch.isfinite(parts["total"])
    parts["total"].backward()
    assert model.embed(model.data).shape[0] == 14


def test_hosts_that_cannot_be_are_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"host of pot 'grase'; did you mean 'grace'"):
        build(POT, host="grase")
    with pytest.raises(UnknownNameError, match="did you mean 'temperature'"):
        build(POT, host_settings={"temprature": 0.2})
    with pytest.raises(ConfigError, match=r"host_settings of the host cca-ssg: .*'projection'"):
        build(POT, host="cca-ssg", host_settings={"projection": 8})
    with pytest.raises(ConfigError, match=r"host_settings\.epochs"):
        build(POT, host_settings={"epochs": 3})
    with pytest.raises(ArgumentError, match="got ELU"):
        build(POT, host_settings={"activation": "elu"})
    with pytest.raises(ArgumentError, match="with normalisation"):
        build(POT, host="cca-ssg", host_settings={"encoder": "mlp"})
    with pytest.raises(ConfigError, match="SampleSubgraph does not only drop edges"):
        build(POT, host="two-view", host_settings={"view_1": {"SampleSubgraph": 0.2}})


def test_the_diagnostic_is_a_bound_on_the_worst_view() -> None:
    """Against every graph that both views' budgets allow, on a small graph."""
    torch.manual_seed(0)
    data = graph(5, seed=2, share=0.6)
    settings = {"dimension": 4, "projection": 4, "drop_edges_1": 0.5, "drop_edges_2": 0.5}
    model = POT(configure(POT.Config, {"host_settings": settings, "bound": "rows"}), data)
    found = model.node_compactness(data)
    z = model.embed(data)
    budget = edge_budget(data.edge_index, 5, 0.5)
    pairs = data.edge_index[:, data.edge_index[0] < data.edge_index[1]]
    worst = torch.full((5,), torch.inf)
    for kept in itertools.product([False, True], repeat=pairs.size(1)):
        lost = pairs[:, ~torch.tensor(kept)]
        if (torch.bincount(lost.flatten(), minlength=5) > budget).any():
            continue
        edges = pairs[:, torch.tensor(kept)]
        matrix = gcn_matrix(torch.cat([edges, edges.flip(0)], dim=1), 5)
        with torch.no_grad():
            out = model.host.encoder(model.host.features, matrix)
        worst = torch.minimum(worst, (out * directions(z)).sum(dim=1))
    assert (found <= worst + 1e-5).all()
    assert node_compactness(model, data)["node_compactness/mean"] == pytest.approx(
        float(found.mean())
    )


@pytest.mark.parametrize(
    ("host", "settings"),
    [
        ("gca", {"directed_views": True}),
        ("grace", {"directed_views": True}),
        ("two-view", {"view_1": {"DropEdges": {"rate": 0.3, "keep_undirected": False}}}),
    ],
)
def test_pot_bounds_directions_apart_where_its_host_draws_them_apart(
    host: str, settings: dict[str, Any]
) -> None:
    model = build(POT, host=host, host_settings=settings, bound="interval")
    assert not model.host.both_directions()[0]
    assert not model.bounds[0].whole.symmetric
    assert (
        model.host.both_directions()[1] == model.bounds[1].whole.symmetric == (host == "two-view")
    )


# ---------------------------------------------------------------------- PamC


def test_assignments_and_their_sharpening() -> None:
    z = torch.randn(12, 4, generator=seeded(), dtype=torch.float64)
    centres = torch.randn(3, 4, generator=seeded(4), dtype=torch.float64)
    q = torch.stack([1 / (1 + (z - c).square().sum(dim=1)) for c in centres], dim=1)
    q = q / q.sum(dim=1, keepdim=True)
    torch.testing.assert_close(log_assignment(z, centres).exp(), q)
    p = q.square() / q.sum(dim=0)
    p = p / p.sum(dim=1, keepdim=True)
    wanted = (p * (p / q).log()).sum() / 12
    torch.testing.assert_close(sharpening(log_assignment(z, centres)), wanted)
    # Far apart, where squares of float32 vanish.
    far = log_assignment(torch.eye(3) * 1e12, torch.zeros(2, 3) + torch.tensor([[1e12], [0.0]]))
    assert torch.isfinite(sharpening(far))


def test_pamc_says_that_its_pre_training_diverged() -> None:
    huge = graph()
    huge.x = huge.x * 1e30
    model = PamC(configure(PamC.Config, {"widths": [12, 3], "pretrain_epochs": 2}), huge)
    with pytest.raises(NonFiniteError, match=r"pre-training diverged on features of up to 1e\+30"):
        model.epoch_start(1, seeded())


def test_pamc_pretrains_once_and_clusters() -> None:
    model = build(PamC, widths=[12, 3], pretrain_epochs=40)
    before = model.encoder.weights[0].clone()
    model.epoch_start(1, seeded())
    started = model.encoder.weights[0].clone()
    assert not torch.equal(before, started)
    model.epoch_start(2, seeded())
    assert torch.equal(model.encoder.weights[0], started)
    parts = model.loss(model.data, seeded())
    config = model.config
    torch.testing.assert_close(
        parts["total"],
        config.block_weight * parts["blocks"] + config.cluster_weight * parts["clusters"],
    )
    assert model.assign_clusters(model.data).unique().numel() <= 3
    # k-means placed the centres: every one is nearest to some node.
    assert model.assign_clusters(model.data).unique().numel() == 3


def test_pamc_reaches_as_far_as_its_order() -> None:
    counts = [build(PamC, widths=[3], order=order).reached[1].numel() for order in (1, 2)]
    assert counts[0] == 14 + graph().num_edges
    assert counts[1] > counts[0]
    lonely = build(PamC, widths=[3], order=2, cumulative=False)
    torch.testing.assert_close(
        torch.zeros(14).index_add(0, lonely.reached[0][0], lonely.reached[1]), torch.ones(14)
    )


def test_pamc_needs_the_number_of_clusters() -> None:
    data = graph()
    del data.clusters
    with pytest.raises(ConfigError, match="set clusters"):
        PamC(configure(PamC.Config, {"widths": [3]}), data)
    assert len(PamC(configure(PamC.Config, {"widths": [3], "clusters": 5}), data).centres) == 5


# ---------------------------------------------------------------------- two-view


def test_the_default_is_grace() -> None:
    ours, grace = build(TwoView), build(GRACE)
    value, wanted = (model.loss(model.data, seeded())["total"] for model in (ours, grace))
    torch.testing.assert_close(value, wanted)
    torch.testing.assert_close(ours.embed(ours.data), grace.embed(grace.data))


@pytest.mark.parametrize("loss", PAIR_LOSSES)
def test_every_pair_loss_trains(loss: str) -> None:
    model = build(TwoView, loss=loss, encoder={"GCN": [6, 4]}, projection=5, clusters=3)
    model.epoch_start(1, seeded())
    total = model.loss(model.data, seeded())["total"]
    total.backward()
    assert torch.isfinite(total)
    assert model.encoder.weights[0].grad.abs().sum() > 0


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_can_be_named(view: str) -> None:
    first = {"NearestNeighbours": 2, "LowRankView": 3, "DiffuseEdges": None}.get(view, 0.4)
    model = build(
        TwoView,
        view_1={view: first},
        view_2={"DropEdges": 0.2, view: first},
        encoder={"GCN": {"widths": [6, 4]}},
    )
    one, other = (model.loss(model.data, seeded())["total"] for _ in range(2))
    assert torch.isfinite(one)
    torch.testing.assert_close(one, other)
    one.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("view", ["DropEdges", "DropEdgesByCentrality", "DropEdgesByCommunity"])
def test_directions_dropped_apart_make_a_directed_matrix(view: str) -> None:
    """Forward and backward product: the matrix that `GCNConv` would use, and its transpose."""
    model = build(TwoView, view_1={view: {"rate": 0.5, "keep_undirected": False}})
    drawn, other = model.draw_views(model.data, seeded())
    check_directed(drawn)
    assert other.matrix.symmetric


def check_directed(view: View) -> None:
    wanted = gcn_matrix(view.edge_index, 14).to_dense()
    assert not torch.equal(wanted != 0, wanted.T != 0)
    torch.testing.assert_close(view.matrix.to_dense(), wanted)
    torch.testing.assert_close(view.matrix.T.to_dense(), wanted.T)


@pytest.mark.parametrize("method", [BGRL, CCASSGMethod, CSGCL, GCA, GRACE])
def test_directed_views_drop_the_directions_apart(method: Any) -> None:
    for directed in (False, True):
        model = build(method, directed_views=directed)
        views = [model.random_view(model.data, 0.5, 0.1, seeded())]
        if method is not BGRL:
            views = list(model.draw_views(model.data, seeded()))
        for view in views:
            if directed:
                check_directed(view)
            else:
                assert view.matrix.symmetric


@pytest.mark.parametrize(
    "view",
    [
        {"DropEdgesByCommunity": {"rate": 0.3, "method": "louvain", "resolution": 4.0}},
        {"MaskFeaturesByCommunity": {"rate": 0.3, "method": "louvain", "resolution": 4.0}},
    ],
)
@pytest.mark.parametrize("batch_size", [0, 6])
def test_communities_are_those_that_the_parts_ask_for(
    view: dict[str, Any], batch_size: int
) -> None:
    model = build(TwoView, view_1=view, batch_size=batch_size)
    wanted = detect_communities(model.data.edge_index, 14, method="louvain", resolution=4.0)
    assert wanted.max() > detect_communities(model.data.edge_index, 14).max()
    assert torch.equal(model.start.community, wanted)
    batch = next(iter(model.batches(seeded())))
    assert torch.isfinite(model.loss(batch, seeded())["total"])


@pytest.mark.parametrize("batch_size", [0, 6])
def test_centralities_are_those_of_the_whole_graph(
    batch_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As GCA weighs: neither by what an earlier part left, nor by a batch."""
    view = {
        "DropEdgesByCentrality": 0.4,
        "MaskFeaturesByCentrality": {"rate": 0.3, "centrality": "pagerank"},
    }
    model = build(TwoView, view_1=view, batch_size=batch_size)
    for kind in ("degree", "pagerank"):
        assert torch.equal(
            model.start[f"{kind}_centrality"], node_centrality(model.data.edge_index, 14, kind)
        )
    monkeypatch.setattr("graphcl.views.add_centrality.node_centrality", None)
    batch = next(iter(model.batches(seeded())))
    assert torch.isfinite(model.loss(batch, seeded())["total"])


def test_a_host_of_any_views_tells_the_probability_of_every_edge() -> None:
    view = {"DropEdgesByCentrality": 0.4, "MaskFeatures": 0.2, "DropEdges": 0.3}
    community = {"DropEdgesByCommunity": {"rate": 0.3, "threshold": 0.8}}
    model = build(POT, host="two-view", host_settings={"view_1": view, "view_2": community})
    edge_index = model.data.edge_index
    first, second = model.host.drop_probability()
    kept = centrality_keep_probability(edge_index, node_centrality(edge_index, 14), 0.4)
    torch.testing.assert_close(first, 1 - 0.7 * kept)
    labels, strength = node_communities(model.data)
    kept = community_keep_probability(edge_index, labels, strength, 0.3, 0.8)
    torch.testing.assert_close(second, 1 - kept)
    assert min(len(first.unique()), len(second.unique())) > 1


def test_parts_that_draw_nothing_are_applied_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from graphcl.views import DiffuseEdges

    calls = []
    forward = DiffuseEdges.forward
    monkeypatch.setattr(
        DiffuseEdges, "forward", lambda self, data: calls.append(1) or forward(self, data)
    )
    model = build(TwoView, view_2={"DiffuseEdges": {"top_k": 4}, "MaskFeatures": 0.2})
    for _ in range(3):
        model.loss(model.data, seeded())
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"view_1": {"DropEdge": 0.2}}, r"unknown view 'DropEdge'; did you mean 'DropEdges'"),
        ({"view_1": {"DropEdges": {"rat": 0.2}}}, "did you mean 'rate'"),
        ({"view_1": {"DropEdges": 1.2}}, r"rate must be a number in \[0, 1\], got 1\.2"),
        ({"view_1": "DropEdges"}, "needs 'rate'"),
        ({"view_1": {"DropEdges": {"rate": 0.2, "generator": 1}}}, "setting of the view"),
        (
            {"view_1": {"DropEdgesByCommunity": 0.2, "MaskFeaturesByCommunity": [0.1]}},
            "not possible",
        ),
        (
            {
                "view_1": {"DropEdgesByCommunity": 0.2},
                "view_2": {"DropEdgesByCommunity": {"rate": 0.2, "resolution": 2.0}},
            },
            r"got leiden, 1, 0 and leiden, 2, 0",
        ),
        ({"view_1": {"LowRankView": 2, "DropEdges": 0.2}}, "put DropEdges before it"),
        ({"loss": "InfoNCF"}, "did you mean 'InfoNCE'"),
        ({"loss": {"InfoNCE": {"temperature": -1}}}, "temperature must lie in"),
        ({"loss": {"InfoNCE": {}, "DHEL": {}}}, "takes one name"),
        ({"loss": "SupCon"}, "needs more than the embeddings of two views"),
        ({"encoder": {"GCM": [4]}}, "did you mean 'GCN'"),
        ({"encoder": {"GCN": "wide"}}, "not possible with"),
        ({"encoder": {"GCN": {"activation": "rely", "widths": [3]}}}, "did you mean 'relu'"),
        ({"encoder": "GCN"}, "needs 'widths'"),
    ],
)
def test_what_is_not_possible_is_one_sentence(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        configure(TwoView.Config, settings)
    assert "\n" not in str(caught.value)


def test_overrides_reach_into_settings() -> None:
    settings: dict[str, Any] = {"loss": {"InfoNCE": {"temperature": 0.4}}, "view_1": "DropEdges"}
    for text in ("loss.InfoNCE.temperature=0.2", "view_1.DropEdges.rate=0.1", "epochs=3"):
        settings = with_override(settings, *parse_override(text))
    assert settings == {
        "loss": {"InfoNCE": {"temperature": 0.2}},
        "view_1": {"DropEdges": {"rate": 0.1}},
        "epochs": 3,
    }


def test_meta_nodes_are_found_before_each_epoch() -> None:
    model = build(TwoView, loss={"MetaNodeInfoNCE": 0.5}, clusters=4)
    model.epoch_start(1, seeded())
    assert model.assignment.shape == (14,)
    assert int(model.assignment.max()) < 4
    assert isinstance(model.loss(model.data, seeded())["total"], Tensor)


def test_looking_for_meta_nodes_leaves_the_encoder_as_it_is() -> None:
    """No dropout in what is clustered, and no step of batch normalisation's statistics."""
    gcn = {"GCN": {"widths": [8, 4], "normalisation": "batch", "dropout": 0.5}}
    model = build(TwoView, loss={"MetaNodeInfoNCE": 0.5}, clusters=4, encoder=gcn)
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model.train()
    found = []
    for _ in range(2):
        model.epoch_start(1, seeded())
        found.append(model.assignment)
    assert model.training
    assert model.encoder.training
    assert torch.equal(*found)
    for name, buffer in model.named_buffers():
        torch.testing.assert_close(buffer, before[name])


@pytest.mark.parametrize("encoder", ["GCN", "MLP"])
def test_all_that_a_loss_draws_comes_from_the_generator(encoder: str) -> None:
    settings = {"widths": [8, 4], **({"dropout": 0.5} if encoder == "GCN" else {})}
    no_views = {"view_1": {"DropEdges": 0.0}, "view_2": {"DropEdges": 0.0}}
    model = build(TwoView, encoder={encoder: settings}, **no_views).train()
    values = []
    for number, seed in enumerate((0, 0, 1)):
        torch.manual_seed(number)
        state = torch.get_rng_state()
        values.append(float(model.loss(model.data, seeded(seed))["total"].detach()))
        assert torch.equal(torch.get_rng_state(), state)
    assert values[0] == values[1]
    # Nothing but dropout is random here.
    assert (values[0] != values[2]) == (encoder == "GCN")


def test_a_low_rank_of_a_directed_graph_sends_messages_to_targets() -> None:
    data = graph()
    data.edge_index = data.edge_index[:, : data.edge_index.size(1) // 2]
    torch.manual_seed(0)
    settings = {"view_1": {"LowRankView": 14}, "view_2": {"DropEdges": 0.0}}
    model = TwoView(configure(TwoView.Config, settings), data)
    low_rank, plain = (view.matrix for view in model.draw_views(data, seeded()))
    dense = low_rank.matmul(torch.eye(14))
    edges = plain.to_dense() - torch.diag(plain.to_dense().diag())
    assert torch.equal(dense > 1e-4, edges > 0)
