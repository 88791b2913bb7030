"""Histograms of the cosines of positive and of negative pairs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from graphcl.diagnostics.arguments import sample_rows
from graphcl.errors import ArgumentError
from graphcl.losses.arguments import check_same_shape
from graphcl.losses.unit_rows import unit_rows

# Cosines held at a time.
CHUNK_ENTRIES = 1 << 20


@dataclass(frozen=True)
class ScoreHistogram:
    """Counts of cosines in equal bins of [-1, 1].

    `edges` (bins + 1,) float64; `positive` and `negative` (bins,) int64. A bin
    holds its lower edge; the last holds 1 too.
    """

    edges: Tensor
    positive: Tensor
    negative: Tensor

    def overlap(self) -> float:
        """Shared area of the histograms, each scaled to sum 1: 0 apart, 1 alike, NaN if empty."""
        positive = self.positive.double() / self.positive.sum()
        negative = self.negative.double() / self.negative.sum()
        return float(torch.minimum(positive, negative).sum())

    def mean_and_variance(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Mean and variance of the positives and of the negatives, to the width of a bin."""
        centres = (self.edges[1:] + self.edges[:-1]) / 2
        moments = []
        for counts in (self.positive, self.negative):
            share = counts.double() / counts.sum()
            mean = (share * centres).sum()
            moments.append((float(mean), float((share * (centres - mean).square()).sum())))
        return moments[0], moments[1]


@torch.no_grad()
def score_histogram(
    z1: Tensor,
    z2: Tensor,
    bins: int = 100,
    *,
    sample: int | None = None,
    generator: torch.Generator | None = None,
) -> ScoreHistogram:
    """How the cosines of positive pairs, and of negative pairs, are distributed.

    Row i of z1 is an anchor, row i of z2 its positive, every other row of z2 a
    negative. Zhu et al. 2021, "Improving Contrastive Learning by Visualizing
    Feature Transformation", arXiv 2108.02982, watch these distributions to
    choose transformations of positives and negatives. O(N² d) time in chunks,
    memory O(N d); `sample` anchors in place of N bound the time.

    Args:
        z1, z2: (N, d), un-normalised, row i of both being the same node.
        bins: number of equal bins of [-1, 1], at least 1.
        sample: use this many anchors, drawn without replacement; None for all.
        generator: source of the sample; None for the global one.

    Returns:
        The two histograms, exact counts.

    Raises:
        ArgumentError: for shapes that do not match, bins or sample out of range, or
            embeddings that are not finite (they have no bin).
    """
    check_same_shape(z1, z2)
    if bins < 1:
        raise ArgumentError(f"bins must be at least 1; got {bins}")
    u, v = unit_rows(z1), unit_rows(z2)
    if not (torch.isfinite(u).all() and torch.isfinite(v).all()):
        raise ArgumentError("z1 and z2 must be finite")
    anchors = sample_rows(u.shape[0], sample, generator, u.device)
    if anchors is None:
        anchors = torch.arange(u.shape[0], device=u.device)
    positive = torch.zeros(bins, dtype=torch.int64, device=u.device)
    every = torch.zeros_like(positive)
    for part in anchors.split(max(1, CHUNK_ENTRIES // max(v.shape[0], 1))):
        # Positives come from the same product as all, so that rounding puts
        # them into the same bin when they are taken out again.
        placed = _bin(u[part] @ v.T, bins)
        own = placed.gather(1, part[:, None]).view(-1)
        positive += torch.bincount(own, minlength=bins)
        every += torch.bincount(placed.view(-1), minlength=bins)
    edges = torch.linspace(-1, 1, bins + 1, dtype=torch.float64, device=u.device)
    return ScoreHistogram(edges, positive, every - positive)


def _bin(cosine: Tensor, bins: int) -> Tensor:
    return ((cosine + 1) * (bins / 2)).floor().long().clamp_(0, bins - 1)
