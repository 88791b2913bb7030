import numpy as np
import pytest

from graphcl.report import read_run
from graphcl.report.embedding_map import FEWEST_POINTS, embedding_map, points_per_map
from graphcl.report.projection import MAXIMUM_POINTS


@pytest.fixture(autouse=True)
def no_umap(monkeypatch):
    """UMAP compiles for seconds; its own test is in test_projection."""
    monkeypatch.setitem(__import__("sys").modules, "umap", None)


def test_map_by_class(make_run):
    run = read_run(make_run("a"))
    figure = embedding_map(run)
    assert [t["name"] for t in figure.spec["data"]] == [f"class {c}" for c in range(7)]
    assert sum(len(t["x"]) for t in figure.spec["data"]) == 60
    assert "PCA (umap-learn is not installed)" in figure.caption
    assert "class" in figure.caption


def test_24_classes_look_different_and_the_25th_shares_a_grey(make_run):
    def looks(count):
        colour = np.array([f"c{i % count:02d}" for i in range(60)])
        run = read_run(make_run(f"{count}", snapshot={"colour": colour}))
        traces = embedding_map(run).spec["data"]
        return traces, {(t["marker"]["color"], t["marker"]["symbol"]) for t in traces}

    traces, distinct = looks(24)
    assert len(distinct) == len(traces) == 24
    traces, distinct = looks(25)
    assert len(distinct) == len(traces) == 24
    assert traces[-1]["name"] == "all others"
    assert sum(len(t["x"]) for t in traces) == 60


def test_map_by_popularity_has_one_trace_with_a_logarithmic_bar(make_run):
    colour = 2 ** (np.arange(60) // 3)
    snapshot = {"colour": colour, "colour_name": np.array("popularity")}
    (points,) = embedding_map(read_run(make_run("a", snapshot=snapshot))).spec["data"]
    assert points["marker"]["color"] == sorted(points["marker"]["color"])
    assert points["marker"]["color"][-1] == pytest.approx(np.log10(1 + 2**19), rel=1e-5)
    assert points["marker"]["colorbar"]["ticktext"][:4] == ["0", "1", "10", "100"]


def test_constant_and_unknown_popularity_still_draws(make_run):
    for name, values in (("c", np.zeros(60)), ("n", np.full(60, np.nan))):
        snapshot = {"colour": values, "colour_name": np.array("popularity")}
        assert embedding_map(read_run(make_run(name, snapshot=snapshot))) is not None


def test_hovering_says_the_label_of_a_point_or_its_class(make_run):
    titles = np.array([f"<b>film</b> {i}" for i in range(60)])
    traces = embedding_map(read_run(make_run("a", snapshot={"label": titles}))).spec["data"]
    said = sorted(text for trace in traces for text in trace["text"])
    assert said == sorted(f"&lt;b&gt;film&lt;/b&gt; {i}" for i in range(60))
    assert all("%{text}" in trace["hovertemplate"] for trace in traces)
    for trace in embedding_map(read_run(make_run("b"))).spec["data"]:
        assert "text" not in trace
        assert "%{fullData.name}" in trace["hovertemplate"]


def test_many_maps_get_fewer_points_each(make_run):
    run = read_run(make_run("a"))
    assert points_per_map([run]) == points_per_map([]) == MAXIMUM_POINTS
    assert FEWEST_POINTS < points_per_map([run] * 20) < MAXIMUM_POINTS
    assert points_per_map([run] * 1000) == FEWEST_POINTS
    figure = embedding_map(run, 24)
    assert sum(len(trace["x"]) for trace in figure.spec["data"]) == 24
    assert "24 of 60 points" in figure.caption


def test_user_text_in_a_figure_is_escaped(make_run):
    run = read_run(make_run("a", snapshot={"colour": np.array(["<a href='x'>y</a>", "b"] * 30)}))
    assert embedding_map(run).spec["data"][0]["name"] == "&lt;a href='x'&gt;y&lt;/a&gt;"
