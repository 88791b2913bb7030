"""Where the search of `graphcl tune` goes: near the start first, then as TPE says."""

from __future__ import annotations

import math

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from graphcl.app.sampler import CHANGES, REACH, UNIFORM, NumberedSampler, nearby

START = {"rate": 3e-3, "weight": 0.5, "layers": 2, "size": 64, "kind": "a"}


def suggest(trial: optuna.Trial) -> dict[str, object]:
    return {
        "rate": trial.suggest_float("rate", 1e-4, 1e-1, log=True),
        "weight": trial.suggest_float("weight", 0.0, 1.0),
        "layers": trial.suggest_int("layers", 1, 4),
        "size": trial.suggest_int("size", 16, 256, log=True),
        "kind": trial.suggest_categorical("kind", ["a", "b", "c"]),
    }


def search(seed: int, trials: int, startup: int = 6, start: dict | None = None):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        direction="maximize",
        sampler=NumberedSampler(seed, startup, START if start is None else start),
    )
    study.optimize(lambda trial: -abs(math.log(suggest(trial)["rate"] / 1e-2)), n_trials=trials)
    return study


def test_most_of_the_first_trials_change_a_few_settings_and_only_a_little():
    near = [trial for trial in search(0, 6).trials if trial.number % UNIFORM]
    assert len(near) == 4
    for trial in near:
        changed = {name for name, value in trial.params.items() if value != START[name]}
        assert 1 <= len(changed) <= CHANGES
        decades = abs(math.log10(trial.params["rate"] / START["rate"]))
        assert decades <= 3 * REACH + 1e-9
        assert abs(trial.params["weight"] - START["weight"]) <= REACH + 1e-9


def test_a_poor_start_is_left_early():
    poor = {**START, "rate": 1e-4}
    rates = [trial.params["rate"] for trial in search(0, 12, 12, poor).trials]
    assert max(rates) > 1e-4 * 1000 ** (2 * REACH)


def test_later_trials_leave_the_neighbourhood():
    far = search(0, 40).trials[6:]
    rates = [trial.params["rate"] for trial in far]
    assert all(sum(t.params[n] != v for n, v in START.items()) for t in far)
    assert max(rates) / min(rates) > 10


def test_a_setting_without_a_start_is_drawn_from_its_whole_range():
    rates = [trial.params["rate"] for trial in search(1, 30, 30, {"weight": 0.5}).trials]
    assert min(rates) < 1e-3
    assert max(rates) > 1e-2


def test_same_seed_same_search_and_another_seed_another():
    values = [[trial.params for trial in search(seed, 12).trials] for seed in (5, 5, 6)]
    assert values[0] == values[1] != values[2]


@settings(max_examples=200, deadline=None)
@given(
    low=st.floats(1e-6, 1.0), factor=st.floats(1.01, 1e5), place=st.floats(0, 1),
    log=st.booleans(), whole=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_nearby_stays_within_reach_and_range(low, factor, place, log, whole, seed):
    high = low * factor
    random = np.random.default_rng(seed)
    if whole:
        low, high = math.ceil(low * 10), math.ceil(high * 10) + 1
        distribution = IntDistribution(low, high, log=log)
        value = round(low + place * (high - low))
        found = nearby(value, distribution, random)
        assert isinstance(found, int)
    else:
        distribution = FloatDistribution(low, high, log=log)
        value = low + place * (high - low)
        found = nearby(value, distribution, random)
    assert low <= found <= high
    slack = 1 if whole else 1e-9
    if log:
        bound = value * ((high / low) ** REACH - 1)
        assert abs(found - value) <= bound * (1 + 1e-9) + slack
    else:
        assert abs(found - value) <= REACH * (high - low) * (1 + 1e-9) + slack


def test_nearby_takes_another_choice():
    random = np.random.default_rng(0)
    drawn = {nearby("b", CategoricalDistribution(["a", "b", "c"]), random) for _ in range(50)}
    assert drawn == {"a", "c"}
    assert nearby("a", CategoricalDistribution(["a"]), random) == "a"


@pytest.mark.parametrize("value", [1, 4])
def test_nearby_at_the_end_of_a_range_of_whole_numbers(value):
    random = np.random.default_rng(0)
    found = {nearby(value, IntDistribution(1, 4), random) for _ in range(50)}
    assert found - {value}
    assert found <= {1, 2, 3, 4}
