"""A pipe under a file's name is refused: opening it would wait for ever."""

from __future__ import annotations

import os

import pytest

from graphcl.config import read_yaml
from graphcl.errors import CheckpointError, ConfigError, DataError, OutputError
from graphcl.report.read import read_run
from graphcl.train.checkpoint import load_checkpoint
from graphcl.train.log import rewind
from recsys.data import read_interactions

READERS = [
    ("config.yaml", read_yaml, ConfigError),
    ("last.safetensors", load_checkpoint, CheckpointError),
    ("log.jsonl", lambda path: rewind(path, 0, 0), OutputError),
    ("result.json", lambda path: read_run(path.parent), DataError),
    ("log.csv", read_interactions, DataError),
]


@pytest.mark.parametrize(("name", "read", "error"), READERS)
def test_a_pipe_is_no_file(name, read, error, tmp_path):
    os.mkfifo(tmp_path / name)
    with pytest.raises(error, match="file"):
        read(tmp_path / name)


@pytest.mark.parametrize(("name", "read", "error"), READERS[:4])
def test_a_folder_is_no_file(name, read, error, tmp_path):
    (tmp_path / name).mkdir()
    with pytest.raises(error, match="got a folder"):
        read(tmp_path / name)
