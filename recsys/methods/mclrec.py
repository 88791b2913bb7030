"""MCLRec: stochastic views of a sequence, and learned views of those.

Qin et al., "Meta-optimized Contrastive Learning for Sequential Recommendation", SIGIR 2023
(arXiv 2304.07763).

For subsequences s, two views by two different operators, drawn from crop, mask and reorder, with
states h1 and h2, and learned views z1 = w1(h1), z2 = w2(h2) of those (section 3.3):

    view_contrast    = InfoNCE(h1, h2)
    learned_contrast = InfoNCE(z1, z2) + InfoNCE(h1, z2) + InfoNCE(h2, z1)
    regulariser      = R(z1, z2) + R(h1, z2) + R(h2, z1)       (`contrastive_regulariser`)

by dot products over the temperature. With `update: alternating` every batch is taken three times:
the encoder learns, with fixed augmenters, from

    total = next_item + contrast_weight * view_contrast
                      + learned_weight * (learned_contrast + regulariser_weight * regulariser)

then the augmenters, with a fixed encoder, from learned_contrast + regulariser_weight *
regulariser, and then the encoder again. It is the authors' code's first-order form of a meta step:
no gradient passes through an update. `update: joint` learns both from `total` at once. The `total`
of an epoch in the log is the mean over all passes, those of the augmenters among them; the
encoder's is the weighted sum of the parts beside it.

Deviations: masked items become a token, as the paper says (the authors' code writes the padding
number, which also hides the place); each of the three passes draws views of its own; the
augmenters' learning rate is the encoder's. The extremes of the regulariser are taken row by row, as
in the code, where the paper takes them over the batch. Anchors as in CL4SRec here.

Cost of a step: three times that of CL4SRec when alternating, less one backward pass through the
encoder.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.func import functional_call

from graphcl.config import tunable
from recsys.data.batches import SequenceBatch
from recsys.data.interactions import Interactions
from recsys.methods.cl4srec import CL4SRec, CL4SRecConfig
from recsys.methods.sequence_contrast import paired_info_nce
from recsys.views import LearnableAugmenter

Learner = Literal["encoder", "augmenters", "both"]


@dataclass(frozen=True)
class Pass:
    """A batch, and who learns from it."""

    batch: SequenceBatch
    learner: Learner


class MCLRecConfig(CL4SRecConfig):
    """Settings of MCLRec; `contrast_weight` is the weight of the stochastic views (lambda)."""

    crop: float = tunable(0.5, low=0.1, high=0.9, ge=0, le=1)
    mask: float = tunable(0.5, low=0.1, high=0.9, ge=0, le=1)
    reorder: float = tunable(0.8, low=0.1, high=0.9, ge=0, le=1)
    learned_weight: float = tunable(0.05, low=0.01, high=0.5, log=True, ge=0)
    """Weight of the learned views (beta)."""
    regulariser_weight: float = tunable(0.1, choices=[0.0, 0.05, 0.1, 0.2], ge=0)
    """Share of the regulariser in the learned part (gamma over beta)."""
    update: Literal["alternating", "joint"] = "alternating"


class MCLRec(CL4SRec):
    """Stochastic and learned views, optimised in turns (Qin et al. 2023)."""

    Config = MCLRecConfig

    def __init__(self, config: MCLRecConfig, data: Interactions) -> None:
        super().__init__(config, data)
        self.first_augmenter = LearnableAugmenter(config.dimension).to(data.device)
        self.second_augmenter = LearnableAugmenter(config.dimension).to(data.device)

    def batches(self, generator: torch.Generator) -> Iterator[Any]:
        """All windows once, each batch for the encoder, the augmenters and the encoder again."""
        learners: tuple[Learner, ...] = ("both",)
        if self.config.update == "alternating":
            learners = ("encoder", "augmenters", "encoder")
        for batch in super().batches(generator):
            for learner in learners:
                yield Pass(batch, learner)

    def loss(self, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        """`total` of whoever learns from a `Pass`, and the parts that it is made of."""
        config, windows = self.config, batch.batch
        with torch.set_grad_enabled(batch.learner != "augmenters"):
            first, second = self.stochastic_views(windows, generator)
        fixed = batch.learner == "encoder"
        learned_first = augmented(self.first_augmenter, first, fixed)
        learned_second = augmented(self.second_augmenter, second, fixed)
        pairs = ((learned_first, learned_second), (first, learned_second), (second, learned_first))
        contrast = sum_of(paired_info_nce(*pair, config.temperature) for pair in pairs)
        regulariser = sum_of(contrastive_regulariser(*pair, config.temperature) for pair in pairs)
        learned = contrast + config.regulariser_weight * regulariser
        parts = {"learned_contrast": contrast, "regulariser": regulariser}
        if batch.learner == "augmenters":
            return {"total": learned, **parts}
        next_item = self.next_item(windows, generator)
        stochastic = paired_info_nce(first, second, config.temperature)
        return {
            "total": next_item
            + config.contrast_weight * stochastic
            + config.learned_weight * learned,
            self.next_item_loss.name: next_item,
            "view_contrast": stochastic,
            **parts,
        }

    def stochastic_views(
        self, batch: SequenceBatch, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """States (B, d) of two views, by two different operators, of drawn subsequences."""
        places = batch.places[self.anchors(batch, generator)]
        items, lengths = self.subsequences.gather(self.subsequences.row_at[places])
        first, second = self.view.pair(items, lengths, generator)
        return self.last_states(*first), self.last_states(*second)


def augmented(augmenter: LearnableAugmenter, states: Tensor, fixed: bool) -> Tensor:
    """The learned view of `states`; if `fixed`, without gradient to the augmenter itself."""
    if not fixed:
        seen: Tensor = augmenter(states)
        return seen
    constants = {name: value.detach() for name, value in augmenter.named_parameters()}
    through: Tensor = functional_call(augmenter, constants, (states,))
    return through


def sum_of(values: Iterator[Tensor]) -> Tensor:
    """The sum of 0-d tensors."""
    return torch.stack(list(values)).sum()


def contrastive_regulariser(first: Tensor, second: Tensor, temperature: float) -> Tensor:
    r"""What keeps learned views from collapsing, and from being too easy to tell apart.

    With :math:`\sigma^+_a` the score of row a with its partner among the 2B rows of both views,
    :math:`\sigma^-_{ac}` those with the others, and m_a the largest of these,

    .. math::
        R = \mathrm{mean}_a [\sigma^+_a - \min(\sigma^+_a, m_a)]
            + \mathrm{mean}_{a,c} [\max(\sigma^+_a, m_a) - \sigma^-_{ac}]

    (section 3.4): neither may a positive stand clear of all negatives, nor a negative lie far
    below.

    Args:
        first, second: (B, d); row i of both are a pair.
        temperature: above 0; scores are dot products over it.

    Returns:
        0-d; 0 with fewer than two pairs, which have no negative. Memory O(B^2).
    """
    count = len(first)
    rows = torch.cat([first, second])
    if count < 2:
        return rows.sum() * 0.0
    scores = rows @ rows.T / temperature
    place = torch.arange(2 * count, device=rows.device)
    positive = scores[place, (place + count) % (2 * count)]
    own = place[:, None] % count == place % count
    hardest = scores.masked_fill(own, -torch.inf).amax(1)
    above = (positive - hardest).clamp(min=0)
    ceiling = torch.maximum(positive, hardest)
    # max - sigma is never negative, so its mean needs the sum of the negatives only.
    negative_mean = scores.masked_fill(own, 0.0).sum(1) / (2 * count - 2)
    return above.mean() + (ceiling - negative_mean).mean()
