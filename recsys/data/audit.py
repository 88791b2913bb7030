"""What a log holds that a reader of its numbers should know, counted."""

from __future__ import annotations

import torch

from recsys.data.interactions import Interactions


def audit(interactions: Interactions) -> dict[str, int | None]:
    """Count what is unusual; nothing is changed.

    Returns:
        `repeated_events`: interactions that equal an earlier one of the same user in item and
        time (without times: that follow the same item directly), as a log exported twice has;
        `repeated_pairs`: interactions with an item that the user took before;
        `equal_times`: interactions whose place in the history only the order of the file decides
        among others of the same time (None without times: there it decides every place);
        `users_below_three`: users with interactions from whom nothing can be left out.
    """
    users, items, times = interactions.users(), interactions.items, interactions.times
    lengths = interactions.lengths()
    same_user = users[1:] == users[:-1]
    equal: int | None
    if times is None:
        equal = None
        events = int((same_user & (items[1:] == items[:-1])).sum())
    else:
        together = same_user & (times[1:] == times[:-1])
        equal = int(together.sum())
        # Moments are numbered; within one, equal items need not be neighbours.
        moment = torch.nn.functional.pad((~together).long().cumsum(0), (1, 0))[: len(items)]
        events = len(items) - len(torch.unique(moment * interactions.num_items + items))
    return {
        "repeated_events": events,
        "repeated_pairs": len(interactions) - len(interactions.pair_keys()),
        "equal_times": equal,
        "users_below_three": int(((lengths > 0) & (lengths < 3)).sum()),
    }
