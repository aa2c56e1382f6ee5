"""The page about seeing a run: complete, and what it shows is what happens."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from jackfield_monitoring.pages import bundle, live, overview, tails
from jackfield_monitoring.pages.commands import dashboard, report
from jackfield_monitoring.store import reader

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/seeing-a-run.md").read_text("utf-8")
LIMIT_S = 60.0

SCRIPT = """
import jackfield as jf

@jf.python_app
def number(text):
    return int(text)

with jf.load() as kernel:
    for text in ("1", "2", "x"):
        number(text).exception()
"""


def section(title: str) -> str:
    return TEXT.partition(f"## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize(
    ("command", "title"), [(report, "One file"), (dashboard, "Live")]
)
def test_each_option_is_told(command: click.Command, title: str) -> None:
    told = re.findall(r"`([-A-Za-z]+)`", section(title))
    options = [
        name
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for name in parameter.opts
    ]

    assert set(options) <= set(told)


def test_the_report_of_the_page_is_made(tmp_path: Path) -> None:
    toml = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)[0]
    assert tomllib.loads(toml)["monitors"]
    (tmp_path / "jackfield.toml").write_text(toml)
    (tmp_path / "script.py").write_text(SCRIPT)
    command, printed = re.findall(r"\$ jackfield (report .*)\n(.*)\n", TEXT)[0]

    ran, made = (
        subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        for words in (["script.py"], ["-m", "jackfield", *command.split()])
    )

    assert ran.returncode == 0, ran.stderr
    assert made.stdout == f"{printed}\n", made.stderr
    assert (tmp_path / "report.html").exists()


def test_each_key_of_the_timeline_is_told() -> None:
    source = bundle.file("timeline.js").decode()
    acts = source.partition("const acts = {")[2].partition("};")[0]
    keys = re.findall(r'(?:^|[,{\s])(?:"(.)"|([A-Za-z0-9]+)): \(\) =>', acts)
    told = section("What is on the page")

    for quoted, plain in keys:
        key = quoted or plain
        if key != "=" and not key.startswith("Arrow"):
            assert f"`{key}`" in told or f"| {key} |" in told, key
    assert len(keys) >= 12


def test_the_sentences_are_those_of_the_pages() -> None:
    told = re.findall(r'"([^"]+)"', section("When there is nothing to see"))
    sources = [
        Path(module.__file__ or "").read_text("utf-8")
        for module in (overview, live, tails, reader)
    ]
    said = "".join([*sources, bundle.script("report.js")])

    assert len(told) == 6
    for sentence in told:
        assert sentence in said, sentence


def test_the_pictures_are_there_and_small() -> None:
    for name in re.findall(r"\]\((pictures/\w+\.png)\)", TEXT):
        assert 10_000 < (ROOT / "docs" / name).stat().st_size < 200_000
