import pytest
import torch

from graphcl.errors import ArgumentError
from recsys.encoders import Dropout


def test_keeps_the_mean_and_drops_the_stated_share() -> None:
    torch.manual_seed(0)
    out = Dropout(0.2)(torch.ones(1000, 400))
    # 400,000 draws: standard errors 0.0006 of the share and 0.0008 of the mean.
    assert (out == 0).float().mean().item() == pytest.approx(0.2, abs=0.004)
    assert out.mean().item() == pytest.approx(1.0, abs=0.005)
    assert torch.unique(out).tolist() == pytest.approx([0.0, 1.25], abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("rate", [0.1, 0.503])
def test_short_floats_are_dropped_as_often_as_float32(dtype: torch.dtype, rate: float) -> None:
    x = torch.rand(1000, 400) + 1
    torch.manual_seed(0)
    exact = Dropout(rate)(x)
    torch.manual_seed(0)
    out = Dropout(rate)(x.to(dtype))
    assert torch.equal(out == 0, exact == 0)
    assert out.dtype == dtype
    torch.testing.assert_close(out.float().mean(), exact.mean(), rtol=1e-3, atol=0)


def test_masks_of_neighbours_are_independent() -> None:
    torch.manual_seed(0)
    kept = (Dropout(0.5)(torch.ones(100_000)) != 0).double()
    for lag in (1, 2, 3, 4):  # four masks come from one 64-bit draw
        both = (kept[lag:] * kept[:-lag]).mean().item()
        assert both == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (5, 7), (2, 3, 5), (0, 4)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_any_shape_and_dtype(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x = torch.ones(shape, dtype=dtype)
    out = Dropout(0.3)(x)
    assert out.shape == x.shape
    assert out.dtype == dtype


def test_identity_when_evaluating_or_at_rate_zero() -> None:
    x = torch.randn(10, 10)
    assert torch.equal(Dropout(0.9).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)


def test_gradient_passes_where_the_value_passed() -> None:
    torch.manual_seed(0)
    x = torch.ones(50, 50, requires_grad=True)
    out = Dropout(0.4)(x)
    out.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, out.detach())


def test_follows_the_global_seed() -> None:
    x = torch.ones(20, 20)
    torch.manual_seed(3)
    first = Dropout(0.5)(x)
    second = Dropout(0.5)(x)
    torch.manual_seed(3)
    assert torch.equal(Dropout(0.5)(x), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("rate", [-0.1, 1.0, 2.0])
def test_refuses_a_rate_outside_its_domain(rate: float) -> None:
    with pytest.raises(ArgumentError, match="must lie in"):
        Dropout(rate)
