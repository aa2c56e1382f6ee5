"""A history of which SQLite says that it is sound, though its values are nonsense."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.monitoring.conftest import record

from jackfield_cli import main
from jackfield_monitoring.commands import runs
from jackfield_monitoring.export.command import export
from jackfield_monitoring.pages.live import History
from jackfield_monitoring.pages.report import report_of
from jackfield_monitoring.runs import read
from jackfield_monitoring.store.made_up import MadeUp
from jackfield_monitoring.store.reader import Store, StoreError

NONSENSE = [None, "x", b"\xff\xfe", 2**63 - 1, -(2**63), 99, 1e308, "9" * 5_000]

COLUMNS = {
    "run": "uuid dir wall monotonic host user pid python argv cwd beat ended state",
    "app": "id name kind",
    "executor": "id label workers",
    "worker": "id executor name host pid began ended reason",
    "task": "id app state attempts parent label call submitted ended executor memo key "
            "refusal stdout stderr error origin",
    "attempt": "task n app executor worker launched began ended reported state error "
               "retry_in cpu memory",
    "edge": "child parent",
    "app_edge": "parent child n",
    "error": "id kind message shape traceback n attempts task first newest",
    "tally": "app state n busy",
    "spread": "app state bucket n",
    "transfer": "id task url way state attempts moved size began ended verified error",
    "sample": "t executor workers unfinished",
    "running": "task n executor worker began seen",
    "gap": "t lost reason",
}  # fmt: skip


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The history of a run that was killed, with something in each table."""
    path = tmp_path_factory.mktemp("sound") / "monitor.db"
    MadeUp(tasks=60, unfinished=4, failed=0.2).write(path)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "INSERT INTO transfer VALUES "
            "(0, 1, 'file:/a', 'in', 'done', 1, 5, 5, 100000000000, 100000000100, '', "
            "'')"
        )
        database.execute("INSERT INTO gap VALUES (100000000000, 1, 'too fast')")
        for table, columns in COLUMNS.items():
            assert database.execute(f"SELECT {columns.replace(' ', ', ')} FROM {table}")
            assert database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    return path


def look(run: Path) -> None:
    """Read a run as commands and pages do."""
    with suppress(StoreError), Store(run) as store:
        assert "</html>" in report_of(read(run), store)
    for ask in (
        History.overview,
        lambda history: history.columns(0, 0),
        lambda history: json.dumps(history.details(0)),
        lambda history: json.dumps(history.details(58)),
    ):
        history = History(run)
        try:
            with suppress(StoreError):
                ask(history)
        finally:
            history.close()


def commands(parent: Path) -> list[tuple[Any, list[str]]]:
    """Return commands and their arguments, without a look for plugins at each."""
    place = ["--dir", str(parent)]
    export_0 = ["0", *place, "--format"]
    return [
        (runs, ["ls", *place]),
        (runs, ["show", "0", "--json", *place]),
        (export, [*export_0, "csv", "-o", str(parent / "tables")]),
        (export, [*export_0, "trace", "-o", str(parent / "trace.json")]),
    ]


@pytest.mark.parametrize("table", COLUMNS)
def test_values_that_no_run_writes_are_damage_and_no_crash(
    table: str, sound: Path, tmp_path: Path
) -> None:
    run = tmp_path / "000"
    run.mkdir()
    for place, column in enumerate(COLUMNS[table].split()):
        for value in (NONSENSE[place % 8], NONSENSE[(place + 3) % 8]):
            shutil.copy(sound, run / "monitor.db")
            with closing(sqlite3.connect(run / "monitor.db")) as database, database:
                try:
                    database.execute(
                        f"UPDATE OR IGNORE {table} SET {column} = ?", [value]
                    )
                except sqlite3.IntegrityError:
                    continue  # SQLite itself lets none of that into this column

            look(run)
            for command, arguments in commands(tmp_path):
                told = CliRunner().invoke(command, arguments)
                assert told.exception is None or isinstance(
                    told.exception, SystemExit
                ), (column, value, arguments, told.exception)
            shutil.rmtree(tmp_path / "tables", ignore_errors=True)


def test_one_damaged_history_hides_no_other_run(sound: Path, tmp_path: Path) -> None:
    for number in range(2):
        run = tmp_path / f"{number:03}"
        run.mkdir()
        shutil.copy(sound, run / "monitor.db")
        record(run, state="running", program={"argv": [f"fit-{number}.py"]})
    with closing(sqlite3.connect(tmp_path / "000/monitor.db")) as database, database:
        database.execute("UPDATE run SET wall = 'x', beat = NULL")

    listed = CliRunner().invoke(main, ["runs", "ls", "--dir", str(tmp_path)]).output

    assert "fit-0.py" in listed
    assert "fit-1.py" in listed
    assert "60 tasks" in listed
