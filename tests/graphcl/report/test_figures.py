import json

import numpy as np
import pytest

from graphcl.report import figures, read_run
from graphcl.report.embedding_map import embedding_map


@pytest.fixture(autouse=True)
def no_umap(monkeypatch):
    """UMAP compiles for seconds; its own test is in test_projection."""
    monkeypatch.setitem(__import__("sys").modules, "umap", None)


def trace(figure, name):
    return next(t for t in figure.spec["data"] if t["name"] == name)


def by_title(run):
    return {figure.title: figure for figure in figures.curves(run)}


def test_every_loss_part_and_the_selecting_metric_has_a_chart(make_run):
    run = read_run(make_run("a", parts=("total", "bpr", "contrast")))
    assert list(by_title(run)) == [
        "validation accuracy",
        "total loss",
        "loss part: bpr",
        "loss part: contrast",
    ]


def test_seed_lines_hold_what_the_log_holds(make_run):
    run = read_run(make_run("a"))
    line = trace(by_title(run)["total loss"], "seed 1")
    logged = [r["loss"]["total"] for r in run.log if r["seed"] == 1 and "loss" in r]
    np.testing.assert_allclose(line["y"], logged, rtol=1e-5)
    assert line["x"] == list(range(1, 36))


def test_mean_covers_the_epochs_that_every_seed_reached(make_run):
    run = read_run(make_run("a"))  # seeds stop at 40, 35 and 30
    figure = by_title(run)["total loss"]
    mean = trace(figure, "mean")
    assert mean["x"] == list(range(1, 31))
    seeds = [trace(figure, f"seed {seed}")["y"][:30] for seed in range(3)]
    np.testing.assert_allclose(mean["y"], np.mean(seeds, axis=0), rtol=1e-5)


def test_best_epoch_and_early_stop_are_marked_on_every_curve(make_run):
    run = read_run(make_run("a"))
    for figure in figures.curves(run):
        assert trace(figure, "best epoch")["x"] == [30, 25, 20]
        assert trace(figure, "stopped early")["x"] == [40, 35, 30]
    look = by_title(run)["validation accuracy"]
    logged = [r["validation"]["accuracy"] for r in run.log if r["epoch"] == 30 and "best" in r]
    assert trace(look, "best epoch")["y"][0] == pytest.approx(logged[0], rel=1e-5)


def test_best_epoch_is_found_in_the_log_where_the_result_lacks_it(make_run):
    run = read_run(make_run("a", best_epoch=[]))
    assert trace(figures.curves(run)[0], "best epoch")["x"] == [30, 25, 20]


def test_a_run_of_all_its_epochs_has_no_stop_mark(make_run):
    folder = make_run("a")
    log = folder / "log.jsonl"
    log.write_text(log.read_text().replace('"early"', '"epochs"'))
    names = {t["name"] for f in figures.curves(read_run(folder)) for t in f.spec["data"]}
    assert "stopped early" not in names


def test_one_seed_has_no_mean(make_run):
    (_, total, _) = figures.curves(read_run(make_run("a", accuracy=[0.8])))
    assert "mean" not in {t["name"] for t in total.spec["data"]}


def test_long_curves_are_thinned_with_their_ends(make_run):
    total = by_title(read_run(make_run("a", accuracy=[0.8], epochs=2500)))["total loss"]
    line = trace(total, "seed 0")
    assert len(line["x"]) == figures.MAXIMUM_CURVE_POINTS
    assert (line["x"][0], line["x"][-1]) == (1, 2500)
    assert "1,000 points" in total.caption


def test_loss_that_is_not_finite_is_a_gap(make_run):
    folder = make_run("a", accuracy=[0.8])
    (folder / "log.jsonl").write_text(
        '{"seed": 0, "epoch": 1, "loss": {"total": NaN}}\n'
        '{"seed": 0, "epoch": 2, "loss": {"total": null}}\n'
        '{"seed": 0, "epoch": 3, "loss": {"total": 1.5}}\n'
    )
    (total,) = figures.curves(read_run(folder))
    assert trace(total, "seed 0")["y"] == [None, None, 1.5]


def test_a_run_without_log_has_no_curves(make_run):
    folder = make_run("a")
    (folder / "log.jsonl").write_text("")
    assert figures.curves(read_run(folder)) == []


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


def test_histogram_counts_every_finite_value(make_run):
    values = np.r_[np.random.default_rng(0).normal(size=500), np.nan, np.inf]
    run = read_run(make_run("a", snapshot={"histogram/edge weight": values}))
    (figure,) = figures.histograms(run)
    assert figure.title == "edge weight"
    assert sum(figure.spec["data"][0]["y"]) == 500


def test_spectrum_is_logarithmic_only_where_it_can_be(make_run):
    def axis(name, values):
        run = read_run(make_run(name, snapshot={"spectrum": np.array(values)}))
        (figure,) = figures.histograms(run)
        return figure.spec["layout"]["yaxis"]

    assert axis("positive", [3.0, 1.0])["type"] == "log"
    assert "type" not in axis("zero", [3.0, 0.0])


def test_plotly_accepts_every_figure(make_run):
    graph_objects = pytest.importorskip("plotly.graph_objects")
    popular = {"colour": np.arange(60) ** 3, "colour_name": np.array("popularity")}
    extra = {"histogram/kept": np.arange(30.0), "spectrum": np.exp(-np.arange(9.0))}
    runs = [
        read_run(make_run("a", snapshot=extra)),
        read_run(make_run("b", snapshot=popular)),
        read_run(make_run("c", accuracy=[0.5])),
    ]
    drawn = [f for run in runs for f in (*figures.curves(run), *figures.histograms(run))]
    drawn += [embedding_map(run) for run in runs]
    assert len(drawn) == 14
    for figure in drawn:
        graph_objects.Figure(figure.spec)  # refuses unknown properties and bad values
        json.dumps(figure.spec, allow_nan=False)


def test_user_text_in_a_figure_is_escaped(make_run):
    run = read_run(make_run("a", snapshot={"colour": np.array(["<a href='x'>y</a>", "b"] * 30)}))
    assert embedding_map(run).spec["data"][0]["name"] == "&lt;a href='x'&gt;y&lt;/a&gt;"
