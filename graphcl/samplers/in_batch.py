"""In-batch negatives, and a running estimate of how often each item gets into a batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from graphcl.errors import ArgumentError
from graphcl.kernels.row_products import check_index
from graphcl.samplers.contract import Negatives, check_rows


def in_batch(targets: Tensor, log_probability: Tensor | None = None) -> Negatives:
    """The batch's own targets as negatives shared by all rows, with their log q.

    Each row's own target is among them: `SampledSoftmax` masks it (`remove_accidental_hits`).
    Popular items come often and without the correction are pushed down for it, which is
    why in-batch negatives alone do badly.

    Args:
        targets: (M,) int64 items of the batch.
        log_probability: (N,) log-probability of every item to be a batch's target, for
            instance the logarithm of its share of the training log, or
            `StreamingFrequency.log_probability()`. None: 0, no correction.

    Returns:
        `Negatives` of shape (M,), shared.

    Raises:
        ArgumentError: for items out of range.
    """
    check_rows("targets", targets, None if log_probability is None else log_probability.numel())
    if log_probability is None:
        return Negatives(targets, torch.zeros_like(targets, dtype=torch.float64))
    return Negatives(targets, log_probability.detach().double()[targets])


class StreamingFrequency(nn.Module):
    r"""How often each item gets into a batch, estimated while training.

    .. math::
        B_j \leftarrow (1 - \alpha) B_j + \alpha (t - A_j), \quad A_j \leftarrow t, \qquad
        p_j = 1 / B_j

    for every item j of the batch of step t: A holds the last step it was seen,
    B the running mean of the gaps, so it is one division away from the
    probability p to be in a batch. Yi et al. 2019, "Sampling-bias-corrected
    neural modeling for large corpus item recommendations" (RecSys). Follows a drifting
    catalogue in O(batch) per step. Deviations: items have a place of their own in place of
    a hash; the first gap is the first estimate instead of being averaged with
    an arbitrary start. State is buffers, so a checkpoint keeps it.

    Args:
        num_items: N, at least 1.
        rate: α in (0, 1].

    Raises:
        ArgumentError: for a setting out of range.

    Example:
        >>> frequency = StreamingFrequency(100)
        >>> frequency.update(torch.randint(100, (32,)))
        >>> log_probability = frequency.log_probability()
    """

    last_step: Tensor
    mean_gap: Tensor
    step: Tensor
    draws: Tensor

    def __init__(self, num_items: int, rate: float = 0.01) -> None:
        super().__init__()
        if num_items < 1:
            raise ArgumentError(f"num_items must be at least 1; got {num_items}")
        if not 0 < rate <= 1:
            raise ArgumentError(f"rate must be a number in (0, 1]; got {rate}")
        self.rate = rate
        self.register_buffer("last_step", torch.zeros(num_items, dtype=torch.int64))
        self.register_buffer("mean_gap", torch.zeros(num_items, dtype=torch.float64))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.register_buffer("draws", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def update(self, targets: Tensor) -> None:
        """Count a batch of items (M,) int64; an item twice in it counts once."""
        check_rows("targets", targets, self.mean_gap.numel())
        self.step += 1
        self.draws += targets.numel()
        items = torch.unique(targets)
        gap = (self.step - self.last_step[items]).double()
        mean = self.mean_gap[items]
        averaged = (1 - self.rate) * mean + self.rate * gap
        self.mean_gap[items] = torch.where(mean == 0, gap, averaged)
        self.last_step[items] = self.step

    def log_probability(self, items: Tensor | None = None) -> Tensor:
        """Log-probability per draw, of all items (N,) or of some, float64.

        A batch of b draws holds j with probability p = 1 - (1 - q)^b; this is log q
        for the mean size of the batches so far. An item never seen is taken
        to come at the next step.
        """
        gap = self.mean_gap
        if items is not None:
            check_index("items", items, gap.numel())
            gap = gap[items]
        gap = torch.where(gap == 0, (self.step + 1).double(), gap)
        size = (self.draws / self.step.clamp_min(1)).double().clamp_min(1)
        # Never certain: an item of every batch still is not every draw of it.
        chance = (1 / gap).clamp_max(1 - 0.5 / (self.step + 1).double())
        return torch.log(-torch.expm1(torch.log1p(-chance) / size))
