"""MannWhitney against loops over pairs of pairs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from graphcl.errors import ArgumentError, NonFiniteArgumentError
from graphcl.losses import BPR, MannWhitney, mann_whitney
from graphcl.losses.mann_whitney import mann_whitney_of_scores
from graphcl.losses.soft_histogram import soft_histogram


def definition(loops: Any, z1: Tensor, z2: Tensor, temperature: float, form: str) -> list[Tensor]:
    N = len(z1)
    score = [[loops.cosine(z1[i], z2[j]) / temperature for j in range(N)] for i in range(N)]
    values = []
    for i in range(N):
        anchors = [i] if form == "row" else range(N)
        negatives = [score[a][j] for a in anchors for j in range(N) if j != a]
        losses = [torch.log(1 + torch.exp(negative - score[i][i])) for negative in negatives]
        values.append(sum(losses) / len(losses))
    return values


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_row_form_is_its_definition(loops: Any, temperature: float) -> None:
    loops.agree(
        lambda a, b: mann_whitney(a, b, temperature, form="row", reduction="none"),
        lambda a, b: definition(loops, a, b, temperature, "row"),
        *loops.random(2, 6, 3),
    )


def test_global_form_approaches_its_definition(loops: Any) -> None:
    # Linear interpolation: the gradient's error falls as the width of a step.
    loops.agree(
        lambda a, b: mann_whitney(a, b, 0.2, knots=200_001, reduction="none"),
        lambda a, b: definition(loops, a, b, 0.2, "global"),
        *loops.random(2, 6, 3),
        tolerance=1e-4,
    )


@pytest.mark.parametrize("temperature", [0.05, 0.1, 1.0])
@pytest.mark.parametrize("knots", [32, 256])
def test_global_error_is_above_zero_and_within_its_bound(
    loops: Any, temperature: float, knots: int
) -> None:
    z1, z2 = loops.random(2, 9, 4)
    exact = torch.stack(definition(loops, z1, z2, temperature, "global"))
    error = mann_whitney(z1, z2, temperature, knots=knots, reduction="none") - exact
    assert error.min() > 0
    assert error.max() < (2 / (knots - 1)) ** 2 / (32 * temperature**2)


def test_global_gradient_is_that_of_the_interpolant(loops: Any) -> None:
    z1, z2 = (part.requires_grad_() for part in loops.random(2, 5, 3))
    assert torch.autograd.gradcheck(MannWhitney(0.3, knots=17, reduction="none"), (z1, z2))


def test_histogram_in_chunks_is_the_histogram(loops: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    u, v = (torch.nn.functional.normalize(part, dim=1) for part in loops.random(2, 9, 3))
    u.requires_grad_()
    v.requires_grad_()
    weights = loops.random(12, seed=4)
    whole = soft_histogram(u, v, 12)
    assert float(whole.detach().sum()) == pytest.approx(1)
    slopes = torch.autograd.grad(whole @ weights, (u, v))
    monkeypatch.setattr("graphcl.losses.soft_histogram._ENTRIES_PER_CHUNK", 20)
    parts = soft_histogram(u, v, 12)
    torch.testing.assert_close(parts, whole)
    for one, other in zip(torch.autograd.grad(parts @ weights, (u, v)), slopes, strict=True):
        torch.testing.assert_close(one, other)


def test_both_forms_bound_the_share_of_wrongly_ordered_pairs(loops: Any) -> None:
    z1, noise = loops.random(2, 60, 4)
    z2 = z1 + noise
    scores = torch.nn.functional.cosine_similarity(z1[:, None], z2[None], dim=2)
    apart = ~torch.eye(60, dtype=torch.bool)
    wrong = (scores[apart][None] > scores.diagonal()[:, None]).double().mean()
    value = MannWhitney(0.05)(z1, z2)
    # softplus(x) / log 2 is at least the step function.
    assert float(wrong) < float(value) / 0.6931
    # Shifting one anchor's scores as a whole: invisible to the row form only.
    assert not torch.isclose(value, MannWhitney(0.05, form="row")(z1, z2), rtol=1e-3)


@pytest.mark.parametrize("form", ["global", "row"])
def test_one_node_has_no_negative(form: str) -> None:
    z = torch.randn(1, 3, requires_grad=True)
    value = MannWhitney(form=form)(z, z)
    assert float(value.detach()) == 0
    assert torch.equal(torch.autograd.grad(value, z)[0], torch.zeros(1, 3))


def test_scores_are_all_positives_against_all_negatives(loops: Any) -> None:
    positive, negative = loops.random(5), loops.random(7, seed=1)
    loops.agree(
        lambda p, n: mann_whitney_of_scores(p, n, 0.5, reduction="none"),
        lambda p, n: [
            sum(torch.log(1 + torch.exp((n[j] - p[i]) / 0.5)) for j in range(7)) / 7
            for i in range(5)
        ],
        positive,
        negative,
    )
    # One negative for all: pairwise logistic ranking.
    torch.testing.assert_close(
        mann_whitney_of_scores(positive, negative[:1]), BPR()(positive, negative[:1].expand(5))
    )
    assert float(mann_whitney_of_scores(positive, negative[:0])) == 0
    large = mann_whitney_of_scores(positive * 1e4, negative * 1e4, 0.001)
    assert torch.isfinite(large)


def test_scores_in_sixteen_bits_are_computed_in_float32() -> None:
    positive, negative = torch.tensor([0.5, 2.0]).half(), torch.tensor([0.25, 1.0, -3.0]).half()
    value = mann_whitney_of_scores(positive, negative)
    assert value.dtype == torch.float32
    assert torch.equal(value, mann_whitney_of_scores(positive.float(), negative.float()))


def test_mistakes_are_named() -> None:
    with pytest.raises(ArgumentError, match="unknown form 'all'; allowed: global, row"):
        MannWhitney(form="all")
    with pytest.raises(ArgumentError, match="knots must be an integer of at least 2; got 1"):
        MannWhitney(knots=1)
    with pytest.raises(ArgumentError, match=r"positive_scores must be \(P,\)"):
        mann_whitney_of_scores(torch.ones(2, 2), torch.ones(2))
    with pytest.raises(NonFiniteArgumentError, match="negative_scores must be finite; got nan"):
        mann_whitney_of_scores(torch.ones(2), torch.tensor([float("nan")]))
