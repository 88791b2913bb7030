import numpy as np

from graphcl.report import read_run
from graphcl.report.plane import MOST_NAMES, planes


def placed(make_run, name, alignment, uniformity, positives="two views", **more):
    snapshot = {
        "alignment": np.array(alignment),
        "uniformity": np.array(uniformity),
        "positives": np.array(positives),
    }
    return read_run(make_run(name, snapshot=snapshot, **more))


def test_a_point_for_every_run_that_was_measured(make_run):
    runs = [
        placed(make_run, "a", 0.2, -2.5),
        placed(make_run, "b", 0.4, -3.5, accuracy=[0.7]),
        read_run(make_run("c")),
        placed(make_run, "d", np.nan, -3.5),
    ]
    (figure,) = planes(runs, ["a", "b<", "c", "d"])
    (trace,) = figure.spec["data"]
    assert (trace["x"], trace["y"]) == ([0.2, 0.4], [-2.5, -3.5])
    assert trace["text"] == ["a", "b&lt;"]
    assert "showscale" not in trace["marker"]
    for values, axis in ((trace["x"], "xaxis"), (trace["y"], "yaxis")):
        low, high = figure.spec["layout"][axis]["range"]
        assert low < min(values) < max(values) < high


def test_three_runs_are_coloured_by_what_they_scored(make_run):
    runs = [placed(make_run, f"{i}", i / 10, -i, accuracy=[i / 10]) for i in range(1, 4)]
    (figure,) = planes(runs, ["x", "y", "z"])
    marker = figure.spec["data"][0]["marker"]
    assert marker["color"] == [0.1, 0.2, 0.3]
    assert marker["colorbar"]["title"]["text"] == "test accuracy"


def test_other_positive_pairs_are_another_plane(make_run):
    runs = [placed(make_run, "a", 0.2, -2.5), placed(make_run, "b", 0.4, -3.5, "user and item")]
    first, second = planes(runs, ["a", "b"])
    assert "two views" in first.caption
    assert "user and item" in second.caption


def test_many_points_keep_their_names_for_hovering(make_run):
    run = placed(make_run, "a", 0.2, -2.5)
    (figure,) = planes([run] * (MOST_NAMES + 1), ["a"] * (MOST_NAMES + 1))
    assert figure.spec["data"][0]["mode"] == "markers"
    low, high = figure.spec["layout"]["xaxis"]["range"]
    assert low < 0.2 < high


def test_names_of_near_points_stand_apart(make_run):
    runs = [placed(make_run, f"{i}", x, -2.0) for i, x in enumerate([0.1, 0.101, 0.102, 0.9])]
    (figure,) = planes(runs, list("abcd"))
    sides = figure.spec["data"][0]["textposition"]
    assert len(set(sides[:3])) == 3
    assert sides[3] == sides[0]
