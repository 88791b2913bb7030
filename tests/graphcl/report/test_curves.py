import numpy as np
import pytest

from graphcl.report import read_run
from graphcl.report.curves import FEWEST, MOST, compared_curves, curves, points_per_curve


def trace(figure, name):
    return next(t for t in figure.spec["data"] if t["name"] == name)


def by_title(run):
    return {figure.title: figure for figure in curves(run)}


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
    for figure in curves(run):
        assert trace(figure, "best epoch")["x"] == [30, 25, 20]
        assert trace(figure, "stopped early")["x"] == [40, 35, 30]
    look = by_title(run)["validation accuracy"]
    logged = [r["validation"]["accuracy"] for r in run.log if r["epoch"] == 30 and "best" in r]
    assert trace(look, "best epoch")["y"][0] == pytest.approx(logged[0], rel=1e-5)


def test_best_epoch_is_found_in_the_log_where_the_result_lacks_it(make_run):
    run = read_run(make_run("a", best_epoch=[]))
    assert trace(curves(run)[0], "best epoch")["x"] == [30, 25, 20]


def test_a_run_of_all_its_epochs_has_no_stop_mark(make_run):
    folder = make_run("a")
    log = folder / "log.jsonl"
    log.write_text(log.read_text().replace('"early"', '"epochs"'))
    names = {t["name"] for f in curves(read_run(folder)) for t in f.spec["data"]}
    assert "stopped early" not in names


def test_one_seed_has_no_mean(make_run):
    (_, total, _) = curves(read_run(make_run("a", accuracy=[0.8])))
    assert "mean" not in {t["name"] for t in total.spec["data"]}


def test_long_curves_are_thinned_with_their_ends(make_run):
    total = by_title(read_run(make_run("a", accuracy=[0.8], epochs=2500)))["total loss"]
    line = trace(total, "seed 0")
    assert len(line["x"]) == MOST
    assert (line["x"][0], line["x"][-1]) == (1, 2500)
    assert f"{MOST} of 2,500 points" in total.caption


def test_loss_that_is_not_finite_is_a_gap(make_run):
    folder = make_run("a", accuracy=[0.8])
    (folder / "log.jsonl").write_text(
        '{"seed": 0, "epoch": 1, "loss": {"total": NaN}}\n'
        '{"seed": 0, "epoch": 2, "loss": {"total": null}}\n'
        '{"seed": 0, "epoch": 3, "loss": {"total": 1.5}}\n'
    )
    (total,) = curves(read_run(folder))
    assert trace(total, "seed 0")["y"] == [None, None, 1.5]


def test_a_run_without_log_has_no_curves(make_run):
    folder = make_run("a")
    (folder / "log.jsonl").write_text("")
    assert curves(read_run(folder)) == []


def test_runs_beside_each_other_are_means_over_their_seeds(make_run):
    runs = [read_run(make_run("a")), read_run(make_run("b", method="dgi", accuracy=[0.7]))]
    (figure,) = compared_curves(runs, ["grace", "dgi"])
    assert [t["name"] for t in figure.spec["data"]] == ["grace", "dgi"]
    first, second = figure.spec["data"]
    seeds = [[r for r in runs[0].log if r["seed"] == s and "validation" in r] for s in range(3)]
    assert first["x"] == [5, 10, 15, 20, 25, 30]  # seed 2 stops at 30
    means = np.mean([[r["validation"]["accuracy"] for r in one[:6]] for one in seeds], axis=0)
    np.testing.assert_allclose(first["y"], means, rtol=1e-5)
    assert second["x"][-1] == 40


def test_one_run_is_beside_nothing(make_run):
    assert compared_curves([read_run(make_run("a"))], ["grace"]) == []


def test_more_runs_than_can_be_told_apart_share_a_grey(make_run):
    run = read_run(make_run("a"))
    (figure,) = compared_curves([run] * 30, [f"run {i}" for i in range(30)])
    traces = figure.spec["data"]
    looks = {(t["line"]["color"], t["line"]["dash"]) for t in traces[:24]}
    assert len(traces) == 30
    assert len(looks) == 24
    assert [t["showlegend"] for t in traces] == [True] * 24 + [False] * 6
    assert len({t["line"]["color"] for t in traces[24:]}) == 1


def test_many_runs_get_fewer_points_each(make_run):
    run = read_run(make_run("a"))
    assert points_per_curve([run]) == MOST
    assert FEWEST < points_per_curve([run] * 100) < MOST
    assert points_per_curve([run] * 10_000) == FEWEST
    assert points_per_curve([]) == MOST
