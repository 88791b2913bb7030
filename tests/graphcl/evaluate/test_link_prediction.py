"""Metrics of link prediction against their definitions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graphcl.evaluate.link_prediction import (
    LinkPrediction,
    hits,
    separation,
    separation_by_degree,
)
from graphcl.methods.baselines import BaselineConfig, RawFeatures


def scores(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    # Few values, so that there are ties.
    return random.integers(0, 30, 120) / 10 + 0.5, random.integers(0, 30, 140) / 10


def test_auc_is_the_share_of_pairs_in_order() -> None:
    positive, negative = scores()
    above = (positive[:, None] > negative).mean() + (positive[:, None] == negative).mean() / 2
    assert separation(positive, negative)["auc"] == pytest.approx(above)


def test_hits_count_edges_above_the_kth_non_edge() -> None:
    positive, negative = scores()
    for k in (10, 50, 100):
        # An edge is a hit when fewer than k non-edges score as much as it does.
        wanted = np.mean([(negative >= score).sum() < k for score in positive])
        assert hits(positive, negative)[f"hits@{k}"] == pytest.approx(wanted)
    assert hits(positive, negative[:60])["hits@100"] == 1.0
    assert hits(np.ones(3), np.ones(200)) == {"hits@10": 0.0, "hits@50": 0.0, "hits@100": 0.0}


def test_thirds_by_degree() -> None:
    positive, negative = scores()
    degree = np.random.default_rng(1).integers(1, 9, 120)
    found = separation_by_degree(positive, negative, degree)
    order = np.argsort(degree, kind="stable")
    for name, third in zip(("low", "middle", "high"), np.split(order, 3), strict=True):
        wanted = separation(positive[third], negative)["auc"]
        assert found[f"auc-{name}-degree"] == pytest.approx(wanted)
    # All non-edges are shared, so the thirds' AUCs average to that of all edges.
    whole = separation(positive, negative)["auc"]
    assert np.mean(list(found.values())) == pytest.approx(whole)
    assert separation_by_degree(positive[:2], negative, degree[:2]) == {}


def test_the_task_reports_them_all(tiny_graph: Path) -> None:
    task = LinkPrediction()
    split = task.load(str(tiny_graph), None, 0)
    method = RawFeatures(BaselineConfig(), split.train)
    metrics = task.test(method, split)
    assert set(task.headline) < set(metrics)
    assert {"hits@10", "auc-low-degree", "auc-high-degree"} < set(metrics)
    assert all(0 <= value <= 1 for value in metrics.values())
    assert set(task.validate(method, split)) == {"auc", "average-precision"}
