"""Each guarantee names tests that exist, and each page has its place in the site."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/explanation/guarantees.md"
ROW = re.compile(r"^\| ([^|]*[^| -][^|]*) \| (.*) \|$", re.MULTILINE)
NAMED = re.compile(r"`([\w/]+\.py)(?:::(\w+))?`")


def test_each_guarantee_is_held_by_tests_that_exist() -> None:
    rows = [row for row in ROW.findall(PAGE.read_text("utf-8")) if row[1] != "held by"]

    assert len(rows) > 20
    for guarantee, held_by in rows:
        named = NAMED.findall(held_by)
        assert named, f"nothing holds: {guarantee}"
        for file, test in named:
            source = (ROOT / "tests" / file).read_text("utf-8")
            assert f"def {test or 'test_'}" in source, f"{file} has no {test}"
            assert not test or f"def {test}(" in source


def test_every_page_has_its_place_in_the_site() -> None:
    """`make docs` says so too, where its tools are installed."""
    docs, site = ROOT / "docs", (ROOT / "mkdocs.yml").read_text("utf-8")
    named = re.findall(r"- (?:[^:\n]+: )?(\S+\.md)$", site, re.MULTILINE)
    pages = [str(path.relative_to(docs)) for path in docs.rglob("*.md")]

    assert sorted(pages) == sorted(named), "name it in the nav of mkdocs.yml"
