"""Symile: the multilinear product of three or more views against shuffled ones."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast import contrast, log_add_exp
from graphcl.losses.arguments import check_option, check_reduction, check_tensor, plain, reduce
from graphcl.losses.examples import views_and_permutations
from graphcl.losses.log_scale import number_or_parameter, scale_from_log
from graphcl.losses.multi_view import Views, unit_views
from graphcl.losses.product_log_sum_exp import product_log_sum_exp

LOG_SCALE = math.log(10.0)
NEGATIVES = ("n", "n_squared")


def symile(
    views: Views,
    permutations: Tensor | Sequence[Tensor] | None = None,
    generator: torch.Generator | None = None,
    log_scale: float | Tensor = LOG_SCALE,
    *,
    negatives: str = "n",
    reduction: str = "mean",
    backend: str = "auto",
) -> Tensor:
    """Functional twin of `Symile`; the same arguments."""
    check_option("negatives", negatives, NEGATIVES)
    units = unit_views(views, fewest=3)
    scale = scale_from_log(log_scale)
    count = units[0].shape[0]
    positive = scale * torch.stack(units).prod(dim=0).sum(dim=1)
    if negatives == "n":
        orders = _orders(permutations, len(units), count, generator, units[0].device)
    losses = []
    for anchor, unit in enumerate(units):
        others = [number for number in range(len(units)) if number != anchor]
        if negatives == "n":
            key = torch.stack([units[other][orders[other]] for other in others]).prod(dim=0)
            output = contrast(
                unit,
                key,
                scale=scale,
                # The products of row i with column i make way for the true one...
                positive=torch.arange(count, device=unit.device),
                decoupled=True,
                # ...and a product that happens to be the true one is no negative.
                row_ids=torch.arange(count, device=unit.device),
                column_ids=_node_of_column([orders[other] for other in others]),
                backend=backend,
            )
            denominator = log_add_exp(output.denominator, positive)
        else:
            denominator = product_log_sum_exp(
                unit, [units[other] for other in others], scale, backend
            )
        losses.append(denominator - positive)
    return reduce(torch.stack(losses).mean(dim=0), reduction)


class Symile(nn.Module):
    r"""Contrast of V >= 3 views by their multilinear inner product.

    .. math::
        L_i = \frac1V \sum_{m=1}^{V} \left[ -\mu_i + \log \left( e^{\mu_i}
            + \sum_{c \in C_m(i)} e^{e^s \langle z_i^m, c \rangle} \right) \right],
        \qquad \mu_i = e^s \sum_{k=1}^{d} \prod_{m=1}^{V} z_{ik}^m

    on views scaled to length 1. Saporta et al. 2024, "Contrasting with Symile: Simple
    Model-Agnostic Representation Learning for Unlimited Modalities", arXiv
    2411.01053. Unlike a sum of pairwise losses, it sees dependence that exists only
    between all views together. A candidate c is an elementwise product of rows of
    the other views:

    - `negatives="n"`: the rows of each other view are permuted and column j holds
      the product of the permuted rows j; N - 1 candidates, j ≠ i. Time O(N² V d).
    - `negatives="n_squared"`: all N^(V-1) combinations of rows but (i, ..., i).
      Time O(N^V V d), memory O(V N d): for small batches.

    Deviations: a permuted product that happens to be node i's true one is left out
    instead of being a negative; one permutation per view serves all anchors, where
    the authors' code draws anew for each. `n_squared` can be differentiated once.

    Args:
        log_scale: s, a number, a 0-d tensor or a Parameter; None: a new Parameter
            that starts at log 10 (our choice). e^s must stay in [0.1, 1000].
        negatives: "n" or "n_squared".
        reduction: "mean" or "sum" over the N nodes, or "none".
        backend: of `graphcl.kernels.contrast.contrast`.

    Shape:
        views (V, N, d), or a sequence of V >= 3 tensors (N, d), un-normalised, row i
        being the same node in each; permutations (V, N) int64, for "n" only, drawn
        with `generator` where not given. Output: 0-d, or (N,) with reduction "none".

    Raises:
        ArgumentError: for a shape, number of views, permutation, scale, negatives or
            reduction out of range.
        NonFiniteArgumentError: for NaN or infinity in views.

    Example:
        >>> loss = Symile()
        >>> value = loss(torch.randn(3, 100, 32))
    """

    functional = staticmethod(symile)
    example = staticmethod(views_and_permutations)

    def __init__(
        self,
        log_scale: float | Tensor | None = None,
        *,
        negatives: str = "n",
        reduction: str = "mean",
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.log_scale = number_or_parameter(log_scale, LOG_SCALE)
        scale_from_log(self.log_scale)
        check_option("negatives", negatives, NEGATIVES)
        check_reduction(reduction)
        self.negatives = negatives
        self.reduction = reduction
        self.backend = backend

    def forward(
        self,
        views: Views,
        permutations: Tensor | Sequence[Tensor] | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """The loss of views (V, N, d)."""
        return symile(
            views,
            permutations,
            generator,
            self.log_scale,
            negatives=self.negatives,
            reduction=self.reduction,
            backend=self.backend,
        )

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return (
            f"log_scale={plain(self.log_scale):g}, negatives={self.negatives!r}, "
            f"reduction={self.reduction!r}"
        )


def _orders(
    permutations: Tensor | Sequence[Tensor] | None,
    views: int,
    count: int,
    generator: torch.Generator | None,
    device: torch.device,
) -> list[Tensor]:
    if permutations is None:
        # A generator lives on one device, which need not be that of the embeddings.
        where = device if generator is None else generator.device
        drawn = [torch.randperm(count, generator=generator, device=where) for _ in range(views)]
        return [order.to(device) for order in drawn]
    orders = list(permutations)
    for order in orders:
        check_tensor("permutations", order)
    if len(orders) != views or any(tuple(order.shape) != (count,) for order in orders):
        shapes = [tuple(order.shape) for order in orders]
        raise ArgumentError(f"permutations must be {views} of shape ({count},); got {shapes}")
    every = torch.arange(count, device=device)
    for order in orders:
        if order.dtype != torch.int64 or not torch.equal(order.sort().values, every):
            raise ArgumentError(
                f"each of permutations must hold every int64 row 0 .. {count - 1} once; "
                f"got {order.dtype} {order.tolist()[:8]}"
            )
    return orders


def _node_of_column(orders: list[Tensor]) -> Tensor:
    """The node of a column whose rows are all of one node, -1 for the others."""
    first = orders[0]
    agree = torch.ones_like(first, dtype=torch.bool)
    for order in orders[1:]:
        agree &= order == first
    return torch.where(agree, first, -1)
