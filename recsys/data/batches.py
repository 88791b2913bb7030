"""Training batches by index: sequence windows bucketed by length, and (user, item, negative).

A batch is gathered from flat tensors that already live on the device; there are no worker
processes and no Python loop over users. Every draw comes from the generator that is passed
in, so the same generator state gives the same epoch on any device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from graphcl.errors import ArgumentError, DataError
from graphcl.kernels.negatives import sample_negatives
from recsys.data.interactions import Interactions

BUCKET_NOISE = 0.1
"""Windows are sorted by their length times 1 +- this, so that bucket mates change."""
OCTAVES = 64
"""More than there are powers of two among lengths."""


@dataclass(frozen=True)
class SequenceBatch:
    """Windows of B users' histories, padded on the right, with the item that follows each item."""

    items: Tensor
    """int64 (B, L), oldest first; the padding number after the end."""
    lengths: Tensor
    """int64 (B,), all >= 1."""
    users: Tensor
    """int64 (B,)."""
    targets: Tensor
    """int64 (T,) with T = lengths.sum(): what follows each real position, row by row."""
    places: Tensor
    """int64 (T,): where in the log's `items` each target stands. `Subsequences.row_at[places]`
    are the subsequences whose last item each real position is, of which a later window of a long
    history holds only the end."""

    @property
    def real(self) -> Tensor:
        """bool (B, L): True at items, False at padding; `hidden[real]` lines up with `targets`."""
        place = torch.arange(self.items.shape[1], device=self.items.device)
        return place < self.lengths[:, None]

    def positions(self, part: slice) -> slice:
        """The real positions of some consecutive windows, among all of them."""
        ends = self.lengths.cumsum(0)[part]
        return slice(int(ends[0] - self.lengths[part][0]), int(ends[-1]))

    def rows(self, part: slice) -> SequenceBatch:
        """Some consecutive windows, without the padding that only the others needed."""
        lengths, positions = self.lengths[part], self.positions(part)
        return SequenceBatch(
            items=self.items[part, : int(lengths.max())],
            lengths=lengths,
            users=self.users[part],
            targets=self.targets[positions],
            places=self.places[positions],
        )


class SequenceBatches:
    """Batches in which every item but each user's first is a target exactly once per epoch.

    A user with n items gives n - 1 (input, target) steps. The latest `max_length` of them form
    one window, the `max_length` before those the next, and so on; only the earliest window of a
    long history is shorter. With a causal encoder and right padding, training on all positions
    of a window equals training on all its prefixes one by one; in the later windows of a history
    of more than `max_length` + 1 items these are shorter than the latest `max_length` items. Users
    with fewer than two interactions have no window.

    Windows of about equal length share a batch, so that little is padded, and batches have about
    equally many targets, so that the mean over a batch weighs every target alike. With equally
    many windows instead, a target of a short history would weigh as many times one of a long
    history as it is shorter: on Amazon Beauty that costs SASRec a tenth of its hit rate. It holds
    where a batch has room for a few of the longest windows (on Beauty, of at most 50 items, from a
    `batch_size` of 8 on); a window of more than a batch's share is a batch of its own. Where
    lengths leap, so that short windows would be padded to more than twice `batch_size` of the
    longest, the batch is cut at powers of two.

    Args:
        interactions: the training log.
        max_length: longest window, >= 1.
        batch_size: windows in a batch on average (more where they are short), >= 1.
        padding: the number written after the end of a window.
        targets_of: lengths (W,) -> how many targets a window is expected to give, float or
            integers (W,), above 0; by default one for each of its positions.

    Raises:
        ArgumentError: `max_length` or `batch_size` is below 1.
        DataError: no user has two interactions.
    """

    def __init__(
        self,
        interactions: Interactions,
        max_length: int,
        batch_size: int,
        padding: int,
        targets_of: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        if max_length < 1:
            raise ArgumentError(f"max_length must be at least 1 (got {max_length})")
        if batch_size < 1:
            raise ArgumentError(f"batch_size must be at least 1 (got {batch_size})")
        self.items = interactions.items
        self.batch_size = batch_size
        self.padding = padding
        steps = (interactions.lengths() - 1).clamp(min=0)
        windows = (steps + max_length - 1) // max_length
        total = int(windows.sum())
        if total == 0:
            raise DataError(
                f"'{interactions.name}' has no user with two interactions to train on, beside "
                "what is held out; a sequence method needs at least one "
                f"(got {len(interactions)} interactions of {interactions.num_users} users)"
            )
        numbers = torch.arange(interactions.num_users, device=interactions.device)
        self.users = numbers.repeat_interleave(windows, output_size=total)
        first = windows.cumsum(0) - windows
        back = torch.arange(total, device=interactions.device) - first[self.users]
        stop = steps[self.users] - back * max_length
        self.starts = interactions.offsets[self.users] + (stop - max_length).clamp(min=0)
        self.lengths = stop.clamp(max=max_length)
        self._targets = (targets_of(self.lengths) if targets_of else self.lengths).double()

    def epoch(self, generator: torch.Generator) -> Iterator[SequenceBatch]:
        """All windows once, in batches of random order, about windows / `batch_size` of them."""
        count = self.lengths.numel()
        noise = torch.rand(count, generator=generator, device=generator.device)
        noise = 1 + BUCKET_NOISE * (2 * noise - 1)
        order = torch.argsort(self.lengths * noise.to(self.lengths.device))
        batches = order.split(self._windows_of_batches(order))
        sequence = torch.randperm(len(batches), generator=generator, device=generator.device)
        for number in sequence.tolist():
            yield self.gather(batches[number])

    def _windows_of_batches(self, order: Tensor) -> list[int]:
        """How many windows, in this order, make each batch of about equally many targets."""
        targets, lengths = self._targets[order], self.lengths[order]
        wanted = -(-len(order) // self.batch_size)
        ends = targets.cumsum(0)
        # A window belongs where its middle falls: 0 .. wanted - 1.
        share = ((ends - targets / 2) * (wanted / ends[-1])).long().clamp(max=wanted - 1)
        longest = torch.zeros(wanted, dtype=torch.int64, device=order.device).scatter_reduce(
            0, share, lengths, "amax"
        )
        cells = longest * torch.bincount(share, minlength=wanted)
        too_large = cells > 2 * self.batch_size * self.lengths.max()
        octave = torch.frexp(lengths.cummax(0).values.double()).exponent
        part = share * OCTAVES + octave * too_large[share]
        counts: list[int] = part.unique_consecutive(return_counts=True)[1].tolist()
        return counts

    def gather(self, windows: Tensor) -> SequenceBatch:
        """The batch of the windows with numbers `windows` int64 (B,)."""
        lengths = self.lengths[windows]
        place = torch.arange(int(lengths.max()), device=lengths.device)
        real = place < lengths[:, None]
        source = self.starts[windows][:, None] + place
        # Row by row, as boolean indexing is: the order that `hidden[real]` has.
        places = source[real] + 1
        targets = self.items[places].long()
        items = self.items[source.where(real, torch.zeros_like(source))].long()
        return SequenceBatch(
            items=items.masked_fill(~real, self.padding),
            lengths=lengths,
            users=self.users[windows],
            targets=targets,
            places=places,
        )


@dataclass(frozen=True)
class TripleBatch:
    """B pairs (user, item taken) with one item each that the user has not taken."""

    users: Tensor
    """int64 (B,)."""
    positives: Tensor
    """int64 (B,)."""
    negatives: Tensor
    """int64 (B,)."""


class TripleBatches:
    """Every distinct (user, item) pair once per epoch, with a fresh uniform negative.

    Interactions, not users, are drawn uniformly: an epoch sees active users more often, as
    RecBole's and SELFRec's samplers do (the authors' LightGCN code draws users instead).

    Args:
        interactions: the training log; repeated pairs count once.
        batch_size: pairs in a batch (the last batch of an epoch may be smaller), >= 1.
        among_taken: negatives are items that somebody took. By default they are any, so that an
            item without interactions is a negative only, and learned to be nobody's.

    Raises:
        ArgumentError: `batch_size` is below 1.
        DataError: there is no interaction.
    """

    def __init__(
        self, interactions: Interactions, batch_size: int, *, among_taken: bool = False
    ) -> None:
        if batch_size < 1:
            raise ArgumentError(f"batch_size must be at least 1 (got {batch_size})")
        if len(interactions) == 0:
            raise DataError(
                f"'{interactions.name}' has no interactions; there is nothing to learn from"
            )
        self.batch_size = batch_size
        self.num_items = interactions.num_items
        self.device = interactions.device
        self.keys = interactions.pair_keys()
        self.candidates: Tensor | None = None
        """int64, ascending: the items that may be negatives; None for all."""
        if among_taken:
            self.candidates = torch.nonzero(interactions.item_counts() > 0).flatten()

    def __len__(self) -> int:
        return -(-self.keys.numel() // self.batch_size)

    def epoch(self, generator: torch.Generator) -> Iterator[TripleBatch]:
        """All pairs once, in random order; negatives of the whole epoch in one draw."""
        # Draws happen where the generator lives, so that CPU and GPU runs see the same batches.
        keys = self.keys.to(generator.device)
        order = torch.randperm(keys.numel(), generator=generator, device=generator.device)
        shuffled = keys[order]
        users = torch.div(shuffled, self.num_items, rounding_mode="floor")
        negatives = self._negatives(users, keys, generator)
        positives = shuffled - users * self.num_items
        columns = (users.to(self.device), positives.to(self.device), negatives.to(self.device))
        for parts in zip(*(column.split(self.batch_size) for column in columns), strict=True):
            yield TripleBatch(*parts)

    def _negatives(self, users: Tensor, keys: Tensor, generator: torch.Generator) -> Tensor:
        if self.candidates is None:
            return sample_negatives(users, self.num_items, keys, generator)
        candidates = self.candidates.to(keys.device)
        owner = torch.div(keys, self.num_items, rounding_mode="floor")
        # Numbered among the candidates, which hold every taken item: the keys stay sorted.
        item = torch.searchsorted(candidates, keys - owner * self.num_items)
        taken = owner * len(candidates) + item
        return candidates[sample_negatives(users, len(candidates), taken, generator)]
