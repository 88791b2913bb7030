import sys
import types

import numpy as np
import pytest
from sklearn.decomposition import PCA

from graphcl.report.projection import MAXIMUM_POINTS, project


def gaussian(n, d=5):
    return np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)


def fake_umap(monkeypatch, fit_transform):
    class UMAP:
        def __init__(self, **settings):
            assert settings["random_state"] == 0
            assert settings["n_jobs"] == 1

    UMAP.fit_transform = lambda self, rows: fit_transform(rows)
    module = types.ModuleType("umap")
    module.UMAP = UMAP
    monkeypatch.setitem(sys.modules, "umap", module)


def test_few_points_are_projected_by_pca():
    rows = gaussian(49)
    projection = project(rows)
    assert projection.description == "PCA"
    expected = PCA(2, svd_solver="full").fit_transform(rows.astype(np.float64))
    np.testing.assert_allclose(projection.points, expected)


def test_umap_is_used_from_50_points_on(monkeypatch):
    fake_umap(monkeypatch, lambda rows: rows[:, :2])
    rows = gaussian(50)
    projection = project(rows)
    assert projection.description.startswith("UMAP")
    np.testing.assert_array_equal(projection.points, rows[:, :2].astype(np.float64))


def test_without_umap_the_description_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    assert project(gaussian(60)).description == "PCA (umap-learn is not installed)"


@pytest.mark.parametrize(
    ("fit_transform", "named"),
    [
        (lambda rows: 1 // 0, "ZeroDivisionError"),
        (lambda rows: np.full((len(rows), 2), np.nan), "FloatingPointError"),
    ],
)
def test_a_failure_of_umap_falls_back_and_is_named(monkeypatch, fit_transform, named):
    fake_umap(monkeypatch, fit_transform)
    projection = project(gaussian(60))
    assert projection.description == f"PCA (UMAP failed with {named})"
    assert np.isfinite(projection.points).all()


def test_many_points_are_sampled_the_same_way_every_time(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    first, second = project(gaussian(3100)), project(gaussian(3100))
    assert len(first.points) == MAXIMUM_POINTS
    assert (np.diff(first.index) > 0).all()
    np.testing.assert_array_equal(first.index, second.index)
    assert "3,000 of 3,100 points" in first.description


def test_rows_that_are_not_finite_are_left_out():
    rows = gaussian(20)
    rows[3] = np.nan
    rows[7, 0] = np.inf
    projection = project(rows)
    assert sorted({*range(20)} - {*projection.index.tolist()}) == [3, 7]
    assert "2 rows that are not finite left out" in projection.description


@pytest.mark.parametrize("shape", [(0, 4), (1, 4), (5, 0)])
def test_nothing_to_draw(shape):
    assert project(np.zeros(shape, dtype=np.float32)) is None


@pytest.mark.parametrize("shape", [(2, 1), (2, 8), (30, 1), (30, 2)])
def test_small_and_collapsed_embeddings_have_a_finite_map(shape):
    for rows in (gaussian(*shape), np.ones(shape, dtype=np.float32)):
        points = project(rows).points
        assert points.shape == (shape[0], 2)
        assert np.isfinite(points).all()


@pytest.mark.slow
def test_umap_itself_is_deterministic_quiet_and_keeps_clusters_apart(recwarn):
    pytest.importorskip("umap", reason="umap-learn is not installed (extra `report`)")
    label = np.repeat([0, 1], 60)
    rows = gaussian(120, 8) + 20 * np.stack([label] + [1 - label] * 7, axis=1).astype(np.float32)
    first, second = project(rows), project(rows)
    assert first.description.startswith("UMAP")
    np.testing.assert_array_equal(first.points, second.points)
    centres = [first.points[label == side].mean(axis=0) for side in (0, 1)]
    spread = max(first.points[label == side].std() for side in (0, 1))
    assert np.linalg.norm(centres[0] - centres[1]) > 2 * spread
    assert not recwarn.list
