"""The simulated device, for the tests that are about it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

# Imported before any test runs: a device that is new cannot be told of once autograd has started.
if not torch.cuda.is_available():
    from simulated import simulated_device


@pytest.fixture
def device():
    if torch.cuda.is_available():
        pytest.skip("there is a device that is not simulated")
    with simulated_device() as device:
        yield device
