"""The kernel's transfer threads, and the directory that each file gets."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jackfield as jf
from jackfield import RemoteInfo, Transfer, hookimpl
from jackfield.abc import ExecutorContext, Work
from jackfield.dataflow.transfers import Movement, TransferExecutor
from jackfield.staging.remote import Stop

LIMIT_S = 60.0


def moving(number: int, action: Callable[[], Any]) -> Work:
    movement = Movement(action, "host", 1, Stop())
    return Work(number, 1, f"w{number}", movement, (), {})


class Plain:
    """Brings the same text for each URL."""

    @hookimpl
    def jackfield_stage_in(self, transfer: Transfer) -> RemoteInfo | None:
        if transfer.scheme != "plain":
            return None
        return transfer.receive(iter([b"text"]), RemoteInfo(4, settled=True))


def test_a_report_that_takes_long_does_not_keep_its_connection(tmp_path: Path) -> None:
    moved, reported = threading.Event(), threading.Event()
    release = threading.Event()

    def report(outcomes: Sequence[Any]) -> None:
        if outcomes[0][0].name == "w1":
            reported.set()
            release.wait(LIMIT_S)

    threads = TransferExecutor(4)
    threads.start(ExecutorContext("transfers", tmp_path, report))
    try:
        threads.submit([moving(1, int), moving(2, moved.set)])
        assert reported.wait(LIMIT_S)
        assert moved.wait(LIMIT_S)
    finally:
        release.set()
        threads.shutdown()


def test_files_that_wait_for_a_connection_come_one_after_another(
    tmp_path: Path,
) -> None:
    here, most, ended = set[int](), list[int](), threading.Semaphore(0)

    def move(number: int) -> None:
        here.add(number)
        most.append(len(here))
        here.discard(number)

    def report(outcomes: Sequence[Any]) -> None:
        for _ in outcomes:
            ended.release()

    threads = TransferExecutor(4)
    threads.start(ExecutorContext("transfers", tmp_path, report))
    try:
        for number in range(200):
            threads.submit([moving(number, partial(move, number))])
        assert all(ended.acquire(timeout=LIMIT_S) for _ in range(200))
    finally:
        threads.shutdown()
    assert max(most) == 1


def test_a_directory_whose_name_is_taken_is_left_alone(tmp_path: Path) -> None:
    @jf.python_app
    def place(file: jf.File) -> str:
        return os.fspath(file)

    with jf.load(jf.Config(run_dir=str(tmp_path), plugins=[Plain()])) as kernel:
        taken = kernel.run_dir / "files" / "in-1"
        taken.mkdir(parents=True)
        path = Path(place(jf.File("plain://host/x")).result(LIMIT_S))

    assert path.read_text() == "text"
    assert list(taken.iterdir()) == []
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_large_file_that_is_stored_while_it_comes_is_whole(tmp_path: Path) -> None:
    blocks = [os.urandom(1 << 20) for _ in range(20)]
    transfer = Transfer(url="plain://host/x", path=tmp_path / "part", sync=True)

    transfer.receive(iter(blocks))

    assert (tmp_path / "part").read_bytes() == b"".join(blocks)
