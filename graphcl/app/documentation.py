"""Docstrings for a terminal: paragraphs that are too wide are filled again, formulas stay."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

ENTRIES = ("Args:", "Raises:", "Attributes:")
"""Headings of sections in which every line that is not indented further begins an entry."""

PROSE = (*ENTRIES, "Shape:", "Shapes:", "Returns:")
"""Headings whose indented lines are prose; other indented lines are formulas or code."""

DEEPER = 4
"""Columns that formulas are indented by at least, and the rest of one or of an entry further."""

CODE = (">>> ", "... ", "graphcl ")
"""How lines begin that are there to be copied, so they are never broken."""

_MARK = re.compile(r"\s*(-|\d+\.|\[\d+\]) ")


@dataclass
class _Part:
    """Lines that are filled together; a line that is no prose stands alone."""

    lines: list[str]
    prose: bool
    entry: bool

    @property
    def indent(self) -> int:
        return _indent(self.lines[0])


def fit(text: str, width: int) -> str:
    """`text` in lines of at most `width` columns, as far as it can be broken between words.

    Paragraphs and entries of lists without a line that is too wide stay as they are. The others
    are filled again; the rest of a formula or of code goes to a line of its own.
    """
    return "\n".join(line for part in _parts(text) for line in _fitted(part, width))


def _parts(text: str) -> list[_Part]:
    parts: list[_Part] = []
    section = ""
    for line in text.splitlines():
        heading = line in PROSE
        if line.strip() and _indent(line) == 0:
            section = line if heading else ""
        if parts and not heading and _continues(parts[-1], line):
            parts[-1].lines.append(line)
            continue
        entry = _MARK.match(line) is not None or (section in ENTRIES and not heading)
        filled = _indent(line) < DEEPER or entry or section != ""
        kept = heading or not line.strip() or line.lstrip().startswith(("..", *CODE))
        parts.append(_Part([line], filled and not kept, entry))
    return parts


def _continues(part: _Part, line: str) -> bool:
    if not part.prose or not line.strip() or _MARK.match(line):
        return False
    if part.entry:
        return _indent(line) > part.indent
    return _indent(line) == part.indent


def _fitted(part: _Part, width: int) -> list[str]:
    copied = part.lines[0].lstrip().startswith(CODE)
    if copied or all(len(line) <= width for line in part.lines):
        return part.lines
    first = " " * part.indent
    rest = first if part.prose and not part.entry else first + " " * DEEPER
    mark = _MARK.match(part.lines[0])
    if part.prose and len(part.lines) > 1:
        rest = " " * _indent(part.lines[1])
    elif mark:
        rest = " " * mark.end()
    # What is aligned in a formula stays aligned; `wrap` leaves the spaces inside a line alone.
    text = " ".join(line.strip() for line in part.lines)
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=rest,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
