"""RecBole's atomic files: what is written is read again, and what cannot be written is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graphcl.errors import DataError
from recsys.data import Interactions, Labels, Numbers, from_ids, read_recbole, write_recbole
from recsys.data.features import describe_features

plain = st.text(st.sampled_from("ab Z09é漢:,;\"'|#"), min_size=1, max_size=6)
identifier = st.one_of(st.integers(-5, 10**9).map(str), plain).filter(
    lambda text: text == text.strip() and text != ""
)


@st.composite
def logs(draw: st.DrawFn) -> Interactions:
    rows = draw(st.lists(st.tuples(identifier, identifier), min_size=1, max_size=12))
    count = len(rows)
    times = draw(st.none() | st.lists(st.integers(0, 2**53), min_size=count, max_size=count))
    float32 = st.floats(-1e6, 1e6, width=32)
    ratings = draw(st.none() | st.lists(float32, min_size=count, max_size=count))
    return from_ids([r[0] for r in rows], [r[1] for r in rows], times=times, ratings=ratings)


@given(log=logs())
@settings(max_examples=60, deadline=None)
def test_round_trip_of_any_log(log: Interactions, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("atomic")
    paths = write_recbole(log, folder, "mine")
    assert [path.name for path in paths] == ["mine.inter"]
    again = read_recbole(paths[0])
    assert again.content_hash() == log.content_hash()


def full() -> Interactions:
    log = from_ids([3, 3, 1, 2], ["b", "a", "b", "c"], times=[5, 4, 1, 2.5], ratings=[1, 2, 0.1, 5])
    generator = torch.Generator().manual_seed(0)
    return log.with_features(
        {
            "age": Labels.from_lists([["24"], [], ["31"]]),
            "x": Numbers(torch.tensor([[1.5], [0.0], [-2.0]])),
        },
        {
            "image": Numbers(torch.randn(3, 7, generator=generator)),
            "genres": Labels.from_lists([["crime", "war"], [], ["war"]]),
        },
    ).with_titles(np.array(["a", "b", "c"]), np.array(["A  title", "The\tB", "C"]))


def test_features_and_titles_come_back(tmp_path: Path) -> None:
    log = full()
    paths = write_recbole(log, tmp_path / "new" / "folder", "mine")
    assert [path.suffix for path in paths] == [".inter", ".user", ".item"]
    again = read_recbole(paths[0])
    assert again.content_hash() == log.content_hash()
    assert describe_features(again.user_features) == describe_features(log.user_features)
    assert describe_features(again.item_features) == describe_features(log.item_features)
    assert again.titles.tolist() == ["A title", "The B", "C"]
    header = paths[2].read_text().splitlines()[0]
    assert header == "item_id:token\ttitle:token_seq\timage:float_seq\tgenres:token_seq"
    assert paths[1].read_text().splitlines()[0] == "user_id:token\tage:token\tx:float"


def test_features_follow_the_users_and_items_of_a_compacted_log() -> None:
    log = full()
    part = log.select(log.ratings >= 1).compact()  # user 1 leaves, and no item
    assert part.user_ids.tolist() == [2, 3]
    assert part.user_features["x"].values.tolist() == [[0.0], [-2.0]]
    ages = part.user_features["age"]
    assert [ages.names[n] for n in ages.labels.tolist()] == ["31"]
    assert torch.equal(part.item_features["image"].values, log.item_features["image"].values)
    with pytest.raises(DataError, match=r"'image' must have one row for each of 3 items \(got 2\)"):
        log.with_features(items={"image": Numbers(torch.zeros(2, 1))})


def test_what_a_file_does_not_say_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "a.inter").write_text("user_id:token\titem_id:token\n1\tx\n1\ty\n2\tz\n")
    (tmp_path / "a.item").write_text(
        "item_id:token\tvec:float_seq\ttag:token_seq\nz\t1 2\tq r\nx\t\t\nelse\t3 4\tq\n"
    )
    log = read_recbole(tmp_path / "a.inter")
    assert log.item_features["vec"].values.tolist() == [[0, 0], [0, 0], [1, 2]]
    tags = log.item_features["tag"]
    assert tags.offsets.tolist() == [0, 0, 0, 2]
    assert tags.matrix().to_dense().sum(1).tolist() == [0, 0, 2]


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        ("vec:float_seq", "1 2\ny\t1", "must have one length"),
        ("vec:float", "nought", "no number"),
        ("vec:float", "inf", "finite"),
        ("vec:matrix", "1", "types in the header"),
    ],
)
def test_bad_features_are_refused(tmp_path: Path, header: str, row: str, message: str) -> None:
    (tmp_path / "a.inter").write_text("user_id:token\titem_id:token\n1\tx\n1\ty\n")
    (tmp_path / "a.item").write_text(f"item_id:token\t{header}\nx\t{row}\n")
    with pytest.raises(DataError, match=message) as caught:
        read_recbole(tmp_path / "a.inter")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bad", ["", "a\tb", "a\nb", " a", "a "])
def test_ids_that_would_not_come_back_are_refused(tmp_path: Path, bad: str) -> None:
    log = Interactions.from_indices(
        torch.tensor([0]), torch.tensor([0]), user_ids=np.array([bad]), item_ids=np.array(["x"])
    )
    with pytest.raises(DataError, match="a user id in an atomic file"):
        write_recbole(log, tmp_path, "mine")
    assert not list(tmp_path.iterdir())
    labelled = from_ids(["u", "u"], ["x", "y"]).with_features(
        items={"t": Labels.from_lists([["a b", "c"], []])}
    )
    with pytest.raises(DataError, match="a label in an atomic file"):
        write_recbole(labelled, tmp_path, "mine")


@pytest.mark.real_data
def test_movielens_round_trips(tmp_path: Path) -> None:
    from graphcl.errors import MissingDataError
    from recsys.data import load_interactions

    try:
        log = load_interactions("ml-100k")
    except MissingDataError as error:
        pytest.skip(str(error))
    assert {*log.user_features} == {"age", "gender", "occupation", "zip_code"}
    assert {*log.item_features} == {"release_year", "class"}
    write_recbole(log, tmp_path, "ml")
    again = read_recbole(tmp_path / "ml.inter")
    assert again.content_hash() == log.content_hash()
    assert describe_features(again.item_features) == describe_features(log.item_features)
    assert (again.titles == log.titles).all()
