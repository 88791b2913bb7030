"""`result.json`: what a run measured, put together from the records of its seeds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphcl.app.catalogue import method_table
from graphcl.app.environment import peak_memory_bytes
from graphcl.app.folder import RunFolder
from graphcl.app.settings import RunSpecification
from graphcl.errors import DataError
from graphcl.evaluate.contract import Split
from graphcl.report.read import read_result

Metrics = dict[str, float]


def baselines_of(specification: RunSpecification) -> Sequence[str]:
    """The methods that are run beside the one of `specification`."""
    table = method_table()
    return [
        name
        for name in specification.task.baselines
        if name in table and name != specification.method
    ]


def complete_result(
    folder: RunFolder, records: Mapping[int, Mapping[str, Any]], seeds: Sequence[int]
) -> dict[str, Any] | None:
    """The `result.json` of a run with nothing left to do; None if it is not that of its seeds."""
    try:
        measured = read_result(folder.path)
        result: dict[str, Any] = json.loads(folder.result.read_text(encoding="utf-8"))
    except DataError:
        return None
    values = {name: metric.values for name, metric in measured.metrics.items()}
    expected = summarise([dict(records[seed]["metrics"]) for seed in seeds])
    same = values == {name: metric["values"] for name, metric in expected.items()}
    return result if same and measured.seeds == list(seeds) else None


def result_of(
    specification: RunSpecification,
    split: Split,
    records: Sequence[dict[str, Any]],
    part: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of `result.json`; `part` is where it runs now."""
    seeds = [record["seed"] for record in records]
    parts = _parts(records) or [{**part, "seeds": seeds}]
    begun = {name: value for name, value in parts[0].items() if name != "seeds"}
    peaks = [record["peak_device_memory_bytes"] for record in records]
    on_device = [peak for peak in peaks if peak is not None]
    begun["device"] = " and ".join(dict.fromkeys(part.get("device", "cpu") for part in parts))
    return {
        "method": specification.method,
        "dataset": split.dataset,
        "task": specification.task.name,
        "protocol": split.protocol,
        # Nothing chose anything where a protocol has no validation.
        "select": specification.task.metric if any(r["validation"] for r in records) else None,
        "headline": list(specification.task.headline),
        "metrics": summarise([record["metrics"] for record in records]),
        "validation": summarise([record["validation"] for record in records]),
        "baselines": {
            name: {
                "metrics": summarise([record["baselines"][name] for record in records]),
                "seeds": seeds,
            }
            for name in baselines_of(specification)
        },
        "seeds": seeds,
        "epochs": [record["epochs"] for record in records],
        "best_epoch": [record["best_epoch"] for record in records],
        "settings": specification.settings.model_dump(),
        "parameters": records[0]["parameters"],
        "seconds": round(sum(record["seconds"] for record in records), 2),
        "peak_memory_bytes": max(record["peak_memory_bytes"] for record in records)
        or peak_memory_bytes(),
        "peak_device_memory_bytes": max(on_device, default=None),
        # How it was begun; with what it was resumed, and which seeds ran where, is in `parts`.
        **begun,
        **({"parts": parts} if len(parts) > 1 else {}),
    }


def _parts(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every stretch that the seeds ran in, each once with its seeds, oldest first."""
    parts: list[dict[str, Any]] = []
    for record in records:
        for part in record["parts"]:
            same = [known for known in parts if {**known, "seeds": None} == {**part, "seeds": None}]
            if same:
                same[0]["seeds"].append(record["seed"])
            else:
                parts.append({**part, "seeds": [record["seed"]]})
    return sorted(parts, key=lambda part: str(part["started"]))


def summarise(values: Sequence[Metrics]) -> dict[str, dict[str, Any]]:
    """Mean, sample standard deviation (0 for one seed) and values of each metric."""
    summary = {}
    for name in values[0]:
        column = [float(metrics[name]) for metrics in values]
        spread = float(np.std(column, ddof=1)) if len(column) > 1 else 0.0
        summary[name] = {"mean": float(np.mean(column)), "std": spread, "values": column}
    return summary
