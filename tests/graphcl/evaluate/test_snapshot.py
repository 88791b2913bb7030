"""What a run keeps for a report, against definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from graphcl.errors import NonFiniteError
from graphcl.evaluate.snapshot import (
    LARGEST_SNAPSHOT,
    MOST_VALUES,
    WIDEST_SPECTRUM,
    graph_snapshot,
    histogram_arrays,
    sampled_uniformity,
    spectrum_array,
    view_alignment,
)
from graphcl.methods.contract import Method, MethodConfig
from graphcl.methods.csgcl import CSGCL


def graph(nodes: int = 30) -> Data:
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(nodes, (2, 4 * nodes), generator=generator)
    edges = torch.cat([edges, edges.flip(0)], dim=1)
    return Data(x=torch.rand(nodes, 6, generator=generator), edge_index=edges)


class Sums(Method):
    """Embeds a node as its features plus those of its neighbours."""

    def embed(self, data):
        return data.x.index_add(0, data.edge_index[1], data.x[data.edge_index[0]])

    def histograms(self):
        return {"degree/all": torch.arange(2.0 * MOST_VALUES).flip(0), "few": torch.ones(3)}


class Fixed(Method):
    """Embeddings that do not depend on the graph."""

    def embed(self, data):
        return torch.eye(len(data.x))


def test_spectrum_is_the_singular_values_of_the_centred_rows():
    rows = torch.randn(40, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows = rows + 5  # an offset that must not count
    found = spectrum_array(rows)["spectrum"]
    expected = torch.linalg.svdvals(rows - rows.mean(dim=0)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    # More columns than rows: no more values than rows.
    assert len(spectrum_array(rows.T)["spectrum"]) == 7


@pytest.mark.parametrize("shape", [(3, 0), (1, 4), (3, WIDEST_SPECTRUM + 1)])
def test_no_spectrum_where_it_says_nothing_or_costs_too_much(shape):
    assert spectrum_array(torch.zeros(shape)) == {}


def test_uniformity_by_its_definition():
    rows = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    unit = torch.nn.functional.normalize(rows.double(), dim=1)
    squares = (unit[:, None] - unit[None]).square().sum(-1)
    pairs = ~torch.eye(20, dtype=torch.bool)
    expected = float((-2 * squares[pairs]).exp().mean().log())
    assert sampled_uniformity(rows) == pytest.approx(expected, rel=1e-5)


def test_alignment_of_an_embedding_that_ignores_the_graph_is_zero():
    data = graph()
    assert view_alignment(Fixed(MethodConfig(), data), data) == 0
    method = Sums(MethodConfig(), data)
    first, second = view_alignment(method, data), view_alignment(method, data)
    assert 0 < first == second < 4


def test_looking_draws_nothing_from_the_global_generator_and_changes_nothing():
    data = graph()
    before, edges = torch.random.get_rng_state(), data.edge_index.clone()
    snapshot = graph_snapshot(Sums(MethodConfig(), data), data, torch.arange(30), "number")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(data.edge_index, edges)
    assert snapshot["embedding"].shape == (30, 6)
    assert snapshot["colour"].tolist() == list(range(30))
    assert "20 % of the edges" in str(snapshot["positives"])
    assert {"spectrum", "alignment", "uniformity"} < snapshot.keys()


def test_large_graphs_keep_some_nodes_with_their_colours():
    data = graph(LARGEST_SNAPSHOT + 500)
    method = Sums(MethodConfig(), data)
    snapshot = graph_snapshot(method, data, torch.arange(len(data.x)), "number")
    assert len(snapshot["embedding"]) == len(snapshot["colour"]) == LARGEST_SNAPSHOT
    expected = method.embed(data)[snapshot["colour"]].numpy()
    np.testing.assert_array_equal(snapshot["embedding"], expected)


def test_histograms_of_many_values_are_stored_by_quantiles():
    data = graph()
    stored = histogram_arrays(Sums(MethodConfig(), data))
    assert list(stored) == ["histogram/degree/all", "histogram/few"]
    values = stored["histogram/degree/all"]
    assert len(values) == MOST_VALUES
    assert (values[0], values[-1]) == (0, 2 * MOST_VALUES - 1)
    assert abs(np.median(values) - MOST_VALUES) < 2
    assert stored["histogram/few"].tolist() == [1, 1, 1]


def test_edges_of_csgcl_are_told_apart_by_their_communities():
    data = graph()
    method = CSGCL(CSGCL.Config(dimension=4, projection=4), data)
    values = method.histograms()
    for number, view in enumerate(method.communal_views, start=1):
        title = f"probability that view {number} keeps an edge"
        parts = [
            values[f"{title}/{side}"] for side in ("inside a community", "between communities")
        ]
        assert sum(map(len, parts)) == data.num_edges
        assert torch.equal(torch.cat(parts).sort().values, view.keep_edges.sort().values)
    assert values["community strength of the nodes"].shape == (30,)


def test_embeddings_that_are_not_finite_are_refused():
    data = graph()
    data.x[3] = torch.nan
    with pytest.raises(NonFiniteError):
        graph_snapshot(Sums(MethodConfig(), data), data, torch.arange(30), "number")
