"""Example recommendations: what a few users took, were recommended, and took next."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from graphcl.report.snapshot import Example
from graphcl.report.tables import scrolling

EXPLANATION = (
    '<p class="quiet">Of the first seed. The users are spread over how much is known of them; how '
    "good their lists are plays no part in the choice. ✓ an item that the test split holds: a "
    "right guess.</p>"
)


def examples_section(examples: Sequence[Example]) -> str:
    """One row for each user, or nothing."""
    if not examples:
        return ""
    head = ("user", "latest items", "recommended, best first", "took next")
    rows = "".join(_row(example) for example in examples)
    return scrolling("Example recommendations", head, f"<tbody>{rows}</tbody>\n", kind="lists")


def _row(example: Example) -> str:
    recommended = [
        f'<strong title="a right guess">✓ {html.escape(title)}</strong>'
        if hit
        else html.escape(title)
        for title, hit in zip(example.recommended, example.hits, strict=True)
    ]
    return (
        f'<tr><th scope="row">{html.escape(example.user)}</th>'
        f"<td>{_list(map(html.escape, example.history), 'ul')}</td>"
        f"<td>{_list(recommended, 'ol')}</td>"
        f"<td>{_list(map(html.escape, example.held_out), 'ul')}</td></tr>\n"
    )


def _list(items: Iterable[str], tag: str) -> str:
    content = "".join(f"<li>{item}</li>" for item in items)
    return f"<{tag}>{content}</{tag}>" if content else "–"
