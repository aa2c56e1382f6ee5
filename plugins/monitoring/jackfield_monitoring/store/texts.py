"""Makes texts harmless before they are stored: whole, short, and without secrets.

Names, messages and outputs come from anywhere. What could command a terminal, turn the
direction of a line, or is no character at all is stored as Python would escape it.
"""

from __future__ import annotations

import re
from typing import Final

from jackfield.errors import printable
from jackfield.files import hide_secrets

NAME_MOST: Final = 300
"""Characters of names, labels, calls and reasons."""

MESSAGE_MOST: Final = 1_000
PATH_MOST: Final = 4_096
TRACEBACK_MOST: Final = 20_000

TRACEBACK_HEAD: Final = 4_000
"""Characters of a long traceback that are taken from its beginning."""

SEARCHED_MOST: Final = 65_536
"""Characters of a text that are searched for secrets; the rest is not looked at."""

KEPT: Final = "\n\t"
"""What is not printable and stays nevertheless."""

_NOTED: Final = re.compile(r"""[=:'"]| -""")
"""Is in every text that has a secret: before the value, or around it."""

_VARYING: Final = re.compile(
    r"(?P<hex>\b0x[0-9a-fA-F]+|\b(?=[0-9a-f]*[0-9])(?=[0-9]*[a-f])[0-9a-f]{8,64}\b)"
    r"|(?P<path>(?<![\w/])~?(?:/[^\s/'\",:;()<>\[\]]+)+/?)"
    r"|(?P<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?)"
)
_NOT_RUN: Final = re.compile(r"\ATask # \(.*?\) was not run, because ", re.DOTALL)
_BETWEEN: Final = re.compile(r" -> (?:# \([^()]*\)|\.\.\.)")
"""Tasks on the way from a failure to a task that was not run; see
``DependencyError``."""

_STANDS_FOR: Final = {"hex": "0x…", "path": "/…", "number": "#"}


def clean(text: str, most: int = NAME_MOST) -> str:
    """Return a text as it may be stored: at most so many characters, no secrets."""
    if len(text) <= most and text.isprintable() and _NOTED.search(text) is None:
        return text  # as most are
    if len(text) > SEARCHED_MOST:
        text = _cut(text)
    text = hide_secrets(text)
    if len(text) > most:
        text = text[: most - 1] + "…"
    return printable(text, keep=KEPT)


def path(text: str) -> str:
    """Return the name of a file as it may be stored; a plain path stays as it is."""
    if "://" in text:
        return clean(text, PATH_MOST)
    return printable(text[:PATH_MOST], keep=KEPT)


def traceback(text: str) -> str:
    """Return a traceback as it may be stored: of a long one both ends."""
    if len(text) > SEARCHED_MOST:
        half = SEARCHED_MOST // 2
        text = _cut(text[:half]) + "\n…\n" + text[-half:].partition("\n")[2]
    text = hide_secrets(text)
    if len(text) > TRACEBACK_MOST:
        end = TRACEBACK_MOST - TRACEBACK_HEAD
        text = f"{text[:TRACEBACK_HEAD]}\n…\n{text[-end:]}"
    return printable(text, keep=KEPT)


def shape(message: str) -> str:
    """Return a message without what varies from one failure to the next.

    Numbers, paths and hexadecimal digits: ``no file /data/7.txt`` and ``no file
    /data/8.txt`` have one shape.
    Nor does it matter which task was not run because another had failed, which tasks
    are between the two, and with what the latter was called: so all that failures of
    one shape have brought about is one shape.
    """
    text = _VARYING.sub(lambda found: _STANDS_FOR[found.lastgroup or ""], message)
    not_run = _NOT_RUN.match(text)
    if not_run is None:
        return text
    why = _BETWEEN.sub("", text[not_run.end() :]).partition(" [in ")[0]
    return f"Tasks were not run, because {why}"


def _cut(text: str) -> str:
    """Return the beginning of a long text, not cut within a URL or a word.

    Half a URL may show half a password.
    """
    head = text[:SEARCHED_MOST]
    words = re.match(r"(?s)(.*)\s", head)
    if words:
        return words[1]
    return head.partition("://")[0]
