"""Asymmetric loss (ASL): focal weights that differ for positives and negatives."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from graphcl.losses.arguments import check_fraction, check_reduction, check_weight, reduce
from graphcl.losses.examples import scores
from graphcl.losses.score_pairs import mean_of_terms, score_pairs


def asymmetric(
    positive_scores: Tensor,
    negative_scores: Tensor,
    positive_focus: float = 0.0,
    negative_focus: float = 4.0,
    shift: float = 0.05,
    *,
    detach_focus: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Functional twin of `Asymmetric`; the same arguments."""
    _check(positive_focus, negative_focus, shift)
    positive, negative = score_pairs(positive_scores, negative_scores)
    # (1 - p)^focus by its logarithm: no power of a vanishing number, no infinite slope.
    of_positive = _detached(torch.exp(positive_focus * logsigmoid(-positive)), detach_focus)
    positive_term = -of_positive * logsigmoid(positive)
    return reduce(
        mean_of_terms(positive_term, _negative_term(negative, negative_focus, shift, detach_focus)),
        reduction,
    )


def _negative_term(scores: Tensor, focus: float, shift: float, detach_focus: bool) -> Tensor:
    if shift == 0:
        weight = _detached(torch.exp(focus * logsigmoid(scores)), detach_focus)
        return -weight * logsigmoid(-scores)
    probability = torch.sigmoid(scores) - shift
    kept = probability > 0
    probability = torch.where(kept, probability, 0.5)
    weight = _detached(torch.exp(focus * probability.log()), detach_focus)
    # 1 - (p - m), which is at least m > 0, without cancellation where p is near 1.
    complement = torch.where(kept, torch.sigmoid(-scores) + shift, 0.5)
    return torch.where(kept, -weight * complement.log(), 0.0)


def _detached(weight: Tensor, detach_focus: bool) -> Tensor:
    return weight.detach() if detach_focus else weight


def _check(positive_focus: float, negative_focus: float, shift: float) -> None:
    check_weight("positive_focus", positive_focus)
    check_weight("negative_focus", negative_focus)
    check_fraction("shift", shift)


class Asymmetric(nn.Module):
    r"""Asymmetric focal loss: easy negatives fade, the easiest are dropped.

    .. math::
        L_i = -\frac{1}{k+1} \Bigl[ (1 - p_i)^{\gamma_+} \log p_i
            + \sum_{j=1}^{k} q_{ij}^{\gamma_-} \log(1 - q_{ij}) \Bigr], \qquad
        p = \sigma(x), \quad q = \max(p - m, 0)

    Ridnik et al. 2021, "Asymmetric Loss For Multi-Label Classification", arXiv
    2009.14119. Negatives with a probability below the shift m
    contribute nothing, not even a gradient. With γ₊ = γ₋ = m = 0 it is
    `BinaryCrossEntropy`. Deviations: the mean over the k + 1 terms in place of their
    sum, so that the learning rate does not depend on k; logarithms need no 1e-8.
    A multi-label row with P positives is P rows here, each with its share of the negatives.

    Args:
        positive_focus: γ₊, at least 0.
        negative_focus: γ₋, at least 0.
        shift: m in [0, 1), subtracted from the probability of negatives.
        detach_focus: no gradient through the focal weights (an option of the authors' code).
        reduction: "mean" or "sum" over the n positives, or "none".

    Shape:
        positive_scores (n,); negative_scores (n,) or (n, k), logits. Output: 0-d, or
        (n,) with reduction "none".

    Raises:
        ArgumentError: for shapes or dtypes that do not match, or a setting out of range.
        NonFiniteArgumentError: for NaN or infinite scores.

    Example:
        >>> loss = Asymmetric(negative_focus=2.0)
        >>> value = loss(torch.randn(8), torch.randn(8, 100))
    """

    functional = staticmethod(asymmetric)
    example = staticmethod(scores)

    def __init__(
        self,
        positive_focus: float = 0.0,
        negative_focus: float = 4.0,
        shift: float = 0.05,
        *,
        detach_focus: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        _check(positive_focus, negative_focus, shift)
        check_reduction(reduction)
        self.positive_focus = positive_focus
        self.negative_focus = negative_focus
        self.shift = shift
        self.detach_focus = detach_focus
        self.reduction = reduction

    def forward(self, positive_scores: Tensor, negative_scores: Tensor) -> Tensor:
        """The loss of scores (n,) against scores (n,) or (n, k)."""
        return asymmetric(
            positive_scores,
            negative_scores,
            self.positive_focus,
            self.negative_focus,
            self.shift,
            detach_focus=self.detach_focus,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return (
            f"positive_focus={self.positive_focus:g}, negative_focus={self.negative_focus:g}, "
            f"shift={self.shift:g}, detach_focus={self.detach_focus}, "
            f"reduction={self.reduction!r}"
        )
