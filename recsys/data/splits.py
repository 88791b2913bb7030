"""Splits of a log into train, validation and test, and the check that nothing leaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from graphcl.errors import DataError
from recsys.data.interactions import Interactions


@dataclass(frozen=True)
class InteractionSplit:
    """Three parts of one log; users and items are numbered alike in all of them."""

    train: Interactions
    validation: Interactions
    """Validation targets of each user (none for some users)."""
    test: Interactions
    """Test targets of each user (none for some users)."""
    history: Interactions
    """Train and validation together, in time order: what is known at test time."""


def leave_one_out(interactions: Interactions) -> InteractionSplit:
    """Last interaction of each user for test, the one before for validation, the rest for train.

    The split of SASRec (Kang & McAuley 2018) and most later sequence papers. A user with fewer
    than three interactions stays wholly in train and has no target. Repeated items are kept, so
    a target may also occur in the user's history.
    """
    lengths = interactions.lengths()
    users = interactions.users()
    place = torch.arange(len(interactions), device=interactions.device)
    from_end = interactions.offsets[1:][users] - 1 - place
    part = (2 - from_end).clamp(min=0)
    return split_by_part(interactions, part.where(lengths[users] >= 3, torch.zeros_like(part)))


def random_ratio_per_user(
    interactions: Interactions,
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    *,
    seed: int,
) -> InteractionSplit:
    """Deal each user's interactions at random into train, validation and test.

    Of a user's n interactions, test and validation get `floor(fraction * n)` each, and at least
    one where their fraction is not zero and train keeps one (test is served first); train gets
    the rest. So n = 1 is all train, n = 2 has one test target, n = 3 has one of each. This is
    RecBole's rule for `RS` splits grouped by user.

    Args:
        interactions: without repeated pairs (`Interactions.unique`), or a pair leaks.
        fractions: of train, validation, test; each in [0, 1], sum 1, train above 0.
        seed: same seed, same split, on any device.

    Raises:
        DataError: `fractions` are not three numbers as above.
    """
    _check_fractions(fractions)
    generator = torch.Generator().manual_seed(seed)
    return split_by_part(interactions, random_parts(interactions, fractions, generator))


def random_parts(
    interactions: Interactions, fractions: Sequence[float], generator: torch.Generator
) -> Tensor:
    """The part of each interaction that `random_ratio_per_user` deals it to: int64 (N,) in 0..2."""
    users = interactions.users().cpu()
    draw = draw_within(users, generator)
    validation, test = _held_out(interactions.offsets.cpu().diff(), fractions)
    part = (draw < (test + validation)[users]).long() + (draw < test[users]).long()
    return part.to(interactions.device)


def draw_within(owners: Tensor, generator: torch.Generator) -> Tensor:
    """A random place of each entry among those of the same owner: int64 (N,), from 0; on the CPU.

    Args:
        owners: int64 (N,), numbers >= 0.
        generator: on the CPU.
    """
    shuffled = torch.randperm(len(owners), generator=generator)
    # Each owner's entries in random order, owners in order.
    grouped = shuffled[torch.sort(owners[shuffled], stable=True).indices]
    counts = torch.bincount(owners)
    first = (counts.cumsum(0) - counts)[owners[grouped]]
    draw = torch.empty_like(grouped)
    draw[grouped] = torch.arange(len(owners)) - first
    return draw


def ordered_ratio_per_user(
    interactions: Interactions, fractions: Sequence[float] = (0.8, 0.1, 0.1)
) -> InteractionSplit:
    """Cut each user's history in time order: the latest share for test, the one before validation.

    The sizes are those of `random_ratio_per_user` (RecBole's `RS` with order `TO`).

    Raises:
        DataError: `fractions` are not three numbers as there.
    """
    _check_fractions(fractions)
    lengths = interactions.lengths()
    validation, test = _held_out(lengths, fractions)
    users = interactions.users()
    place = torch.arange(len(interactions), device=interactions.device)
    from_end = interactions.offsets[1:][users] - 1 - place
    part = (from_end < (test + validation)[users]).long() + (from_end < test[users]).long()
    return split_by_part(interactions, part)


def global_time(
    interactions: Interactions, fractions: Sequence[float] = (0.8, 0.1, 0.1)
) -> InteractionSplit:
    """Cut the whole log at two moments, the same for all users.

    The moments are the times by which `fractions` of the interactions have happened; everything
    of one instant falls in the same part, so the parts may differ from the fractions where many
    times are equal. The only split here in which nothing of the future is trained on: leaving
    one out trains on what other users did after the target (Ji et al. 2023, arXiv 2010.11060).

    Raises:
        DataError: `fractions` are not three numbers as in `random_ratio_per_user`, the log has no
            times, or all its times are equal.
    """
    _check_fractions(fractions)
    if interactions.times is None:
        raise DataError(
            f"a split by time needs the time of every interaction (got none in "
            f"'{interactions.name}')"
        )
    times = interactions.times
    ordered = times.sort().values
    if bool(ordered[0] == ordered[-1]):
        raise DataError(
            f"a split by time needs different times (got {ordered[0].item()} only in "
            f"'{interactions.name}')"
        )
    last = len(ordered) - 1
    first_held = min(last, round(fractions[0] * len(ordered)))
    first_test = min(last, round((fractions[0] + fractions[1]) * len(ordered)))
    part = (times >= ordered[first_held]).long()
    if fractions[2] > 0:
        part += (times >= ordered[first_test]).long() * part
    return split_by_part(interactions, part)


def first_targets(split: InteractionSplit) -> InteractionSplit:
    """The same split with only the earliest held-out interaction of each user as target.

    What comes right after the known history; the others stay out of every part, except that
    all of validation belongs to the history at test time.
    """

    def earliest(log: Interactions) -> Interactions:
        place = torch.arange(len(log), device=log.device)
        return log.select(place == log.offsets[:-1][log.users()])

    return replace(split, validation=earliest(split.validation), test=earliest(split.test))


def _check_fractions(fractions: Sequence[float]) -> None:
    if (
        len(fractions) != 3
        or min(fractions) < 0
        or fractions[0] <= 0
        or abs(sum(fractions) - 1) > 1e-6
    ):
        raise DataError(
            "fractions must be three numbers >= 0 with sum 1 and a train part above 0 "
            f"(got {tuple(fractions)})"
        )


def _held_out(lengths: Tensor, fractions: Sequence[float]) -> tuple[Tensor, Tensor]:
    """How many interactions of each user are for validation and for test."""
    test = _share(lengths, fractions[2], lengths - 1)
    return _share(lengths, fractions[1], lengths - 1 - test), test


def _share(lengths: Tensor, fraction: float, available: Tensor) -> Tensor:
    """`floor(fraction * n)`, at least 1 where the fraction is not 0, at most `available`."""
    # The small number undoes binary rounding, as in 0.29 * 100 = 28.999...
    share = (fraction * lengths.double() + 1e-9).floor().long()
    if fraction > 0:
        share = share.clamp(min=1)
    return torch.minimum(share, available.clamp(min=0))


def split_by_part(interactions: Interactions, part: Tensor) -> InteractionSplit:
    """Cut by `part` (N,): 0 train, 1 validation, 2 test."""
    return InteractionSplit(
        train=interactions.select(part == 0),
        validation=interactions.select(part == 1),
        test=interactions.select(part == 2),
        history=interactions.select(part < 2),
    )


def leakage(split: InteractionSplit) -> dict[str, int | None]:
    """Count what a split lets through; a clean split has zeros only.

    Returns:
        `train-validation`, `train-test`, `validation-test`: (user, item) pairs found in both
        parts (expected in a sequence split of a log with repeated items); `time`: targets older
        than the newest interaction of the same user in the part before (expected in random
        splits; None where the log has no times).
    """
    keys = {
        "train": split.train.pair_keys(),
        "validation": split.validation.pair_keys(),
        "test": split.test.pair_keys(),
    }
    found: dict[str, int | None] = {
        f"{first}-{second}": int(torch.isin(keys[first], keys[second]).sum())
        for first, second in (("train", "validation"), ("train", "test"), ("validation", "test"))
    }
    timed = split.history.times is not None
    found["time"] = (
        _older(split.train, split.validation) + _older(split.history, split.test) if timed else None
    )
    return found


def trained_on_the_future(split: InteractionSplit) -> int | None:
    """Training interactions, of anybody, that are newer than the oldest test target.

    Every split but `global_time` has some; a model that learned from them knows trends that
    nobody knew when the target was taken. None for a log without times: nothing tells.
    """
    train, test = split.train.times, split.test.times
    if train is None or test is None:
        return None
    if len(test) == 0:
        return 0
    return int((train > test.min()).sum())


def _older(before: Interactions, after: Interactions) -> int:
    """Interactions in `after` that are older than the user's newest one in `before`."""
    if before.times is None or after.times is None:
        return 0
    users = after.users()
    known = before.lengths()[users] > 0
    newest = before.times[before.offsets[1:][users[known]] - 1]
    return int((after.times[known] < newest).sum())
