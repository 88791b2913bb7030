"""SupReMix: mixtures along an ordinal label, as hard positives and hard negatives."""

from __future__ import annotations

import torch
from torch import Tensor

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast.checks import check_finite
from graphcl.views.embedding.draws import beta, integers_below
from graphcl.views.embedding.mixtures import Mixtures


def mix_label_positives(
    labels: Tensor,
    count: int,
    window: float | None = None,
    *,
    generator: torch.Generator | None = None,
) -> Mixtures:
    r"""Positives mixed from two other rows whose labels straddle the anchor's.

    .. math::
        h = w z_j + (1 - w) z_k, \qquad y_j < y < y_k, \quad
        w = \frac{y_k - y}{y_k - y_j} \;\Rightarrow\; w y_j + (1 - w) y_k = y

    Wu et al. 2023, "Mixup Your Own Pairs" (SupReMix), arXiv 2309.16633: the
    anchor takes no part. Labels are any ordered numbers: ratings, ages, times.

    One log-sum-exp holds all candidates (a published implementation subtracts
    two different maxima from one softmax)::

        positives = mix_label_positives(labels, 4, window=1.0, generator=generator)
        negatives = mix_label_negatives(labels, 16, generator=generator)
        far = (negatives.labels(labels) - labels[:, None]).abs()  # weight of a negative
        denominator = log_add_exp(
            contrast(unit_rows(z), scale=scale).denominator,  # every other row
            positives.log_sum_exp(z, z, scale),
            negatives.log_sum_exp(z, z, scale, log_weight=far.log()),
        )
        attract = torch.where(positives.present, scale * positives.cosines(z, z), 0.0)
        number = positives.present.sum(dim=1)
        mean = attract.sum(dim=1) / number.clamp_min(1)
        loss = torch.where(number > 0, denominator - mean, 0.0).mean()

    Args:
        labels: (N,) floating or integer labels of rows that are anchors and keys.
        count: s, mixtures per anchor; 0: none.
        window: largest label difference of both ingredients to the anchor, above 0; None: any.
        generator: source of randomness; None is torch's global one.

    Returns:
        `Mixtures` (N, s); none for anchors with nothing below or nothing above them.

    Raises:
        ArgumentError: for a shape, count or window out of range.
        NonFiniteArgumentError: for NaN or infinite labels.
    """
    values, order = _sorted(labels, count)
    if window is not None and not window > 0:
        raise ArgumentError(f"window must be above 0, or None; got {window}")
    y = labels.double()
    reach = float("inf") if window is None else window
    low = torch.searchsorted(values, y - reach)
    below, above = torch.searchsorted(values, y), torch.searchsorted(values, y, right=True)
    high = torch.searchsorted(values, y + reach, right=True)
    first = _pick(order, low, below - low, count, generator)
    second = _pick(order, above, high - above, count, generator)
    present = (first >= 0) & (second >= 0)
    left, right = y[first.clamp_min(0)], y[second.clamp_min(0)]
    gap = torch.where(present, right - left, 1.0)
    weight = torch.where(present, (right - y[:, None]) / gap, 0.5)
    return Mixtures(second.where(present, -1), weight, first.where(present, -1))


def mix_label_negatives(
    labels: Tensor,
    count: int,
    concentration: float = 1.0,
    *,
    generator: torch.Generator | None = None,
) -> Mixtures:
    r"""Negatives mixed from the anchor and a row of another label.

    .. math::
        h = w z + (1 - w) z_j, \qquad y_j \ne y, \quad w \sim \mathrm{Beta}(c, c)

    with the mixed label w y + (1 - w) y_j (`Mixtures.labels`), whose distance
    to y weighs the negative. The anchor-inclusive half of Wu et al. 2023, arXiv
    2309.16633; see `mix_label_positives` for the loss.

    Args:
        labels: (N,) floating or integer labels of rows that are anchors and keys.
        count: s, mixtures per anchor; 0: none.
        concentration: c of the Beta distribution, above 0.
        generator: source of randomness; None is torch's global one.

    Returns:
        `Mixtures` (N, s); none where all labels are equal.

    Raises:
        ArgumentError: for a shape, count or concentration out of range.
        NonFiniteArgumentError: for NaN or infinite labels.
    """
    values, order = _sorted(labels, count)
    y = labels.double()
    below, above = torch.searchsorted(values, y), torch.searchsorted(values, y, right=True)
    others = (y.numel() - above + below)[:, None].expand(-1, count)
    place = integers_below(others, generator)
    # Places from `below` on lie beyond the equal labels.
    place = place + torch.where(place >= below[:, None], (above - below)[:, None], 0)
    second = torch.where(others > 0, order[place.clamp(0, max(y.numel() - 1, 0))], -1)
    return Mixtures(second, beta((y.numel(), count), concentration, generator, y))


def _sorted(labels: Tensor, count: int) -> tuple[Tensor, Tensor]:
    if labels.dim() != 1 or labels.is_complex() or labels.dtype == torch.bool:
        raise ArgumentError(f"labels must be (N,) numbers; got {labels.dtype} {labels.shape}")
    if count < 0:
        raise ArgumentError(f"count must be at least 0; got {count}")
    values = labels.double()
    check_finite("labels", values)
    ordered = values.sort()
    return ordered.values, ordered.indices


def _pick(
    order: Tensor, start: Tensor, size: Tensor, count: int, generator: torch.Generator | None
) -> Tensor:
    size = size[:, None].expand(-1, count)
    place = (start[:, None] + integers_below(size, generator)).clamp(max=max(order.numel() - 1, 0))
    return torch.where(size > 0, order[place], -1)
