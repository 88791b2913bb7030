import pytest
from pydantic import ValidationError

from graphcl import resources
from graphcl.data import cards
from graphcl.errors import DataError, UnknownNameError

EXPECTED = {
    "cora",
    "citeseer",
    "amazon-photo",
    "amazon-computers",
    "coauthor-cs",
    "ml-100k",
    "ml-latest-small",
}


def test_every_shipped_card_is_valid_and_complete():
    assert set(cards.card_names()) >= EXPECTED
    for name in cards.card_names():
        card = cards.load_card(name)
        assert card.name == name
        assert any(not file.optional for file in card.files)
        assert all(count > 0 for count in card.statistics.values())
        # One line in a listing, and every file says where it would be looked for.
        assert "\n" not in card.description
        assert len(card.description) <= 100


def test_misspelt_name_gets_the_nearest():
    with pytest.raises(UnknownNameError, match=r"unknown data set 'citeser'.*'citeseer'"):
        cards.load_card("citeser")


def test_path_like_name_is_not_a_card():
    with pytest.raises(UnknownNameError):
        cards.load_card("../datasets/cora")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = ", "cannot be read"),
        ('title = "x"\nsurprise = 1\n', "not valid at"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_bad_card_is_one_sentence(tmp_path, monkeypatch, text, message):
    (tmp_path / "bad.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    monkeypatch.setattr(cards, "datasets_folder", lambda: tmp_path)
    with pytest.raises(DataError, match=message) as caught:
        cards.load_card("bad")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("statistics", {"users": 1}),
        ("kind", "table"),
        ("homepage", "http://example.org"),
        ("files", ()),
        (
            "carriers",
            ({"requirement": "a==1", "licence": "x", "members": {"other.csv": "a/b"}},),
        ),
        ("carriers", ({"requirement": "a>=1", "licence": "x", "members": {"table.csv": "a"}},)),
    ],
)
def test_card_that_does_not_hold_together_is_refused(changed_card, field, value):
    with pytest.raises(ValidationError):
        changed_card(**{field: value})


@pytest.mark.parametrize("location", ["../x", "a/../../x", "/etc/passwd", "a//b", ""])
def test_location_cannot_leave_the_data_root(card, location):
    file = card.files[0].model_dump()
    with pytest.raises(ValidationError):
        cards.CardFile.model_validate({**file, "locations": (location,)})


@pytest.mark.parametrize("digests", [{}, {"sha256": "0" * 64, "git_blob": "0" * 40}])
def test_copy_states_exactly_one_digest(digests):
    with pytest.raises(ValidationError):
        cards.FileCopy.model_validate(digests)


def test_shipped_folder_wins_over_the_checkout(tmp_path, monkeypatch):
    package = tmp_path / "graphcl"
    (package / "_shipped" / "datasets").mkdir(parents=True)
    (tmp_path / "datasets").mkdir()
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(resources, "_PACKAGE", package)
    assert resources.datasets_folder() == package / "_shipped" / "datasets"
    assert resources.checkout_root() is None


def test_checkout_serves_its_own_folders(tmp_path, monkeypatch):
    for folder in ("graphcl", "datasets", "configs"):
        (tmp_path / folder).mkdir()
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "graphcl")
    assert resources.configs_folder() == tmp_path / "configs"
    assert resources.checkout_root() == tmp_path


def test_installation_without_folders_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "graphcl")
    with pytest.raises(DataError, match="no 'configs' folder"):
        resources.configs_folder()
