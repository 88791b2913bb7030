"""ProtoCLIP: nodes of one view against the cluster prototypes of the other."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast.checks import full_precision
from graphcl.kernels.kmeans import kmeans
from graphcl.losses.arguments import (
    check_reduction,
    check_rows,
    check_temperature,
    check_two_views,
    inverse_temperature,
    plain,
    reduce,
)
from graphcl.losses.examples import views_clusters_prototypes
from graphcl.losses.meta_nodes import check_assignment, meta_nodes
from graphcl.losses.unit_rows import unit_rows


class Prototypes(NamedTuple):
    """The arguments of `ProtoCLIP.forward` after the two views, in order.

    `assignment1`, `assignment2` (N,) int64: the cluster of every node in view 1 and in
    view 2. `centroids1` (K1, d), `centroids2` (K2, d): the means of these clusters in
    their own view. `translated1` (K2, d): the means in view 1 of the clusters of view
    2; `translated2` (K1, d): the means in view 2 of the clusters of view 1.
    """

    assignment1: Tensor
    assignment2: Tensor
    centroids1: Tensor
    centroids2: Tensor
    translated1: Tensor
    translated2: Tensor


@torch.no_grad()
def proto_clip_prototypes(
    z1: Tensor,
    z2: Tensor,
    clusters: int,
    iterations: int = 20,
    generator: torch.Generator | None = None,
) -> Prototypes:
    """k-means of each view's unit vectors, and the prototypes that follow, without gradient.

    The paper does this once per episode, on the embeddings of all its batches; take the
    rows of `assignment1` and `assignment2` that belong to a batch, and the rest whole.

    Args:
        z1, z2: (N, d), un-normalised, row i of both being the same node.
        clusters: K for both views, at least 1.
        iterations, generator: of `graphcl.kernels.kmeans.kmeans`.
    """
    check_two_views(z1, z2)
    u, v = unit_rows(z1), unit_rows(z2)
    first = kmeans(u, clusters, iterations, generator)
    second = kmeans(v, clusters, iterations, generator)
    return Prototypes(
        first.assignment,
        second.assignment,
        first.centroids,
        second.centroids,
        meta_nodes(u, second.assignment, clusters).centroids,
        meta_nodes(v, first.assignment, clusters).centroids,
    )


def proto_clip(
    z1: Tensor,
    z2: Tensor,
    assignment1: Tensor,
    assignment2: Tensor,
    centroids1: Tensor | None = None,
    centroids2: Tensor | None = None,
    translated1: Tensor | None = None,
    translated2: Tensor | None = None,
    temperature: float | Tensor = 0.07,
    *,
    target_temperature: float | None = 0.1,
    back_translation: bool = True,
    reduction: str = "mean",
) -> Tensor:
    """Functional twin of `ProtoCLIP`; the same arguments."""
    check_two_views(z1, z2)
    scale = inverse_temperature(temperature)
    _check_target_temperature(target_temperature)
    u, v = unit_rows(z1), unit_rows(z2)
    given = {
        "centroids1": centroids1,
        "centroids2": centroids2,
        "translated1": translated1,
        "translated2": translated2,
    }
    for name, prototypes in given.items():
        if prototypes is not None:
            check_rows(name, prototypes, z1.shape[1], fewest=1)
    settings = (scale, target_temperature, back_translation)
    of_first = _direction((2, 1), u, v, assignment2, centroids2, translated1, *settings)
    of_second = _direction((1, 2), v, u, assignment1, centroids1, translated2, *settings)
    return reduce((of_first + of_second) / 2, reduction)


def _direction(
    views: tuple[int, int],
    student: Tensor,
    teacher: Tensor,
    assignment: Tensor,
    centroids: Tensor | None,
    translated: Tensor | None,
    scale: float | Tensor,
    target_temperature: float | None,
    back_translation: bool,
) -> Tensor:
    """Cross-entropy (N,) of the student's rows with the clusters of the teacher's view."""
    clusters = None if centroids is None else centroids.shape[0]
    of_teacher, of_student = views
    clusters = check_assignment(assignment, student, clusters, f"assignment{of_teacher}")
    if centroids is None:
        centroids = meta_nodes(teacher.detach(), assignment, clusters).centroids
    if not back_translation:
        translated = centroids
    elif translated is None:
        translated = meta_nodes(student.detach(), assignment, clusters).centroids
    if translated.shape[0] != clusters:
        raise ArgumentError(
            f"translated{of_student} must have a row per cluster of view {of_teacher}, {clusters}; "
            f"got {translated.shape[0]}"
        )
    centroids, translated = centroids.detach().to(student), translated.detach().to(student)
    with full_precision(student):
        scores, alike = student @ translated.T, centroids @ centroids.T
    log_student = torch.log_softmax(scale * scores, dim=1)
    if target_temperature is None:
        return -log_student.gather(1, assignment[:, None]).squeeze(1)
    # Clusters are fewer than nodes: soft targets of clusters, then one row of it per node.
    targets = torch.softmax(alike / target_temperature, dim=1)
    return -(targets[assignment] * log_student).sum(dim=1)


class ProtoCLIP(nn.Module):
    r"""Prototype contrast: each view predicts the cluster of its node in the other view.

    .. math::
        \ell(u_i) = -\sum_{k=1}^{K} t_{ik} \log \frac{e^{\langle u_i, \tilde c_k \rangle/\tau}}
            {\sum_l e^{\langle u_i, \tilde c_l \rangle/\tau}}, \qquad
        t_{ik} = \frac{e^{\langle c_{a(i)}, c_k \rangle / T}}
            {\sum_l e^{\langle c_{a(i)}, c_l \rangle / T}}, \qquad
        L_i = \tfrac12 \left[ \ell(u_i) + \ell(v_i) \right]

    Chen et al. 2022, "ProtoCLIP: Prototypical Contrastive Language Image Pretraining",
    arXiv 2206.10996. For an anchor u of one view, a(i) is node i's cluster in the other
    view and c are the centroids of these clusters there. The prototypes c̃ that u is
    compared with are, by prototype back translation, the means of the same clusters
    in u's own view, so that a gap between the views does not matter;
    `back_translation=False` compares with c itself. `target_temperature=None` takes
    the cluster a(i) alone for target. The paper adds this to CLIP's loss, which is
    `InfoNCE`.

    Neither targets nor prototypes get a gradient. Without centroids they are means
    over the batch; `proto_clip_prototypes` makes clusters and prototypes of an
    episode by k-means. As in the authors' code, centroids are not normalised, and an
    empty cluster has prototype 0. Time and memory O(N K).

    Args:
        temperature: τ, a number in [1e-3, 10], or a 0-d tensor or Parameter to learn;
            CLIP's start of 0.07.
        target_temperature: T in [1e-3, 10], or None for hard targets; 0.1 is our choice.
        back_translation: compare with prototypes of the anchor's own view.
        reduction: "mean" or "sum" over the N nodes, or "none".

    Shape:
        z1, z2 (N, d), un-normalised, row i of both being the same node; then the
        fields of `Prototypes`, of which the centroids (K, d) and the translated
        prototypes (K, d) may be None. Output: 0-d, or (N,) with reduction "none".

    Raises:
        ArgumentError: for a shape, dtype, cluster, temperature or reduction out of
            range.
        NonFiniteArgumentError: for NaN or infinity in an argument.

    Example:
        >>> from graphcl.losses.proto_clip import proto_clip_prototypes
        >>> z1, z2 = torch.randn(100, 32), torch.randn(100, 32)
        >>> value = ProtoCLIP()(z1, z2, *proto_clip_prototypes(z1, z2, clusters=7))
    """

    functional = staticmethod(proto_clip)
    example = staticmethod(views_clusters_prototypes)
    detached = ("centroids1", "centroids2", "translated1", "translated2")

    def __init__(
        self,
        temperature: float | Tensor = 0.07,
        *,
        target_temperature: float | None = 0.1,
        back_translation: bool = True,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        inverse_temperature(temperature)
        _check_target_temperature(target_temperature)
        check_reduction(reduction)
        self.temperature = temperature
        self.target_temperature = target_temperature
        self.back_translation = back_translation
        self.reduction = reduction

    def forward(
        self,
        z1: Tensor,
        z2: Tensor,
        assignment1: Tensor,
        assignment2: Tensor,
        centroids1: Tensor | None = None,
        centroids2: Tensor | None = None,
        translated1: Tensor | None = None,
        translated2: Tensor | None = None,
    ) -> Tensor:
        """The loss of two views (N, d) and the prototypes of both."""
        return proto_clip(
            z1,
            z2,
            assignment1,
            assignment2,
            centroids1,
            centroids2,
            translated1,
            translated2,
            self.temperature,
            target_temperature=self.target_temperature,
            back_translation=self.back_translation,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return (
            f"temperature={plain(self.temperature):g}, "
            f"target_temperature={self.target_temperature}, "
            f"back_translation={self.back_translation}, reduction={self.reduction!r}"
        )


def _check_target_temperature(temperature: float | None) -> None:
    if temperature is not None:
        check_temperature(temperature, "target_temperature")
