"""Makes texts harmless before they are stored: short, printable, without secrets.

Names, messages and outputs come from anywhere. A character that could command a
terminal or turn the direction of a line, and what is no character at all, is stored as
Python would escape it.
"""

from __future__ import annotations

import re
from typing import Final

from jackfield.errors import printable
from jackfield.messages import hide_secrets

NAME_MOST: Final = 300
"""Characters of names, labels, calls and reasons."""

MESSAGE_MOST: Final = 1_000
PATH_MOST: Final = 4_096
TRACEBACK_MOST: Final = 20_000

TRACEBACK_HEAD: Final = 4_000
"""Characters of a long traceback that are taken from its beginning."""

SEARCHED_MOST: Final = 65_536
"""Characters of a text that are searched for secrets; the rest is not stored."""

KEPT: Final = "\n\t"
"""Characters that are stored as they are, though they are not printable."""

_NOTED: Final = ("=", ":", "'", '"', " -")
"""One of these is in every text that has a secret, so that others need no search: what
stands between a name and its value, or around the value."""

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
    if len(text) <= most and text.isprintable():
        for noted in _NOTED:
            if noted in text:
                break
        else:
            return text  # most texts are harmless as they are
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

    What varies is numbers, paths and hexadecimal digits: ``no file /data/7.txt`` and
    ``no file /data/8.txt`` have one shape. In the message of a task that was not run
    because another one had failed, it is also the number of the former, the tasks
    between the two, and the call that failed. So all tasks that were not run because of
    failures of one shape have one shape, too.
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
