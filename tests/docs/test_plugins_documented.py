"""The catalog of plugins in the docs is the one that their entry points make."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from jackfield.plugins import PluginManager
from jackfield.plugins.scan import GROUPS
from jackfield_cli import main
from jackfield_cli._catalog import TITLES, page

PAGE = Path(__file__).parents[2] / "docs/plugins.md"


def test_the_page_is_current() -> None:
    ours = [one for one in PluginManager().catalogue.entries() if one.ours]

    assert PAGE.read_text() == page(ours), (
        f"run: jackfield plugins --markdown > {PAGE.relative_to(PAGE.parents[1])}"
    )


def test_every_kind_has_a_heading_that_says_how_its_plugins_are_used() -> None:
    assert {*TITLES} == {*GROUPS}


def test_every_plugin_of_ours_says_what_it_is() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]

    assert rows
    assert [row for row in rows if len(row.split("|")[2].strip()) < 20] == []


def test_the_command_prints_the_page() -> None:
    ran = CliRunner().invoke(main, ["plugins", "--markdown"])

    assert ran.exit_code == 0
    assert ran.output.startswith("# Plugins")
    assert "| `threads` |" in ran.output
