"""Top-k recommendation from a log without order: random split per user, full ranking."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
from torch import Tensor

from graphcl.errors import DataError
from graphcl.evaluate.contract import Sealed, Split
from graphcl.methods.contract import Method
from recsys.data import load_interactions, random_ratio_per_user
from recsys.evaluate.examples import example_lists
from recsys.evaluate.full_ranking import Holdout, item_coverage, mean_metrics, rank_users
from recsys.evaluate.items import check_targets, describe, item_snapshot
from recsys.evaluate.recommender import Known, RecommenderTask
from recsys.methods.contract import Recommender

MINIMUM_RATING = 3.0
FRACTIONS = (0.8, 0.1, 0.1)
CUTOFFS = (5, 10, 20, 50)
COVERAGE_CUTOFF = 20


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
        """Read a log and split it; the split changes with `seed`.

        Raises:
            UnknownNameError, MissingDataError, DataError: no such data set or protocol, or a log
                that cannot be read, or in which nothing can be held out.
        """
        chosen = self.resolve_protocol(protocol)
        log = load_interactions(dataset, data_root, columns)
        liked = log.where(MINIMUM_RATING)
        if len(liked) == 0:
            raise DataError(
                f"protocol {chosen} drops interactions rated below {MINIMUM_RATING:g}, and those "
                f"are all {len(log)} of '{log.name}' (got ratings up to "
                f"{float(cast(Tensor, log.ratings).max()):g}); rescale the ratings, or leave the "
                "column out to use every interaction"
            )
        used = liked.unique().compact()
        # Numbered as `used`, with what was rated too low to learn from.
        seen = log.among(liked.lengths() > 0, liked.item_counts() > 0)
        parts = random_ratio_per_user(used, FRACTIONS, seed=seed)
        check_targets(parts.validation, "validation")
        check_targets(parts.test, "test")
        facts: dict[str, Any] = {
            "name": chosen,
            "split": "random per user, 8:1:1; a held-out part has floor(n / 10) items, at least "
            "one for users with three",
            "split_seed": "the run's seed",
            "minimum_rating": None if log.ratings is None else MINIMUM_RATING,
            "dropped_by_rating": len(log) - len(liked),
            "repetitions": "removed",
            "users": used.num_users,
            "items": used.num_items,
            "interactions": len(used),
            "users_tested": int((parts.test.lengths() > 0).sum()),
            "candidates": "all items",
            "mask_seen": "train at validation, train and validation at test",
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
            extra={"known": Sealed(Known(used, seen))},
        )

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
