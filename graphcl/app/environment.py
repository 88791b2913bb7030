"""What a result must say about where it was measured."""

from __future__ import annotations

import os
import platform
import resource
import sys
from importlib.metadata import PackageNotFoundError, version

from graphcl.app.passwords import without_password

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


def command_line() -> str:
    """The command as typed, with the program's folder and passwords cut off."""
    import shlex

    name = os.path.basename(sys.argv[0])
    # What `python -m graphcl` calls itself.
    name = "graphcl" if name == "__main__.py" else name
    return shlex.join([name, *(without_password(argument) for argument in sys.argv[1:])])
