"""The page in a real browser: every chart drawn, an empty console, no sideways scrolling."""

import re
import shutil
import subprocess

import numpy as np
import pytest

from graphcl.report import write_report

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no chromium on PATH to open the report with"),
]

# A frame as wide as a phone: headless windows do not go below 500 pixels.
# Everything is in sight, so every chart is drawn.
FRAME = """<body><iframe id="page" src="report.html" style="width:390px;height:HEIGHT"></iframe>
<script>
const frame = document.getElementById("page");
function look() {
  const root = frame.contentDocument.documentElement;
  const [ready, all] = (root.dataset.charts || "0/1").split("/");
  if (ready !== all) { return setTimeout(look, 50); }
  document.title = [root.dataset.charts, root.scrollWidth, root.clientWidth].join(" ");
}
frame.onload = look;
</script></body>"""
TALL = 30000
# Validation, two losses and a map of each run; both runs' curves, the plane, the spectrum and a
# histogram; and three of the study.
CHARTS = 2 * 4 + 4 + 3


def browse(path, profile, *flags):
    """The dumped DOM and what the page wrote to its console."""
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]
    command += ["--no-first-run", "--disable-background-networking", "--disable-component-update"]
    command += ["--disable-sync", f"--user-data-dir={profile}", "--enable-logging=stderr", "--v=0"]
    command += ["--virtual-time-budget=20000", *flags, "--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.fixture
def page(make_run, make_study, tmp_path):
    """A page with every kind of chart and table."""
    popular = {"colour": np.arange(60) ** 3, "colour_name": np.array("popularity")}
    extra = {
        "histogram/kept/inside": np.arange(30.0),
        "histogram/kept/between": np.arange(20.0),
        "spectrum": np.exp(-np.arange(9.0)),
        "alignment": np.array(0.3),
        "uniformity": np.array(-2.0),
        "examples/user": np.array(["a-user-with-quite-a-long-name"]),
        "examples/history": np.array([["A film with a long title (1979)"] * 8]),
        "examples/recommended": np.array([["Another film with a long title (1996)"] * 10]),
        "examples/hit": np.array([[False, True] * 5]),
        "examples/held_out": np.array([["Another film with a long title (1996)"]]),
    }
    folders = [make_run("a", snapshot=extra), make_run("b", method="<b>dgi</b>", snapshot=popular)]
    return write_report([*folders, make_study("c")], tmp_path / "report.html")


def test_every_chart_is_drawn_and_the_console_is_empty(page, tmp_path):
    dom, console = browse(page, tmp_path / "profile", f"--window-size=1200,{TALL}")
    assert console == []
    assert re.search(r'data-charts="(\d+)/(\d+)"', dom).groups() == (f"{CHARTS}", f"{CHARTS}")
    drawn = re.split(r'<div class="chart ', dom)[1:]
    assert len(drawn) == CHARTS
    assert all("main-svg" in chart and ("<path" in chart) for chart in drawn)


def test_a_phone_scrolls_in_one_direction_only(page, tmp_path):
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.replace("HEIGHT", f"{TALL}px"))
    dom, console = browse(
        frame,
        tmp_path / "profile",
        "--allow-file-access-from-files",
        f"--window-size=600,{TALL}",
    )
    assert console == []
    charts, needed, given = re.search(r"<title>(\S+) (\d+) (\d+)</title>", dom).groups()
    assert charts == f"{CHARTS}/{CHARTS}"
    assert int(needed) <= int(given) <= 390


def test_this_test_would_see_a_console_error(tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text("<script>console.error('seen')</script>")
    _, console = browse(bad, tmp_path / "profile")
    assert len(console) == 1
