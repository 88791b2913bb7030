"""Every method in the tables is held to DESIGN's contract, without test code of its own."""

from __future__ import annotations

import re
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from graphcl.app.catalogue import load_class, method_table, task_table
from graphcl.app.settings import find_config
from graphcl.config import configure
from graphcl.errors import ConfigError, UnknownNameError
from graphcl.methods.contract import Method
from graphcl.report.snapshot import read_snapshot
from graphcl.train.seeds import seed_everything
from recsys.evaluate.recommender import RecommenderTask

METHODS = method_table()
SERVED = [(name, task) for name in METHODS for task in load_class("method", name, METHODS).tasks]
TURNS = {"mclrec": 2}
"""Steps in which an alternating method reaches all of its parameters."""
RECOMMENDERS = {
    name
    for name in task_table()
    if issubclass(load_class("task", name, task_table()), RecommenderTask)
}
TINY = {"max_length": 20}
"""Of settings that a method has: longer than all tiny histories, so that nothing is cut; views
that pad to a default of 200 would take most of the time."""
TRAINABLE = [pair for pair in SERVED if load_class("method", pair[0], METHODS).trainable]


def build(name: str, task: str, data: dict[str, Path], seed: int = 0):
    task_object = load_class("task", task, task_table())()
    split = task_object.load(str(data[task]), None, 0)
    method_class = load_class("method", name, METHODS)
    generator = seed_everything(seed)
    seen = task_object.training_data(method_class, split)
    tiny = {key: value for key, value in TINY.items() if key in method_class.Config.model_fields}
    return method_class(method_class.Config(**tiny), seen), split, task_object, generator


def first_batch(method: Method, generator: torch.Generator):
    return next(iter(method.batches(generator)))


@pytest.mark.parametrize("name", METHODS)
def test_table_leads_to_a_documented_method(name):
    method_class = load_class("method", name, METHODS)
    assert issubclass(method_class, Method)
    assert method_class.tasks
    assert set(method_class.tasks) <= set(task_table())
    assert method_class.__doc__
    documentation = sys.modules[method_class.__module__].__doc__
    assert documentation
    if method_class.trainable:
        assert re.search(r"arXiv \d{4}\.\d{4,5}", documentation), "name the paper"
        assert "Deviation" in documentation, "say where it differs from the authors' code"
        assert "Cost" in documentation, "say what an epoch costs"


@pytest.mark.parametrize("name", METHODS)
def test_config_is_strict_frozen_and_searchable(name):
    config_class = load_class("method", name, METHODS).Config
    config = config_class()
    assert "epochs" in config_class.model_fields
    assert config_class(**config.model_dump()) == config
    with pytest.raises(UnknownNameError, match="epochs"):
        configure(config_class, {"epoch": 3})
    with pytest.raises(ValidationError):
        config.epochs = 3
    for key, field in config_class.model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and "search" in extra:
            search = extra["search"]
            ends = search.get("choices") or [search["low"], search["high"]]
            for value in ends:
                typed = int(value) if field.annotation is int else value
                assert getattr(config_class(**{key: typed}), key) == typed


@pytest.mark.parametrize("name", sorted({name for name, _ in TRAINABLE}))
def test_a_published_config_exists(name):
    method_class = load_class("method", name, METHODS)
    datasets = ("acm", "cora", "heco-acm", "ml-100k", "tiktok", "citeulike-a")
    assert any(find_config(name, dataset, method_class.tasks[0]) for dataset in datasets)


@pytest.mark.parametrize(("name", "task"), TRAINABLE)
def test_loss_has_finite_named_parts_and_reaches_every_parameter(name, task, tiny_data):
    method, _, _, generator = build(name, task, tiny_data)
    method.train()
    method.epoch_start(1, generator)
    # A method that optimises in turns may need a turn of each kind; any other needs one step.
    for batch in islice(method.batches(generator), TURNS.get(name, 1)):
        parts = method.loss(batch, generator)
        assert "total" in parts
        assert len(parts) > 1, "name the parts the total is made of"
        for part, value in parts.items():
            assert value.dim() == 0, part
            assert torch.isfinite(value), part
        parts["total"].backward()
    without = [key for key, value in method.named_parameters() if value.grad is None]
    assert not without


@pytest.mark.parametrize(("name", "task"), TRAINABLE)
def test_ten_epochs_lower_the_loss(name, task, tiny_data):
    method, _, _, generator = build(name, task, tiny_data)
    optimizer = torch.optim.Adam(method.parameters(), lr=2e-3)
    method.train()

    def fixed_loss() -> torch.Tensor:
        # The same draws before and after, so that only the parameters differ.
        torch.manual_seed(1)
        fixed = torch.Generator().manual_seed(1)
        return method.loss(first_batch(method, fixed), fixed)["total"]

    # As in training: a method may prepare what its loss needs (clusters, say).
    method.epoch_start(1, generator)
    before = fixed_loss().item()
    for epoch in range(1, 11):
        method.epoch_start(epoch, generator)
        for batch in method.batches(generator):
            optimizer.zero_grad()
            method.loss(batch, generator)["total"].backward()
            optimizer.step()
    method.epoch_start(1, generator)
    assert fixed_loss().item() < before


@pytest.mark.parametrize(("name", "task"), SERVED)
def test_embed_metrics_and_snapshot(name, task, tiny_data, tmp_path):
    method, split, task_object, _ = build(name, task, tiny_data)
    method.eval()
    embedding = method.embed(split.train)
    assert embedding.dim() == 2
    assert torch.isfinite(embedding).all()
    assert not embedding.requires_grad
    metrics = task_object.test(method, split)
    assert all(0 <= value <= 1 for value in metrics.values())
    snapshot = task_object.snapshot(method, split)
    np.savez(tmp_path / "snapshot.npz", **snapshot)
    drawn = read_snapshot(tmp_path / "snapshot.npz")
    assert len(drawn.embedding) == len(drawn.colour)
    for values in (*drawn.histograms.values(), drawn.spectrum):
        assert len(values)
        assert np.isfinite(values).all()
    if drawn.alignment is not None:
        assert 0 <= drawn.alignment <= 4 + 1e-5
        assert -8 <= drawn.uniformity <= 1e-5


@pytest.mark.parametrize(("name", "task"), SERVED)
def test_exported_vectors_and_encoder_give_the_scores_and_embeddings(name, task, tiny_data):
    """What `graphcl export` writes must be what was evaluated."""
    method, split, task_object, _ = build(name, task, tiny_data)
    method.eval()
    tables = task_object.tables(method, split)
    assert tables
    for table in tables.values():
        assert len(table.ids) == len(table.vectors)
        assert table.meaning
    portable = method.portable_encoder()
    if "nodes" in tables and portable is not None:
        with torch.no_grad():
            encoded = portable.module(split.train.x, split.train.edge_index)
        assert torch.allclose(encoded, method.embed(split.train), atol=1e-5)
    if "users" in tables:
        holdout = split.test.open()
        users = torch.arange(split.train.num_users)
        scores = method.score(users, holdout.history)
        own, items = method.vectors(users, holdout.history)
        assert torch.allclose(own @ items.T, scores, atol=1e-5)
    if "users" in tables and portable is not None:
        from recsys.data import pad_histories

        longest = portable.varying["items"].get(1, ("length", method.config.max_length))[1]
        items, lengths = pad_histories(holdout.history, users, longest, padding=0)
        missing = portable.arguments["items"].shape[1] - items.shape[1]
        items = torch.nn.functional.pad(items, (0, max(0, missing)))
        with torch.no_grad():
            assert torch.allclose(portable.module(items, lengths), own, atol=1e-5)


@pytest.mark.parametrize("name", sorted({name for name, task in SERVED if task in RECOMMENDERS}))
def test_lists_for_users_newcomers_and_items(name, tiny_data):
    task = load_class("method", name, METHODS).tasks[0]
    method, split, task_object, _ = build(name, task, tiny_data)
    method.eval()
    users, items = split.train.user_ids[:2], split.train.item_ids[:2]
    lists = task_object.recommendations(method, split)
    found = lists.for_users(users, 3)
    assert found["rank"].tolist() == [1, 2, 3] * 2
    for ask in (lists.for_newcomers, lists.similar_items):
        try:
            found = ask(items, 3)
        except ConfigError:  # a method may say that it cannot
            continue
        assert found["rank"].tolist()[:3] == [1, 2, 3]
        first = found[found.columns[0]] == found[found.columns[0]][0]
        assert items[0] not in found["item"][first].tolist()


@pytest.mark.parametrize(("name", "task"), TRAINABLE)
def test_same_seed_same_bits_and_saved_weights_give_the_same_embedding(name, task, tiny_data):
    embeddings, states = [], []
    for _ in range(2):
        method, split, _, generator = build(name, task, tiny_data)
        optimizer = method.optimizer()
        method.train()
        method.epoch_start(1, generator)
        for batch in method.batches(generator):
            optimizer.zero_grad()
            method.loss(batch, generator)["total"].backward()
            optimizer.step()
        method.eval()
        embeddings.append(method.embed(split.train))
        states.append(method.state_dict())
    assert torch.equal(*embeddings)
    other, split, _, _ = build(name, task, tiny_data, seed=7)
    other.eval()
    other.load_state_dict(states[0])
    assert torch.equal(other.embed(split.train), embeddings[0])
