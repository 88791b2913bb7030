"""MoCHi: harder negatives mixed from the hardest ones."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.views.embedding.draws import integers_below, uniform
from graphcl.views.embedding.mixtures import Mixtures


def mix_hard_negatives(
    candidates: Tensor,
    count: int,
    anchor_count: int = 0,
    *,
    generator: torch.Generator | None = None,
) -> tuple[Mixtures, Mixtures]:
    r"""Synthetic negatives between the hardest negatives, and between them and the anchor.

    .. math::
        h = a\, n_i + (1 - a)\, n_j, \quad a \sim U(0, 1), \qquad
        h' = b\, q + (1 - b)\, n_j, \quad b \sim U(0, \tfrac12)

    Kalantidis et al. 2020, "Hard Negative Mixing for Contrastive Learning",
    arXiv 2010.01028; i and j are drawn from the row's candidates. Deviation: i and j
    differ, as a mixture of a negative with itself is that negative a second time. All are
    extra negatives, taken for constants, next to the real ones::

        keys, anchor = queue.detach(), query.detach()
        hard = top_candidates(unit_rows(query), unit_rows(queue), count=1024)
        mixed = mix_hard_negatives(hard.indices, 512, 256, generator=generator)
        parts = [m.log_sum_exp(query, keys, 1 / temperature, anchor=anchor) for m in mixed]
        denominator = log_add_exp(real.denominator, *parts)

    Args:
        candidates: (M, C) int64 keys of the hardest negatives of each anchor, as
            `graphcl.kernels.contrast.top_candidates` finds them: missing ones (-1) last.
        count: s, mixtures of two negatives; 0: none.
        anchor_count: s', mixtures with the anchor; 0: none.
        generator: source of randomness; None is torch's global one.

    Returns:
        `Mixtures` (M, s) and (M, s'). Rows with one candidate have none of the
        first kind, rows without candidates none at all.

    Raises:
        ArgumentError: for a shape, dtype or count out of range.
    """
    if candidates.dim() != 2 or candidates.dtype != torch.int64:
        raise ArgumentError(
            f"candidates must be (M, C) of torch.int64; got {tuple(candidates.shape)} "
            f"of {candidates.dtype}"
        )
    if count < 0 or anchor_count < 0:
        raise ArgumentError(
            f"count and anchor_count must be at least 0; got {count} and {anchor_count}"
        )
    rows, real = candidates.shape[0], (candidates >= 0).sum(dim=1)
    if candidates.shape[1] > 1 and bool((candidates[:, 1:] >= 0)[candidates[:, :-1] < 0].any()):
        raise ArgumentError("candidates must have their missing ones (-1) last")
    like = torch.empty(0, device=candidates.device)

    here = integers_below(real[:, None].expand(-1, count), generator)
    other = integers_below((real - 1).clamp_min(0)[:, None].expand(-1, count), generator)
    there = (here + 1 + other) % real.clamp_min(1)[:, None]
    two = (real > 1)[:, None]
    between = Mixtures(
        first=_taken(candidates, here).where(two, -1),
        second=_taken(candidates, there).where(two, -1),
        weight=uniform((rows, count), generator, like),
    )
    partner = integers_below(real[:, None].expand(-1, anchor_count), generator)
    with_anchor = Mixtures(
        second=_taken(candidates, partner),
        weight=uniform((rows, anchor_count), generator, like) / 2,
    )
    return between, with_anchor


def _taken(candidates: Tensor, place: Tensor) -> Tensor:
    if candidates.shape[1] == 0:
        return torch.full_like(place, -1)
    return candidates.gather(1, place)
