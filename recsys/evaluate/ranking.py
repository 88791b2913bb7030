"""Top-k recommendation from a log without order: a split per user, full ranking."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
from torch import Tensor

from graphcl.data import card_names, published_protocol
from graphcl.errors import DataError
from graphcl.evaluate.contract import Sealed, Split
from graphcl.methods.contract import Method
from recsys.data import (
    Interactions,
    InteractionSplit,
    load_interactions,
    load_published_split,
    random_ratio_per_user,
)
from recsys.evaluate.examples import example_lists
from recsys.evaluate.full_ranking import Holdout, item_coverage, mean_metrics, rank_users
from recsys.evaluate.items import check_targets, describe, item_snapshot, three_interactions
from recsys.evaluate.recommender import Known, RecommenderTask
from recsys.methods.contract import Recommender

MINIMUM_RATING = 3.0
FRACTIONS = (0.8, 0.1, 0.1)
CUTOFFS = (5, 10, 20, 50)
COVERAGE_CUTOFF = 20
PUBLISHED: dict[str, str] = {
    "lightgcn-split": (
        "train and test as published with NGCF and LightGCN; a tenth of each user's training "
        "items, dealt at random, is validation, by which a model is chosen (the authors choose "
        "by the test part and train on all); every item but the user's known ones is ranked"
    ),
    "mmssl-split": (
        "train, validation and test as published with MMSSL (one test item for each tested "
        "user); every item but the user's known ones is ranked; selection on validation "
        "recall@20 (the test of MMSSL and MMHCL also ranks the user's validation items)"
    ),
}
"""Protocols that are files, and so belong to the data sets whose cards name them."""


class Ranking(RecommenderTask):
    """Rank all unseen items for each user; the order in which a user took them is not used."""

    name: ClassVar[str] = "ranking"
    metric: ClassVar[str] = "recall@20"
    headline: ClassVar[tuple[str, ...]] = ("recall@20", "ndcg@20", "hit@10", "coverage@20")
    protocols: ClassVar[dict[str, str]] = {
        "random-8-1-1": (
            "ratings >= 3 (all interactions where there are no ratings), repetitions removed, "
            "each user's items dealt 8:1:1 at random; every item but the user's known ones is "
            "ranked; mean over users with a held-out item; selection on validation recall@20"
        ),
        **PUBLISHED,
    }
    baselines: ClassVar[tuple[str, ...]] = ("popularity",)

    def default_protocol(self, dataset: str) -> str:
        """The split that `dataset` was published with, else `random-8-1-1`."""
        return published_protocol(dataset) or "random-8-1-1"

    def load(
        self,
        dataset: str,
        protocol: str | None,
        seed: int,
        data_root: Path | None = None,
        columns: Mapping[str, str] | None = None,
    ) -> Split:
        """Read a log and split it; what is dealt at random changes with `seed`.

        Raises:
            UnknownNameError, MissingDataError, DataError: no such data set or protocol, a
                published split of another data set, or a log that cannot be read, or in which
                nothing can be held out.
        """
        chosen = self.resolve_protocol(protocol, dataset)
        if chosen in PUBLISHED:
            _check_published(chosen, dataset)
            parts = load_published_split(dataset, data_root, seed=seed)
            log = load_interactions(dataset, data_root)
            facts = {"split": PUBLISHED[chosen], "split_seed": "the run's seed, where dealt"}
            return split_of(log, parts, {"name": chosen, **facts}, self.metric, Known(log))
        log = load_interactions(dataset, data_root, columns)
        used, known = liked(log, chosen)
        parts = random_ratio_per_user(used, FRACTIONS, seed=seed)
        facts = {
            "split": "random per user, 8:1:1; a held-out part has floor(n / 10) items, at "
            "least one for users with three",
            "split_seed": "the run's seed",
            **rating_facts(log),
        }
        return split_of(log, parts, {"name": chosen, **facts}, self.metric, known)

    def validate(self, method: Method, split: Split) -> dict[str, float]:
        """Recall, NDCG, hit rate, precision and reciprocal rank at 5, 10, 20, 50, and `mrr`."""
        return mean_metrics(rank_users(cast(Recommender, method), split.validation, CUTOFFS))

    def test(self, method: Method, split: Split) -> dict[str, float]:
        """The metrics of `validate` and `coverage@20`, the share of items in some user's top 20.

        Raises:
            SealedError: the test part was opened before.
        """
        recommender, holdout = cast(Recommender, method), split.test.open()
        metrics = mean_metrics(rank_users(recommender, holdout, CUTOFFS))
        metrics[f"coverage@{COVERAGE_CUTOFF}"] = item_coverage(
            recommender, holdout, COVERAGE_CUTOFF
        )
        return metrics

    def snapshot(self, method: Method, split: Split) -> dict[str, np.ndarray]:
        """`recsys.evaluate.items.item_snapshot` and `recsys.evaluate.examples.example_lists`."""
        recommender = cast(Recommender, method)
        return {
            **item_snapshot(recommender, split.train, split.test.opened()),
            **example_lists(recommender, split.test.opened()),
        }


def _check_published(protocol: str, dataset: str) -> None:
    if published_protocol(dataset) == protocol:
        return
    owners = [name for name in card_names() if published_protocol(name) == protocol]
    raise DataError(
        f"the protocol {protocol} is a split published with {', '.join(owners)} "
        f"(got '{dataset}'); random-8-1-1 splits any log"
    )


def liked(log: Interactions, protocol: str) -> tuple[Interactions, Known]:
    """What a protocol uses of a log: rated at least `MINIMUM_RATING`, without repetitions.

    Returns:
        the interactions, with users and items numbered anew, and all that is known of these.

    Raises:
        DataError: there is none.
    """
    kept = log.where(MINIMUM_RATING)
    if len(kept) == 0:
        raise DataError(
            f"protocol {protocol} drops interactions rated below {MINIMUM_RATING:g}, and those "
            f"are all {len(log)} of '{log.name}' (got ratings up to "
            f"{float(cast(Tensor, log.ratings).max()):g}); rescale the ratings, or leave the "
            "column out to use every interaction"
        )
    used = kept.unique().compact()
    # Numbered as `used`, with what was rated too low to learn from.
    return used, Known(used, log.among(kept.lengths() > 0, kept.item_counts() > 0))


def rating_facts(log: Interactions) -> dict[str, Any]:
    """What `liked` did, for a protocol's facts."""
    kept = log.where(MINIMUM_RATING)
    return {
        "minimum_rating": None if log.ratings is None else MINIMUM_RATING,
        "dropped_by_rating": len(log) - len(kept),
        "dropped_repetitions": len(kept) - len(kept.pair_keys()),
    }


def split_of(
    log: Interactions,
    parts: InteractionSplit,
    facts: dict[str, Any],
    metric: str,
    known: Known,
) -> Split:
    """A `Split` from the parts of `log`, and the facts that all rankings share.

    Raises:
        DataError: nobody has a validation target, or nobody a test target.
    """
    check_targets(parts.validation, "validation", log, three_interactions)
    check_targets(parts.test, "test", log, three_interactions)
    interactions = sum(len(part) for part in (parts.train, parts.validation, parts.test))
    return Split(
        train=parts.train,
        validation=Holdout(parts.train, parts.validation),
        test=Sealed(Holdout(parts.history, parts.test)),
        dataset=describe(log),
        protocol={
            **facts,
            "repetitions": "removed",
            "users": parts.train.num_users,
            "items": parts.train.num_items,
            "interactions": interactions,
            "users_tested": int((parts.test.lengths() > 0).sum()),
            "candidates": "all items",
            "mask_seen": "train at validation, train and validation at test",
            "ties": "mean",
            "average": "over users with a target",
            "selection": f"validation {metric}",
        },
        extra={"known": Sealed(known)},
    )
