"""The page of the history: each column is told, and each question has its answer."""

from __future__ import annotations

import re
import sqlite3
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from click.testing import CliRunner

from jackfield.plugins.manager import monitor_options
from jackfield_cli import main
from jackfield_monitoring.export.command import Format
from jackfield_monitoring.store import plugin, schema
from jackfield_monitoring.store.made_up import WALL_S, MadeUp
from jackfield_monitoring.store.plugin import jackfield_create_monitor
from jackfield_monitoring.store.reader import Store

TEXT = (Path(__file__).parents[2] / "docs/monitoring-store.md").read_text("utf-8")
MADE_UP = MadeUp(tasks=4_000, workers=9, failed=0.1)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "007"
    path.mkdir()
    (path / "jackfield.log").touch()
    MADE_UP.write(path / schema.FILE_NAME)
    return path


@pytest.fixture
def database(run_dir: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(run_dir / schema.FILE_NAME)
    yield connection
    connection.close()


def test_the_configuration_asks_for_it() -> None:
    tables = tomllib.loads(blocks("toml")[0])["monitors"]

    for label, options in tables.items():
        kind, own = options["plugin"], monitor_options(options)
        assert jackfield_create_monitor(kind, label, own) is not None


def test_each_table_and_column_is_told(database: sqlite3.Connection) -> None:
    tables = database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
    names = {name for (name,) in tables}
    section = TEXT.partition("## The tables")[2].partition("## For other")[0]
    whole = re.compile(r"^### (\w+)\n(.*?)(?=^### |\Z)", re.MULTILINE | re.DOTALL)
    parts = dict(whole.findall(section))

    assert set(parts) == names
    for name in names:
        columns = [row[1] for row in database.execute(f"PRAGMA table_info({name})")]
        rows = re.findall(r"^\| (`.*?) \|", parts[name], re.MULTILINE)
        told = [column for row in rows for column in re.findall(r"`(\w+)`", row)]
        assert sorted(told) == sorted(columns), name


def test_states_and_numbers_are_told() -> None:
    for number, state in enumerate(schema.STATES):
        assert re.search(rf"{number}\s`{state.value}`", TEXT)
    assert f"`PRAGMA user_version` is {schema.VERSION}," in TEXT
    assert f"`PRAGMA application_id` is {schema.APPLICATION_ID} " in TEXT
    assert f"{plugin.RECORDS_KEPT:,} of them" in TEXT


def ask(database: sqlite3.Connection, words: str) -> list[dict[str, Any]]:
    """Run the first statement after some words of the page."""
    found = TEXT.partition(words)[2].partition("```sql\n")[2].partition("```")[0]
    cursor = database.execute(found)
    names = [one[0] for one in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def test_what_failed(database: sqlite3.Connection, run_dir: Path) -> None:
    rows = ask(database, "What failed")

    with Store(run_dir) as store:
        failures = [one for one in store.failures() if one.tasks]
    assert [row["n"] for row in rows] == [one.tasks for one in failures]
    assert {row["kind"] for row in rows} == {one.kind for one in failures}


def test_where_the_time_has_gone(database: sqlite3.Connection) -> None:
    rows = ask(database, "Where has the time gone")

    took = [
        one.place.ended - one.place.began
        for batch in MADE_UP.batches()
        for one in batch.attempts
        if one.place
    ]
    assert sum(row["seconds"] for row in rows) == pytest.approx(sum(took), abs=0.1)
    assert sum(row["tasks"] for row in rows) == MADE_UP.tasks


def test_what_took_longest(database: sqlite3.Connection) -> None:
    rows = ask(database, "took longest")

    took = sorted(
        (
            (one.place.ended - one.place.began, one.task)
            for batch in MADE_UP.batches()
            for one in batch.attempts
            if one.place
        ),
        reverse=True,
    )
    assert [row["id"] for row in rows] == [task for _, task in took[:10]]
    assert rows[0]["host"] == "node000"


def test_how_busy_workers_were(database: sqlite3.Connection) -> None:
    rows = ask(database, "How busy")

    assert len(rows) == MADE_UP.workers
    assert all(0 < row["percent"] <= 100 for row in rows)


def test_what_was_tried_again(database: sqlite3.Connection) -> None:
    rows = ask(database, "tried again, why")

    told = [
        one.task
        for batch in MADE_UP.batches()
        for one in batch.attempts
        if one.retry_in is not None
    ]
    assert sorted(row["task"] for row in rows) == sorted(told)
    assert {row["helped"] for row in rows} <= {0, 1}
    assert told


def test_the_time_of_day(database: sqlite3.Connection) -> None:
    (first, *_) = ask(database, "time of day of a time")

    assert next(iter(first.values())) == pytest.approx(WALL_S)


def test_the_example_of_pandas(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    command = ["export", "last", "--dir", str(run_dir.parent), "--format", "parquet"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output

    for block in blocks("python"):
        exec(compile(block, "monitoring-store.md", "exec"), {})

    assert "step_0" in capsys.readouterr().out


def test_each_format_is_told(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    table = TEXT.partition("| `jackfield export RUN --format`")[2]
    told = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert told == list(get_args(Format))

    shown = TEXT.partition("$ jackfield export last --format trace\n")[2]
    monkeypatch.chdir(tmp_path)
    command = ["export", "last", "--dir", str(run_dir.parent), "--format", "trace"]
    result = CliRunner().invoke(main, command)
    assert result.output.rstrip() == shown.partition("\n```")[0]
