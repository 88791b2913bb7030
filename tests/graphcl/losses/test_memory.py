"""Objectives over all pairs of nodes must not need memory for a matrix of all pairs."""

from __future__ import annotations

import subprocess
import sys

import pytest

RESIDENT = """
import contextlib

import torch

def resident(field):
    for line in open("/proc/self/status"):
        if line.startswith(field):
            return int(line.split()[1]) / 1024

def forget_peak():
    # On a machine short of memory, pages of libraries come and go, and the peak may be theirs.
    with contextlib.suppress(OSError):
        open("/proc/self/clear_refs", "w").write("5")

torch.set_num_threads(1)
"""

GRACE = """
from graphcl.losses import info_nce

def views(count):
    pair = [torch.randn(count, 128, requires_grad=True) for _ in range(2)]
    for view in pair:
        view.grad = torch.zeros_like(view)
    return pair

# A first small call loads the libraries and their buffers.
info_nce(*views(1500), 0.5, intra_view=True, backend="tiles").backward()
pair = views({count})
forget_peak()
before = resident("VmRSS")
info_nce(*pair, 0.5, intra_view=True, backend="tiles").backward()
print(resident("VmHWM") - before)
"""


EVERY_REDUCTION = """
from torch.nn.functional import softplus
from graphcl.kernels.contrast import (
    Pairs, contrast, mean_logit, pair_logits, pair_sum, statistics, top_candidates
)

def everything(count):
    query, key = (torch.randn(count, 16, requires_grad=True) for _ in range(2))
    order, other = (torch.randint(count, (2, 8 * count)).unique(dim=1) for _ in range(2))
    weight = torch.zeros(other.shape[1], requires_grad=True)
    groups = torch.randint(2, (count,))
    options = {
        "exclude": Pairs(order[0], order[1]), "row_groups": groups, "column_groups": groups,
    }
    weights = Pairs(other[0], other[1], weight)
    settings = {"scale": 2.0, "backend": "tiles", **options}
    contrast(query, key, weights=weights, hardness=0.5, **settings).denominator.sum().backward()
    mean_logit(query, key, **settings).mean.sum().backward()
    pair_sum(query, key, function=softplus, **settings).sum().backward()
    pair_logits(query, key, order[0], order[1]).sum().backward()
    statistics(query, key, **settings)
    top_candidates(query, key, count=5, **options)

everything(600)
forget_peak()
before = resident("VmRSS")
everything({count})
print(resident("VmHWM") - before)
"""


def extra_megabytes(script: str, count: int) -> float:
    result = subprocess.run(
        [sys.executable, "-c", RESIDENT + script.replace("{count}", str(count))],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    return float(result.stdout)


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")


@linux
def test_grace_objective_in_linear_memory() -> None:
    # One float32 matrix of that size is 576 MB and the definition holds several.
    assert extra_megabytes(GRACE, 12000) < 60


@linux
def test_every_reduction_and_option_in_linear_memory() -> None:
    # One float32 matrix of that size is 256 MB; the listed pairs are 64,000.
    assert extra_megabytes(EVERY_REDUCTION, 8000) < 60
