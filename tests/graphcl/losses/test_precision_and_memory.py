"""The log-sum-exp family in 16 bits, under autocast, with a learnt temperature, on many nodes."""

from __future__ import annotations

import subprocess
import sys

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


SCRIPT = """
import torch
from graphcl.losses import LOSSES, SupCon

def resident(field):
    for line in open("/proc/self/status"):
        if line.startswith(field):
            return int(line.split()[1]) / 1024

def run(loss, count):
    inputs = type(loss).example(count, 16, torch.Generator().manual_seed(0))
    for part in inputs:
        part.requires_grad_(part.is_floating_point())
    loss(*inputs).backward()

torch.set_num_threads(1)
losses = [LOSSES[name]() for name in {names}] + [SupCon(form="in")]
for loss in losses:
    run(loss, 600)
before = resident("VmRSS")
for loss in losses:
    run(loss, 6000)
print(resident("VmHWM") - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")
def test_losses_need_linear_memory() -> None:
    # All but GroCo, whose sorting network takes N k² entries for k negatives.
    names = sorted(set(LOSSES) - {"GroCo"})
    # One float32 matrix of 6000 x 6000 is 137 MB; of the two views of each node 549 MB.
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT.replace("{names}", repr(names))],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert float(result.stdout) < 80
