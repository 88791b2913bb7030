"""Interaction logs: the store, readers, filters, splits and batches of histories."""

from recsys.data.building import from_ids
from recsys.data.filters import k_core
from recsys.data.interactions import Interactions
from recsys.data.load import load_interactions
from recsys.data.readers import (
    from_dataframe,
    read_interactions,
    read_lines,
    read_parquet,
    read_recbole,
    read_table,
)
from recsys.data.sequences import flat_histories, pad_histories
from recsys.data.splits import InteractionSplit, leakage, leave_one_out, random_ratio_per_user

__all__ = [
    "InteractionSplit",
    "Interactions",
    "flat_histories",
    "from_dataframe",
    "from_ids",
    "k_core",
    "leakage",
    "leave_one_out",
    "load_interactions",
    "pad_histories",
    "random_ratio_per_user",
    "read_interactions",
    "read_lines",
    "read_parquet",
    "read_recbole",
    "read_table",
]
