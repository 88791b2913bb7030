"""Parts of BGRL, DGI, GGD, MVGRL, CCA-SSG and GCA against their formulas."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cosine_similarity
from torch_geometric.data import Data

from graphcl.config import configure
from graphcl.encoders import GCN, MovingAverage, gcn_matrix
from graphcl.errors import ArgumentError
from graphcl.kernels.sparse_matrix import SparseMatrix
from graphcl.methods.bgrl import BGRL, warm_up_and_cosine
from graphcl.methods.cca_ssg import CCASSGMethod
from graphcl.methods.dgi import DGI
from graphcl.methods.gca import GCA
from graphcl.methods.ggd import GGD
from graphcl.methods.infomax import encode_with_corruption, shuffled_rows, summarise
from graphcl.methods.mvgrl import MVGRL
from graphcl.views import mask_features


def graph(nodes: int = 14, seed: int = 0) -> Data:
    generator = torch.Generator().manual_seed(seed)
    adjacent = torch.rand(nodes, nodes, generator=generator).triu(1) > 0.7
    source, target = adjacent.nonzero(as_tuple=True)
    edge_index = torch.stack([torch.cat([source, target]), torch.cat([target, source])])
    x = (torch.rand(nodes, 9, generator=generator) > 0.6).float()
    return Data(x=x, edge_index=edge_index, num_nodes=nodes)


def build(method: type, **settings: object):
    torch.manual_seed(0)
    small = {"dimension": 6} if "dimension" in method.Config.model_fields else {}
    return method(configure(method.Config, small | settings), graph())


@pytest.mark.parametrize("sparse", [False, True])
def test_corruption_is_the_encoding_of_shuffled_features(sparse: bool) -> None:
    data = graph()
    torch.manual_seed(0)
    encoder = GCN(9, [5], activation="prelu")
    matrix = gcn_matrix(data.edge_index, 14)
    order = shuffled_rows(14, torch.Generator().manual_seed(1), torch.device("cpu"))
    features: Tensor | SparseMatrix = data.x
    if sparse:
        rows, columns = data.x.nonzero(as_tuple=True)
        features = SparseMatrix.from_edge_index(torch.stack([rows, columns]), shape=(14, 9))
    real, corrupted = encode_with_corruption(encoder, features, matrix, order)
    torch.testing.assert_close(real, encoder(data.x, matrix))
    torch.testing.assert_close(corrupted, encoder(data.x[order], matrix))


def test_dgi_is_equation_1() -> None:
    model = build(DGI)
    parts = model.loss(model.data, torch.Generator().manual_seed(3))
    order = shuffled_rows(14, torch.Generator().manual_seed(3), torch.device("cpu"))
    dense = (
        model.features.to_dense() if isinstance(model.features, SparseMatrix) else model.features
    )
    real = model.encoder(dense, model.matrix_of(model.data))
    corrupted = model.encoder(dense[order], model.matrix_of(model.data))
    summary = summarise(real)
    scores = torch.cat([model.discriminator(part, summary) for part in (real, corrupted)])
    labels = torch.cat([torch.ones(14), torch.zeros(14)])
    wanted = binary_cross_entropy_with_logits(scores, labels)
    torch.testing.assert_close(parts["total"], wanted)


def test_ggd_sums_the_projection() -> None:
    model = build(GGD, mask_features=0.0, smoothing=0)
    parts = model.loss(model.data, torch.Generator().manual_seed(3))
    generator = torch.Generator().manual_seed(3)
    mask_features(model.features, 0.0, generator=generator)  # takes its draws all the same
    order = shuffled_rows(14, generator, torch.device("cpu"))
    pair = encode_with_corruption(model.encoder, model.features, model.matrix_of(model.data), order)
    scores = torch.cat([model.projection(part).sum(dim=1) for part in pair])
    labels = torch.cat([torch.ones(14), torch.zeros(14)])
    wanted = binary_cross_entropy_with_logits(scores, labels)
    torch.testing.assert_close(parts["total"], wanted)


def test_mvgrl_sees_itself_when_its_views_are_one() -> None:
    model = build(MVGRL)
    model.diffusion = model.matrix_of(model.data)
    model.diffusion_encoder.load_state_dict(model.encoder.state_dict())
    parts = model.loss(model.data, torch.Generator().manual_seed(0))
    torch.testing.assert_close(parts["graph"], parts["diffusion"])


def test_bgrl_predicts_the_target_of_the_other_view() -> None:
    model = build(BGRL, widths=[7, 5], predictor=8)
    views = torch.Generator().manual_seed(2)
    parts = model.loss(model.data, views)
    views = torch.Generator().manual_seed(2)
    first = model.random_view(model.data, 0.4, 0.1, views)
    second = model.random_view(model.data, 0.1, 0.2, views)
    prediction = model.predictor(model.encoder(first.features, first.matrix))
    target = model.target(second.features, second.matrix)
    wanted = (2 - 2 * cosine_similarity(prediction, target)).mean()
    torch.testing.assert_close(parts["first"], wanted, rtol=1e-4, atol=1e-5)
    parts["total"].backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert list(model.target.parameters()) == []


def test_bgrl_moves_its_target_and_its_rate() -> None:
    model = build(BGRL, widths=[5], epochs=10, warm_up=2, momentum=0.5, learning_rate=1.0)
    optimizer = model.optimizer()
    before = model.target.module.get_buffer("weights.0").clone()
    model.epoch_start(1, torch.Generator())
    assert torch.equal(model.target.module.get_buffer("weights.0"), before)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.5)
    model.epoch_start(2, torch.Generator())
    momentum = 1 - 0.5 * (1 + math.cos(math.pi * 0.1)) / 2
    wanted = momentum * before + (1 - momentum) * model.encoder.weights[0]
    torch.testing.assert_close(model.target.module.get_buffer("weights.0"), wanted.detach())


def test_learning_rate_rises_and_falls() -> None:
    rates = [warm_up_and_cosine(epoch, 3, 10) for epoch in range(1, 11)]
    assert rates[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert all(left > right for left, right in itertools.pairwise(rates[2:]))
    assert 0 < rates[-1] < 0.1


def test_moving_average_refuses_another_module() -> None:
    copy = MovingAverage(torch.nn.Linear(2, 3))
    with pytest.raises(ArgumentError, match="momentum must lie in"):
        copy.update(torch.nn.Linear(2, 3), 1.5)
    with pytest.raises(ArgumentError, match="no twin in the copy"):
        copy.update(torch.nn.Linear(4, 3), 0.5)


def test_cca_ssg_parts_add_up() -> None:
    model = build(CCASSGMethod, decorrelation=0.3)
    parts = model.loss(model.data, torch.Generator().manual_seed(0))
    total = parts["agreement"] + parts["decorrelation"]
    torch.testing.assert_close(total, parts["total"].detach())
    assert float(parts["decorrelation"]) > 0


def test_cca_ssg_with_an_mlp_sees_no_edge() -> None:
    model = build(CCASSGMethod, encoder="mlp").eval()
    lonely = graph()
    lonely.edge_index = lonely.edge_index[:, :0]
    torch.testing.assert_close(model.embed(model.data), model.embed(lonely))


@pytest.mark.parametrize("centrality", ["degree", "eigenvector", "pagerank"])
def test_gca_spares_what_is_central(centrality: str) -> None:
    model = build(GCA, centrality=centrality, drop_edges_1=0.3, threshold=0.9)
    keep = model.keep_edges[0]
    degree = torch.bincount(model.data.edge_index[0], minlength=14).float()
    ends = degree[model.data.edge_index].sum(dim=0)
    assert keep[ends.argmax()] > keep[ends.argmin()]
    assert ((keep >= 0.1 - 1e-6) & (keep <= 1)).all()


@pytest.mark.parametrize("normalisation", ["batch", "layer"])
def test_gcn_normalises_its_layers(normalisation: str) -> None:
    data = graph()
    encoder = GCN(9, [4], last_activation=False, normalisation=normalisation)
    output = encoder(data.x, data.edge_index)
    axis = 0 if normalisation == "batch" else 1
    assert output.mean(dim=axis).abs().max() < 1e-5
    with pytest.raises(ArgumentError, match="'batch', 'layer' or None"):
        GCN(9, [4], normalisation="instance")
