"""The checkpoints of one seed: from the first save on, there is always one that loads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from graphcl.errors import CheckpointError
from graphcl.train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from graphcl.train.state import read_state


class CheckpointFolder:
    """`last` and `previous`, of which either goes on to the same end, and `best`.

    Each of the two holds the best weights so far as well, so that the weights and the epoch that
    is recorded for them are never of two different moments. `best` is written at the end.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.last = folder / "last.safetensors"
        self.previous = folder / "previous.safetensors"
        self.best = folder / "best.safetensors"
        self._last_is_good = False

    def save_last(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Write `last`; what was `last` becomes `previous`, if it was written or loaded here.

        One that is damaged, or that nobody looked at, must not take the place of a good one.

        Raises:
            OutputError: it cannot be written; a checkpoint that loads is still there.
        """
        keep = self.previous if self._last_is_good else None
        save_checkpoint(self.last, tensors, state, keep=keep)
        self._last_is_good = True

    def load_last(
        self, fingerprint: str, *, seed: int | None = None, epochs: int | None = None
    ) -> Checkpoint | None:
        """The newest good checkpoint, or None when there is none at all.

        Args:
            fingerprint: of the configuration, the data and the seed.
            seed: the seed that it must be of, if given.
            epochs: the most epochs that it can have come to, if given.

        Raises:
            CheckpointError: files exist but none of them is good, or it belongs to another
                configuration, data set or seed. The message says how to go on.
        """
        self._last_is_good = False
        failure: CheckpointError | None = None
        for path in (self.last, self.previous):
            if not path.exists():
                continue
            try:
                checkpoint = load_checkpoint(path)
                state = read_state(checkpoint, epochs)
            except CheckpointError as error:
                failure = failure or error
                continue
            for name, found, wanted in (
                ("fingerprint", state.fingerprint, fingerprint),
                ("seed", state.seed, state.seed if seed is None else seed),
            ):
                if found != wanted:
                    raise CheckpointError(
                        f"'{path}' belongs to another configuration or other data "
                        f"(got {name} {found}, this run has {wanted})"
                    )
            self._last_is_good = path == self.last
            return checkpoint
        if failure is not None:
            raise CheckpointError(f"{failure}; {self.way_on(self.previous)}")
        return None

    def way_on(self, path: Path) -> str:
        """What helps when `path` is of no use."""
        if path == self.last and self.previous.exists():
            return f"delete it, and --resume goes on from '{self.previous}'"
        return f"delete the folder '{self.folder}', and --resume starts this seed anew"
