"""Entropy maximisation: what was not observed is unknown, not negative."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from graphcl.losses.arguments import check_reduction, check_weight, reduce
from graphcl.losses.examples import scores
from graphcl.losses.score_pairs import mean_of_terms, score_pairs


def entropy_maximisation(
    positive_scores: Tensor,
    unknown_scores: Tensor,
    weight: float = 0.1,
    *,
    reduction: str = "mean",
) -> Tensor:
    """Functional twin of `EntropyMaximisation`; the same arguments."""
    check_weight("weight", weight)
    positive, unknown = score_pairs(positive_scores, unknown_scores, "unknown_scores")
    return reduce(
        mean_of_terms(-logsigmoid(positive), -weight * binary_entropy(unknown)), reduction
    )


def binary_entropy(logits: Tensor) -> Tensor:
    """Entropy in nats of Bernoulli variables with these logits, any shape; exact in the tails."""
    # H is even; at -|x| both terms are positive and small, nothing cancels.
    size = logits.abs()
    return -logsigmoid(size) + size * (-size).sigmoid()


class EntropyMaximisation(nn.Module):
    r"""Positives are positive, and the model should stay undecided on everything unobserved.

    .. math::
        L_i = \frac{1}{k+1} \Bigl[ -\log \sigma(x_i) - \alpha \sum_{j=1}^{k} H(x_{ij}) \Bigr],
        \qquad H = -p \log p - (1 - p) \log(1 - p), \quad p = \sigma(x)

    the entropy-maximisation (EM) loss of Zhou et al. 2022, "Acknowledging the
    Unknown for Multi-label Learning with Single Positive Labels", arXiv
    2203.16219: unobserved labels are not taken for negatives, as binary cross-entropy does.
    The gradient of an unknown vanishes at p = 1/2 and at p near 0 or 1, so that
    the confident ones are left alone. The value may be negative, down to
    -α log 2. Their asymmetric pseudo-labelling is not included. Deviation: the
    mean over the k + 1 terms, for sampled unknowns.

    Args:
        weight: α, at least 0; small, since unknowns outnumber positives.
        reduction: "mean" or "sum" over the n positives, or "none".

    Shape:
        positive_scores (n,); unknown_scores (n,) or (n, k), logits. Output: 0-d, or
        (n,) with reduction "none".

    Raises:
        ArgumentError: for shapes or dtypes that do not match, or a setting out of range.
        NonFiniteArgumentError: for NaN or infinite scores.

    Example:
        >>> value = EntropyMaximisation(0.2)(torch.randn(8), torch.randn(8, 50))
    """

    functional = staticmethod(entropy_maximisation)
    example = staticmethod(scores)

    def __init__(self, weight: float = 0.1, *, reduction: str = "mean") -> None:
        super().__init__()
        check_weight("weight", weight)
        check_reduction(reduction)
        self.weight = weight
        self.reduction = reduction

    def forward(self, positive_scores: Tensor, unknown_scores: Tensor) -> Tensor:
        """The loss of scores (n,) and of unknowns' scores (n,) or (n, k)."""
        return entropy_maximisation(
            positive_scores, unknown_scores, self.weight, reduction=self.reduction
        )

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return f"weight={self.weight:g}, reduction={self.reduction!r}"
