"""Batches whose rows come from one cluster, so that in-batch negatives are alike."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.samplers.contract import uniform


def cluster_batches(
    clusters: Tensor, batch_size: int, generator: torch.Generator | None = None
) -> list[Tensor]:
    """One epoch of batches, each within one cluster, in random order.

    The stages of MCL, Zhang et al. 2024, "Learning the Unlearned: Mitigating Feature
    Suppression in Contrastive Learning", arXiv 2402.11816: stage t contrasts only rows that
    all earlier stages' clusters hold together (`joint_clusters`), so that it must
    learn features those stages left unused. The representation is the
    concatenation of the stages.

    Args:
        clusters: (N,) integer cluster of each row.
        batch_size: largest size, at least 2; clusters are cut into parts of equal size.
        generator: source of randomness.

    Returns:
        (b,) int64 rows each. A row alone in its cluster, or left over by
        `batch_size=2`, has no negatives and is left out.

    Raises:
        ArgumentError: for a shape or size out of range.
    """
    if clusters.dim() != 1 or clusters.is_floating_point():
        raise ArgumentError(
            f"clusters must be (N,) integers; got {clusters.dtype} {tuple(clusters.shape)}"
        )
    if batch_size < 2:
        raise ArgumentError(f"batch_size must be at least 2; got {batch_size}")
    if clusters.numel() == 0:
        return []
    shuffled = uniform(tuple(clusters.shape), generator, clusters).argsort()
    order = shuffled[clusters[shuffled].argsort(stable=True)]
    _, sizes = torch.unique_consecutive(clusters[order], return_counts=True)
    parts = (sizes + batch_size - 1) // batch_size
    # Rows of a cluster are dealt to its parts like cards, so that no part is left nearly empty.
    rank = torch.arange(order.numel(), device=order.device) - (
        sizes.cumsum(0) - sizes
    ).repeat_interleave(sizes)
    part = (parts.cumsum(0) - parts).repeat_interleave(sizes) + rank % parts.repeat_interleave(
        sizes
    )
    order = order[part.argsort(stable=True)]
    lengths = torch.bincount(part, minlength=int(parts.sum()))
    batches = [batch for batch in order.split(lengths.tolist()) if batch.numel() > 1]
    shuffle = uniform((len(batches),), generator, clusters).argsort().tolist()
    return [batches[place] for place in shuffle]


def joint_clusters(*stages: Tensor) -> Tensor:
    """(N,) int64 clusters of rows that all the stages' clusters (N,) hold together."""
    if not stages or any(stage.shape != stages[0].shape or stage.dim() != 1 for stage in stages):
        raise ArgumentError(
            "stages must be one or more (N,) of the same N; got "
            f"{[tuple(stage.shape) for stage in stages]}"
        )
    joint = torch.unique(stages[0], return_inverse=True)[1]
    for stage in stages[1:]:
        found, place = torch.unique(stage, return_inverse=True)
        joint = torch.unique(joint * max(found.numel(), 1) + place, return_inverse=True)[1]
    return joint
