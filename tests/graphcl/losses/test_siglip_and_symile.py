"""SigLIP and Symile against loops over pairs, and over all combinations of rows."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from graphcl.errors import ArgumentError
from graphcl.losses import SigLIP, Symile, siglip, symile


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


@pytest.mark.parametrize("ids", [None, [0, 1, 1, 2, 1]])
@pytest.mark.parametrize("count_bias", [False, True])
def test_siglip_is_its_definition(loops: Any, ids: list[int] | None, count_bias: bool) -> None:
    groups = ids or range(5)

    def definition(z1: Tensor, z2: Tensor, log_scale: Tensor, bias: Tensor) -> list[Tensor]:
        shift = bias - math.log(5) if count_bias else bias
        values = []
        for i in range(5):
            value = torch.zeros((), dtype=torch.float64)
            for j in range(5):
                if i != j and groups[i] == groups[j]:
                    continue
                logit = torch.exp(log_scale) * loops.cosine(z1[i], z2[j]) + shift
                value = value + torch.log(1 + torch.exp(-logit if i == j else logit))
            values.append(value)
        return values

    loops.agree(
        lambda *inputs: siglip(
            *inputs[:2],
            None if ids is None else torch.tensor(ids),
            *inputs[2:],
            count_bias=count_bias,
            reduction="none",
        ),
        definition,
        *loops.random(2, 5, 3),
        number(1.2),
        number(-0.7),
    )


def test_siglip_learns_its_scale_and_bias_as_in_the_paper() -> None:
    loss = SigLIP()
    names = {name: float(value.detach()) for name, value in loss.named_parameters()}
    assert names == pytest.approx({"log_scale": math.log(10), "bias": -10.0})
    loss(torch.randn(6, 3), torch.randn(6, 3)).backward()
    assert all(
        parameter.grad is not None and parameter.grad != 0 for parameter in loss.parameters()
    )
    given = nn.Parameter(torch.tensor(1.0))
    assert dict(SigLIP(given, bias=0.0).named_parameters()) == {"log_scale": given}


def test_siglip_in_tiles_is_siglip_dense(loops: Any) -> None:
    # 300 x 300 pairs are above the limit of the dense backend.
    z1, z2 = loops.random(2, 300, 4)
    cosine = (z1 / z1.norm(dim=1, keepdim=True)) @ (z2 / z2.norm(dim=1, keepdim=True)).T
    sign = 2 * torch.eye(300, dtype=torch.float64) - 1
    expected = torch.log1p(torch.exp(-sign * (10 * cosine - 3))).sum(dim=1)
    torch.testing.assert_close(siglip(z1, z2, bias=-3.0, reduction="none"), expected)


def test_a_far_bias_does_not_overflow() -> None:
    z = torch.ones(4, 2)
    for bias in (-1e4, 1e4):
        value = siglip(z, z, bias=bias)
        # Each node pays for its match, or for its 3 mismatches.
        assert float(value) == pytest.approx(1e4 - 10 if bias < 0 else 3 * (1e4 + 10), rel=1e-6)


def permuted_loop(loops: Any, views: Tensor, orders: Tensor, log_scale: Tensor) -> list[Tensor]:
    V, N = views.shape[:2]
    unit = [[loops.unit(views[m][i]) for i in range(N)] for m in range(V)]

    def product(nodes: list[int]) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for k in range(views.shape[2]):
            term = torch.ones((), dtype=torch.float64)
            for m in range(V):
                term = term * unit[m][nodes[m]][k]
            total = total + term
        return torch.exp(log_scale) * total

    values = []
    for i in range(N):
        value = torch.zeros((), dtype=torch.float64)
        true = product([i] * V)
        for anchor in range(V):
            total = torch.exp(true)
            for j in range(N):
                nodes = [i if m == anchor else int(orders[m][j]) for m in range(V)]
                if j != i and nodes != [i] * V:
                    total = total + torch.exp(product(nodes))
            value = value + (torch.log(total) - true) / V
        values.append(value)
    return values


@pytest.mark.parametrize("count", [3, 4])
def test_symile_with_permuted_negatives_is_its_definition(loops: Any, count: int) -> None:
    generator = torch.Generator().manual_seed(1)
    orders = torch.stack([torch.randperm(5, generator=generator) for _ in range(count)])
    loops.agree(
        lambda views, scale: symile(views, orders, log_scale=scale, reduction="none"),
        lambda views, scale: permuted_loop(loops, views, orders, scale),
        loops.random(count, 5, 3),
        number(1.5),
    )


def test_a_permutation_that_reproduces_a_positive_is_no_negative(loops: Any) -> None:
    # Views 1 and 2 are permuted alike: for anchor 0 every column is some node's true product.
    orders = torch.tensor([[0, 1, 2, 3], [1, 0, 2, 3], [1, 0, 2, 3]])
    loops.agree(
        lambda views: symile(views, orders, reduction="none"),
        lambda views: permuted_loop(loops, views, orders, number(math.log(10))),
        loops.random(3, 4, 3),
    )


@pytest.mark.parametrize(("views", "nodes"), [(3, 4), (4, 3)])
def test_symile_with_all_combinations_is_its_definition(loops: Any, views: int, nodes: int) -> None:
    def definition(z: Tensor, log_scale: Tensor) -> list[Tensor]:
        unit = [[loops.unit(z[m][i]) for i in range(nodes)] for m in range(views)]
        values = []
        for i in range(nodes):
            value = torch.zeros((), dtype=torch.float64)
            for anchor in range(views):
                total = torch.zeros((), dtype=torch.float64)
                for others in itertools.product(range(nodes), repeat=views - 1):
                    chosen = [*others[:anchor], i, *others[anchor:]]
                    logit = torch.zeros((), dtype=torch.float64)
                    for k in range(z.shape[2]):
                        term = torch.exp(log_scale)
                        for m in range(views):
                            term = term * unit[m][chosen[m]][k]
                        logit = logit + term
                    total = total + torch.exp(logit)
                    if chosen == [i] * views:
                        true = logit
                value = value + (torch.log(total) - true) / views
            values.append(value)
        return values

    loops.agree(
        lambda z, scale: symile(z, log_scale=scale, negatives="n_squared", reduction="none"),
        definition,
        loops.random(views, nodes, 3),
        number(1.5),
    )


def test_combinations_in_chunks_are_the_combinations(
    loops: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    views = loops.random(3, 9, 4).requires_grad_()
    loss = Symile(negatives="n_squared", reduction="none")
    whole = loss(views)
    slope = torch.autograd.grad(whole.sum(), views)[0]
    monkeypatch.setattr("graphcl.losses.product_log_sum_exp.ROWS_AT_A_TIME", 20)
    parts = loss(views)
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(torch.autograd.grad(parts.sum(), views)[0], slope)


def test_symile_draws_permutations_from_the_generator(loops: Any) -> None:
    views = loops.random(3, 20, 4)
    first, again, other = (
        Symile()(views, generator=torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_symile_sees_what_no_pair_of_views_tells() -> None:
    # Signs of the third view are the product of the other two; any two are independent.
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randint(2, (2, 200, 8), generator=generator).double() * 2 - 1
    orders = torch.stack([torch.randperm(200, generator=generator) for _ in range(3)])
    together = symile(torch.stack([a, b, a * b]), orders, log_scale=math.log(100))
    apart = symile(torch.stack([a, b, (a * b)[orders[0]]]), orders, log_scale=math.log(100))
    assert float(together) < float(apart) - 5


def test_mistakes_are_named() -> None:
    views = torch.randn(3, 4, 2)
    with pytest.raises(ArgumentError, match="views must be at least 3; got 2"):
        Symile()(views[:2])
    with pytest.raises(ArgumentError, match="unknown negatives 'all'; allowed: n, n_squared"):
        Symile(negatives="all")
    with pytest.raises(ArgumentError, match=r"must hold every int64 row 0 \.\. 3 once"):
        Symile()(views, torch.zeros(3, 4, dtype=torch.int64))
    with pytest.raises(ArgumentError, match=r"permutations must be 3 of shape \(4,\)"):
        Symile()(views, torch.arange(4).expand(2, 4))
    with pytest.raises(ArgumentError, match=r"log_scale must lie in \[-2.303, 6.908\]"):
        SigLIP(log_scale=7.0)
    with pytest.raises(ArgumentError, match="bias must be finite; got nan"):
        SigLIP(bias=math.nan)
    with pytest.raises(ArgumentError, match="log_scale must be one number"):
        Symile(log_scale=torch.zeros(2))
