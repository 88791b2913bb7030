"""Bootstrapping: predict the embedding of another view, which gets no gradient."""

from __future__ import annotations

from torch import Tensor, nn

from graphcl.losses.arguments import check_reduction, check_two_views, reduce
from graphcl.losses.examples import two_views
from graphcl.losses.unit_rows import row_products, unit_rows


def bootstrap(prediction: Tensor, target: Tensor, *, reduction: str = "mean") -> Tensor:
    """Functional twin of `Bootstrap`; the same arguments."""
    check_two_views(prediction, target, ("prediction", "target"))
    cosine = row_products(unit_rows(prediction), unit_rows(target.detach()))
    return reduce(2.0 - 2.0 * cosine, reduction)


class Bootstrap(nn.Module):
    r"""Bootstrap loss of BYOL and BGRL: the cosine distance of a prediction to its target.

    .. math::
        L_i = \left\lVert \frac{q_i}{\lVert q_i \rVert}
            - \frac{\mathrm{sg}(y_i)}{\lVert y_i \rVert} \right\rVert^2
            = 2 - 2 \cos(q_i, \mathrm{sg}(y_i))

    The target y comes from a slowly moving copy of the encoder and is detached
    here (sg), so that no path through it can be trained by mistake. Grill et
    al. 2020, BYOL, arXiv 2006.07733, eq. 2; Thakoor et al. 2022, BGRL, arXiv
    2102.06514, which leaves out the constant 2. Both add the loss with the two
    views exchanged: call it twice. A row without direction has value 2 and
    gradient 0.

    Args:
        reduction: "mean" or "sum" over the N nodes, or "none".

    Shape:
        prediction, target (N, d), un-normalised, row i of both being the same
        node. Output: 0-d, or (N,) with reduction "none".

    Raises:
        ArgumentError: for shapes that do not match, or an unknown reduction.
        NonFiniteArgumentError: for NaN or infinity in prediction or target.

    Example:
        >>> loss = Bootstrap()
        >>> value = loss(torch.randn(100, 32), torch.randn(100, 32))
    """

    functional = staticmethod(bootstrap)
    example = staticmethod(two_views)
    detached = ("target",)

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__()
        check_reduction(reduction)
        self.reduction = reduction

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The loss of predictions (N, d) and their targets (N, d)."""
        return bootstrap(prediction, target, reduction=self.reduction)

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return f"reduction={self.reduction!r}"
