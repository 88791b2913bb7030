import hashlib
import json
import math
from pathlib import Path

import optuna
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from graphcl.errors import DataError, MissingDataError
from graphcl.report import read_runs, read_studies
from graphcl.report.charts import Charts
from graphcl.report.study import Range, Study, Trial
from graphcl.report.study_figures import study_figures
from graphcl.report.study_section import study_section


def trace(figure, name):
    return next(t for t in figure.spec["data"] if t["name"] == name)


@pytest.mark.parametrize("journal", [False, True])
def test_a_study_is_read_whole_and_left_as_it_was(make_study, journal):
    folder = make_study("a", journal=journal)
    before = {p.name: hashlib.sha256(p.read_bytes()).digest() for p in folder.iterdir()}
    (study,) = read_studies([folder, folder])
    assert {p.name: hashlib.sha256(p.read_bytes()).digest() for p in folder.iterdir()} == before
    assert (study.name, study.metric, len(study.trials)) == ("a", "recall@20", 12)
    assert [t.number for t in study.trials if t.pruned] == [3, 7, 11]
    assert [t.number for t in study.trials if t.baseline] == [0]
    assert study.baseline.settings == {"learning_rate": 1e-3, "layers": 2, "negatives": "all"}
    assert study.best.value == max(t.value for t in study.trials if not t.pruned)
    assert study.ranges["learning_rate"] == Range(1e-4, 1e-1, log=True)
    assert study.ranges["layers"] == Range(1, 3)
    assert study.ranges["negatives"].choices == ("all", "batch")
    assert sum(study.importances.values()) == pytest.approx(1)
    assert next(iter(study.importances)) == "learning_rate"


def test_a_pruned_trial_has_its_last_value(make_study):
    (study,) = read_studies([make_study("a")])
    stored = optuna.load_study(study_name="a", storage=f"sqlite:///{study.folder / 'study.db'}")
    for trial in study.trials:
        other = stored.trials[trial.number]
        assert trial.value == (other.intermediate_values[1] if trial.pruned else other.value)


def test_few_trials_have_no_importance(make_study):
    (study,) = read_studies([make_study("a", trials=3)])
    assert study.importances == {}
    assert [f.title for f in study_figures(study)] == ["history", "settings of the trials"]


def test_a_study_stands_for_the_test_of_what_it_chose(make_study, make_run):
    folder = make_study("a")
    assert read_runs([folder]) == []
    make_run("b").rename(folder / "best")
    (run,) = read_runs([folder, folder / "best"])
    assert run.folder == folder / "best"
    assert run.name == "a/best"
    (study,) = read_studies([folder])
    text = study_section(study, Charts())
    assert "the table has the one test" in text


@pytest.mark.parametrize("content", [b"no study\n{}\n", b"SQLite format 3\0" + b"\1\n" * 5000])
@pytest.mark.parametrize("name", ["study.db", "study.journal"])
def test_a_damaged_storage_is_refused_in_a_sentence(tmp_path, name, content):
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match="study") as error:
        read_studies([folder])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["study.db", "study.journal"])
def test_a_storage_in_which_nothing_was_written_yet_has_no_study(tmp_path, name):
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / name).write_bytes(b"")
    assert read_studies([folder]) == []
    assert (folder / name).read_bytes() == b""


@pytest.mark.parametrize("content", ["tuned: [", "- a", "tuned: !!binary x", "\0"])
def test_a_damaged_best_file_is_named(make_study, content):
    folder = make_study("a")
    (folder / "best.yaml").write_text(content)
    with pytest.raises(DataError, match=r"best\.yaml'.*tune.* writes it again") as error:
        read_studies([folder])
    assert "study.db" not in str(error.value)
    assert "\n" not in str(error.value)


def record(folder, storage, study="a"):
    told = {"study": study, "storage": storage, "method": "m", "dataset": "d", "task": "t"}
    (folder / "study.yaml").write_text(yaml.safe_dump(told))


def test_the_record_says_which_study_of_which_storage(make_study, tmp_path):
    folder, other = make_study("a"), make_study("b", trials=3, journal=True)
    out = tmp_path / "out"
    out.mkdir()
    for storage, name in (
        (f"sqlite:///{folder / 'study.db'}", "a"),
        (f"sqlite:///{folder / 'study.db'}?timeout=3", "a"),
        ("sqlite:///../tune/a/study.db", "a"),
        (f"journal:{other / 'study.journal'}", "b"),
    ):
        record(out, storage, name)
        assert [study.name for study in read_studies([out])] == [name]
        assert read_runs([out]) == []


@pytest.mark.parametrize(
    ("storage", "words"),
    [
        ("sqlite:///gone.db", ["'a'", "gone.db'", "study.yaml"]),
        ("sqlite:///study.db", ["no study 'a'", "study.db'"]),
        ("postgresql+nodriver://anna@host/tune", ["'a'", "anna@host", "--storage"]),
    ],
)
def test_a_study_that_is_not_where_the_record_says(make_study, storage, words):
    folder = make_study("other", trials=1)
    record(folder, storage)
    with pytest.raises(MissingDataError) as error:
        read_studies([folder])
    assert all(word in str(error.value) for word in words), error.value
    assert "\n" not in str(error.value)


def test_a_study_of_a_server_is_read_where_the_report_is_told(make_study, monkeypatch):
    folder = make_study("a", trials=2)
    record(folder, "postgresql://anna@host/tune")
    url, opened = "postgresql://anna:secret@host/tune", []

    def open_storage(storage, heartbeat):
        opened.append(storage)
        if storage != url:
            raise ValueError(f"no driver for {storage}")
        return optuna.storages.RDBStorage(f"sqlite:///{folder / 'study.db'}")

    monkeypatch.setattr("graphcl.app.study.open_storage", open_storage)
    with pytest.raises(MissingDataError, match=r"'postgresql://anna@host/tune'.*--storage"):
        read_studies([folder])
    assert not opened, "a folder must not choose whom to connect to"
    assert [study.name for study in read_studies([folder], url)] == ["a"]
    with pytest.raises(DataError, match="no readable Optuna study") as error:
        read_studies([folder], "mysql://anna:secret@host/tune")
    assert "secret" not in str(error.value)
    record(folder, "postgresql://anna@host/tune", "b")
    with pytest.raises(MissingDataError, match="no study 'b' in 'postgresql://anna@host/tune'"):
        read_studies([folder], url)


@pytest.mark.parametrize("lost", [-math.inf, math.inf])
def test_trials_of_an_infinite_value_are_left_out_and_counted(tmp_path, lost):
    folder = tmp_path / "odd"
    folder.mkdir()
    study = optuna.create_study(
        study_name="odd", direction="maximize", storage=f"sqlite:///{folder / 'study.db'}"
    )
    values = iter([lost, 0.5, 0.25, lost, 0.75, 0.5])
    study.enqueue_trial({"x": 0.5}, user_attrs={"baseline": True})

    def objective(trial):
        trial.suggest_float("x", 0, 1)
        trial.suggest_categorical("odd", [math.inf, None])
        if trial.number == 5:
            trial.report(lost, 1)
            raise optuna.TrialPruned
        return next(values)

    study.optimize(objective, n_trials=6)
    (found,) = read_studies([folder])
    assert [trial.number for trial in found.whole] == [1, 2, 4]
    assert found.best.number == 4
    text = study_section(found, charts := Charts())
    assert "5 ran to their end, 1 were pruned. Of those that ran to their end, 2 have no" in text
    json.loads(charts.json(), parse_constant=lambda name: pytest.fail(name))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([None, math.nan, math.inf, -math.inf, -1.0, 0.0, 1e308, -1e308]),
            st.booleans(),
            st.booleans(),
            st.sampled_from([None, math.nan, math.inf, 1.0, 2, "?", True]),
        ),
        max_size=6,
    )
)
@example([(1e308, False, False, None), (-1e308, False, False, None)])
def test_any_values_make_a_section(trials):
    study = odd_study(
        Path("nowhere"),
        *(Trial(n, value, p, b, {"x": x}) for n, (value, p, b, x) in enumerate(trials)),
    )
    study_section(study, charts := Charts())
    json.loads(charts.json(), parse_constant=lambda name: pytest.fail(name))


def test_history_marks_the_baseline_and_the_pruned(make_study):
    (study,) = read_studies([make_study("a")])
    history = study_figures(study)[0]
    assert trace(history, "where the search started")["x"] == [0]
    assert trace(history, "pruned")["x"] == [3, 7, 11]
    best = trace(history, "best so far")["y"]
    assert best == sorted(best)
    assert best[-1] == pytest.approx(study.best.value, rel=1e-5)
    assert "learning_rate = 0.001" in trace(history, "where the search started")["text"][0]


def test_every_trial_is_a_line_over_its_settings(make_study):
    (study,) = read_studies([make_study("a")])
    figure = study_figures(study)[-1]
    lines = {t["name"]: t for t in figure.spec["data"]}
    assert len(lines) == len(study.whole) == 9
    rows = [*study.importances, "validation"]
    started = lines["trial 0"]
    place = dict(zip(rows, started["x"], strict=True))
    assert place["learning_rate"] == pytest.approx(1 / 3, abs=1e-3)  # 1e-3 in 1e-4 .. 1e-1, log
    assert (place["layers"], place["negatives"]) == (0.5, 0)
    assert started["line"]["dash"] == "dot"
    best = lines[f"trial {study.best.number}"]
    assert best["x"][-1] == 1
    assert best["line"]["width"] == max(t["line"]["width"] for t in lines.values())
    said = [note["text"] for note in figure.spec["layout"]["annotations"]]
    assert "<b>learning_rate</b> (log)" in said
    assert {"all", "batch", "0.0001", "0.1"} <= set(said)


def test_plotly_accepts_the_figures_of_a_study(make_study):
    graph_objects = pytest.importorskip("plotly.graph_objects")
    (study,) = read_studies([make_study("a")])
    figures = study_figures(study)
    assert len(figures) == 3
    for figure in figures:
        graph_objects.Figure(figure.spec)
        json.dumps(figure.spec, allow_nan=False)


def odd_study(tmp_path, *trials: Trial) -> Study:
    ranges = {"<b>": Range(choices=("<i>", None)), "x": Range(1.0, 1.0)}
    return Study(tmp_path, "<s>", "value", {"method": "<m>"}, trials, ranges, {})


def test_hostile_names_and_odd_values_are_drawn_as_text(tmp_path):
    chosen = {"<b>": "<i>", "x": 1.0}
    study = odd_study(
        tmp_path,
        Trial(0, 0.0, False, True, chosen),
        Trial(1, math.nan, False, False, {"x": "?"}),
        Trial(2, None, True, False, {}),
    )
    text = study_section(study, charts := Charts())
    assert not any(tag in text for tag in ("<b>", "<i>", "<s>"))
    assert "<" not in charts.json()
    drawn = json.dumps([figure.spec for figure in study_figures(study)])
    assert "<i>" not in drawn
    assert "<b><b>" not in drawn


def test_a_study_without_a_whole_trial_says_how_many_there_are(tmp_path):
    study = odd_study(tmp_path, Trial(0, 0.1, True, True, {"x": 1.0}))
    text = study_section(study, Charts())
    assert "1 trials: 0 ran to their end, 1 were pruned." in text
    assert "<table" not in text
