"""What the recommended lists are like, beside whether they are right."""

from __future__ import annotations

import torch
from torch import Tensor


def coverage(recommended: Tensor) -> float:
    """The share of all items that are in some list.

    Args:
        recommended: integers (num_items,): the lists that hold each item.
    """
    return float((recommended > 0).double().mean()) if len(recommended) else 0.0


def popularity_percentile(recommended: Tensor, counts: Tensor) -> float:
    """The mean popularity rank of what is recommended, in [0, 1]; popularity bias.

    An item's rank is the share of the other items that have fewer training interactions, equal
    ones counted by half: 0.5 is what random lists have, 1 are the most popular items for all.
    The average recommendation popularity of Yin et al. (VLDB 2012), of ranks instead of counts,
    so that data sets can be compared.

    Args:
        recommended: integers (num_items,): the lists that hold each item.
        counts: integers (num_items,): training interactions of each item.
    """
    total = int(recommended.sum())
    if total == 0 or len(counts) < 2:
        return 0.5
    _, group, sizes = torch.unique(counts, return_inverse=True, return_counts=True)
    below = sizes.cumsum(0) - sizes
    rank = (below + (sizes - 1) / 2).double() / (len(counts) - 1)
    return float((rank[group] * recommended).sum() / total)


def bootstrap_interval(
    values: Tensor, level: float = 0.95, samples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """The bootstrap percentile interval of a mean over users (Efron 1979).

    How far the number would move with other users of the same kind; it says nothing about other
    seeds of the training.

    Args:
        values: floating (users,), such as `rank_users(...)["ndcg@10"]`.
        level: the share of resampled means inside.
        samples: how many means are resampled.
        seed: of the resampling.
    """
    generator = torch.Generator().manual_seed(seed)
    values = values.double().cpu()
    means = [
        values[torch.randint(len(values), (len(values),), generator=generator)].mean()
        for _ in range(samples)
    ]
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = torch.stack(means).quantile(ends).tolist()
    return low, high
