"""Two-view methods on batches of a graph."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch_geometric.data import Data

from graphcl.config import configure
from graphcl.data.graph_batches import NeighbourBatches
from graphcl.data.synthetic import planted_partition
from graphcl.errors import ConfigError
from graphcl.methods.cca_ssg import CCASSGMethod
from graphcl.methods.csgcl import CSGCL
from graphcl.methods.gca import GCA
from graphcl.methods.gcool import GCooL
from graphcl.methods.grace import GRACE
from graphcl.methods.graph_method import TwoViewMethod, sampled_gcn_matrix
from graphcl.methods.pot import POTConfig
from graphcl.methods.two_view import TwoView

METHODS: dict[str, type[TwoViewMethod]] = {
    "cca-ssg": CCASSGMethod,
    "csgcl": CSGCL,
    "gca": GCA,
    "gcool": GCooL,
    "grace": GRACE,
    "two-view": TwoView,
}
NO_RATES = {"drop_edges_1": 0, "drop_edges_2": 0, "mask_features_1": 0, "mask_features_2": 0}
WITHOUT_DRAWS: dict[str, dict[str, Any]] = {
    "csgcl": NO_RATES,
    "gca": NO_RATES,
    "grace": NO_RATES,
    "cca-ssg": {"drop_edges": 0, "mask_features": 0},
    "two-view": {"view_1": {"DropEdges": 0.0}, "view_2": {"MaskFeatures": 0.0}},
}


def graph() -> Data:
    data = planted_partition(
        90, 400, classes=3, features=6, generator=torch.Generator().manual_seed(0)
    )
    return Data(x=data.x, edge_index=data.edge_index, num_nodes=90)


def build(name: str, **settings: Any) -> TwoViewMethod:
    method = METHODS[name]
    size = {} if name == "two-view" else {"dimension": 8}
    torch.manual_seed(0)
    return method(configure(method.Config, {**size, **settings}), graph())


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("sampler", ["neighbours", "clusters"])
@pytest.mark.parametrize("name", METHODS)
def test_an_epoch_compares_every_node_once(name, sampler, monkeypatch):
    method = build(name, batch_size=40, sampler=sampler, fan_out=3)
    compared, compare = [], method.compare

    def recorded(z1, z2, views):
        assert len(z1) == len(z2) == len(views[0].nodes)
        assert all(int(view.edge_index.max()) < len(z1) for view in views)
        compared.append(views[0].nodes)
        return compare(z1, z2, views)

    monkeypatch.setattr(method, "compare", recorded)
    # Late enough for CSGCL's strengths, early enough for gCooL's communities.
    method.epoch_start(90 if name == "gcool" else 300, generator())
    for batch in method.batches(generator()):
        loss = method.loss(batch, generator())["total"]
        assert torch.isfinite(loss)
        loss.backward()
    assert [len(nodes) for nodes in compared] == [40, 40, 10]
    assert torch.equal(torch.cat(compared).sort().values, torch.arange(90))
    assert all(parameter.grad is not None for parameter in method.parameters())
    assert method.embed(method.data).shape[0] == 90


@pytest.mark.parametrize("sampler", ["neighbours", "clusters"])
@pytest.mark.parametrize("name", WITHOUT_DRAWS)
def test_a_batch_of_all_nodes_is_the_whole_graph(name, sampler):
    whole = build(name, **WITHOUT_DRAWS[name])
    batched = build(name, **WITHOUT_DRAWS[name], batch_size=90, sampler=sampler, fan_out=90)
    for method in (whole, batched):
        # Late enough for CSGCL's strengths to count.
        method.epoch_start(300, generator())
    (batch,) = batched.batches(generator())
    assert not torch.equal(batch.n_id, torch.arange(90))
    found, wanted = batched.loss(batch, generator()), whole.loss(whole.data, generator())
    for part, value in wanted.items():
        torch.testing.assert_close(found[part], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", WITHOUT_DRAWS)
def test_messages_reach_the_nodes_that_are_compared(name):
    """As many hops as layers, all neighbours: nothing is missing, the rim's degrees neither."""
    method = build(name, **WITHOUT_DRAWS[name])
    batch = next(NeighbourBatches(method.graph(), 4, [90] * 2).epoch(generator()))
    assert batch.num_nodes < 90
    first, _ = method.draw_views(batch, generator())
    inner = method.encode_view(first)[:4].detach()
    torch.testing.assert_close(inner, method.embed(method.data)[batch.n_id[:4]])


def test_sampled_rows_are_those_of_the_whole_graph_in_expectation():
    method = build("grace", **WITHOUT_DRAWS["grace"])
    wanted = method.matrix_of(method.data).to_dense()
    total, epochs, state = torch.zeros(90, 90), 600, generator()
    for _ in range(epochs):
        for batch in NeighbourBatches(method.data, 30, [3]).epoch(state):
            first, _ = method.draw_views(batch, state)
            rows = first.matrix.to_dense()[: batch.batch_size]
            total[batch.n_id[: batch.batch_size, None], batch.n_id] += rows
    torch.testing.assert_close(total / epochs, wanted, atol=0.04, rtol=0)
    degree = torch.bincount(method.data.edge_index[1], minlength=90)
    few = degree <= 3
    assert few.any()
    torch.testing.assert_close((total / epochs)[few], wanted[few])


def test_the_rim_has_the_degrees_that_a_view_leaves():
    whole, sampled = torch.tensor([2, 4, 0]), torch.tensor([2, 0, 0])
    edges = torch.tensor([[1], [0]])  # of two sampled ones the view kept one
    matrix = sampled_gcn_matrix(edges, whole, sampled).to_dense()
    degree = torch.tensor([2.0, 1 + 4 / 2, 1.0])
    assert matrix[0, 1] == pytest.approx(1 / (degree[0] * degree[1]).sqrt())
    torch.testing.assert_close(matrix.diag(), torch.tensor([0.5, 1.0, 1.0]))


def test_the_generator_decides():
    losses = []
    for _ in range(2):
        method = build("grace", batch_size=30, fan_out=2)
        state = generator(3)
        losses.append([method.loss(b, state)["total"].item() for b in method.batches(state)])
    assert losses[0] == losses[1]


def test_losses_that_group_nodes():
    method = build(
        "two-view", batch_size=40, clusters=5, loss={"MetaNodeInfoNCE": {"temperature": 0.5}}
    )
    method.epoch_start(1, generator())
    for batch in method.batches(generator()):
        assert torch.isfinite(method.loss(batch, generator())["total"])


def test_what_takes_no_batches():
    with pytest.raises(ConfigError, match="take no batches"):
        build("two-view", batch_size=10, view_1={"DiffuseEdges": {"top_k": 4}})
    with pytest.raises(ConfigError, match="its host takes no batches"):
        configure(POTConfig, {"host_settings": {"batch_size": 10}})
