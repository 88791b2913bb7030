"""Recommending what is new, or to whom is new: warm and cold measured apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from graphcl.evaluate.contract import Sealed, Split
from graphcl.methods.contract import Method
from recsys.data import Interactions, load_interactions
from recsys.data.cold_splits import Side, cold_split
from recsys.evaluate.full_ranking import (
    Holdout,
    device_of,
    item_coverage,
    mean_metrics,
    rank_users,
)
from recsys.evaluate.ranking import (
    COVERAGE_CUTOFF,
    CUTOFFS,
    Ranking,
    liked,
    rating_facts,
    split_of,
)
from recsys.methods.contract import Recommender

KEPT = (0, 1, 5)
APART = (10, 20)
"""Cutoffs at which warm and cold are measured apart."""


@dataclass(frozen=True)
class ColdHoldout(Holdout):
    """A holdout, and which items or users are cold in it."""

    side: Side
    cold: Tensor
    """bool (num_items,) or (num_users,)."""


class Among(Recommender):
    """A recommender that knows some items only: all others score minus infinity."""

    def __init__(self, method: Recommender, items: Tensor) -> None:
        super().__init__(method.config, method.data)
        self.method = method
        # Where the method is: `device_of` reads buffers of methods without parameters.
        self.register_buffer("items", items.to(device_of(method)), persistent=False)

    def score(self, users: Tensor, history: Interactions) -> Tensor:
        """Scores (B, num_items)."""
        scores = self.method.score(users, history)
        return scores.masked_fill(~cast(Tensor, self.items), -torch.inf)


class ColdStart(Ranking):
    """Rank items of which, or for users of whom, nothing or little was known in training."""

    name: ClassVar[str] = "cold-start"
    headline: ClassVar[tuple[str, ...]] = (
        "recall@20", "warm-recall@20", "cold-recall@20", "cold-ndcg@20",
    )  # fmt: skip
    protocols: ClassVar[dict[str, str]] = {
        f"cold-{side}-{kept}": (
            f"a tenth of the {side} has {kept} interactions in train and all others held out for "
            f"validation, another tenth for test; the rest is dealt 8:1:1 within each user. "
            + (
                "Overall metrics rank all items; warm ones rank warm items among warm items, cold "
                "ones cold items among cold items; "
                if side == "items"
                else "All items are ranked; warm and cold metrics are means over warm and cold "
                "users; "
            )
            + "selection on overall validation recall@20"
        )
        for side in ("items", "users")
        for kept in KEPT
    }

    def default_protocol(self, dataset: str) -> str:
        """The first; a published split has no cold part."""
        return next(iter(self.protocols))

    def load(
        self,
        dataset: str,
        protocol: str | None,
        seed: int,
        data_root: Path | None = None,
        columns: Mapping[str, str] | None = None,
    ) -> Split:
        """Read a log and split it; who is cold changes with `seed`.

        Raises:
            UnknownNameError, MissingDataError, DataError: no such data set or protocol, a log
                that cannot be read, or one in which too few can be cold.
        """
        chosen = self.resolve_protocol(protocol, dataset)
        _, side, kept = chosen.split("-")
        log = load_interactions(dataset, data_root, columns)
        used, known = liked(log, chosen)
        dealt = cold_split(used, cast(Side, side), int(kept), seed=seed)
        facts: dict[str, Any] = {
            "name": chosen,
            "split": self.protocols[chosen],
            "split_seed": "the run's seed",
            "cold_tested": int(dealt.test_cold.sum()),
            **rating_facts(log),
        }
        whole = split_of(log, dealt.parts, facts, self.metric, known)

        def holdout(plain: Holdout, cold: Tensor) -> ColdHoldout:
            return ColdHoldout(plain.history, plain.targets, cast(Side, side), cold)

        return Split(
            train=whole.train,
            validation=holdout(whole.validation, dealt.validation_cold),
            test=Sealed(holdout(whole.test.open(), dealt.test_cold)),
            dataset=whole.dataset,
            protocol=whole.protocol,
            extra=whole.extra,
        )

    def validate(self, method: Method, split: Split) -> dict[str, float]:
        """The metrics of `Ranking`, and `warm-` and `cold-` ones at 10 and 20."""
        return measure(cast(Recommender, method), split.validation)

    def test(self, method: Method, split: Split) -> dict[str, float]:
        """The metrics of `validate` and `coverage@20` of the overall lists.

        Raises:
            SealedError: the test part was opened before.
        """
        recommender, held = cast(Recommender, method), split.test.open()
        metrics = measure(recommender, held)
        metrics[f"coverage@{COVERAGE_CUTOFF}"] = item_coverage(recommender, held, COVERAGE_CUTOFF)
        return metrics


def measure(method: Recommender, held: ColdHoldout) -> dict[str, float]:
    """Overall metrics, and those of warm and cold apart; see `ColdStart.protocols`.

    Where a side has no target its metrics are left out.
    """
    overall = rank_users(method, held, CUTOFFS)
    metrics = mean_metrics(overall)
    for name, chosen in (("warm", ~held.cold), ("cold", held.cold)):
        if held.side == "users":
            found = {key: values[chosen[overall["user"]]] for key, values in overall.items()}
        else:
            targets = held.targets
            targets = targets.select(chosen.to(targets.device)[targets.items.long()])
            found = {"user": torch.zeros(0)}
            if len(targets):
                among = Among(method, chosen)
                found = rank_users(among, Holdout(held.history, targets), APART)
        if len(found["user"]):
            apart = mean_metrics(found)
            metrics |= {
                f"{name}-{key}": value
                for key, value in apart.items()
                if key == "mrr" or int(key.split("@")[1]) in APART
            }
    return metrics
