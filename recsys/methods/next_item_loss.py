"""The losses that sequence methods predict the next item with, by name."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from graphcl.errors import ArgumentError
from graphcl.kernels.negatives import sample_negatives
from graphcl.kernels.row_products import row_products
from graphcl.losses import BPR, GBCE, BinaryCrossEntropy, CrossEntropy, SampledSoftmax
from recsys.data.interactions import Interactions

NextItemChoice = Literal["ce", "sampled", "gbce", "bce", "bpr"]

PART_NAMES: dict[str, str] = {
    "ce": "cross_entropy",
    "sampled": "sampled_softmax",
    "gbce": "gbce",
    "bce": "binary_cross_entropy",
    "bpr": "bpr",
}

EVERY = slice(None)

NO_CHANCE = -1e4
"""The score of a negative that is the target itself: its loss and gradient are 0."""


class NextItemLoss(nn.Module):
    """Loss of hidden states against their next items, with negatives drawn as the choice needs.

    - `ce`: softmax over all items, tile by tile; no (T x items) matrix above a small size.
    - `sampled`: softmax over the target and `negatives` uniform items. With the logQ correction it
      estimates `ce` (`graphcl.losses.SampledSoftmax`); without, the k negatives count as all items
      there are, which asks less of the target and overfits later.
    - `gbce`: binary cross-entropy with uniform negatives and the calibration of gSASRec.
    - `bce`, `bpr`: `negatives` items of its own for every position, none of the user's: SASRec's
      and GRU4Rec's original sampling.

    Args:
        choice: one of the above.
        data: the training log; `bce` and `bpr` avoid what its users took.
        negatives: how many, at least 1.
        calibration: t of `gbce`, in [0, 1].
        correct_sampling: whether `sampled` has the logQ correction.
        shared_negatives: whether `sampled` and `gbce` draw once for a batch, which is some ten
            times cheaper, or for every position, as gSASRec and eSASRec do.

    Raises:
        ArgumentError: the choice is unknown or a number is out of range.
    """

    keys: Tensor

    def __init__(
        self,
        choice: NextItemChoice,
        data: Interactions,
        negatives: int = 256,
        calibration: float = 0.75,
        correct_sampling: bool = True,
        shared_negatives: bool = True,
    ) -> None:
        super().__init__()
        if choice not in get_args(NextItemChoice):
            raise ArgumentError(
                f"loss must be one of {', '.join(get_args(NextItemChoice))} (got {choice!r})"
            )
        if negatives < 1:
            raise ArgumentError(f"negatives must be at least 1 (got {negatives})")
        self.name = PART_NAMES[choice]
        self.num_items = data.num_items
        # A tiny catalogue has no more; gBCE's sampling rate, for one, is at most 1.
        self.negatives = min(negatives, max(1, data.num_items - 1))
        own = choice in ("bce", "bpr")
        self.shared = shared_negatives
        keys = data.pair_keys() if own else data.offsets.new_zeros(0)
        self.register_buffer("keys", keys, persistent=False)
        objective: dict[str, type[nn.Module]] = {
            "ce": CrossEntropy, "sampled": SampledSoftmax, "bce": BinaryCrossEntropy, "bpr": BPR,
        }  # fmt: skip
        if choice == "gbce":
            self.objective: nn.Module = GBCE(
                data.num_items if data.num_items > 1 else None, calibration
            )
        else:
            self.objective = objective[choice]()
        self.choice = choice
        self.correct_sampling = correct_sampling

    def forward(
        self,
        hidden: Tensor,
        table: Tensor,
        targets: Tensor,
        users: Tensor,
        generator: torch.Generator,
        part: slice = EVERY,
    ) -> Tensor:
        """The mean over T positions, 0-d.

        Args:
            hidden: (T, d) states.
            table: (num_items, d) item embeddings.
            targets: int64 (T,) next items.
            users: int64 (W,), whose positions those of the whole batch are.
            generator: source of the negatives.
            part: which T of the W positions these are, where processes divide a batch. Negatives
                of a position are drawn for all W, so that the processes draw as one would.
        """
        value: Tensor
        if self.choice == "ce":
            value = self.objective(hidden, table, targets)
            return value
        if self.choice in ("sampled", "gbce"):
            shape = (self.negatives,) if self.shared else (len(users), self.negatives)
            drawn = torch.randint(
                self.num_items, shape, generator=generator, device=generator.device
            ).to(targets.device)
            drawn = drawn if self.shared else drawn[part]
            if self.choice == "sampled":
                uniform = torch.full_like(drawn, 1 / self.num_items, dtype=torch.float64).log()
                log_probability = uniform if self.correct_sampling else None
                value = self.objective(hidden, table, targets, drawn, log_probability)
                return value
            scores = hidden @ table[drawn].T if self.shared else row_products(hidden, table, drawn)
            scores = scores.masked_fill(drawn == targets[:, None], NO_CHANCE)
        else:
            every = users[:, None].expand(-1, self.negatives)
            own = sample_negatives(every, self.num_items, self.keys, generator)[part]
            scores = row_products(hidden, table, own)
        positive = row_products(hidden, table, targets[:, None]).squeeze(1)
        value = self.objective(positive, scores)
        return value
