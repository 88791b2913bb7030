"""Next-item recommendation: leave the last items of each user out, full ranking."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np

from graphcl.evaluate.contract import Sealed, Split, Task
from graphcl.methods.contract import Method
from recsys.data import leave_one_out, load_interactions
from recsys.evaluate.full_ranking import (
    Holdout,
    SeenPolicy,
    item_coverage,
    mean_metrics,
    rank_users,
)
from recsys.evaluate.items import check_targets, describe, item_snapshot
from recsys.methods.contract import Recommender

CUTOFFS = (5, 10, 20)
COVERAGE_CUTOFF = 20
MASKS: dict[str, SeenPolicy] = {
    "leave-one-out": "history_keep_target",
    "leave-one-out-keep-seen": "none",
}


class NextItem(Task):
    """Predict the item that each user takes next.

    The two protocols rank different candidates and must never share a table: on MovieLens-100k,
    leaving seen items out raises the same model's hit@10 by more than half.
    """

    name: ClassVar[str] = "next-item"
    metric: ClassVar[str] = "ndcg@10"
    headline: ClassVar[tuple[str, ...]] = ("ndcg@10", "hit@10", "mrr", "coverage@20")
    protocols: ClassVar[dict[str, str]] = {
        "leave-one-out": (
            "last item for test, the one before for validation; every item is ranked except the "
            "user's history (a target is ranked even if taken before); all users with three "
            "interactions; selection on validation ndcg@10"
        ),
        "leave-one-out-keep-seen": (
            "as leave-one-out, but items of the user's history are ranked too (the protocol of "
            "RecBole's sequential models)"
        ),
    }
    baselines: ClassVar[tuple[str, ...]] = ("popularity",)

    def load(
        self, dataset: str, protocol: str | None, seed: int, data_root: Path | None = None
    ) -> Split:
        """Read a log and split it; the split does not depend on `seed`.

        Raises:
            UnknownNameError, MissingDataError, DataError: no such data set or protocol, or a log
                that cannot be read, or in which no user has three interactions.
        """
        chosen = self.resolve_protocol(protocol)
        log = load_interactions(dataset, data_root)
        parts = leave_one_out(log)
        check_targets(parts.test, "test")
        facts: dict[str, Any] = {
            "name": chosen,
            "split": "leave one out: last item test, last but one validation",
            "order": "time, then file order" if log.times is not None else "file order",
            "minimum_rating": None,
            "repetitions": "kept",
            "users": log.num_users,
            "items": log.num_items,
            "interactions": len(log),
            "users_tested": int((parts.test.lengths() > 0).sum()),
            "candidates": "all items",
            "history": "train at validation, train and validation at test",
            "mask_seen": MASKS[chosen],
            "ties": "mean",
            "average": "over users with a target",
            "selection": f"validation {self.metric}",
        }
        return Split(
            train=parts.train,
            validation=Holdout(parts.train, parts.validation),
            test=Sealed(Holdout(parts.history, parts.test)),
            dataset=describe(log),
            protocol=facts,
        )

    def validate(self, method: Method, split: Split) -> dict[str, float]:
        """Hit rate, NDCG, recall (equal to the hit rate) and precision at 5, 10, 20, and `mrr`."""
        return mean_metrics(self._rank(method, split, split.validation))

    def test(self, method: Method, split: Split) -> dict[str, float]:
        """The metrics of `validate` and `coverage@20`, the share of items in some user's top 20.

        Raises:
            SealedError: the test part was opened before.
        """
        holdout = split.test.open()
        metrics = mean_metrics(self._rank(method, split, holdout))
        metrics[f"coverage@{COVERAGE_CUTOFF}"] = item_coverage(
            cast(Recommender, method),
            holdout,
            COVERAGE_CUTOFF,
            mask_seen=split.protocol["mask_seen"],
        )
        return metrics

    def snapshot(self, method: Method, split: Split) -> dict[str, np.ndarray]:
        """Item embeddings coloured by popularity; see `recsys.evaluate.items.item_snapshot`."""
        return item_snapshot(cast(Recommender, method), split.train)

    def _rank(self, method: Method, split: Split, holdout: Holdout) -> dict[str, Any]:
        return rank_users(
            cast(Recommender, method), holdout, CUTOFFS, mask_seen=split.protocol["mask_seen"]
        )
