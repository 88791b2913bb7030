"""Supervised contrastive loss: many positives per anchor, by label or by a weighted relation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast import Pairs, contrast
from graphcl.kernels.sparse_matrix import SparseMatrix
from graphcl.losses.arguments import (
    check_option,
    check_reduction,
    inverse_temperature,
    plain,
    reduce,
)
from graphcl.losses.examples import labelled_views
from graphcl.losses.groups import group_labels
from graphcl.losses.multi_view import Views, unit_views
from graphcl.losses.related import related_log_sum_exp, related_mean
from graphcl.losses.unit_rows import row_products

FORMS = ("out", "in")


def sup_con(
    views: Views,
    labels: Tensor | None = None,
    positives: Pairs | SparseMatrix | None = None,
    temperature: float | Tensor = 0.1,
    *,
    form: str = "out",
    reduction: str = "mean",
    backend: str = "auto",
) -> Tensor:
    """Functional twin of `SupCon`; the same arguments."""
    check_option("form", form, FORMS)
    check_reduction(reduction)
    if labels is not None and positives is not None:
        raise ArgumentError("positives come from labels or from a relation; got both")
    if isinstance(views, Tensor) and views.dim() == 2:
        views = views[None]
    units = unit_views(views, fewest=1)
    number, (count, _) = len(units), units[0].shape
    # The views of a node next to each other.
    rows = torch.stack(units, dim=1).flatten(0, 1)
    scale = inverse_temperature(temperature)
    denominator = contrast(rows, scale=scale, backend=backend).denominator
    if positives is not None:
        pairs = positives if isinstance(positives, Pairs) else _stored(positives, count)
        related = related_mean if form == "out" else related_log_sum_exp
        present, attraction = related(rows, number, pairs, scale)
    else:
        if labels is None:
            labels = torch.arange(count, device=rows.device)
        present, attraction = _same_label(rows, number, labels, scale, form, backend)
    values = torch.where(present, denominator - attraction, 0.0).view(count, number).mean(dim=1)
    return reduce(values, reduction, present.view(count, number)[:, 0])


def _stored(matrix: SparseMatrix, count: int) -> Pairs:
    """The entries of a relation of nodes that are above 0."""
    if not isinstance(matrix, SparseMatrix):
        raise ArgumentError(
            f"positives must be Pairs or a SparseMatrix; got {type(matrix).__name__}"
        )
    if matrix.shape != (count, count):
        raise ArgumentError(f"positives must be of shape {(count, count)}; got {matrix.shape}")
    # The logarithm of a stored 0 would turn the gradient of the other weights into NaN.
    kept = matrix.value.detach() != 0
    value = matrix.value[kept]
    if value.numel() and float(value.detach().min()) < 0:
        raise ArgumentError(
            f"weights of positives must be at least 0; got {float(value.detach().min())}"
        )
    return Pairs(matrix.row[kept], matrix.column[kept], value.log())


def _same_label(
    rows: Tensor, number: int, labels: Tensor, scale: float | Tensor, form: str, backend: str
) -> tuple[Tensor, Tensor]:
    """Whether a row (M,) has positives, and the mean or log-mean-exp of their logits."""
    nodes = group_labels("labels", labels, rows.shape[0] // number)
    ids = nodes.ids.repeat_interleave(number)
    positives = nodes.sizes[nodes.ids].repeat_interleave(number) * number - 1
    present = positives > 0
    number_of = positives.clamp_min(1).to(rows.dtype)
    if form == "in":
        log_sum = contrast(
            rows, scale=scale, row_groups=ids, column_groups=ids, backend=backend
        ).denominator
        return present, torch.where(present, log_sum, 0.0) - number_of.log()
    # The sum over the positives of <q, k> is <q, sum of k>: no pair is visited.
    sums = nodes._replace(ids=ids).sums(rows)
    others = row_products(rows, sums[ids]) - row_products(rows, rows)
    return present, scale * others / number_of


class SupCon(nn.Module):
    r"""Supervised contrastive loss with any number of positives per anchor.

    .. math::
        L^{out}_i = -\sum_{p \in P_i} \pi_{ip}\, l_{ip} + \log \sum_{c \ne i} e^{l_{ic}}, \qquad
        L^{in}_i = -\log \sum_{p \in P_i} \pi_{ip}\, e^{l_{ip}} + \log \sum_{c \ne i} e^{l_{ic}}

    with l = cosine / τ over all views of all nodes and π the weights of the positives,
    scaled to sum to 1 (1/|P_i| unless given). Khosla et al. 2020, "Supervised
    Contrastive Learning", arXiv 2004.11362, eq. 2 and 3. The positives P_i, never
    the anchor itself, are

    - with neither `labels` nor `positives`: the other views of the node (SimCLR);
    - with `labels`: every view of the nodes with the same label. A negative label
      means unlabelled: its only positives are its own views;
    - with `positives`, a weighted relation of nodes (Cabannes et al. 2023, "Active
      Self-Supervised Learning", PAL, arXiv 2303.15256): every view of the related
      nodes j, with weight G_ij. An entry (i, i) stands for the node's other views;
      without it they are candidates only.

    The value of a node is the mean over its views; a node without positives has the
    connected value 0 and is left out of the mean.

    The out form with labels adds O(N V d) to the cost of the denominator, since the
    mean over the positives is a product with the sum of their rows; the in form makes
    a second pass over the pairs. With a relation of P entries the out form takes O(P V d),
    the in form O(P V² d). Memory is linear in N and P.

    Args:
        temperature: τ in [1e-3, 10], a number, or a 0-d tensor or Parameter to learn.
        form: "out" (the mean outside the logarithm, the paper's choice) or "in".
        reduction: "mean" over the nodes that have positives, "sum" or "none".
        backend: of `graphcl.kernels.contrast.contrast`.

    Shape:
        views (V, N, d), or a sequence of V tensors (N, d), un-normalised, row i being
        the same node in each; one (N, d) is one view. Note the order: the authors' code
        has (N, V, d), of which the transpose of the first two axes is meant here. labels
        (N,) integers; positives a `Pairs` or `SparseMatrix` (N, N) of nodes, whose
        weights are at least 0 and differentiable; a weight of 0 is no relation and gets
        gradient 0. Output: 0-d, or (N,) with reduction "none".

    Raises:
        ArgumentError: for a shape, dtype, index, temperature, form, reduction or
            backend out of range, and for labels and positives at once.
        NonFiniteArgumentError: for NaN or infinity in views or weights.

    Example:
        >>> loss = SupCon(0.1)
        >>> value = loss(torch.randn(2, 100, 32), torch.randint(5, (100,)))
    """

    functional = staticmethod(sup_con)
    example = staticmethod(labelled_views)

    def __init__(
        self,
        temperature: float | Tensor = 0.1,
        *,
        form: str = "out",
        reduction: str = "mean",
        backend: str = "auto",
    ) -> None:
        super().__init__()
        inverse_temperature(temperature)
        check_option("form", form, FORMS)
        check_reduction(reduction)
        self.temperature = temperature
        self.form = form
        self.reduction = reduction
        self.backend = backend

    def forward(
        self,
        views: Views,
        labels: Tensor | None = None,
        positives: Pairs | SparseMatrix | None = None,
    ) -> Tensor:
        """The loss of nodes (N, d) or of their views (V, N, d)."""
        return sup_con(
            views,
            labels,
            positives,
            self.temperature,
            form=self.form,
            reduction=self.reduction,
            backend=self.backend,
        )

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return (
            f"temperature={plain(self.temperature):g}, form={self.form!r}, "
            f"reduction={self.reduction!r}"
        )
