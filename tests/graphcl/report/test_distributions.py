import numpy as np
import pytest
import torch

from graphcl.diagnostics import effective_rank as effective_rank_of
from graphcl.report import read_run
from graphcl.report.distributions import effective_rank, histograms, spectra


def test_histogram_shares_of_every_finite_value(make_run):
    values = np.r_[np.random.default_rng(0).normal(size=500), np.nan, np.inf]
    run = read_run(make_run("a", snapshot={"histogram/edge weight": values}))
    (figure,) = histograms(run)
    assert figure.title == "edge weight"
    assert "500 values" in figure.label
    (bars,) = figure.spec["data"]
    assert sum(bars["y"]) == pytest.approx(100, abs=0.1)
    counts, edges = np.histogram(values[:500], bins=50)
    np.testing.assert_allclose(bars["y"], counts / 5, atol=0.01)
    np.testing.assert_allclose(bars["x"], (edges[1:] + edges[:-1]) / 2, atol=1e-4)


def test_series_of_one_title_share_a_chart_and_its_bins(make_run):
    snapshot = {
        "histogram/kept/inside": np.full(10, 0.9),
        "histogram/kept/between": np.r_[np.full(30, 0.5), np.full(10, 0.7)],
        "histogram/strength": np.arange(5.0),
    }
    kept, strength = histograms(read_run(make_run("a", snapshot=snapshot)))
    inside, between = kept.spec["data"]
    assert (inside["name"], between["name"]) == ("inside", "between")
    assert inside["x"] == between["x"]
    assert [max(inside["y"]), max(between["y"])] == [100, 75]
    assert kept.spec["layout"]["showlegend"]
    assert strength.title == "strength"
    assert not strength.spec["layout"]["showlegend"]


def test_nothing_finite_is_no_chart(make_run):
    run = read_run(make_run("a", snapshot={"histogram/x": np.full(3, np.nan)}))
    assert histograms(run) == []


def test_spectra_are_shares_of_the_largest_with_their_effective_rank(make_run):
    runs = [
        read_run(make_run("a", snapshot={"spectrum": np.array([8.0, 4.0, 2.0])})),
        read_run(make_run("b", snapshot={"spectrum": np.array([5.0, 5e-9, 0.0])})),
        read_run(make_run("c")),
    ]
    (figure,) = spectra(runs, ["first", "second", "third"])
    first, second = figure.spec["data"]
    assert first["y"] == [1.0, 0.5, 0.25]
    assert second["y"] == [1.0, None, None]  # rounding, and a zero has no logarithm
    assert second["name"] == "second: rank 1.0 of 3"
    assert figure.spec["layout"]["yaxis"]["type"] == "log"
    assert spectra(runs[2:], ["third"]) == []


def test_effective_rank_is_the_one_of_the_diagnostics():
    rows = torch.randn(40, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = torch.linalg.svdvals(rows - rows.mean(dim=0)).numpy()
    expected = float(effective_rank_of(rows, centre=True))
    assert effective_rank(values) == pytest.approx(expected, rel=1e-10)
