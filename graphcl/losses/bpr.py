"""Bayesian personalised ranking."""

from __future__ import annotations

from torch import Tensor, nn

from graphcl.losses.arguments import check_reduction, reduce, softplus
from graphcl.losses.examples import scores
from graphcl.losses.score_pairs import score_pairs


def bpr(positive_scores: Tensor, negative_scores: Tensor, *, reduction: str = "mean") -> Tensor:
    """Functional twin of `BPR`; the same arguments."""
    positive, negative = score_pairs(positive_scores, negative_scores)
    values = softplus(negative - positive[:, None]).sum(dim=1) / max(negative.shape[1], 1)
    return reduce(values, reduction)


class BPR(nn.Module):
    r"""Bayesian personalised ranking: a positive should score above sampled negatives.

    .. math::
        L_i = -\frac1k \sum_{j=1}^{k} \log \sigma(x_{i} - x_{ij})
            = \frac1k \sum_{j=1}^{k} \mathrm{softplus}(x_{ij} - x_{i})

    Rendle et al. 2009, arXiv 1205.2618 (BPR-Opt), without its L2 term,
    which belongs to the method. Without negatives (k = 0) the value is a connected 0.

    Args:
        reduction: "mean" or "sum" over the n pairs, or "none".

    Shape:
        positive_scores (n,); negative_scores (n,) or (n, k). Output: 0-d, or (n,)
        with reduction "none".

    Raises:
        ArgumentError: for shapes that do not match, or an unknown reduction.
        NonFiniteArgumentError: for NaN or infinity in the scores.

    Example:
        >>> value = BPR()(torch.tensor([2.0, 1.0]), torch.tensor([0.5, 1.5]))
    """

    functional = staticmethod(bpr)
    example = staticmethod(scores)

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__()
        check_reduction(reduction)
        self.reduction = reduction

    def forward(self, positive_scores: Tensor, negative_scores: Tensor) -> Tensor:
        """The loss of scores (n,) against scores (n,) or (n, k)."""
        return bpr(positive_scores, negative_scores, reduction=self.reduction)

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return f"reduction={self.reduction!r}"
