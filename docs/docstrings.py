"""Docstrings of this project as reStructuredText.

They are written to be read in an editor: single backticks around code, indented blocks for
formulas and tables, and only maths as a directive. Here that becomes what Sphinx reads the same
way: code is literal or a link, an indented block is literal, and what would be markup by accident
(`|x|`, a trailing underscore) is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

SECTIONS = ("Args", "Returns", "Raises", "Shape", "Shapes", "Example", "Examples", "Yields")
_CODE = re.compile(r"``[^`]+``|(?<![:`])`([^`]+)`(?!`)")
_ITEM = re.compile(r"(?:[-*]|\d+[.)])\s+")

Link = Callable[[str], str | None]
"""Code -> the full name of the object that it names, or None."""


def to_rst(lines: Sequence[str], link: Link = lambda code: None) -> list[str]:
    """The lines of one docstring, without their common indentation, as reStructuredText."""
    result: list[str] = []
    base = 0  # where the text of this paragraph, list item or section begins
    place = 0
    while place < len(lines):
        line = lines[place]
        text, indent = line.strip(), _indent(line)
        blank_before = not result or not result[-1].strip()
        if not text:
            result.append("")
            place += 1
        elif text.startswith(".. ") or text.startswith(">>>"):
            place = _copy_block(lines, place, result, directive=text.startswith(".. "))
        elif indent > base and blank_before and _deeper_than_text(result, indent):
            place = _literal(lines, place, result, base)
        else:
            while text.count("`") % 2 and place + 1 < len(lines) and lines[place + 1].strip():
                place += 1  # code that runs over the end of a line
                text = f"{text} {lines[place].strip()}"
            base = _text_begins(text, indent)
            result.append(" " * indent + inline(text, link))
            place += 1
            if text.endswith("::"):  # says by itself that what follows is literal
                while place < len(lines) and (
                    not lines[place].strip() or _indent(lines[place]) > indent
                ):
                    result.append(lines[place])
                    place += 1
    return result


def inline(text: str, link: Link = lambda code: None) -> str:
    """One line of running text."""
    parts, end = [], 0
    for found in _CODE.finditer(text):
        parts.append(_escaped(text[end : found.start()]))
        code = found[1]
        target = None if code is None else link(code)
        if code is None:
            parts.append(found[0])
        elif target is None:
            parts.append(f"``{code}``")
        else:
            parts.append(f":py:obj:`{code} <{target}>`")
        end = found.end()
        if end < len(text) and (text[end].isalnum() or text[end] in "(["):
            parts.append("\\ ")  # markup ends at a word's end only
    parts.append(_escaped(text[end:]))
    return "".join(parts)


def _escaped(text: str) -> str:
    kept = re.sub(r"(\*\*\w[^*]*\*\*)|([*|])", lambda m: m[1] or "\\" + m[2], text)
    return re.sub(r"(?<=\w)_(?=\W|$)", r"\\_", kept)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _text_begins(text: str, indent: int) -> int:
    item = _ITEM.match(text)
    if item:
        return indent + item.end()
    if text.endswith(":") and text[:-1] in SECTIONS:
        return indent + 4
    return indent


def _deeper_than_text(result: Sequence[str], indent: int) -> bool:
    """Whether `indent` is deeper than the last line of text, so that it is no continuation."""
    for line in reversed(result):
        if line.strip():
            return indent > _text_begins(line.strip(), _indent(line))
    return False


def _copy_block(lines: Sequence[str], place: int, result: list[str], directive: bool) -> int:
    """A directive with all that is indented below it, or a session up to its blank line."""
    indent = _indent(lines[place])
    if result and result[-1].strip():
        result.append("")
    result.append(lines[place])
    place += 1
    while place < len(lines):
        line = lines[place]
        if directive and line.strip() and _indent(line) <= indent:
            break
        if not directive and not line.strip():
            break
        result.append(line)
        place += 1
    if result[-1].strip():
        result.append("")
    return place


def _literal(lines: Sequence[str], place: int, result: list[str], base: int) -> int:
    """An indented block as it stands."""
    start = " " * base
    result.extend([f"{start}::", ""])
    while place < len(lines) and (not lines[place].strip() or _indent(lines[place]) > base):
        result.append(lines[place])
        place += 1
    if result[-1].strip():
        result.append("")
    return place
