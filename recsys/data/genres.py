"""Genres as MovieLens writes them: joined by `|`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from recsys.data.features import Labels

NO_GENRES = "(no genres listed)"
"""What MovieLens writes of a film without."""


def genre_labels(item_ids: np.ndarray, listed: Mapping[str, str]) -> Labels:
    """The genres of every item, by its id; an item that is not listed has none."""
    found = [str(listed.get(str(item), "")).strip() for item in item_ids]
    return Labels.from_lists(
        [
            [] if text == NO_GENRES else [part.strip() for part in text.split("|") if part.strip()]
            for text in found
        ]
    )
