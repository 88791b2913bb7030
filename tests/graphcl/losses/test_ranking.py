"""BPR and CrossEntropy against their formulas."""

from __future__ import annotations

import math

import pytest
import torch

from graphcl.errors import ArgumentError
from graphcl.losses import BPR, CrossEntropy, bpr, cross_entropy


def test_bpr_matches_the_formula() -> None:
    positive, negative = BPR.example(6, 3, torch.Generator().manual_seed(0), torch.float64)
    expected = [
        sum(-math.log(1 / (1 + math.exp(float(-(p - n))))) for n in row) / 3
        for p, row in zip(positive, negative, strict=True)
    ]
    wanted = torch.tensor(expected, dtype=torch.float64)
    assert torch.allclose(bpr(positive, negative, reduction="none"), wanted, rtol=1e-12)
    assert torch.allclose(BPR()(positive, negative), wanted.mean())
    assert torch.allclose(
        BPR(reduction="sum")(positive, negative[:, 0]), bpr(positive, negative[:, :1]) * 6
    )


def test_bpr_is_exact_for_large_margins() -> None:
    margin = torch.tensor([25.0, -1000.0, 1000.0], dtype=torch.float64)
    values = bpr(margin, torch.zeros(3, dtype=torch.float64), reduction="none")
    assert values.tolist() == pytest.approx([math.log1p(math.exp(-25)), 1000.0, 0.0], rel=1e-12)


def test_bpr_without_negatives_is_a_connected_zero() -> None:
    positive = torch.randn(4, requires_grad=True)
    value = bpr(positive, torch.empty(4, 0))
    value.backward()
    assert value == 0
    assert torch.equal(positive.grad, torch.zeros(4))


def test_bpr_descends() -> None:
    positive, negative = BPR.example(6, 3, torch.Generator().manual_seed(0))
    positive.requires_grad_()
    bpr(positive, negative).backward()
    assert (positive.grad < 0).all()


@pytest.mark.parametrize("backend", ["dense", "tiles", "auto"])
def test_cross_entropy_equals_torch(backend: str) -> None:
    generator = torch.Generator().manual_seed(0)
    query, items, target = CrossEntropy.example(12, 5, generator, torch.float64)
    bias = torch.randn(items.shape[0], generator=generator, dtype=torch.float64)
    target[[2, 7]] = -1
    leaves = [leaf.requires_grad_() for leaf in (query, items, bias)]
    ours = cross_entropy(query, items, target, 0.6, item_bias=bias, backend=backend)
    theirs = torch.nn.functional.cross_entropy(
        query @ items.T / 0.6 + bias, target, ignore_index=-1
    )
    assert torch.allclose(ours, theirs, rtol=1e-12)
    for left, right in zip(
        torch.autograd.grad(ours, leaves), torch.autograd.grad(theirs, leaves), strict=True
    ):
        assert torch.allclose(left, right, rtol=1e-10, atol=1e-13)


def test_cross_entropy_of_padding_only_is_a_connected_zero() -> None:
    query = torch.randn(3, 4, requires_grad=True)
    value = cross_entropy(query, torch.randn(9, 4), torch.full((3,), -1))
    value.backward()
    assert value == 0
    assert torch.equal(query.grad, torch.zeros(3, 4))


def test_wrong_arguments_are_named() -> None:
    scores = torch.zeros(4)
    with pytest.raises(ArgumentError, match=r"\(n,\) or \(n, k\)"):
        bpr(scores, torch.zeros(4, 2, 2))
    with pytest.raises(ArgumentError, match="4 rows, one per positive; got 3"):
        bpr(scores, torch.zeros(3))
    with pytest.raises(ArgumentError, match="allowed: mean, sum, none"):
        BPR(reduction="max")
    with pytest.raises(ArgumentError, match=r"-1 .. 8"):
        cross_entropy(torch.randn(1, 4), torch.randn(9, 4), torch.tensor([9]))
