"""`graphcl export` and `graphcl recommend` as commands: what they print, and what they refuse."""

from __future__ import annotations

import json

import pytest


def rows(outcome):
    code, printed, text = outcome
    assert code == 0, text
    return json.loads(printed)


def test_recommend_prints_titles(command, finished):
    code, printed, _ = command("recommend", finished["sasrec"], "--user", "user 3", "-k", 2)
    assert code == 0
    title, header, *lines = printed.splitlines()
    assert title.split() == ["user", "user", "3"]
    assert header.split() == ["rank", "item", "title", "score"]
    assert len(lines) == 2
    # What stands in brackets is no markup.
    assert "The [red]" in printed
    assert "café, " in printed


def test_json_holds_the_same_lists(command, finished):
    found = rows(
        command("recommend", finished["bpr"], "--user", "user 3", "--user", "user 0", "--json")
    )
    assert {row["user"] for row in found} == {"user 3", "user 0"}
    first = found[0]
    assert list(first) == ["user", "rank", "item", "title", "score"]
    assert (first["rank"], type(first["score"])) == (1, float)
    kept = rows(command("recommend", finished["bpr"], "--user", "user 3", "--keep-seen", "--json"))
    assert len(kept) == 10 > len([row for row in found if row["user"] == "user 3"])


def test_a_history_is_read_as_a_line_of_csv(command, finished):
    history = '"café, 3", 日本 ,"THE [red] 5: a/b, ½"'
    for name in ("sasrec", "ease", "bpr"):
        found = rows(command("recommend", finished[name], "--history", history, "-k", 4, "--json"))
        assert [row["rank"] for row in found] == [1, 2, 3, 4]
        assert not {row["item"] for row in found} & {"café, 3", "日本", "café, 5"}
    code, printed, _ = command("recommend", finished["ease"], "--history", history)
    assert code == 0
    assert printed.startswith("after this history")


def test_similar_items_and_an_exported_folder(command, finished, tmp_path):
    out = tmp_path / "out"
    code, printed, _ = command(
        "export", finished["bpr"], "-o", out, "--format", "npz", "--no-faiss", "--no-encoder"
    )
    assert code == 0
    assert "items.npz" in printed
    assert printed.splitlines()[-1] == f"exported: {out}"
    asked = ("--similar-to", "café, 1", "-k", 3, "--json")
    assert rows(command("recommend", out, *asked)) == rows(
        command("recommend", finished["bpr"], *asked)
    )


def test_the_default_folder_of_an_export(refused, command, finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command("export", finished["raw-features"])[0] == 0
    assert (tmp_path / "exports" / "raw" / "README.md").exists()
    refused(command("export", finished["raw-features"]), "exports/raw", "not empty")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--user", "user 33"], ["unknown user 'user 33'", "did you mean 'user 3'"]),
        (["--similar-to", "cafe, 3"], ["unknown item 'cafe, 3'", "café, 3"]),
        (["--history", "日本,nothing like it"], ["unknown item 'nothing like it'"]),
        (["--history", " , "], ["a history needs at least one item"]),
        (["--history", "50\r181"], ["--history must be one line", r"got '50\r181'"]),
        (["--history", "50\n181"], ["--history must be one line", r"got '50\n181'"]),
        (["--history", '"日本, café'], ["quoted as in CSV", "got '\"日本, café'"]),
        (["--history", '"a" b'], ["quoted as in CSV"]),
        (["--history", "x" * 200_000], ["field larger than field limit"]),
        (["--user", "no\nbody"], ["unknown user 'no body'"]),
        ([], ["--user, --history and --similar-to (got none of them)"]),
        (["--user", "user 3", "--history", "日本"], ["got 2 of them"]),
        (["--user", "user 3", "-k", "0"], ["-k must be at least 1 (got 0)"]),
        (["--user", "user 3", "--seed", "7"], ["has the seeds 0, 1 (got seed 7)"]),
        (["--user", "user 3", "--dataset", "nowhere.csv"], ["nowhere.csv"]),
    ],
)
def test_mistakes_are_one_sentence(refused, command, finished, arguments, words):
    refused(command("recommend", finished["bpr"], *arguments), *words)


def test_runs_that_cannot_be_used(refused, command, finished, tmp_path):
    refused(command("recommend", tmp_path / "no run", "--user", "1"), "no run folder")
    refused(command("recommend", finished["grace"], "--user", "1"), "no users and items")
    refused(command("export", tmp_path / "no run"), "no run folder")
    refused(command("export", finished["bpr"], "--format", "csv"), "unknown format 'csv'")
    (tmp_path / "file").write_text("mine")
    refused(command("export", finished["bpr"], "-o", tmp_path / "file" / "x"), "cannot write")
