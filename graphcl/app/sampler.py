"""Which settings the next trial of `graphcl tune` tries.

The search starts from settings that somebody chose, often well. Uniform draws over ten ranges of
several decades each never come back near them within a few dozen trials, so most of the first
trials change a few of those settings at a time; some are uniform, in case the start is poor. TPE
goes on from what these taught.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial

CHANGES = 3
"""Settings that differ from the start in each of the first trials."""

UNIFORM = 3
"""Of the first trials, every one of this many is drawn from the whole ranges."""

REACH = 0.2
"""How far a number moves from the start: this share of its range, on the scale of the range."""


class NumberedSampler(BaseSampler):
    """Changes to the start, then TPE; a draw depends on the seed, the trial's number and the past.

    So a study that was stopped and goes on draws what it would have drawn without the stop, and
    two workers that start at once do not draw the same.

    Args:
        seed: of the search.
        startup: TPE begins when this many trials have ended, with the trial of this number.
        start: the settings that the search starts from; a setting that is not among them is
            drawn from its whole range.
    """

    def __init__(self, seed: int, startup: int, start: Mapping[str, Any] | None = None) -> None:
        self._seed = seed
        self._startup = startup
        self._start = dict(start or {})
        self._changed: set[str] = set()
        self._near = False
        self._random = np.random.default_rng()
        self._inner: BaseSampler = self._new(0)

    def _new(self, number: int) -> BaseSampler:
        with warnings.catch_warnings():
            # Two options of TPE are "experimental" to Optuna; a user cannot act on it.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return TPESampler(
                seed=(self._seed * 1_000_003 + number) % 2**32,
                n_startup_trials=self._startup,
                multivariate=True,
                constant_liar=True,
            )

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Begin the draws of this trial."""
        self._inner = self._new(trial.number)
        self._random = np.random.default_rng([self._seed, trial.number])
        names = sorted(self._start)
        few = min(CHANGES, len(names))
        self._changed = set(self._random.choice(names, size=few, replace=False)) if names else set()
        self._near = 0 < trial.number < self._startup and trial.number % UNIFORM != 0

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """What TPE draws jointly; nothing for the first trials."""
        if trial.number < self._startup:
            return {}
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As TPE does."""
        return self._inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """The start's value, or one near it; as TPE does for other trials and settings."""
        if not self._near or param_name not in self._start:
            return self._inner.sample_independent(study, trial, param_name, param_distribution)
        value = self._start[param_name]
        if param_name not in self._changed:
            return value
        return nearby(value, param_distribution, self._random)


def nearby(value: Any, distribution: BaseDistribution, random: np.random.Generator) -> Any:
    """Another value within `REACH` of `value`, inside the range; any other of the choices."""
    if isinstance(distribution, CategoricalDistribution):
        others = [choice for choice in distribution.choices if choice != value]
        return others[random.integers(len(others))] if others else value
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    low, high = distribution.low, distribution.high
    if distribution.log:
        span = math.log(high / low)
        moved = value * math.exp(random.uniform(-REACH, REACH) * span)
    else:
        moved = value + random.uniform(-REACH, REACH) * (high - low)
    if isinstance(distribution, IntDistribution):
        moved = round(moved)
        if moved == value:
            moved = value + (1 if random.random() < 0.5 else -1)
        return int(min(max(moved, low), high))
    return min(max(moved, low), high)
