"""Objectives over all pairs of nodes must not need memory for a matrix of all pairs."""

from __future__ import annotations

from collections.abc import Callable

from graphcl.losses import LOSSES

Peak = Callable[[str, str], float]

GRACE = """
from graphcl.losses import info_nce

def views(count):
    pair = [torch.randn(count, 128, requires_grad=True) for _ in range(2)]
    for view in pair:
        view.grad = torch.zeros_like(view)
    return pair

def grace(pair):
    info_nce(*pair, 0.5, intra_view=True, backend="tiles").backward()

grace(views(1500))
pair = views(12000)
"""


def test_grace_objective_in_linear_memory(peak_megabytes: Peak) -> None:
    # One float32 matrix of that size is 576 MB and the definition holds several.
    assert peak_megabytes(GRACE, "grace(pair)") < 60


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
"""


def test_every_reduction_and_option_in_linear_memory(peak_megabytes: Peak) -> None:
    # One float32 matrix of that size is 256 MB; the listed pairs are 64,000.
    assert peak_megabytes(EVERY_REDUCTION, "everything(8000)") < 60


EVERY_LOSS = """
from graphcl.losses import LOSSES, SupCon

def run(loss, count):
    inputs = type(loss).example(count, 16, torch.Generator().manual_seed(0))
    for part in inputs:
        part.requires_grad_(part.is_floating_point())
    loss(*inputs).backward()

losses = [LOSSES[name]() for name in {names}] + [SupCon(form="in")]
for loss in losses:
    run(loss, 600)
"""


def test_losses_need_linear_memory(peak_megabytes: Peak) -> None:
    # All but GroCo, whose sorting network takes N k² entries for k negatives.
    prepare = EVERY_LOSS.format(names=sorted(set(LOSSES) - {"GroCo"}))
    # One float32 matrix of 6000 x 6000 is 137 MB; of the two views of each node 549 MB.
    assert peak_megabytes(prepare, "for loss in losses:\n    run(loss, 6000)") < 60


ALIGNMENT_UNIFORMITY = """
from graphcl.losses import alignment_uniformity

def views(count):
    return [torch.randn(count, 32, requires_grad=True) for _ in range(2)]

alignment_uniformity(*views(1500), backend="tiles").backward()
pair = views(8000)
"""


def test_alignment_and_uniformity_in_linear_memory(peak_megabytes: Peak) -> None:
    # One float32 matrix of all pairs is 256 MB.
    assert peak_megabytes(ALIGNMENT_UNIFORMITY, "alignment_uniformity(*pair).backward()") < 60


SAMPLED_SOFTMAX = """
from graphcl.losses import sampled_softmax

def step(rows, negatives):
    query = torch.randn(rows, 256, requires_grad=True)
    items = torch.randn(5000, 256, requires_grad=True)
    own = torch.randint(5000, (rows, negatives))
    log_q = torch.zeros(rows, negatives)
    sampled_softmax(query, items, torch.randint(5000, (rows,)), own, log_q).backward()

step(500, 20)
"""


def test_negatives_per_row_are_never_gathered_all_at_once(peak_megabytes: Peak) -> None:
    # 4000 x 200 gathered vectors of 256 numbers are 819 MB.
    assert peak_megabytes(SAMPLED_SOFTMAX, "step(4000, 200)") < 100
