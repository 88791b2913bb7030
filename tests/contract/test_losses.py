"""What every loss promises. A new line in `graphcl.losses.LOSSES` is tested without new code."""

from __future__ import annotations

import inspect
import re

import pytest
import torch
from torch import Tensor, nn

import graphcl.losses
from graphcl.errors import ArgumentError, NonFiniteArgumentError
from graphcl.losses import LOSSES

everyone = pytest.mark.parametrize("name", sorted(LOSSES))
tempered = pytest.mark.parametrize(
    "name",
    sorted(name for name in LOSSES if "temperature" in inspect.signature(LOSSES[name]).parameters),
)


def example(name: str, count: int = 12, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    inputs = LOSSES[name].example(count, 6, torch.Generator().manual_seed(0), dtype)
    arguments = list(inspect.signature(LOSSES[name].forward).parameters)[1:]
    return [
        part.requires_grad_(part.is_floating_point() and argument not in detached(name))
        for argument, part in zip(arguments, inputs, strict=False)
    ]


def detached(name: str) -> tuple[str, ...]:
    return getattr(LOSSES[name], "detached", ())


def changed(inputs: list[Tensor], factor: float) -> list[Tensor]:
    return [
        (part.detach() * factor).requires_grad_(part.requires_grad)
        if part.is_floating_point()
        else part
        for part in inputs
    ]


def gradients(value: Tensor, inputs: list[Tensor]) -> list[Tensor]:
    leaves = [part for part in inputs if part.requires_grad]
    return list(torch.autograd.grad(value.sum(), leaves))


def assert_finite(loss: nn.Module, inputs: list[Tensor]) -> None:
    value = loss(*inputs)
    assert torch.isfinite(value).all()
    assert value.requires_grad
    assert all(torch.isfinite(gradient).all() for gradient in gradients(value, inputs))


@everyone
def test_is_exported_with_its_functional_twin(name: str) -> None:
    loss = LOSSES[name]
    twin = loss.functional
    for public in (loss, twin):
        assert public.__name__ in graphcl.losses.__all__
        assert getattr(graphcl.losses, public.__name__) is public
    module = loss()
    settings = {
        argument: getattr(module, argument)
        for argument in inspect.signature(twin).parameters
        if hasattr(module, argument)
    }
    # Every constructor argument is a setting of the twin, under the same name.
    assert set(inspect.signature(loss).parameters) <= set(settings)
    inputs = example(name)
    assert torch.equal(module(*inputs), twin(*inputs, **settings))


@everyone
def test_documents_itself(name: str) -> None:
    documentation = inspect.getdoc(LOSSES[name])
    assert documentation is not None
    first, second = documentation.split("\n")[:2]
    assert first.endswith(".")
    assert "\\" not in first
    assert "`" not in first
    assert second == ""
    assert re.search(r"\b(19|20)\d\d\b", documentation), "cite the paper with its year"
    for section in (".. math::", "Args:", "Shape:", "Raises:", "Example:"):
        assert section in documentation
    # The example in the documentation runs.
    scope = {"torch": torch, name: LOSSES[name]}
    for line in re.findall(r">>> (.*)", documentation):
        exec(line, scope)


@everyone
def test_values_come_before_the_reduction(name: str) -> None:
    inputs = example(name)
    values = LOSSES[name](reduction="none")(*inputs)
    assert values.shape == (12,)
    total, mean = LOSSES[name](reduction="sum")(*inputs), LOSSES[name]()(*inputs)
    assert total.shape == mean.shape == ()
    assert torch.allclose(total, values.sum())
    assert torch.allclose(mean, values.mean())
    with pytest.raises(ArgumentError, match="allowed: mean, sum, none"):
        LOSSES[name](reduction="average")


@everyone
def test_every_input_receives_a_gradient(name: str) -> None:
    inputs = example(name)
    for gradient in gradients(LOSSES[name]()(*inputs), inputs):
        assert torch.isfinite(gradient).all()
        assert gradient.abs().sum() > 0


@everyone
def test_detached_inputs_receive_none(name: str) -> None:
    inputs = dict(
        zip(
            inspect.signature(LOSSES[name].forward).parameters, [None, *example(name)], strict=False
        )
    )
    assert set(detached(name)) <= set(inputs)
    targets = [inputs[argument].requires_grad_() for argument in detached(name)]
    if not targets:
        return
    value = LOSSES[name]()(*list(inputs.values())[1:])
    assert torch.autograd.grad(value, targets, allow_unused=True) == (None,) * len(targets)


@everyone
def test_gradient_is_right(name: str) -> None:
    inputs = example(name, count=4)
    # Behind a stop-gradient there is no function whose slope it would be.
    settings = getattr(LOSSES[name], "without_stop_gradient", {})
    assert torch.autograd.gradcheck(LOSSES[name](**settings), inputs)


@everyone
def test_descent_lowers_the_loss(name: str) -> None:
    loss, inputs = LOSSES[name](), example(name)
    before = loss(*inputs)
    slopes = iter(gradients(before, inputs))
    with torch.no_grad():
        stepped = [p - 0.05 * next(slopes) if p.requires_grad else p for p in inputs]
        assert loss(*stepped) < before


@everyone
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [0, 1, 2, 300])
def test_finite_for_any_number_of_anchors(name: str, count: int, dtype: torch.dtype) -> None:
    inputs = example(name, count, dtype)
    assert_finite(LOSSES[name](), inputs)
    assert LOSSES[name]()(*inputs).dtype == dtype


@everyone
@pytest.mark.parametrize("factor", [0.0, 1e-20, 1e4])
def test_finite_for_zero_tiny_and_large_input(name: str, factor: float) -> None:
    assert_finite(LOSSES[name](), changed(example(name, 30, torch.float32), factor))


@everyone
def test_finite_for_identical_rows(name: str) -> None:
    inputs = [
        torch.ones_like(part, requires_grad=part.requires_grad)
        if part.is_floating_point()
        else part
        for part in example(name, 30, torch.float32)
    ]
    assert_finite(LOSSES[name](), inputs)


@everyone
def test_input_is_left_alone(name: str) -> None:
    inputs = example(name)
    copies = [part.detach().clone() for part in inputs]
    LOSSES[name]()(*inputs).backward()
    assert all(torch.equal(part, copy) for part, copy in zip(inputs, copies, strict=True))


@everyone
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_non_finite_input_is_refused(name: str, bad: float) -> None:
    arguments = list(inspect.signature(LOSSES[name].forward).parameters)[1:]
    for place, argument in enumerate(arguments[: len(example(name))]):
        inputs = [part.detach().clone() for part in example(name)]
        if not inputs[place].is_floating_point():
            continue
        inputs[place].view(-1)[-1] = bad
        with pytest.raises(NonFiniteArgumentError, match=rf"^{argument} must be finite; got {bad}"):
            LOSSES[name]()(*inputs)


@tempered
@pytest.mark.parametrize("temperature", [1e-3, 0.01, 10.0])
@pytest.mark.parametrize("factor", [0.0, 1.0])
@pytest.mark.parametrize("count", [1, 30, 300])
def test_finite_at_extreme_temperatures(
    name: str, temperature: float, factor: float, count: int
) -> None:
    inputs = changed(example(name, count, torch.float32), factor)
    assert_finite(LOSSES[name](temperature=temperature), inputs)


@tempered
@pytest.mark.parametrize("temperature", [0.0, -1.0, 5e-4, 10.5, float("nan")])
def test_other_temperatures_are_refused(name: str, temperature: float) -> None:
    with pytest.raises(ArgumentError, match=r"temperature must lie in \[0.001, 10.0\]"):
        LOSSES[name](temperature=temperature)
