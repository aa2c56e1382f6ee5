from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jackfield.errors import ConfigurationError
from jackfield_executors.processes import jackfield_create_executor, resources
from jackfield_executors.processes.options import THREAD_VARIABLES, parse_options

if TYPE_CHECKING:
    from collections.abc import Callable


def variable(name: str) -> str | None:
    return os.environ.get(name)


def test_other_kinds_are_left_to_other_plugins() -> None:
    assert jackfield_create_executor(kind="threads", label="x", options={}) is None


def test_the_plugin_module_is_light() -> None:
    import subprocess

    code = (
        "import sys, jackfield_executors.processes as p; "
        "print([m for m in ('multiprocessing', 'cloudpickle', 'subprocess', "
        "'jackfield_executors.processes.executor') if m in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"wrokers": 2}, "'wrokers'; did you mean 'workers'?"),
        ({"workers": 0}, "'workers'"),
        ({"workers": True}, "'workers'"),
        ({"workers": "4"}, "'workers'"),
        ({"max_tasks_per_worker": 0}, "'max_tasks_per_worker'"),
        ({"max_memory_per_worker": "much"}, "'max_memory_per_worker'"),
        ({"max_memory_per_worker": -1}, "'max_memory_per_worker'"),
        ({"memory_limit_per_worker": 1.5}, "'memory_limit_per_worker'"),
        ({"initializer": 3}, "'initializer'"),
        ({"initializer": "nothing"}, "'initializer'"),
        ({"initargs": "abc"}, "'initargs'"),
        ({"env": ["A=1"]}, "'env'"),
        ({"env": {"A": 1}}, "'env'"),
        ({"env": {"A=B": "1"}}, "'env'"),
        ({"threads_per_worker": -1}, "'threads_per_worker'"),
        ({"nice": 20}, "'nice'"),
        ({"nice": -1}, "'nice'"),
    ],
)
def test_a_bad_option_is_named(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        jackfield_create_executor(kind="processes", label="cpu", options=options)

    assert named in str(caught.value)
    assert "'cpu'" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "size"),
    [(5_000, 5_000), ("5000", 5_000), ("2 GB", 2 * 10**9), ("1.5GiB", 3 * 2**29)],
)
def test_sizes_have_units(text: Any, size: int) -> None:
    options = parse_options("cpu", {"max_memory_per_worker": text})

    assert options.max_memory_per_worker == size


def test_workers_default_to_the_cores_that_may_be_used() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert parse_options("cpu", {}).workers == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "150000 100000"}, 1.5),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.cfs_quota_us": "50000", "cpu.cfs_period_us": "100000"}, 0.5),
        ({"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"}, None),
        ({}, None),
    ],
)
def test_quotas_of_control_groups_are_read(
    tmp_path: Path, files: dict[str, str], quota: float | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text + "\n")

    assert resources.cpu_quota([tmp_path]) == quota


def test_threads_of_numeric_libraries_are_limited(
    open_executor: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    pool = open_executor(workers=resources.available_cores())

    assert pool.call(variable, "OMP_NUM_THREADS") == "1"
    assert pool.call(variable, "OPENBLAS_NUM_THREADS") == "1"


def test_the_users_own_thread_limit_holds(
    open_executor: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    pool = open_executor(env={"MKL_NUM_THREADS": "5"}, threads_per_worker=3)

    names = ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"]
    assert [pool.call(variable, name) for name in names] == ["7", "5", "3"]


def test_thread_limits_can_be_left_alone(
    open_executor: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    pool = open_executor(threads_per_worker=0)

    assert pool.call(variable, "OMP_NUM_THREADS") is None


def test_environment_variables_are_set(open_executor: Callable[..., Any]) -> None:
    pool = open_executor(env={"JACKFIELD_TEST_VARIABLE": "a b\nc"})

    assert pool.call(variable, "JACKFIELD_TEST_VARIABLE") == "a b\nc"


def test_workers_are_nice(open_executor: Callable[..., Any]) -> None:
    pool = open_executor(nice=5)

    assert pool.call(os.nice, 0) == os.nice(0) + 5


def test_an_initializer_runs_once_in_each_worker(
    open_executor: Callable[..., Any],
) -> None:
    def initialize(value: str) -> None:
        os.environ["INITIALIZED"] = os.environ.get("INITIALIZED", "") + value

    pool = open_executor(initializer=initialize, initargs=["yes"])

    assert {pool.call(variable, "INITIALIZED") for _ in range(5)} == {"yes"}


def test_an_initializer_may_be_named(open_executor: Callable[..., Any]) -> None:
    pool = open_executor(initializer="os:putenv", initargs=["A", "b"])

    assert pool.call(abs, -1) == 1


def test_workers_have_the_drivers_surroundings(
    open_executor: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("/nowhere/in/particular")
    pool = open_executor()

    assert pool.call(os.getcwd) == str(tmp_path)
    assert pool.call(lambda: list(sys.path)) == sys.path
    assert pool.call(lambda: list(sys.argv)) == sys.argv
    assert pool.call(lambda: list(sys.warnoptions)) == sys.warnoptions


def test_a_path_that_is_added_later_reaches_the_workers(
    pool: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pool.call(abs, -1) == 1
    (tmp_path / "jackfield_added_later.py").write_text("def answer():\n    return 42\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import jackfield_added_later  # type: ignore[import-not-found]  # made just above

    assert pool.call(jackfield_added_later.answer) == 42


def test_programs_that_tasks_start_inherit_no_connection(pool: Any) -> None:
    def inherited() -> list[str]:
        links = [Path(f"/proc/self/fd/{fd}") for fd in _inheritable()]
        names = [str(link.readlink()) for link in links]
        return [name for name in names if "socket" in name or "jackfield" in name]

    assert pool.call(inherited) == []


def _inheritable() -> list[int]:
    fds = []
    for fd in (int(path.name) for path in Path("/proc/self/fd").iterdir()):
        try:
            if os.get_inheritable(fd):
                fds.append(fd)
        except OSError:  # the listing's own
            continue
    return fds


def test_workers_have_no_input(pool: Any) -> None:
    assert pool.call(lambda: sys.stdin.read()) == ""  # noqa: PLW0108  (this process's own stdin cannot be sent)


def test_output_arrives_in_whole_lines(
    pool: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def talk(number: int) -> None:
        for part in range(50):
            print(f"<{number}", end="")
            print(f":{part}>")

    pool.wait(*pool.submit_many(talk, 40))
    pool.executor.shutdown()

    lines = capsys.readouterr().out.splitlines()
    assert sorted(lines) == sorted(f"<{n}:{p}>" for n in range(40) for p in range(50))


def test_output_of_children_and_of_native_code_arrives(
    pool: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    pool.call(os.system, "echo from a child; echo and its error >&2")
    pool.call(os.write, 2, b"half a line")
    pool.executor.shutdown()

    output = capsys.readouterr()
    assert output.out == "from a child\n"
    assert sorted(output.err.splitlines()) == ["and its error", "half a line"]


def test_a_line_without_end_is_shown_after_a_moment(
    pool: Any, capsys: pytest.CaptureFixture[str], wait_until: Callable[..., None]
) -> None:
    shown = []

    def see() -> bool:
        shown.append(capsys.readouterr().out)
        return bool("".join(shown))

    pool.call(print, "50 %", end="\r")

    wait_until(see)
    assert "".join(shown) == "50 %\r"


def test_last_words_of_a_dying_worker_are_shown(
    pool: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def die() -> None:
        print("last words")
        os._exit(1)

    pool.error(pool.submit(die))
    pool.executor.shutdown()

    assert capsys.readouterr().out == "last words\n"


def test_a_crash_shows_where_it_happened(
    pool: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def crash_here() -> None:
        import ctypes

        ctypes.string_at(0)

    pool.error(pool.submit(crash_here))
    pool.executor.shutdown()

    assert "crash_here" in capsys.readouterr().err


def test_warnings_are_shown(pool: Any, capsys: pytest.CaptureFixture[str]) -> None:
    pool.call(warnings.warn, "take care", UserWarning)
    pool.executor.shutdown()

    assert "UserWarning: take care" in capsys.readouterr().err


def test_log_records_reach_the_drivers_handlers(
    pool: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def log() -> int:
        logger = logging.getLogger("user.module")
        try:
            raise ValueError("why")
        except ValueError:
            logger.warning("%s and %d", [1], 2, exc_info=True, extra={"own": object()})
        return os.getpid()

    pid = pool.call(log)
    pool.executor.shutdown()

    (record,) = [r for r in caplog.records if r.name == "user.module"]
    assert record.getMessage() == "[1] and 2"
    assert record.process == pid
    assert record.processName == "cpu-1"
    assert "ValueError: why" in str(record.exc_text)


def test_levels_hold_in_workers(
    open_executor: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "user.chatty")
    pool = open_executor()

    def log() -> tuple[bool, bool]:
        for name in ("user.chatty", "user.quiet"):
            logging.getLogger(name).debug("a detail")
        chatty = logging.getLogger("user.chatty").isEnabledFor(logging.DEBUG)
        return chatty, logging.getLogger("user.quiet").isEnabledFor(logging.DEBUG)

    assert pool.call(log) == (True, False)
    pool.executor.shutdown()
    assert [r.name for r in caplog.records if r.msg == "a detail"] == ["user.chatty"]


def test_many_log_records_arrive_in_order(
    open_executor: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    pool = open_executor(workers=1)

    def log(number: int) -> None:
        # When, as a worker may give tasks back that wait behind a slow one.
        logging.getLogger("user.many").warning("%d %d", time.monotonic_ns(), number)

    pool.wait(*pool.submit_many(log, 1_000))
    pool.executor.shutdown()

    told = [r.getMessage().split() for r in caplog.records if r.name == "user.many"]
    times, numbers = [int(when) for when, _ in told], [int(one) for _, one in told]
    assert times == sorted(times)
    assert sorted(numbers) == list(range(1_000))
