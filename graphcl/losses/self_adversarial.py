"""Self-adversarial negative sampling (NSSA), the loss of RotatE."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from graphcl.errors import ArgumentError
from graphcl.losses.arguments import check_reduction, check_weight, number, reduce
from graphcl.losses.examples import scores
from graphcl.losses.score_pairs import score_pairs


def self_adversarial(
    positive_scores: Tensor,
    negative_scores: Tensor,
    margin: float = 9.0,
    alpha: float = 1.0,
    *,
    detach_weights: bool = True,
    reduction: str = "mean",
) -> Tensor:
    """Functional twin of `SelfAdversarial`; the same arguments."""
    _check(margin, alpha)
    positive, negative = score_pairs(positive_scores, negative_scores)
    values = -logsigmoid(margin + positive)
    if negative.shape[1]:
        scores = negative.detach() if detach_weights else negative
        weight = torch.softmax(alpha * scores, dim=1)
        values = values - (weight * logsigmoid(-margin - negative)).sum(dim=1)
    return reduce(values / 2, reduction)


def _check(margin: float, alpha: float) -> None:
    if not abs(number("margin", margin)) < float("inf"):
        raise ArgumentError(f"margin must be a finite number; got {margin}")
    check_weight("alpha", alpha)


class SelfAdversarial(nn.Module):
    r"""Logistic loss whose negatives weigh more the higher the model itself scores them.

    .. math::
        L_i = -\tfrac12 \Bigl[ \log \sigma(\gamma + x_i)
            + \sum_{j=1}^{k} p_{ij} \log \sigma(-\gamma - x_{ij}) \Bigr], \qquad
        p_{ij} = \mathrm{sg} \frac{e^{\alpha x_{ij}}}{\sum_l e^{\alpha x_{il}}}

    Sun et al. 2019, "RotatE", arXiv 1902.10197 (eq. 5 and 6). Scores x are
    "higher is better": of a distance model, the negated distance.

    **`alpha` is an INVERSE temperature**, though papers and libraries call it a
    temperature: 0 weighs all negatives alike, larger values
    look at fewer and harder ones; it multiplies the score. No gradient
    flows through the weights p (sg) unless `detach_weights` is False. The same object is
    the β of hardness-weighted InfoNCE and the t- of CACR.

    The authors' settings: γ = 9, α = 1, 256 negatives for FB15k-237; γ = 6, α = 0.5,
    1024 negatives for WN18RR. Their frequency weights of triples (word2vec's
    subsampling) are left to the caller: take reduction "none" and weigh.
    Without negatives (k = 0) only the positive's term is left.

    Args:
        margin: γ, finite.
        alpha: inverse temperature of the weights, at least 0.
        detach_weights: take the weights for constants, as the paper does.
        reduction: "mean" or "sum" over the n positives, or "none".

    Shape:
        positive_scores (n,); negative_scores (n,) or (n, k). Output: 0-d, or (n,)
        with reduction "none".

    Raises:
        ArgumentError: for shapes or dtypes that do not match, or a setting out of range.
        NonFiniteArgumentError: for NaN or infinite scores.

    Example:
        >>> loss = SelfAdversarial(margin=6.0, alpha=0.5)
        >>> value = loss(-torch.rand(8), -torch.rand(8, 64))
    """

    functional = staticmethod(self_adversarial)
    example = staticmethod(scores)
    without_stop_gradient: ClassVar[dict[str, bool]] = {"detach_weights": False}

    def __init__(
        self,
        margin: float = 9.0,
        alpha: float = 1.0,
        *,
        detach_weights: bool = True,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        _check(margin, alpha)
        check_reduction(reduction)
        self.margin = margin
        self.alpha = alpha
        self.detach_weights = detach_weights
        self.reduction = reduction

    def forward(self, positive_scores: Tensor, negative_scores: Tensor) -> Tensor:
        """The loss of scores (n,) against scores (n,) or (n, k)."""
        return self_adversarial(
            positive_scores,
            negative_scores,
            self.margin,
            self.alpha,
            detach_weights=self.detach_weights,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return (
            f"margin={self.margin:g}, alpha={self.alpha:g}, "
            f"detach_weights={self.detach_weights}, reduction={self.reduction!r}"
        )
