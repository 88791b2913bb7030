"""Next-item recommendation: leave the last items of each user out, full ranking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np

from graphcl.evaluate.contract import Sealed, Split
from graphcl.methods.contract import Method
from recsys.data import (
    Interactions,
    InteractionSplit,
    audit,
    first_targets,
    global_time,
    leave_one_out,
    load_interactions,
    trained_on_the_future,
)
from recsys.data.columns import LONGEST_NAME
from recsys.data.delimited import one_line
from recsys.evaluate.examples import example_lists
from recsys.evaluate.full_ranking import Evaluation, Holdout, SeenPolicy, evaluate_users
from recsys.evaluate.items import (
    check_items,
    check_targets,
    describe,
    item_snapshot,
    three_interactions,
    times_apart,
)
from recsys.evaluate.lists import coverage, popularity_percentile
from recsys.evaluate.recommender import Known, RecommenderTask
from recsys.methods.contract import Recommender

CUTOFFS = (5, 10, 20)
LIST_LENGTH = 20
"""Of the lists whose coverage and popularity are measured."""
UNTIMED = "unknown (no times)"
"""What is counted by comparing times, in a log without them."""
MASKS: dict[str, SeenPolicy] = {
    "leave-one-out": "history_keep_target",
    "leave-one-out-keep-seen": "none",
    "leave-one-out-last-epoch": "history_keep_target",
    "global-time": "history_keep_target",
}
OTHER_MASK: dict[SeenPolicy, tuple[str, SeenPolicy]] = {
    "history_keep_target": ("keep-seen", "none"),
    "none": ("mask-seen", "history_keep_target"),
}
"""What the other half of the field does with seen items, and how its metrics are called."""
SPLITS: dict[str, str] = {
    "leave-one-out": "leave one out: last item test, last but one validation",
    "leave-one-out-keep-seen": "leave one out: last item test, last but one validation",
    "leave-one-out-last-epoch": "leave one out: last item test, all else train; no validation",
    "global-time": "two moments for all users, after 80 and 90 % of the interactions; targets are "
    "the first item of each user after a moment",
}


class NextItem(RecommenderTask):
    """Predict the item that each user takes next.

    Numbers with seen items among the candidates must never be compared with numbers without: on
    MovieLens-100k, leaving them out raises the same model's hit@10 by more than half.
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
        "leave-one-out-last-epoch": (
            "the test of leave-one-out, but its validation items are trained on too, for all "
            "epochs (patience stops nothing): for the epochs and settings that leave-one-out "
            "chose. A model is then one item nearer to its test and its numbers a tenth or so "
            "higher: compare them with others of this protocol only"
        ),
        "global-time": (
            "train on what happened before a moment, validate on each user's first item after it, "
            "test on the first after a later moment (80 and 90 % of the interactions): nothing "
            "of the future is trained on; every item but the user's history is ranked"
        ),
    }
    baselines: ClassVar[tuple[str, ...]] = ("popularity",)

    def load(
        self,
        dataset: str,
        protocol: str | None,
        seed: int,
        data_root: Path | None = None,
        columns: Mapping[str, str] | None = None,
    ) -> Split:
        """Read a log and split it; the split does not depend on `seed`.

        Raises:
            UnknownNameError, MissingDataError, DataError: no such data set or protocol, or a log
                that cannot be read, that has one item only, or that leaves nobody a target.
        """
        chosen = self.resolve_protocol(protocol, dataset)
        log = load_interactions(dataset, data_root, columns)
        check_items(log)
        if chosen == "global-time":
            parts = first_targets(global_time(log))
            needs = times_apart
            check_targets(parts.validation, "validation", log, needs)
        else:
            needs = three_interactions
            parts = leave_one_out(log)
        chooses = chosen != "leave-one-out-last-epoch"
        if not chooses:
            parts = replace(parts, train=parts.history)
        check_targets(parts.test, "test", log, needs)
        facts: dict[str, Any] = {
            "name": chosen,
            "split": SPLITS[chosen],
            "order": _order(log),
            "minimum_rating": None,
            "repetitions": "kept",
            "users": log.num_users,
            "items": log.num_items,
            "interactions": len(log),
            **_counts(log, parts),
            "candidates": "all items",
            "history": "train at validation, train and validation at test" if chooses else "train",
            "mask_seen": MASKS[chosen],
            "ties": "mean",
            "average": "over users with a target",
            "selection": f"validation {self.metric}" if chooses else "none: the last epoch",
        }
        return Split(
            train=parts.train,
            validation=Holdout(parts.train, parts.validation) if chooses else None,
            test=Sealed(Holdout(parts.history, parts.test)),
            dataset=describe(log),
            protocol=facts,
            extra={"known": Sealed(Known(log))},
        )

    def validate(self, method: Method, split: Split) -> dict[str, float]:
        """Hit rate, NDCG, reciprocal rank, recall and precision at 5, 10, 20, and `mrr`.

        With one target a user, recall equals the hit rate.
        """
        return self._evaluate(method, split, split.validation).means()

    def test(self, method: Method, split: Split) -> dict[str, float]:
        """The metrics of `validate`, and what the users' top 20 are like.

        `coverage@20` is the share of items in some list, `popularity@20` the mean popularity
        percentile of what is listed (0.5 in random lists): a description, not a merit. Names that
        end in `keep-seen` or `mask-seen` are of the same model where seen items are treated the
        other way, to be laid beside papers that do; training stopped by the protocol's own.

        Raises:
            SealedError: the test part was opened before.
        """
        holdout = split.test.open()
        found = self._evaluate(method, split, holdout, LIST_LENGTH)
        ending, mask_seen = OTHER_MASK[split.protocol["mask_seen"]]
        other = evaluate_users(
            cast(Recommender, method), holdout, CUTOFFS, mask_seen=mask_seen
        ).means()
        bias = popularity_percentile(found.recommended, split.train.item_counts().cpu())
        return {
            **found.means(),
            f"coverage@{LIST_LENGTH}": coverage(found.recommended),
            f"popularity@{LIST_LENGTH}": bias,
            **{f"{name}-{ending}": other[name] for name in ("hit@10", "ndcg@10")},
        }

    def snapshot(self, method: Method, split: Split) -> dict[str, np.ndarray]:
        """`recsys.evaluate.items.item_snapshot` and `recsys.evaluate.examples.example_lists`."""
        recommender, mask_seen = cast(Recommender, method), split.protocol["mask_seen"]
        return {
            **item_snapshot(recommender, split.train, split.test.opened()),
            **example_lists(recommender, split.test.opened(), mask_seen),
        }

    def _evaluate(
        self, method: Method, split: Split, holdout: Holdout, list_length: int = 0
    ) -> Evaluation:
        return evaluate_users(
            cast(Recommender, method),
            holdout,
            CUTOFFS,
            mask_seen=split.protocol["mask_seen"],
            list_length=list_length,
        )


def _order(log: Interactions) -> str:
    if log.times is not None:
        return "time, then file order"
    if log.unread_times is None:
        read = "" if log.ratings is None else " (no column of times was read, one of ratings was)"
        return f"file order{read}"
    name = one_line(log.unread_times)[:LONGEST_NAME]
    return f"file order (the column '{name}' was not read; --time-col names a column of times)"


def _counts(log: Interactions, parts: InteractionSplit) -> dict[str, int | str]:
    """Who and what is tested, and what a reader of the numbers should know."""
    of_times = {"trained_on_the_future": trained_on_the_future(parts), **audit(log)}
    tested = parts.test.lengths() > 0
    trained_items = parts.train.item_counts() > 0
    return {
        "users_tested": int(tested.sum()),
        "users_without_target": int((~tested).sum()),
        "users_tested_without_history": int((tested & (parts.history.lengths() == 0)).sum()),
        "targets_never_trained_on": int((~trained_items[parts.test.items.long()]).sum()),
        # None would read as none of them.
        **{key: UNTIMED if count is None else count for key, count in of_times.items()},
    }
