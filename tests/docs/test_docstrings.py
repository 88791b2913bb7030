"""Docstrings as reStructuredText: read by docutils, they say what they said."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def docstrings():
    spec = importlib.util.spec_from_file_location("docstrings", DOCS / "docstrings.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["docstrings"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["docstrings"]


def convert(docstrings, text: str) -> str:
    return "\n".join(docstrings.to_rst(text.splitlines(), {"InfoNCE": "graphcl.InfoNCE"}.get))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a `b` c", "a ``b`` c"),
        ("see `InfoNCE`.", "see :py:obj:`InfoNCE <graphcl.InfoNCE>`."),
        ("`f`s", "``f``\\ s"),
        ("the norm |x|, a * b and x_", "the norm \\|x\\|, a \\* b and x\\_"),
        ("**strong** and ``code_``", "**strong** and ``code_``"),
        ("`f(a,\nb)` ends", "``f(a, b)`` ends"),
        ("S_c of e_ij", "S_c of e_ij"),
    ],
)
def test_running_text(docstrings, text, expected):
    assert convert(docstrings, text) == expected


def test_an_indented_block_is_literal(docstrings):
    text = "Text:\n\n    l = |x|_\n      + y\n\nand on."
    assert convert(docstrings, text) == "Text:\n\n::\n\n    l = |x|_\n      + y\n\nand on."


def test_a_block_in_a_list_item_belongs_to_the_item(docstrings):
    found = convert(docstrings, "- one\n- two, with\n\n      x_ = 1\n\n  where `x`\n- three")
    assert found == "- one\n- two, with\n\n  ::\n\n      x_ = 1\n\n  where ``x``\n- three"


def test_directives_sessions_and_announced_blocks_stay(docstrings):
    for text in (
        ".. math::\n    |x|_2 \\ast\n\nwhere",
        "Example:\n    >>> f(*a)\n",
        "so::\n\n    f(*a, **k)\n\nand",
    ):
        kept = convert(docstrings, text)
        assert "\\|" not in kept
        assert "\\*" not in kept
        assert "::\n\n::" not in kept


def test_sections_keep_their_indentation(docstrings):
    text = "Args:\n    x: (N, d), `y`\n        or so.\n\nRaises:\n    E: for |x|."
    assert convert(docstrings, text) == text.replace("`y`", "``y``").replace("|x|", "\\|x\\|")


def test_every_module_and_method_docstring_is_clean_markup(docstrings):
    """No warning of docutils in what the site shows of the methods' and operators' files."""
    docutils = pytest.importorskip("docutils.core", reason="docutils is in the extra `docs`")
    root = DOCS.parent
    files = [
        path
        for package in ("graphcl", "recsys")
        for folder in ("methods", "views", "losses", "kernels", "diagnostics", "samplers")
        for path in (root / package / folder).rglob("*.py")
    ]
    assert len(files) > 100
    for path in files:
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        quiet = {"report_level": 5, "halt_level": 2, "file_insertion_enabled": False}
        try:
            docutils.publish_doctree(
                "\n".join(docstrings.to_rst(text.splitlines())), settings_overrides=quiet
            )
        except Exception as error:
            raise AssertionError(f"{path}: {error}") from None
