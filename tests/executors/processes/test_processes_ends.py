from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from jackfield.abc import Executor, ExecutorContext, Work
from jackfield.errors import ExecutorError
from jackfield_executors.processes import (
    forkserver_client,
    jackfield_create_executor,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jackfield.abc import Outcome

PRELUDE = """
import os, sys, threading, time
from pathlib import Path
from jackfield.abc import ExecutorContext, Work
from jackfield_executors.processes import jackfield_create_executor

outcomes, changed = {}, threading.Condition()

def report(batch):
    with changed:
        outcomes.update((work, rest) for work, *rest in batch)
        changed.notify_all()

executor = jackfield_create_executor(
    kind="processes", label="cpu", options={"workers": 2}
)
executor.start(ExecutorContext("cpu", Path("."), report))

def submit(function, *args):
    work = Work(1, 1, "task", function, args, {})
    executor.submit([work])
    return work

def value(work):
    with changed:
        assert changed.wait_for(lambda: work in outcomes, 60)
    error, result = outcomes[work]
    if error is not None:
        raise error
    return result

print(os.getpid(), flush=True)
"""

SLEEPERS = """
def sleep_long(name):
    import subprocess
    child = subprocess.Popen(["sleep", "1000"])
    Path(name).write_text(f"{os.getpid()} {os.getppid()} {child.pid}")
    child.wait()

def is_written(name):
    return Path(name).exists() and len(Path(name).read_text().split()) == 3

works = [submit(sleep_long, name) for name in sys.argv[1:]]
"""


def run_script(
    text: str, *args: str, **options: Any
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + text, *args],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


def start_script(text: str, *args: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + text, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def sleeper_pids(files: Sequence[Path], wait_until: Callable[..., None]) -> set[int]:
    for file in files:
        wait_until(
            lambda file=file: file.exists() and len(file.read_text().split()) == 3
        )
    return {int(pid) for file in files for pid in file.read_text().split()}


def test_shutdown_waits_for_everything_submitted(pool: Any) -> None:
    works = [pool.work(time.sleep, 0.05) for _ in range(6)]
    pool.executor.submit(works)

    pool.executor.shutdown()

    assert set(pool.outcomes) == set(works)


def descendants() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def test_a_shutdown_before_any_task_leaves_no_process(
    open_executor: Callable[..., Any], wait_until: Callable[..., None]
) -> None:
    before = descendants()
    pool = open_executor()

    pool.executor.shutdown()

    wait_until(lambda: descendants() <= before)


def test_a_shutdown_before_any_task_waits_for_nobody(
    open_executor: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = descendants()
    pool = open_executor()
    (server,) = descendants() - before
    server.suspend()
    monkeypatch.setattr(forkserver_client, "END_S", 3600.0)

    pool.executor.shutdown()

    assert descendants() <= before


def test_a_shutdown_while_workers_start_leaves_no_process(
    open_executor: Callable[..., Any], wait_until: Callable[..., None]
) -> None:
    before = descendants()
    pool = open_executor()
    pool.submit(abs, -1)

    pool.executor.shutdown(grace=0)

    wait_until(lambda: descendants() <= before)


def test_a_second_shutdown_changes_no_outcome(pool: Any) -> None:
    work = pool.submit(abs, -1)
    pool.executor.shutdown()

    pool.executor.shutdown(grace=0)

    assert pool.outcomes == {work: (None, 1)}


def test_a_shutdown_that_waits_can_be_hurried(pool: Any) -> None:
    work = pool.submit(time.sleep, 600)
    waiting = threading.Thread(target=pool.executor.shutdown)
    waiting.start()

    pool.executor.shutdown(grace=0.1)

    waiting.join(60)
    assert not waiting.is_alive()
    assert work not in pool.outcomes


def test_two_shutdowns_at_once_both_wait(pool: Any) -> None:
    work = pool.submit(time.sleep, 0.2)
    seen: list[bool] = []

    def shut_down() -> None:
        pool.executor.shutdown()
        seen.append(work in pool.outcomes)

    threads = [threading.Thread(target=shut_down) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert seen == [True, True]


def test_submitting_after_shutdown_raises(pool: Any) -> None:
    pool.executor.shutdown()

    with pytest.raises(ExecutorError, match="shut down"):
        pool.submit(abs, -1)


def test_grace_drops_what_waits_and_lets_the_running_end(
    open_executor: Callable[..., Any], tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    def run(file: str) -> None:
        Path(file).touch()
        time.sleep(0.3)

    pool = open_executor(workers=1)
    running = pool.submit(run, str(tmp_path / "running"))
    waiting = pool.submit(run, str(tmp_path / "waiting"))
    wait_until((tmp_path / "running").exists)

    pool.executor.shutdown(grace=60)

    assert pool.outcomes == {running: (None, None)}
    assert not (tmp_path / "waiting").exists()
    assert waiting not in pool.outcomes


def test_grace_stops_what_runs_too_long(
    pool: Any,
    tmp_path: Path,
    wait_until: Callable[..., None],
    is_alive: Callable[[int], bool],
) -> None:
    def run(file: str) -> None:
        child = subprocess.Popen(["sleep", "1000"])
        Path(file).write_text(f"{os.getpid()} {os.getppid()} {child.pid}")
        while True:
            pass

    pool.submit(run, str(tmp_path / "pids"))
    pids = sleeper_pids([tmp_path / "pids"], wait_until)
    begin = time.monotonic()

    pool.executor.shutdown(grace=0.2)

    assert time.monotonic() - begin >= 0.2
    wait_until(lambda: not any(map(is_alive, pids)))
    assert not pool.outcomes


def test_nothing_is_reported_after_shutdown(pool: Any) -> None:
    pool.submit_many(abs, 5_000)

    pool.executor.shutdown(grace=0)

    reported = len(pool.outcomes)
    time.sleep(0.05)
    assert len(pool.outcomes) == reported


@pytest.mark.parametrize("grace", [None, 0, 0.1])
def test_a_report_may_shut_down(pool: Any, grace: float | None) -> None:
    ended = threading.Event()

    def shut_down(outcomes: Sequence[Outcome]) -> None:
        pool.on_report = None
        pool.executor.shutdown(grace=grace)
        ended.set()

    pool.on_report = shut_down
    works = pool.submit_many(abs, 200)

    assert ended.wait(60)
    if grace is None:
        assert set(pool.outcomes) == set(works)


def test_a_report_may_submit(pool: Any, wait_until: Callable[..., None]) -> None:
    more: list[Work] = []

    def submit(outcomes: Sequence[Outcome]) -> None:
        if len(more) < 50:
            more.append(pool.submit(abs, -1))

    pool.on_report = submit
    pool.wait(pool.submit(abs, -1))
    wait_until(lambda: len(more) == 50)

    assert [pool.value(work) for work in more] == [1] * 50


@pytest.mark.usefixtures("no_leaks")
def test_nothing_leaks_over_starts_and_stops(
    tmp_path: Path, wait_until: Callable[..., None], is_alive: Callable[[int], bool]
) -> None:
    pids: list[int] = []

    def report(outcomes: Sequence[Outcome]) -> None:
        pids.extend(value for _, _, value in outcomes)

    for cycle in range(12):
        executor = jackfield_create_executor(
            kind="processes", label="cpu", options={"workers": 1}
        )
        assert isinstance(executor, Executor)
        executor.start(ExecutorContext("cpu", tmp_path, report))
        executor.submit([Work(cycle, 1, "getpid", os.getpid, (), {})])
        executor.shutdown()

    assert len(pids) == 12
    wait_until(lambda: not any(map(is_alive, pids)))


def test_no_shared_memory_has_a_name(pool: Any) -> None:
    def mappings() -> str:
        return Path("/proc/self/maps").read_text()

    for maps in (pool.call(mappings), mappings()):
        assert "/memfd:jackfield (deleted)" in maps
        named = [line for line in maps.splitlines() if "/dev/shm" in line]
        assert [line for line in named if "/dev/shm/sem." not in line] == []  # locks


@pytest.mark.usefixtures("no_leaks")
def test_nothing_leaks_by_deaths(tmp_path: Path) -> None:
    reported = threading.Semaphore(0)
    executor = jackfield_create_executor(
        kind="processes", label="cpu", options={"workers": 2}
    )
    assert isinstance(executor, Executor)
    executor.start(ExecutorContext("cpu", tmp_path, lambda o: reported.release(len(o))))
    works = [Work(n, 1, "exit", os._exit, (1,), {}) for n in range(20)]

    executor.submit(works)

    for _ in works:
        assert reported.acquire(timeout=120)
    executor.shutdown()


def test_a_script_without_a_guard_works(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    text = """
FACTOR = 3

class Point:
    def __init__(self, x):
        self.x = x

def triple(point):
    return Point(point.x * FACTOR)

result = value(submit(triple, Point(4)))
assert type(result) is Point, type(result)
print(result.x)
executor.shutdown()
"""
    script.write_text(PRELUDE + text)

    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.stderr == ""
    assert done.stdout.splitlines()[1:] == ["12"]


def test_a_module_beside_the_script_is_imported_by_workers(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("def double(x):\n    return 2 * x\n")
    script = tmp_path / "script.py"
    script.write_text(
        PRELUDE + "import beside\nprint(value(submit(beside.double, 4)))\n"
    )

    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd="/",
    )

    assert done.stderr == ""
    assert done.stdout.splitlines()[1:] == ["8"]


def test_python_c_works() -> None:
    done = run_script("print(value(submit(lambda x: x + 1, 1)))")

    assert done.stderr == ""
    assert done.stdout.splitlines()[1:] == ["2"]


def test_a_program_that_forgets_shutdown_ends(
    tmp_path: Path, wait_until: Callable[..., None], is_alive: Callable[[int], bool]
) -> None:
    text = "\nfor file in sys.argv[1:]:\n    while not is_written(file):\n"
    text += "        time.sleep(0.01)\nprint('end')"
    files = [tmp_path / "1", tmp_path / "2"]

    done = run_script(SLEEPERS + text, *map(str, files))

    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.splitlines()[1:] == ["end"]
    pids = [int(pid) for file in files for pid in file.read_text().split()]
    wait_until(lambda: not any(map(is_alive, pids)))


def test_a_program_that_raises_ends(tmp_path: Path) -> None:
    done = run_script(SLEEPERS + "raise ValueError('why')", str(tmp_path / "1"))

    assert done.returncode == 1
    assert done.stderr.endswith("ValueError: why\n")


def test_a_killed_driver_leaves_no_process(
    tmp_path: Path, wait_until: Callable[..., None], is_alive: Callable[[int], bool]
) -> None:
    files = [tmp_path / "1", tmp_path / "2"]
    with start_script(SLEEPERS + "time.sleep(600)", *map(str, files)) as driver:
        pids = sleeper_pids(files, wait_until)

        driver.kill()

    wait_until(lambda: not any(map(is_alive, pids)))
    assert len(pids) == 5  # two workers, a child of each, and the fork server


def test_a_driver_killed_while_its_fork_lives_on_leaves_no_worker(
    tmp_path: Path, wait_until: Callable[..., None], is_alive: Callable[[int], bool]
) -> None:
    """The fork holds copies of all descriptors: no connection is closed."""
    file = tmp_path / "1"
    # Only one of them prints: what two write at once may be one line.
    text = SLEEPERS + (
        "child = os.fork()\nif child: print(child, flush=True)\ntime.sleep(600)"
    )
    with start_script(text, str(file)) as driver:
        pids = sleeper_pids([file], wait_until)
        assert driver.stdout is not None
        driver.stdout.readline()
        fork = int(driver.stdout.readline())

        driver.kill()
        for pid in pids:
            wait_until(lambda pid=pid: not is_alive(pid))

        os.kill(fork, signal.SIGKILL)


def test_a_killed_driver_and_fork_server_leave_no_worker(
    tmp_path: Path, wait_until: Callable[..., None], is_alive: Callable[[int], bool]
) -> None:
    file = tmp_path / "1"
    with start_script(SLEEPERS + "time.sleep(600)", str(file)) as driver:
        sleeper_pids([file], wait_until)
        worker, server, child = map(int, file.read_text().split())

        os.kill(server, signal.SIGKILL)
        driver.kill()

    wait_until(lambda: not is_alive(worker))
    # What a task has started is the server's to end. If that had preloaded modules, the
    # process that had started it is still there to do it; otherwise nobody is.
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


def test_a_forked_child_of_the_driver_leaves_the_workers_alone(tmp_path: Path) -> None:
    text = """
import warnings
warnings.simplefilter("ignore")  # newer Pythons warn of fork beside threads
pid = os.fork()
if pid == 0:
    sys.exit(0)
os.waitpid(pid, 0)
print(value(submit(abs, -1)))
"""

    done = run_script("value(submit(abs, -1))" + text)

    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "1"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_terminals_group_ends_the_run_once(
    tmp_path: Path,
    wait_until: Callable[..., None],
    is_alive: Callable[[int], bool],
    number: signal.Signals,
) -> None:
    files = [tmp_path / "1", tmp_path / "2"]
    with start_script(
        SLEEPERS + "time.sleep(600)", *map(str, files), start_new_session=True
    ) as driver:
        pids = sleeper_pids(files, wait_until)

        os.killpg(driver.pid, number)
        _, errors = driver.communicate(timeout=120)

    assert driver.returncode == -number
    assert errors.count("Traceback") == (number == signal.SIGINT)
    for pid in pids:
        wait_until(lambda pid=pid: not is_alive(pid))


def test_a_worker_ignores_an_interrupt_and_its_children_do_not(pool: Any) -> None:
    def interrupt() -> int:
        os.kill(os.getpid(), signal.SIGINT)
        child = subprocess.Popen(["sleep", "1000"])
        child.send_signal(signal.SIGINT)
        return child.wait()

    assert pool.call(interrupt) == -signal.SIGINT


def test_too_few_descriptors_is_an_error_and_passes(
    open_executor: Callable[..., Any],
) -> None:
    import resource

    pool = open_executor(workers=2)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.open("/dev/null", os.O_RDONLY)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        error = pool.error(pool.submit(abs, -1))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    assert isinstance(error, ExecutorError)
    assert "Too many open files" in str(error)
    assert pool.call(abs, -1) == 1


def test_a_ctrl_c_in_a_shutdown_leaves_the_loop_to_its_thread() -> None:
    ended = run_script(
        """
import signal

def strike():
    while True:
        frame = sys._current_frames()[threading.main_thread().ident]
        if frame.f_code.co_name in ("join", "_wait_for_tstate_lock"):
            return os.kill(os.getpid(), signal.SIGINT)

steppers, step = set(), executor._step
def noted():
    steppers.add(threading.current_thread().name)
    step()
executor._step = noted

submit(time.sleep, 1000)
threading.Thread(target=strike).start()
try:
    executor.shutdown()
except KeyboardInterrupt:
    print("interrupted")
executor.shutdown(grace=0)
print(steppers)
"""
    )

    assert ended.stderr == ""
    assert ended.stdout.partition("\n")[2] == "interrupted\n{'cpu-loop'}\n"
