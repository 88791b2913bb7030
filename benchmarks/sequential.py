"""Targets per second of sequence training and users per second of full ranking, beside others.

    GRAPHCL_DATA=... python benchmarks/sequential.py train --dataset amazon-beauty
    GRAPHCL_DATA=... python benchmarks/sequential.py evaluate --dataset amazon-beauty

`train` compares one SASRec, trained on all positions of histories at once (what the library
does), with the way of most published code: every prefix a row of its own, padded to the longest
length, of which the last position is a target. Loss, negatives and optimiser are the same; the
tests hold the two to the same value and gradient.

`evaluate` ranks the same scores by counting (what the library does), by RecBole's own collector
and evaluator where `recbole` can be imported, and by one argsort a user, all items as candidates.
The metrics must agree. Time with and without encoding the histories and scoring the items; the
evaluation of the library counts while it scores, so that scores are never held.

Variants take turns in one process; medians of CPU seconds are compared, so that a busy machine
hits all alike.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from recsys.data.subsequence_batches import SubsequenceBatch, SubsequenceBatches
from recsys.evaluate.full_ranking import Holdout, rank_users
from recsys.evaluate.metrics import Scores, find_places, metrics_per_user
from recsys.evaluate.next_item import NextItem
from recsys.methods.sasrec import SASRec
from recsys.views import Subsequences

CUTOFFS = (5, 10, 20)
WINDOW = 50
Metrics = dict[str, float]


def build(dataset: str, root: Path | None, loss: str, batch_size: int) -> tuple[SASRec, Holdout]:
    split = NextItem().load(dataset, None, 0, root)
    torch.manual_seed(0)
    config = SASRec.Config(
        layers=2, heads=2, max_length=WINDOW, loss=loss, negatives=256, batch_size=batch_size
    )
    return SASRec(config, split.train), split.validation


def forever(epochs: Callable[[torch.Generator], Iterator], seed: int = 0) -> Iterator:
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from epochs(generator)


def prefix_loss(
    method: SASRec, batch: SubsequenceBatch, generator: torch.Generator
) -> torch.Tensor:
    missing = WINDOW - batch.items.shape[1]
    items = functional.pad(batch.items, (0, missing), value=method.encoder.padding_id)
    # As published code has it: all positions through all blocks, of which one is used.
    states = method.encoder(items, batch.lengths)
    hidden = states[torch.arange(len(items)), batch.lengths - 1]
    table = method.encoder.item_table
    loss: torch.Tensor = method.next_item_loss(hidden, table, batch.targets, batch.users, generator)
    return loss


class Variant:
    """Steps of one way of training; `__call__` does some and returns targets per CPU second."""

    def __init__(self, name: str, method: SASRec) -> None:
        self.method, self.optimizer = method, method.optimizer()
        self.generator = torch.Generator().manual_seed(1)
        if name == "all positions":
            self.batches = forever(method.batches)
        else:
            rows = Subsequences(
                method.data.items, method.data.offsets, WINDOW, padding=method.encoder.padding_id
            )
            self.batches = forever(SubsequenceBatches(rows, 256).epoch)
        self.name = name

    def __call__(self, steps: int) -> float:
        self.method.train()
        targets, started = 0, time.process_time()
        for _, batch in zip(range(steps), self.batches, strict=False):
            self.optimizer.zero_grad(set_to_none=True)
            if self.name == "all positions":
                loss = self.method.loss(batch, self.generator)["total"]
            else:
                loss = prefix_loss(self.method, batch, self.generator)
            loss.backward()
            self.optimizer.step()
            targets += len(batch.targets)
        return targets / (time.process_time() - started)


def peak_megabytes(work: Callable[[], object]) -> int:
    """How far the resident set rises above where it stands (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew

    def kilobytes(field: str) -> int:
        status = Path("/proc/self/status").read_text()
        return int(status.split(f"{field}:")[1].split()[0])

    before = kilobytes("VmRSS")
    work()
    return (kilobytes("VmHWM") - before) // 1024


NAMES = ("prefix rows", "all positions")


def train(arguments: argparse.Namespace) -> None:
    def fresh(name: str) -> Variant:
        built = build(arguments.dataset, arguments.data_root, arguments.loss, 128)
        return Variant(name, built[0])

    if arguments.memory_of:
        variant = fresh(arguments.memory_of)
        variant(1)
        print(peak_megabytes(lambda: variant(arguments.steps)))
        return
    variants = [fresh(name) for name in NAMES]
    for variant in variants:
        variant(2)
    speeds: dict[str, list[float]] = {name: [] for name in NAMES}
    for _ in range(arguments.rounds):
        for variant in variants:
            speeds[variant.name].append(variant(arguments.steps))
    slow = statistics.median(speeds["prefix rows"])
    total = len(variants[0].method.data) - int((variants[0].method.data.lengths() > 0).sum())
    print(f"| {arguments.dataset}, {arguments.loss} | targets/s | s an epoch | times | peak MB |")
    print("|---|---|---|---|---|")
    for name in NAMES:
        speed = statistics.median(speeds[name])
        command = [sys.executable, *sys.argv, "--memory-of", name]
        memory = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        print(f"| {name} | {speed:,.0f} | {total / speed:.1f} | {speed / slow:.1f} | {memory} |")


def by_counting(scores: Scores, targets: torch.Tensor) -> Metrics:
    places = find_places(scores, torch.arange(len(targets)), targets)
    found = metrics_per_user(places, len(targets), CUTOFFS)
    return {
        f"{name}@{k}": float(found[f"{name}@{k}"].sum())
        for name in ("hit", "ndcg")
        for k in CUTOFFS
    }


def by_argsort(scores: torch.Tensor, targets: torch.Tensor) -> Metrics:
    found = {f"{name}@{k}": 0.0 for name in ("hit", "ndcg") for k in CUTOFFS}
    for row, target in zip(scores.numpy(), targets.tolist(), strict=True):
        ranking = np.argsort(-row)
        place = int(np.flatnonzero(ranking == target)[0])
        for k in CUTOFFS:
            found[f"hit@{k}"] += place < k
            found[f"ndcg@{k}"] += (place < k) / np.log2(place + 2)
    return found


def recbole_evaluator() -> Callable[[torch.Tensor, torch.Tensor], Metrics] | None:
    """RecBole 1.2.1's collector and evaluator on scores; None where it cannot be imported."""
    # RecBole imports tensorboard for logs that are not written here, and names that numpy
    # has dropped.
    for name, kind in (("float", float), ("int", int), ("bool8", np.bool_)):
        if name not in vars(np):
            setattr(np, name, kind)
    board = types.ModuleType("torch.utils.tensorboard")
    board.SummaryWriter = None  # type: ignore[attr-defined]
    sys.modules.setdefault("torch.utils.tensorboard", board)
    try:
        from recbole.evaluator import Evaluator
        from recbole.evaluator.collector import Collector
    except Exception as error:
        print(f"without RecBole: {error!r}")
        return None

    class Settings(dict):
        """What RecBole reads of its configuration."""

        def __missing__(self, key: str) -> None:
            return None

    settings = Settings(
        eval_args={"mode": "full"}, topk=list(CUTOFFS), device=torch.device("cpu"),
        metrics=["Hit", "NDCG"], metric_decimal_place=8,
    )  # fmt: skip
    evaluator = Evaluator(settings)

    def evaluate(scores: torch.Tensor, targets: torch.Tensor) -> Metrics:
        collector = Collector(settings)
        rows = torch.arange(len(scores))
        collector.eval_batch_collect(scores, None, rows, targets)
        found = evaluator.evaluate(collector.get_data_struct())
        return {name: value * len(scores) for name, value in found.items()}

    return evaluate


def evaluate(arguments: argparse.Namespace) -> None:
    method, holdout = build(arguments.dataset, arguments.data_root, "ce", 128)
    method.eval()
    users = torch.nonzero(holdout.targets.lengths() > 0).flatten()[: arguments.users]
    starts = holdout.targets.offsets[users]
    targets = holdout.targets.items[starts].long()
    # A model that has learned nothing ranks as slowly as one that has.
    blocks = [
        (part, targets[at])
        for part, at in zip(users.split(1024), torch.arange(len(users)).split(1024), strict=True)
    ]
    ways = {"argsort": by_argsort, "counting": by_counting}
    recbole = recbole_evaluator()
    if recbole is not None:
        ways = {"argsort": by_argsort, "RecBole": recbole, "counting": by_counting}
    timed = (*ways, "states", "scores", "from states")
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    results: dict[str, Metrics] = {name: {} for name in ways}
    for way in ways.values():  # not timed: what a first call sets up
        way(torch.rand(64, method.data.num_items), torch.zeros(64, dtype=torch.int64))
    for part, wanted in blocks:
        started = time.process_time()
        states, items = method.vectors(part, holdout.history)
        seconds["states"].append((time.process_time() - started) / len(part))
        started = time.process_time()
        scores = (states @ items.T).detach()
        seconds["scores"].append((time.process_time() - started) / len(part))
        started = time.process_time()
        by_counting((states, items), wanted)
        seconds["from states"].append((time.process_time() - started) / len(part))
        for name, way in ways.items():
            # One argsort a user takes long and always the same; a part of the users will do.
            few = slice(0, 64) if name == "argsort" else slice(None)
            scores[few].sum()  # each finds the scores where the product leaves them, in the cache
            started = time.process_time()
            found = way(scores[few], wanted[few])
            seconds[name].append((time.process_time() - started) / len(wanted[few]))
            if name == "argsort":
                found = by_argsort(scores[:64], wanted[:64])
                check = by_counting(scores[:64], wanted[:64])
                assert all(abs(found[key] - check[key]) < 1e-6 for key in found), (found, check)
            for key, value in found.items():
                results[name][key] = results[name].get(key, 0.0) + value
    if recbole is not None:
        gaps = [
            abs(results["RecBole"][key] - results["counting"][key]) for key in results["counting"]
        ]
        assert max(gaps) < 1e-4 * len(blocks), results
    encoding = statistics.median(seconds["states"])
    base = encoding + statistics.median(seconds["scores"])
    fastest = statistics.median(seconds["counting"])
    print(f"| {arguments.dataset}, {method.data.num_items} items | users/s, ranking | times slower "
          "than counting | users/s with the scores |")  # fmt: skip
    print("|---|---|---|---|")
    for name in ways:
        middle = statistics.median(seconds[name])
        print(
            f"| {name} | {1 / middle:,.0f} | {middle / fastest:.1f} | {1 / (base + middle):,.0f} |"
        )
    whole = encoding + statistics.median(seconds["from states"])
    print(f"| counting, scores never held | | | {1 / whole:,.0f} |")
    started = time.process_time()
    rank_users(method, holdout, CUTOFFS)
    took = time.process_time() - started
    print(f"validation of all {len(holdout.targets)} users, seen items masked: {took:.2f} CPU s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=["train", "evaluate"])
    parser.add_argument("--dataset", default="amazon-beauty")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--loss", default="sampled", choices=["sampled", "ce"])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--users", type=int, default=8192)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory-of", choices=NAMES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    {"train": train, "evaluate": evaluate}[arguments.part](arguments)


if __name__ == "__main__":
    main()
