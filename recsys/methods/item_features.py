"""Features that a method cannot do without."""

from __future__ import annotations

from collections.abc import Mapping

from graphcl.errors import DataError
from recsys.data.features import Feature
from recsys.data.interactions import Interactions


def needed_item_features(data: Interactions, method: str) -> Mapping[str, Feature]:
    """The features of the items of `data`, at least one.

    Raises:
        DataError: it has none; the message says how to give some.
    """
    if not data.item_features:
        raise DataError(
            f"{method} needs features of the items, and '{data.name}' has none; a RecBole .item "
            "file beside the .inter file gives them (columns of type float, float_seq, token or "
            "token_seq)"
        )
    return data.item_features
