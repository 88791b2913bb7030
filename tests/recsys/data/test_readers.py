"""Readers: every format gives the same log, and dirt is refused by line."""

import inspect
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import graphcl.data
import recsys.data
from graphcl.errors import DataError, GraphclError, MissingDataError
from recsys.data import (
    Interactions,
    Numbers,
    from_dataframe,
    leave_one_out,
    load_interactions,
    read_interactions,
    read_lines,
    read_parquet,
    read_recbole,
    read_table,
    write_recbole,
)
from recsys.data.item_embeddings import read_embedding
from recsys.data.readers import read_attributes
from recsys.views import Subsequences

ROWS = [("7", "b", 3.0, 20), ("7", "a", 4.5, 10), ("12", "c", 1.0, 5), ("7", "c", 2.0, 20)]


def text(separator: str, header: str | None) -> str:
    lines = [separator.join(map(str, row)) for row in ROWS]
    return "\n".join(([header] if header else []) + lines) + "\n"


def expect_rows(log: Interactions) -> None:
    assert log.user_ids.tolist() == [7, 12]
    assert log.item_ids.tolist() == ["a", "b", "c"]
    assert log.history(0).tolist() == [0, 1, 2]  # time 10, then 20 and 20 in file order
    assert log.history(1).tolist() == [2]
    assert log.ratings.tolist() == [4.5, 3.0, 2.0, 1.0]
    assert log.times.tolist() == [10, 20, 20, 5]


FORMATS = {
    "a.inter": text("\t", "user_id:token\titem_id:token\trating:float\ttimestamp:float"),
    "a.csv": text(",", "userId,movieId,rating,timestamp"),
    "reordered.csv": "timestamp,rating,item,user\n"
    + "".join(f"{t},{r},{i},{u}\n" for u, i, r, t in ROWS),
    "semicolon.csv": text(";", "User ID;Item ID;score;date"),
    "a.tsv": text("\t", "user\titem\trating\ttime"),
    "table.txt": text("::", "user::item::rating::time"),
    "quoted.csv": "user,item,rating,time\n"
    + "".join(f'"{u}"," {i} ","{r}","{t}"\n' for u, i, r, t in ROWS),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("dirt", ["none", "crlf", "bom", "blank lines", "no last newline"])
def test_same_log_in_every_format(tmp_path: Path, name: str, dirt: str) -> None:
    content = FORMATS[name]
    if dirt == "crlf":
        content = content.replace("\n", "\r\n")
    elif dirt == "bom":
        content = "\ufeff" + content
    elif dirt == "blank lines":
        content = "\n\n" + content.replace("\n", "\n\n")
    elif dirt == "no last newline":
        content = content.rstrip("\n")
    path = tmp_path / name
    path.write_bytes(content.encode())
    expect_rows(read_interactions(path))


def frame() -> pd.DataFrame:
    return pd.DataFrame(ROWS, columns=["user_id", "item_id", "rating", "timestamp"])


def test_parquet_and_dataframe(tmp_path: Path) -> None:
    frame().to_parquet(tmp_path / "log.parquet")
    expect_rows(read_interactions(tmp_path / "log.parquet"))
    expect_rows(from_dataframe(frame()))
    odd = frame().set_axis(["w", "x", "y", "z"], axis=1).set_index(pd.Index([9, 9, 9, 9]))
    columns = {"user": "w", "item": "x", "rating": "y", "time": "z"}
    expect_rows(from_dataframe(odd, columns))
    typed = frame().assign(
        user_id=lambda f: f["user_id"].astype(float),
        timestamp=lambda f: pd.to_datetime(f["timestamp"], unit="s"),
    )
    log = from_dataframe(typed)
    assert log.user_ids.tolist() == [7, 12]
    assert log.times.tolist() == [t * 10**9 for t in (10, 20, 20, 5)]


def test_paths_may_be_text(tmp_path: Path) -> None:
    for name, content in FORMATS.items():
        (tmp_path / name).write_text(content)
        expect_rows(read_interactions(str(tmp_path / name)))
    frame().to_parquet(tmp_path / "log.parquet")
    expect_rows(read_parquet(str(tmp_path / "log.parquet")))
    expect_rows(read_table(str(tmp_path / "a.csv"), title_path=str(tmp_path / "a.csv")))
    (tmp_path / "items").write_text("7 a b c\n")
    log = read_lines(str(tmp_path / "items"))
    (tmp_path / "words.json").write_text('{"a": [1], "b": [2, 3]}')
    log = read_attributes(log, str(tmp_path / "words.json"))
    assert log.texts is not None
    described = log.with_features(items={"size": Numbers(torch.tensor([[1.0], [2.0], [3.0]]))})
    written = write_recbole(described, str(tmp_path / "out"), "log")
    inter, item = (str(path) for path in written)
    assert read_recbole(inter, item).item_features["size"].values.tolist() == [[1], [2], [3]]
    np.save(tmp_path / "vectors.npy", np.ones((3, 2)))
    assert read_embedding(str(tmp_path / "vectors.npy"), 3).shape == (3, 2)
    for read in (read_interactions, read_table, read_lines, read_recbole, read_parquet):
        with pytest.raises(MissingDataError, match=r"there is no file 'nowhere.x'"):
            read("nowhere.x")


@pytest.mark.parametrize("package", [graphcl.data, recsys.data])
def test_no_public_function_of_data_takes_path_objects_only(package) -> None:
    functions = [getattr(package, name) for name in package.__all__]
    for function in filter(inspect.isfunction, functions):
        for parameter in inspect.signature(function).parameters.values():
            taken = str(parameter.annotation)
            assert "Path" not in taken.replace("PathLike", "").replace("AnyPath", ""), (
                f"{function.__name__}({parameter}) must take str as well"
            )


def test_table_without_header(tmp_path: Path) -> None:
    path = tmp_path / "u.data"
    path.write_text("1\t5\t3\t100\n1\t4\t2\t50\n")
    log = read_interactions(path)
    assert log.item_ids[log.history(0).numpy()].tolist() == [4, 5]
    assert log.ratings.tolist() == [2.0, 3.0]


def test_third_column_without_a_header_is_of_ratings_or_of_times(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("1,5,881250949\n1,4,881250948\n")
    log = read_interactions(path)
    assert log.ratings is None
    assert log.item_ids[log.history(0).numpy()].tolist() == [4, 5]
    # One number that is none of a time, and all are ratings; so are all columns but the third.
    for third in ("5", "99999999", "881250949.5", "-881250949", "9" * 20):
        path.write_text(f"1,5,881250949\n1,4,{third}\n")
        log = read_interactions(path)
        assert log.times is None
        assert log.ratings.tolist() == pytest.approx([881250949.0, float(third)])
    path.write_text("1,5,881250949\n1,4,881250948\n")
    named = {"user": "user", "item": "item", "time": "rating"}
    assert read_interactions(path, named).times.tolist() == [881250948, 881250949]
    path.write_text("1,5,881250949,2\n1,4,881250948,1\n")
    log = read_interactions(path)
    assert log.ratings.tolist() == pytest.approx([881250948.0, 881250949.0])
    assert log.item_ids[log.history(0).numpy()].tolist() == [4, 5]


@pytest.mark.parametrize("column", ["user_id", "item_id", "rating", "timestamp"])
def test_lists_in_a_column_are_refused(tmp_path: Path, column: str) -> None:
    table = frame()
    table[column] = pd.Series([[1, 2], [3], [4], [5, 6]])
    table.to_parquet(tmp_path / "log.parquet")
    kind = {"user_id": "user id", "item_id": "item id", "timestamp": "time"}.get(column, column)
    with pytest.raises(DataError, match=f"the {kind} in row 0 of .*must be a"):
        read_interactions(tmp_path / "log.parquet")
    table[column] = pd.Series(["1", "2", [3], "4"], dtype=object)
    with pytest.raises(DataError, match=f"the {kind} in row 2 of .*must be a"):
        from_dataframe(table)


def test_unnamed_columns_of_a_dataframe_are_refused() -> None:
    with pytest.raises(DataError, match=r"name the columns.*got the header 0, 1, 2, 3\)"):
        from_dataframe(pd.DataFrame(ROWS))


def test_lines(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_bytes(b"\xef\xbb\xbf2 30 4 30\r\n\r\n10 4\r\n3\r\n2 5\r\n")
    log = read_interactions(path)
    assert log.user_ids.tolist() == [2, 10]
    assert log.item_ids[log.history(0).numpy()].tolist() == [30, 4, 30, 5]
    assert log.times is None
    path.write_text("1\n2\n")
    with pytest.raises(DataError, match="has no interactions"):
        read_lines(path)


def test_titles(tmp_path: Path) -> None:
    (tmp_path / "a.inter").write_text(FORMATS["a.inter"])
    (tmp_path / "a.item").write_text('item_id:token\tmovie_title:token_seq\na\tA "quote\nb\tB\n')
    assert read_interactions(tmp_path).titles.tolist() == ['A "quote', "B", "c"]
    folder = tmp_path / "movies"
    folder.mkdir()
    (folder / "ratings.csv").write_text(FORMATS["a.csv"])
    assert read_interactions(folder).titles is None
    (folder / "movies.csv").write_text('movieId,title\na,"A, the"\n')
    assert load_interactions(folder).titles.tolist() == ["A, the", "b", "c"]
    assert load_interactions(folder).name == "movies"
    assert load_interactions(folder).item_features == {}


def test_genres_are_a_feature(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text(FORMATS["a.csv"])
    (tmp_path / "movies.csv").write_text(
        "movieId,title,genres\na,A,Drama|Comedy\nb,B,|\nc,C,(no genres listed)\nz,Z,War\n"
    )
    genres = load_interactions(tmp_path).item_features["genres"]
    assert genres.names.tolist() == ["Comedy", "Drama"]
    assert genres.matrix().to_dense().tolist() == [[1, 1], [0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "is empty"),
        ("a.csv", "\n \n", "is empty"),
        ("a.csv", "user,item\n", "has no interactions"),
        ("a.csv", "user,item\n1,2\n1,\n", r"item id is missing in line 3 of '.*a\.csv'"),
        ("a.csv", "user,item\n\n1,2\n,4\n", "user id is missing in line 4"),
        ("a.csv", "\n\nuser,item\n1,2\n,4\n", "user id is missing in line 5"),
        ("a.csv", "\nuser,item\n1,2,3\n", "line 3 has 3 fields"),
        ("a.csv", "user,item\n1\n", "item id is missing in line 2"),
        ("a.csv", "user,item\n1,2\n1,2,3\n", "line 3 has 3 fields where the first line has 2"),
        ("a.csv", "user,item,rating\n1,2,3\n1,2,\n", "rating in line 3 .*got ''"),
        ("a.csv", "user,item,rating\n1,2,nan\n", "rating in line 2 .*got 'nan'"),
        ("a.csv", "user,item,rating\n1,2,inf\n", "rating in line 2 .*got 'inf'"),
        ("a.csv", "user,item,rating\n1,2,good\n", "rating in line 2 .*got 'good'"),
        ("a.csv", "user,item,time\n1,2,3\n1,2,noon\n", "time in line 3 .*got 'noon'"),
        (
            "a.csv",
            "user,item,time\n1,2,7\n1,3,2020-01-02\n",
            r"line 2 of .* is a number, '7', .*line 3 of .* an ISO 8601 date \(got '2020-01-02'\)",
        ),
        (
            "a.csv",
            "user,item,time\n1,2,2020-01-02\n1,3,7\n",
            r"line 2 of .* is an ISO 8601 date, '2020-01-02', .*line 3 of .* a number \(got '7'\)",
        ),
        ("a.csv", 'user,item\n1,2\n"ann,4\nbob,6\n', "row that starts in line 3 opens a quote"),
        ("a.csv", '\nuser,item\n1,"2\n3"\n"ann,4\n', "row that starts in line 5 opens a quote"),
        # Beyond what the csv module takes as one field.
        ("a.csv", 'user,item\n"ann,4\n' + "1,2\n" * 50_000, "starts in line 2 opens a quote"),
        ("a.csv", f'user,item\n{"x" * 200_000},1\n"ann,4\n', "quote is opened and never closed"),
        ("a.csv", "user,product\n1,2\n", "needs an item column.*got columns user, product"),
        ("a.csv", "item,person\n1,2\n", "needs a user column"),
        ("a.csv", "one\nx\n", "neither a user nor an item column"),
        (
            "a.csv",
            "who,what,rating\nann,x,3\n",
            r"name the columns user,item\[,rating,timestamp\] \(got the header who, what, rating\)",
        ),
        ("a.tsv", "ann\tx\t3\t100\nbob\ty\t4\t50\n", r"got the header ann, x, 3, 100\)"),
        ("a.txt", "u1::i1::3\nu2::i2::4\n", r"got the header u1, i1, 3\)"),
        ("a.inter", "who:token\twhat:token\n1\t2\n", "neither a user nor an item column"),
        ("a.csv", "user,item,user\n1,2,3\n", "several columns named .user."),
        ("a.inter", "user_id\titem_id\n1\t2\n", "name:type fields"),
        (
            "a.inter",
            "user_id:token\titem_id:token\n1\t2\t3\n",
            "line 2 has 3 fields where the first line has 2",
        ),
        ("a.parquet", "not parquet", "not a readable Parquet file"),
        ("a.csv", b"user,item\n\xff\xfe,1\n", "must be UTF-8 text"),
        ("a.csv", b"user,item\n\x00,1\n", "got a NUL byte at offset 10"),
        ("a.txt", b"1 2 \xff\n", "must be UTF-8 text"),
        # What stands between two quotes is one field, and rows would be lost in it.
        (
            "a.csv",
            'user,item\n1,2\n"ann,4\nbob,6\neve",8\n',
            r"user id in line 3 .* must not hold a line break.*got 'ann,4\\nbob,6\\neve'",
        ),
        ("a.csv", 'user,item,title\n1,2,"a\nb"\n1,,c\n', "item id is missing in line 4"),
        (
            "a.csv",
            "user,item,time\n1,2,2020-01-01\n1,2,9999-12-31\n",
            "years 1678 to 2261|must be a finite",
        ),
        ("a.csv", "user,item,rating\n1,2,1e39\n", r"fit into float32 \(got 1e\+39\)"),
    ],
)
def test_dirt_is_refused(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message) as caught:
        read_interactions(path)
    assert "\n" not in str(caught.value)


def test_missing_files(tmp_path: Path) -> None:
    for read in (read_recbole, read_table, read_parquet, read_lines, read_interactions):
        with pytest.raises(MissingDataError, match="there is no file"):
            read(tmp_path / "absent.csv")
    with pytest.raises(MissingDataError, match=r"must hold one \.inter file"):
        read_interactions(tmp_path)
    with pytest.raises(MissingDataError, match="there is no file or folder"):
        load_interactions(tmp_path / "absent.csv")


def test_a_column_of_times_that_nobody_named_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("who,what,Timestamp\n1,2,9\n1,3,8\n")
    named = {"user": "who", "item": "what"}
    log = read_table(path, named)
    assert (log.times, log.unread_times) == (None, "Timestamp")
    assert log.select(torch.tensor([True, False])).unread_times == "Timestamp"
    assert read_table(path, {**named, "time": "Timestamp"}).unread_times is None
    assert read_table(path, {"user": "who", "item": "Timestamp"}).unread_times is None
    path.write_text("user,item\n1,2\n")
    assert read_table(path).unread_times is None


def test_named_columns_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("who,what\n1,2\n")
    assert len(read_table(path, {"user": "who", "item": "what"})) == 1
    with pytest.raises(DataError, match="has no column 'whom'"):
        read_table(path, {"user": "whom", "item": "what"})
    with pytest.raises(DataError, match="columns must name the item column"):
        read_table(path, {"user": "who"})
    with pytest.raises(DataError, match="need a column each"):
        read_table(path, {"user": "who", "item": "who"})
    with pytest.raises(DataError, match="columns must map user, item, rating, time"):
        read_table(path, {"user": "who", "item": "what", "colour": "what"})


@given(
    st.text(alphabet='ui12,;\t\r\n"\x00é. ', max_size=60),
    st.sampled_from(["a.csv", "a.inter", "a.txt", "a.dat"]),
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_any_text_is_read_or_refused_in_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, content: str, name: str, headed: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / f"fuzz-{name}"
    header = "user_id:token\titem_id:token\n" if name == "a.inter" else "user,item,rating\n"
    path.write_bytes(((header if headed else "") + content).encode())
    refusal = None
    try:
        log = read_interactions(path)
    except GraphclError as error:
        refusal = str(error)
    if refusal is not None:
        assert "\n" not in refusal
        return
    assert len(log) > 0
    assert int(log.offsets[-1]) == len(log)
    assert 0 <= int(log.items.min()) <= int(log.items.max()) < log.num_items
    assert log.ratings is None or bool(log.ratings.isfinite().all())
    assert all(str(name).strip() for name in (*log.user_ids, *log.item_ids))


@given(st.integers(0, 30), st.sampled_from(["user", "item", "rating", "time"]))
@settings(max_examples=40, deadline=None)
def test_a_broken_cell_is_found_by_its_line(
    tmp_path_factory: pytest.TempPathFactory, row: int, column: str
) -> None:
    table = pd.DataFrame(
        {"user": np.arange(31) % 5, "item": np.arange(31), "rating": 3, "time": np.arange(31)}
    ).astype(str)
    table.loc[row, column] = ""
    path = tmp_path_factory.getbasetemp() / "broken.csv"
    table.to_csv(path, index=False)
    with pytest.raises(DataError, match=rf"{column}.* in line {row + 2} of ") as caught:
        read_interactions(path)
    assert re.search(re.escape(str(path)), str(caught.value))


def test_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ratings.csv").write_text(FORMATS["a.csv"])
    monkeypatch.chdir(tmp_path)
    assert load_interactions(".").name == tmp_path.name
    with pytest.raises(DataError, match="must be a name such as ml-100k or a path"):
        load_interactions("")


def test_unknown_names() -> None:
    with pytest.raises(GraphclError, match="did you mean 'ml-100k'"):
        load_interactions("ml-100")
    with pytest.raises(DataError, match="'cora' is a graph"):
        load_interactions("cora")


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "users", "items", "count", "targets"),
    [
        ("amazon-beauty", 22363, 12101, 198502, 131413),
        ("amazon-sports", 35598, 18357, 296337, 189543),
    ],
)
def test_amazon_item_lists(name: str, users: int, items: int, count: int, targets: int) -> None:
    """The prefix rows are as many as in the code of ICSRec, which writes them to disk."""
    root = os.environ.get("GRAPHCL_DATA")
    if not root:
        pytest.skip(f"set GRAPHCL_DATA to a data root with {name}")
    log = load_interactions(name, Path(root))
    assert (log.num_users, log.num_items, len(log)) == (users, items, count)
    assert log.item_ids[0] == 1
    train = leave_one_out(log).train
    assert len(Subsequences(train.items, train.offsets, 50)) == targets
