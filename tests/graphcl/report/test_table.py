import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from scipy.stats import ttest_rel

from graphcl.report import comparison_table, read_runs, terminal_table
from graphcl.report.paired import paired_p_value
from graphcl.report.table import duration, is_ranking_metric

RANKING = {
    "method": "lightgcl",
    "task": "ranking",
    "dataset": {"name": "ml-100k", "hash": "aa", "users": 943},
    "protocol": {"name": "random-8-1-1", "mask_seen": True, "ties": "mean rank"},
}


def baseline(values, seeds=None):
    metric = {"mean": float(np.mean(values)), "std": float(np.std(values)), "values": values}
    return {"metrics": {"accuracy": metric}, "seeds": seeds or list(range(len(values)))}


def tables(*folders):
    return comparison_table(read_runs(list(folders)))


def test_rows_are_methods_best_first_then_baselines(make_run):
    baselines = {"mlp": baseline([0.5] * 3), "raw": baseline([0.6] * 3)}
    (table,) = tables(
        make_run("low", method="dgi", accuracy=[0.7, 0.7, 0.71], baselines=baselines),
        make_run("high", method="bgrl", accuracy=[0.8, 0.81, 0.8], baselines=baselines),
    )
    assert [row.method for row in table.rows] == ["bgrl", "dgi", "raw", "mlp"]
    assert [row.is_baseline for row in table.rows] == [False, False, True, True]


def test_percent_for_accuracy_and_four_decimals_for_ranking(make_run):
    accuracy, ranking = tables(
        make_run("a", accuracy=[0.80, 0.82]),
        make_run("b", metrics={"recall@20": [0.3312, 0.33]}, **RANKING),
    )
    assert accuracy.header[1] == "accuracy (%)"
    assert accuracy.rows[0].cells[0].text == "81.00 ± 1.00"
    assert ranking.header[1] == "recall@20"
    assert ranking.rows[0].cells[0].text == "0.3306 ± 0.0006"
    assert accuracy.rows[0].cost == ("2", "123,456", "35–40", "12.5 s")


def test_one_seed_has_no_spread(make_run):
    (table,) = tables(make_run("a", accuracy=[0.8]))
    assert table.rows[0].cells[0].text == "80.00"


@pytest.mark.parametrize("name", ["recall@20", "ndcg@10", "MRR", "precision@5"])
def test_ranking_metrics(name):
    assert is_ranking_metric(name)


@pytest.mark.parametrize("name", ["accuracy", "auc", "ap", "macro_f1", "nmi"])
def test_percent_metrics(name):
    assert not is_ranking_metric(name)


def test_best_is_marked_per_column_and_ties_share_it(make_run):
    (table,) = tables(
        make_run("a", metrics={"accuracy": [0.8, 0.8], "f1": [0.7, 0.7]}, baselines={}),
        make_run("b", method="b", metrics={"accuracy": [0.8, 0.8], "f1": [0.9, 0.9]}, baselines={}),
    )
    assert {row.method: [cell.best for cell in row.cells] for row in table.rows} == {
        "grace": [True, False],
        "b": [True, True],
    }


def test_a_baseline_can_be_best(make_run):
    (table,) = tables(make_run("a", baselines={"raw": baseline([0.99] * 3)}))
    assert [(row.method, row.cells[0].best) for row in table.rows] == [
        ("grace", False),
        ("raw", True),
    ]


def test_a_single_row_is_not_best_of_anything(make_run):
    (table,) = tables(make_run("a", baselines={}))
    assert not table.rows[0].cells[0].best


def test_missing_and_undefined_metrics_are_dashes(make_run):
    undefined = {"mean": None, "std": None, "values": [None] * 3}
    runs = read_runs(
        [
            make_run("a", baselines={}),
            make_run("b", method="b", baselines={"x": {"metrics": {"f1": undefined}}}),
        ]
    )
    (table,) = comparison_table(runs)
    assert [[cell.text for cell in row.cells] for row in table.rows][-1] == ["–", "–"]


def test_protocols_are_never_mixed(make_run):
    first, second, third = tables(
        make_run("a"),
        make_run("b", protocol={"name": "public", "split": "planetoid", "labels_per_class": 5}),
        make_run("c", protocol={"name": "random"}),
    )
    assert [len([r for r in t.rows if not r.is_baseline]) for t in (first, second, third)] == [
        1
    ] * 3
    assert first.title.endswith("protocol public (labels_per_class=20)")
    assert second.title.endswith("protocol public (labels_per_class=5)")
    assert third.title.endswith("protocol random")


def test_another_content_hash_is_another_data_set(make_run):
    first, second = tables(make_run("a"), make_run("b", dataset={"name": "cora", "hash": "ffff"}))
    assert "data hash 4f1d0c0ffee1" in first.title
    assert "data hash ffff" in second.title


def test_identical_baselines_appear_once_and_others_say_whose_they_are(make_run):
    (table,) = tables(
        make_run("a", baselines={"raw": baseline([0.5, 0.5])}),
        make_run("b", method="b", baselines={"raw": baseline([0.5, 0.5])}),
        make_run("c", method="c", baselines={"raw": baseline([0.6, 0.6])}),
    )
    assert [(row.method, row.note) for row in table.rows if row.is_baseline] == [
        ("raw", "beside c"),
        ("raw", ""),
    ]


def test_a_baseline_that_was_also_run_is_not_repeated(make_run):
    (table,) = tables(
        make_run("a", baselines={"popularity": baseline([0.5, 0.5, 0.5])}),
        make_run("b", method="popularity", accuracy=[0.5, 0.5, 0.5], baselines={}),
    )
    assert [row.method for row in table.rows] == ["grace", "popularity"]


def test_runs_of_one_method_are_told_apart_by_their_settings(make_run):
    (table,) = tables(
        make_run("a", settings={"temperature": 0.4, "epochs": 9}),
        make_run("b", settings={"temperature": 0.7, "epochs": 9}),
        make_run("c", method="dgi", settings={"hidden": 3}),
    )
    notes = {row.note for row in table.rows if not row.is_baseline}
    assert notes == {"temperature=0.4; a", "temperature=0.7; b", "c"}


def test_sentences_say_every_choice_of_the_protocol(make_run):
    (table,) = tables(make_run("b", metrics={"recall@20": [0.33]}, **RANKING))
    assert table.sentences[0] == "Protocol random-8-1-1: mask seen yes; ties mean rank."
    assert table.sentences[1] == "Data set ml-100k: users 943, content hash aa."


def test_selecting_metric_comes_first(make_run):
    metrics = {"auc": [0.9, 0.9], "accuracy": [0.8, 0.8]}
    (table,) = tables(make_run("a", metrics=metrics, select="accuracy", baselines={}))
    assert table.metrics == ("accuracy", "auc")


def test_p_value_against_the_best_row(make_run):
    best, other = [0.81, 0.82, 0.80, 0.83], [0.79, 0.81, 0.80, 0.80]
    (table,) = tables(
        make_run("a", accuracy=best, baselines={}),
        make_run("b", method="b", accuracy=other, baselines={}),
    )
    assert [row.p_value for row in table.rows] == ["", f"{ttest_rel(best, other).pvalue:.3f}"]
    assert "p" in table.header
    assert all(len(line) == len(table.header) for line in table.body())


def test_p_value_pairs_by_seed_not_by_place(make_run):
    best, other = [0.81, 0.82, 0.80, 0.83], [0.79, 0.81, 0.80, 0.80]
    (table,) = tables(
        make_run("a", accuracy=best, baselines={}),
        make_run("b", method="b", accuracy=other[::-1], seeds=[3, 2, 1, 0], baselines={}),
    )
    assert table.rows[1].p_value == f"{ttest_rel(best, other).pvalue:.3f}"


def test_two_seeds_give_no_p_column(make_run):
    (table,) = tables(make_run("a", accuracy=[0.8, 0.9]), make_run("b", accuracy=[0.7, 0.75]))
    assert "p" not in table.header


@given(
    st.lists(
        st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32)), min_size=3, max_size=12
    )
)
def test_p_value_equals_scipy(pairs):
    first, second = zip(*pairs, strict=True)
    got = paired_p_value(first, second)
    if np.std(np.subtract(first, second)) < 1e-6:
        assert got is None or 0 <= got <= 1
    else:
        assert got == pytest.approx(ttest_rel(first, second).pvalue, rel=1e-6)


def test_p_value_of_constant_difference_says_nothing():
    assert paired_p_value([0.5, 0.6, 0.7], [0.4, 0.5, 0.6]) is None
    assert paired_p_value([0.5, 0.6, math.nan], [0.4, 0.5, 0.1]) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.417, "0.42 s"), (12.34, "12.3 s"), (59.96, "1 min 00 s"), (7620, "2 h 07 min")],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_terminal_table_fits_and_reads_no_markup(make_run, width):
    (table,) = tables(
        make_run("a", method="[red]grace[/red]", accuracy=[0.80, 0.82, 0.81]),
        make_run("b", accuracy=[0.70, 0.72, 0.71]),
    )
    console = Console(width=width)
    with console.capture() as capture:
        console.print(terminal_table(table, notes=True))
    text = capture.get()
    assert max(len(line) for line in text.splitlines()) <= width
    assert "81.00" in text
    assert "±0.82" in text
    if width == 120:
        assert "[red]grace[/red]" in text
        assert "raw-features (baseline)" in text


def test_headline_metrics_are_shown_in_their_order_and_the_rest_is_counted(make_run):
    metrics = {"hit@5": [0.5], "recall@20": [0.3], "ndcg@20": [0.2], "mrr": [0.1]}
    headline = ["ndcg@20", "recall@20", "coverage@20"]
    (table,) = tables(make_run("a", metrics=metrics, headline=headline, **RANKING))
    assert set(table.metrics) == {"ndcg@20", "recall@20"}
    assert any("2 more metrics" in sentence for sentence in table.sentences)
