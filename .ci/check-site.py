"""Looks at a built site: it asks for nothing but its own files, and these are there.

    python .ci/check-site.py build/site

What a page loads by itself (scripts, styles, fonts, pictures, frames) must lie in the
site. Links that a reader may follow may lead elsewhere. Pages of the reference must
have something that came from the code.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {
    ("audio", "src"), ("iframe", "src"), ("img", "src"), ("img", "srcset"),
    ("link", "href"), ("script", "src"), ("source", "src"), ("video", "src"),
}  # fmt: skip
NAVIGATION = {"alternate", "canonical", "next", "prev"}
"""Kinds of `link` that load nothing."""

STYLED = re.compile(r"(?:url\(|@import\s+)['\"]?((?:https?:)?//[^'\")]+)")


class Page(HTMLParser):
    """Collects what a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        if tag == "link" and known.get("rel") in NAVIGATION:
            return
        self.loads += [
            value for name, value in attrs if value and (tag, name) in LOADED
        ]


def problems(site: Path) -> Iterator[str]:
    """Give a line for each thing that is wrong."""
    pages = sorted(site.rglob("*.html"))
    if len(pages) < 30:
        yield f"{site} has {len(pages)} pages: that cannot be all"
    for path in pages:
        page = Page()
        page.feed(path.read_text("utf-8"))
        for target in page.loads:
            parts = urlsplit(target)
            if parts.scheme == "data":
                continue
            if parts.scheme or parts.netloc:
                yield f"{path}: loads {target}"
            elif not _file(site, path, unquote(parts.path)).exists():
                yield f"{path}: {target} is not there"
    for path in site.rglob("*.css"):
        for target in STYLED.findall(path.read_text("utf-8")):
            yield f"{path}: loads {target}"
    for path in (site / "reference").glob("*.html"):
        text = path.read_text("utf-8")
        if "doc-heading" not in text and "Usage:" not in text:
            yield f"{path}: nothing in it comes from the code"


def _file(site: Path, page: Path, target: str) -> Path:
    """Return what a page means; a path from the root is one in the site."""
    return site / target[1:] if target.startswith("/") else page.parent / target


def main() -> int:
    """Print what is wrong; return the exit code."""
    found = list(problems(Path(sys.argv[1])))
    print("\n".join(found) or f"{sys.argv[1]}: asks for nothing but its own files")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
