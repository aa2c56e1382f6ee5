"""Whatever tasks start ends with them, or with their run, or with the program.

Each test starts a ``sleep`` in every way in which a program can leave the process that
started it, and looks for all of them by a duration that nobody else sleeps.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

import jackfield as jf

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")

LIMIT_S = 60.0

WAYS = [
    "sleep {tag} &",
    "timeout 3000 sleep {tag} &",
    "bash -m -c 'sleep {tag} & wait' &",
    "setsid sleep {tag} &",
    "(setsid nohup sleep {tag} >/dev/null 2>&1 &) &",
    "(trap '' TERM HUP INT; exec sleep {tag}) &",
    "sleep {tag} | sleep {tag} &",
]
EACH = len(WAYS) + 1  # the pipe has two
SCRIPT = "{{ " + " ".join(WAYS) + " }} >/dev/null 2>&1\n"

_numbers = itertools.count(1)


def sleepers(tag: str) -> list[psutil.Process]:
    """Return the processes that sleep so long."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        if process.info["cmdline"] == ["sleep", tag]:
            found.append(process)
    return found


def wait_for(number: int, tag: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while (count := len(sleepers(tag))) != number:
        assert time.monotonic() < deadline, f"{count} sleepers, not {number}"
        time.sleep(0.02)


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def tag() -> Iterator[str]:
    """A duration that nobody else sleeps; what still sleeps it is killed."""
    tag = f"{os.getpid() + 9_000_000}.{next(_numbers)}"
    yield tag
    for process in sleepers(tag):
        process.kill()


@jf.bash_app
def all_ways(tag: str, end: str = "sleep {tag}") -> str:
    return SCRIPT.format(tag=tag) + end.format(tag=tag)


@jf.python_app
def popen_all_ways(tag: str, wait: bool = True) -> None:
    import subprocess
    import time

    for options in ({}, {"process_group": 0}, {"start_new_session": True}):
        subprocess.Popen(["sleep", tag], **options)
    while wait:
        time.sleep(0.1)


def table(plugin: str) -> dict[str, Any]:
    return {"executors": {"x": {"plugin": plugin, "workers": 2}}, "exit_grace": 0.2}


@pytest.fixture
def processes() -> Iterator[jf.DataFlowKernel]:
    with jf.load(table("processes")) as kernel:
        yield kernel


def test_cancel_ends_all_that_a_command_started(
    processes: jf.DataFlowKernel, tag: str
) -> None:
    future = all_ways(tag)
    wait_for(EACH + 1, tag)

    assert future.cancel()

    wait_for(0, tag)


def test_cancel_ends_all_that_a_function_started(
    processes: jf.DataFlowKernel, tag: str
) -> None:
    future = popen_all_ways(tag)
    wait_for(3, tag)

    assert future.cancel()

    wait_for(0, tag)


def test_cancel_leaves_what_other_workers_started(
    processes: jf.DataFlowKernel, tag: str
) -> None:
    gone, stays = tag + "1", tag + "2"
    future, other = all_ways(gone), all_ways(stays)
    wait_for(EACH + 1, gone)
    wait_for(EACH + 1, stays)

    future.cancel()
    wait_for(0, gone)

    assert len(sleepers(stays)) == EACH + 1
    other.cancel()
    wait_for(0, stays)


@pytest.mark.parametrize("plugin", ["processes", "threads"])
def test_a_walltime_ends_all_that_a_command_started(plugin: str, tag: str) -> None:
    with jf.load(table(plugin)):
        future = all_ways(tag, walltime=1.0)

        with pytest.raises(jf.AppTimeout):
            future.result(LIMIT_S)
        wait_for(0, tag)


@pytest.mark.parametrize("app", [all_ways, popen_all_ways])
def test_a_dead_worker_leaves_nothing_for_the_retry_to_meet(
    tag: str, app: Callable[..., jf.AppFuture[Any]]
) -> None:
    all_of_them = EACH + 1 if app is all_ways else 3
    counts: list[int] = []

    class Counts:
        @jf.hookimpl
        def jackfield_retry(self) -> None:
            counts.append(len(sleepers(tag)))

    options = table("processes") | {"retries": 1}
    options["executors"]["x"]["workers"] = 1
    with jf.load(options, plugins=[Counts()]) as kernel:
        worker = kernel.submit(os.getpid).result(LIMIT_S)
        future = app(tag)
        wait_for(all_of_them, tag)

        os.kill(worker, signal.SIGKILL)

        wait_until(lambda: counts)
        wait_for(all_of_them, tag)  # those of the retry
        future.cancel()
        wait_for(0, tag)
    assert counts == [0]


@pytest.mark.parametrize("plugin", ["processes", "threads"])
def test_the_end_of_the_run_ends_what_stayed_in_the_background(
    plugin: str, tag: str
) -> None:
    with jf.load(table(plugin)):
        assert all_ways(tag, end="true").result(LIMIT_S) == 0
        wait_for(EACH, tag)

    wait_for(0, tag)


def test_the_death_of_the_fork_server_ends_what_workers_started(
    processes: jf.DataFlowKernel, tag: str
) -> None:
    future = all_ways(tag)
    wait_for(EACH + 1, tag)
    server = processes.submit(os.getppid).result(LIMIT_S)

    os.kill(server, signal.SIGKILL)

    assert isinstance(future.exception(LIMIT_S), jf.WorkerDiedError)
    wait_for(0, tag)


def test_the_death_of_an_adapted_worker_ends_what_it_ran(tag: str) -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        adapted = {"plugin": "adapter", "executor": pool}
        with jf.load({"executors": {"x": adapted}}) as kernel:
            worker = kernel.submit(os.getpid).result(LIMIT_S)
            future = all_ways(tag)
            wait_for(EACH + 1, tag)

            os.kill(worker, signal.SIGKILL)

            assert isinstance(future.exception(LIMIT_S), jf.JackfieldError)
            wait_for(0, tag)


PROGRAM = """
import sys, time
import jackfield as jf

@jf.bash_app
def run(command):
    return command

if __name__ == "__main__":
    plugin, command = sys.argv[1:]
    table = {"plugin": plugin, "workers": 2}
    with jf.load({"exit_grace": 0.2, "executors": {"x": table}}):
        run(command)
        time.sleep(600)
"""


@pytest.mark.parametrize("plugin", ["processes", "threads"])
@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT", "SIGKILL", "SIGHUP"])
def test_a_signal_to_the_program_ends_all(
    tmp_path: Path, tag: str, plugin: str, number: str
) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    command = SCRIPT.format(tag=tag) + f"sleep {tag}"
    program = subprocess.Popen(
        [sys.executable, script, plugin, command], stderr=subprocess.DEVNULL
    )
    wait_for(EACH + 1, tag)

    program.send_signal(signal.Signals[number])

    program.wait(LIMIT_S)
    wait_for(0, tag)


def test_a_thread_that_was_given_up_runs_no_command_after_the_run(
    tmp_path: Path, tag: str
) -> None:
    begun, over = threading.Event(), threading.Event()

    @jf.bash_app
    def late() -> str:
        begun.set()
        assert over.wait(LIMIT_S)
        return f"sleep {tag}"

    kernel = jf.load(table("threads") | {"run_dir": str(tmp_path / "r")})
    future = late()
    assert begun.wait(LIMIT_S)
    thread = next(one for one in threading.enumerate() if "-x-" in one.name)
    kernel.cleanup(wait=False)
    over.set()
    thread.join(LIMIT_S)

    assert future.cancelled()
    assert sleepers(tag) == []
    with jf.load(table("threads") | {"run_dir": str(tmp_path / "r")}):
        assert all_ways(tag, end="true").result(LIMIT_S) == 0
    wait_for(0, tag)
