"""Every figure of a run is what plotly.js takes."""

import json

import numpy as np
import pytest

from graphcl.report import read_run
from graphcl.report.curves import compared_curves, curves
from graphcl.report.distributions import histograms, spectra
from graphcl.report.embedding_map import embedding_map
from graphcl.report.figures import numbers, thin
from graphcl.report.plane import planes


@pytest.fixture(autouse=True)
def no_umap(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "umap", None)


def test_plotly_accepts_every_figure(make_run):
    graph_objects = pytest.importorskip("plotly.graph_objects")
    popular = {"colour": np.arange(60) ** 3, "colour_name": np.array("popularity")}
    extra = {
        "histogram/kept": np.arange(30.0),
        "spectrum": np.exp(-np.arange(9.0)),
        "alignment": np.array(0.3),
        "uniformity": np.array(-2.0),
    }
    runs = [
        read_run(make_run("a", snapshot=extra)),
        read_run(make_run("b", snapshot=popular)),
        read_run(make_run("c", accuracy=[0.5])),
    ]
    names = ["a", "b", "c"]
    drawn = [f for run in runs for f in (*curves(run), *histograms(run))]
    drawn += [embedding_map(run) for run in runs]
    drawn += [f for made in (compared_curves, spectra, planes) for f in made(runs, names)]
    assert len(drawn) == 16
    for figure in drawn:
        graph_objects.Figure(figure.spec)  # refuses unknown properties and bad values
        json.dumps(figure.spec, allow_nan=False)


def test_numbers_are_short_and_json_has_no_nan():
    assert numbers([1 / 3, float("nan"), float("inf")]) == [0.333333, None, None]
    assert numbers([1 / 3], 2) == [0.33]


@pytest.mark.parametrize(("count", "most", "kept"), [(3, 9, [0, 1, 2]), (9, 3, [0, 4, 8])])
def test_thinning_keeps_both_ends(count, most, kept):
    assert thin(count, most).tolist() == kept
