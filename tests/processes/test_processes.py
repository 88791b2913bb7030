"""Two processes on one run: the result of one process, or of itself when it was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from graphcl.app.catalogue import load_class, method_table
from graphcl.methods.sharing import Sharing
from recsys.data.batches import SequenceBatches
from recsys.data.load import load_interactions

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="torch was built without distributed"
)

ROOT = Path(__file__).parents[2]
DIVIDING = [
    name for name in method_table() if load_class("method", name, method_table()).divides_batches
]
SETTINGS = {
    "grace": ["epochs=6", "evaluate_every=3"],
    "lightgcn": ["epochs=6", "evaluate_every=3", "batch_size=64"],
    "sasrec": ["epochs=4", "evaluate_every=2", "batch_size=10", "dropout=0", "dimension=16"],
}

Group = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def group() -> Iterator[Group]:
    """Runs a request of `harness.py`; by default `graphcl ARGUMENTS` in two processes."""
    harness = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("harness.py"))],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1",
             "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )  # fmt: skip

    def call(*arguments: Any, count: int = 2, **more: Any) -> dict[str, Any]:
        assert harness.stdin is not None
        assert harness.stdout is not None
        request = {"arguments": [str(argument) for argument in arguments], "count": count, **more}
        harness.stdin.write(json.dumps(request) + "\n")
        harness.stdin.flush()
        return json.loads(harness.stdout.readline())

    yield call
    harness.kill()
    harness.wait()


def command(method: str, data: Path, out: Path, *more: Any) -> list[Any]:
    settings = [word for setting in SETTINGS[method] for word in ("--set", setting)]
    return ["run", method, data, "--out", out, "--device", "cpu", *settings, *more]


def weights(run: Path, seed: int = 0, name: str = "last") -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / f"seed-{seed}" / f"{name}.safetensors")


def result(run: Path) -> dict[str, Any]:
    return json.loads((run / "result.json").read_text())


def metrics(run: Path) -> dict[str, list[float]]:
    return {name: metric["values"] for name, metric in result(run)["metrics"].items()}


def losses(run: Path, seed: int = 0) -> list[dict[str, float]]:
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [record["loss"] for record in records if record["seed"] == seed and "loss" in record]


@pytest.mark.parametrize("total", [2, 3, 7, 32])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_shares_are_all_rows_once_and_their_mean_is_the_mean(total, count):
    values = torch.rand(total, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    shares = [Sharing(rank, count).of(total) for rank in range(count)]
    if total < count:
        assert all(share.rows == slice(0, total) and share.count == 1 for share in shares)
    else:
        rows = [row for share in shares for row in range(total)[share.rows]]
        assert rows == list(range(total))
        sizes = [share.stop - share.start for share in shares]
        assert max(sizes) - min(sizes) <= 1
    means = torch.stack([share.mean(values[share.rows].mean()) for share in shares])
    torch.testing.assert_close(means.mean(), values.mean())


def test_some_windows_of_a_batch_are_the_batch_of_these_windows(tiny_log):
    batches = SequenceBatches(load_interactions(str(tiny_log)), 6, 8, padding=99)
    numbers = torch.randperm(len(batches.lengths), generator=torch.Generator().manual_seed(0))[:7]
    for part in (slice(0, 7), slice(0, 3), slice(3, 7), slice(6, 7)):
        own, expected = batches.gather(numbers).rows(part), batches.gather(numbers[part])
        for field in ("items", "lengths", "users", "targets", "places"):
            assert getattr(own, field).equal(getattr(expected, field)), (part, field)


@pytest.fixture(scope="module")
def steps(group, tiny_data, tmp_path_factory) -> Path:
    """The first step of every method that divides its batches, in both of two processes."""
    folder = tmp_path_factory.mktemp("steps")
    data = {task: str(path) for task, path in tiny_data.items()}
    answer = group(gradients=DIVIDING, data=data, folder=str(folder))
    assert answer["codes"] == [0, 0], answer["err"]
    return folder


@pytest.mark.parametrize("name", DIVIDING)
def test_the_mean_gradient_of_two_processes_is_that_of_one(steps, name):
    check_steps(steps, name)


@pytest.mark.parametrize("loss", ["sampled", "gbce", "bce", "bpr"])
def test_negatives_of_every_position_are_those_of_one_process(group, tiny_data, tmp_path, loss):
    answer = group(
        gradients=["sasrec", "bert4rec"],
        data={"next-item": str(tiny_data["next-item"])},
        folder=str(tmp_path),
        settings={"loss": loss, "negatives": 5, "shared_negatives": False},
    )
    assert answer["codes"] == [0, 0], answer["err"]
    for name in ("sasrec", "bert4rec"):
        check_steps(tmp_path, name)


def test_anchors_of_later_windows_are_those_of_one_process(group, tiny_data, tmp_path):
    names = ["iclrec", "icsrec", "sracl"]
    answer = group(
        gradients=names,
        data={"next-item": str(tiny_data["next-item"])},
        folder=str(tmp_path),
        settings={"max_length": 3},
    )
    assert answer["codes"] == [0, 0], answer["err"]
    for name in names:
        check_steps(tmp_path, name)


def check_steps(steps, name):
    members = [torch.load(steps / f"{name}.{rank}.pt") for rank in range(2)]
    for found in members:
        alone, together = found["alone"], found["group"]
        for part, value in alone["parts"].items():
            torch.testing.assert_close(together["parts"][part], value, rtol=1e-5, atol=1e-6)
        for key, gradient in alone["gradients"].items():
            if gradient is None:  # it is another's turn to learn
                assert together["gradients"][key] is None
                continue
            close = 2e-5 * float(gradient.abs().max())
            torch.testing.assert_close(together["gradients"][key], gradient, rtol=0, atol=close)
        assert together["stream"].equal(alone["stream"]), "the next batch would differ"
    for key, gradient in members[0]["group"]["gradients"].items():
        other = members[1]["group"]["gradients"][key]
        assert (gradient is other is None) or gradient.equal(other), "to the bit"


@pytest.mark.parametrize(
    ("method", "task"), [("grace", "node-classification"), ("lightgcn", "ranking")]
)
def test_divided_seeds_keep_their_bits(group, method, task, tiny_data, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    assert group(*command(method, tiny_data[task], one, "--seeds", 3), count=1)["codes"] == [0]
    answer = group(*command(method, tiny_data[task], two, "--seeds", 3))
    assert answer["codes"] == [0, 0], answer["err"]
    assert answer["out"][1] == answer["err"][1] == ""
    assert [answer["out"][0].count(f"seed {seed}: test") for seed in range(3)] == [1, 1, 1]
    assert (result(one)["processes"], result(two)["processes"]) == (1, 2)
    for key in ("metrics", "validation", "baselines", "seeds", "epochs", "best_epoch"):
        assert result(one)[key] == result(two)[key], key
    for seed in range(3):
        assert losses(one, seed) == losses(two, seed)
        for name in ("last", "best"):
            first, second = weights(one, seed, name), weights(two, seed, name)
            assert all(first[key].equal(second[key]) for key in first)


def test_divided_batches_end_where_those_of_one_process_do(group, tiny_log, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    assert group(*command("sasrec", tiny_log, one), count=1)["codes"] == [0]
    answer = group(*command("sasrec", tiny_log, two))
    assert answer["codes"] == [0, 0], answer["err"]
    assert answer["out"][1] == answer["err"][1] == ""
    for first, second in zip(losses(one), losses(two), strict=True):
        assert first == pytest.approx(second, rel=1e-5)
    for name, values in metrics(one).items():
        assert metrics(two)[name] == pytest.approx(values, abs=1e-6)
    first, second = weights(one), weights(two)
    for key in first:
        if key.startswith("model."):
            torch.testing.assert_close(second[key], first[key], rtol=1e-3, atol=1e-4)
        if key.startswith("random."):
            assert first[key].equal(second[key]), key


def test_killed_and_resumed_together_ends_with_the_same_bits(group, tiny_log, tmp_path):
    """With dropout, whose draws are each process's own; the other process says what happened."""
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    more = ["--set", "dropout=0.3", "--set", "epochs=12", "--checkpoint-seconds", 0]
    assert group(*command("sasrec", tiny_log, straight, *more))["codes"] == [0, 0]
    arguments = command("sasrec", tiny_log, broken, *more)
    for kill, lines in ((1, 5), (0, 9)):
        answer = group(*arguments, kill=kill, log=str(broken / "log.jsonl"), lines=lines)
        assert answer["codes"][kill] == -signal.SIGKILL
        assert answer["codes"][1 - kill] == 2, answer
        said = answer["err"][1 - kill]
        assert said.startswith("error: another process of this run was ended"), said
        assert said.count("\n") == 1, said
        arguments = command("sasrec", tiny_log, broken, *more, "--resume")
    assert group(*arguments)["codes"] == [0, 0]
    first, second = weights(straight), weights(broken)
    assert all(first[key].equal(second[key]) for key in first)
    assert losses(straight) == losses(broken)
    assert result(straight)["metrics"] == result(broken)["metrics"]


def test_a_run_goes_on_with_another_number_of_processes(group, tiny_log, tmp_path):
    """Between two epochs all processes are in the state that one would be in."""
    one, moved = tmp_path / "one", tmp_path / "moved"
    assert group(*command("sasrec", tiny_log, one), count=1)["codes"] == [0]
    arguments = command("sasrec", tiny_log, moved, "--checkpoint-seconds", 0)
    answer = group(*arguments, kill=0, log=str(moved / "log.jsonl"), lines=3)
    assert answer["codes"][0] == -signal.SIGKILL
    assert group(*arguments, "--resume", count=1)["codes"] == [0]
    for first, second in zip(losses(one), losses(moved), strict=True):
        assert first == pytest.approx(second, rel=1e-5)
    for name, values in metrics(one).items():
        assert metrics(moved)[name] == pytest.approx(values, abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "grase", "cora"], ["unknown method 'grase'"]),
        (["run", "lightgcn", "LOG", "--set", "learning_rate=1e30"], ["finite", "epoch 2"]),
        (["tune", "lightgcn", "LOG"], ["instead of torchrun"]),
    ],
)
def test_a_failure_is_one_sentence_and_ends_all(group, arguments, words, tiny_log, tmp_path):
    given = [tiny_log if word == "LOG" else word for word in arguments]
    answer = group(*given, "--out", tmp_path / "out")
    assert answer["codes"] == [2, 2]
    said = [text for text in answer["err"] if text]
    assert len(said) == 1, said
    for word in words:
        assert word in said[0]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "grace", "cora", "--seed", "1"], 2, "No such option: --seed"),
        (["run", "grace", "cora", "--seeds", "0"], 2, "--seeds"),
        (["report", "nowhere"], 2, "no run folder 'nowhere'"),
        (["list", "tasks"], 0, "ranking"),
    ],
)
def test_what_needs_one_process_is_said_once(group, arguments, code, words):
    answer = group(*arguments)
    assert answer["codes"] == [code, 0]
    assert words in answer["out"][0] + answer["err"][0]
    assert answer["out"][1] == answer["err"][1] == ""


def test_the_others_stop_when_one_fails_alone(group, tiny_graph, tmp_path):
    """The second seed's process cannot write; the first finishes its seed and waits for it."""
    out = tmp_path / "out"
    assert group(*command("grace", tiny_graph, out), count=1)["codes"] == [0]
    (out / "checkpoints" / "seed-2").write_text("in the way")
    answer = group(*command("grace", tiny_graph, out, "--seeds", 3, "--resume"))
    assert answer["codes"] == [2, 2]
    assert sorted(bool(text) for text in answer["err"]) == [False, True]
    assert "seed-2" in "".join(answer["err"])
    (out / "checkpoints" / "seed-2").unlink()
    assert group(*command("grace", tiny_graph, out, "--seeds", 3, "--resume"))["codes"] == [0, 0]
    assert result(out)["seeds"] == [0, 1, 2]


def test_torchrun_itself(tiny_log, tmp_path):
    out = tmp_path / "out"
    done = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
            "-m", "graphcl", *map(str, command("sasrec", tiny_log, out)),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1",
             "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("result:") == 1
    assert result(out)["processes"] == 2
