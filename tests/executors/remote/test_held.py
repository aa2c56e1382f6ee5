"""Large results that a worker process holds a moment before it shares them."""

from __future__ import annotations

import ctypes
import math
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import wait
from contextlib import suppress
from pathlib import Path
from pickle import PickleBuffer
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np
import psutil
import pytest
from tests.executors.remote.test_stays import (
    NEVER_S,
    SIZE,
    Driven,
    Site,
    driving,
    shelf_of,
)

import jackfield as jf
from jackfield.errors import WorkerDiedError, WorkerLostError
from jackfield_executors.processes import holding, shared
from jackfield_executors.processes.holding import Holder, belongs_to_nobody
from jackfield_executors.remote import post, stays
from jackfield_executors.remote.driver import AgentsExecutor
from jackfield_testing.executors import tasks
from jackfield_testing.executors.case import until_entered
from jackfield_testing.footprint import WAIT_S, settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jackfield_executors.remote.stays import Stayed


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have agents answer soon, and no result come home by itself."""
    monkeypatch.setattr(post, "POLL_S", 0.1)
    monkeypatch.setattr(stays, "HOME_S", NEVER_S)


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Driven]:
    """One agent, of one worker."""
    with driving(1, tmp_path) as driven:
        yield driven


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Driven]:
    """One agent, of two workers."""
    with driving(1, tmp_path, workers=2) as driven:
        yield driven


kept_by_tasks: list[Any] = []
"""What tasks keep in their process beyond their end."""


def array(size: int) -> Any:
    """Return an array; its worker shares what it holds only if somebody asks."""
    vars(holding)["HOLD_S"] = math.inf
    made = np.arange(size // 8)
    kept_by_tasks.append(made.ctypes.data)
    return made


def whereabouts(given: Any) -> tuple[int, int, bool, int]:
    """Return the process, whether the array is where it was made, ..."""
    there = given.ctypes.data in kept_by_tasks
    return os.getpid(), there, given.flags.writeable, int(given.sum())


def half(size: int) -> Any:
    return array(size + 8)[:-1]


def remembered(size: int) -> Any:
    made = array(size)
    kept_by_tasks.append(made)
    return made


def remembered_weakly(size: int) -> Any:
    made = array(size)
    kept_by_tasks.append(ref(made))
    return made


def spoil(_: object) -> int:
    """Change what this process keeps of an array; return how many there were."""
    found = 0
    for one in kept_by_tasks:
        kept = one() if isinstance(one, ref) else one
        if isinstance(kept, np.ndarray):
            kept[:] = -1
            found += 1
    return found


def total(given: Any) -> int:
    return int(given.sum())


def text(size: int) -> dict[str, Any]:
    vars(holding)["HOLD_S"] = math.inf
    return {"items": [f"{n:08}" for n in range(size // 8)]}


def length(given: dict[str, Any]) -> int:
    given["items"].append("mine")
    return len(given["items"])


def descriptors(_: object = None) -> list[str]:
    """Return what this process has of shared memory, by descriptor."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the directory itself
            found.append(str(link.readlink()))
    return [one for one in found if "jackfield-data" in one]


def lower_a_limit(_: object = None) -> None:
    """Change what cannot be put back, so that the worker is replaced."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    most = 10**9 if hard == resource.RLIM_INFINITY else hard - 1
    resource.setrlimit(resource.RLIMIT_CORE, (min(soft, 0), most))


TOTAL = int(np.arange(SIZE // 8).sum())


def held(driven: Driven, kept: Stayed) -> Any:
    """Return the agent's end of a result."""
    return shelf_of(driven.link_of(kept))[kept.number]


def test_the_next_task_in_the_process_gets_the_memory_itself(alone: Driven) -> None:
    kept = alone.kept(alone.submit(array, SIZE))

    _, there, writeable, found = alone.outcome(alone.take(whereabouts, kept))

    assert there
    assert not writeable
    assert found == TOTAL
    assert held(alone, kept).written() is None


@pytest.mark.parametrize("function", [remembered, remembered_weakly])
def test_a_task_that_keeps_its_array_cannot_change_the_result(
    function: Callable[[int], Any], alone: Driven
) -> None:
    kept = alone.kept(alone.submit(function, SIZE))

    assert held(alone, kept).written()
    alone.outcome(alone.take(spoil, 0))
    assert alone.outcome(alone.take(total, kept)) == TOTAL
    assert np.array_equal(kept.fetch(), np.arange(SIZE // 8))


def test_an_array_that_is_a_part_of_another_one_is_written_at_once(
    alone: Driven,
) -> None:
    kept = alone.kept(alone.submit(half, SIZE))

    assert held(alone, kept).written()
    assert alone.outcome(alone.take(total, kept)) == TOTAL


def test_each_task_gets_a_value_of_its_own(alone: Driven) -> None:
    kept = alone.kept(alone.submit(text, SIZE))

    lengths = [alone.outcome(alone.take(length, kept)) for _ in range(2)]

    assert lengths == [SIZE // 8 + 1] * 2
    assert held(alone, kept).written() is None
    assert len(kept.fetch()["items"]) == SIZE // 8


def test_what_is_held_comes_home_when_the_script_reads_it(alone: Driven) -> None:
    kept = alone.kept(alone.submit(array, SIZE))

    assert np.array_equal(kept.fetch(), np.arange(SIZE // 8))
    assert held(alone, kept).written()
    assert alone.outcome(alone.take(total, kept)) == TOTAL


def test_what_is_held_is_shared_by_itself(alone: Driven) -> None:
    kept = alone.kept(alone.submit(np.arange, SIZE // 8))

    assert settled(lambda: held(alone, kept).written() is True, WAIT_S)


def test_another_process_gets_it_while_the_first_one_is_busy(
    pair: Driven, tmp_path: Path
) -> None:
    gate = tasks.Gate(tmp_path)
    kept = pair.kept(pair.submit(array, SIZE))
    maker = pair.outcome(pair.take(whereabouts, kept))[0]
    busy = pair.take(whereabouts_held, kept, gate)  # it goes to the same process
    until_entered(gate, "maker")
    assert gate.process_of("maker") == maker

    process, there, _, found = pair.outcome(pair.take(whereabouts, kept))

    assert process != maker
    assert not there
    assert found == TOTAL
    gate.open()
    pair.outcome(busy)


def whereabouts_held(given: Any, gate: tasks.Gate) -> str:
    del given
    return gate.hold("maker")


def test_what_nobody_refers_to_is_never_written(alone: Driven) -> None:
    kept = alone.kept(alone.submit(array, SIZE))
    alone.outcome(alone.take(total, kept))
    assert alone.outcome(alone.submit(descriptors))

    del kept
    alone.forget()

    # What it has been told to forget, it forgets before its next task.
    def none() -> bool:
        return not alone.outcome(alone.submit(descriptors))

    assert settled(none, WAIT_S)


def test_a_worker_that_is_replaced_shares_first_what_it_holds(alone: Driven) -> None:
    kept = alone.kept(alone.submit(array, SIZE))
    first = alone.outcome(alone.take(whereabouts, kept))[0]

    alone.outcome(alone.submit(lower_a_limit))

    process, there, _, found = alone.outcome(alone.take(whereabouts, kept))
    assert process != first
    assert not there
    assert found == TOTAL


# -- Deaths


def test_what_dies_with_its_process_is_made_again(
    alone: Driven, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    kept = alone.kept(alone.submit(noted, notes))

    assert isinstance(alone.error(alone.submit(tasks.die_by_kill)), WorkerDiedError)

    assert kept.fetch().sum() == TOTAL
    assert len(notes.read_text().split()) == 2


def noted(notes: Path) -> Any:
    with notes.open("a") as file:
        file.write("ran\n")
    return array(SIZE)


def test_a_task_that_gets_what_has_died_is_no_failure_of_its_own(
    alone: Driven, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    kept = alone.kept(alone.submit(noted, notes))
    alone.error(alone.submit(tasks.die_by_kill))

    error = alone.error(alone.take(total, kept))

    assert isinstance(error, WorkerLostError)
    assert error.expected  # so it costs no retry
    assert alone.outcome(alone.take(total, kept)) == TOTAL
    assert len(notes.read_text().split()) == 2


def test_a_task_that_kills_the_process_which_has_its_argument_fails_itself(
    alone: Driven, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    kept = alone.kept(alone.submit(noted, notes))

    error = alone.error(alone.take(tasks.die_by_kill, kept))

    assert isinstance(error, WorkerDiedError)
    assert kept.fetch().sum() == TOTAL
    assert len(notes.read_text().split()) == 2


def fork_in_c_and_die(_: object) -> None:
    """Leave a child that Python does not know of, and that keeps all descriptors."""
    libc = ctypes.PyDLL(None)
    if libc.fork() == 0:
        libc.setsid()
        libc.pause()
    tasks.die_by_kill()


def test_a_child_that_c_code_has_forked_keeps_nobody_waiting(
    alone: Driven, tmp_path: Path
) -> None:
    notes = tmp_path / "notes"
    kept = alone.kept(alone.submit(noted, notes))

    assert isinstance(alone.error(alone.take(fork_in_c_and_die, 0)), WorkerDiedError)

    assert kept.fetch().sum() == TOTAL
    assert len(notes.read_text().split()) == 2


def test_a_process_that_dies_while_another_one_waits_for_what_it_holds(
    pair: Driven, tmp_path: Path
) -> None:
    gate = tasks.Gate(tmp_path)
    kept = pair.kept(pair.submit(noted, tmp_path / "notes"))
    busy = pair.take(whereabouts_held, kept, gate)
    until_entered(gate, "maker")
    maker = psutil.Process(gate.process_of("maker"))
    maker.suspend()
    assert settled(lambda: maker.status() == psutil.STATUS_STOPPED, WAIT_S)
    waits = pair.take(total, kept)
    pool = pair.links[0].agent._pool
    assert pool is not None
    assert settled(lambda: len(pool.running()) == 2, WAIT_S)

    os.kill(maker.pid, signal.SIGKILL)

    assert isinstance(pair.error(busy), WorkerDiedError)
    error = pair.error(waits)
    assert isinstance(error, WorkerLostError)
    assert error.expected
    assert pair.outcome(pair.take(total, kept)) == TOTAL


def test_a_task_runs_again_at_no_cost_whose_argument_has_died(tmp_path: Path) -> None:
    executor = AgentsExecutor(
        "far", Site(1, 1), patience=1.0, keep=True, shared_filesystem=True
    )
    notes = tmp_path / "notes"
    with jf.load(executors={"far": executor}, retries=0, run_dir=tmp_path) as kernel:
        made = kernel.submit(noted, notes)
        wait([made])
        assert kernel.submit(tasks.die_by_kill).exception() is not None

        assert kernel.submit(total, made).result() == TOTAL

    assert len(notes.read_text().split()) == 2


# -- The holder alone


class Asked:
    """What a driver has asked for."""

    number = 0

    def __call__(self) -> int:
        return self.number


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    monkeypatch.setattr(holding, "HOLD_S", NEVER_S)
    return Asked()


def test_a_segment_is_coming_then_written(asked: Asked) -> None:
    fd, head = Holder(asked).hold([b"ab", b"c"], [PickleBuffer(b"1" * 100)], SIZE)
    try:
        assert head == b"abc"
        assert shared.written(fd) is None
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(fd, b"x")

        asked.number = 1

        assert settled(lambda: shared.written(fd) is True, WAIT_S)
        assert (
            os.pread(fd, 3, 0) + os.pread(fd, 200, 64)
            == b"abc" + b"1" * 100 + b"\0" * 28
        )
    finally:
        os.close(fd)


HOLDS = """
import os, socket, sys
from jackfield_executors.processes import holding

holding.HOLD_S = 10_000
holder = holding.Holder(lambda: 0)
fd, _ = holder.hold([b"abc"], [], 1_000_000)
if os.fork() == 0:  # as a task may do; this child lives on
    holder.forget_in_child()
else:
    socket.send_fds(socket.socket(fileno=int(sys.argv[1])), [b"x"], [fd])
sys.stdin.read()
"""


def test_a_segment_is_lost_with_its_process() -> None:
    """Also if a child lives on that its process has forked."""
    ours, theirs = socket.socketpair()
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(theirs.fileno())],
        stdin=subprocess.PIPE,
        pass_fds=[theirs.fileno()],
    ) as process:
        theirs.close()
        _, (fd,), _, _ = socket.recv_fds(ours, 1, 1)
        ours.close()
        try:
            assert shared.written(fd) is None
            process.kill()
            process.wait(WAIT_S)
            # The child lets go as soon as it runs, which may be after that.
            assert settled(lambda: shared.written(fd) is False, WAIT_S)
        finally:
            os.close(fd)


def test_what_is_too_much_for_the_memory_is_not_held(asked: Asked) -> None:
    assert Holder(asked).hold([b"abc"], [PickleBuffer(b"1" * 100)], 100)[0] == -1


def test_what_somebody_could_change_is_not_held() -> None:
    array: Any = np.ones(100)
    view = array[:50]
    frozen: Any = np.ones(100)
    frozen.flags.writeable = False

    assert belongs_to_nobody(PickleBuffer(b"abc"))
    only: Any = np.ones(100)
    buffer = PickleBuffer(only)
    del only
    assert belongs_to_nobody(buffer)
    assert not belongs_to_nobody(PickleBuffer(array))
    assert not belongs_to_nobody(PickleBuffer(view))
    assert not belongs_to_nobody(PickleBuffer(frozen))
    assert not belongs_to_nobody(PickleBuffer(array[:50]))
    assert not belongs_to_nobody(PickleBuffer(bytearray(100)))
    assert not belongs_to_nobody(PickleBuffer(memoryview(array)))
