"""Jensen-Shannon estimate of mutual information, from scores of positives and negatives."""

from __future__ import annotations

from torch import Tensor, nn

from graphcl.losses.arguments import check_reduction, reduce, softplus
from graphcl.losses.examples import scores
from graphcl.losses.score_pairs import score_pairs


def jsd(positive_scores: Tensor, negative_scores: Tensor, *, reduction: str = "mean") -> Tensor:
    """Functional twin of `JSD`; the same arguments."""
    positive, negative = score_pairs(positive_scores, negative_scores)
    repelled = softplus(negative).sum(dim=1) / max(negative.shape[1], 1)
    return reduce(softplus(-positive) + repelled, reduction)


class JSD(nn.Module):
    r"""Jensen-Shannon infomax: scores of positives up, scores of negatives down.

    .. math::
        L_i = \mathrm{softplus}(-x_i) + \frac1k \sum_{j=1}^{k} \mathrm{softplus}(x_{ij})

    The negative of the Jensen-Shannon estimator of mutual information (Nowozin
    et al. 2016, arXiv 1606.00709; Hjelm et al. 2019, Deep InfoMax, arXiv
    1808.06670). It is the objective of InfoGraph (Sun et al. 2020, arXiv
    1908.01000), whose code adds the constant -2 log 2, and twice the binary
    cross-entropy of DGI (Velickovic et al. 2019, arXiv 1809.10341). Scores come
    from a discriminator, for instance a dot product or a bilinear form of node
    and summary; a score that tells nothing is 0 and costs 2 log 2. Without
    negatives (k = 0) only the first term remains.

    Args:
        reduction: "mean" or "sum" over the n positives, or "none".

    Shape:
        positive_scores (n,); negative_scores (n,) or (n, k). Output: 0-d, or (n,)
        with reduction "none".

    Raises:
        ArgumentError: for shapes that do not match, or an unknown reduction.
        NonFiniteArgumentError: for NaN or infinity in the scores.

    Example:
        >>> value = JSD()(torch.tensor([2.0, 1.0]), torch.tensor([-0.5, 0.1]))
    """

    functional = staticmethod(jsd)
    example = staticmethod(scores)

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__()
        check_reduction(reduction)
        self.reduction = reduction

    def forward(self, positive_scores: Tensor, negative_scores: Tensor) -> Tensor:
        """The loss of scores (n,) against scores (n,) or (n, k)."""
        return jsd(positive_scores, negative_scores, reduction=self.reduction)

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return f"reduction={self.reduction!r}"
