"""Races of the driver's threads with a worker, step by step, without a process.

The test plays the worker: it holds the other end of the socket and the shared page.
"""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Iterator

import pytest

from jackfield.abc import Work
from jackfield.errors import ExecutorError
from jackfield_executors.processes import cancellation, progress
from jackfield_executors.processes.handle import WorkerHandle
from jackfield_executors.processes.pool import Pool
from jackfield_executors.processes.progress import BEGUN, RECALL
from jackfield_executors.shares import Shares


@pytest.fixture
def pool() -> Pool:
    return Pool("cpu", None, Shares({}, 1))


@pytest.fixture
def worker(pool: Pool) -> Iterator[WorkerHandle]:
    """A worker that is ready, whose answers the test gives."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    fd = progress.create()
    worker = WorkerHandle(1, "cpu-1", ours, progress.Page(fd), (-1, -1))
    os.close(fd)
    worker.ready = True
    pool.workers[worker.number] = worker
    pool.note_idle(worker)
    yield worker
    worker.close()
    theirs.close()


def work(number: int) -> Work:
    return Work(number, 1, "abs", abs, (number,), {}, None)


def test_a_recall_stands_until_a_cancelled_task_on_its_way_is_returned(
    pool: Pool, worker: WorkerHandle
) -> None:
    """The worker answers a recall before it has received the cancelled task."""
    first = work(0)
    pool.submit([first])
    pool.feed_idle()
    pool.settle(worker, [0], [(1, 1, 1_000)], packed=False)  # now it is known as short
    kept, unwanted = work(1), work(2)
    pool.submit([kept, unwanted])
    pool.feed_idle()
    assert list(worker.held) == [kept, unwanted]
    assert cancellation.cancel(pool, unwanted).possible
    assert worker.page.words[RECALL]

    pool.take_back(worker, 1, 0)  # nothing had arrived at the worker

    assert worker.page.words[RECALL]
    pool.take_back(worker, 1, 2)
    assert not worker.page.words[RECALL]
    assert list(pool.queue) == [kept]
    assert not pool.cancelled


def test_a_task_that_begins_at_the_moment_of_its_cancellation_is_stopped(
    pool: Pool, worker: WorkerHandle
) -> None:
    """The worker has looked for a recall already, and has not noted that it begins."""
    unwanted = work(0)
    pool.submit([unwanted])
    pool.feed_idle()

    assert cancellation.cancel(pool, unwanted) == (True, None, True)

    now = pool.next_deadline
    assert cancellation.find_workers_to_kill(pool, now) == []  # it is slow, so again:
    worker.page.words[BEGUN] = 1
    now = pool.next_deadline
    assert now < math.inf
    assert cancellation.find_workers_to_kill(pool, now) == [worker]
    assert pool.next_deadline == math.inf


def test_a_defect_fails_what_is_being_pickled_too(
    pool: Pool, worker: WorkerHandle
) -> None:
    """The loop has failed while another thread pickles a task for a worker."""

    class Argument:
        def __reduce__(self) -> tuple[type, tuple[()]]:
            assert worker.being_sent == [pickled]
            pool.closing = True
            pool.fail_all(ExecutorError("cpu", "it has failed"))
            return int, ()

    pickled = Work(1, 1, "abs", abs, (Argument(),), {}, None)
    pool.submit([pickled])

    pool.feed_idle()

    ((failed, error, _),) = pool.outcomes
    assert failed is pickled
    assert isinstance(error, ExecutorError)


def test_a_worker_may_be_told_to_exit_while_a_task_is_pickled_for_it(
    pool: Pool, worker: WorkerHandle
) -> None:
    """It would exit without reading the task, as if the task had killed it."""

    class Argument:
        def __reduce__(self) -> tuple[type, tuple[()]]:
            with pool.lock:
                pool.stop(worker)
            return int, ()

    pickled = Work(1, 1, "abs", abs, (Argument(),), {}, None)
    pool.submit([pickled])

    assert pool.feed_idle()

    assert not worker.held
    assert list(pool.queue) == [pickled]
    assert pool.waiting == {pickled}
