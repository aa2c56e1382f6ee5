"""The parts of the pages: modules of JavaScript, a style sheet, and what frames them.

The dashboard serves the modules as they are. A report has to be one file that works
from a disk, where browsers load no modules; so there they are put into one script.
Each module therefore imports names as they are, from modules beside it, and no two
modules have a name in common.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from functools import cache
from pathlib import Path
from typing import Final

STATIC: Final = Path(__file__).with_name("static")

TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}
"""What may be served of ``static/``, and as what."""

ICON: Final = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'"
    "%3E%3Cpath fill='%233f7cba' d='M1 2h9v3H1z'/%3E%3Cpath fill='%23e0b13c' "
    "d='M4 7h11v3H4z'/%3E%3Cpath fill='%233aa69b' d='M2 12h8v3H2z'/%3E%3C/svg%3E"
)

_IMPORT: Final = re.compile(
    r'^import \{([^}]*)\} from "\./([a-z]+\.js)";\n', re.MULTILINE
)

_COMMENT: Final = re.compile(r"^ *(/\*\*(?:[^*]|\*(?!/))*\*/|//[^\n]*)\n", re.MULTILINE)
_INDENT: Final = re.compile(r"^ +|\n(?=\n)", re.MULTILINE)


@cache
def file(name: str) -> bytes:
    """Return a file of ``static/``.

    Raises:
        KeyError: There is none of that name.
    """
    if name not in names():
        raise KeyError(name)
    return (STATIC / name).read_bytes()


@cache
def names() -> frozenset[str]:
    """Return the names of all files of ``static/``."""
    return frozenset(one.name for one in STATIC.iterdir() if one.suffix in TYPES)


@cache
def script(entry: str) -> str:
    """Return a module and all that it imports as one script, without what is not run.

    No text of a module goes on over lines, and a comment has lines of its own.
    """
    ordered: list[str] = []
    _collect(entry, ordered)
    text = "\n".join(_without_imports(name) for name in ordered)
    return _INDENT.sub("", _COMMENT.sub("", text)).lstrip()


def _collect(name: str, ordered: list[str]) -> None:
    """Put the modules that a module imports before it."""
    if name in ordered:
        return
    for _, imported in _IMPORT.findall(file(name).decode()):
        _collect(imported, ordered)
    if name not in ordered:
        ordered.append(name)


def _without_imports(name: str) -> str:
    text = _IMPORT.sub("", file(name).decode())
    return re.sub(
        r"^export (?=(?:async )?function|const|class|let)", "", text, flags=re.MULTILINE
    )


def hash_of(text: str) -> str:
    """Return how a Content-Security-Policy names a script or a style sheet."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def frame(title: str, head: str, body: str) -> str:
    """Return a page: what is common to the report and the dashboard, around the rest.

    Args:
        title: Any text.
        head: Markup.
        body: Markup.
    """
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"{head}\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f'<link rel="icon" href="{ICON}">\n'
        f"<title>{html.escape(title)}</title>\n"
        f'</head>\n<body>\n<main id="main"></main>\n{body}\n</body>\n</html>\n'
    )
