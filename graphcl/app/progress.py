"""What a person sees while a run goes on: a progress bar on a terminal, single lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from graphcl.train.sinks.contract import Record, Sink

SECONDS_BETWEEN_LINES = 30.0
"""Of training, off a terminal: a file of output stays short, and nobody waits long for news."""


class ProgressDisplay:
    """Shows epochs, the loss and the best validation value."""

    def __init__(self, console: Console, title: str) -> None:
        self.console = console
        self.title = title

    def seed(self, seed: int, epochs: int, metric: str, before: Mapping[str, Any]) -> Sink:
        """A sink that shows the training of one seed: a bar, or off a terminal a line now and then.

        Args:
            seed: the seed.
            epochs: how many there will be at most.
            metric: the validation metric that selects.
            before: the `progress` of the checkpoint that it goes on from; {} at the start.
        """
        shown = _Bar if self.console.is_terminal else _Lines
        return shown(self.console, f"{self.title} seed {seed}", epochs, metric, before)

    def tell_idle(self, method: str, idle: int, count: int) -> None:
        """One line about processes that have no seed to train."""
        self.console.print(
            f"{idle} of {count} processes have nothing to do: {method} divides its seeds among "
            "processes, not its batches",
            highlight=False,
        )

    def tell_device(self, device: str) -> None:
        """One line about a GPU that is used."""
        self.console.print(f"device: {device}", highlight=False, markup=False)

    def tell_complete(self, folder: Path) -> None:
        """One line about a run that has nothing left to do."""
        self.console.print(
            f"the run in '{folder}' is complete: nothing was run or changed",
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip

    def finish_seed(self, seed: int, metric: str, value: float, seconds: float) -> None:
        """One line per finished seed."""
        line = f"{self.title} seed {seed}: test {metric} {value:.4f} after {seconds:.0f} s"
        self.console.print(line, highlight=False)


class _Shown(Sink):
    """Knows the best validation value, whatever shows it."""

    def __init__(self, metric: str, before: Mapping[str, Any]) -> None:
        self._metric = metric
        self._best: tuple[float, int] | None = None
        if before.get("best_value") is not None:
            self._best = before["best_value"], before["best_epoch"]

    def state(self, record: Record) -> str:
        """The loss of an epoch's record, and the best until then."""
        text = f"loss {record['loss']['total']:.4f}"
        return (
            text if self._best is None else f"{text}  best {self._best[0]:.4f} at {self._best[1]}"
        )

    def write(self, record: Record) -> None:
        """Remember the best, and show an epoch."""
        if record.get("best"):
            self._best = record["validation"][self._metric], record["epoch"]
        if "loss" in record:
            self.show(record["epoch"], self.state(record))

    def show(self, epoch: int, state: str) -> None:
        """An epoch that is over."""


class _Lines(_Shown):
    def __init__(
        self, console: Console, title: str, epochs: int, metric: str, before: Mapping[str, Any]
    ) -> None:
        super().__init__(metric, before)
        self._console, self._title, self._epochs = console, title, epochs
        self._last = time.monotonic()

    def show(self, epoch: int, state: str) -> None:
        """A line, if none was printed lately."""
        now = time.monotonic()
        if now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            line = f"{self._title}: epoch {epoch} of {self._epochs}  {state}"
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)


class _Bar(_Shown):
    def __init__(
        self, console: Console, title: str, epochs: int, metric: str, before: Mapping[str, Any]
    ) -> None:
        super().__init__(metric, before)
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"), TimeRemainingColumn(),
        )  # fmt: skip
        self._progress = Progress(*columns, console=console, transient=True)
        self._task = self._progress.add_task(
            title, total=epochs, completed=before.get("epoch", 0), state=""
        )
        self._progress.start()

    def show(self, epoch: int, state: str) -> None:
        """Move on to an epoch."""
        self._progress.update(self._task, completed=epoch, state=state)

    def close(self, failed: bool) -> None:
        """Take the bar away."""
        self._progress.stop()
