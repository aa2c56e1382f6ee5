from __future__ import annotations

import ctypes
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jackfield.errors import ExecutorError, WorkerDiedError
from jackfield_executors.processes import supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def kill_self(number: int = signal.SIGKILL) -> None:
    os.kill(os.getpid(), number)
    time.sleep(600)


def crash() -> None:
    ctypes.string_at(0)


def overflow_the_c_stack() -> None:
    nested: list[Any] = []
    for _ in range(1_500):
        nested = [nested]
    sys.setrecursionlimit(10_000)
    threading.stack_size(65_536)
    thread = threading.Thread(target=repr, args=(nested,))
    thread.start()
    thread.join()


def note(directory: str, number: int) -> int:
    """Add a line to a file of the task's own, so that its runs can be counted."""
    with Path(directory, str(number)).open("a") as file:
        file.write("run\n")
    return number


def runs(directory: Path, number: int) -> int:
    file = directory / str(number)
    return len(file.read_text().splitlines()) if file.exists() else 0


def test_a_killed_worker_fails_its_task_and_names_it(pool: Any) -> None:
    work = pool.submit(kill_self)

    error = pool.error(work)

    assert isinstance(error, WorkerDiedError)
    assert error.exitcode == -signal.SIGKILL
    assert error.task == f"{work.id} (kill_self)"
    assert "SIGKILL" in str(error)
    assert "'cpu'" in str(error)


@pytest.mark.parametrize(
    ("function", "args", "code", "named"),
    [
        (crash, (), -signal.SIGSEGV, "SIGSEGV"),
        (overflow_the_c_stack, (), -signal.SIGSEGV, "C stack"),
        (kill_self, (signal.SIGTERM,), -signal.SIGTERM, "SIGTERM"),
        (kill_self, (signal.SIGABRT,), -signal.SIGABRT, "SIGABRT"),
        (os._exit, (0,), 0, "exited with code 0"),
        (os._exit, (3,), 3, "exited with code 3"),
    ],
)
def test_each_kind_of_death_is_told(
    pool: Any,
    capfd: pytest.CaptureFixture[str],
    function: Callable[..., Any],
    args: tuple[Any, ...],
    code: int,
    named: str,
) -> None:
    error = pool.error(pool.submit(function, *args))

    assert isinstance(error, WorkerDiedError)
    assert error.exitcode == code
    assert named in str(error)


def test_a_death_is_noticed_though_nothing_else_happens(pool: Any) -> None:
    pool.call(os.getpid)

    error = pool.error(pool.submit(kill_self))

    assert isinstance(error, WorkerDiedError)


def test_the_workers_of_others_go_on(pool: Any, tmp_path: Path) -> None:
    def wait_for(file: str) -> int:
        while not Path(file).exists():
            time.sleep(0.01)
        return os.getpid()

    waiting = pool.submit(wait_for, str(tmp_path / "go"))
    pool.error(pool.submit(kill_self))
    (tmp_path / "go").touch()

    assert pool.value(waiting) > 0


def test_tasks_that_were_not_begun_run_once_elsewhere(
    open_executor: Callable[..., Any], tmp_path: Path
) -> None:
    pool = open_executor(workers=1)
    directory = str(tmp_path)

    def run(number: int) -> int:
        if number == 250:
            kill_self()
        return note(directory, number)

    for work in pool.submit_many(run, 100):  # teaches it that `run` is short
        pool.value(work)
    works = pool.submit_many(run, 500)
    pool.wait(*works)

    failed = [work.args[0] for work in works if pool.outcomes[work][0] is not None]
    assert failed == [250]
    expected = [2 if n < 100 else 1 for n in range(500)]
    expected[250] = 0
    assert [runs(tmp_path, n) for n in range(500)] == expected


def test_results_that_were_finished_are_kept(
    open_executor: Callable[..., Any], tmp_path: Path
) -> None:
    """Also those that the worker had not sent yet when it was killed."""
    pool = open_executor(workers=1)
    directory = str(tmp_path)

    def run(number: int) -> Any:
        if number == 15:
            kill_self()
        return [note(directory, number)]

    for _ in range(20):
        for work in [pool.submit(run, n) for n in range(10)]:
            pool.value(work)
    for file in tmp_path.iterdir():
        file.unlink()
    works = pool.submit_many(run, 20)
    pool.wait(*works)

    for work in works:
        number = work.args[0]
        assert (pool.outcomes[work][0] is None) == (number != 15)
        assert runs(tmp_path, number) == (number != 15)


def test_an_idle_workers_death_is_not_felt(
    pool: Any, wait_until: Callable[..., None], is_alive: Callable[[int], bool]
) -> None:
    pid = pool.call(os.getpid)

    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid))

    assert pool.call(abs, -1) == 1


def test_the_pool_regains_its_strength_by_itself(
    pool: Any, wait_until: Callable[..., None]
) -> None:
    def rendezvous(directory: str, mine: int, other: int) -> int:
        Path(directory, str(mine)).touch()
        while not Path(directory, str(other)).exists():
            time.sleep(0.01)
        return os.getpid()

    def both(name: str) -> set[int]:
        directory = pool.directory / name
        directory.mkdir()
        pair = [(str(directory), 1, 2), (str(directory), 2, 1)]
        works = [pool.submit(rendezvous, *args) for args in pair]
        return {pool.value(work) for work in works}

    before = both("before")
    for pid in before:
        os.kill(pid, signal.SIGKILL)

    after = both("after")
    assert len(after) == 2
    assert not before & after


def test_a_function_that_kills_each_worker_takes_nobody_with_it(pool: Any) -> None:
    poison, good = [], []
    for n in range(8):
        poison.append(pool.submit(os._exit, 1))
        good += [pool.submit(abs, -n) for _ in range(5)]

    assert [pool.value(work) for work in good] == [n for n in range(8) for _ in "12345"]
    assert all(isinstance(pool.error(work), WorkerDiedError) for work in poison)


class DeadlyToLoad:
    def __reduce__(self) -> Any:
        return os._exit, (7,)


class DeadlyToDump:
    def __reduce__(self) -> Any:
        os._exit(7)


class DeadlyFunction(DeadlyToLoad):
    def __call__(self) -> None:
        pass


@pytest.mark.parametrize("deadly", ["function", "argument", "result"])
def test_a_death_by_pickling_fails_its_task_only(pool: Any, deadly: str) -> None:
    # Made here and not among the parameters: a worker gets what a module has, if some
    # function might use all of that module.
    function, args = {
        "function": (DeadlyFunction(), ()),
        "argument": (abs, (DeadlyToLoad(),)),
        "result": (DeadlyToDump, ()),
    }[deadly]
    before = pool.submit(abs, -1)
    bad = pool.submit(function, *args)
    after = pool.submit(abs, -2)

    error = pool.error(bad)
    assert isinstance(error, WorkerDiedError)
    assert error.exitcode == 7
    assert (pool.value(before), pool.value(after)) == (1, 2)


def test_too_little_memory_is_an_ordinary_error(
    open_executor: Callable[..., Any],
) -> None:
    def limit_memory(size: int) -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (size, size))

    pool = open_executor(workers=1, initializer=limit_memory, initargs=[10**9])
    before = pool.call(os.getpid)

    assert isinstance(pool.error(pool.submit(bytes, 2 * 10**9)), MemoryError)
    assert pool.call(os.getpid) == before


def test_a_worker_that_was_stopped_for_a_while_answers_once(
    open_executor: Callable[..., Any], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    pool = open_executor(workers=1)

    def report_and_wait(begun: str, go: str) -> int:
        Path(begun).touch()
        while not Path(go).exists():
            time.sleep(0.005)
        return os.getpid()

    pid = pool.call(os.getpid)
    work = pool.submit(report_and_wait, str(tmp_path / "begun"), str(tmp_path / "go"))
    wait_until((tmp_path / "begun").exists)
    os.kill(pid, signal.SIGSTOP)
    (tmp_path / "go").touch()
    time.sleep(0.3)
    assert work not in pool.outcomes
    os.kill(pid, signal.SIGCONT)

    assert pool.value(work) == pid
    assert pool.call(os.getpid) == pid


def test_a_kill_while_a_large_argument_is_sent_is_survived(
    open_executor: Callable[..., Any],
    wait_until: Callable[..., None],
) -> None:
    """The worker is stopped, so that the argument is on its way for sure."""
    pool = open_executor(workers=1)
    pid = pool.call(os.getpid)
    os.kill(pid, signal.SIGSTOP)
    size = 100_000_000

    large = pool.submit(len, bytes(size))
    os.kill(pid, signal.SIGKILL)

    pool.wait(large)
    assert pool.value(large) == size


def test_what_kills_each_worker_that_receives_it_is_given_up(
    open_executor: Callable[..., Any],
) -> None:
    pool = open_executor(workers=1)

    def limit_memory(size: int) -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (size, size))

    pool = open_executor(workers=1, initializer=limit_memory, initargs=[400_000_000])
    large = pool.submit(len, bytes(500_000_000))
    small = pool.submit(abs, -1)

    assert isinstance(pool.error(large), WorkerDiedError)
    assert "received" in str(pool.error(large))
    assert pool.value(small) == 1


def test_a_result_that_is_half_sent_is_no_result(pool: Any) -> None:
    def kill_soon() -> bytes:
        threading.Timer(0.001, kill_self).start()
        return bytes(500_000_000)

    work = pool.submit(kill_soon)

    pool.wait(work)
    error, value = pool.outcomes[work]
    assert isinstance(error, WorkerDiedError) or len(value) == 500_000_000
    assert pool.call(abs, -1) == 1


def test_the_death_of_the_fork_server_is_survived(
    pool: Any, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    started = tmp_path / "started"

    def hold(file: str) -> None:
        Path(file).write_text(str(os.getppid()))
        time.sleep(600)

    held = pool.submit(hold, str(started))
    wait_until(lambda: started.exists() and started.read_text())

    os.kill(int(started.read_text()), signal.SIGKILL)

    error = pool.error(held)
    assert isinstance(error, WorkerDiedError)
    assert pool.call(abs, -1) == 1


def test_a_death_is_told_right_though_it_is_heard_of_late(
    open_executor: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wait_until: Callable[..., None],
) -> None:
    """The connection has closed, and the worker is killed in vain: it has ended."""
    monkeypatch.setattr(supervisor, "DISCONNECTED_S", 0.0)

    def exit_when(begun: str, go: str) -> None:
        Path(begun).touch()
        while not Path(go).exists():
            time.sleep(0.005)
        os._exit(3)

    pool = open_executor(workers=1)
    fork_server = pool.call(os.getppid)
    begun, go = tmp_path / "begun", tmp_path / "go"
    work = pool.submit(exit_when, str(begun), str(go))
    wait_until(begun.exists)
    (worker,) = pool.executor._pool.workers.values()
    os.kill(fork_server, signal.SIGSTOP)  # which tells of ends
    try:
        go.touch()
        wait_until(lambda: worker.kill_reason is not None)
    finally:
        os.kill(fork_server, signal.SIGCONT)

    error = pool.error(work)
    assert isinstance(error, WorkerDiedError)
    assert error.exitcode == 3
    assert "exited with code 3" in str(error)


def test_a_task_that_closes_the_workers_files_fails_alone(
    pool: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "DISCONNECTED_S", 0.5)

    def close_all() -> None:
        os.closerange(3, 200)
        time.sleep(600)

    error = pool.error(pool.submit(close_all))

    assert isinstance(error, WorkerDiedError)
    assert "connection" in str(error)
    assert pool.call(abs, -1) == 1


def test_a_failing_initializer_fails_the_tasks_with_its_traceback(
    open_executor: Callable[..., Any],
) -> None:
    def initialize() -> None:
        raise ValueError("no licence")

    pool = open_executor(initializer=initialize)
    works = [pool.submit(abs, -1) for _ in range(3)]

    for work in works:
        error = pool.error(work)
        assert isinstance(error, ExecutorError)
        assert "no licence" in str(error)
        assert "in initialize" in str(error.__cause__)


def test_an_initializer_that_kills_fails_the_tasks(
    open_executor: Callable[..., Any],
) -> None:
    pool = open_executor(initializer=os._exit, initargs=[9])

    error = pool.error(pool.submit(abs, -1))

    assert isinstance(error, ExecutorError)
    assert "code 9" in str(error)


def test_an_initializer_that_works_at_the_second_try_is_tried_again(
    open_executor: Callable[..., Any], tmp_path: Path
) -> None:
    def initialize(file: str) -> None:
        with Path(file).open("a") as log:
            log.write("x")
        if len(Path(file).read_text()) < 2:
            raise OSError("not yet")

    pool = open_executor(
        workers=1, initializer=initialize, initargs=[str(tmp_path / "tries")]
    )

    assert pool.call(abs, -1) == 1


def grow(megabytes: int) -> int:
    kept = bytearray(megabytes * 1_000_000)
    kept[::4096] = b"x" * len(kept[::4096])
    sys.kept = kept  # type: ignore[attr-defined]  # a leak, on purpose
    return os.getpid()


def test_a_worker_above_its_memory_is_replaced_between_tasks(
    open_executor: Callable[..., Any],
) -> None:
    pool = open_executor(workers=1, max_memory_per_worker="100 MB")

    small = [pool.call(grow, 1) for _ in range(3)]
    large = pool.call(grow, 200)
    after = pool.call(grow, 1)

    assert len({*small, large}) == 1
    assert after != large


def test_a_task_above_the_memory_limit_is_stopped(
    open_executor: Callable[..., Any],
) -> None:
    def grow_and_wait() -> None:
        grow(200)
        time.sleep(600)

    pool = open_executor(workers=1, memory_limit_per_worker="100 MB")

    error = pool.error(pool.submit(grow_and_wait))

    assert isinstance(error, WorkerDiedError)
    assert re.search(
        r"used [12]\d\d MB of memory, above the limit of 100 MB", str(error)
    )
    assert pool.call(abs, -1) == 1


@pytest.fixture
def small_cgroup() -> Iterator[Path]:
    """A control group whose processes may use 100 MB of memory."""
    for root, limit in (
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup"), "memory.max"),
    ):
        group = root / f"jackfield-test-{os.getpid()}"
        try:
            group.mkdir()
            (group / limit).write_text("100M")
        except OSError:
            if group.is_dir():
                group.rmdir()
            continue
        yield group
        group.rmdir()
        return
    pytest.skip("no memory control group can be made here")


def test_the_kernels_memory_killer_is_named_as_the_cause(
    open_executor: Callable[..., Any], small_cgroup: Path
) -> None:
    def join(group: str) -> None:
        Path(group, "cgroup.procs").write_text(str(os.getpid()))

    pool = open_executor(workers=1, initializer=join, initargs=[str(small_cgroup)])

    error = pool.error(pool.submit(grow, 300))

    assert isinstance(error, WorkerDiedError)
    assert error.exitcode == -signal.SIGKILL
    assert "memory is the cause" in str(error)
    assert pool.call(abs, -1) == 1
    pool.executor.shutdown()


def test_a_worker_is_replaced_after_its_number_of_tasks(
    open_executor: Callable[..., Any],
) -> None:
    pool = open_executor(workers=1, max_tasks_per_worker=3)

    def process(number: int) -> int:
        return os.getpid()

    works = pool.submit_many(process, 9)

    pids = [pool.value(work) for work in works]
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 3]


def test_no_worker_takes_more_than_its_number_of_short_tasks(
    open_executor: Callable[..., Any],
) -> None:
    pool = open_executor(workers=2, max_tasks_per_worker=40)

    def process(number: int) -> int:
        return os.getpid()

    works = pool.submit_many(process, 400)

    pids = [pool.value(work) for work in works]
    assert max(pids.count(pid) for pid in set(pids)) <= 40
