"""What both recommender tasks tell a result and a report about the items."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from graphcl.config import fingerprint
from graphcl.diagnostics import alignment
from graphcl.errors import DataError
from graphcl.evaluate.snapshot import (
    LARGEST_SNAPSHOT,
    evenly,
    histogram_arrays,
    sampled_uniformity,
    spectrum_array,
)
from recsys.data.features import describe_features
from recsys.data.interactions import Interactions
from recsys.data.sequences import flat_histories
from recsys.evaluate.full_ranking import Holdout, device_of
from recsys.methods.contract import Recommender


def describe(log: Interactions) -> dict[str, Any]:
    """Name, content hash and size of a log and its features, for `result.json`."""
    sides = {"users": log.user_features, "items": log.item_features}
    features = {
        "features": "; ".join(
            f"{side}: {', '.join(found)}" for side, found in sides.items() if found
        ),
        "features_hash": fingerprint([describe_features(found) for found in sides.values()]),
    }
    return {
        "name": log.name,
        "hash": log.content_hash(),
        "users": log.num_users,
        "items": log.num_items,
        "interactions": len(log),
        **(features if any(sides.values()) else {}),
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


def check_targets(
    part: Interactions, what: str, log: Interactions, needs: Callable[[Interactions], str]
) -> None:
    """Refuse a split in which nobody has a target.

    Args:
        part: what is held out of `log`.
        what: its name.
        log: all there was.
        needs: words for what the protocol needs to hold something out, and for what it got.

    Raises:
        DataError: `part` is empty.
    """
    if len(part) == 0:
        raise DataError(
            f"'{part.name}' leaves no {what} items under this protocol; it needs {needs(log)}"
        )


def three_interactions(log: Interactions) -> str:
    """What a protocol that cuts every history needs, and what it got."""
    most = int(log.lengths().max()) if log.num_users else 0
    return f"users with at least three interactions that it uses (got at most {most} of one user)"


def times_apart(log: Interactions) -> str:
    """What a cut at two moments needs, and what it got."""
    times = torch.empty(0) if log.times is None else log.times
    most = max(torch.unique(times, return_counts=True)[1].tolist(), default=0)
    return (
        "different times, and enough of them to fill the last two tenths "
        f"(got {len(log)} interactions, up to {most} of them at one time)"
    )


def item_snapshot(
    method: Recommender, train: Interactions, holdout: Holdout
) -> dict[str, np.ndarray]:
    """Embeddings of the items with the most interactions, coloured by how many they have.

    Returns:
        `embedding` float32 (n, d) with n <= 3000, `colour` (n,) log10 of the training
        interactions, `colour_name`, and `label` (n,): titles, or ids where there are none.
        Items without a training interaction are left out. `spectrum` is that of all items;
        `alignment` and `uniformity` are there where the method has user `vectors`.
    """
    counts = train.item_counts().cpu()
    order = torch.sort(counts, descending=True, stable=True).indices
    chosen = order[counts[order] > 0][:LARGEST_SNAPSHOT]
    with torch.no_grad():
        embedding = method.embed(train.to(device_of(method))).detach().float().cpu()
    names = train.item_ids if train.titles is None else train.titles
    return {
        "embedding": embedding[chosen].numpy(),
        "colour": np.log10(counts[chosen].numpy()),
        "colour_name": np.array("log10 of the item's training interactions"),
        "label": np.array([str(name) for name in names[chosen.numpy()]]),
        **spectrum_array(embedding),
        **_plane(method, holdout),
        **histogram_arrays(method),
    }


def _plane(method: Recommender, holdout: Holdout) -> dict[str, np.ndarray]:
    """Alignment of users with what they took next, and uniformity (mean of users' and items').

    What DirectAU trains (Wang et al. 2022, arXiv 2206.12811), of at most 3000 test users.
    """
    device = device_of(method)
    history, targets = holdout.history.to(device), holdout.targets.to(device)
    users = torch.nonzero(targets.lengths() > 0).flatten()
    users = users[evenly(len(users), LARGEST_SNAPSHOT).to(device)]
    rows, items = flat_histories(targets, users)
    vectors = method.vectors(users, history)
    if vectors is None:
        return {}
    own, all_items = (part.detach().float() for part in vectors)
    spread = (sampled_uniformity(own) + sampled_uniformity(all_items)) / 2
    return {
        "alignment": np.array(float(alignment(own[rows], all_items[items.long()]))),
        "uniformity": np.array(spread),
        "positives": np.array("a user and an item that the test split holds of that user"),
    }
