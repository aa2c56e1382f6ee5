"""Whatever happens to the file of a run's history: tasks go on, and gaps are told."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield import TaskState
from jackfield.events import AttemptRecord, Batch, Place, TaskRecord
from jackfield_monitoring.store import plugin as plugin_module
from jackfield_monitoring.store import writer as writer_module
from jackfield_monitoring.store.made_up import MadeUp
from jackfield_monitoring.store.plugin import SqliteMonitor, jackfield_create_monitor
from jackfield_monitoring.store.reader import Store, StoreError
from jackfield_monitoring.store.schema import APPLICATION_ID, FILE_NAME, VERSION
from jackfield_monitoring.store.writer import RunRow, Writer
from jackfield_testing.footprint import settled

LIMIT_S = 60.0

RUN = RunRow(
    "a" * 32, "/runs/000", 1_000_000, 0, "host", "ada", 1, "3", "0", "[]", "/"
)  # fmt: skip


def batch(first: int, count: int = 10) -> Batch:
    tasks = [
        TaskRecord(
            number, "fit", "python", "", "", TaskState.SUCCEEDED, 1, 1.0, 2.0, None, (),
            "cpu", "off", None, "", None, None, None,
        )
        for number in range(first, first + count)
    ]  # fmt: skip
    return Batch(time.time(), time.monotonic(), tasks=tasks)


def a_kernel(tmp_path: Path) -> jf.DataFlowKernel:
    """Return a kernel that has ended; monitors ask it for facts only."""
    with jf.load(jf.Config(run_dir=tmp_path / "runs")) as kernel:
        pass
    return kernel


@pytest.fixture
def kernel(tmp_path: Path) -> jf.DataFlowKernel:
    return a_kernel(tmp_path)


@pytest.fixture
def monitor(kernel: jf.DataFlowKernel) -> SqliteMonitor:
    """A monitor of a kernel that has begun, and has told it of nothing yet."""
    made = SqliteMonitor()
    made.jackfield_kernel_started(kernel)
    return made


def path_of(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "000" / FILE_NAME


def stored(path: Path) -> int:
    with Store(path) as store:
        return len(store.tasks(limit=1_000_000))


def test_the_file_is_private_and_comes_with_the_first_batch(
    monitor: SqliteMonitor, kernel: jf.DataFlowKernel, tmp_path: Path
) -> None:
    path = path_of(tmp_path)
    before = path.exists()
    previous = os.umask(0)
    try:
        monitor.jackfield_run_events(batch(0))
    finally:
        os.umask(previous)

    assert not before
    files = [one for one in path.parent.iterdir() if one.name.startswith(FILE_NAME)]
    assert len(files) >= 2  # the write-ahead log too
    assert {stat.S_IMODE(one.stat().st_mode) for one in files} == {0o600}
    assert not list(path.parent.glob(".*.new"))
    monitor.jackfield_kernel_closing(kernel)


def test_nothing_that_is_there_already_is_touched(tmp_path: Path) -> None:
    target, link, file = (tmp_path / name for name in ("target", "link", "file"))
    target.write_text("mine")
    file.write_text("mine too")
    link.symlink_to(target)
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "nowhere")

    for path in (link, file, dangling):
        with pytest.raises(FileExistsError):
            Writer(path, RUN)

    assert target.read_text() == "mine"
    assert file.read_text() == "mine too"
    assert not (tmp_path / "nowhere").exists()


def test_a_link_in_its_place_is_not_followed(
    monitor: SqliteMonitor, kernel: jf.DataFlowKernel, tmp_path: Path
) -> None:
    target, path = tmp_path / "target", path_of(tmp_path)
    target.write_text("mine")
    path.symlink_to(target)

    monitor.jackfield_run_events(batch(0))
    monitor.jackfield_kernel_closing(kernel)

    assert target.read_text() == "mine"
    assert path.is_symlink()


def test_a_second_monitor_of_one_run_leaves_the_first_alone(
    monitor: SqliteMonitor,
    kernel: jf.DataFlowKernel,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    second = SqliteMonitor()
    second.jackfield_kernel_started(kernel)

    for one in (monitor, second):
        one.jackfield_run_events(batch(0))
        one.jackfield_run_events(batch(10))
    for one in (monitor, second):
        one.jackfield_kernel_closing(kernel)

    assert stored(path_of(tmp_path)) == 20
    assert sum("keeps no history" in one.message for one in caplog.records) == 1


def test_while_another_process_holds_it_records_wait(
    monitor: SqliteMonitor,
    kernel: jf.DataFlowKernel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plugin_module, "LONGEST_PAUSE_S", 0.0)
    monkeypatch.setattr(plugin_module, "FIRST_PAUSE_S", 0.0)
    monitor.jackfield_run_events(batch(0))
    other = sqlite3.connect(path_of(tmp_path))
    other.execute("BEGIN IMMEDIATE")

    monitor.jackfield_run_events(batch(10))
    monitor.jackfield_run_events(batch(20))
    during = stored(path_of(tmp_path))
    other.close()
    monitor.jackfield_run_events(batch(30))

    assert during == 10
    assert stored(path_of(tmp_path)) == 40
    with Store(path_of(tmp_path)) as store:
        assert store.gaps() == []
    monitor.jackfield_kernel_closing(kernel)


def test_what_waits_too_long_is_lost_and_counted(
    monitor: SqliteMonitor,
    kernel: jf.DataFlowKernel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plugin_module, "RECORDS_KEPT", 25)
    monkeypatch.setattr(plugin_module, "LONGEST_PAUSE_S", 0.0)
    monkeypatch.setattr(plugin_module, "FIRST_PAUSE_S", 0.0)
    monitor.jackfield_run_events(batch(0))
    other = sqlite3.connect(path_of(tmp_path))
    other.execute("BEGIN IMMEDIATE")

    for first in range(10, 60, 10):
        monitor.jackfield_run_events(batch(first))
    other.close()
    monitor.jackfield_run_events(batch(60))
    monitor.jackfield_kernel_closing(kernel)

    with Store(path_of(tmp_path)) as store:
        gaps, tasks = store.gaps(), store.tasks()
    assert [gap.lost for gap in gaps] == [30]
    assert "locked" in gaps[0].reason
    assert [task.id for task in tasks] == [*range(10), *range(40, 70)]


def test_the_end_does_not_wait_long_for_a_lock_and_says_what_is_lost(
    monitor: SqliteMonitor,
    kernel: jf.DataFlowKernel,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []
    patient = writer_module._be_patient
    monkeypatch.setattr(plugin_module, "LAST_BUSY_S", 0.3)

    def noted(connection: sqlite3.Connection, seconds: float) -> None:
        waits.append(seconds)
        patient(connection, seconds)

    monkeypatch.setattr(writer_module, "_be_patient", noted)
    monitor.jackfield_run_events(batch(0))
    other = sqlite3.connect(path_of(tmp_path))
    other.execute("BEGIN IMMEDIATE")
    monitor.jackfield_run_events(batch(10))

    monitor.jackfield_kernel_closing(kernel)
    other.close()

    assert waits[0] <= 0.3
    assert waits[1] <= 0.01  # what was left of it
    assert "lacks the last 10 records" in caplog.text
    assert "does not say that the run has ended, nor that it lacks 10" in caplog.text
    assert stored(path_of(tmp_path)) == 10


def test_it_waits_longer_from_one_failure_to_the_next(
    monitor: SqliteMonitor,
    kernel: jf.DataFlowKernel,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monitor.jackfield_run_events(batch(0))
    other = sqlite3.connect(path_of(tmp_path))
    other.execute("BEGIN IMMEDIATE")

    begin = time.process_time()
    for first in range(10, 1_010, 10):
        monitor.jackfield_run_events(batch(first))
    took = time.process_time() - begin
    other.close()
    monitor.jackfield_kernel_closing(kernel)

    assert took < 10  # a hundred attempts to write would wait ten seconds, and work
    assert sum("cannot be written" in one.message for one in caplog.records) == 1
    assert stored(path_of(tmp_path)) == 1_010


@pytest.mark.parametrize("what", ["file", "directory"])
def test_a_file_that_is_removed_begins_anew(
    monitor: SqliteMonitor, kernel: jf.DataFlowKernel, tmp_path: Path, what: str
) -> None:
    path = path_of(tmp_path)
    monitor.jackfield_run_events(batch(0))
    if what == "file":
        path.unlink()
    else:
        shutil.rmtree(path.parent)
        path.parent.mkdir()

    monitor.jackfield_run_events(batch(10))
    monitor.jackfield_kernel_closing(kernel)

    with Store(path) as store:
        gaps = store.gaps()
        assert [task.id for task in store.tasks()] == list(range(10, 20))
        assert store.counts() == {TaskState.SUCCEEDED: 10}
    assert [gap.lost for gap in gaps] == [10]
    assert "removed" in gaps[0].reason


def test_a_directory_that_is_gone_for_good_costs_nobody_anything(
    monitor: SqliteMonitor,
    kernel: jf.DataFlowKernel,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monitor.jackfield_run_events(batch(0))
    shutil.rmtree(path_of(tmp_path).parent)

    monitor.jackfield_run_events(batch(10))
    monitor.jackfield_kernel_closing(kernel)

    assert "lacks the last 10 records" in caplog.text


def test_what_replaces_it_is_left_alone(
    monitor: SqliteMonitor, kernel: jf.DataFlowKernel, tmp_path: Path
) -> None:
    path = path_of(tmp_path)
    monitor.jackfield_run_events(batch(0))
    path.unlink()
    path.write_text("somebody's")

    monitor.jackfield_run_events(batch(10))
    monitor.jackfield_kernel_closing(kernel)

    assert path.read_text() == "somebody's"


def test_damage_while_it_runs_disturbs_nobody(
    monitor: SqliteMonitor,
    kernel: jf.DataFlowKernel,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = path_of(tmp_path)
    monitor.jackfield_run_events(batch(0, 5_000))
    with path.open("r+b") as file:
        file.truncate(10_000)
        file.write(os.urandom(10_000))
    Path(f"{path}-wal").write_bytes(b"")

    for first in range(5_000, 5_100, 10):
        monitor.jackfield_run_events(batch(first))

    with suppress(sqlite3.Error, OSError):  # the kernel logs it
        monitor.jackfield_kernel_closing(kernel)
    with pytest.raises(StoreError, match=r"damaged|no history"):
        stored(path)


def test_a_record_that_cannot_be_stored_does_not_stop_the_others(
    monitor: SqliteMonitor,
    kernel: jf.DataFlowKernel,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    endless = batch(0).tasks[0]._replace(submitted=float("inf"))

    monitor.jackfield_run_events(Batch(0.0, 1.0, tasks=[endless]))
    monitor.jackfield_run_events(batch(10))
    monitor.jackfield_kernel_closing(kernel)

    assert stored(path_of(tmp_path)) == 10
    with Store(path_of(tmp_path)) as store:
        assert [gap.lost for gap in store.gaps()] == [1]
    assert "cannot be stored" in caplog.text


def test_what_is_lost_at_the_very_end_is_counted(
    monitor: SqliteMonitor, kernel: jf.DataFlowKernel, tmp_path: Path
) -> None:
    endless = batch(0).tasks[0]._replace(submitted=float("inf"))

    monitor.jackfield_run_events(batch(10))
    monitor.jackfield_run_events(Batch(0.0, 1.0, tasks=[endless]))
    monitor.jackfield_kernel_closing(kernel)

    with Store(path_of(tmp_path)) as store:
        assert [gap.lost for gap in store.gaps()] == [1]


def test_what_cannot_be_stored_again_and_again_is_told_once(
    monitor: SqliteMonitor,
    kernel: jf.DataFlowKernel,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    endless = batch(0).tasks[0]._replace(submitted=float("inf"))
    for _ in range(10):
        monitor.jackfield_run_events(Batch(0.0, 1.0, tasks=[endless]))
    monitor.jackfield_kernel_closing(kernel)

    assert caplog.text.count("lacks records") == 1
    with Store(path_of(tmp_path)) as store:
        assert sum(gap.lost for gap in store.gaps()) == 10


FULL = """
import resource, signal, sys
from pathlib import Path
from jackfield_monitoring.store.made_up import MadeUp
from jackfield_monitoring.store.writer import RunRow, Writer

import jackfield as jf
from jackfield_monitoring.store import plugin
plugin.FIRST_PAUSE_S = plugin.LONGEST_PAUSE_S = 0.0

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
monitor = plugin.SqliteMonitor()
with jf.load(jf.Config(run_dir=sys.argv[1])) as kernel:
    monitor.jackfield_kernel_started(kernel)
    batches = list(MadeUp(tasks=20_000).batches())
    monitor.jackfield_run_events(batches[0])
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, limit[1]))
    for batch in batches[1:6]:
        monitor.jackfield_run_events(batch)
    print("waiting", len(monitor._waiting))
    resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    for batch in batches[6:]:
        monitor.jackfield_run_events(batch)
    print("waiting", len(monitor._waiting))
    monitor.jackfield_kernel_closing(kernel)
"""


def test_a_full_disk_loses_nothing_if_room_is_made_in_time(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    during, afterwards = done.stdout.split("\n")[:2]
    assert during != "waiting 0"
    assert afterwards == "waiting 0"
    assert stored(tmp_path / "000" / FILE_NAME) == 20_000


# -- Killed, forked, shared

KILLED = """
import sys
from pathlib import Path
from jackfield_monitoring.store.made_up import MadeUp
from jackfield_monitoring.store.writer import RunRow, Writer

run = RunRow("a" * 32, "/", 0, 0, "h", "u", 1, "3", "0", "[]", "/")
writer = Writer(Path(sys.argv[1]), run)
made = MadeUp(tasks=10_000_000)
for number, batch in enumerate(made.batches()):
    writer.write([batch])
    print(number, flush=True)
"""


@pytest.mark.parametrize("written", [0, 1, 2, 5, 9])
def test_a_kill_damages_nothing_and_loses_no_batch_that_was_written(
    written: int, tmp_path: Path
) -> None:
    path = tmp_path / FILE_NAME
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        for _ in range(written + 1):
            last = int(program.stdout.readline())
        time.sleep(written * 0.007)  # to hit another moment each time
        program.send_signal(signal.SIGKILL)
        last = max([last, *map(int, program.stdout.read().split())])

    with Store(path) as store:
        tasks = store.tasks(limit=1_000_000)
        assert store.run().state == "running"
        assert sum(store.counts().values()) == len(tasks)
    # Batch 0 has the workers; of the one after the last, nothing or all is there.
    assert len(tasks) in (2_000 * last, 2_000 * (last + 1))
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_a_kill_while_it_is_made_leaves_nothing_that_misleads(tmp_path: Path) -> None:
    path, found = tmp_path / FILE_NAME, list[str]()
    for milliseconds in range(0, 60, 6):
        path.unlink(missing_ok=True)
        (tmp_path / f".{FILE_NAME}.new").unlink(missing_ok=True)
        with subprocess.Popen(
            [sys.executable, "-c", "print()\n" + KILLED, str(path)],
            stdout=subprocess.DEVNULL,
        ) as program:
            settled(path.exists, LIMIT_S)
            time.sleep(milliseconds / 1_000)
            program.send_signal(signal.SIGKILL)
        try:
            with Store(path) as store:
                found.append(store.run().uuid)
        except StoreError as error:
            found.append(str(error))
    assert len(found) == 10
    assert all(one == "a" * 32 or "has not begun" in one for one in found)


def test_a_forked_child_writes_nothing_and_closes_nothing(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    writer = Writer(path, RUN)
    writer.write([batch(0)])

    child = os.fork()
    if child == 0:
        status = 1
        try:
            writer.write([batch(10)])
            writer.end("done", 1, [])
            writer.close()
            gc.collect()
            status = 0
        finally:
            os._exit(status)
    _, code = os.waitpid(child, 0)
    writer.write([batch(20)])
    writer.end("done", 1, [])

    assert code == 0
    with Store(path) as store:
        assert [task.id for task in store.tasks()] == [*range(10), *range(20, 30)]
        assert store.run().state == "done"


def test_a_child_that_ends_as_programs_do_damages_nothing(tmp_path: Path) -> None:
    code = f"""
import os, sys
from pathlib import Path
from jackfield_monitoring.store.made_up import MadeUp
from jackfield_monitoring.store.writer import RunRow, Writer

writer = Writer(Path({str(tmp_path / FILE_NAME)!r}), RunRow(*{tuple(RUN)!r}))
batches = list(MadeUp(tasks=20_000).batches())
for batch in batches:
    writer.write([batch])
    if os.fork() == 0:
        sys.exit()  # with all that the interpreter does at its end
    os.wait()
writer.end("done", 1, [])
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=LIMIT_S)

    assert stored(tmp_path / FILE_NAME) == 20_000
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_a_reader_that_holds_on_does_not_stop_the_writer(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    writer = Writer(path, RUN)
    writer.write([batch(0)])
    reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
    reader.execute("BEGIN")
    before = reader.execute("SELECT count(*) FROM task").fetchone()

    for first in range(10, 510, 10):
        writer.write([batch(first)])
    during = reader.execute("SELECT count(*) FROM task").fetchone()
    reader.close()
    writer.end("done", 1, [])

    assert before == during == (10,)
    assert stored(path) == 510


def test_readers_see_whole_batches_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    writer = Writer(path, RUN)
    batches = list(MadeUp(tasks=40_000).batches())
    writer.write(batches[:1])
    sums: set[int] = set()
    stop = threading.Event()

    def read() -> None:
        with Store(path) as store:
            while not stop.is_set():
                total = sum(store.counts().values())
                sums.add(total)
                assert len(store.tasks(after=total - 1)) >= 0

    thread = threading.Thread(target=read)
    thread.start()
    assert settled(lambda: bool(sums), LIMIT_S)
    for one in batches[1:]:
        writer.write([one])
    stop.set()
    thread.join(LIMIT_S)
    writer.end("done", 1, [])

    assert not thread.is_alive()
    assert all(total % 2_000 == 0 for total in sums)


def test_two_runs_have_two_histories(tmp_path: Path) -> None:
    first, second = SqliteMonitor(), SqliteMonitor()
    kernels = a_kernel(tmp_path), a_kernel(tmp_path)
    for number, (one, kernel) in enumerate(zip((first, second), kernels, strict=True)):
        one.jackfield_kernel_started(kernel)
        one.jackfield_run_events(batch(0, 10 * (number + 1)))
    for one, kernel in zip((first, second), kernels, strict=True):
        one.jackfield_kernel_closing(kernel)

    counts = [stored(tmp_path / "runs" / name / FILE_NAME) for name in ("000", "001")]
    assert counts == [10, 20]


# -- What is there to be read


def test_a_run_that_had_no_task_has_a_history_too(
    monitor: SqliteMonitor, kernel: jf.DataFlowKernel, tmp_path: Path
) -> None:
    monitor.jackfield_kernel_closing(kernel)

    with Store(path_of(tmp_path).parent) as store:
        assert store.run().state == "done"
        assert store.counts() == {}


def test_a_history_that_has_ended_is_one_file(
    monitor: SqliteMonitor, kernel: jf.DataFlowKernel, tmp_path: Path
) -> None:
    monitor.jackfield_run_events(batch(0))
    monitor.jackfield_kernel_closing(kernel)

    copy = tmp_path / "copy.db"
    copy.write_bytes(path_of(tmp_path).read_bytes())

    assert [one.name for one in path_of(tmp_path).parent.glob("*monitor*")] == [
        FILE_NAME
    ]
    assert stored(copy) == 10


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    MadeUp(tasks=10).write(tmp_path / FILE_NAME)

    with (
        Store(tmp_path) as store,
        store._reading() as connection,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        connection.execute("DELETE FROM task")


def changed(path: Path, offset: int, value: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset : offset + 4] = value.to_bytes(4, "big")
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda path: path.unlink(), "There is no history"),
        (lambda path: path.write_bytes(b""), "not begun"),
        (lambda path: path.write_text("x" * 5_000), "no history of a run"),
        (lambda path: changed(path, 68, 7), "another program"),
        (lambda path: changed(path, 60, VERSION + 1), "Upgrade Jackfield"),
        (lambda path: os.truncate(path, 5_000), "damaged"),
        (
            lambda path: path.write_bytes(path.read_bytes()[:100] + b"\xff" * 9_000),
            "damaged",
        ),
    ],
    ids=["absent", "empty", "text", "foreign", "newer", "cut", "overwritten"],
)
def test_what_cannot_be_read_is_told(spoil: Any, told: str, tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    MadeUp(tasks=500).write(path)
    spoil(path)

    with pytest.raises(StoreError, match=told), Store(path) as store:
        store.tasks(limit=1_000)


def test_what_is_no_plain_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / FILE_NAME)

    with pytest.raises(StoreError, match="no plain file"):
        Store(tmp_path)


def test_a_database_of_another_program_with_our_mark_is_told(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    connection = sqlite3.connect(path)
    connection.executescript(
        f"PRAGMA application_id = {APPLICATION_ID}; CREATE TABLE run (a)"
    )
    connection.close()

    with pytest.raises(StoreError, match="damaged"):
        Store(path)


def test_a_history_of_where_nothing_can_be_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    MadeUp(tasks=500).write(path)
    # Root may write anywhere; where even it cannot make the shared memory is read only.
    Path(f"{path}-shm").mkdir()

    assert stored(path) == 500


def test_options_are_refused() -> None:
    assert jackfield_create_monitor("other", "db", {}) is None
    assert isinstance(jackfield_create_monitor("sqlite", "db", {}), SqliteMonitor)
    with pytest.raises(jf.ConfigurationError, match=r"monitors\.db.*'speed'"):
        jackfield_create_monitor("sqlite", "db", {"speed": 3})


NONSENSE: dict[str, dict[str, Any]] = {
    "a begin that is no number": {"began": float("nan")},
    "an end that never is": {"ended": float("inf")},
    "a begin beyond all clocks": {"began": 1e300},
    "no seconds of processor time": {"cpu": float("nan")},
    "more memory than there are addresses": {"memory": 2**80},
    "a process of no number": {"pid": object()},
    "a name that is none": {"worker": object()},
}


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_what_an_executor_says_wrongly_costs_no_other_record(
    nonsense: str,
    monitor: SqliteMonitor,
    kernel: jf.DataFlowKernel,
    tmp_path: Path,
) -> None:
    right = Place("w-0", "lovelace", 1, 1.0, 2.0, 0.5, 1_000)
    wrong = right._replace(**NONSENSE[nonsense])
    attempts = [
        AttemptRecord(n, 1, "cpu", 1.0, 2.0, wrong if n == 3 else right, None, None)
        for n in range(10)
    ]

    monitor.jackfield_run_events(batch(0)._replace(attempts=attempts))
    monitor.jackfield_kernel_closing(kernel)

    with Store(path_of(tmp_path)) as store:
        assert store.gaps() == []
        told = [store.task(n) for n in range(10)]
    workers = [page.attempts[0].worker for page in told if page is not None]
    assert workers == ["w-0"] * 3 + [None] + ["w-0"] * 6


def test_a_clock_that_goes_back_makes_no_time(
    monitor: SqliteMonitor, kernel: jf.DataFlowKernel, tmp_path: Path
) -> None:
    back = Place("w-0", "lovelace", 1, 5.0, 2.0)
    attempts = [AttemptRecord(n, 1, "cpu", 5.0, 4.0, back, None, None) for n in (0, 1)]
    attempts.append(AttemptRecord(2, 1, "cpu", 5.0, 4.0, None, None, None))

    monitor.jackfield_run_events(batch(0)._replace(attempts=attempts))
    monitor.jackfield_kernel_closing(kernel)

    with Store(path_of(tmp_path)) as store:
        assert [cell.busy for cell in store.matrix()] == [0]
