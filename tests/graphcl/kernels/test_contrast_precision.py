"""`contrast_precision`: the engine's products rounded, all others as torch is set."""

import pytest
import torch

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast import contrast, contrast_precision
from graphcl.kernels.contrast.checks import product_precision
from graphcl.native import missing_reason


@pytest.fixture
def torch_precision():
    before = torch.get_float32_matmul_precision()
    yield torch.set_float32_matmul_precision
    torch.set_float32_matmul_precision(before)


needs_kernels = pytest.mark.skipif(
    missing_reason() is not None, reason=f"no compiled kernels: {missing_reason()}"
)


def value_and_gradient(backend: str) -> list[torch.Tensor]:
    x = torch.randn(300, 48, generator=torch.Generator().manual_seed(0)).requires_grad_()
    positive = torch.arange(300).roll(1)
    value = contrast(x, scale=0.5, positive=positive, backend=backend).denominator.sum()
    return [value, x]


@needs_kernels
@pytest.mark.parametrize("word", ["highest", "high", "medium"])
def test_it_is_what_torch_would_make_of_it_and_torch_stays(word, torch_precision) -> None:
    torch_precision(word)
    wanted, x = value_and_gradient("native")
    wanted.backward()
    torch_precision("highest")
    with contrast_precision(word):
        assert torch.get_float32_matmul_precision() == "highest"
        value, own = value_and_gradient("native")
    # The gradient is taken outside the block and is as exact as the value was.
    value.backward()
    assert torch.equal(value, wanted)
    assert torch.equal(own.grad, x.grad)


def test_it_wins_over_torch_and_nests(torch_precision) -> None:
    single = torch.zeros(1)
    torch_precision("medium")
    with contrast_precision("highest"):
        assert product_precision(single) == "highest"
        with contrast_precision("high"):
            assert product_precision(single) == "high"
            assert product_precision(single.double()) == "highest"
        assert product_precision(single) == "highest"
    assert product_precision(single) == "medium"


def test_it_ends_with_an_error() -> None:
    with pytest.raises(ArithmeticError), contrast_precision("high"):
        raise ArithmeticError
    assert product_precision(torch.zeros(1)) == torch.get_float32_matmul_precision()


def test_another_word_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"highest, high, medium.*got 'low'"):
        contrast_precision("low").__enter__()
