"""gBCE: binary cross-entropy without the overconfidence that negative sampling brings."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from graphcl.errors import ArgumentError
from graphcl.losses.arguments import check_count, check_reduction, number, reduce
from graphcl.losses.examples import scores
from graphcl.losses.score_pairs import mean_of_terms, score_pairs


def gbce(
    positive_scores: Tensor,
    negative_scores: Tensor,
    num_items: int | None = None,
    calibration: float = 0.75,
    *,
    reduction: str = "mean",
) -> Tensor:
    """Functional twin of `GBCE`; the same arguments."""
    positive, negative = score_pairs(positive_scores, negative_scores)
    power = _power(negative.shape[1], num_items, calibration)
    return reduce(mean_of_terms(-power * logsigmoid(positive), -logsigmoid(-negative)), reduction)


def _power(count: int, num_items: int | None, calibration: float) -> float:
    _check(num_items, calibration)
    if num_items is None:
        return 1.0
    rate = count / (num_items - 1)
    if rate > 1:
        raise ArgumentError(
            f"of num_items = {num_items} at most {num_items - 1} can be negatives; got {count}"
        )
    return 1.0 - calibration * (1.0 - rate)


def _check(num_items: int | None, calibration: float) -> None:
    if num_items is not None:
        check_count("num_items", num_items, lowest=2)
    if not 0 <= number("calibration", calibration) <= 1:
        raise ArgumentError(f"calibration must be a number in [0, 1]; got {calibration}")


class GBCE(nn.Module):
    r"""Generalised binary cross-entropy, which undoes the overconfidence of negative sampling.

    .. math::
        L_i = -\frac{1}{k+1} \Bigl[ \beta \log \sigma(x_i)
            + \sum_{j=1}^{k} \log(1 - \sigma(x_{ij})) \Bigr], \qquad
        \beta = \alpha \left( t \left( 1 - \tfrac1\alpha \right) + \tfrac1\alpha \right)
              = 1 - t (1 - \alpha), \qquad \alpha = \frac{k}{|I| - 1}

    Petrov and Macdonald 2023, "gSASRec", arXiv 2308.07192, with the sampling
    rate α and the calibration t: with t = 1 the optimal σ(x) is the true
    probability, with t = 0 this is `BinaryCrossEntropy`, and their
    setting for SASRec is t = 0.75 with 256 negatives. Deviation from the authors' code: it
    feeds a transformed logit log(1 / (σ(x)^-β - 1)) to a stock BCE, in float64
    because that saturates; log σ(x)^β is β log σ(x), which is exact for every x.

    Args:
        num_items: |I|, number of items in the catalogue, of which the k negatives are drawn.
            Always give it: None takes the k negatives for all other items (α = 1, β = 1),
            which is `BinaryCrossEntropy`.
        calibration: t in [0, 1].
        reduction: "mean" or "sum" over the n positives, or "none".

    Shape:
        positive_scores (n,); negative_scores (n,) or (n, k), logits. Output: 0-d, or
        (n,) with reduction "none".

    Raises:
        ArgumentError: for shapes or dtypes that do not match, or a setting out of range.
        NonFiniteArgumentError: for NaN or infinite scores.

    Example:
        >>> loss = GBCE(num_items=1682)
        >>> value = loss(torch.randn(8), torch.randn(8, 256))
    """

    functional = staticmethod(gbce)
    example = staticmethod(scores)

    def __init__(
        self,
        num_items: int | None = None,
        calibration: float = 0.75,
        *,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        _check(num_items, calibration)
        check_reduction(reduction)
        self.num_items = num_items
        self.calibration = calibration
        self.reduction = reduction

    def forward(self, positive_scores: Tensor, negative_scores: Tensor) -> Tensor:
        """The loss of scores (n,) against scores (n,) or (n, k)."""
        return gbce(
            positive_scores,
            negative_scores,
            self.num_items,
            self.calibration,
            reduction=self.reduction,
        )

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return (
            f"num_items={self.num_items}, calibration={self.calibration:g}, "
            f"reduction={self.reduction!r}"
        )
