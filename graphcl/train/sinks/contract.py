"""What a sink is: the only thing the training loop knows about logging."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

from graphcl.atomic import write_text

Record = Mapping[str, Any]
"""A line of `log.jsonl`: `seed`, `epoch`, and `loss` (with `seconds`), `validation` (with
`best`), `test` or `stopped`."""

Value = str | int | float | bool | None


class Sink:
    """Takes the records of one seed; this one drops them.

    Epochs never decrease. A seed that is resumed is logged to a new sink, which is handed all
    records again from the first one on: training repeats those behind the checkpoint to the same
    bits, so a sink that finds some of them in place leaves them out.

    Used as a context manager it is closed at the end of the block.
    """

    package: ClassVar[str | None] = None
    """The package that it needs, where that is not always installed."""

    def write(self, record: Record) -> None:
        """Take one record."""

    def close(self, failed: bool) -> None:
        """No record will follow; `failed` tells whether an error or a person ended the seed."""

    def __enter__(self) -> Sink:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close(kind is not None)


class Sinks(Sink):
    """Hands every record to several sinks, in their order."""

    def __init__(self, *sinks: Sink) -> None:
        self._sinks = sinks

    def write(self, record: Record) -> None:
        """To each."""
        for sink in self._sinks:
            sink.write(record)

    def close(self, failed: bool) -> None:
        """Each, the last first, also when one of them fails at it."""
        with ExitStack() as stack:
            for sink in self._sinks:
                stack.callback(sink.close, failed)


class Guarded(Sink):
    """A sink outside our control: when it fails, it gets no more and the training goes on.

    Args:
        open_sink: makes the sink; a failure there counts like any other.
        failed: is told why, once.
    """

    def __init__(self, open_sink: Callable[[], Sink], failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        self._sink: Sink | None = None
        self._try(lambda: setattr(self, "_sink", open_sink()))

    def write(self, record: Record) -> None:
        """To the sink, unless it has failed before."""
        if self._sink:
            sink = self._sink
            self._try(lambda: sink.write(record))

    def close(self, failed: bool) -> None:
        """The sink, unless it has failed before."""
        if self._sink:
            sink = self._sink
            self._try(lambda: sink.close(failed))

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # whatever a server, a full disk or a library comes up with
            self._sink = None
            self._failed(error)


@dataclass(frozen=True)
class TrackedRun:
    """One seed, as a tracking service is told about it."""

    key: str
    """What tells it from the others in `folder`, the same when it is resumed: `seed-0`."""
    name: str
    """For people: `grace on cora, seed 0`."""
    group: str
    """What the seeds of one run have in common: the name of its folder."""
    folder: Path
    """Where a service that keeps files keeps them."""
    parameters: Mapping[str, Value]
    """Settings, data, protocol and versions, flat: `settings.epochs`, `dataset.hash`."""

    def kept_id(self, service: str) -> str | None:
        """The id that `service` gave this seed before it was resumed."""
        path = self._id_file(service)
        return path.read_text(encoding="utf-8").strip() if path.exists() else None

    def keep_id(self, service: str, identity: str) -> None:
        """Remember it for a resumed run."""
        write_text(self._id_file(service), identity + "\n")

    def _id_file(self, service: str) -> Path:
        return self.folder / "ids" / self.key / service


def scalars(record: Record) -> dict[str, float]:
    """The numbers of a record under flat names: `loss/total`, `validation/recall_at_20`.

    Services disagree on what a name may hold; `@` is what some refuse.
    """
    values = {
        f"{kind}/{name}".replace("@", "_at_"): float(value)
        for kind in ("loss", "validation", "test")
        for name, value in record.get(kind, {}).items()
    }
    if "seconds" in record:
        values["seconds"] = float(record["seconds"])
    return values
