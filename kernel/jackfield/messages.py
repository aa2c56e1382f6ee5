"""Texts and values of users in messages: short, printable, without secrets."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from jackfield.errors import printable
from jackfield.files import redact

LONGEST: Final = 240
"""Characters of a whole call."""

HIDDEN: Final = "***"

_CONNECTS: Final = re.compile(r"[=;@]")
"""What connection strings have; no path or name that we know needs it."""

_SIGN: Final = re.compile("pass|pwd|key|token|secret|credential|auth|cookie|-[up]")


def cut(text: str, limit: int) -> str:
    """Return a text with its middle left out, if it has more characters than that."""
    if len(text) <= limit:
        return text
    return f"{text[: limit // 2]}...{text[3 - limit // 2 :]}"


def say(text: str) -> None:
    """Print lines on standard error, without secrets.

    It never raises: standard error may be closed, or ``None``.
    """
    with contextlib.suppress(Exception):
        sys.stderr.write(printable(f"jackfield: {hide_secrets(text)}\n", keep="\n"))
        sys.stderr.flush()


def hide_secrets(text: str) -> str:
    """Return a text that tells of a run as it may be kept and shown.

    Asterisks stand for passwords and queries of URLs, and for what looks like the value
    of a password, secret, token, cookie or key: ``token=...``, ``'password': '...'``,
    ``('password', '...')``, ``credentials=('...', '...')``, ``--token ...``, ``password
    is: ...``, ``Cookie: ...``, ``curl -u me:...``, ``mysql -p...``. Most texts have
    none of these, and are returned in a fraction of a microsecond.
    """
    text = hide_url_secrets(text)
    if not _SIGN.search(text.lower()):
        return text
    text = _nameless_secrets().sub(
        lambda found: f"{found[found.lastindex or 0]}***", text
    )
    return _secrets().sub(r"\1\2***", text)


def hide_url_secrets(text: str) -> str:
    """Return a text with asterisks for passwords and queries of its URLs alone."""
    if "://" in text:
        return _urls().sub(lambda found: redact(found[0]), text)
    return text


def holds_secret(text: str) -> bool:
    """Tell whether a text, beside its URLs, has what ``hide_secrets`` would hide."""
    if not _SIGN.search(text.lower()):
        return False
    return bool(_secrets().search(text) or _nameless_secrets().search(text))


def redacted(
    key: tuple[str, ...], value: object, is_shown: Callable[[tuple[str, ...]], bool]
) -> object:
    """Return a value to be shown: asterisks, unless it is known to be no secret.

    Yes and no are never secrets; of other values ``is_shown`` says of which keys they
    are not. In URLs, who asks and the query are secrets even so.
    """
    if isinstance(value, Mapping):
        return {k: redacted((*key, str(k)), one, is_shown) for k, one in value.items()}
    if isinstance(value, list | tuple):
        shown = is_shown(key)
        return [redacted(key, one, is_shown) for one in value] if shown else HIDDEN
    if value is None or isinstance(value, bool):
        return value
    if not isinstance(value, str | int | float | Path):
        return f"<{type(value).__name__}>"  # its ``repr`` may show anything
    if not is_shown(key):
        return HIDDEN
    text = str(value)
    if "://" in text:
        return re.sub(r"://[^/@]*@", f"://{HIDDEN}@", redact(text))
    return HIDDEN if _CONNECTS.search(text) and len(key) > 1 else value


@cache  # compiled when it is first wanted: importing jackfield is to stay light
def _urls() -> re.Pattern[str]:
    return re.compile(r"\w[\w+.-]{0,30}://[^\s'\"<>]+")


@cache
def _secrets() -> re.Pattern[str]:
    """Match a secret's name in a text, and what looks like its value."""
    innermost = r"[\[({][^\[\](){}]*+[\])}]?+"
    inner = rf"[\[({{](?:[^\[\](){{}}]|{innermost})*+[\])}}]?+"
    return re.compile(
        rf"""
        (
            (?:
                (?:passw|passphrase|secret|token|credential|authorization|cookie)\w*
                | key | \bpwd
            )
            (?:
                \\*['"]?(?:\s+(?:is|was))?\s*[=:]\s*(?:(?:bearer|basic)\s+)?
                | \\*['"]\s*,\s*(?=[bru]{{0,2}}\\*['"])  # a pair of name and value
            )
         |
            (?<![a-z])auth\\*(?:['"]\s*[=:,]|\s*=)\s*
         |
         (?<![\w-])--[\w-]*(?:passw\w*|passphrase|secret|token|credentials?|key)\s+
            (?!-)
        )
        (?:
            ([bru]{{0,2}}(\\*['"]))       # a quote, with backslashes if it was quoted
            (?:(?!\3)(?:\\.|[^\\]))*    # all until the same quote, or the end
            |
            [\w.]*+                     # a list, a dict, a call, with what is in it
            [\[({{](?:[^\[\](){{}}]|{inner})*+[\])}}]?+
            |
            [^\s'",;)]+
        )
        """,
        re.IGNORECASE | re.DOTALL | re.VERBOSE,
    )


@cache
def _nameless_secrets() -> re.Pattern[str]:
    """Match what stands before a secret that has no name in front of its value."""
    return re.compile(
        r"""
        (\bcookie2?:[ ]*)[^\n'"]+  # a header, to its end
        |
        (?<![\w-])((?:-u|--(?:proxy-)?user)[\s=]*['"]?[^\s:'"=]{1,100}:)[^\s'"]+
        |
        ((?:\b(?:mysql|mariadb)[\w-]*[^\n|;&]{0,300}?\s-p|\bsshpass\s+-p\s*)
            (?=\S)(?:['"])?)[^\s'"]+
        """,
        re.IGNORECASE | re.VERBOSE,
    )
