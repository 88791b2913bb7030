"""MEOW and AdaMEOW against their formulas on dense matrices, and where data are odd."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import elu, layer_norm, normalize
from torch_geometric.data import HeteroData

from graphcl.errors import ConfigError
from graphcl.evaluate.heterogeneous_node_classification import HeterogeneousNodeClassification
from graphcl.kernels.kmeans import KMeans, kmeans
from graphcl.kernels.sparse_matrix import SparseMatrix
from graphcl.methods.adameow import AdaMEOW
from graphcl.methods.meow import (
    MEOW,
    cluster_weighted_info_nce,
    concentration,
    prototype_contrast,
)
from graphcl.methods.meta_path_graph import meta_path_graph, relation_matrix
from graphcl.train.seeds import seed_everything


@pytest.fixture
def data(tiny_heterogeneous: Path) -> Any:
    return HeterogeneousNodeClassification().load(str(tiny_heterogeneous), None, 0).train


def unit(count: int, seed: int, width: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(count, width, generator=generator, dtype=torch.float64)
    return normalize(rows).requires_grad_()


def clusterings(count: int, *sizes: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(9)
    return [torch.randint(size, (count,), generator=generator) for size in sizes]


def dense(x: Tensor | SparseMatrix) -> Tensor:
    return x.to_dense() if isinstance(x, SparseMatrix) else x


def built(method: type, data: Any, **settings: Any) -> Any:
    seed_everything(0)
    return method(method.Config(**settings), data)


def test_negatives_weigh_as_many_clusterings_as_part_them() -> None:
    anchors, samples = unit(12, 1), unit(12, 2)
    found = clusterings(12, 3, 4, 2)
    weight = sum((own[:, None] != own[None, :]).double() for own in found)
    exponentials = (anchors @ samples.T / 0.3).exp()
    wanted = -(exponentials.diagonal() / (weight * exponentials).sum(dim=1)).log().mean()
    value = cluster_weighted_info_nce(anchors, samples, found, 0.3)
    torch.testing.assert_close(value, wanted)
    for side in (anchors, samples):
        slopes = [torch.autograd.grad(loss, side, retain_graph=True)[0] for loss in (value, wanted)]
        torch.testing.assert_close(*slopes)


def test_one_cluster_has_no_negatives() -> None:
    anchors, samples = unit(6, 1), unit(6, 2)
    value = cluster_weighted_info_nce(anchors, samples, [torch.zeros(6, dtype=torch.long)], 0.3)
    assert value.item() == 0
    (slope,) = torch.autograd.grad(value, anchors)
    assert (slope == 0).all()


def test_prototypes_are_contrasted_with_their_own_temperatures() -> None:
    anchors = unit(15, 3)
    found = kmeans(unit(15, 4).detach(), 4, generator=torch.Generator().manual_seed(0))
    phi = torch.tensor([0.2, 0.5, 1.0, 0.3], dtype=torch.float64)
    logits = anchors @ normalize(found.centroids).T / phi
    wanted = torch.nn.functional.cross_entropy(logits, found.assignment)
    torch.testing.assert_close(prototype_contrast(anchors, found, phi), wanted)


@pytest.mark.parametrize("density", ["distance", "similarity"])
def test_concentration_is_the_clipped_and_scaled_density(density: str) -> None:
    rows = unit(40, 5).detach()
    found = kmeans(rows, 12, generator=torch.Generator().manual_seed(1))
    values = []
    for cluster in range(12):
        members = rows[found.assignment == cluster]
        centre = found.centroids[cluster]
        apart = (
            (members - centre).norm(dim=1)
            if density == "distance"
            else (members @ centre).clamp_min(0).sqrt()
        )
        loose = apart.mean() / math.log(len(members) + 5)
        values.append(float(loose) if len(members) > 1 else -1.0)
    wanted = torch.tensor([value if value >= 0 else max(values) for value in values]).double()
    wanted = wanted.clamp(wanted.quantile(0.1), wanted.quantile(0.9))
    wanted = (0.4 * wanted / wanted.mean()).clamp_min(0.04)
    torch.testing.assert_close(concentration(rows, found, 0.4, density), wanted)


def test_clusters_of_equal_rows_have_one_concentration() -> None:
    rows = torch.eye(3).repeat_interleave(4, dim=0)
    assert concentration(rows, kmeans(rows, 3), 0.4).tolist() == pytest.approx([0.4] * 3)
    empty = KMeans(torch.zeros(1, dtype=torch.long), torch.eye(2, 3), torch.tensor([1, 0]))
    assert concentration(rows[:1], empty, 0.4).tolist() == pytest.approx([0.4] * 2)


def test_contexts_are_means_over_paths(data: Any) -> None:
    data.meta_paths = {"papsp": ("paper", "author", "paper", "subject", "paper")}
    (path,) = meta_path_graph(data, [7], feature_scaling="none").paths
    author = relation_matrix(data, "paper", "author").to_dense()
    subject = relation_matrix(data, "paper", "subject").to_dense()
    assert [context.kind for context in path.contexts] == ["author", "paper", "subject"]
    products = [author, author @ author.T, author @ author.T @ subject]
    for context, paths in zip(path.contexts, products, strict=True):
        x = torch.randn(paths.shape[1], 4)
        wanted = torch.nan_to_num(paths @ x / paths.sum(dim=1, keepdim=True))
        torch.testing.assert_close(context.mean(x), wanted)
    # The last paper of the small graph has no author, so no path and nothing to average.
    assert (path.contexts[0].mean(torch.ones(30, 1))[-1] == 0).all()


def test_relations_are_found_either_way_round(data: Any) -> None:
    there = relation_matrix(data, "paper", "author")
    back = relation_matrix(data, "author", "paper")
    assert torch.equal(back.to_dense(), there.to_dense().T)


def test_a_node_without_neighbours_keeps_itself(data: Any) -> None:
    graph = meta_path_graph(data, [5, 5], feature_scaling="none")
    pap = graph.paths[0].matrix.to_dense()
    assert pap[-1, -1] == 1
    assert pap[-1, :-1].sum() == 0
    mean = sum(path.matrix.to_dense() for path in graph.paths) / 2
    torch.testing.assert_close(graph.mean_matrix().to_dense(), mean)


def reference_views(method: Any) -> tuple[Tensor, Tensor]:
    """Coarse view and fused fine view in dense algebra, without dropout and masks."""
    graph = method.graph
    h = {
        kind: elu(dense(x) @ projection.weight + projection.bias)
        for (kind, x), projection in zip(graph.features.items(), method.projections, strict=True)
    }

    def encode(x: Tensor, matrix: Tensor) -> Tensor:
        first, second = method.encoder.weights
        x = matrix @ method.encoder.activations[0](matrix @ x @ first) @ second
        return layer_norm(x, x.shape)

    matrices = [path.matrix.to_dense() for path in graph.paths]
    coarse = encode(h["paper"], sum(matrices) / len(matrices))
    views = []
    for path, matrix, linears in zip(graph.paths, matrices, method.aggregators, strict=True):
        context = path.contexts[0]
        steps = context.steps[0].to_dense()
        mean = torch.nan_to_num(steps @ h[context.kind] / steps.sum(dim=1, keepdim=True))
        views.append(normalize(encode(elu(h["paper"] + linears[0](mean)), matrix)))
    scores = [
        (torch.tanh(method.attention.linear(view)) @ method.attention.query.T).mean()
        for view in views
    ]
    beta = torch.softmax(torch.stack(scores), dim=0)
    return coarse, sum(weight * view for weight, view in zip(beta, views, strict=True))


def test_embedding_is_the_fused_fine_view(data: Any) -> None:
    method = built(MEOW, data, neighbours=(9, 4)).eval()
    torch.testing.assert_close(method.embed(data), reference_views(method)[1], rtol=1e-4, atol=1e-5)
    # The same graph in another object is read anew, to the same embedding.
    torch.testing.assert_close(method.embed(copy.copy(data)), method.embed(data))


def test_rate_zero_changes_nothing_but_weights_of_edges(data: Any) -> None:
    method = built(MEOW, data, mask_features=0.0, mask_edges=0.0, neighbours=4)
    masks = method._draw_masks(torch.Generator().manual_seed(0))
    assert torch.equal(dense(masks.features), dense(method.graph.features["paper"]))
    for path, masked in zip(method.graph.paths, masks.matrices, strict=True):
        edges = (path.neighbours.to_dense() > 0).float().fill_diagonal_(1)
        degree = edges.sum(dim=1)
        wanted = edges / (degree[:, None] * degree[None, :]).sqrt()
        torch.testing.assert_close(masked.to_dense(), wanted)


def test_masks_are_drawn_from_the_generator_or_once(data: Any) -> None:
    fresh = built(MEOW, data)
    first, again, other = (
        fresh._draw_masks(torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(dense(first.features), dense(again.features))
    assert not torch.equal(dense(first.features), dense(other.features))
    share = (
        dense(first.features).count_nonzero() / dense(fresh.graph.features["paper"]).count_nonzero()
    )
    assert 0.6 < share < 0.8
    fixed = built(MEOW, data, masks="fixed").eval()
    # The masked copies are part of what it embeds, the same in every call.
    assert torch.equal(fixed.embed(data), fixed.embed(data))
    assert not torch.allclose(fixed.embed(data), fresh.eval().embed(data))
    assert torch.equal(fixed.embed(data), built(MEOW, data, masks="fixed").eval().embed(data))


def test_meow_adds_up(data: Any) -> None:
    method = built(MEOW, data, clusters=(4, 9), prototype_weight=0.3)
    parts = method.loss(data, torch.Generator().manual_seed(0))
    torch.testing.assert_close(parts["total"], parts["contrast"] + 0.3 * parts["prototypes"])


@pytest.mark.parametrize("constrained", [True, False])
def test_adameow_is_the_weighted_contrast(data: Any, constrained: bool) -> None:
    method = built(AdaMEOW, data, constrained=constrained, dropout=0.0)
    coarse, fine = method.contrasted(torch.Generator().manual_seed(0))
    sums = fine[:, None] + coarse[None, :]
    weight = torch.sigmoid(method.second(torch.tanh(method.first(sums)))).squeeze(-1)
    if constrained:
        weight = weight / weight.mean(dim=1, keepdim=True)
    exponentials = (fine @ coarse.T).exp()
    wanted = -(exponentials.diagonal() / (weight * exponentials).sum(dim=1)).log().mean()
    value = method.loss(data, torch.Generator().manual_seed(0))["total"]
    torch.testing.assert_close(value, wanted)


def test_only_the_constraint_bounds_adameow(data: Any) -> None:
    values = {}
    for constrained in (True, False):
        method = built(AdaMEOW, data, constrained=constrained)
        with torch.no_grad():
            method.second.bias.fill_(-60)
        values[constrained] = method.loss(data, torch.Generator().manual_seed(0))["total"].item()
    assert values[True] >= math.log(60) - 2
    assert values[False] < -50


def test_adameow_takes_a_random_part_of_the_anchors(data: Any) -> None:
    whole = built(AdaMEOW, data, dropout=0.0, mask_edges=0.0, mask_features=0.0)
    part = built(AdaMEOW, data, dropout=0.0, mask_edges=0.0, mask_features=0.0, anchors=20)
    total = whole.loss(data, torch.Generator().manual_seed(0))["total"].item()
    draws = [
        part.loss(data, torch.Generator().manual_seed(seed))["total"].item() for seed in range(30)
    ]
    assert len(set(draws)) > 1
    assert sum(draws) / 30 == pytest.approx(total, abs=0.02)


def bare(data: Any) -> Any:
    """Without a single author."""
    data["paper", "to", "author"].edge_index = torch.zeros(2, 0, dtype=torch.long)
    return data


def featureless(data: Any) -> Any:
    del data["paper"].x
    return data


def constant(data: Any) -> Any:
    data["paper"].x = torch.ones(60, 3)
    return data


def one_path(data: Any) -> Any:
    data.meta_paths = {"psp": data.meta_paths["psp"]}
    return data


@pytest.mark.parametrize("method", [MEOW, AdaMEOW])
@pytest.mark.parametrize("change", [bare, featureless, constant, one_path])
def test_odd_data_train_to_finite_embeddings(data: Any, method: type, change: Any) -> None:
    model = built(method, change(data))
    optimizer = model.optimizer()
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        parts = model.loss(data, generator)
        assert torch.isfinite(parts["total"])
        optimizer.zero_grad()
        parts["total"].backward()
        optimizer.step()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert torch.isfinite(model.eval().embed(data)).all()


@st.composite
def heterogeneous(draw: Any) -> Any:
    """Any small graph of papers, authors and venues, features or not, edges or not."""
    sizes = {kind: draw(st.integers(1, 6)) for kind in ("paper", "author", "venue")}
    data = HeteroData()
    for kind, size in sizes.items():
        data[kind].num_nodes = size
        if draw(st.booleans()):
            data[kind].x = torch.randn(size, draw(st.integers(1, 3)))
    for source, target in (("paper", "author"), ("venue", "paper")):
        ends = st.tuples(st.integers(0, sizes[source] - 1), st.integers(0, sizes[target] - 1))
        edges = draw(st.lists(ends, unique=True, max_size=12))
        edge_index = torch.tensor(edges, dtype=torch.long).view(-1, 2).T
        data[source, "to", target].edge_index = edge_index
    paths = {
        "pap": ("paper", "author", "paper"),
        "pvp": ("paper", "venue", "paper"),
        "pvpap": ("paper", "venue", "paper", "author", "paper"),
    }
    names = draw(st.lists(st.sampled_from(sorted(paths)), unique=True, min_size=1))
    data.target, data.meta_paths = "paper", {name: paths[name] for name in names}
    return data


@settings(max_examples=25, deadline=None)
@given(data=heterogeneous(), method=st.sampled_from([MEOW, AdaMEOW]), seed=st.integers(0, 99))
def test_any_small_graph_gives_finite_losses_and_gradients(
    data: Any, method: type, seed: int
) -> None:
    model = built(method, data, dimension=4, neighbours=2)
    parts = model.loss(data, torch.Generator().manual_seed(seed))
    parts["total"].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    embedding = model.eval().embed(data)
    assert embedding.shape == (data["paper"].num_nodes, 4)
    assert torch.isfinite(embedding).all()


@pytest.mark.parametrize("clusters", [(1,), (1, 1), (60,), (200, 1)])
def test_one_cluster_or_more_than_nodes(data: Any, clusters: tuple[int, ...]) -> None:
    parts = built(MEOW, data, clusters=clusters).loss(data, torch.Generator().manual_seed(0))
    parts["total"].backward()
    assert all(torch.isfinite(part) for part in parts.values())


def test_settings_need_a_value_for_each_meta_path(data: Any) -> None:
    with pytest.raises(ConfigError, match=r"'neighbours' needs one value.*pap, psp \(got 3\)"):
        built(MEOW, data, neighbours=(1, 2, 3))
    with pytest.raises(ConfigError, match=r"'mask_edges' needs one value"):
        built(AdaMEOW, data, mask_edges=(0.1,))
