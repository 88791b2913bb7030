"""InfoNCE and DecoupledInfoNCE against double loops written from the papers' formulas."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.losses import (
    DecoupledInfoNCE,
    InfoNCE,
    InfoNCEAllNodes,
    decoupled_info_nce,
    hardness_weighted_info_nce,
    info_nce,
    info_nce_all_nodes,
    margin_info_nce,
)
from graphcl.losses.decoupled_info_nce import positive_weight


def views(count: int = 7, dimension: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z1 = torch.randn(count, dimension, generator=generator, dtype=torch.float64)
    return z1, z1 + torch.randn(count, dimension, generator=generator, dtype=torch.float64)


def cosine(a: list[float], b: list[float]) -> float:
    length = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / length


def anchor_loss(
    u: list[list[float]],
    v: list[list[float]],
    i: int,
    temperature: float,
    intra_view: bool,
    decoupled: bool = False,
    weight: float = 1.0,
    bias_u: list[float] | None = None,
    bias_v: list[float] | None = None,
) -> float:
    """Zhu et al. 2020, eq. 1, and its variants, one anchor at a time."""
    bias_u, bias_v = bias_u or [0.0] * len(u), bias_v or [0.0] * len(v)
    total = 0.0
    for k in range(len(u)):
        if not (decoupled and k == i):
            total += math.exp(cosine(u[i], v[k]) / temperature + bias_v[k])
        if intra_view and k != i:
            total += math.exp(cosine(u[i], u[k]) / temperature + bias_u[k])
    positive = cosine(u[i], v[i]) / temperature + bias_v[i]
    return math.log(total) - weight * positive


@pytest.mark.parametrize("backend", ["dense", "tiles"])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("intra_view", [False, True])
@pytest.mark.parametrize("decoupled", [False, True])
def test_matches_the_formula(
    decoupled: bool, intra_view: bool, symmetric: bool, biased: bool, backend: str
) -> None:
    z1, z2 = views()
    u, v = z1.tolist(), z2.tolist()
    generator = torch.Generator().manual_seed(5)
    bias1, bias2 = torch.randn(2, 7, generator=generator, dtype=torch.float64)
    b1, b2 = (bias1.tolist(), bias2.tolist()) if biased else (None, None)
    expected = []
    for i in range(7):
        forth = anchor_loss(u, v, i, 0.3, intra_view, decoupled, 1.0, b1, b2)
        back = anchor_loss(v, u, i, 0.3, intra_view, decoupled, 1.0, b2, b1)
        expected.append((forth + back) / 2 if symmetric else forth)
    function = decoupled_info_nce if decoupled else info_nce
    values = function(
        z1,
        z2,
        0.3,
        intra_view=intra_view,
        symmetric=symmetric,
        column_bias=(bias1, bias2) if biased else None,
        reduction="none",
        backend=backend,
    )
    assert torch.allclose(values, torch.tensor(expected, dtype=torch.float64), rtol=1e-10)


@pytest.mark.parametrize("intra_view", [False, True])
@pytest.mark.parametrize(
    "function", [info_nce, decoupled_info_nce, margin_info_nce, hardness_weighted_info_nce]
)
def test_a_bias_of_minus_infinity_removes_the_node(function: Any, intra_view: bool) -> None:
    z1, z2 = (view.requires_grad_() for view in views())
    bias = torch.zeros(7, dtype=torch.float64)
    bias[3] = -math.inf
    settings = {"intra_view": intra_view, "reduction": "none"}
    values = function(z1, z2, 0.5, column_bias=bias, **settings)
    others = torch.tensor([0, 1, 2, 4, 5, 6])
    assert float(values[3].detach()) == 0
    assert torch.allclose(values[others], function(z1[others], z2[others], 0.5, **settings))
    for gradient in torch.autograd.grad(values.sum(), (z1, z2)):
        assert torch.isfinite(gradient).all()
    weighted = decoupled_info_nce(
        z1, z2, 0.5, column_bias=bias, weighted=True, clamp_weight=True, reduction="none"
    )
    assert torch.isfinite(weighted).all()


def test_one_bias_serves_both_views() -> None:
    z1, z2 = views()
    bias = torch.linspace(-1, 1, 7, dtype=torch.float64)
    for intra_view in (False, True):
        loss = InfoNCE(0.4, intra_view=intra_view)
        assert torch.equal(loss(z1, z2, bias), loss(z1, z2, (bias, bias)))
        assert not torch.allclose(loss(z1, z2, bias), loss(z1, z2))


def test_weighted_decoupled_loss_matches_the_formula() -> None:
    z1, z2 = views()
    u, v = z1.tolist(), z2.tolist()
    exponentials = [math.exp(cosine(a, b) / 0.5) for a, b in zip(u, v, strict=True)]
    mean = sum(exponentials) / 7
    weights = [2 - value / mean for value in exponentials]
    assert sum(weights) / 7 == pytest.approx(1.0)
    expected = [
        (
            anchor_loss(u, v, i, 0.1, True, True, weights[i])
            + anchor_loss(v, u, i, 0.1, True, True, weights[i])
        )
        / 2
        for i in range(7)
    ]
    values = DecoupledInfoNCE(0.1, weighted=True, reduction="none")(z1, z2)
    assert torch.allclose(values, torch.tensor(expected, dtype=torch.float64), rtol=1e-10)


def test_clamped_weights_push_no_positive_away() -> None:
    z1, z2 = views(40)
    # One pair much closer than all others.
    z2 = torch.cat([z1[:1].detach(), z2[1:].detach()])
    settings = {"weighted": True, "sigma": 0.2, "reduction": "none"}
    weight = positive_weight(z1, z2, sigma=0.2)
    assert weight[0] < 0
    plain = decoupled_info_nce(z1, z2, 0.5, weighted=False, reduction="none")
    weighted = decoupled_info_nce(z1, z2, 0.5, **settings)
    clamped = decoupled_info_nce(z1, z2, 0.5, clamp_weight=True, **settings)
    similarity = torch.nn.functional.cosine_similarity(z1, z2) / 0.5
    assert torch.allclose(weighted, plain + (1 - weight) * similarity)
    assert torch.allclose(clamped, plain + (1 - weight.clamp_min(0)) * similarity)


def test_the_positive_weight_carries_no_gradient() -> None:
    z1, z2 = views()
    z1.requires_grad_()
    u, v = (torch.nn.functional.normalize(view, dim=1) for view in (z1, z2))
    positive = (u * v).sum(1)
    denominator = ((u @ v.T) / 0.5).fill_diagonal_(-torch.inf).logsumexp(1)
    weight = 2 - 7 * torch.softmax(positive / 0.5, dim=0)
    actual = decoupled_info_nce(z1, z2, 0.5, weighted=True, symmetric=False, intra_view=False)
    (gradient,) = torch.autograd.grad(actual, z1)
    for factor, equal in ((weight.detach(), True), (weight, False)):
        loss = (denominator - factor * positive / 0.5).mean()
        assert float(loss.detach()) == pytest.approx(float(actual.detach()))
        (expected,) = torch.autograd.grad(loss, z1, retain_graph=True)
        assert torch.allclose(gradient, expected, rtol=1e-9) is equal


def test_decoupled_pull_on_a_learnt_positive_does_not_fade() -> None:
    # Positives at cosine 1, negatives at 0. The derivative by the temperature is
    # (s_positive - mean s under the softmax) / temperature^2: the softmax of
    # InfoNCE sits on the positive, that of DCL cannot.
    z = torch.eye(8, dtype=torch.float64)
    slopes = []
    for function in (info_nce, decoupled_info_nce):
        temperature = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
        value = function(z, z, temperature, intra_view=True)
        slopes += torch.autograd.grad(value, temperature)
    assert float(slopes[0]) == pytest.approx(0.0, abs=0.1)
    assert float(slopes[1]) == pytest.approx(100.0)


@pytest.mark.parametrize("count", [1, 2, 50, 300])
@pytest.mark.parametrize("temperature", [0.01, 0.5])
def test_identical_embeddings_give_log_of_two_n_minus_one(count: int, temperature: float) -> None:
    z = torch.ones(count, 8, dtype=torch.float64)
    value = info_nce(z, z, temperature, intra_view=True)
    assert float(value) == pytest.approx(math.log(2 * count - 1), abs=1e-10)
    assert float(info_nce(z, z, temperature)) == pytest.approx(math.log(count), abs=1e-10)


@pytest.mark.parametrize("backend", ["dense", "tiles"])
@pytest.mark.parametrize("temperature", [0.001, 0.005, 0.01])
def test_low_temperature_is_finite_where_naive_exponentials_are_not(
    temperature: float, backend: str
) -> None:
    z1, z2 = (view.float() for view in views(64, 16))
    u, v = (torch.nn.functional.normalize(view, dim=1) for view in (z1, z2))
    naive = torch.exp(u @ v.T / 0.005).sum(1) + torch.exp(u @ u.T / 0.005).sum(1)
    assert naive.isinf().any()
    leaf = z1.clone().requires_grad_()
    value = info_nce(leaf, z2, temperature, intra_view=True, backend=backend)
    value.backward()
    exact = info_nce(z1.double(), z2.double(), temperature, intra_view=True)
    assert float(value.detach()) == pytest.approx(float(exact), rel=1e-4)
    assert leaf.grad is not None
    assert torch.isfinite(leaf.grad).all()


def test_the_scale_of_the_embeddings_does_not_matter() -> None:
    z1, z2 = (view.float() for view in views(10))
    reference = info_nce(z1, z2, 0.2, intra_view=True)
    for factor in (1e-8, 1e30):
        assert torch.allclose(info_nce(z1 * factor, z2, 0.2, intra_view=True), reference)


def test_zero_vectors_get_zero_gradient() -> None:
    z1, z2 = views(10)
    z1[3] = 0
    z1.requires_grad_()
    info_nce(z1, z2, 0.2, intra_view=True).backward()
    assert z1.grad is not None
    assert torch.equal(z1.grad[3], torch.zeros(4, dtype=torch.float64))
    assert z1.grad[4].abs().sum() > 0


@pytest.mark.parametrize("function", [info_nce, decoupled_info_nce])
@pytest.mark.parametrize("intra_view", [False, True])
def test_gradcheck_with_a_learnt_temperature(function: object, intra_view: bool) -> None:
    z1, z2 = (view.requires_grad_() for view in views(5, 3))
    temperature = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(5, dtype=torch.float64, requires_grad=True)
    for backend in ("dense", "tiles"):

        def call(*inputs: Tensor, backend: str = backend) -> Tensor:
            a, b, tau, weight = inputs
            return function(a, b, tau, intra_view=intra_view, column_bias=weight, backend=backend)

        assert torch.autograd.gradcheck(call, (z1, z2, temperature, bias))


def test_a_temperature_parameter_is_a_parameter_of_the_module() -> None:
    loss = InfoNCE(torch.nn.Parameter(torch.tensor(0.5)))
    loss(*(view.float() for view in views())).backward()
    (parameter,) = loss.parameters()
    assert parameter.grad is not None
    assert parameter.grad != 0


@pytest.mark.parametrize(
    "loss", [InfoNCE(0.5), InfoNCE(0.5, intra_view=True), DecoupledInfoNCE(0.5)]
)
def test_ten_steps_of_descent_raise_the_similarity_of_positives(loss: torch.nn.Module) -> None:
    z1, z2 = (view.clone().requires_grad_() for view in views(30, 8))
    optimiser = torch.optim.SGD([z1, z2], lr=10.0)
    similarity = torch.nn.CosineSimilarity()
    before = float(loss(z1, z2).detach()), float(similarity(z1, z2).detach().mean())
    for _ in range(10):
        optimiser.zero_grad()
        loss(z1, z2).backward()
        optimiser.step()
    assert float(loss(z1, z2).detach()) < before[0]
    assert float(similarity(z1, z2).detach().mean()) > before[1]


@pytest.mark.parametrize("normalise", [False, True])
def test_all_nodes_matches_the_formula(normalise: bool) -> None:
    query, key = views(9)[0][:4], views(9, seed=1)[1]
    positive, bias = torch.tensor([8, 0, -1, 3]), torch.linspace(-1, 1, 9, dtype=torch.float64)
    expected = []
    for i, p in enumerate(positive.tolist()):
        logits = []
        for j in range(9):
            a, b = query[i].tolist(), key[j].tolist()
            dot = sum(x * y for x, y in zip(a, b, strict=True))
            logits.append((cosine(a, b) if normalise else dot) / 0.7 + float(bias[j]))
        total = math.log(sum(math.exp(logit) for logit in logits))
        expected.append(total - logits[p] if p >= 0 else 0.0)
    settings = {"normalise": normalise, "column_bias": bias}
    values = info_nce_all_nodes(query, key, positive, 0.7, reduction="none", **settings)
    assert torch.allclose(values, torch.tensor(expected, dtype=torch.float64), rtol=1e-10)
    # The mean is over the three rows that have a positive.
    mean = info_nce_all_nodes(query, key, positive, 0.7, **settings)
    assert float(mean) == pytest.approx(sum(expected) / 3)


def test_all_nodes_is_finite_where_exponentials_overflow() -> None:
    query, key = (100 * view.float() for view in views(20))
    query.requires_grad_()
    loss = InfoNCEAllNodes(0.1, normalise=False)
    value = loss(query, key, torch.arange(20))
    value.backward()
    assert torch.exp(query.detach() @ key.T / 0.1).isinf().any()
    assert torch.isfinite(value)
    assert torch.isfinite(query.grad).all()


def test_all_nodes_clamps_the_positive_only() -> None:
    query, key = views(20)
    free = info_nce_all_nodes(query, key, torch.arange(20), 0.1, normalise=False, reduction="none")
    clamped = info_nce_all_nodes(
        query, key, torch.arange(20), 0.1, normalise=False, reduction="none", positive_limit=5.0
    )
    logit = (query * key).sum(1) / 0.1
    assert logit.abs().max() > 5
    assert torch.allclose(clamped - free, logit - logit.clamp(-5, 5))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z: info_nce(z, z[:3]), r"\(N, d\), row i being the same node"),
        (lambda z: info_nce(z, z, 0.0), r"temperature must lie in \[0.001, 10.0\]; got 0.0"),
        (lambda z: info_nce(z, z, 11), "got 11"),
        (lambda z: info_nce(z, z, torch.tensor(20.0)), "got 20"),
        (lambda z: info_nce(z, z, torch.ones(2)), "one number"),
        (lambda z: info_nce(z, z, reduction="median"), "allowed: mean, sum, none"),
        (lambda z: info_nce(z, z, backend="fast"), "allowed: auto, dense, tiles"),
        (lambda z: info_nce(z, z, column_bias=z[0]), r"column_bias must have shape \(7,\)"),
        (lambda z: info_nce(z, z, column_bias=(z[:, 0],)), "a pair"),
        (lambda z: InfoNCE(float("nan")), "got nan"),
        (lambda z: DecoupledInfoNCE(sigma=0.0), r"sigma must lie in \[0.001, 10.0\]"),
        (lambda z: InfoNCEAllNodes(positive_limit=-1.0), "positive_limit"),
        (lambda z: info_nce_all_nodes(z, z, torch.tensor([9] * 7)), "-1 .. 6"),
        (lambda z: info_nce_all_nodes(z[0], z, torch.tensor([0])), r"\(rows, d\)"),
    ],
)
def test_wrong_arguments_are_named(call: object, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call(views()[0])
