"""Every number in the README is a measurement that is committed, or measures nothing.

The results table comes from the configs (`tests/test_readme.py`). Everywhere else a number, in
digits or in words, must stand in one of the phrases below: a claim with a check against the
committed measurement, or a name or an example. So a new number needs a line here, and a changed
one fails.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRAST = (ROOT / "benchmarks" / "contrast.md").read_text(encoding="utf-8")

NUMBER = re.compile(
    r"\d|\b(?:half|thirds?|quarters?|fifths?|sixths?|sevenths?|eighths?|ninths?|tenths?|twice"
    r"|thrice|times|dozens?|ten|eleven|twelve|twenty|thirty|forty|fifty|sixty|seventy|eighty"
    r"|ninety|hundreds?|thousands?|millions?)\b",
    re.IGNORECASE,
)


XEON = "## GRACE's objective, N = 12,000, d = 128"
ZEN_4 = "## GRACE's objective on AMD Zen 4"


def contrast_row(variant: str, heading: str = XEON) -> dict[str, str]:
    """The row of a variant at 12,000 nodes, d = 128, in a table that was measured in one run."""
    _, _, section = CONTRAST.partition(heading)
    lines = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("|")]
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    (found,) = [row for row in rows if row[2] == variant]
    return dict(zip(head, found, strict=True))


def faster(variant: str) -> float:
    return float(contrast_row(variant)["times faster"])


def takes_less_memory() -> bool:
    definition, tiles = (float(contrast_row(v)["peak MB"]) for v in ("definition", "tiles"))
    return (round(tiles), round(definition / 1000, 1)) == (40, 3.9)


def takes_a_fifth_to_a_tenth() -> bool:
    again = re.search(r"tiles [\d.]+ s \(([\d.]+) x\), native [\d.]+ s \(([\d.]+) x\)", CONTRAST)
    ratios = [faster("tiles"), faster("native"), *map(float, again.groups())]
    return round(min(ratios)) == 5 and round(max(ratios)) == 10


def amx_takes_a_twenty_sixth_or_less() -> bool:
    again = re.search(r"medium [\d.]+ s \(([\d.]+) x\)", CONTRAST)
    return min(faster("native, medium"), float(again[1])) >= 26


def high_is_twice_as_fast_at_the_same_error() -> bool:
    native, high = contrast_row("native"), contrast_row("native, high")
    same = native["gradient error"] == high["gradient error"]
    return same and faster("native, high") / faster("native") >= 2


def medium_is_four_times_as_fast_at_its_error() -> bool:
    error = float(contrast_row("native, medium")["gradient error"])
    return error == 3e-5 and faster("native, medium") / faster("native") >= 4


def zen_4_takes_half_the_time_with_medium() -> bool:
    native, medium = (contrast_row(v, ZEN_4) for v in ("native", "native, medium"))
    return 0.45 <= float(medium["CPU s"]) / float(native["CPU s"]) <= 0.55


def python_is_the_one_of_the_package() -> bool:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project["requires-python"] == ">=3.11"


def some_forty_losses() -> bool:
    from graphcl.losses import LOSSES

    return 36 <= len(LOSSES) <= 45


CLAIMS: dict[str, Callable[[], bool]] = {
    "objective on 12,000 nodes takes 40 MB instead of 3.9 GB": takes_less_memory,
    "a fifth to a tenth of the time": takes_a_fifth_to_a_tenth,
    "a processor with AMX takes a twenty-sixth or less": amx_takes_a_twenty_sixth_or_less,
    "makes them twice as fast at the same error": high_is_twice_as_fast_at_the_same_error,
    '`"medium"` four times at an error of 3e-5': medium_is_four_times_as_fast_at_its_error,
    '`"medium"` takes half the time of float32': zen_4_takes_half_the_time_with_medium,
    "Python 3.11 or newer": python_is_the_one_of_the_package,
    "Some forty losses": some_forty_losses,
}

NOT_MEASURED = (
    # Names.
    "ml-100k", "MovieLens-100k", "C++17", "AVX-512 BF16, which AMD has from Zen 4 on",
    "set_float32_matmul_precision",
    "loss=BarlowTwins", "view1, view2 = make_view(data), make_view(data)", "(z1, z2)",
    # Arguments of examples.
    "--seeds 5", "--seeds 20", "--nproc-per-node 2", "--set layers=3",
    "--set epochs=28",
    "--user 42 -k 10", '"50,181,Toy Story"', "head -2",
    "--set view_1.DropEdges=0.3", "any view x loss", "RecBole 1.2.1", "pandas < 3",
    "for_users([42], k=10)", "`.pt2`", "DropEdgesByCommunity(0.4)",
    "MaskFeaturesByCommunity(0.2)", "InfoNCE(temperature=0.4",
)  # fmt: skip


def prose(text: str) -> str:
    """All but the results table, in which every word stands behind one blank."""
    before, rest = text.split("<!-- results -->")
    return " ".join((before + rest.split("<!-- end of results -->")[1]).split())


def untraced(text: str) -> list[str]:
    """The numbers of `text` that no phrase covers, with what stands around them."""
    text = prose(text)
    covered = [
        range(found.start(), found.end())
        for phrase in (*CLAIMS, *NOT_MEASURED)
        for found in re.finditer(re.escape(phrase), text)
    ]
    return [
        text[max(0, found.start() - 30) : found.end() + 30]
        for found in NUMBER.finditer(text)
        if not any(found.start() in span for span in covered)
    ]


def test_every_number_is_traced():
    assert untraced(README) == [], (
        "add the phrase to CLAIMS with a check of where it was measured, or, if it measures "
        "nothing, to NOT_MEASURED"
    )


@pytest.mark.parametrize("phrase", CLAIMS)
def test_claims_are_what_was_measured(phrase):
    assert phrase in prose(README), "nobody makes this claim any more: remove it here"
    assert CLAIMS[phrase]()


def test_phrases_that_measure_nothing_are_still_there():
    assert [phrase for phrase in NOT_MEASURED if phrase not in prose(README)] == []


def test_any_changed_digit_would_be_seen():
    start, end = README.index("<!-- results -->"), README.index("<!-- end of results -->")
    places = [place for place, letter in enumerate(README) if letter.isdigit()]
    outside = [place for place in places if not start < place < end]
    assert len(outside) > 20
    for place in outside:
        for other in set("0123456789") - {README[place]}:
            changed = README[:place] + other + README[place + 1 :]
            assert untraced(changed), f"{README[place - 20 : place]}{other}"
