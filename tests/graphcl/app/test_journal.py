"""A journal whose last append was cut short goes on; Optuna's own never opens again."""

from __future__ import annotations

import json

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from graphcl.app.journal import HeartbeatJournal
from graphcl.errors import DataError


@pytest.fixture
def journal(tmp_path):
    """A journal with two finished trials."""
    path = tmp_path / "study.journal"
    run_trials(HeartbeatJournal(path, 30), 2)
    return path


def run_trials(storage, count):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(storage=storage, study_name="s", load_if_exists=True)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=count)
    return [trial.state.name for trial in study.trials]


def test_every_cut_of_the_last_record_is_mended(journal):
    content = journal.read_bytes()
    last = content.rfind(b"\n", 0, len(content) - 1) + 1
    for cut in range(last + 1, len(content), 7):
        journal.write_bytes(content[:cut])
        states = run_trials(HeartbeatJournal(journal, 30), 1)
        assert states[0] == "COMPLETE"
        assert len(states) == 3
        assert journal.read_bytes().startswith(content[:last])
        for line in journal.read_bytes().splitlines():
            json.loads(line)


def test_a_tail_torn_while_others_work_is_mended_before_the_next_append(journal):
    storage = HeartbeatJournal(journal, 30)
    run_trials(storage, 1)
    with journal.open("ab") as file:
        file.write(b'{"op_code":4,"worker_id":"dead')
    assert run_trials(storage, 1) == ["COMPLETE"] * 4
    assert run_trials(HeartbeatJournal(journal, 30), 1) == ["COMPLETE"] * 5


def test_a_record_glued_to_a_torn_one_is_freed(journal):
    lines = journal.read_bytes().splitlines(keepends=True)
    glued = b"".join(lines[:5]) + b'{"op_code":4,"wor' + b"".join(lines[5:])
    journal.write_bytes(glued)
    with pytest.raises(Exception):  # noqa: B017 - how Optuna alone meets it
        run_trials(JournalStorage(JournalFileBackend(str(journal))), 1)
    journal.write_bytes(glued)
    assert run_trials(HeartbeatJournal(journal, 30), 1) == ["COMPLETE"] * 3


def test_garbage_in_the_middle_is_refused_and_left_as_it_is(journal):
    lines = journal.read_bytes().splitlines(keepends=True)
    spoilt = b"".join([*lines[:3], b"\x00\xffgarbage\n", *lines[3:]])
    journal.write_bytes(spoilt)
    with pytest.raises(DataError, match="line 4"):
        HeartbeatJournal(journal, 30)
    assert journal.read_bytes() == spoilt


def test_optuna_itself_reads_the_file(journal):
    study = optuna.load_study(
        study_name="s", storage=JournalStorage(JournalFileBackend(str(journal)))
    )
    assert len(study.trials) == 2
