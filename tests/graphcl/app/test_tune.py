"""`graphcl tune` in one process: what it chooses by, what it writes, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import optuna
import pytest
import yaml

from graphcl.evaluate.contract import Sealed
from graphcl.report import read_studies
from recsys.evaluate.ranking import Ranking

SMOKE = ["--set", "epochs=2", "--set", "evaluate_every=1", "--set", "batch_size=512"]


@pytest.fixture
def slow_start(tmp_path):
    """A log of 100 items, and a config whose learning rate is far too small for it."""
    random = np.random.default_rng(0)
    rows = [
        f"{user},{item + 50 * (user % 2)}"
        for user in range(40)
        for item in random.permutation(50)[:10]
    ]
    log, config = tmp_path / "log.csv", tmp_path / "start.yaml"
    log.write_text("user,item\n" + "\n".join(rows))
    config.write_text(
        f"method: lightgcn\ndataset: {log}\nsettings: {{learning_rate: 1.0e-7, dimension: 8}}\n"
    )
    return [log, "--config", config, "--search", "learning_rate", "--search", "layers"]


def stored(out, name=None):
    storage = f"sqlite:///{out / 'study.db'}"
    name = name or optuna.get_all_study_names(storage)[0]
    return optuna.load_study(study_name=name, storage=storage)


def test_the_best_by_validation_is_written_as_a_config_and_tested_once(command, tiny_log, tmp_path):
    out = tmp_path / "tune"
    tune = ["tune", "lightgcn", tiny_log, "--trials", 4, "--out", out, *SMOKE]
    code, printed, error = command(*tune)
    assert code == 0, error
    assert printed.count("test recall@20") == 1
    best = yaml.safe_load((out / "best.yaml").read_text())
    trials = stored(out).trials
    values = [trial.value for trial in trials]
    assert len(values) == 4
    assert best["tuned"]["validation"]["recall@20"] == round(max(values), 6)
    assert best["tuned"]["started_from"] == values[0]
    assert best["tuned"]["trials"] == {"complete": 4, "pruned": 0}
    assert best["tuned"]["trial"] == values.index(max(values))
    assert "learning_rate" in best["tuned"]["search"]
    assert not {"epochs", "batch_size"} & best["tuned"]["search"].keys()
    chosen = trials[best["tuned"]["trial"]].params
    assert {key: best["settings"][key] for key in chosen} == chosen
    result = json.loads((out / "best" / "result.json").read_text())
    assert result["settings"] == best["settings"]
    assert result["validation"]["recall@20"]["mean"] == max(values)
    assert not (out / "trials").exists()

    # The same command has nothing left to do, and does not test again.
    before = (out / "best" / "checkpoints" / "seed-0" / "result.json").stat().st_mtime_ns
    assert command(*tune)[0] == 0
    assert len(stored(out).trials) == 4
    assert (out / "best" / "checkpoints" / "seed-0" / "result.json").stat().st_mtime_ns == before

    code, _, error = command(
        "run", "lightgcn", tiny_log, "--config", out / "best.yaml", "--out", tmp_path / "run"
    )
    assert code == 0, error
    again = json.loads((tmp_path / "run" / "result.json").read_text())
    assert again["metrics"] == result["metrics"]


def test_the_test_split_is_never_read_while_tuning(command, tiny_log, tmp_path, monkeypatch):
    def refuse(*arguments):
        raise AssertionError("the test split was read")

    monkeypatch.setattr(Sealed, "open", refuse)
    monkeypatch.setattr(Sealed, "opened", refuse)
    monkeypatch.setattr(Ranking, "test", refuse)
    tune = ["tune", "lightgcn", tiny_log, "--out", tmp_path / "a", *SMOKE]
    assert command(*tune, "--trials", 2, "--seeds", 2, "--no-test")[0] == 0
    # Only the final run does; without the refusal above this command would succeed.
    with pytest.raises(AssertionError, match="was read"):
        command(*tune, "--trials", 2, "--seeds", 2)


def test_a_study_that_goes_on_is_the_uninterrupted_one(command, tiny_log, tmp_path):
    tune = ["tune", "lightgcn", tiny_log, "--no-test", *SMOKE]
    assert command(*tune, "--trials", 8, "--out", tmp_path / "whole")[0] == 0
    for trials in (3, 6, 8):
        assert command(*tune, "--trials", trials, "--out", tmp_path / "parts")[0] == 0
    whole, parts = stored(tmp_path / "whole").trials, stored(tmp_path / "parts").trials
    assert [(t.params, t.value) for t in whole] == [(t.params, t.value) for t in parts]
    assert len({str(t.params) for t in whole}) == 8


def test_an_interrupted_trial_is_tried_again(command, tiny_log, tmp_path, monkeypatch):
    from graphcl.train.loop import Trainer

    fit = Trainer.fit

    def interrupted(self):
        raise KeyboardInterrupt

    tune = ["tune", "lightgcn", tiny_log, "--no-test", "--out", tmp_path, "--trials", 2, *SMOKE]
    monkeypatch.setattr(Trainer, "fit", interrupted)
    code, _, text = command(*tune)
    assert (code, "same command" in text) == (130, True)
    monkeypatch.setattr(Trainer, "fit", fit)
    assert command(*tune)[0] == 0
    trials = stored(tmp_path).trials
    assert [trial.state.name for trial in trials] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert trials[1].params == trials[0].params


def test_settings_that_diverge_or_cannot_be_are_results_too(command, tiny_log, tmp_path):
    code, printed, error = command(
        "tune", "sasrec", tiny_log, "--no-test", "--out", tmp_path, "--trials", 3,
        "--set", "epochs=1", "--set", "evaluate_every=1", "--set", "dimension=8",
        "--search", "heads=[2, 3]",
    )  # fmt: skip
    assert code == 0, error
    states = {trial.params["heads"]: trial for trial in stored(tmp_path).trials}
    assert states[2].state.name == "COMPLETE"
    if 3 in states:
        assert states[3].state.name == "PRUNED"
        assert "heads" in states[3].user_attrs["reason"]
        assert "not possible" in printed
    code, printed, error = command(
        "tune", "lightgcn", tiny_log, "--no-test", "--out", tmp_path / "b", "--trials", 3,
        *SMOKE, "--search", "learning_rate=[0.01, 1e30]",
    )  # fmt: skip
    assert code == 0, error
    diverged = [t for t in stored(tmp_path / "b").trials if t.params["learning_rate"] == 1e30]
    assert diverged
    assert all(trial.state.name == "PRUNED" for trial in diverged)


def test_bad_trials_are_pruned_after_the_warm_up_only(command, slow_start, tmp_path):
    tune = [
        "tune", "lightgcn", *slow_start, "--no-test", "--trials", 12, "--set", "epochs=8",
        "--set", "evaluate_every=1", "--set", "batch_size=64",
    ]  # fmt: skip
    code, _, text = command(*tune, "--warmup", 3, "--out", tmp_path / "a")
    assert code == 0, text
    pruned = [t for t in stored(tmp_path / "a").trials if t.state.name == "PRUNED"]
    assert pruned
    assert all(3 <= trial.last_step < 8 for trial in pruned)
    assert command(*tune, "--warmup", 8, "--out", tmp_path / "b")[0] == 0
    assert not [t for t in stored(tmp_path / "b").trials if t.state.name == "PRUNED"]


def test_time_is_a_limit_too(command, tiny_log, tmp_path):
    tune = ["tune", "lightgcn", tiny_log, "--out", tmp_path / "out", *SMOKE]
    code, printed, _ = command(*tune, "--trials", 10_000, "--timeout", 0.5)
    assert code == 0
    assert "the same command goes on" in printed
    assert not (tmp_path / "out" / "best").exists()
    before = len(stored(tmp_path / "out").trials)
    assert 0 < before < 10_000
    # Without a number of trials the time alone ends the study, so it is tested.
    assert command(*tune, "--timeout", 0.5)[0] == 0
    assert len(stored(tmp_path / "out").trials) > before
    assert (tmp_path / "out" / "best" / "result.json").exists()


@pytest.mark.parametrize("storage", ["study.journal", "sqlite:///mine.db"])
def test_other_storages(command, tiny_log, tmp_path, monkeypatch, storage):
    monkeypatch.chdir(tmp_path)
    tune = ["tune", "lightgcn", tiny_log, "--no-test", "--trials", 2, *SMOKE]
    assert command(*tune, "--storage", storage, "--study", "mine")[0] == 0
    assert (tmp_path / "runs" / "tune" / "mine" / "best.yaml").exists()
    assert not (tmp_path / "runs" / "tune" / "mine" / "study.db").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lightgcx", "LOG"], ["'lightgcx'", "'lightgcn'"]),
        (["lightgcn", "ml-100"], ["'ml-100'", "'ml-100k'"]),
        (["lightgcn", "LOG", "--search", "layer"], ["'layer'", "'layers'"]),
        (["lightgcn", "LOG", "--set", "layer=3"], ["'layer'", "'layers'"]),
        (["lightgcn", "LOG", "--search", "layers=9..2"], ["LOW below HIGH"]),
        (["lightgcn", "LOG", "--storage", "x.csv"], ["--storage", "'x.csv'"]),
        (["lightgcn", "LOG", "--storage", "no://h/x"], ["'no://h/x' is not a database URL"]),
        (["lightgcn", "LOG", "--trials", "0"], ["--trials"]),
        (["lightgcn", "LOG", "--set", "evaluate_every=0"], ["evaluate_every", "got 0"]),
        (["lightgcn", "LOG", "--search", "evaluate_every=[0]"], ["evaluate_every", "got 0"]),
        (["lightgcn", "LOG", "--search", "evaluate_every=0..2"], ["evaluate_every", "got 0"]),
        (["lightgcn", "LOG", "--set", "epochs=0"], ["epochs", "at least 1", "got 0"]),
        (["lightgcn", "LOG", "--search", "epochs=[2, 0]"], ["epochs", "at least 1", "got 0"]),
        (["grace", "GRAPH", "--search", "activation=1..3"], ["'activation' is no number"]),
        (["lightgcn", "LOG", "--search", "learning_rate=[2020-01-01]"], ["'learning_rate'"]),
        (["grace", "GRAPH", "--protocol", "grace-10-90"], ["validation", "random-10-10-80"]),
        (["grace", "GRAPH", "--set", "dimension=0"], ["'dimension'", "got 0"]),
    ],
)
def test_mistakes_are_one_sentence_and_leave_nothing(
    command, tiny_log, tiny_graph, tmp_path, monkeypatch, arguments, words
):
    monkeypatch.chdir(tmp_path)
    places = {"LOG": tiny_log, "GRAPH": tiny_graph}
    code, _, text = command("tune", *(places.get(word, word) for word in arguments))
    assert code == 2, text
    assert text.startswith("error: ")
    assert text.count("\n") == 1, text
    for word in words:
        assert word in text, text
    assert not any(tmp_path.iterdir()), "nothing half-written"


def test_limits_that_were_given_hold_for_every_trial(command, tiny_log, tmp_path):
    tune = ["tune", "bpr", tiny_log, "--no-test", "--trials", 5, "--out", tmp_path / "a", *SMOKE]
    search = ["--search", "dimension=8..12", "--search", "learning_rate=[0.5, 0.25]"]
    code, printed, error = command(*tune, *search)
    assert code == 0, error
    assert "the first trial has" in printed
    assert "dimension 12 instead of" in printed
    assert "learning_rate 0.5 instead of" in printed
    trials = stored(tmp_path / "a").trials
    assert trials[0].params == {"dimension": 12, "learning_rate": 0.5}
    assert all(8 <= trial.params["dimension"] <= 12 for trial in trials)
    assert {trial.params["learning_rate"] for trial in trials} <= {0.5, 0.25}
    best = yaml.safe_load((tmp_path / "a" / "best.yaml").read_text())["tuned"]
    assert best["search"]["dimension"] == "8 .. 12"
    assert best["started_from"] == trials[0].value
    # A setting's own range is still widened to what the search starts from.
    start = [*tune[:-7], tmp_path / "b", *SMOKE, "--search", "dimension"]
    config = tmp_path / "start.yaml"
    config.write_text(f"method: bpr\ndataset: {tiny_log}\nsettings: {{dimension: 3}}\n")
    code, printed, error = command(*start, "--config", config)
    assert code == 0, error
    assert "the first trial has" not in printed
    assert stored(tmp_path / "b").trials[0].params == {"dimension": 3}


def test_a_trial_without_a_finite_value_is_none(command, tiny_log, tmp_path, monkeypatch):
    monkeypatch.setattr(Ranking, "validate", lambda *_: {"recall@20": float("nan")})
    code, printed, error = command(
        "tune", "bpr", tiny_log, "--no-test", "--trials", 1, "--out", tmp_path, *SMOKE
    )
    assert (code, "no trial of the study" in error) == (2, True)
    assert "validation value" in printed
    assert [trial.state.name for trial in stored(tmp_path).trials] == ["PRUNED"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({0: "ease"}, ["'bpr_log_ranking' (bpr on", "'ease_log_ranking' (ease on"]),
        ({1: "OTHER"}, ["(bpr on log,", "(bpr on other,"]),
        ({"--study": "second"}, ["'bpr_log_ranking' (bpr on", "'second' (bpr on"]),
        ({"--storage": "OTHER.db"}, ["'sqlite:///study.db'", "other.db'"]),
        ({"--search": "dimension"}, ["searches something else", "search.learning_rate was"]),
    ],
)
def test_a_folder_of_another_study_is_refused(command, tiny_log, tmp_path, changed, words):
    log, other = tmp_path / "log.csv", tmp_path / "other.csv"
    for path in (log, other):
        path.write_bytes(tiny_log.read_bytes())
    out = tmp_path / "out"
    options = ["--trials", 1, "--no-test", "--out", out]
    quick = ["--set", "epochs=1", "--set", "evaluate_every=1"]
    assert command("tune", "bpr", log, *options, *quick)[0] == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    named = [changed.get(0, "bpr"), other if 1 in changed else log]
    more = [
        str(word).replace("OTHER", str(tmp_path / "other"))
        for key, value in changed.items()
        if isinstance(key, str)
        for word in (key, value)
    ]
    if 0 in changed:
        quick = ["--search", "l2"]
    code, _, text = command("tune", *named, *options, *quick, *more)
    assert code == 2
    assert text.count("\n") == 1, text
    for word in words:
        assert word in text, text
    assert "--out" in text or "--study" in text
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert not (tmp_path / "other.db").exists()


def test_the_folder_of_a_run_is_refused(command, tiny_log, tmp_path):
    out = tmp_path / "out"
    once = ["--set", "epochs=1", "--out", out]
    assert command("run", "bpr", tiny_log, *once)[0] == 0
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    code, _, text = command("tune", "bpr", tiny_log, *once, "--trials", 1)
    assert code == 2
    assert text.startswith(f"error: '{out}' belongs to a run; give another --out")
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_a_folder_may_be_moved_with_its_study(command, tiny_log, tmp_path):
    tune = ["tune", "bpr", tiny_log, "--no-test", *SMOKE]
    assert command(*tune, "--trials", 1, "--out", tmp_path / "a")[0] == 0
    (tmp_path / "a").rename(tmp_path / "b")
    assert command(*tune, "--trials", 2, "--out", tmp_path / "b")[0] == 0
    assert len(stored(tmp_path / "b").trials) == 2


@pytest.mark.parametrize("storage", ["elsewhere.log", "sqlite:///mine.db", None])
def test_the_report_finds_a_study_wherever_it_is_stored(
    command, tiny_log, tmp_path, monkeypatch, storage
):
    monkeypatch.chdir(tmp_path)
    tune = ["tune", "bpr", tiny_log, "--no-test", "--trials", 1, *SMOKE]
    more = [] if storage is None else ["--storage", storage]
    assert command(*tune, *more, "--study", "mine", "--out", "a")[0] == 0
    assert command(*tune, *more, "--study", "theirs", "--out", "b")[0] == 0
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    for folder, name in (("a", "mine"), ("b", "theirs")):
        (study,) = read_studies([tmp_path / folder])
        assert (study.name, len(study.trials), study.metric) == (name, 1, "recall@20")
    if storage is not None:
        moved = next(tmp_path.glob(f"{storage.rpartition('/')[2]}*"))
        moved.rename(tmp_path / "moved")
        code, _, text = command("report", tmp_path / "a")
        assert code == 2
        assert "'mine'" in text
        assert str(moved) in text
        assert "study.yaml" in text


def test_a_folder_of_a_record_that_is_damaged_is_refused(command, tiny_log, tmp_path):
    tune = ["tune", "bpr", tiny_log, "--no-test", "--trials", 1, "--out", tmp_path, *SMOKE]
    assert command(*tune)[0] == 0
    for content in ("study: [", "study: 3\n", "- a\n"):
        (tmp_path / "study.yaml").write_text(content)
        for again in (tune, ["report", tmp_path, "-o", tmp_path / "report.html"]):
            code, _, text = command(*again)
            assert code == 2
            assert "study.yaml'" in text
            assert text.count("\n") == 1


def test_a_folder_is_tested_once_whatever_comes_after(command, slow_start, tmp_path):
    out = tmp_path / "out"
    tune = ["tune", "lightgcn", *slow_start, "--out", out, *SMOKE]
    assert command(*tune, "--trials", 1)[0] == 0
    first = (out / "best" / "result.json").read_bytes()
    code, _, text = command(*tune, "--trials", 8)
    best = yaml.safe_load((out / "best.yaml").read_text())
    assert best["tuned"]["trial"] > 0
    assert best["tuned"]["validation"]["recall@20"] > best["tuned"]["started_from"]
    assert code == 2
    assert "a test opens once" in text
    assert "--study" in text
    assert (out / "best" / "result.json").read_bytes() == first


def test_another_search_in_the_same_study_is_refused(command, tiny_log, tmp_path):
    tune = ["tune", "lightgcn", tiny_log, "--no-test", "--trials", 1, "--out", tmp_path, *SMOKE]
    assert command(*tune)[0] == 0
    code, _, text = command(*tune, "--search", "layers")
    assert code == 2
    assert "searches something else" in text
    assert "search.learning_rate was" in text
