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
            "peak_device_memory_bytes": 5 * 2**28,
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


@pytest.fixture
def make_study(tmp_path: Path) -> Callable[..., Path]:
    """`make_study("a", trials=12)` -> a folder as `graphcl tune` writes it, with a toy study."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def build(name: str, *, trials: int = 12, best: bool = True, journal: bool = False) -> Path:
        folder = tmp_path / "tune" / name
        folder.mkdir(parents=True)
        if journal:
            backend = optuna.storages.journal.JournalFileBackend(str(folder / "study.journal"))
            storage: Any = optuna.storages.JournalStorage(backend)
        else:
            storage = f"sqlite:///{folder / 'study.db'}"
        study = optuna.create_study(
            study_name=name, storage=storage, direction="maximize",
            sampler=optuna.samplers.RandomSampler(seed=0),
        )  # fmt: skip
        searched = {"method": "lightgcl", "dataset": "ml-100k", "task": "ranking"}
        study.set_user_attr("specification", searched)
        start = {"learning_rate": 1e-3, "layers": 2, "negatives": "all"}
        study.enqueue_trial(start, user_attrs={"baseline": True})

        def objective(trial: optuna.Trial) -> float:
            rate = trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)
            layers = trial.suggest_int("layers", 1, 3)
            trial.suggest_categorical("negatives", ["all", "batch"])
            value = 0.3 - 0.02 * (np.log10(rate) + 2) ** 2 + 0.01 * layers
            trial.report(value / 2, 1)
            if trial.number % 4 == 3:
                raise optuna.TrialPruned
            return float(value)

        study.optimize(objective, n_trials=trials)
        if best:
            (folder / "best.yaml").write_text("tuned:\n  validation: {recall@20: 0.3}\n")
        return folder

    return build
