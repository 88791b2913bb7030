"""Weights that suppress noisy and faulty positive pairs by the history of their losses (DBPM)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphcl.errors import ArgumentError
from graphcl.kernels.contrast.checks import check_finite
from graphcl.losses.arguments import check_above_zero, check_reduction, reduce


class BadPairMining(nn.Module):
    r"""Down-weights positive pairs whose losses were unusually low or high so far.

    .. math::
        w_i = \begin{cases}
            e^{-(L_i - \mu)^2 / (2\sigma^2)} & m_i < \mu - b_n \sigma
                \;\text{ or }\; m_i > \mu + b_f \sigma \\
            1 & \text{otherwise} \end{cases}
        \qquad \text{value}_i = w_i L_i

    with the running mean m_i of the losses of instance i, and mean μ and standard
    deviation σ of all m_i when the epoch began. A pair that is always easy shares
    noise (noisy pair); one that is always hard shares nothing (faulty pair).
    Lan et al. 2024, "Towards Enhancing Time Series Contrastive Learning: A Dynamic
    Bad Pair Mining Approach" (DBPM), arXiv 2302.03357.

    It wraps the per-anchor values of any loss (`reduction="none"`). The owner of the
    training loop calls `start_epoch` before every epoch. Weights carry no gradient.
    In evaluation mode nothing is recorded. The state is one number and one count per
    instance, all in `state_dict`.

    Deviations: the authors keep every loss of every epoch; here the mean is
    exponential (`decay`), later epochs weighing more, or the plain mean with
    `decay=None`. The authors' weight is the Gaussian density, whose peak
    1/(σ sqrt(2π)) exceeds 1 for σ below 0.4, so that bad pairs can be enlarged;
    here it is divided by its peak, unless `normalised=False`. When all means
    are equal, σ = 0, no pair is bad. An instance without history weighs 1.

    Args:
        count: number of instances.
        warm_up: epochs before any pair is down-weighted; the paper's 50 (of 80).
        noisy: b_n, above 0, number of standard deviations below the mean.
        faulty: b_f, above 0, number of standard deviations above the mean.
        decay: weight in (0, 1) of the past in the running mean, or None.
        normalised: divide the Gaussian density by its peak.
        reduction: "mean" or "sum" over the n values, or "none".

    Shape:
        values (n,) floating, the losses of one batch; index (n,) int64, the instance
        of each, which may repeat. Output: 0-d, or (n,) with reduction "none".

    Raises:
        ArgumentError: for a shape, dtype, index or setting out of range, and for NaN
            or infinite values.

    Example:
        >>> mining = BadPairMining(1000, warm_up=5)
        >>> mining.start_epoch()
        >>> value = mining(torch.rand(8, requires_grad=True), torch.arange(8))
    """

    epoch: Tensor
    centre: Tensor
    spread: Tensor
    mean: Tensor
    visits: Tensor

    def __init__(
        self,
        count: int,
        *,
        warm_up: int = 50,
        noisy: float = 2.0,
        faulty: float = 3.0,
        decay: float | None = 0.9,
        normalised: bool = True,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        for name, number in (("count", count), ("warm_up", warm_up)):
            if isinstance(number, bool) or not isinstance(number, int) or number < 0:
                raise ArgumentError(f"{name} must be an integer of at least 0; got {number!r}")
        check_above_zero("noisy", noisy)
        check_above_zero("faulty", faulty)
        if decay is not None and not 0 < decay < 1:
            raise ArgumentError(f"decay must lie in (0, 1) or be None; got {decay}")
        check_reduction(reduction)
        self.count = count
        self.warm_up = warm_up
        self.noisy = noisy
        self.faulty = faulty
        self.decay = decay
        self.normalised = normalised
        self.reduction = reduction
        self.register_buffer("epoch", torch.zeros((), dtype=torch.int64))
        self.register_buffer("centre", torch.zeros(()))
        self.register_buffer("spread", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("visits", torch.zeros(count, dtype=torch.int64))

    @torch.no_grad()
    def start_epoch(self) -> None:
        """Count an epoch and fix its thresholds from the history so far."""
        self.epoch += 1
        known = self.mean[self.visits > 0].double()
        if known.numel() == 0:
            return
        self.centre.copy_(known.mean())
        spread = known.std(correction=0)
        # Equal means differ by roundings of the sum; those are no outliers.
        noise = known.abs().max() * torch.finfo(self.mean.dtype).eps
        self.spread.copy_(torch.where(spread > noise, spread, 0.0))

    @torch.no_grad()
    def weights(self, values: Tensor, index: Tensor) -> Tensor:
        """(n,) weight of every value, 1 for good pairs and during the warm-up."""
        ones = torch.ones_like(values)
        if int(self.epoch) <= self.warm_up or float(self.spread) == 0:
            return ones
        history = self.mean[index]
        is_noisy = history < self.centre - self.noisy * self.spread
        is_faulty = history > self.centre + self.faulty * self.spread
        bad = (is_noisy | is_faulty) & (self.visits[index] > 0)
        weight = torch.exp(-0.5 * ((values - self.centre) / self.spread).square())
        if not self.normalised:
            weight = weight / (self.spread * (2 * torch.pi) ** 0.5)
        return torch.where(bad, weight.to(values.dtype), ones)

    def forward(self, values: Tensor, index: Tensor) -> Tensor:
        """The weighted loss of a batch; in training mode its values enter the history."""
        self._check(values, index)
        weighted = self.weights(values.detach(), index) * values
        if self.training:
            self._record(values.detach(), index)
        return reduce(weighted, self.reduction)

    @torch.no_grad()
    def _record(self, values: Tensor, index: Tensor) -> None:
        # An instance that repeats in the batch counts once, with its mean.
        instances, place, repeats = index.unique(return_inverse=True, return_counts=True)
        total = self.mean.new_zeros(instances.numel())
        total.index_add_(0, place, values.to(total.dtype))
        self.visits[instances] += 1
        share = 1.0 / self.visits[instances].to(total.dtype)
        if self.decay is not None:
            # The first visit sets the mean.
            share = torch.where(share == 1, share, 1 - self.decay)
        past = self.mean[instances]
        self.mean[instances] = past + share * (total / repeats - past)

    def _check(self, values: Tensor, index: Tensor) -> None:
        if values.dim() != 1 or not values.is_floating_point() or index.shape != values.shape:
            raise ArgumentError(
                "values must be floating (n,) and index (n,), one instance per value; got "
                f"{values.dtype} {tuple(values.shape)} and {tuple(index.shape)}"
            )
        if index.dtype != torch.int64:
            raise ArgumentError(f"index must be of dtype torch.int64; got {index.dtype}")
        check_finite("values", values)
        if index.numel():
            lowest, highest = (int(bound) for bound in index.aminmax())
            if lowest < 0 or highest >= self.count:
                raise ArgumentError(
                    f"index must lie in 0 .. {self.count - 1}; got values in {lowest} .. {highest}"
                )

    def extra_repr(self) -> str:
        """The settings, for `print`."""
        return (
            f"count={self.count}, warm_up={self.warm_up}, noisy={self.noisy:g}, "
            f"faulty={self.faulty:g}, decay={self.decay}, normalised={self.normalised}, "
            f"reduction={self.reduction!r}"
        )
