import base64
import gzip
import json
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from graphcl.errors import ConfigError, DataError, OutputError
from graphcl.report import write_report

pytest.importorskip("plotly", reason="plotly is not installed (extra `report`)")

from plotly.offline import get_plotlyjs

VOID = {"meta", "link", "br", "wbr", "img", "input", "hr"}


@pytest.fixture(autouse=True)
def no_umap(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)


class Page(HTMLParser):
    """Checks that tags nest, and collects what the tests look at."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.text = [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def chart_data(text):
    return json.loads(re.search(r'id="chart-data">(.*?)</script>', text, re.S)[1])


def report(tmp_path, *folders):
    return write_report(folders, tmp_path / "report.html").read_text(encoding="utf-8")


def test_page_has_every_section_and_a_place_for_every_chart(make_run, tmp_path):
    extra = {"histogram/kept": np.arange(30.0), "spectrum": np.exp(-np.arange(9.0))}
    text = report(tmp_path, make_run("a", snapshot=extra), make_run("b", method="dgi"))
    page = Page(text)
    for heading in ("Results", "Learning curves", "Embedding maps", "Environment"):
        assert heading in page.text
    places = [a for a in page.all("div") if a.get("class") == "chart"]
    assert [a["id"] for a in places] == list(chart_data(text))
    # Validation, two losses and a map each; a histogram; both runs' curves, one spectrum.
    assert len(places) == 2 * (1 + 2 + 1) + 1 + 1 + 1
    assert all(a["aria-label"] for a in places)
    assert len(page.all("caption")) == 1
    assert "81.00 ± 0.82" in page.text
    assert "2.13.0" in page.text
    assert "4f1d0c0ffee1234567" in page.text
    assert "graphcl run dgi cora --seeds 3" in page.text


def test_page_asks_the_network_for_nothing_and_holds_plotly_once(make_run, tmp_path):
    text = report(tmp_path, make_run("a"), make_run("b", method="dgi"))
    page = Page(text)
    assert not any("src" in attributes for _, attributes in page.tags)
    targets = [attributes["href"] for _, attributes in page.tags if "href" in attributes]
    assert all(target.startswith("#") or target == "data:," for target in targets)
    policy = next(a["content"] for a in page.all("meta") if "http-equiv" in a)
    assert policy.startswith("default-src 'none'")
    assert len(re.findall(r"\* plotly\.js v", text)) == 1
    assert len(page.all("script")) == 3
    packed = re.search(r'id="plotly">([^<]*)</script>', text)[1]
    assert gzip.decompress(base64.b64decode(packed)).decode() == get_plotlyjs()


def test_hostile_names_are_text_everywhere(make_run, tmp_path):
    attack = "</script><script>alert(1)</script><b onclick='x'>&\""
    folder = make_run(
        "<script>x",
        method=attack,
        parts=("total", attack),
        metrics={attack: [0.1, 0.2]},
        dataset={"name": attack, "hash": attack, attack: attack},
        protocol={"name": attack, attack: attack},
        settings={attack: attack},
        versions={attack: attack},
        command=attack,
        started=attack,
        task=attack,
        snapshot={
            "colour": np.array([attack, "b"] * 30),
            "colour_name": np.array(attack),
            f"histogram/{attack.replace('/', '')}": np.arange(5.0),
        },
    )
    text = report(tmp_path, folder)
    page = Page(text)
    assert len(page.all("script")) == 3
    assert page.all("b") == []
    assert attack in page.text
    assert "<" not in re.search(r'id="chart-data">(.*?)</script>', text, re.S)[1]
    labels = json.dumps(chart_data(text))
    assert "<script" not in labels
    assert "&lt;script" in labels


def test_runs_without_curves_and_maps_say_so(make_run, tmp_path):
    folder = make_run("a", points=0)
    (folder / "log.jsonl").unlink()
    text = report(tmp_path, folder)
    assert chart_data(text) == {}
    assert "no curves" in text
    assert "no embeddings that could be drawn" in text
    for absent in ("Views", "Singular spectrum", "Alignment", "Tuning", "Recommendations"):
        assert absent not in Page(text).text


def test_many_runs_are_folded_and_the_page_stays_small(make_run, tmp_path):
    run = {"epochs": 600, "points": 1500, "parts": ("total", "a", "b")}
    folders = [make_run(f"{i}", method=f"m{i}", accuracy=[i / 40] * 3, **run) for i in range(12)]
    text = report(tmp_path, *folders)
    parts = Page(text).all("details")
    own = [attributes for attributes in parts if attributes.get("class") == "run"]
    assert len(own) == 12 * 2
    assert all("open" not in attributes for attributes in own)
    few = Page(report(tmp_path, *folders[:2])).all("details")
    assert all("open" in attributes for attributes in few if attributes.get("class") == "run")
    library = len(re.search(r'id="plotly">([^<]*)</script>', text)[1])
    assert library < 2.2e6
    assert len(text) - library < 1.5e6


def test_versions_that_differ_are_said_run_by_run(make_run, tmp_path):
    text = report(tmp_path, make_run("a"), make_run("b", versions={"torch": "2.6.0"}))
    assert "the same in every run" not in text
    assert "torch 2.6.0" in Page(text).text


def test_same_runs_same_page(make_run, tmp_path):
    folder = make_run("a")
    assert report(tmp_path, folder) == report(tmp_path, folder)


def test_a_failed_report_leaves_the_old_one(make_run, tmp_path):
    output = tmp_path / "report.html"
    output.write_text("old")
    folder = make_run("a")
    (folder / "log.jsonl").write_text("torn")
    with pytest.raises(DataError):
        write_report([folder], output)
    assert output.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "runs"]


def test_output_that_cannot_be_written(make_run, tmp_path):
    folder = make_run("a")
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for output in (tmp_path / "file" / "report.html", tmp_path / "folder"):
        with pytest.raises(OutputError, match="cannot write"):
            write_report([folder], output)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "runs"]


def test_without_plotly_the_error_says_how_to_get_it(make_run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(ConfigError, match=r'pip install "graphcl\[report\]"'):
        write_report([make_run("a")], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_importing_the_package_is_cheap():
    code = "import sys, graphcl.report; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "graphcl.report.page" in loaded
    assert not loaded & {
        "plotly",
        "umap",
        "numba",
        "sklearn",
        "torch",
        "scipy",
        "pandas",
        "rich",
        "optuna",
    }


def test_studies_and_example_lists_are_on_the_page(make_run, make_study, tmp_path):
    examples = {
        "examples/user": np.array(["u1"]),
        "examples/history": np.array([["Alien (1979)", ""]]),
        "examples/recommended": np.array([["Heat", "Fargo"]]),
        "examples/hit": np.array([[False, True]]),
        "examples/held_out": np.array([["Fargo"]]),
    }
    text = report(tmp_path, make_run("a", snapshot=examples), make_study("b"))
    page = Page(text)
    for part in ("1 run and 1 study", "lightgcl on ml-100k (study b)", "✓ Fargo", "importance"):
        assert part in page.text
    assert len(chart_data(text)) == 3 + 1 + 3
    assert "grace, lightgcl" in page.text


def test_a_study_alone_is_a_page(make_study, tmp_path):
    page = Page(report(tmp_path, make_study("b")))
    assert "Tuning" in page.text
    for absent in ("Results", "Learning curves", "Environment"):
        assert absent not in page.text
