"""Positive-unlabelled risk with propensities (SAR-PU)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast.checks import check_finite
from graphcl.losses.arguments import check_floating, check_reduction, number, reduce
from graphcl.losses.examples import scores
from graphcl.losses.score_pairs import score_pairs


def propensity_pu(
    positive_scores: Tensor,
    unlabelled_scores: Tensor,
    propensity: Tensor | None = None,
    *,
    minimum_propensity: float = 0.05,
    non_negative: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Functional twin of `PropensityPU`; the same arguments."""
    _check(minimum_propensity)
    positive, unlabelled = score_pairs(positive_scores, unlabelled_scores, "unlabelled_scores")
    inverse = _inverse_propensity(propensity, positive, minimum_propensity)
    as_negative = -logsigmoid(-unlabelled).sum(dim=1) - (1 - inverse) * logsigmoid(-positive)
    if non_negative:
        as_negative = as_negative.clamp_min(0)
    values = as_negative - inverse * logsigmoid(positive)
    return reduce(values / (unlabelled.shape[1] + 1), reduction)


def _inverse_propensity(propensity: Tensor | None, scores: Tensor, minimum: float) -> Tensor:
    if propensity is None:
        return torch.ones_like(scores)
    check_floating("propensity", propensity)
    if propensity.shape != scores.shape:
        raise ArgumentError(
            f"propensity must have shape {tuple(scores.shape)}; got {tuple(propensity.shape)}"
        )
    check_finite("propensity", propensity)
    if propensity.numel():
        low, high = (float(bound) for bound in propensity.detach().aminmax())
        if low < 0 or high > 1:
            raise ArgumentError(f"propensity must lie in [0, 1]; got values in [{low:g}, {high:g}]")
    return propensity.detach().to(scores.dtype).clamp_min(minimum).reciprocal()


def _check(minimum_propensity: float) -> None:
    if not 0 < number("minimum_propensity", minimum_propensity) <= 1:
        raise ArgumentError(
            f"minimum_propensity must be a number in (0, 1]; got {minimum_propensity}"
        )


class PropensityPU(nn.Module):
    r"""Risk of learning from positives that were labelled with known, unequal probability.

    .. math::
        L_i = \frac{1}{k+1} \Bigl[ \tfrac{1}{e_i} \ell(1, x_i)
            + \left( 1 - \tfrac{1}{e_i} \right) \ell(0, x_i)
            + \sum_{j=1}^{k} \ell(0, x_{ij}) \Bigr]

    with the logistic losses ℓ(1, x) = -log σ(x) and ℓ(0, x) = -log(1 - σ(x)).
    Bekker et al. 2019, "Beyond the Selected Completely At Random Assumption for
    Learning from Positive and Unlabeled Data", arXiv 1809.03207. A labelled
    positive that had probability e of being labelled stands for 1/e positives,
    1/e - 1 of which hide among the unlabelled and are taken out of their sum.
    With e = 1 it is `BinaryCrossEntropy`.

    The term (1 - 1/e) ℓ(0, x) is negative and has no lower bound, so a flexible
    model can drive the risk to minus infinity. `non_negative` clamps the
    estimated risk of the negatives at 0, as Kiryo et al. 2017, arXiv 1703.00593,
    do over a batch; here it is per row. Propensities get no gradient.

    Args:
        minimum_propensity: smaller e are raised to this, in (0, 1].
        non_negative: clamp each row's risk of negatives at 0.
        reduction: "mean" or "sum" over the n positives, or "none".

    Shape:
        positive_scores (n,); unlabelled_scores (n,) or (n, k), logits; propensity
        (n,) in [0, 1], None for 1. Output: 0-d, or (n,) with reduction "none".

    Raises:
        ArgumentError: for shapes or dtypes that do not match, or a value out of range.
        NonFiniteArgumentError: for NaN or infinite scores or propensities.

    Example:
        >>> loss = PropensityPU(non_negative=True)
        >>> value = loss(torch.randn(8), torch.randn(8, 20), torch.rand(8))
    """

    functional = staticmethod(propensity_pu)
    example = staticmethod(scores)

    def __init__(
        self,
        *,
        minimum_propensity: float = 0.05,
        non_negative: bool = False,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        _check(minimum_propensity)
        check_reduction(reduction)
        self.minimum_propensity = minimum_propensity
        self.non_negative = non_negative
        self.reduction = reduction

    def forward(
        self,
        positive_scores: Tensor,
        unlabelled_scores: Tensor,
        propensity: Tensor | None = None,
    ) -> Tensor:
        """The risk of scores (n,) against unlabelled scores (n,) or (n, k)."""
        return propensity_pu(
            positive_scores,
            unlabelled_scores,
            propensity,
            minimum_propensity=self.minimum_propensity,
            non_negative=self.non_negative,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return (
            f"minimum_propensity={self.minimum_propensity:g}, "
            f"non_negative={self.non_negative}, reduction={self.reduction!r}"
        )
