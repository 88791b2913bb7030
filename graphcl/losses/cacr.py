"""Contrastive attraction and contrastive repulsion (CACR): doubly weighted distances."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphcl.kernels.contrast import mean_logit
from graphcl.kernels.contrast.checks import full_precision
from graphcl.losses.arguments import check_above_zero, check_reduction, check_weight, reduce
from graphcl.losses.examples import several_views
from graphcl.losses.multi_view import Views, unit_views


def cacr(
    views: Views,
    *,
    t_plus: float = 1.0,
    t_minus: float = 0.9,
    alpha: float = 1.0,
    beta: float = 1.0,
    intra_view: bool = False,
    symmetric: bool = True,
    reduction: str = "mean",
    backend: str = "auto",
) -> Tensor:
    """Functional twin of `CACR`; the same arguments."""
    _check_settings(t_plus, t_minus, alpha, beta)
    check_reduction(reduction)
    units = unit_views(views)
    rows = torch.stack(units, dim=1)
    anchors = len(units) if symmetric else 1
    attraction = _attraction(rows, anchors, t_plus)
    repulsion = _repulsion(rows, anchors, t_minus, intra_view, backend)
    return reduce((alpha * attraction + beta * repulsion).mean(dim=1), reduction)


def _attraction(rows: Tensor, anchors: int, t_plus: float) -> Tensor:
    """(N, anchors) mean cost of the other views of a node, far ones weighing more."""
    with full_precision(rows):
        cost = 2 - 2 * (rows[:, :anchors] @ rows.transpose(1, 2))
    itself = torch.eye(rows.shape[1], dtype=torch.bool, device=rows.device)[:anchors]
    weight = torch.softmax((t_plus * cost).masked_fill(itself, -torch.inf), dim=2)
    return (weight * cost).sum(dim=2)


def _repulsion(
    rows: Tensor, anchors: int, t_minus: float, intra_view: bool, backend: str
) -> Tensor:
    """(N, anchors) minus the mean cost of other nodes' views, near ones weighing more."""
    nodes = torch.arange(rows.shape[0], device=rows.device)

    # e^{-t c} is proportional to e^{2 t s}, so the weights are a softmax of logits 2 t s,
    # and their mean logit E gives the mean cost 2 - E / t.
    def mean_cost(query: Tensor, key: Tensor) -> Tensor:
        output = mean_logit(
            query.flatten(0, 1),
            key.flatten(0, 1),
            scale=2 * t_minus,
            row_ids=nodes.repeat_interleave(query.shape[1]),
            column_ids=nodes.repeat_interleave(key.shape[1]),
            backend=backend,
        )
        cost = 2 - output.mean / t_minus
        return torch.where(torch.isneginf(output.denominator), 0.0, cost).view(query.shape[:2])

    if intra_view:
        return -mean_cost(rows[:, :anchors], rows)
    costs = []
    for view in range(anchors):
        others = torch.cat([rows[:, :view], rows[:, view + 1 :]], dim=1)
        costs.append(mean_cost(rows[:, view : view + 1], others))
    return -torch.cat(costs, dim=1)


class CACR(nn.Module):
    r"""Attraction of far positives and repulsion of near negatives, each weighted among its kind.

    .. math::
        L_i = \alpha \sum_{p \in P_i} \frac{e^{t^+ c_{ip}}}{\sum_{q} e^{t^+ c_{iq}}} c_{ip}
            - \beta \sum_{j \in N_i} \frac{e^{-t^- c_{ij}}}{\sum_{k} e^{-t^- c_{ik}}} c_{ij},
        \qquad c_{ij} = \lVert u_i - u_j \rVert^2

    for unit vectors u. Positives P_i are the other views of the node, negatives N_i
    views of the other nodes. Zheng et al. 2021, "Contrastive Attraction and
    Contrastive Repulsion for Representation Learning", arXiv 2105.03746. Positives
    compete with positives and negatives with negatives, so that no softmax is shared
    and the number of negatives does not change the scale. The gradient flows through
    the weights too. With two views there is one positive, of weight 1.

    Deviations: the authors' code takes the negatives from one ordered pair of views;
    here from all views but the anchor's, or from all views (`intra_view`), and every
    view is an anchor unless `symmetric=False` (then the first is). A zero vector is at
    distance 2 from everything, its cosine being 0. A single node has no repulsion.

    Memory is linear in N: O(N V (d + V)).

    Args:
        t_plus: t⁺, at least 0, how much far positives weigh; 0 weighs them evenly.
        t_minus: t⁻, above 0, how much near negatives weigh; 0.9 to 2 in the paper.
        alpha: weight of the attraction, at least 0.
        beta: weight of the repulsion, at least 0.
        intra_view: whether nodes of the anchor's own view are negatives too.
        symmetric: whether every view is an anchor; otherwise the first view.
        reduction: "mean" or "sum" over the N nodes, or "none".
        backend: of `graphcl.kernels.contrast.mean_logit`.

    Shape:
        views (V, N, d), or a sequence of V >= 2 tensors (N, d), un-normalised, row i
        being the same node in each. Output: 0-d, or (N,) with reduction "none".

    Raises:
        ArgumentError: for a shape, dtype, weight, reduction or backend out of range.
        NonFiniteArgumentError: for NaN or infinity in views.

    Example:
        >>> loss = CACR(t_plus=1.0, t_minus=2.0)
        >>> value = loss(torch.randn(4, 100, 32))
    """

    functional = staticmethod(cacr)
    example = staticmethod(several_views)

    def __init__(
        self,
        *,
        t_plus: float = 1.0,
        t_minus: float = 0.9,
        alpha: float = 1.0,
        beta: float = 1.0,
        intra_view: bool = False,
        symmetric: bool = True,
        reduction: str = "mean",
        backend: str = "auto",
    ) -> None:
        super().__init__()
        _check_settings(t_plus, t_minus, alpha, beta)
        check_reduction(reduction)
        self.t_plus = t_plus
        self.t_minus = t_minus
        self.alpha = alpha
        self.beta = beta
        self.intra_view = intra_view
        self.symmetric = symmetric
        self.reduction = reduction
        self.backend = backend

    def forward(self, views: Views) -> Tensor:
        """The loss of views (V, N, d)."""
        return cacr(
            views,
            t_plus=self.t_plus,
            t_minus=self.t_minus,
            alpha=self.alpha,
            beta=self.beta,
            intra_view=self.intra_view,
            symmetric=self.symmetric,
            reduction=self.reduction,
            backend=self.backend,
        )

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return (
            f"t_plus={self.t_plus:g}, t_minus={self.t_minus:g}, alpha={self.alpha:g}, "
            f"beta={self.beta:g}, intra_view={self.intra_view}, symmetric={self.symmetric}, "
            f"reduction={self.reduction!r}"
        )


def _check_settings(t_plus: float, t_minus: float, alpha: float, beta: float) -> None:
    check_weight("t_plus", t_plus)
    check_above_zero("t_minus", t_minus)
    check_weight("alpha", alpha)
    check_weight("beta", beta)
