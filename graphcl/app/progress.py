"""What a person sees while a run goes on: a progress bar on a terminal, single lines elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from graphcl.train.sinks.contract import Record, Sink


class ProgressDisplay:
    """Shows epochs, the loss and the best validation value."""

    def __init__(self, console: Console, title: str) -> None:
        self.console = console
        self.title = title

    def seed(self, seed: int, epochs: int, metric: str, before: Mapping[str, Any]) -> Sink:
        """A sink that shows the training of one seed; on a terminal only.

        Args:
            seed: the seed.
            epochs: how many there will be at most.
            metric: the validation metric that selects.
            before: the `progress` of the checkpoint that it goes on from; {} at the start.
        """
        if not self.console.is_terminal:
            return Sink()
        return _Bar(self.console, f"{self.title} seed {seed}", epochs, metric, before)

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


class _Bar(Sink):
    def __init__(
        self, console: Console, title: str, epochs: int, metric: str, before: Mapping[str, Any]
    ) -> None:
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"), TimeRemainingColumn(),
        )  # fmt: skip
        self._metric = metric
        self._best: tuple[float, int] | None = None
        if before.get("best_value") is not None:
            self._best = before["best_value"], before["best_epoch"]
        self._progress = Progress(*columns, console=console, transient=True)
        self._task = self._progress.add_task(
            title, total=epochs, completed=before.get("epoch", 0), state=""
        )
        self._progress.start()

    def write(self, record: Record) -> None:
        """Move on by an epoch, or remember the best."""
        if record.get("best"):
            self._best = record["validation"][self._metric], record["epoch"]
        if "loss" in record:
            state = f"loss {record['loss']['total']:.4f}"
            if self._best is not None:
                state += f"  best {self._best[0]:.4f} at {self._best[1]}"
            self._progress.update(self._task, completed=record["epoch"], state=state)

    def close(self, failed: bool) -> None:
        """Take the bar away."""
        self._progress.stop()
