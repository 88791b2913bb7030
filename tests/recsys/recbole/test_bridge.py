"""RecBole itself, where it is installed, trains and evaluates our methods on its MovieLens-100k."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from graphcl.errors import CheckpointError, ConfigError, MissingDataError, UnknownNameError
from recsys.data import from_ids
from recsys.evaluate.full_ranking import Holdout, mean_metrics, rank_users
from recsys.recbole import prepare, recbole_environment, recbole_run

pytest.importorskip("recbole", reason="the extra recbole is not installed")

CUTOFFS = (5, 10, 20)
EXACT = {"topk": list(CUTOFFS), "valid_metric": "Recall@10", "metric_decimal_place": 12}


def merged(first, second):
    """Two logs of the same users and items as one."""
    from recsys.data import Interactions

    return Interactions.from_indices(
        torch.cat([first.users(), second.users()]),
        torch.cat([first.items, second.items]),
        num_users=first.num_users,
        num_items=first.num_items,
    )


def same_metrics(theirs: dict[str, float], ours: dict[str, float]) -> None:
    compared = [f"{name}@{k}" for name in ("recall", "ndcg", "hit", "precision") for k in CUTOFFS]
    for name in compared:
        assert float(theirs[name]) == pytest.approx(ours[name], abs=1e-9), name
    assert len(compared) == 12


def test_general_method_trains_and_its_metrics_are_ours(tmp_path: Path) -> None:
    """One model, one split, two evaluators: RecBole's and ours."""
    from recsys.recbole.logs import interactions_of

    settings = {**EXACT, "epochs": 2, "train_batch_size": 8192, "eval_step": 2}
    with recbole_environment():
        made = prepare("LightGCL", "ml-100k", config_dict=settings, folder=tmp_path)
        best, found = made.trainer.fit(made.train_data, made.valid_data, verbose=False)
        tested = made.trainer.evaluate(made.test_data)
        parts = [
            interactions_of(loader.dataset)
            for loader in (made.train_data, made.valid_data, made.test_data)
        ]
    train, validation, test = parts
    assert (train.num_users, train.num_items) == (943, 1682)
    assert sum(map(len, parts)) == 100_000
    method = made.model.method
    assert method.config.batch_size == 8192
    assert float(best) == pytest.approx(float(found["recall@10"]))
    same_metrics(found, mean_metrics(rank_users(method, Holdout(train, validation), CUTOFFS)))
    known = merged(train, validation)
    same_metrics(tested, mean_metrics(rank_users(method, Holdout(known, test), CUTOFFS)))
    untrained = type(method)(method.config, train)
    before = mean_metrics(rank_users(untrained, Holdout(known, test), CUTOFFS))
    assert tested["recall@10"] > 3 * before["recall@10"]


def test_sequential_method_trains_and_its_metrics_are_ours(tmp_path: Path) -> None:
    from recsys.recbole.logs import interactions_of

    log = planted_sequences()
    settings = {
        **EXACT, "epochs": 3, "eval_step": 3, "dimension": 16, "layers": 1, "learning_rate": 0.01,
        "MAX_ITEM_LIST_LENGTH": 12,
    }  # fmt: skip
    with recbole_environment():
        made = prepare("SASRec", log, config_dict=settings, folder=tmp_path)
        _, found = made.trainer.fit(made.train_data, made.valid_data, verbose=False)
        tested = made.trainer.evaluate(made.test_data)
        train = interactions_of(made.train_data.dataset, sequential=True)
        rows = made.test_data.dataset.inter_feat
        users, targets = rows["user_id"] - 1, rows["item_id"] - 1
    method = made.model.method
    assert method.config.max_length == 12
    # Of ten items the last two are held out, and the eight before them are all trained on.
    assert train.lengths().tolist() == [8] * log.num_users
    names = {str(name): number for number, name in enumerate(log.user_ids)}
    for user in (0, 7, 31):
        mine = log.history(names[str(train.user_ids[user])])[:8]
        theirs = train.item_ids[train.history(user).numpy()]
        assert [str(name) for name in theirs] == [str(log.item_ids[i]) for i in mine]
    # RecBole's candidates are all items, those seen included.
    from recsys.data import Interactions

    held = Interactions.from_indices(
        users, targets, num_users=train.num_users, num_items=train.num_items
    )
    validated = Interactions.from_indices(
        made.valid_data.dataset.inter_feat["user_id"] - 1,
        made.valid_data.dataset.inter_feat["item_id"] - 1,
        num_users=train.num_users, num_items=train.num_items,
    )  # fmt: skip
    known = merged(train, validated)
    for theirs, history, wanted in ((found, train, validated), (tested, known, held)):
        ours = rank_users(method, Holdout(history, wanted), CUTOFFS, mask_seen="none")
        same_metrics(theirs, mean_metrics(ours))
    assert tested["hit@5"] > 0.5  # the next item is known from the last; chance is 5 / 24


def planted_sequences():
    """60 users who walk around a circle of 24 items from random starts, ten steps each."""
    generator = np.random.default_rng(0)
    starts = generator.integers(24, size=60)
    users = np.repeat(np.arange(60), 10)
    items = (np.repeat(starts, 10) + np.tile(np.arange(10), 60)) % 24
    return from_ids(
        [f"u{u}" for u in users], [f"i{i}" for i in items], times=np.tile(np.arange(10), 60)
    )


def two_groups(users: int = 40, items: int = 30):
    random_state = np.random.default_rng(0)
    rows = [
        (f"u{user}", f"i{item}")
        for user in range(users)
        for item in random_state.permutation(items // 2)[:9] + items // 2 * (user % 2)
    ]
    return from_ids([row[0] for row in rows], [row[1] for row in rows])


@pytest.mark.parametrize(
    "model", ["Popularity", "ItemKNN", "EASE", "BPR", "SGL", "ncl", "DCCF", "x-simgcl", "gru4rec"]
)
def test_runs_by_name(model: str) -> None:
    log = planted_sequences() if model == "gru4rec" else two_groups()
    settings = {"epochs": 2, "topk": [5], "valid_metric": "NDCG@5"}
    result = recbole_run(model, log, config_dict=settings)
    assert result["best_valid_score"] == result["best_valid_result"]["ndcg@5"]
    assert 0 <= result["test_result"]["recall@5"] <= 1
    assert set(result) == {
        "best_valid_score", "valid_score_bigger", "best_valid_result", "test_result",
    }  # fmt: skip


@pytest.mark.parametrize("length", [1, 2, 50])
def test_histories_are_put_together_again_whatever_their_length(
    tmp_path: Path, length: int
) -> None:
    """With a list length of 1 every row of RecBole's looks like the first of its user."""
    generator = np.random.default_rng(0)
    users = np.repeat([f"u{user}" for user in range(20)], 6)
    items = [f"i{item}" for item in generator.integers(0, 15, len(users))]
    log = from_ids(users, items, times=np.tile(np.arange(6), 20))
    settings = {"MAX_ITEM_LIST_LENGTH": length, "epochs": 1}
    with recbole_environment():
        found = prepare("SASRec", log, config_dict=settings, folder=tmp_path).model.log
    taken = {user: items[6 * row : 6 * row + 4] for row, user in enumerate(users[::6])}
    for row, user in enumerate(found.user_ids.tolist()):
        assert found.item_ids[found.history(row).numpy()].tolist() == taken[user]


def test_features_reach_the_methods_that_need_them() -> None:
    from recsys.data import Labels, Numbers

    log = two_groups()
    halves = [int(str(name)[1:]) < 15 for name in log.item_ids]
    log = log.with_features(
        {"kind": Labels.from_lists([["a"] if i % 2 else ["b"] for i in range(log.num_users)])},
        {
            "image": Numbers(torch.tensor([[float(h), 1.0, 0.5] for h in halves])),
            "genre": Labels.from_lists([["x", "y"] if h else ["z"] for h in halves]),
        },
    )
    for model in ("MMHCL", "FeatureCL"):
        assert recbole_run(model, log, config_dict={"epochs": 1})["test_result"]


def test_nothing_of_recbole_outlives_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["mine", "--learning_rate=0.5", "--epochs=99", "positional"])
    torch.manual_seed(5)
    aliases = {name: np.__dict__.get(name) for name in ("float", "float_", "int", "bool", "long")}
    resolvers = yaml.FullLoader.yaml_implicit_resolvers
    before = (
        dict(os.environ), random.getstate(), torch.get_rng_state().tolist(),
        torch.is_anomaly_enabled(), {key: list(value) for key, value in resolvers.items()},
    )  # fmt: skip
    numpy_state = np.random.get_state()[1].tolist()  # noqa: NPY002
    with recbole_environment():
        made = prepare("bpr", two_groups(), config_dict={"epochs": 1}, folder=tmp_path / "x")
        # The command line of the program that calls RecBole is its own.
        assert (made.config["learning_rate"], made.config["epochs"]) == (5e-3, 1)
        made.trainer.fit(made.train_data, made.valid_data, verbose=False)
    assert sys.argv[1] == "--learning_rate=0.5"
    assert {name: np.__dict__.get(name) for name in aliases} == aliases
    assert "ray" not in sys.modules
    after = (
        dict(os.environ), random.getstate(), torch.get_rng_state().tolist(),
        torch.is_anomaly_enabled(),
        {key: list(value) for key, value in yaml.FullLoader.yaml_implicit_resolvers.items()},
    )  # fmt: skip
    assert after == before
    assert np.random.get_state()[1].tolist() == numpy_state  # noqa: NPY002
    # No log, tensorboard or saved folder in the working directory.
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_texts_of_a_configuration_are_never_run(tmp_path: Path) -> None:
    target = tmp_path / "written"
    code = f"__import__('pathlib').Path({str(target)!r}).touch()"
    with recbole_environment():
        made = prepare(
            "bpr", two_groups(), config_dict={"wandb_project": code}, folder=tmp_path / "x"
        )
    assert made.config["wandb_project"] == code
    assert not target.exists()


def test_checkpoints_are_safe_whole_and_resumed(tmp_path: Path) -> None:
    settings = {"epochs": 2, "checkpoint_dir": str(tmp_path / "kept"), "eval_step": 1}
    with recbole_environment():
        made = prepare("lightgcn", two_groups(), config_dict=settings, folder=tmp_path)
        made.trainer.fit(made.train_data, made.valid_data, verbose=False)
        (kept,) = (tmp_path / "kept").iterdir()
        assert kept.suffix == ".safetensors"
        other = prepare("lightgcn", two_groups(), config_dict=settings, folder=tmp_path)
        other.trainer.resume_checkpoint(kept)
        weights = other.model.method.embeddings
        assert other.trainer.start_epoch >= 1
        made.trainer.evaluate(made.test_data)  # loads the best model
        assert torch.equal(weights, made.model.method.embeddings)

        changed = prepare(
            "lightgcn", two_groups(), config_dict={**settings, "layers": 1}, folder=tmp_path
        )
        with pytest.raises(CheckpointError, match="belongs to the settings"):
            changed.trainer.resume_checkpoint(kept)
        content = kept.read_bytes()
        kept.write_bytes(content[: len(content) // 2])
        with pytest.raises(CheckpointError, match="damaged"):
            other.trainer.resume_checkpoint(kept)
    assert not [path for path in (tmp_path / "kept").iterdir() if path != kept]


def test_a_pickle_lying_in_the_checkpoint_folder_is_not_opened(tmp_path: Path) -> None:
    import pickle

    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    for name in ("interactions-Dataset.pth", "interactions-for-BPRMF-dataloader.pth"):
        (tmp_path / name).write_bytes(pickle.dumps(Trap()))
    recbole_run("bpr", two_groups(), config_dict={"epochs": 1, "checkpoint_dir": str(tmp_path)})
    assert not (tmp_path / "sprung").exists()


def test_mistakes_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownNameError, match="did you mean 'lightgcl'"):
        recbole_run("LightGCLL", "ml-100k")
    with pytest.raises(ConfigError, match="no recommender"):
        recbole_run("grace", "ml-100k")
    with pytest.raises(UnknownNameError, match=r"'contrast_wait'.*'contrast_weight'"):
        recbole_run("lightgcl", two_groups(), config_dict={"contrast_wait": 0.1})
    with pytest.raises(ConfigError, match="temperature"):
        recbole_run("lightgcl", two_groups(), config_dict={"temperature": 0})
    with pytest.raises(MissingDataError, match="nothing is downloaded"):
        recbole_run("lightgcl", "yelp")
    files = tmp_path / "settings.yaml"
    files.write_text("epochs: 1\nlayers: 9\n")
    with recbole_environment():
        made = prepare("lightgcn", two_groups(), [files], {"layers": 1}, folder=tmp_path / "x")
    assert (made.model.settings.layers, made.model.settings.epochs) == (1, 1)
