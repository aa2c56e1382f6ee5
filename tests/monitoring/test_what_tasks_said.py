"""Each failed task's own message is kept, and shown wherever somebody asks for it."""

from __future__ import annotations

import csv
import json
import random
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from tests.monitoring.test_report import overview, report

import jackfield as jf
from jackfield_cli import main
from jackfield_monitoring.pages.details import details_of
from jackfield_monitoring.runs import read
from jackfield_monitoring.store import rows
from jackfield_monitoring.store.reader import Store
from jackfield_monitoring.store.schema import FILE_NAME, VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = "hunter2-canary"


@jf.python_app
def parse(number: int, text: str) -> int:
    raise ValueError(f"row {number} of /data/{number}.csv {text}")


@jf.python_app(retries=2)
def shaky(path: str) -> int:
    count = Path(path)
    count.write_text(f"{count.read_text() if count.exists() else ''}x")
    raise OSError(f"attempt {len(count.read_text())} has failed")


@jf.python_app
def always() -> None:
    raise RuntimeError("the same each time, for 7 reasons")


@jf.python_app
def after(value: Any) -> Any:
    return value


@jf.join_app
def joining() -> int:
    return 3  # no future: it fails after its function has returned


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run of tasks that fail, each in its own words."""
    monitors = {"db": {"plugin": "sqlite"}}
    with jf.load(run_dir=tmp_path, monitors=monitors) as kernel:
        failed: list[jf.AppFuture[Any]] = []
        failed += [parse(number, f"password={SECRET}") for number in range(30)]
        failed += [parse(99, "x" * 5_000), shaky(str(tmp_path / "count"))]
        failed += [always() for _ in range(20)]
        failed += [after(failed[3]), joining()]
        for future in failed:
            assert future.exception() is not None
        return kernel.run_dir


def numbers(run: Path, app: str) -> list[int]:
    with Store(run) as store:
        return [task.id for task in store.tasks(limit=1_000) if task.app == app]


def said(run: Path, number: int) -> dict[int, str]:
    with Store(run) as store:
        page = store.task(number)
    assert page is not None
    return page.said


def test_a_task_says_what_it_said_and_no_other(run: Path) -> None:
    for place, number in enumerate(numbers(run, "parse")[:30]):
        own = said(run, number)
        assert set(own) == {0, 1}
        assert own[0] == own[1]
        assert own[0].startswith(f"row {place} of /data/{place}.csv password=")
    longest = said(run, numbers(run, "parse")[30])[0]
    assert longest.startswith("row 99 of /data/99.csv xxx")
    assert len(longest) == 1_000
    for file in run.glob(f"{FILE_NAME}*"):
        assert SECRET.encode() not in file.read_bytes()


def test_each_attempt_says_its_own(run: Path) -> None:
    (number,) = numbers(run, "shaky")

    own = said(run, number)

    assert own == {n: f"attempt {n or 3} has failed" for n in range(4)}


def test_equal_messages_are_kept_once(run: Path) -> None:
    for number in numbers(run, "always"):
        assert said(run, number)[0] == "the same each time, for 7 reasons"
    with closing(sqlite3.connect(run / FILE_NAME)) as connection:
        kept = [text for (text,) in connection.execute("SELECT text FROM message")]
    assert len(set(kept)) == len(kept) >= 29
    assert not [text for text in kept if "the same" in text]  # it is in the group


def test_what_was_not_run_refers_to_the_one_that_failed(run: Path) -> None:
    (number,) = numbers(run, "after")

    with Store(run) as store:
        page, told = store.task(number), details_of(read(run), store, number)

    assert page is not None
    assert told is not None
    assert page.task.origin == numbers(run, "parse")[3]
    assert "DependencyError" in told["said"]


def test_a_file_of_before_there_were_messages_is_read(run: Path) -> None:
    with Store(run) as store:
        first = next(
            one.example.id
            for one in store.failures()
            if one.example and one.tasks == 30
        )
    second = next(one for one in numbers(run, "parse")[:30] if one != first)
    with closing(sqlite3.connect(run / FILE_NAME)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        assert version == VERSION
        connection.execute("DROP TABLE said")
        connection.execute("DROP TABLE message")

    assert said(run, first)[0].startswith("row ")  # the group's first
    assert said(run, second) == {}
    with Store(run) as store:
        told = details_of(read(run), store, second)
    assert told is not None
    assert told["said"] == told["attempts"][0]["error"]
    assert told["said"].startswith("ValueError: row # of /…")
    assert overview(report(run))["said"] == {}
    assert overview(report(run))["saidFrom"] is None


def test_there_is_an_end_to_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "TEXTS_MOST", 3_000)
    monitors = {"db": {"plugin": "sqlite"}}
    with jf.load(run_dir=tmp_path, monitors=monitors) as kernel:
        for future in [parse(number, "y" * 500) for number in range(50)]:
            assert future.exception() is not None
        run = kernel.run_dir

    own = [said(run, number) for number in numbers(run, "parse")]

    assert 2 <= sum(bool(one) for one in own) < 10  # the others are not known
    for place, one in enumerate(own):
        assert not one or one[0].startswith(f"row {place} of /data/{place}.csv yyy")


def test_a_report_has_the_messages_of_tasks_without_details(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jackfield_monitoring.pages.report.DETAILED_MOST", 3)

    data = overview(report(run))

    wanted = numbers(run, "parse")
    rest = [one for one in wanted[1:30] if str(one) not in data["details"]]
    assert len(rest) > 20
    assert data["saidFrom"] == 0
    group = max(data["overview"]["failures"], key=lambda one: one["tasks"])
    for number in rest:
        place = wanted.index(number)
        # The group has the message of whichever failed first.
        text = data["said"].get(str(number)) or f"ValueError: {group['message']}"
        assert text.startswith(f"ValueError: row {place} of /data/{place}.csv ")


@pytest.mark.parametrize("place", [0, 17])
def test_the_command_says_what_a_task_said(run: Path, place: int) -> None:
    number = numbers(run, "parse")[place]

    done = CliRunner().invoke(main, ["runs", "show", str(run), "--task", str(number)])

    assert done.exit_code == 0, done.output
    assert f"Task {number} (parse) of run {run.name}: failed" in done.output
    assert f"ValueError: row {place} of /data/{place}.csv" in done.output
    assert "Traceback (most recent call last)" in done.output
    assert SECRET not in done.output


def test_the_command_says_what_is_not_there(run: Path, tmp_path: Path) -> None:
    none = CliRunner().invoke(main, ["runs", "show", str(run), "--task", "9999"])
    with jf.load(run_dir=tmp_path / "bare") as kernel:
        bare = kernel.run_dir
    no_store = CliRunner().invoke(main, ["runs", "show", str(bare), "--task", "0"])

    assert none.exit_code == no_store.exit_code == 1
    assert "has no task 9999" in none.output
    assert "There is no history" in no_store.output
    assert "Traceback" not in none.output + no_store.output


def test_a_report_leaves_out_what_the_earliest_said(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jackfield_monitoring.pages.report.DETAILED_MOST", 1)
    monkeypatch.setattr("jackfield_monitoring.pages.report.SAID_CHARACTERS", 1_000)

    data = overview(report(run))

    told = sorted(map(int, data["said"]))
    assert 2 < len(told) < 32
    assert set(numbers(run, "parse")[27:30]) & set(told)  # one may be its group's
    assert not set(numbers(run, "parse")[:3]) & set(told)
    assert data["saidFrom"] == told[0]
    assert "It leaves out what the first " in data["overview"]["left"][-1]


def forget(connection: sqlite3.Connection) -> None:
    """Make the history one of before messages were kept."""
    connection.execute("DROP TABLE said")
    connection.execute("DROP TABLE message")


def shuffle(connection: sqlite3.Connection) -> None:
    """Make what failed fail in other ways, also in ones that seldom come together."""
    draw = random.Random(11)
    for table in ("task", "attempt"):
        for (row,) in connection.execute(f"SELECT id FROM {table}").fetchall():
            values = draw.choice([7, 8]), draw.choice([None, 1, 2, 3, 4, 5]), row
            connection.execute(
                f"UPDATE {table} SET state = ?, error = ? WHERE id = ?", values
            )
    for (row,) in connection.execute("SELECT id FROM attempt").fetchall():
        retry = draw.choice([None, 0])
        connection.execute("UPDATE attempt SET retry_in = ? WHERE id = ?", (retry, row))
    connection.execute("DELETE FROM said WHERE task % 3 = 0")
    connection.execute("UPDATE said SET message = NULL WHERE task % 3 = 1")
    connection.execute("UPDATE error SET attempts = id % 3")


@pytest.mark.parametrize("change", [None, forget, shuffle])
def test_exports_have_what_each_task_and_attempt_said(
    run: Path, tmp_path: Path, change: Callable[[sqlite3.Connection], None] | None
) -> None:
    if change is not None:
        with closing(sqlite3.connect(run / FILE_NAME)) as connection:
            change(connection)
            connection.commit()
    for form, name in [("csv", "out"), ("trace", "trace.json")]:
        to = ["--format", form, "-o", str(tmp_path / name)]
        result = CliRunner().invoke(main, ["export", str(run), *to])
        assert result.exit_code == 0, result.output
    table = {}
    for name in ("tasks", "attempts"):
        with (tmp_path / "out" / f"{name}.csv").open(newline="") as file:
            table[name] = list(csv.DictReader(file))
    tasks = {int(row["task"]): row["message"] for row in table["tasks"]}
    attempts = {
        (int(row["task"]), int(row["attempt"])): row["message"]
        for row in table["attempts"]
    }
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    traced = {
        (args["task"], args["attempt"]): args["error"].partition(": ")[2]
        for args in (one.get("args", {}) for one in events)
        if "error" in args
    }

    for number, message in tasks.items():
        own = said(run, number)
        assert message == own.get(0, "")
        for (task, n), text in attempts.items():
            if task == number:
                assert text == own.get(n, "")
                assert not text or traced[task, n] == text
    known = [message for message in tasks.values() if message.startswith("row ")]
    if change is not shuffle:
        assert len(known) == (31 if change is None else 2)  # the first of each group
    assert len(set(tasks.values())) > 2
    kinds = {row["exception"] for row in table["attempts"]}
    assert {"ValueError", "DependencyError"} & kinds


@jf.join_app
def both(numbers: list[int]) -> list[jf.AppFuture[int]]:
    return [add(number) for number in numbers]


@jf.python_app
def add(number: int) -> int:
    if number < 0:
        raise ValueError("below zero")
    return number + 1


def test_what_a_task_took_and_where_is_told_for_a_terminal(tmp_path: Path) -> None:
    config = {
        "run_dir": str(tmp_path / "runs"),
        "monitors": {"db": {"plugin": "sqlite", "resources": True}},
    }
    with jf.load(config) as kernel:
        both([1, 2]).result()
        add(add(-1)).exception()
    run = str(kernel.run_dir)

    def shown(number: int) -> str:
        command = ["runs", "show", run, "--task", str(number)]
        return CliRunner().invoke(main, command).output

    join, failed, not_run = shown(0), shown(3), shown(4)
    assert "  executor        kernel\n" in join
    assert " on kernel-0\n" in join
    assert "_internal" not in join
    for told in (join, failed):
        assert re.search(r"\n {18}waited for a worker \d+\.\d{3} s, processor ", told)
        assert re.search(
            r"processor \d+\.\d{3} s, memory [\d.,]+ MB at the most\n", told
        )
    assert "  failed because  task 3 failed\n" in not_run
