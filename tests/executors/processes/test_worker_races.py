"""Races of a worker's two threads and of the driver, made certain.

The worker's main loop runs on a thread of the test, which plays the driver at the
other end of the socket and stops the loop between two of its steps.
"""

from __future__ import annotations

import os
import pickle
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import jackfield_serialize as serialize
from jackfield_executors.processes import progress
from jackfield_executors.processes.wire import (
    Frame,
    FrameReader,
    Kind,
    large_frame,
    send_all,
    small_frame,
)
from jackfield_executors.processes.worker import _Worker

FUNCTION = 1
LIMIT_S = 60.0


class Driver:
    """The driver's end: sends tasks, and reads what the worker answers."""

    def __init__(self) -> None:
        self.sock, theirs = socket.socketpair()
        self.sock.settimeout(LIMIT_S)
        self.reader = FrameReader(self.sock)
        self.frames: deque[Frame] = deque()
        fd = progress.create()
        self.page = progress.Page(fd)
        os.close(fd)
        self.theirs = theirs
        self.worker = _Worker(theirs, self.page)
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self.worker._stopping:
            with self.worker.reading:
                self.worker.receive()
            if self.worker.tasks:
                self.worker._run_tasks()

    def begin(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Send one call for each argument, all in one frame, and let them run."""
        data = serialize.dump_function("task", function)
        send_all(self.sock, large_frame(Kind.FUNCTION, [data], (), FUNCTION))
        self.send(*arguments)
        self.thread.start()

    def send(self, *arguments: Any) -> None:
        calls = [(FUNCTION, (argument,)) for argument in arguments]
        self.sock.sendall(small_frame(Kind.TASKS, pickle.dumps(calls, 5)))

    def next(self, kind: Kind) -> Any:
        """Return the body of the next frame, which must be of a kind."""
        while not self.frames:
            self.frames.extend(self.reader.read())
        received = self.frames.popleft()
        assert received.kind == kind
        return pickle.loads(received.body)

    def close(self) -> None:
        self.sock.sendall(small_frame(Kind.STOP))
        self.thread.join(LIMIT_S)
        assert not self.thread.is_alive()
        self.sock.close()
        self.theirs.close()
        self.page.close()


@pytest.fixture
def driver() -> Iterator[Driver]:
    driver = Driver()
    yield driver
    driver.close()


def on_other_thread(call: Callable[[], None]) -> None:
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(LIMIT_S)
    assert not thread.is_alive()


class Tasks(deque[Any]):
    """Interrupts the main thread between two steps, once each."""

    when_taken: Callable[[], None] | None = None
    """Called when a task is taken, and this is not noted yet."""

    when_done: Callable[[], None] | None = None
    """Called when the main thread has found that more tasks follow the first."""

    looks: int = 0

    def popleft(self) -> Any:
        task = super().popleft()
        call, self.when_taken = self.when_taken, None
        if call is not None:
            on_other_thread(call)
        return task

    def __len__(self) -> int:
        length = super().__len__()
        if length and self.when_done is not None:
            self.looks += 1
            if self.looks == 3:  # to run, to take the first, to keep its result
                call, self.when_done = self.when_done, None
                on_other_thread(call)
        return length


def test_tasks_returned_while_another_is_taken_are_named_rightly(
    driver: Driver,
) -> None:
    worker = driver.worker
    worker.tasks = Tasks()
    worker.tasks.when_taken = worker.return_tasks

    driver.begin(abs, -1, -2, -3)

    # The first was taken; returned are the two behind it, from position 1 on.
    assert driver.next(Kind.GIVEN_BACK) == (1, 2)
    assert driver.next(Kind.RESULTS)[0] == [1]


def test_results_are_sent_though_the_tasks_behind_them_are_returned(
    driver: Driver,
) -> None:
    """A result is kept for the next one to go with it, but there is no next one."""
    worker = driver.worker
    worker.tasks = Tasks()
    worker.tasks.when_done = worker.return_tasks
    worker._functions[FUNCTION] = abs  # loading it takes a while

    driver.begin(abs, -1, -2, -3)

    assert driver.next(Kind.GIVEN_BACK) == (1, 2)
    assert driver.next(Kind.RESULTS)[0] == [1]
