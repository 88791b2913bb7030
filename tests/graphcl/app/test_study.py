"""The rules by which workers share a study, without any training."""

from __future__ import annotations

import threading

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from graphcl.app.sampler import NumberedSampler
from graphcl.app.study import (
    CLOSED,
    MOST_RETRIES,
    finished,
    history,
    is_surplus,
    occupied,
    open_storage,
    open_study,
    resolve_storage,
    revive,
)
from graphcl.errors import ConfigError, DataError, GraphclError


def new_study():
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(direction="maximize", sampler=NumberedSampler(0, 3))


@settings(max_examples=60, deadline=None)
@given(
    moves=st.lists(st.tuples(st.integers(0, 3), st.sampled_from("adf")), max_size=60),
    budget=st.integers(1, 6),
)
def test_any_interleaving_of_workers_and_deaths_gives_exactly_the_budget(moves, budget):
    """Workers ask (a), die (d: the trial is found stale and fails) or finish (f) in any order."""
    study = new_study()
    running: dict[int, optuna.Trial] = {}

    def ask(worker):
        trials = study.get_trials(deepcopy=False)
        queued = any(trial.state == TrialState.WAITING for trial in trials)
        if finished(trials) >= budget or (occupied(trials) >= budget and not queued):
            return
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        if is_surplus(study.get_trials(deepcopy=False), trial.number, budget):
            trial.set_user_attr(CLOSED, "surplus")
            study.tell(trial, state=TrialState.FAIL)
        else:
            running[worker] = trial

    deaths: dict[float, int] = {}
    for worker, move in moves:
        if move == "a" and worker not in running:
            revive(study, 1e9)
            ask(worker)
        elif move == "f" and worker in running:
            study.tell(running.pop(worker), 1.0)
        elif move == "d" and worker in running:
            trial = running.pop(worker)
            deaths[trial.params["x"]] = deaths.get(trial.params["x"], 0) + 1
            study.tell(trial, state=TrialState.FAIL)
        assert finished(study.get_trials(deepcopy=False)) <= budget
    for worker in list(running):
        study.tell(running.pop(worker), 1.0)
    for _ in range(50):
        revive(study, 1e9)
        ask(0)
        if 0 in running:
            study.tell(running.pop(0), 1.0)
    trials = study.get_trials(deepcopy=False)
    assert finished(trials) == budget
    values = [trial.params["x"] for trial in trials if trial.state == TrialState.COMPLETE]
    assert len(set(values)) == budget, "a trial was counted twice"
    lost = [x for x, times in deaths.items() if times <= MOST_RETRIES and x not in values]
    assert not lost, "the settings of a dead worker were not tried again"


def test_two_workers_that_saw_the_same_free_place():
    study = new_study()
    first, second = study.ask(), study.ask()
    trials = study.get_trials(deepcopy=False)
    assert not is_surplus(trials, first.number, 1)
    assert is_surplus(trials, second.number, 1)
    assert not is_surplus(trials, second.number, None)


def test_a_trial_that_always_kills_its_worker_is_given_up():
    study = new_study()
    for attempt in range(MOST_RETRIES + 1):
        trial = study.ask()
        assert trial.suggest_float("x", 0, 1) == study.trials[0].params["x"]
        assert len(history(study.trials[trial.number])) == attempt
        study.tell(trial, state=TrialState.FAIL)
        revive(study, 1e9)
    assert not any(trial.state == TrialState.WAITING for trial in study.trials)
    assert occupied(study.trials) == 0


def test_a_worker_that_died_before_its_first_heartbeat_is_found():
    study = new_study()
    study.ask()
    revive(study, 3600)
    assert study.trials[0].state == TrialState.RUNNING
    revive(study, 0)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.WAITING]


def test_what_is_drawn_depends_on_the_trial_number_only():
    def draws(breaks):
        storage = optuna.storages.InMemoryStorage()
        study = None
        for number in range(12):
            if study is None or number in breaks:
                study = optuna.create_study(
                    storage=storage, study_name="s", load_if_exists=True,
                    sampler=NumberedSampler(7, 3),
                )  # fmt: skip
            trial = study.ask()
            study.tell(trial, trial.suggest_float("x", 0, 1) + trial.suggest_int("n", 1, 9))
        return [trial.params for trial in study.trials]

    assert draws(()) == draws((4, 9))
    assert len({p["x"] for p in draws(())}) == 12


@pytest.mark.parametrize("kind", ["study.db", "study.journal"])
def test_a_stale_trial_of_either_storage_is_queued_again(kind, tmp_path):
    storage = open_storage(resolve_storage(str(tmp_path / kind), tmp_path), 1)
    study = open_study(
        storage, "s", {"a": 1}, defaults={}, sampler=NumberedSampler(0, 3),
        pruner=optuna.pruners.NopPruner(),
    )  # fmt: skip
    trial = study.ask()
    storage.record_heartbeat(trial._trial_id)
    trial.set_user_attr("worker", "dead")
    revive(study, 2)
    assert study.trials[0].state == TrialState.RUNNING
    threading.Event().wait(3.2)
    revive(study, 2)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.WAITING]
    assert history(study.trials[1]) == [0]
    # Who was taken for dead and is not may still beat.
    if kind == "study.journal":
        storage.record_heartbeat(trial._trial_id)


def test_another_search_is_refused_with_the_difference(tmp_path):
    storage = open_storage(resolve_storage(None, tmp_path), 30)
    options = {
        "defaults": {}, "sampler": NumberedSampler(0, 3), "pruner": optuna.pruners.NopPruner(),
    }  # fmt: skip
    open_study(storage, "s", {"search": {"rate": "0 .. 1"}}, **options)
    open_study(storage, "s", {"search": {"rate": "0 .. 1"}}, **options)
    with pytest.raises(ConfigError, match=r"search.rate was '0 .. 1', now '0 .. 2'"):
        open_study(storage, "s", {"search": {"rate": "0 .. 2"}}, **options)


def test_a_study_of_somebody_else_is_refused(tmp_path):
    storage = open_storage(resolve_storage(None, tmp_path), 30)
    optuna.create_study(storage=storage, study_name="mine", direction="maximize").ask()
    with pytest.raises(ConfigError, match="not begun by this command"):
        open_study(
            storage, "mine", {}, defaults={}, sampler=NumberedSampler(0, 3),
            pruner=optuna.pruners.NopPruner(),
        )  # fmt: skip


def test_a_study_of_before_a_setting_came_goes_on(tmp_path):
    storage = open_storage(resolve_storage(None, tmp_path), 30)
    options = {
        "defaults": {"rate": 1, "new": False}, "sampler": NumberedSampler(0, 3),
        "pruner": optuna.pruners.NopPruner(),
    }  # fmt: skip
    open_study(storage, "s", {"settings": {"rate": 2}}, **options)
    open_study(storage, "s", {"settings": {"rate": 2, "new": False}}, **options)
    with pytest.raises(ConfigError, match=r"settings.new was None, now True"):
        open_study(storage, "s", {"settings": {"rate": 2, "new": True}}, **options)
    with pytest.raises(ConfigError, match=r"settings.rate was 2, now 1"):
        open_study(storage, "s", {"settings": {"rate": 1, "new": False}}, **options)


@pytest.mark.parametrize(
    ("storage", "kind"),
    [
        ("nonsense", ConfigError),
        ("study.csv", ConfigError),
        ("nosuch://host/name", ConfigError),
        ("mysql+nodriver://host/name", ConfigError),
        ("sqlite:////proc/nowhere/study.db", GraphclError),
        ("text.db", DataError),
        ("journal:text.journal", DataError),
        ("postgresql+pg8000://anna:secret@host:port/tune", ConfigError),
        ("sqlite:///new.db?timeout=soon", ConfigError),
    ],
)
def test_a_storage_that_cannot_be_used_is_one_sentence(storage, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("text.db", "text.journal"):
        (tmp_path / name).write_text("this is\nnot a study\n" * 100)
    with pytest.raises(kind) as raised:
        open_storage(resolve_storage(storage, tmp_path), 30)
    assert "\n" not in str(raised.value)
