"""Interaction logs: the store, readers, filters, splits and batches of histories."""

from recsys.data.atomic import write_recbole
from recsys.data.audit import audit
from recsys.data.building import from_ids
from recsys.data.features import Feature, Labels, Numbers
from recsys.data.filters import k_core
from recsys.data.interactions import Interactions
from recsys.data.load import load_interactions
from recsys.data.published import load_published_split
from recsys.data.readers import (
    from_dataframe,
    read_interactions,
    read_lines,
    read_parquet,
    read_recbole,
    read_table,
)
from recsys.data.sequences import flat_histories, pad_histories
from recsys.data.splits import (
    InteractionSplit,
    first_targets,
    global_time,
    leakage,
    leave_one_out,
    ordered_ratio_per_user,
    random_ratio_per_user,
    trained_on_the_future,
)

__all__ = [
    "Feature",
    "InteractionSplit",
    "Interactions",
    "Labels",
    "Numbers",
    "audit",
    "first_targets",
    "flat_histories",
    "from_dataframe",
    "from_ids",
    "global_time",
    "k_core",
    "leakage",
    "leave_one_out",
    "load_interactions",
    "load_published_split",
    "ordered_ratio_per_user",
    "pad_histories",
    "random_ratio_per_user",
    "read_interactions",
    "read_lines",
    "read_parquet",
    "read_recbole",
    "read_table",
    "trained_on_the_future",
    "write_recbole",
]
