"""What a person sees while a run goes on: a progress bar on a terminal, single lines elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from graphcl.methods.contract import Method
from graphcl.train.loop import Listener
from graphcl.train.loop import Progress as TrainingProgress


class ProgressDisplay:
    """Shows epochs, the loss and the best validation value."""

    def __init__(self, console: Console, title: str) -> None:
        self.console = console
        self.title = title

    @contextmanager
    def seed(self, seed: int, method: Method) -> Iterator[Listener]:
        """Show the training of one seed; yields the listener to give to the trainer."""
        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"), TimeRemainingColumn(),
        )  # fmt: skip
        # rich draws nothing when the output is not a terminal.
        with Progress(*columns, console=self.console, transient=True) as bar:
            task = bar.add_task(f"{self.title} seed {seed}", total=method.config.epochs, state="")

            def listener(progress: TrainingProgress, losses: dict[str, float]) -> None:
                state = f"loss {losses['total']:.4f}"
                if progress.best_value is not None:
                    state += f"  best {progress.best_value:.4f} at {progress.best_epoch}"
                bar.update(task, completed=progress.epoch, state=state)

            yield listener

    def finish_seed(self, seed: int, metric: str, value: float, seconds: float) -> None:
        """One line per finished seed."""
        line = f"{self.title} seed {seed}: test {metric} {value:.4f} after {seconds:.0f} s"
        self.console.print(line, highlight=False)
