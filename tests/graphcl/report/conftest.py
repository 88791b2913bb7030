"""Builds run folders in the documented format."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

RunBuilder = Callable[..., Path]


def metric(values: list[float]) -> dict[str, Any]:
    return {"mean": float(np.mean(values)), "std": float(np.std(values)), "values": values}


@pytest.fixture
def make_run(tmp_path: Path) -> RunBuilder:
    """`make_run("grace-cora", method="grace", accuracy=[0.8, 0.81])` -> the run folder.

    Any other keyword replaces that key of result.json.
    """

    def build(
        name: str,
        *,
        method: str = "grace",
        accuracy: list[float] | None = None,
        metrics: dict[str, list[float]] | None = None,
        parts: tuple[str, ...] = ("total", "contrast"),
        epochs: int = 40,
        points: int = 60,
        snapshot: dict[str, Any] | None = None,
        **replaced: Any,
    ) -> Path:
        values = metrics or {"accuracy": accuracy or [0.80, 0.82, 0.81]}
        select = next(iter(values))
        seeds = list(range(len(values[select])))
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        stops = [epochs - 5 * seed for seed in seeds]
        result = {
            "method": method,
            "dataset": {"name": "cora", "hash": "4f1d0c0ffee1234567", "nodes": 2708, "classes": 7},
            "task": "node-classification",
            "protocol": {"name": "public", "split": "planetoid", "labels_per_class": 20},
            "metrics": {key: metric(numbers) for key, numbers in values.items()},
            "validation": {},
            "seeds": seeds,
            "baselines": {
                "raw-features": {"metrics": {select: metric([0.5] * len(seeds))}, "seeds": seeds}
            },
            "settings": {"temperature": 0.4, "epochs": epochs, "learning_rate": 0.001},
            "parameters": 123456,
            "seconds": 12.5,
            "epochs": stops,
            "best_epoch": [stop - 10 for stop in stops],
            "peak_memory_bytes": 3 * 2**27,
            "versions": {"python": "3.11.9", "torch": "2.13.0"},
            "command": f"graphcl run {method} cora --seeds {len(seeds)}",
            "started": "2026-01-02T03:04:05",
            "select": select,
        } | replaced
        (folder / "result.json").write_text(json.dumps(result))
        (folder / "config.yaml").write_text(f"method: {method}\n")
        with (folder / "log.jsonl").open("w") as log:
            for seed, stop in zip(seeds, stops, strict=True):
                for epoch in range(1, stop + 1):
                    loss = {
                        part: (3 + seed / 5) * np.exp(-epoch / (10 + 5 * number)) + 0.5
                        for number, part in enumerate(parts)
                    }
                    record = {"seed": seed, "epoch": epoch, "loss": loss, "seconds": 0.1}
                    log.write(json.dumps(record) + "\n")
                    if epoch % 5 == 0:
                        look = 0.8 - 0.3 * np.exp(-epoch / 8) - 0.002 * abs(epoch - stop + 10)
                        best = epoch <= stop - 10
                        record = {"seed": seed, "epoch": epoch, "best": best}
                        log.write(json.dumps({**record, "validation": {select: look}}) + "\n")
                log.write(json.dumps({"seed": seed, "epoch": stop, "stopped": "early"}) + "\n")
        random = np.random.default_rng(0)
        colour = random.integers(0, 7, points)
        arrays = {
            "embedding": random.normal(size=(7, 8))[colour] * 3 + random.normal(size=(points, 8)),
            "colour": colour,
            "colour_name": np.array("class"),
        }
        arrays["embedding"] = arrays["embedding"].astype(np.float32)
        if points:
            np.savez(folder / "snapshot.npz", **(arrays | (snapshot or {})))
        return folder

    return build
