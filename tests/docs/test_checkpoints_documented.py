"""What the document on checkpoints says is so, and its example passes the kit."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from jackfield.errors import CheckpointError
from jackfield.plugins import PluginManager
from jackfield_checkpoint._options import COMMON, Options
from jackfield_cli import main
from jackfield_results.chained import open_stores
from jackfield_results.signing import make_key, signing_key
from jackfield_testing import CheckpointStoreConformance

if TYPE_CHECKING:
    from jackfield.abc import CheckpointStore

DOCUMENT = Path(__file__).parents[2] / "docs" / "checkpoints.md"
TEXT = DOCUMENT.read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def run_examples() -> dict[str, Any]:
    """Execute the document's Python blocks, one after another; return the names."""
    names: dict[str, Any] = {"__name__": DOCUMENT.name}
    for block in blocks("python"):
        exec(compile(block, DOCUMENT.name, "exec"), names)
    return names


NAMES = run_examples()


class TestExample(CheckpointStoreConformance):
    private_files = NAMES["TestFileStore"].private_files
    short_kills = 3
    short_flips = 20
    flips = 500
    million = 10_000  # files

    def make_store(self, directory: Path, **options: Any) -> CheckpointStore:
        store: CheckpointStore = NAMES["TestFileStore"]().make_store(
            directory, **options
        )
        return store


def test_the_example_leaves_other_schemes_alone() -> None:
    assert NAMES["Plugin"]().jackfield_open_checkpoint("sqlite:///x", {}) is None


@pytest.fixture
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.usefixtures("_elsewhere")
@pytest.mark.parametrize("number", range(len(blocks("toml"))))
def test_the_tables_open_stores(number: int, tmp_path: Path) -> None:
    text = blocks("toml")[number].replace(":////", f":///{tmp_path}/")
    text = text.replace('"/project', f'"{tmp_path}/project')
    table = tomllib.loads(text)["checkpoint"]
    manager = PluginManager()
    for url in table.get("read", ()):
        manager.open_checkpoint(url, {}).close()
    if "key_file" in table:
        make_key(Path(table["key_file"]))

    open_stores(manager.open_checkpoint, table).close()

    assert signing_key(table) is not None


@pytest.mark.usefixtures("_elsewhere")
def test_the_commands_are_understood() -> None:
    lines = [line for block in blocks("console") for line in block.splitlines()]
    runner = CliRunner()

    for line in lines:
        words = shlex.split(line.removeprefix("$ jackfield"), comments=True)
        result = runner.invoke(main, words)
        # There is no such store, or none is configured; but the words are right.
        assert not isinstance(result.exception, CheckpointError)
        assert "does not exist" in result.output or "No store" in result.output, line
    assert len(lines) > 5


@pytest.mark.parametrize("name", [*COMMON, "journal"])
def test_every_option_is_in_the_table_with_its_default(name: str) -> None:
    row = next(line for line in TEXT.splitlines() if line.startswith(f"| `{name}` |"))

    told = row.split("|")[3].strip().strip("`")

    assert json.loads(told) == getattr(Options(Path("x")), name)


@pytest.mark.parametrize(
    "attribute",
    [
        "local_damage",
        "gives_space_back",
        "readers_touch_files",
        "private_files",
        "short_kills",
        "kills",
        "short_flips",
        "flips",
        "million",
    ],
)
def test_the_kits_attributes_are_told_with_their_defaults(attribute: str) -> None:
    default = getattr(CheckpointStoreConformance, attribute)
    shown = f"`{default}`" if isinstance(default, bool) else str(default)

    assert f"| `{attribute}` | {shown} |" in TEXT
