"""What a result must say about where it was measured."""

from __future__ import annotations

import os
import platform
import resource
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from graphcl.app.passwords import without_password

if TYPE_CHECKING:
    import torch

PACKAGES = (
    "graphcl",
    "torch",
    "torch_geometric",
    "numpy",
    "scipy",
    "scikit-learn",
    "scikit-network",
    "triton",
)


def versions() -> dict[str, str]:
    """Versions of Python, the machine kind and the packages that decide a number."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def threads() -> int:
    """Threads that torch computes with."""
    import torch

    return torch.get_num_threads()


def peak_memory_bytes() -> int:
    """The largest resident size of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def forget_peak_device_memory(device: torch.device) -> None:
    """Let `peak_device_memory_bytes` count from here on."""
    if device.type == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats(device)


def peak_device_memory_bytes(device: torch.device) -> int | None:
    """The most that tensors have held of a GPU's memory; None on another device."""
    if device.type != "cuda":
        return None
    import torch

    return torch.cuda.max_memory_allocated(device)


def command_line() -> str:
    """The command as typed, with the program's folder and passwords cut off."""
    import shlex

    name = os.path.basename(sys.argv[0])
    # What `python -m graphcl` calls itself.
    name = "graphcl" if name == "__main__.py" else name
    return shlex.join([name, *(without_password(argument) for argument in sys.argv[1:])])
