"""The page about progress: what it shows is what is shown."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from jackfield.config import Config

if TYPE_CHECKING:
    from .conftest import Start

TEXT = (Path(__file__).parents[3] / "docs/progress.md").read_text("utf-8")


def block(kind: str) -> str:
    return TEXT.partition(f"```{kind}\n")[2].partition("\n```")[0]


def steady(lines: list[str]) -> list[str]:
    """Return lines without what differs from run to run."""
    text = "\n".join(line.rstrip() for line in lines)
    text = re.sub(r"^\d+:\d\d ", "TIME ", text, flags=re.MULTILINE)
    text = re.sub(r"━+", "BAR", text)
    return re.sub(r"task \d+ (.*) sample \d+", r"task N \1 sample N", text).split("\n")


def test_the_script_shows_what_is_said(start: Start) -> None:
    tty = start(block("python"))

    assert tty.end() == 0
    said = steady(block("text").split("\n"))
    assert steady(tty.text)[: len(said)] == said
    assert "nobody has asked for the result" in tty.text[len(said)]


def test_the_table_turns_it_on() -> None:
    tables = tomllib.loads(block("toml"))

    assert Config(**tables).monitors == {"progress": {"plugin": "progress"}}
