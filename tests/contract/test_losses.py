"""What every loss promises. A new line in `graphcl.losses.LOSSES` is tested without new code."""

from __future__ import annotations

import inspect
import os
import re
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import graphcl.losses
from graphcl.errors import ArgumentError, NonFiniteArgumentError
from graphcl.losses import LOSSES
from graphcl.native import native_library

everyone = pytest.mark.parametrize("name", sorted(LOSSES))
tempered = pytest.mark.parametrize(
    "name",
    sorted(name for name in LOSSES if "temperature" in inspect.signature(LOSSES[name]).parameters),
)
streamed = pytest.mark.parametrize(
    "name",
    sorted(name for name in LOSSES if "backend" in inspect.signature(LOSSES[name]).parameters),
)
# A mean of logits has no compiled passes.
NOT_COMPILED = ("CACR",)


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
def test_the_overview_names_it(name: str) -> None:
    overview, _, _ = (graphcl.losses.__doc__ or "").partition("Per-anchor values")
    assert re.search(rf"\b{name}\b", overview)


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


@everyone
def test_the_constructor_takes_its_arguments_as_the_twin_does(name: str) -> None:
    # InfoNCE(0.5, "sum") must not become a truthy `intra_view`.
    twin = inspect.signature(LOSSES[name].functional).parameters
    for argument, parameter in inspect.signature(LOSSES[name]).parameters.items():
        assert parameter.kind is twin[argument].kind, argument
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY or argument != "reduction"


@tempered
def test_a_learnt_temperature_can_be_printed(name: str) -> None:
    loss = LOSSES[name](temperature=nn.Parameter(torch.tensor(0.25)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "temperature=0.25" in repr(loss)


KINDS: dict[str, Callable[[Tensor], object]] = {
    "integers": lambda part: part.long(),
    "complex numbers": lambda part: part.to(torch.complex128),
    "booleans": lambda part: part > 0,
    "a list": lambda part: part.tolist(),
    "an array": lambda part: part.detach().numpy(),
    "None": lambda part: None,
    "a sparse tensor": lambda part: part.to_sparse(),
    "one row less": lambda part: part[..., :-1] if part.dim() == 1 else part[..., :-1, :],
    "one axis less": lambda part: part[0],
    "one axis more": lambda part: part[None],
}
# Arguments whose axis may have any length or that may be left out.
FREE = {
    ("one row less", "views"), ("one row less", "items"), ("one row less", "key"),
    ("a list", "views"), ("an array", "views"), ("None", "edge_weight"), ("None", "codes1"),
    ("None", "codes2"), ("None", "centroids1"), ("None", "centroids2"), ("None", "translated1"),
    ("None", "translated2"), ("None", "log_probability"), ("one row less", "z"),
    ("one axis less", "negative_scores"), ("one axis less", "unlabelled_scores"),
    ("one axis less", "unknown_scores"), ("one axis less", "views"),
}  # fmt: skip


@everyone
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_tensors_of_another_kind_are_refused_in_a_sentence(name: str, kind: str) -> None:
    arguments = list(inspect.signature(LOSSES[name].forward).parameters)[1:]
    for place, argument in enumerate(arguments[: len(example(name))]):
        inputs = [part.detach() for part in example(name)]
        if not inputs[place].is_floating_point() or (kind, argument) in FREE:
            continue
        inputs[place] = KINDS[kind](inputs[place])
        # The sentence names an argument of this loss, not of what it is made of.
        with pytest.raises(ArgumentError, match=rf"^({'|'.join(arguments)})\b"):
            LOSSES[name]()(*inputs)


@everyone
def test_double_and_single_precision_do_not_mix(name: str) -> None:
    arguments = list(inspect.signature(LOSSES[name].forward).parameters)[1:]
    inputs = [part.detach() for part in example(name)]
    pairs = [
        place
        for place, part in enumerate(inputs)
        if part.is_floating_point() and arguments[place] not in detached(name)
    ]
    if len(pairs) < 2:
        return
    inputs[pairs[0]] = inputs[pairs[0]].float()
    with pytest.raises(ArgumentError, match=f"{arguments[pairs[0]]} and .* must be of one dtype"):
        LOSSES[name]()(*inputs)


@streamed
@pytest.mark.parametrize(
    "backend", ["tiles", "native", "auto", pytest.param("triton", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("count", [12, 515])
def test_backends_agree(name: str, backend: str, count: int) -> None:
    if backend in ("native", "triton") and name in NOT_COMPILED:
        with pytest.raises(ArgumentError, match=f"unknown backend '{backend}'"):
            LOSSES[name](backend=backend)(*example(name))
        return
    if backend == "native" and native_library() is None:
        pytest.skip("the compiled passes were not built")
    if backend == "triton":
        pytest.importorskip("triton")
        if os.environ.get("TRITON_INTERPRET") != "1" or count > 100:
            pytest.skip("Triton takes tensors of the CPU in its interpreter, and few of them")
    results = []
    # 515 rows are more than one tile, and more than "auto" stores.
    for chosen in ("dense", backend):
        inputs = example(name, count)
        values = LOSSES[name](backend=chosen, reduction="none")(*inputs)
        weights = torch.linspace(0.5, 2.0, count, dtype=values.dtype)
        results.append([values, *gradients(values * weights, inputs)])
    for expected, actual in zip(*results, strict=True):
        assert torch.allclose(actual, expected, rtol=1e-10, atol=1e-10)


def renumbered(name: str, inputs: list[Tensor], order: Tensor) -> list[Tensor]:
    """The inputs with node order[i] at place i; what names nodes by number follows."""
    arguments = list(inspect.signature(LOSSES[name].forward).parameters)[1:]
    place = order.argsort()
    moved = []
    for argument, part in zip(arguments, inputs, strict=False):
        axes = [axis for axis, size in enumerate(part.shape) if size == order.numel()]
        part = part.detach().index_select(axes[0], order) if axes else part.detach()
        moved.append(place[part] if argument in ("edge_index", "permutations") else part)
    return moved


@everyone
def test_the_order_of_the_nodes_does_not_matter(name: str) -> None:
    # 13 nodes: no other axis of an example has this length.
    inputs = example(name, count=13)
    order = torch.randperm(13, generator=torch.Generator().manual_seed(1))
    values = LOSSES[name](reduction="none")
    moved = renumbered(name, inputs, order)
    assert any(not torch.equal(one, other) for one, other in zip(moved, inputs, strict=True))
    assert torch.allclose(values(*moved), values(*inputs)[order], rtol=1e-10, atol=1e-10)


@everyone
def test_the_number_of_threads_does_not_matter(name: str) -> None:
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            inputs = example(name, count=300)
            value = LOSSES[name]()(*inputs)
            results.append([value, *gradients(value, inputs)])
    finally:
        torch.set_num_threads(threads)
    for one, other in zip(*results, strict=True):
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-10)


@everyone
def test_memory_layout_does_not_matter(name: str) -> None:
    # Every other entry of a tensor twice as large, as columns of a matrix are.
    inputs = [part.detach() for part in example(name)]
    strided = [torch.stack([part, part], dim=-1)[..., 0] for part in inputs]
    assert not strided[0].is_contiguous()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = LOSSES[name]()(*strided)
    assert torch.allclose(value, LOSSES[name]()(*inputs), rtol=1e-10)
