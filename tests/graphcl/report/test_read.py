import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from graphcl.errors import ConfigError, DataError, MissingDataError
from graphcl.report import read_run, read_runs
from graphcl.report.curves import curves


def edit(folder: Path, change: Callable[[dict], None]) -> None:
    path = folder / "result.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_run_is_read_whole(make_run):
    run = read_run(
        make_run("a", epochs=12, snapshot={"spectrum": np.ones(3), "histogram/kept": np.arange(9)})
    )
    assert run.result.metrics["accuracy"].values == [0.80, 0.82, 0.81]
    assert run.log[0]["loss"].keys() == {"total", "contrast"}
    assert run.snapshot.embedding.shape == (60, 8)
    assert run.snapshot.colour_name == "class"
    assert run.snapshot.histograms["kept"].tolist() == list(range(9))
    assert run.snapshot.spectrum.tolist() == [1, 1, 1]


def test_log_and_snapshot_may_be_absent_and_unknown_keys_are_ignored(make_run):
    folder = make_run("a", points=0, from_a_later_version={"x": 1})
    (folder / "log.jsonl").unlink()
    run = read_run(folder)
    assert run.log == ()
    assert run.snapshot is None


def test_a_folder_named_twice_is_read_once(make_run):
    folder = make_run("a")
    assert len(read_runs([folder, folder.parent / "." / "a", make_run("b")])) == 2


def test_no_folder_is_refused():
    with pytest.raises(ConfigError, match="at least one run folder"):
        read_runs([])


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(MissingDataError, match=r"no run folder '.*nowhere'"):
        read_run(tmp_path / "nowhere")


def test_unfinished_run_says_how_to_finish_it(make_run):
    folder = make_run("a")
    (folder / "result.json").unlink()
    with pytest.raises(MissingDataError, match=r"did not finish.*--resume"):
        read_run(folder)


def test_folder_of_runs_names_the_first_run(make_run):
    folder = make_run("a")
    with pytest.raises(MissingDataError, match=r"it holds runs.*runs/a'"):
        read_run(folder.parent)


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe", b"[" * 100_000])
def test_result_that_is_not_json(make_run, content):
    folder = make_run("a")
    (folder / "result.json").write_bytes(content)
    with pytest.raises(DataError, match=r"result\.json' is not valid JSON") as error:
        read_run(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda r: r.pop("metrics"), "metrics: field required"),
        (lambda r: r["metrics"]["accuracy"].update(mean="high"), r"metrics\.accuracy\.mean"),
        (lambda r: r.update(seeds="0"), "seeds"),
        (lambda r: r["protocol"].pop("name"), "protocol must have a name"),
        (lambda r: r["dataset"].update(name=3), r"dataset must have a name \(got 3\)"),
        (lambda r: r.update(seconds=float("nan")), "seconds"),
        (lambda r: r.update(seconds=float("inf")), "seconds"),
        (lambda r: r.update(seconds=10**400), "seconds"),
        (lambda r: r.update(seconds=-1), "seconds"),
        (lambda r: r["baselines"]["raw-features"].update(seconds=float("nan")), "seconds"),
        (lambda r: r.update(peak_memory_bytes=10**400), "peak_memory_bytes"),
        (lambda r: r["best_epoch"].__setitem__(0, 10**23), "best_epoch"),
        (lambda r: r["epochs"].__setitem__(0, 2**63), "epochs"),
        (lambda r: r["seeds"].__setitem__(0, 10**400), "seeds"),
        (lambda r: r.update(method="\ud800"), "not valid JSON"),
    ],
)
def test_result_with_a_wrong_key_names_it(make_run, change, named):
    folder = make_run("a")
    edit(folder, change)
    with pytest.raises(DataError, match=named) as error:
        read_run(folder)
    assert "\n" not in str(error.value)


def test_result_that_is_not_an_object(make_run):
    folder = make_run("a")
    (folder / "result.json").write_text("[1, 2]")
    with pytest.raises(DataError, match="the whole file"):
        read_run(folder)


@pytest.mark.parametrize(
    "line",
    [
        b'{"seed": 0, "epo',
        b"3",
        b'{"seed": 0}',
        b'{"seed": "0", "epoch": 1}',
        b'{"seed": 0, "epoch": 1, "loss": {"total": "low"}}',
        b'{"seed": 0, "epoch": 1, "validation": 0.5}',
        b'{"seed": 0, "epoch": 1e23}',
        b'{"seed": 0, "epoch": 100000000000000000000000}',
        b'{"seed": 100000000000000000000000, "epoch": 1}',
        b'{"seed": 0, "epoch": 1, "loss": {"total": 1' + b"0" * 400 + b"}}",
        b'{"seed": 0, "epoch": 1, "validation": {"accuracy": -1' + b"0" * 400 + b"}}",
        b'{"seed": 0, "epoch": 1, "loss": {"\\ud800": 1}}',
    ],
)
def test_corrupt_log_line_is_named_by_number(make_run, line):
    folder = make_run("a")
    (folder / "log.jsonl").write_bytes(b'{"seed": 0, "epoch": 1}\n\n' + line + b"\n")
    with pytest.raises(DataError, match=r"log\.jsonl' line 3 is not a log record"):
        read_run(folder)


def test_snapshot_that_is_torn_or_no_archive(make_run):
    folder = make_run("a")
    path = folder / "snapshot.npz"
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"not an archive", b""):
        path.write_bytes(content)
        with pytest.raises(DataError, match="not a readable snapshot"):
            read_run(folder)


def test_snapshot_that_would_run_code_is_refused(make_run, tmp_path):
    class Attack:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "attacked",))

    folder = make_run("a", snapshot={"colour": np.array([Attack()] * 60, dtype=object)})
    with pytest.raises(DataError, match="not a readable snapshot"):
        read_run(folder)
    assert not (tmp_path / "attacked").exists()


@pytest.mark.parametrize(
    ("arrays", "named"),
    [
        ({"embedding": np.zeros(60)}, r"\(n, d\)"),
        ({"colour": np.zeros(59)}, r"\(59,\)"),
        ({"embedding": np.full((60, 2), "x")}, "must be numbers"),
        ({"spectrum": np.array(["x"])}, "must be numbers"),
    ],
)
def test_snapshot_of_the_wrong_shape(make_run, arrays, named):
    with pytest.raises(DataError, match=named):
        read_run(make_run("a", snapshot=arrays))


def example_arrays(**changed):
    arrays = {
        "user": np.array(["Zoë", "b"]),
        "history": np.array([["Amélie", "Heat, The"], ["x", ""]]),
        "recommended": np.array([["Up", ""], ["Alien", "Up"]]),
        "hit": np.array([[True, False], [False, True]]),
        "held_out": np.array([["Up"], ["Up"]]),
    }
    return {f"examples/{name}": array for name, array in (arrays | changed).items()}


def test_example_recommendations_are_read_without_their_filling(make_run):
    first, second = read_run(make_run("a", snapshot=example_arrays())).snapshot.examples
    assert (first.user, first.history, first.held_out) == ("Zoë", ("Amélie", "Heat, The"), ("Up",))
    assert (first.recommended, first.hits) == (("Up",), (True,))
    assert (second.recommended, second.hits) == (("Alien", "Up"), (False, True))
    assert read_run(make_run("b")).snapshot.examples == ()


@pytest.mark.parametrize(
    "changed",
    [
        {"user": np.array([1, 2])},
        {"hit": np.array([["yes"], ["no"]])},
        {"hit": np.zeros((2, 3), dtype=bool)},
        {"history": np.array(["x", "y"])},
        {"held_out": np.array([["Up"]])},
    ],
)
def test_malformed_examples_are_refused(make_run, changed):
    with pytest.raises(DataError, match="examples must be text"):
        read_run(make_run("a", snapshot=example_arrays(**changed)))


def test_a_missing_part_of_the_examples_is_refused(make_run):
    arrays = example_arrays()
    del arrays["examples/hit"]
    with pytest.raises(DataError, match="examples must be text"):
        read_run(make_run("a", snapshot=arrays))


def test_snapshot_that_lacks_an_array(make_run):
    folder = make_run("a")
    np.savez(folder / "snapshot.npz", embedding=np.zeros((3, 2)))
    with pytest.raises(DataError, match="lacks colour, colour_name"):
        read_run(folder)


def test_a_loss_that_is_no_number_is_a_gap_in_the_curve(make_run):
    folder = make_run("a", points=0)
    lines = [
        b'{"seed": 0, "epoch": %d, "loss": {"total": %s}}' % place
        for place in enumerate((b"1.5", b"NaN", b"Infinity", b"1e999", b"null", b"2"), start=1)
    ]
    (folder / "log.jsonl").write_bytes(b"\n".join(lines))
    (figure,) = curves(read_run(folder))
    assert figure.spec["data"][0]["y"] == [1.5, None, None, None, None, 2.0]
