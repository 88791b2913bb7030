"""16-bit embeddings and autocast: products of unit vectors are float32 all the same."""

from __future__ import annotations

import pytest
import torch

from graphcl.losses import LOSSES

NAMES = (
    "BlockContrast",
    "DHEL",
    "KernelConditional",
    "KernelContrast",
    "MannWhitney",
    "MetaNodeInfoNCE",
    "MultiViewDHEL",
    "MultiViewInfoNCE",
    "ProtoCLIP",
    "SigLIP",
    "SwAV",
    "Symile",
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bits_are_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    inputs = LOSSES[name].example(20, 6, torch.Generator().manual_seed(0))
    halves = [part.to(dtype) if part.is_floating_point() else part for part in inputs]
    wholes = [part.float() if part.is_floating_point() else part for part in halves]
    value = LOSSES[name]()(*halves)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, LOSSES[name]()(*wholes), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_autocast_changes_nothing(name: str) -> None:
    inputs = LOSSES[name].example(40, 6, torch.Generator().manual_seed(0))
    inputs[0].requires_grad_()
    results = []
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            value = LOSSES[name]()(*inputs)
        # As torch advises, the backward pass is run outside.
        results.append((value, *torch.autograd.grad(value, inputs[0])))
    for exact, cast in zip(*results, strict=True):
        torch.testing.assert_close(cast, exact)
