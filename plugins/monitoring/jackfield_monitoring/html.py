"""Small pieces of HTML, as notebooks show them.

Everything is escaped. There is no script, and there are no colours but such as can be
read on white and on black.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Final

from jackfield.errors import printable

BAD: Final = "#d9534f"
"""The colour of what has failed."""

LONGEST: Final = 2_000
"""Characters of a text that are shown at most."""

_CELL: Final = "padding:1px 10px 1px 0;text-align:left;vertical-align:top"
_LINES: Final = "margin:4px 0 0;white-space:pre-wrap;background:none;color:inherit"


def text(value: object) -> str:
    """Return what ``str`` gives, printable, escaped and not too long."""
    shown = str(value)
    if len(shown) > LONGEST:
        shown = f"{shown[:LONGEST]}..."
    return escape(printable(shown, keep="\n"))


def box(title: str, *parts: str) -> str:
    """Return a title with pieces of HTML below it."""
    return f"<div><strong>{text(title)}</strong>{''.join(parts)}</div>"


def table(rows: Iterable[Sequence[object]]) -> str:
    """Return a table; the first cell of each row is its head."""
    made: list[str] = []
    for head, *cells in rows:
        first = f'<th style="{_CELL};font-weight:normal;opacity:.7">{text(head)}</th>'
        others = (f'<td style="{_CELL}">{text(cell)}</td>' for cell in cells)
        made.append(f'<tr style="background:none">{first}{"".join(others)}</tr>')
    return f'<table style="margin:4px 0;border:none">{"".join(made)}</table>'


def lines(told: Iterable[str], colour: str = "inherit") -> str:
    """Return lines of text one below the other; nothing if there are none."""
    shown = "\n".join(map(text, told))
    return f'<pre style="{_LINES};color:{colour}">{shown}</pre>' if shown else ""


def future(kind: str, known: Mapping[str, object], error: object) -> str:
    """Return what is known of a future, and its error if there is one."""
    rows = [(name, value) for name, value in known.items() if value != ""]
    wrong = [] if error is None else [f"{type(error).__name__}: {error}"]
    return box(kind, table(rows), lines(wrong, BAD))


def tasks(
    title: str,
    known: Mapping[str, object],
    counts: Mapping[str, int],
    failures: Sequence[str],
    failed: int,
) -> str:
    """Return how many tasks there are in each state, and the first failures."""
    numbers = [(state, f"{number:,}") for state, number in counts.items() if number]
    told = list(failures)
    if failed > len(told):
        told.append(f"... and {failed - len(told):,} more")
    rows = [*known.items(), *(numbers or [("tasks", "none")])]
    return box(title, table(rows), lines(told, BAD))
