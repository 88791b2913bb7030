"""TensorBoard: event files in the run folder, `tensorboard --logdir runs` shows them.

A resumed seed writes another file beside the first, which begins by telling TensorBoard to forget
what came before (`purge_step`) and holds all epochs itself, so that none is drawn twice or missing.
"""

from __future__ import annotations

from typing import ClassVar

from graphcl.train.sinks.contract import Record, Sink, TrackedRun, scalars


class TensorBoard(Sink):
    """Curves by epoch, the parameters as text and, at the end, in the HParams table."""

    package: ClassVar[str] = "tensorboard"

    def __init__(self, run: TrackedRun) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._parameters = {
            name: value if isinstance(value, bool | int | float) else str(value)
            for name, value in run.parameters.items()
        }
        self._measured: dict[str, float] = {}
        self._writer = SummaryWriter(str(run.folder / "tensorboard" / run.key), purge_step=0)
        rows = [f"| {name} | {value} |" for name, value in self._parameters.items()]
        table = "\n".join(["| parameter | value |", "|---|---|", *rows])
        self._writer.add_text("parameters", table)

    def write(self, record: Record) -> None:
        """One scalar each."""
        for name, value in scalars(record).items():
            self._writer.add_scalar(name, value, record["epoch"])
            if name.startswith(("validation/", "test/")):
                self._measured[name] = value

    def close(self, failed: bool) -> None:
        """Add the row of the HParams table; a failed seed gets none."""
        if not failed:
            from torch.utils.tensorboard.summary import hparams

            for summary in hparams(self._parameters, self._measured):
                self._writer.file_writer.add_summary(summary)  # type: ignore[attr-defined]
        self._writer.close()
