"""The log-sum-exp family in 16 bits, under autocast, and with a learnt temperature."""

from __future__ import annotations

import pytest
import torch

from graphcl.losses import LOSSES

FAMILY = [
    "CACR",
    "ClusterNegatives",
    "DebiasedInfoNCE",
    "HardContrastive",
    "HardnessInfoNCE",
    "HardnessWeightedInfoNCE",
    "MarginInfoNCE",
    "MeanInfoNCE",
    "SupCon",
]
family = pytest.mark.parametrize("name", FAMILY)


@family
def test_autocast_does_not_change_the_loss(name: str) -> None:
    inputs = LOSSES[name].example(40, 8, torch.Generator().manual_seed(0), torch.float32)
    expected = LOSSES[name]()(*inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(LOSSES[name]()(*inputs), expected)


@family
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bit_input_is_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    inputs = LOSSES[name].example(40, 8, torch.Generator().manual_seed(0), dtype)
    widened = [part.float() if part.is_floating_point() else part for part in inputs]
    value = LOSSES[name]()(*inputs)
    assert value.dtype == torch.float32
    assert torch.allclose(value, LOSSES[name]()(*widened), rtol=1e-6)


@pytest.mark.parametrize("name", [name for name in FAMILY if name != "CACR"])
def test_a_learnt_temperature_gets_its_slope(name: str) -> None:
    inputs = LOSSES[name].example(10, 6, torch.Generator().manual_seed(0), torch.float64)
    temperature = torch.nn.Parameter(torch.tensor(0.4, dtype=torch.float64))
    loss = LOSSES[name](temperature=temperature)
    assert [id(parameter) for parameter in loss.parameters()] == [id(temperature)]
    (slope,) = torch.autograd.grad(loss(*inputs), temperature)
    after, before = (LOSSES[name](temperature=0.4 + step)(*inputs) for step in (1e-6, -1e-6))
    assert torch.allclose(slope, (after - before) / 2e-6, rtol=1e-6)
