"""What losses are compared with: scalar loops that autograd can follow, and a limit of memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor


class Loops:
    """Vectors as lists of 0-d tensors; the definitions in the tests loop over them."""

    @staticmethod
    def random(*shape: int, seed: int = 0) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    @staticmethod
    def dot(a: Tensor, b: Tensor) -> Tensor:
        total = a[0] * b[0]
        for k in range(1, len(a)):
            total = total + a[k] * b[k]
        return total

    @classmethod
    def cosine(cls, a: Tensor, b: Tensor) -> Tensor:
        return cls.dot(a, b) / torch.sqrt(cls.dot(a, a) * cls.dot(b, b))

    @classmethod
    def unit(cls, a: Tensor) -> list[Tensor]:
        length = torch.sqrt(cls.dot(a, a))
        return [entry / length for entry in a]

    @staticmethod
    def agree(
        loss: Callable[..., Tensor],
        definition: Callable[..., list[Tensor]],
        *inputs: Tensor,
        tolerance: float = 1e-10,
    ) -> None:
        """Per-anchor values of both are the same, and so are the gradients of a weighted sum."""
        leaves = [part.detach().clone().requires_grad_() for part in inputs]
        values, expected = loss(*leaves), torch.stack(definition(*leaves))
        assert values.shape == expected.shape
        torch.testing.assert_close(values, expected, rtol=tolerance, atol=tolerance)
        weights = torch.linspace(0.5, 2.0, len(expected), dtype=torch.float64)
        got = torch.autograd.grad((values * weights).sum(), leaves)
        wanted = torch.autograd.grad((expected * weights).sum(), leaves)
        for one, other in zip(got, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@pytest.fixture(scope="session")
def loops() -> type[Loops]:
    return Loops


PEAK = """
import contextlib
import torch

def resident(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field)) / 1024

torch.set_num_threads(1)
{prepare}
# On a machine short of memory, pages of libraries come and go, and the peak may be theirs.
with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as peaks:
    peaks.write("5")
before = resident("VmRSS")
{measured}
print(resident("VmHWM") - before)
"""


@pytest.fixture(scope="session")
def peak_megabytes() -> Callable[[str, str], float]:
    """Megabytes that the second script holds at most, above what it found, in a process of its own.

    The first script loads the libraries. What is freed goes back to the system at once, so that
    holes in the heap, which differ from run to run, are not counted.
    """
    if not sys.platform.startswith("linux"):
        pytest.skip("reads /proc/self/status")
    limits = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}

    def measure(prepare: str, measured: str) -> float:
        result = subprocess.run(
            [sys.executable, "-c", PEAK.format(prepare=prepare, measured=measured)],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env={**os.environ, **limits},
        )
        assert result.returncode == 0, result.stderr
        return float(result.stdout)

    return measure
