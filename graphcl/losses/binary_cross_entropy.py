"""Binary cross-entropy of positives against sampled negatives."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from graphcl.losses.arguments import check_reduction, reduce
from graphcl.losses.examples import scores
from graphcl.losses.score_pairs import mean_of_terms, score_pairs


def binary_cross_entropy(
    positive_scores: Tensor, negative_scores: Tensor, *, reduction: str = "mean"
) -> Tensor:
    """Functional twin of `BinaryCrossEntropy`; the same arguments."""
    positive, negative = score_pairs(positive_scores, negative_scores)
    return reduce(mean_of_terms(-logsigmoid(positive), -logsigmoid(-negative)), reduction)


class BinaryCrossEntropy(nn.Module):
    r"""Binary cross-entropy: a positive is a 1, each sampled negative a 0.

    .. math::
        L_i = -\frac{1}{k+1} \Bigl[ \log \sigma(x_i)
            + \sum_{j=1}^{k} \log(1 - \sigma(x_{ij})) \Bigr]

    Kang and McAuley 2018, "Self-Attentive Sequential Recommendation", arXiv
    1808.09781, with one negative; with k as in Petrov and Macdonald 2023, arXiv 2308.07192.
    Deviation from SASRec: the mean over the k + 1 terms in place of their sum,
    which for k = 1 is half of it. Trained with few negatives it learns scores far
    too high (overconfidence): `GBCE` corrects that. Without negatives
    (k = 0) only the positive's term is left.

    Args:
        reduction: "mean" or "sum" over the n positives, or "none".

    Shape:
        positive_scores (n,); negative_scores (n,) or (n, k), logits. Output: 0-d, or
        (n,) with reduction "none".

    Raises:
        ArgumentError: for shapes or dtypes that do not match, or an unknown reduction.
        NonFiniteArgumentError: for NaN or infinite scores.

    Example:
        >>> value = BinaryCrossEntropy()(torch.tensor([2.0, 1.0]), torch.tensor([0.5, 1.5]))
    """

    functional = staticmethod(binary_cross_entropy)
    example = staticmethod(scores)

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__()
        check_reduction(reduction)
        self.reduction = reduction

    def forward(self, positive_scores: Tensor, negative_scores: Tensor) -> Tensor:
        """The loss of scores (n,) against scores (n,) or (n, k)."""
        return binary_cross_entropy(positive_scores, negative_scores, reduction=self.reduction)

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return f"reduction={self.reduction!r}"
