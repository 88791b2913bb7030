"""Formulas as MathML, which browsers draw by themselves: no script, and nothing to fetch."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from latex2mathml.converter import convert


def setup(app: Any) -> dict[str, bool]:
    """Register the renderer `mathml`."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _inline(translator: Any, node: nodes.Node) -> None:
    translator.body.append(convert(node.astext(), display="inline"))
    raise nodes.SkipNode


def _block(translator: Any, node: nodes.Node) -> None:
    # Formulas that a blank line parts stand below each other.
    formulas = [part for part in node.astext().split("\n\n") if part.strip()]
    drawn = "".join(convert(formula, display="block") for formula in formulas)
    translator.body.append(f'<div class="formula">{drawn}</div>\n')
    raise nodes.SkipNode
