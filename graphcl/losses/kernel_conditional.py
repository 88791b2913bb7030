"""CCL-K: contrast conditioned on a variable, by kernel weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast import contrast, log_add_exp
from graphcl.kernels.contrast.checks import check_finite
from graphcl.losses.arguments import (
    check_above_zero,
    check_option,
    check_reduction,
    check_tensor,
    check_two_views,
    inverse_temperature,
    plain,
    reduce,
)
from graphcl.losses.examples import two_views_and_groups
from graphcl.losses.unit_rows import row_products, unit_rows

FORMS = ("hard_negative", "weak_supervision")


def kernel_conditional(
    z1: Tensor,
    z2: Tensor,
    condition: Tensor,
    temperature: float | Tensor = 0.1,
    *,
    form: str = "hard_negative",
    regularisation: float = 0.1,
    include_self: bool = False,
    reduction: str = "mean",
    backend: str = "auto",
) -> Tensor:
    """Functional twin of `KernelConditional`; the same arguments."""
    check_two_views(z1, z2)
    scale = inverse_temperature(temperature)
    _check_settings(form, regularisation)
    _check_condition(condition, z1.shape[0])
    u, v = unit_rows(z1), unit_rows(z2)
    positive = scale * row_products(u, v)
    values = []
    for anchor, other in ((u, v), (v, u)):
        weighted = _log_weighted(
            anchor, other, condition, scale, regularisation, include_self, backend
        )
        if form == "hard_negative":
            values.append(_hard_negative(weighted, positive))
        else:
            values.append(_weak_supervision(weighted, anchor, other, scale, backend))
    return reduce((values[0] + values[1]) / 2, reduction)


def _hard_negative(weighted: Tensor, positive: Tensor) -> Tensor:
    negatives = positive.numel() - 1
    log_count = math.log(negatives) if negatives > 0 else -math.inf
    return log_add_exp(positive, weighted + log_count) - positive


def _weak_supervision(
    weighted: Tensor, anchor: Tensor, other: Tensor, scale: float | Tensor, backend: str
) -> Tensor:
    nodes = torch.arange(anchor.shape[0], device=anchor.device)
    negatives = contrast(
        anchor, other, scale=scale, row_ids=nodes, column_ids=nodes, backend=backend
    ).denominator
    # An anchor without a positive: nothing to pull.
    absent = torch.isneginf(weighted)
    weighted = weighted.masked_fill(absent, 0.0)
    return torch.where(absent, 0.0, log_add_exp(weighted, negatives) - weighted)


def _log_weighted(
    anchor: Tensor,
    other: Tensor,
    condition: Tensor,
    scale: float | Tensor,
    regularisation: float,
    include_self: bool,
    backend: str,
) -> Tensor:
    """(N,): log of the sum over j of W_ij e^logit_ij."""
    nodes = None if include_self else torch.arange(anchor.shape[0], device=anchor.device)
    if not condition.is_floating_point():
        same = contrast(
            anchor,
            other,
            scale=scale,
            row_groups=condition,
            column_groups=condition,
            row_ids=nodes,
            column_ids=nodes,
            backend=backend,
        ).denominator
        _, group, sizes = condition.unique(return_inverse=True, return_counts=True)
        return same - torch.log(sizes[group].to(same.dtype) + regularisation)
    root = _weight_root(condition, regularisation).to(anchor.dtype)

    def log_weights(rows: slice, columns: slice) -> Tensor:
        # Negative weights are clipped to 0, of logarithm -inf.
        return (root[rows] @ root[columns].T).clamp_min_(0).log_()

    return contrast(
        anchor,
        other,
        scale=scale,
        weights=log_weights,
        row_ids=nodes,
        column_ids=nodes,
        backend=backend,
    ).denominator


@torch.no_grad()
def _weight_root(features: Tensor, regularisation: float) -> Tensor:
    """Ψ (N, r) with Ψ Ψᵀ = (K + λ)⁻¹ K of the kernel K = Φ Φᵀ."""
    # With Φ = U S Vᵀ, W = U S² / (S² + λ) Uᵀ: no matrix to invert, which large
    # features of dependent columns would make singular up to roundings.
    left, singular, _ = torch.linalg.svd(features.detach().double(), full_matrices=False)
    # What is left of dependent columns are roundings, which may be larger than λ.
    noise = max(features.shape) * torch.finfo(singular.dtype).eps
    singular = singular * (singular > noise * singular[:1])
    return left * (singular / torch.hypot(singular, singular.new_tensor(regularisation**0.5)))


class KernelConditional(nn.Module):
    r"""Contrast conditioned on a variable: W weighs the nodes by a kernel of their conditions.

    .. math::
        W = (K_Z + \lambda I)^{-1} K_Z, \qquad
        S_i = \sum_{j \ne i} \max(W_{ij}, 0)\, e^{l_{ij}}, \qquad
        l_{ij} = \theta(u_i, v_j)/\tau

    Tsai et al. 2022, "Conditional Contrastive Learning with Kernel" (CCL-K), arXiv
    2202.05458, with the cosine θ and K_Z the kernel of the conditions. S_i estimates
    the sum over nodes drawn given node i's condition. Two forms:

    - "hard_negative", also the paper's fair form: negatives share the condition
      (similar nodes: hard; equal sensitive attributes: fair),

      .. math:: L_i = -l_{ii} + \log \left( e^{l_{ii}} + (N - 1)\, S_i \right);

    - "weak_supervision": positives share the condition,

      .. math:: L_i = -\log S_i + \log \left( S_i + \sum_{j \ne i} e^{l_{ij}} \right).

    Both views are anchors, and the value is the mean of the two.

    Discrete conditions (ids of communities, user groups, degree buckets) need no inverse:
    W_ij is 1 / (n_c + λ) for the n_c nodes of one id, and 0 between ids. Continuous ones
    are given as features Φ (N, r) of K_Z = Φ Φᵀ, for instance the conditions themselves
    (linear kernel), scaled to length 1 (cosine) or
    `graphcl.kernels.random_features.random_fourier_features` of them (Gaussian): W costs
    O(N r²) in place of the authors' O(N³), and no N x N matrix is stored.

    As in the authors' code, W's diagonal is 0 and its negative entries are clipped to
    0; `include_self=True` keeps the diagonal, as the paper's formula does. Deviations:
    their code adds the anchor's own view to S_i and to the denominators; the paper does
    not, nor does this. Sums are log-sum-exps in place of clamps at 1e-7 and 1e20. A node
    with nobody of its condition has value 0 in the second form.

    Args:
        temperature: τ, a number in [1e-3, 10], or a 0-d tensor or Parameter to learn.
        form: "hard_negative" or "weak_supervision".
        regularisation: λ, above 0; the authors' code has 0.1.
        include_self: whether j = i is part of S_i.
        reduction: "mean" or "sum" over the N nodes, or "none".
        backend: of `graphcl.kernels.contrast.contrast`.

    Shape:
        z1, z2 (N, d), un-normalised, row i of both being the same node; condition (N,)
        integer ids, or (N, r) floating features, which get no gradient. Output: 0-d, or
        (N,) with reduction "none".

    Raises:
        ArgumentError: for a shape, dtype, temperature, form, regularisation or
            reduction out of range.
        NonFiniteArgumentError: for NaN or infinity in z1, z2 or a floating condition.

    Example:
        >>> loss = KernelConditional(0.1, form="weak_supervision")
        >>> value = loss(torch.randn(100, 32), torch.randn(100, 32), torch.arange(100) % 7)
        >>> value = loss(torch.randn(100, 32), torch.randn(100, 32), torch.randn(100, 5))
    """

    functional = staticmethod(kernel_conditional)
    example = staticmethod(two_views_and_groups)

    def __init__(
        self,
        temperature: float | Tensor = 0.1,
        *,
        form: str = "hard_negative",
        regularisation: float = 0.1,
        include_self: bool = False,
        reduction: str = "mean",
        backend: str = "auto",
    ) -> None:
        super().__init__()
        inverse_temperature(temperature)
        _check_settings(form, regularisation)
        check_reduction(reduction)
        self.temperature = temperature
        self.form = form
        self.regularisation = regularisation
        self.include_self = include_self
        self.reduction = reduction
        self.backend = backend

    def forward(self, z1: Tensor, z2: Tensor, condition: Tensor) -> Tensor:
        """The loss of two views (N, d) given conditions (N,) or (N, r)."""
        return kernel_conditional(
            z1,
            z2,
            condition,
            self.temperature,
            form=self.form,
            regularisation=self.regularisation,
            include_self=self.include_self,
            reduction=self.reduction,
            backend=self.backend,
        )

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return (
            f"temperature={plain(self.temperature):g}, form={self.form!r}, "
            f"regularisation={self.regularisation:g}, include_self={self.include_self}, "
            f"reduction={self.reduction!r}"
        )


def _check_settings(form: str, regularisation: float) -> None:
    check_option("form", form, FORMS)
    check_above_zero("regularisation", regularisation)


def _check_condition(condition: Tensor, count: int) -> None:
    check_tensor("condition", condition)
    floating = condition.is_floating_point()
    wrong_kind = condition.is_complex() or condition.dtype == torch.bool
    if wrong_kind or condition.dim() != (2 if floating else 1) or condition.shape[0] != count:
        raise ArgumentError(
            f"condition must be integers ({count},) or floating features ({count}, r); got "
            f"{condition.dtype} of shape {tuple(condition.shape)}"
        )
    if floating:
        check_finite("condition", condition)
