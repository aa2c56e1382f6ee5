"""The end of a run tells, once, which failures nobody has asked for."""

from __future__ import annotations

import asyncio
import concurrent.futures
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.errors import JoinError
from jackfield_monitoring import notebook_tables

LIMIT_S = 60.0
TOLD = "and nobody has asked for the result"

Load = Callable[..., jf.DataFlowKernel]


@pytest.fixture(params=["threads", "processes"])
def load(request: pytest.FixtureRequest, tmp_path: Path) -> Load:
    def loaded(**options: Any) -> jf.DataFlowKernel:
        executors = {"here": {"plugin": request.param, "workers": 2}}
        return jf.load({"executors": executors, "run_dir": tmp_path, **options})

    return loaded


@jf.python_app
def check(number: int) -> int:
    if number == 3:
        raise ValueError("no such sample")
    return number


@jf.python_app
def use(*numbers: int) -> int:
    return sum(numbers)


def test_leaving_the_block_tells_counts_failures_and_log(
    load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    with load() as kernel:
        for number in range(5):
            check(number)

    assert capsys.readouterr().err.splitlines() == [
        f"jackfield: 1 of 5 tasks failed, {TOLD}:",
        "  Task 3 (check) failed: ValueError: no such sample [in check(3)]",
        f"  In all: 4 succeeded, 1 failed. Log: {kernel.run_dir / 'jackfield.log'}",
    ]


def test_a_name_of_two_lines_is_one_wherever_it_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise ValueError("no")

    fail.__name__ = "two\nlines\x1b[2J"
    with jf.load(run_dir=tmp_path) as kernel:
        futures = [jf.python_app(fail)(), kernel.submit(fail)]
        concurrent.futures.wait(futures, LIMIT_S)
        summary = kernel.summary()

    told = [str(summary), notebook_tables.shown(summary), capsys.readouterr().err]
    told += [repr(one) for one in futures]
    told.append((kernel.run_dir / "jackfield.log").read_text())
    for text in told:
        assert "two\nlines" not in text
        assert "\x1b" not in text
    assert len(str(summary).splitlines()) == 2  # both tasks say the same
    assert "two\\nlines" in str(summary)


def test_it_is_told_once(load: Load, capsys: pytest.CaptureFixture[str]) -> None:
    with load() as kernel:
        check(3)
        kernel.wait_for_current_tasks()
        kernel.cleanup()
        kernel.cleanup()

    assert capsys.readouterr().err.count(TOLD) == 1


def test_of_many_failures_the_first_are_named(
    load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    with load():
        for _ in range(150):
            check(3)

    err = capsys.readouterr().err
    assert f"150 of 150 tasks failed, {TOLD}:" in err
    assert err.count("no such sample") == 1
    one = r"Task \d+ \(check\) and 99 more failed: ValueError: no such sample"
    assert re.search(one, err)
    assert "... and 50 more" in err


def asks_for_the_result(future: Any) -> None:
    with pytest.raises(ValueError, match="no such"):
        future.result(LIMIT_S)


def asks_for_the_error(future: Any) -> None:
    assert future.exception(LIMIT_S)


def asks_in_a_callback(future: Any) -> None:
    done: concurrent.futures.Future[Any] = concurrent.futures.Future()
    future.add_done_callback(lambda one: done.set_result(one.exception()))
    assert done.result(LIMIT_S)


def awaits(future: Any) -> None:
    async def wait() -> None:
        with pytest.raises(ValueError, match="no such"):
            await future

    asyncio.run(wait())


def asks_what_depends_on_it(future: Any) -> None:
    assert isinstance(use(1, use(future)).exception(LIMIT_S), jf.DependencyError)


def asks_a_join_of_it(future: Any) -> None:
    @jf.join_app
    def both() -> Any:
        return [future]

    assert isinstance(both().exception(LIMIT_S), JoinError)


@pytest.mark.parametrize(
    "asks",
    [
        asks_for_the_result,
        asks_for_the_error,
        asks_in_a_callback,
        awaits,
        asks_what_depends_on_it,
        asks_a_join_of_it,
    ],
)
def test_nothing_is_told_of_what_somebody_has_seen(
    load: Load, asks: Callable[[Any], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with load():
        asks(check(3))

    assert capsys.readouterr().err == ""


def looks_whether_it_is_done(future: Any) -> None:
    concurrent.futures.wait([future], LIMIT_S)
    assert future.done()


def asks_what_depends_on_a_good_one(future: Any) -> None:
    use(check(1)).result(LIMIT_S)


@pytest.mark.parametrize(
    "looks", [looks_whether_it_is_done, asks_what_depends_on_a_good_one]
)
def test_other_looks_are_no_question(
    load: Load, looks: Callable[[Any], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with load():
        looks(check(3))

    assert TOLD in capsys.readouterr().err


def test_only_those_are_told_that_nobody_has_seen(
    load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    with load():
        seen, unseen = check(3), check(number=3)
        assert seen.exception(LIMIT_S)
        concurrent.futures.wait([unseen])

    err = capsys.readouterr().err
    assert f"1 of 2 tasks failed, {TOLD}:" in err
    assert "Task 1 (check) failed" in err
    assert "Task 0" not in err


@pytest.mark.parametrize("end", ["jf.wait_for_current_tasks()", "jf.dfk().cleanup()"])
def test_a_kernel_that_ends_without_a_block_tells_it_too(
    tmp_path: Path, end: str
) -> None:
    script = f"""
import jackfield as jf

@jf.python_app
def fails(number):
    raise ValueError("no such sample")

jf.load(run_dir="runs")
fails(3)
{end}
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=LIMIT_S,
    )

    assert done.stderr.count(TOLD) == 1
    assert "no such sample [in fails(3)]" in done.stderr


def test_a_run_without_failures_says_nothing(
    load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    with load():
        assert check(1).result(LIMIT_S) == 1

    assert capsys.readouterr().err == ""


def test_cancelled_tasks_are_no_failures(
    load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked: concurrent.futures.Future[int] = concurrent.futures.Future()
    with load():
        future = use(blocked)
        assert future.cancel()
        use(future)

    assert TOLD not in capsys.readouterr().err


def test_a_failure_is_told_where_an_exception_leaves_the_block(
    load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    def leave(kernel: jf.DataFlowKernel) -> None:
        with kernel:
            check(3)
            kernel.wait_for_current_tasks()
            raise KeyError("mine")

    with pytest.raises(KeyError):
        leave(load())

    assert TOLD in capsys.readouterr().err


def test_without_a_log_it_names_the_run(
    load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    with load(log_level="OFF") as kernel:
        check(3)

    assert f"There is no log. Run: {kernel.run_dir}" in capsys.readouterr().err


def test_a_terminal_is_not_commanded_by_what_a_task_raised(
    load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    with load():
        colourful("\x1b[2J\u202eevil\x9b31m")

    err = capsys.readouterr().err
    assert r"\x1b[2J\u202eevil\x9b31m" in err
    assert err.replace("\n", "").isprintable()


@jf.python_app
def colourful(text: str) -> None:
    raise RuntimeError(text)


def test_it_is_no_error_that_there_is_no_standard_error(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    with load():
        check(3)
        monkeypatch.setattr("sys.stderr", None)
