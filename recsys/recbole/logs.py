"""RecBole's data sets as our logs; users and items are numbered from 0, there from 1."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from recsys.data.features import Feature, Labels, Numbers
from recsys.data.interactions import Interactions


def interactions_of(dataset: Any, *, sequential: bool = False) -> Interactions:
    """The interactions of one of RecBole's built data sets, with its features.

    Args:
        dataset: a `Dataset`, such as `train_data.dataset`.
        sequential: it is a `SequentialDataset`, whose rows are a history and the item that
            follows; the histories are put together again.

    Returns:
        The log; its ids are RecBole's tokens. Only features that RecBole was told to load
        (`load_col`) are there.
    """
    users, items = dataset.inter_feat[dataset.uid_field], dataset.inter_feat[dataset.iid_field]
    times = dataset.inter_feat[dataset.time_field] if _has_times(dataset) else None
    if sequential:
        first = _earliest(users, dataset.inter_feat[dataset.item_list_length_field] == 1, times)
        users = torch.cat([users[first], users])
        items = torch.cat([dataset.inter_feat[dataset.item_id_list_field][first, 0], items])
        if times is not None:
            times = torch.cat([dataset.inter_feat[f"{dataset.time_field}_list"][first, 0], times])
    log = Interactions.from_indices(
        users - 1,
        items - 1,
        times=times,
        num_users=dataset.user_num - 1,
        num_items=dataset.item_num - 1,
        user_ids=np.array(dataset.field2id_token[dataset.uid_field][1:]),
        item_ids=np.array(dataset.field2id_token[dataset.iid_field][1:]),
        name=dataset.dataset_name,
    )
    return log.with_features(
        _features(dataset, dataset.user_feat, dataset.uid_field, log.num_users),
        _features(dataset, dataset.item_feat, dataset.iid_field, log.num_items),
    )


def histories_of(items: Tensor, lengths: Tensor, num_items: int) -> Interactions:
    """RecBole's padded histories (B, L), numbered from 1, as the log of users 0 .. B - 1."""
    rows = len(items)
    real = torch.arange(items.shape[1], device=items.device) < lengths[:, None]
    zero = lengths.new_zeros(1)
    return Interactions(
        offsets=torch.cat((zero, lengths.cumsum(0))),
        items=(items[real] - 1).int(),
        user_ids=np.arange(rows),
        item_ids=np.arange(num_items),
    )


def _earliest(users: Tensor, begins: Tensor, times: Tensor | None) -> Tensor:
    """The row of each user that its history begins with, int64; without times the upper one.

    Where RecBole keeps one item of a history, every row looks like the first.
    """
    rows = torch.nonzero(begins).flatten()
    if times is not None:
        rows = rows[torch.sort(times[rows], stable=True).indices]
    rows = rows[torch.sort(users[rows], stable=True).indices]
    later = torch.zeros_like(rows, dtype=torch.bool)
    later[1:] = users[rows][1:] == users[rows][:-1]
    return rows[~later]


def _has_times(dataset: Any) -> bool:
    return dataset.time_field is not None and dataset.time_field in dataset.inter_feat


def _features(dataset: Any, table: Any, key: str, count: int) -> dict[str, Feature]:
    """Every column of a user or item table but its key; row 0 is padding."""
    found: dict[str, Feature] = {}
    for name in [] if table is None else table.columns:
        if name == key:
            continue
        values = table[name][1 : count + 1]
        kind = str(dataset.field2type[name].value)
        if kind.startswith("token"):
            tokens = dataset.field2id_token[name]
            lists = values[:, None] if values.dim() == 1 else values
            found[name] = Labels.from_lists(
                [[str(tokens[number]) for number in row if number > 0] for row in lists.tolist()]
            )
        else:
            found[name] = Numbers(values.reshape(count, -1).float())
    return found
