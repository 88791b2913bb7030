"""What the operators return: one number per row in every field."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class ContrastOutput(NamedTuple):
    """What a contrastive loss is made of, one number per row.

    `denominator` (M,): log-sum-exp of the row's candidates, -inf without any.
    `positive` (M,): logit of the row's positive, 0 without one.
    Both are differentiable; a row without candidates, or without a positive,
    has gradient exactly 0 in that field.
    """

    denominator: Tensor
    positive: Tensor


class MeanOutput(NamedTuple):
    """Log-sum-exp and softmax-weighted mean of the logits of every row.

    `denominator` (M,): log-sum-exp of the row's candidates, -inf without any.
    `mean` (M,): mean of their logits under the softmax of these, 0 without any.
    """

    denominator: Tensor
    mean: Tensor


class ContrastStatistics(NamedTuple):
    """How the softmax over the candidates of every row is spread; without gradient.

    `entropy` (M,): in nats, between 0 and the logarithm of the number of candidates.
    `effective_negatives` (M,): 1 / sum of squared probabilities, between 1 and
    the number of candidates. Both are 0 for a row without candidates.
    """

    entropy: Tensor
    effective_negatives: Tensor
