"""Mann-Whitney loss: a logistic bound of the area under the ROC curve."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast import pair_sum
from graphcl.kernels.contrast.checks import check_finite, full_precision
from graphcl.losses.arguments import (
    check_alike,
    check_count,
    check_floating,
    check_option,
    check_reduction,
    check_two_views,
    inverse_temperature,
    plain,
    reduce,
    softplus,
)
from graphcl.losses.examples import two_views
from graphcl.losses.precision import widened
from graphcl.losses.soft_histogram import soft_histogram
from graphcl.losses.unit_rows import row_products, unit_rows

FORMS = ("global", "row")


def mann_whitney(
    z1: Tensor,
    z2: Tensor,
    temperature: float | Tensor = 0.1,
    *,
    form: str = "global",
    knots: int = 256,
    reduction: str = "mean",
) -> Tensor:
    """Functional twin of `MannWhitney`; the same arguments."""
    check_two_views(z1, z2)
    scale = inverse_temperature(temperature)
    _check_settings(form, knots)
    u, v = unit_rows(z1), unit_rows(z2)
    count = u.shape[0]
    positive = row_products(u, v)
    if form == "row":
        nodes = torch.arange(count, device=u.device)
        total = pair_sum(
            u,
            v,
            function=softplus,
            scale=scale,
            row_bias=-scale * positive,
            row_ids=nodes,
            column_ids=nodes,
        )
        return reduce(total / max(count - 1, 1), reduction)
    shares = soft_histogram(u, v, knots)
    steps = torch.linspace(-1.0, 1.0, knots, dtype=u.dtype, device=u.device)
    with full_precision(u):
        values = softplus(scale * (steps - positive[:, None])) @ shares
    return reduce(values, reduction)


def mann_whitney_of_scores(
    positive_scores: Tensor,
    negative_scores: Tensor,
    temperature: float | Tensor = 1.0,
    reduction: str = "mean",
) -> Tensor:
    r"""The mean of softplus((s - p_i) / τ) over all negative scores s, for every positive p_i.

    Exact, O(P Q) time in memory O(P + Q); for link predictors and rankers that give scores.

    Args:
        positive_scores: (P,).
        negative_scores: (Q,); none: the values are 0.
        temperature: τ in [1e-3, 10].
        reduction: "mean" or "sum" over the P positives, or "none".

    Raises:
        ArgumentError: for a shape, temperature or reduction out of range, or scores
            that are not finite.
    """
    for name, scores in (
        ("positive_scores", positive_scores),
        ("negative_scores", negative_scores),
    ):
        check_floating(name, scores)
        check_finite(name, scores)
    if positive_scores.dim() != 1 or negative_scores.dim() != 1:
        raise ArgumentError(
            "positive_scores must be (P,) and negative_scores (Q,); got "
            f"{tuple(positive_scores.shape)} and {tuple(negative_scores.shape)}"
        )
    check_alike(("positive_scores", "negative_scores"), positive_scores, negative_scores)
    positive_scores, negative_scores = widened(positive_scores), widened(negative_scores)
    scale = inverse_temperature(temperature)
    total = pair_sum(
        torch.ones_like(positive_scores)[:, None],
        negative_scores[:, None],
        function=softplus,
        scale=scale,
        row_bias=-scale * positive_scores,
    )
    return reduce(total / max(negative_scores.numel(), 1), reduction)


class MannWhitney(nn.Module):
    r"""Every positive pair should score above every negative pair: a bound of 1 - AUC.

    .. math::
        L_i = \frac{1}{|\mathcal{N}_i|} \sum_{(j, k) \in \mathcal{N}_i} \log \left( 1 +
            e^{(\theta(u_j, v_k) - \theta(u_i, v_i))/\tau} \right)

    with the cosine θ. Sheikholeslami et al. 2025, "Optimizing What Matters: AUC-Driven
    Learning for Robust Neural Retrieval", arXiv 2510.00137. `form="global"`: the
    negatives are all pairs j ≠ k of the batch, which is the Mann-Whitney statistic and
    makes scores comparable between anchors; `form="row"`: only the anchor's own, j = i.

    All pairs of pairs would cost N³ time. The global form sorts the negatives into
    a differentiable histogram of `knots` cosines instead: time O(N² d + N knots), memory
    O(N (d + knots)). Its error is that of linear interpolation, at most h² / (32 τ²) for
    knots h = 2 / (knots - 1) apart (2e-4 at the defaults), always upwards. The row form
    is exact, with memory linear in N.

    Args:
        temperature: τ, a number in [1e-3, 10], or a 0-d tensor or Parameter to learn.
        form: "global" or "row".
        knots: of the histogram in the global form, at least 2.
        reduction: "mean" or "sum" over the N nodes, or "none".

    Shape:
        z1, z2 (N, d), un-normalised, row i of both being the same node. Output: 0-d, or
        (N,) with reduction "none". One node has no negative and value 0.

    Raises:
        ArgumentError: for a shape, temperature, form, number of knots or reduction out
            of range.
        NonFiniteArgumentError: for NaN or infinity in z1 or z2.

    Example:
        >>> loss = MannWhitney(0.1)
        >>> value = loss(torch.randn(100, 32), torch.randn(100, 32))
    """

    functional = staticmethod(mann_whitney)
    example = staticmethod(two_views)

    def __init__(
        self,
        temperature: float | Tensor = 0.1,
        *,
        form: str = "global",
        knots: int = 256,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        inverse_temperature(temperature)
        _check_settings(form, knots)
        check_reduction(reduction)
        self.temperature = temperature
        self.form = form
        self.knots = knots
        self.reduction = reduction

    def forward(self, z1: Tensor, z2: Tensor) -> Tensor:
        """The loss of two views (N, d)."""
        return mann_whitney(
            z1,
            z2,
            self.temperature,
            form=self.form,
            knots=self.knots,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return (
            f"temperature={plain(self.temperature):g}, form={self.form!r}, "
            f"knots={self.knots}, reduction={self.reduction!r}"
        )


def _check_settings(form: str, knots: int) -> None:
    check_option("form", form, FORMS)
    check_count("knots", knots, lowest=2)
