"""Training epochs of LightGCN and LightGCL: ours beside RecBole's and LightGCL as released.

    GRAPHCL_DATA=... .venv-recbole/bin/python benchmarks/epochs.py ml-100k
    GRAPHCL_DATA=... .venv-recbole/bin/python benchmarks/epochs.py gowalla --steps 5

`make recbole` makes that environment. RecBole's LightGCN is RecBole's own, trained by its own
trainer with its own loader and negatives; only its adjacency is built in another way, as scipy no
longer has what RecBole calls (the entries are the same). LightGCL's released way is written from
its definition: negatives one by one from a dictionary, torch's DataLoader over triples, products in
coordinate form, exponentials of all inner products with all nodes, all parameters penalised.

Everybody trains on the same interactions with the same batch. Variants take turns in one process
and medians of CPU seconds are compared. With `--steps`, that many steps of an epoch are timed and
counted for all of them; what is done once an epoch is timed whole. Answers are compared first.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import sparse_peers as peers
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from graphcl.config import configure
from graphcl.train.guard import check_gradients, check_losses
from recsys.data import Interactions
from recsys.data.atomic import write_recbole
from recsys.data.batches import TripleBatch
from recsys.data.load import load_interactions
from recsys.data.published import load_published_split
from recsys.methods.lightgcl import LightGCL
from recsys.methods.lightgcn import LightGCN
from recsys.recbole.environment import recbole_environment
from recsys.recbole.logs import interactions_of

DIMENSION, RATE, LAYERS = 64, 1e-3, 3
RANK, TEMPERATURE, CONTRAST, L2, LIGHTGCL_LAYERS = 5, 0.2, 0.2, 1e-7, 2
Epoch = Callable[[int | None], tuple[float, float, int]]
"""Steps, None for all -> seconds of what is done once, seconds of the steps, how many they were."""


def clock() -> float:
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


# ---- ours ----------------------------------------------------------------------------------------


def our_epoch(method: Any, generator: torch.Generator) -> Epoch:
    """What `graphcl.train.loop.Trainer` does in an epoch."""
    optimizer = method.optimizer()

    def epoch(steps: int | None) -> tuple[float, float, int]:
        start = clock()
        method.train()
        method.epoch_start(1, generator)
        batches = method.batches(generator)
        first = next(batches)  # the negatives of the whole epoch are drawn here
        prepared = clock()
        count = 0
        for batch in islice(_chained(first, batches), steps):
            optimizer.zero_grad(set_to_none=True)
            parts = method.loss(batch, generator)
            check_losses(parts, 1, 1)
            parts["total"].backward()
            check_gradients(method.named_parameters(), 1, 1)
            optimizer.step()
            count += 1
        return prepared - start, clock() - prepared, count

    return epoch


def _chained(first: TripleBatch, others: Iterator[TripleBatch]) -> Iterator[TripleBatch]:
    yield first
    yield from others


# ---- RecBole's LightGCN --------------------------------------------------------------------------


def recbole_trainer(log: Interactions, batch: int, folder: Path) -> tuple[Any, Any]:
    """RecBole's trainer of its LightGCN, and the loader; inside `recbole_environment`."""
    from recbole.config import Config
    from recbole.data.dataset import Dataset
    from recbole.data.utils import create_samplers, get_dataloader
    from recbole.model.general_recommender.lightgcn import LightGCN as Theirs
    from recbole.trainer import Trainer
    from recbole.utils import init_seed

    class WithTodaysScipy(Theirs):
        def get_norm_adj_mat(self) -> Tensor:
            found = self.interaction_matrix
            size = self.n_users + self.n_items
            ends = (found.row, found.col + self.n_users)
            half = scipy.sparse.coo_matrix((np.ones(found.nnz, np.float32), ends), (size, size))
            graph = (half + half.T).tocsr()
            scale = scipy.sparse.diags((np.asarray(graph.sum(1)).ravel() + 1e-7) ** -0.5)
            normal = (scale @ graph @ scale).tocoo()
            place = torch.from_numpy(np.stack([normal.row, normal.col]).astype(np.int64))
            # Not coalesced, as RecBole leaves it.
            return torch.sparse_coo_tensor(
                place, torch.from_numpy(normal.data.astype(np.float32)), (size, size),
                check_invariants=False,
            )  # fmt: skip

    WithTodaysScipy.__name__ = "LightGCN"
    write_recbole(log, folder / "log", "log")
    config = Config(
        model=WithTodaysScipy,
        dataset="log",
        config_dict={
            "data_path": str(folder), "load_col": {"inter": ["user_id", "item_id"]},
            "checkpoint_dir": str(folder / "saved"), "show_progress": False,
            "embedding_size": DIMENSION, "n_layers": LAYERS, "reg_weight": 1e-4,
            "require_pow": True, "learning_rate": RATE, "train_batch_size": batch,
        },
    )  # fmt: skip
    init_seed(config["seed"], config["reproducibility"])
    whole = Dataset(config)
    whole._change_feat_format()  # all of it is for training
    parts = [whole, whole, whole]
    sampler = create_samplers(config, whole, parts)[0]
    loader = get_dataloader(config, "train")(config, whole, sampler, shuffle=True)
    model = WithTodaysScipy(config, whole)
    return Trainer(config, model), loader


def recbole_epoch(trainer: Any, loader: Any) -> Epoch:
    def epoch(steps: int | None) -> tuple[float, float, int]:
        count = len(loader) if steps is None else min(steps, len(loader))
        start = clock()
        trainer._train_epoch(islice(loader, count), 0)
        return 0.0, clock() - start, count

    return epoch


# ---- LightGCL as released ------------------------------------------------------------------------


class ReleasedLightGCL(nn.Module):
    """Sections 3.2 to 3.4 of arXiv 2302.08191 as the released code turned them."""

    def __init__(self, log: Interactions) -> None:
        super().__init__()
        user, item = log.edges()
        degrees = torch.bincount(user).double(), torch.bincount(item).double()
        value = (degrees[0][user] * degrees[1][item]).rsqrt().float()
        shape = (log.num_users, log.num_items)
        self.adjacency = torch.sparse_coo_tensor(
            torch.stack([user, item]), value, shape, check_invariants=False
        ).coalesce()
        left, singular, right = torch.svd_lowrank(self.adjacency, q=RANK)
        self.left, self.right = left, right
        self.scaled_left, self.scaled_right = left * singular, right * singular
        self.users = nn.Parameter(nn.init.xavier_uniform_(torch.empty(shape[0], DIMENSION)))
        self.items = nn.Parameter(nn.init.xavier_uniform_(torch.empty(shape[1], DIMENSION)))

    def forward(self, user: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        users, items = [self.users], [self.items]
        low_users, low_items = [self.users], [self.items]
        for _ in range(LIGHTGCL_LAYERS):
            before = users[-1], items[-1]
            users.append(torch.sparse.mm(self.adjacency, before[1]))
            items.append(torch.sparse.mm(self.adjacency.transpose(0, 1), before[0]))
            low_users.append(self.scaled_left @ (self.right.T @ before[1]))
            low_items.append(self.scaled_right @ (self.left.T @ before[0]))
        main, low = (sum(users), sum(items)), (sum(low_users), sum(low_items))
        gap = (main[0][user] * (main[1][positive] - main[1][negative])).sum(1)
        ranking = -gap.sigmoid().log().mean()
        contrast = torch.zeros(())
        for side, nodes in enumerate((user, torch.cat([positive, negative]))):
            anchor = low[side][nodes]
            others = torch.log(torch.exp(anchor @ main[side].T / TEMPERATURE).sum(1) + 1e-8)
            own = ((anchor * main[side][nodes]).sum(1) / TEMPERATURE).clamp(-5, 5)
            contrast = contrast + others.mean() - own.mean()
        penalty = sum(parameter.norm(2).square() for parameter in self.parameters())
        return ranking + CONTRAST * contrast + L2 * penalty


def released_epoch(model: ReleasedLightGCL, log: Interactions, batch: int) -> Epoch:
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    users, positives = log.edges()
    matrix = scipy.sparse.coo_matrix(
        (np.ones(len(users), np.float32), (users.numpy(), positives.numpy())),
        (log.num_users, log.num_items),
    )
    taken = matrix.todok()

    def epoch(steps: int | None) -> tuple[float, float, int]:
        start = clock()
        drawn = peers.negatives_by_dictionary(users.numpy(), log.num_items, taken)
        data = TensorDataset(users, positives, torch.from_numpy(drawn))
        prepared = clock()
        count = 0
        for triple in islice(DataLoader(data, batch, shuffle=True), steps):
            optimizer.zero_grad()
            model(*triple).backward()
            optimizer.step()
            count += 1
        return prepared - start, clock() - prepared, count

    return epoch


# ---- the race ------------------------------------------------------------------------------------


def check_lightgcn(ours: LightGCN, model: Any) -> None:
    """The same embeddings lead to the same final ones; node 0 of each side of theirs is padding."""
    tables = model.user_embedding.weight, model.item_embedding.weight
    with torch.no_grad():
        ours.embeddings.copy_(torch.cat([table[1:] for table in tables]))
        for theirs, own in zip(model.forward(), ours.propagate(), strict=True):
            torch.testing.assert_close(theirs[1:], own, rtol=1e-4, atol=1e-6)


def check_lightgcl(ours: LightGCL, released: ReleasedLightGCL, batch: TripleBatch) -> None:
    """The same loss from the same embeddings and, as theirs has a random start, the same SVD."""
    with torch.no_grad():
        ours.embeddings.copy_(torch.cat([released.users, released.items]))
        for own, theirs in ((ours.user_factor, released.left), (ours.item_factor, released.right)):
            own.copy_(theirs)
        ours.singular.copy_((released.scaled_left / released.left).nanmedian(0).values)
        found = float(released(batch.users, batch.positives, batch.negatives))
        wanted = float(ours.loss(batch, torch.Generator())["total"])
    assert math.isclose(found, wanted, rel_tol=1e-4), (found, wanted)


def race(variants: dict[str, Epoch], steps: int | None, total: int, rounds: int) -> None:
    runs: dict[str, list[tuple[float, float, float]]] = {name: [] for name in variants}
    for epoch in variants.values():
        epoch(1)
    for _ in range(rounds):
        for name, epoch in variants.items():
            once, stepping, count = epoch(steps)
            one = stepping / count
            runs[name].append((once, one, once + one * total))
    print("| variant | once an epoch, s | a step, ms | epoch, s | times faster |")
    print("|---|---|---|---|---|")
    base = statistics.median(run[2] for run in next(iter(runs.values())))
    for name, measured in runs.items():
        once, one, whole = (statistics.median(column) for column in zip(*measured, strict=True))
        print(f"| {name} | {once:.3g} | {1e3 * one:.3g} | {whole:.3g} | {base / whole:.1f} |")


def training_log(name: str) -> Interactions:
    if name == "gowalla":
        return load_published_split("gowalla", None, seed=0).history
    return load_interactions(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--parts", nargs="+", default=["lightgcn", "lightgcl"])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    batch, steps, rounds = arguments.batch, arguments.steps, arguments.rounds
    with recbole_environment(), tempfile.TemporaryDirectory() as folder:
        written = training_log(arguments.dataset).unique()
        trainer, loader = recbole_trainer(written, batch, Path(folder))
        log = interactions_of(loader._dataset)
        total = len(loader)
        print(
            f"{arguments.dataset}: {log.num_users} users, {log.num_items} items, {len(log)} "
            f"interactions, {total} steps of {batch} triples"
        )
        if "lightgcn" in arguments.parts:
            race_lightgcn(log, trainer, loader, batch, steps, rounds)
    if "lightgcl" in arguments.parts:
        race_lightgcl(log, total, batch, steps, rounds)


def race_lightgcn(
    log: Interactions, trainer: Any, loader: Any, batch: int, steps: int | None, rounds: int
) -> None:
    torch.manual_seed(0)
    settings = {"layers": LAYERS, "batch_size": batch, "learning_rate": RATE, "l2": 1e-4}
    ours = LightGCN(configure(LightGCN.Config, {**settings, "dimension": DIMENSION}), log)
    check_lightgcn(ours, trainer.model)
    variants = {
        "RecBole 1.2.1": recbole_epoch(trainer, loader),
        "ours": our_epoch(ours, torch.Generator().manual_seed(0)),
    }
    print("\n### LightGCN, three layers\n")
    race(variants, steps, len(loader), rounds)


def race_lightgcl(
    log: Interactions, total: int, batch: int, steps: int | None, rounds: int
) -> None:
    torch.manual_seed(0)
    settings = {"batch_size": batch, "learning_rate": RATE, "dimension": DIMENSION, "rank": RANK}
    raw = {"temperature": TEMPERATURE, "contrast_weight": CONTRAST, "l2": L2}
    same, cosine, in_batch = (
        LightGCL(configure(LightGCL.Config, {**settings, **own}), log)
        for own in ({"variant": "released", **raw}, {}, {"negatives": "batch"})
    )
    released = ReleasedLightGCL(log)
    generator = torch.Generator().manual_seed(0)
    check_lightgcl(same, released, next(iter(same.batches(generator))))
    variants = {
        "as released": released_epoch(released, log, batch),
        "ours, the same objective": our_epoch(same, generator),
        "ours, cosine, all nodes": our_epoch(cosine, generator),
        "ours, cosine, nodes of the batch": our_epoch(in_batch, generator),
    }
    print("\n### LightGCL, two layers\n")
    race(variants, steps, total, rounds)


if __name__ == "__main__":
    main()
