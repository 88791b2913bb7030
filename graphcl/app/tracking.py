"""`--track`: which services are told about a run, and what they are told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from graphcl.app.catalogue import load_class
from graphcl.app.environment import versions
from graphcl.app.settings import RunSpecification
from graphcl.errors import ConfigError
from graphcl.evaluate.contract import Split
from graphcl.train.sinks import SINKS
from graphcl.train.sinks.contract import Guarded, Sink, TrackedRun, Value

Service = Callable[[TrackedRun], Sink]


class Tracking:
    """The services that were asked for, none by default.

    One that fails is reported in one sentence and left alone from then on: waiting for a dead
    server would hold up every seed anew.

    Args:
        services: by name, what makes the sink of a seed.
        report: takes the sentence.
    """

    def __init__(
        self, services: Mapping[str, Service] | None = None, report: Callable[[str], None] = print
    ) -> None:
        self._services = dict(services or {})
        self._report = report

    def seed(self, run: TrackedRun) -> list[Sink]:
        """A sink of each service that has not failed."""
        return [
            Guarded(partial(service, run), partial(self._drop, name))
            for name, service in list(self._services.items())
        ]

    def _drop(self, name: str, error: Exception) -> None:
        if self._services.pop(name, None):
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            self._report(f"{name} gets no more of this; training and log.jsonl go on: {reason}")


def tracking(names: Sequence[str], report: Callable[[str], None]) -> Tracking:
    """The services called `names`, all of them known to be installed.

    Raises:
        UnknownNameError: there is no such service; the message names the nearest.
        ConfigError: its package is not installed.
    """
    services = {}
    for name in dict.fromkeys(names):
        service = load_class("tracking service", name, SINKS)
        if find_spec(service.package) is None:
            raise ConfigError(
                f"--track {name} needs the package '{service.package}', which is not installed; "
                "the extra 'track' brings it: pip install 'graphcl[track]'"
            )
        services[name] = service
    return Tracking(services, report)


def tracked_run(
    specification: RunSpecification,
    split: Split,
    seed: int,
    folder: Path,
    *,
    trial: int | None = None,
    device: str = "cpu",
) -> TrackedRun:
    """One seed of the run, or of the `trial` of a study, in `folder`."""
    described = {
        **specification.as_dict(),
        "seed": seed,
        "dataset": split.dataset,
        "protocol": split.protocol,
        "versions": versions(),
        "device": device,
    }
    del described["seeds"]
    within, called = ("", "") if trial is None else (f"trial-{trial}/", f" trial {trial}")
    return TrackedRun(
        key=f"{within}seed-{seed}",
        name=f"{specification.method} on {split.dataset['name']}{called} seed {seed}",
        group=folder.resolve().name,
        folder=folder / "tracking",
        parameters=dict(_flat(described)),
    )


def _flat(content: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Value]]:
    pairs: list[tuple[str, Value]] = []
    for name, value in content.items():
        if isinstance(value, Mapping):
            pairs += _flat(value, f"{prefix}{name}.")
        else:
            plain = value is None or isinstance(value, bool | int | float | str)
            pairs.append((f"{prefix}{name}", value if plain else str(value)))
    return pairs
