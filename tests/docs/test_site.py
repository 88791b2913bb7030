"""The guides run as written; the site builds without a warning, and its links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_python_of_the_guides_runs_as_written(path, tiny_graph, tiny_log, tmp_path, monkeypatch):
    import torch
    from torch_geometric.data import Data

    (tmp_path / "my_graph").symlink_to(tiny_graph)
    text = tiny_log.read_text().replace("user_id,item_id", "user,item")
    (tmp_path / "my_log.csv").write_text(text)
    monkeypatch.chdir(tmp_path)
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(30, (2, 100), generator=generator)
    names = {
        "torch": torch,
        "generator": generator,
        "data": Data(
            x=torch.rand(30, 8, generator=generator),
            edge_index=torch.cat([edges, edges.flip(0)], dim=1),
        ),
        "z1": torch.randn(30, 4, requires_grad=True),
        "z2": torch.randn(30, 4),
        "help": lambda what: None,
    }
    blocks = re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, path.name, "exec"), names)
    if "lists" in names:
        assert len(names["lists"]) == 3


class Links(HTMLParser):
    """What a page links to and loads, and the places in it that can be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.loaded: list[str] = []
        self.places: set[str] = {""}
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.targets += [found[key] for key in ("href", "src") if found.get(key)]
        if tag in ("link", "script", "img"):
            self.loaded += [found[key] for key in ("href", "src") if found.get(key)]
        if found.get("id"):
            self.places.add(found["id"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("sphinx", reason="sphinx is not installed (extra `docs`)")
    folder = tmp_path_factory.mktemp("site") / "html"
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "build.py"), str(folder)],
        capture_output=True, text=True, timeout=600,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_every_link_leads_somewhere_and_nothing_is_asked_of_the_network(site):
    pages = {
        path.resolve(): Links(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")
    }
    assert len(pages) > 40
    for path, page in pages.items():
        assert [target for target in page.loaded if urlsplit(target).netloc] == []
        for target in page.targets:
            parts = urlsplit(target)
            if parts.netloc or parts.scheme in ("data", "mailto"):
                continue
            other = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert other.exists(), f"{path.name} -> {target}"
            if other in pages:
                assert unquote(parts.fragment) in pages[other].places, f"{path.name} -> {target}"


@pytest.mark.slow
def test_every_table_entry_has_its_place_on_the_site(site):
    from graphcl.app.catalogue import method_table, task_table
    from graphcl.data import card_names
    from graphcl.losses import LOSSES
    from graphcl.views import VIEWS

    for name in method_table():
        assert "Settings" in (site / "methods" / f"{name}.html").read_text(encoding="utf-8")
    for page, names in (
        ("tasks", task_table()),
        ("datasets", card_names()),
        ("operators/losses", LOSSES),
        ("operators/views", VIEWS),
    ):
        text = (site / f"{page}.html").read_text(encoding="utf-8")
        assert [name for name in names if name not in text] == []
    losses = (site / "operators" / "losses.html").read_text(encoding="utf-8")
    assert losses.count("<math") > 40
    assert "\\frac" not in losses
