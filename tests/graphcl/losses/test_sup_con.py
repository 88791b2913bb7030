"""SupCon with labels, with views and with weighted relations, against its definition."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast import Pairs
from graphcl.kernels.sparse_matrix import SparseMatrix
from graphcl.losses import SupCon, info_nce, sup_con

forms = pytest.mark.parametrize("form", ["out", "in"])
view_counts = pytest.mark.parametrize("views", [1, 2, 3])
Weight = Callable[[int, int], Any]


def definition(
    loops: Any, z: Tensor, weight: Weight, form: str, temperature: float
) -> list[Tensor]:
    """Khosla et al. 2020, eq. 2 and 3; `weight(i, j)` of nodes, 0 for no positive."""
    # (N, V, d) here, one node after the other.
    z = z[:, None] if z.dim() == 2 else z.transpose(0, 1)
    count, views = z.shape[:2]
    places = [(i, v) for i in range(count) for v in range(views)]
    values = []
    for i in range(count):
        total = torch.zeros((), dtype=torch.float64)
        for v in range(views):
            logit = {
                (j, w): loops.cosine(z[i, v], z[j, w]) / temperature
                for j, w in places
                if (j, w) != (i, v)
            }
            weights = {place: weight(i, place[0]) for place in logit}
            weights = {place: w for place, w in weights.items() if w > 0}
            if not weights:
                total = total + 0 * z[i, v, 0]
                continue
            candidates = sum(value.exp() for value in logit.values())
            norm = sum(weights.values())
            if form == "out":
                pull = sum(w / norm * logit[place] for place, w in weights.items())
            else:
                pull = sum(w / norm * logit[place].exp() for place, w in weights.items()).log()
            total = total + candidates.log() - pull
        values.append(total / views)
    return values


def shape(views: int, count: int = 6) -> tuple[int, ...]:
    return (count, 3) if views == 1 else (views, count, 3)


@pytest.mark.parametrize("backend", ["dense", "tiles"])
@forms
@view_counts
def test_labels(views: int, form: str, backend: str, loops: Any) -> None:
    # A class of three, a class of two, a class of one.
    labels = torch.tensor([7, 2, 7, 9, 7, 2])
    loops.agree(
        lambda z: sup_con(z, labels, None, 0.4, form=form, reduction="none", backend=backend),
        lambda z: definition(loops, z, lambda i, j: float(labels[i] == labels[j]), form, 0.4),
        loops.random(*shape(views)),
    )


@forms
@view_counts
def test_unlabelled_nodes_have_their_own_views_only(views: int, form: str, loops: Any) -> None:
    labels = torch.tensor([3, -1, 3, -1, -5, 3])
    loops.agree(
        lambda z: sup_con(z, labels, temperature=0.4, form=form, reduction="none"),
        lambda z: definition(
            loops, z, lambda i, j: float(i == j or labels[i] == labels[j] == 3), form, 0.4
        ),
        loops.random(*shape(views)),
    )


@forms
@view_counts
def test_a_weighted_relation(views: int, form: str, loops: Any) -> None:
    # Node 3 relates to itself only, node 4 to nothing; a weight of 0 is no relation.
    rows = torch.tensor([0, 0, 1, 2, 2, 2, 3, 5, 5])
    columns = torch.tensor([1, 4, 1, 0, 5, 2, 3, 0, 3])
    weight = torch.tensor([1.0, 2.0, 0.5, 3.0, 0.1, 1.0, 2.0, 0.0, 1.5], dtype=torch.float64)
    matrix = SparseMatrix.from_edge_index(torch.stack([rows, columns]), weight, shape=6)
    dense = matrix.to_dense()
    for positives in (matrix, Pairs(rows, columns, weight.log())):
        loops.agree(
            lambda z, p=positives: sup_con(z, None, p, 0.4, form=form, reduction="none"),
            lambda z: definition(loops, z, lambda i, j: dense[i, j], form, 0.4),
            loops.random(*shape(views)),
        )


@forms
@view_counts
def test_weights_of_a_relation_are_learnt(views: int, form: str, loops: Any) -> None:
    rows, columns = torch.tensor([0, 0, 1, 2, 3, 3]), torch.tensor([1, 2, 0, 2, 0, 1])

    def loss(z: Tensor, log_weight: Tensor) -> Tensor:
        return sup_con(z, None, Pairs(rows, columns, log_weight), 0.4, form=form, reduction="none")

    def expected(z: Tensor, log_weight: Tensor) -> list[Tensor]:
        listed = dict(
            zip(zip(rows.tolist(), columns.tolist(), strict=True), log_weight.exp(), strict=True)
        )
        return definition(loops, z, lambda i, j: listed.get((i, j), 0.0), form, 0.4)

    loops.agree(loss, expected, loops.random(*shape(views, 4)), loops.random(6, seed=1))


@forms
def test_a_stored_weight_of_zero_spoils_no_gradient(form: str, loops: Any) -> None:
    edges = torch.tensor([[0, 0, 1], [1, 2, 3]])
    weight = torch.tensor([1.0, 0.0, 2.0], dtype=torch.float64, requires_grad=True)
    matrix = SparseMatrix.from_edge_index(edges, weight, shape=6)
    sup_con(loops.random(2, 6, 3), None, matrix, form=form).backward()
    assert weight.grad is not None
    assert torch.isfinite(weight.grad).all()


@forms
@view_counts
def test_labels_are_the_relation_of_equal_labels(views: int, form: str, loops: Any) -> None:
    labels = torch.tensor([0, 1, 0, 2, 0, 1])
    pairs = (labels[:, None] == labels[None, :]).nonzero().T
    z = loops.random(*shape(views))
    related = sup_con(z, None, Pairs(pairs[0], pairs[1]), form=form, reduction="none")
    assert torch.allclose(sup_con(z, labels, form=form, reduction="none"), related, rtol=1e-10)


@forms
def test_two_views_without_labels_are_nt_xent(form: str, loops: Any) -> None:
    z = loops.random(2, 9, 4)
    expected = info_nce(z[0], z[1], 0.2, intra_view=True, reduction="none")
    actual = sup_con(z, temperature=0.2, form=form, reduction="none")
    assert torch.allclose(actual, expected, rtol=1e-10)


def test_the_in_form_is_never_above_the_out_form(loops: Any) -> None:
    z, labels = loops.random(30, 5), torch.arange(30) % 4
    inner = sup_con(z, labels, form="in", reduction="none")
    outer = sup_con(z, labels, form="out", reduction="none")
    assert (inner < outer).all()


@forms
def test_nodes_without_positives_are_left_out_of_the_mean(form: str, loops: Any) -> None:
    z = loops.random(6, 3).requires_grad_()
    labels = torch.tensor([0, 1, 0, 2, 3, 0])
    values = sup_con(z, labels, form=form, reduction="none")
    assert (values == 0).tolist() == [False, True, False, True, True, False]
    assert torch.allclose(sup_con(z, labels, form=form), values.sum() / 3)
    alone = sup_con(z, torch.arange(6), form=form)
    (gradient,) = torch.autograd.grad(alone, z)
    assert float(alone.detach()) == 0
    assert torch.equal(gradient, torch.zeros_like(gradient))


@forms
def test_an_empty_relation_is_a_connected_zero(form: str, loops: Any) -> None:
    z = loops.random(2, 6, 3).requires_grad_()
    nothing = torch.empty(0, dtype=torch.int64)
    value = sup_con(z, None, Pairs(nothing, nothing), form=form)
    value.backward()
    assert float(value.detach()) == 0
    assert torch.equal(z.grad, torch.zeros_like(z))


@forms
@pytest.mark.parametrize("temperature", [1e-3, 10.0])
def test_large_classes_at_extreme_temperatures_match_double_precision(
    form: str, temperature: float, loops: Any
) -> None:
    z, labels = loops.random(2, 300, 8), torch.arange(300) % 3
    exact = sup_con(z, labels, temperature=temperature, form=form, reduction="none")
    for dtype, tolerance in ((torch.float32, 2e-6), (torch.bfloat16, 2e-2)):
        single = z.to(dtype).requires_grad_()
        actual = sup_con(single, labels, temperature=temperature, form=form, reduction="none")
        assert actual.dtype == torch.float32
        assert torch.allclose(actual.double(), exact, rtol=tolerance, atol=tolerance / temperature)
        (gradient,) = torch.autograd.grad(actual.sum(), single)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z: sup_con(z[0, 0]), r"views must be \(V, N, d\) or a sequence of \(N, d\)"),
        (lambda z: sup_con(z[:0]), "views must be at least 1; got 0"),
        (lambda z: sup_con(z, torch.zeros(3, dtype=torch.int64)), r"labels must have shape \(6,\)"),
        (lambda z: sup_con(z, torch.zeros(6)), "labels must be of integer dtype"),
        (lambda z: sup_con(z, torch.zeros(6).long(), far()), "got both"),
        (
            lambda z: sup_con(z, None, far()),
            r"positives.columns must lie in 0 .. 5; got values in 6 .. 6",
        ),
        (lambda z: sup_con(z, None, matrix(1.0, 5)), r"positives must be of shape \(6, 6\)"),
        (lambda z: sup_con(z, None, matrix(-1.0, 6)), "at least 0; got -1.0"),
        (lambda z: sup_con(z, None, torch.eye(6)), "must be Pairs or a SparseMatrix; got Tensor"),
        (lambda z: sup_con(z, None, weighted(math.nan)), "positives.log_weight must be finite"),
        (lambda z: sup_con(z, [0] * 6), "labels must be a torch tensor; got list"),
        (lambda z: SupCon(form="middle"), "unknown form 'middle'; allowed: out, in"),
    ],
)
def test_wrong_arguments_are_named(call: Callable[[Tensor], object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call(torch.ones(2, 6, 3))


def weighted(log_weight: float) -> Pairs:
    return Pairs(torch.tensor([0]), torch.tensor([1]), torch.tensor([log_weight]))


def matrix(weight: float, size: int) -> SparseMatrix:
    edges = torch.tensor([[0], [1]])
    return SparseMatrix.from_edge_index(edges, torch.tensor([weight]), shape=size)


def far() -> Pairs:
    return Pairs(torch.tensor([0]), torch.tensor([6]))


@forms
def test_views_come_as_one_tensor_or_as_a_sequence(form: str, loops: Any) -> None:
    views, labels = loops.random(3, 6, 4), torch.tensor([0, 1, 0, 2, 0, 1])
    expected = sup_con(views, labels, form=form, reduction="none")
    for sequence in (list(views), tuple(views)):
        assert torch.equal(sup_con(sequence, labels, form=form, reduction="none"), expected)
    one = sup_con(views[0], labels, form=form, reduction="none")
    assert torch.equal(sup_con(views[:1], labels, form=form, reduction="none"), one)
