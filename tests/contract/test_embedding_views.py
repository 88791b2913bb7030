"""What every view of embeddings promises; a new line in `EMBEDDING_VIEWS` is tested as it is."""

from __future__ import annotations

import inspect
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import graphcl.views.embedding
from graphcl.errors import ArgumentError, NonFiniteArgumentError
from graphcl.losses.unit_rows import unit_rows
from graphcl.views.embedding import EMBEDDING_VIEWS

everyone = pytest.mark.parametrize("name", sorted(EMBEDDING_VIEWS))
quick = settings(max_examples=20, deadline=None)


def embeddings(name: str, count: int = 12, dtype=torch.float64) -> list[Tensor]:
    """Unit rows, one matrix for each leading parameter called z..."""
    parameters = list(inspect.signature(EMBEDDING_VIEWS[name]).parameters)
    number = sum(1 for parameter in parameters if re.fullmatch(r"z\d?", parameter))
    generator = torch.Generator().manual_seed(0)
    return [
        unit_rows(torch.randn(count, 5, generator=generator, dtype=dtype)) for _ in range(number)
    ]


def apply(name: str, inputs: list[Tensor], seed: int = 0, **settings_) -> list[Tensor]:
    """The views among the results: as many as there are inputs."""
    generator = torch.Generator().manual_seed(seed)
    result = EMBEDDING_VIEWS[name](*inputs, generator=generator, **settings_)
    return [result] if isinstance(result, Tensor) else list(result)[: len(inputs)]


@everyone
def test_is_exported_and_documented(name: str) -> None:
    view = EMBEDDING_VIEWS[name]
    assert view.__name__ == name
    assert name in graphcl.views.embedding.__all__
    assert "strength" in inspect.signature(view).parameters
    documentation = inspect.getdoc(view)
    for section in ("Args:", "Returns:", "Raises:"):
        assert section in documentation


@everyone
@given(seed=st.integers(0, 1000), count=st.integers(0, 9))
@quick
def test_shape_dtype_and_no_mutation(name: str, seed: int, count: int) -> None:
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        inputs = embeddings(name, count, torch.float32 if dtype == torch.bfloat16 else dtype)
        inputs = [part.to(dtype) for part in inputs]
        copies = [part.clone() for part in inputs]
        for view, part, copy in zip(apply(name, inputs, seed), inputs, copies, strict=True):
            assert view.shape == part.shape
            assert view.dtype == dtype
            assert torch.isfinite(view).all()
            assert torch.equal(part, copy)


@everyone
def test_strength_zero_is_the_identity(name: str) -> None:
    inputs = [3.7 * part for part in embeddings(name)]
    for view, part in zip(apply(name, inputs, strength=0), inputs, strict=True):
        assert torch.equal(view, part)


@everyone
def test_strength_moves_rows_the_more_the_larger_it_is(name: str) -> None:
    inputs = embeddings(name, 200)
    moved = []
    for strength in (0.0, 0.01, 0.3):
        views = apply(name, inputs, strength=strength)
        moved.append(sum(float((v - p).norm()) for v, p in zip(views, inputs, strict=True)))
    assert moved[0] == 0 < moved[1] < moved[2]


@everyone
def test_the_generator_decides(name: str) -> None:
    inputs = embeddings(name)
    state = torch.random.get_rng_state()
    first = apply(name, inputs, 1)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first, apply(name, inputs, 1), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, apply(name, inputs, 2), strict=True))


@everyone
def test_gradients_flow(name: str) -> None:
    inputs = [part.requires_grad_() for part in embeddings(name, 4)]
    assert torch.autograd.gradcheck(lambda *parts: tuple(apply(name, list(parts), 3)), inputs)


@everyone
@pytest.mark.parametrize("strength", [-0.1, float("nan"), float("inf"), "1", None, True])
def test_bad_strengths_are_refused(name: str, strength) -> None:
    with pytest.raises(ArgumentError, match="strength must be a finite number"):
        apply(name, embeddings(name), strength=strength)


@everyone
def test_bad_embeddings_are_refused(name: str) -> None:
    inputs = embeddings(name)
    for place in range(len(inputs)):
        bad = [part.clone() for part in inputs]
        bad[place][1, 2] = torch.nan
        with pytest.raises(NonFiniteArgumentError, match=r"^z\d? must be finite; got nan at"):
            apply(name, bad)
        bad[place] = inputs[place][0]
        with pytest.raises(ArgumentError, match=r"must be a floating \(N, d\) tensor"):
            apply(name, bad)
