"""What both recommender tasks tell a result and a report about the items."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from graphcl.errors import DataError
from recsys.data.features import describe_features
from recsys.data.interactions import Interactions
from recsys.evaluate.full_ranking import device_of
from recsys.methods.contract import Recommender

LARGEST_SNAPSHOT = 3000


def describe(log: Interactions) -> dict[str, Any]:
    """Name, content hash and size of a log and its features, for `result.json`."""
    features = {
        kind: describe_features(found)
        for kind, found in (("user", log.user_features), ("item", log.item_features))
        if found
    }
    return {
        "name": log.name,
        "hash": log.content_hash(),
        "users": log.num_users,
        "items": log.num_items,
        "interactions": len(log),
        **({"features": features} if features else {}),
    }


def check_items(log: Interactions) -> None:
    """Refuse a log in which there is nothing to rank.

    Raises:
        DataError: it has one item only.
    """
    if log.num_items < 2:
        raise DataError(
            f"'{log.name}' has one item only, so there is nothing to rank (got "
            f"'{log.item_ids[0]}' in all {len(log)} interactions)"
        )


def check_targets(log: Interactions, what: str) -> None:
    """Refuse a split in which nobody has a target.

    Raises:
        DataError: `log` is empty.
    """
    if len(log) == 0:
        raise DataError(
            f"'{log.name}' leaves no {what} items under this protocol; "
            "it needs users with at least three interactions"
        )


def item_snapshot(method: Recommender, train: Interactions) -> dict[str, np.ndarray]:
    """Embeddings of the items with the most interactions, coloured by how many they have.

    Returns:
        `embedding` float32 (n, d) with n <= 3000, `colour` (n,) log10 of the training
        interactions, `colour_name`, and `label` (n,): titles, or ids where there are none.
        Items without a training interaction are left out.
    """
    counts = train.item_counts().cpu()
    order = torch.sort(counts, descending=True, stable=True).indices
    chosen = order[counts[order] > 0][:LARGEST_SNAPSHOT]
    with torch.no_grad():
        embedding = method.embed(train.to(device_of(method)))
    names = train.item_ids if train.titles is None else train.titles
    return {
        "embedding": embedding.detach().float().cpu()[chosen].numpy(),
        "colour": np.log10(counts[chosen].numpy()),
        "colour_name": np.array("log10 of the item's training interactions"),
        "label": np.array([str(name) for name in names[chosen.numpy()]]),
    }
