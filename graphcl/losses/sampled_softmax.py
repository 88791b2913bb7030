"""Softmax over sampled negatives, corrected for how they were drawn."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast import contrast
from graphcl.kernels.contrast.checks import check_finite, check_vector
from graphcl.kernels.row_products import check_columns, check_index, row_products
from graphcl.losses.arguments import (
    check_alike,
    check_floating,
    check_reduction,
    check_tensor,
    inverse_temperature,
    plain,
    reduce,
)
from graphcl.losses.examples import rows_and_sampled_negatives
from graphcl.losses.precision import widened


def sampled_softmax(
    query: Tensor,
    items: Tensor,
    target: Tensor,
    negatives: Tensor,
    log_probability: Tensor | None = None,
    temperature: float | Tensor = 1.0,
    *,
    target_log_probability: Tensor | None = None,
    item_bias: Tensor | None = None,
    remove_accidental_hits: bool = True,
    reduction: str = "mean",
    backend: str = "auto",
) -> Tensor:
    """Functional twin of `SampledSoftmax`; the same arguments."""
    scale = inverse_temperature(temperature)
    check_tensor("negatives", negatives)
    shared = negatives.dim() == 1
    _check(query, items, target, negatives)
    query, items = widened(query), widened(items)
    correction = _correction(negatives, log_probability)
    positive = scale * row_products(query, items, target[:, None]).squeeze(1)
    _check_finite_products(query, items, positive)
    if item_bias is not None:
        check_vector("item_bias", item_bias, items.shape[0], items, floating=True)
        check_finite("item_bias", item_bias)
        positive = positive + item_bias[target.clamp_min(0)]
        correction = correction + item_bias[negatives.clamp_min(0)]
    if target_log_probability is not None:
        if log_probability is None:
            raise ArgumentError("target_log_probability needs log_probability; got None")
        positive = positive + _target_correction(negatives, target, target_log_probability)
    correction = correction.masked_fill(negatives < 0, -torch.inf).to(positive.dtype)
    if shared:
        ids = (target, negatives) if remove_accidental_hits else (None, None)
        keys = items.index_select(0, negatives.clamp_min(0))
        _check_finite_products(query, items, keys)
        denominator, _ = contrast(
            query,
            keys,
            scale=scale,
            row_ids=ids[0],
            column_ids=ids[1],
            column_bias=correction,
            backend=backend,
        )
        # log(e^positive + e^denominator) - positive, with nothing to cancel.
        values = softplus(denominator - positive)
    else:
        logits = scale * row_products(query, items, negatives)
        _check_finite_products(query, items, logits)
        gaps = logits + correction - positive[:, None]
        if remove_accidental_hits:
            gaps = gaps.masked_fill(negatives == target[:, None], -torch.inf)
        values = torch.cat([torch.zeros_like(positive)[:, None], gaps], dim=1).logsumexp(dim=1)
    present = target >= 0
    return reduce(torch.where(present, values, 0.0), reduction, present)


def _correction(negatives: Tensor, log_probability: Tensor | None) -> Tensor:
    if log_probability is None:
        return torch.zeros(negatives.shape, dtype=torch.float64, device=negatives.device)
    check_floating("log_probability", log_probability)
    if log_probability.shape != negatives.shape:
        raise ArgumentError(
            f"log_probability must have the shape of negatives, {tuple(negatives.shape)}; "
            f"got {tuple(log_probability.shape)}"
        )
    # What the sampler says of an absent negative does not matter.
    drawn = torch.where(negatives >= 0, log_probability.detach().double(), 0.0)
    check_finite("log_probability", drawn)
    return -drawn - _log_draws(negatives)


def _target_correction(negatives: Tensor, target: Tensor, target_log_probability: Tensor) -> Tensor:
    check_floating("target_log_probability", target_log_probability)
    if target_log_probability.shape != target.shape:
        raise ArgumentError(
            f"target_log_probability must have shape {tuple(target.shape)}; "
            f"got {tuple(target_log_probability.shape)}"
        )
    drawn = torch.where(target >= 0, target_log_probability.detach(), 0.0)
    check_finite("target_log_probability", drawn)
    return -drawn - _log_draws(negatives).squeeze(-1).to(drawn.dtype)


def _log_draws(negatives: Tensor) -> Tensor:
    draws = (negatives >= 0).sum(dim=-1, keepdim=True)
    return draws.clamp_min(1).double().log()


def _check_finite_products(query: Tensor, items: Tensor, products: Tensor) -> None:
    # The whole table is looked through only to name what spoilt what was read of it.
    if bool(torch.isfinite(products).all()):
        return
    check_finite("query", query)
    check_finite("items", items)
    check_finite("the product of query and items", products)


def _check(query: Tensor, items: Tensor, target: Tensor, negatives: Tensor) -> None:
    # Rows of the table that nobody reads may hold anything: no `check_rows` here.
    check_floating("query", query)
    check_floating("items", items)
    check_alike(("query", "items"), query, items)
    check_tensor("target", target)
    if query.dim() != 2 or items.dim() != 2 or query.shape[1] != items.shape[1]:
        raise ArgumentError(
            "query and items must be (M, d) and (N, d); got "
            f"{tuple(query.shape)} and {tuple(items.shape)}"
        )
    if target.dtype != torch.int64 or tuple(target.shape) != query.shape[:1]:
        raise ArgumentError(
            f"target must be ({query.shape[0]},) of torch.int64; "
            f"got {tuple(target.shape)} of {target.dtype}"
        )
    check_index("target", target, items.shape[0])
    if negatives.dim() != 1:
        check_columns("negatives", negatives, query.shape[0], items.shape[0])
        return
    if negatives.dtype != torch.int64:
        raise ArgumentError(f"negatives must be of torch.int64; got {negatives.dtype}")
    check_index("negatives", negatives, items.shape[0])


class SampledSoftmax(nn.Module):
    r"""Softmax cross-entropy of a target against sampled negatives, with the logQ correction.

    .. math::
        L_i = -\log \frac{e^{l_{i,t(i)}}}{e^{l_{i,t(i)}}
            + \sum_{j=1}^{k} [n_j \ne t(i)]\, e^{l_{i,n_j} - \log (k\, q_{n_j})}}, \qquad
        l_{ij} = \langle q_i, e_j \rangle / \tau + b_j

    The correction SUBTRACTS log q: an item that is drawn often counts less each
    time, so that the sum over the k draws estimates the sum over all other
    items without bias, and the gradient goes to that of `CrossEntropy` as k grows
    (Bengio and Senécal 2008, IEEE Transactions on Neural Networks 19). Adding
    log q instead is a known bug of libraries: it doubles the popularity bias.

    The target is always there and never drawn, so it carries no correction
    (Khrylchenko et al. 2025, arXiv 2507.09331; their sample weight is not
    included) and its accidental draws are masked. `target_log_probability` corrects it
    too, which is the older in-batch form (Yi et al. 2019, "Sampling-bias-corrected
    neural modeling for large corpus item recommendations"; then k cancels): take
    `remove_accidental_hits=False` with it, or in the limit the target is missing from the
    denominator. Without `log_probability` this is the plain softmax over k + 1
    candidates: also for uniform negatives not the same, for they then count k in place of N.

    Args:
        temperature: τ in [1e-3, 10], a number, or a 0-d tensor or Parameter to learn.
        remove_accidental_hits: leave out negatives that are the row's target.
        reduction: "mean" (over rows with a target), "sum" or "none".
        backend: of `graphcl.kernels.contrast.contrast`, for shared negatives.

    Shape:
        query (M, d) and items (N, d), used as they are (unit rows for a cosine);
        target (M,) int64, -1 for padding (value 0); negatives (k,) int64 shared by all
        rows or (M, k) of their own, -1 for none; log_probability of the shape of
        negatives, log q of each draw; target_log_probability (M,); item_bias (N,).
        Output: 0-d, or (M,) with reduction "none". Memory is O(M k + (M + N) d)
        with negatives per row, linear in M + k with shared ones.

    Raises:
        ArgumentError: for a shape, dtype, index or setting out of range.
        NonFiniteArgumentError: for NaN or infinite numbers.

    Example:
        >>> loss = SampledSoftmax()
        >>> items, target = torch.randn(500, 32), torch.randint(500, (8,))
        >>> negatives, log_q = torch.randint(500, (64,)), torch.full((64,), 1 / 500).log()
        >>> value = loss(torch.randn(8, 32), items, target, negatives, log_q)
    """

    functional = staticmethod(sampled_softmax)
    example = staticmethod(rows_and_sampled_negatives)
    detached = ("log_probability",)

    def __init__(
        self,
        temperature: float | Tensor = 1.0,
        *,
        remove_accidental_hits: bool = True,
        reduction: str = "mean",
        backend: str = "auto",
    ) -> None:
        super().__init__()
        inverse_temperature(temperature)
        check_reduction(reduction)
        self.temperature = temperature
        self.remove_accidental_hits = remove_accidental_hits
        self.reduction = reduction
        self.backend = backend

    def forward(
        self,
        query: Tensor,
        items: Tensor,
        target: Tensor,
        negatives: Tensor,
        log_probability: Tensor | None = None,
        target_log_probability: Tensor | None = None,
        item_bias: Tensor | None = None,
    ) -> Tensor:
        """The loss of query rows (M, d) with targets (M,) and negatives (k,) or (M, k)."""
        return sampled_softmax(
            query,
            items,
            target,
            negatives,
            log_probability,
            self.temperature,
            target_log_probability=target_log_probability,
            item_bias=item_bias,
            remove_accidental_hits=self.remove_accidental_hits,
            reduction=self.reduction,
            backend=self.backend,
        )

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return (
            f"temperature={plain(self.temperature):g}, "
            f"remove_accidental_hits={self.remove_accidental_hits}, reduction={self.reduction!r}"
        )
