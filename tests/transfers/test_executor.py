"""The kernel's transfer threads, and the directory that each file gets."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield import RemoteInfo, hookimpl
from jackfield.abc import ExecutorContext, Work
from jackfield.errors import ExecutorError
from jackfield.plugins.manager import PluginManager
from jackfield.staging.mover import Mover, MoverContext
from jackfield.staging.remote import Stop
from jackfield_transfers import monitor
from jackfield_transfers.executor import TransferExecutor
from jackfield_transfers.movement import Movement
from jackfield_transfers.transfer import Transfer

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


def test_works_for_which_there_is_no_thread_are_not_run_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, moved = threading.Event(), list[str]()

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError(f"can't start {thread.name}")

    threads = TransferExecutor(4)
    threads.start(ExecutorContext("transfers", tmp_path, lambda _: ended.set()))
    try:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            with pytest.raises(ExecutorError, match="no thread can be started"):
                threads.submit([moving(1, partial(moved.append, "refused"))])
        threads.submit([moving(2, partial(moved.append, "taken"))])
        assert ended.wait(LIMIT_S)
    finally:
        threads.shutdown()
    assert moved == ["taken"]


def test_a_transfer_may_be_released_while_another_is_submitted(tmp_path: Path) -> None:
    """A thread that submits while the kernel ends works the inbox off itself."""
    others: dict[jf.File, Any] = {jf.File("other", size=1): None}
    released = threading.Event()

    def start(errand: str, action: Callable[[], jf.File]) -> Any:
        mover.release(others)
        released.set()
        return Future()

    manager = PluginManager()
    around = MoverContext({}, {}, (), manager.provider, tmp_path, start)
    mover = manager.usual("mover", (Mover,), around)
    here = threading.Thread(
        target=mover.fetch, args=(jf.File("here", size=1),), daemon=True
    )
    here.start()

    assert released.wait(LIMIT_S)
    here.join(LIMIT_S)


def test_the_end_of_a_transfer_waits_for_a_look_that_has_begun(tmp_path: Path) -> None:
    """A look after the end would break the next attempt's call."""
    transfer = Transfer(url="plain://host/x", path=tmp_path / "part")
    looking, go, ended = threading.Event(), threading.Event(), threading.Event()

    def look(_: Transfer) -> None:
        looking.set()
        go.wait(LIMIT_S)

    def move() -> None:
        with monitor.watched(transfer, look):
            assert looking.wait(LIMIT_S)
        ended.set()

    moving_thread = threading.Thread(target=move)
    moving_thread.start()
    try:
        assert looking.wait(LIMIT_S)
        assert not ended.wait(0.1)
    finally:
        go.set()
        moving_thread.join(LIMIT_S)
    assert ended.is_set()
    monitor.close()


def test_a_look_that_raises_ends_no_other_watch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raised, looked = threading.Event(), threading.Event()

    def refuse(_: Transfer) -> None:
        raised.set()
        raise SystemExit

    first, second = (
        Transfer(url=f"plain://host/{name}", path=tmp_path / name) for name in "ab"
    )
    with monitor.watched(first, refuse):
        assert raised.wait(LIMIT_S)
        with monitor.watched(second, lambda _: looked.set()):
            assert looked.wait(LIMIT_S)
    monitor.close()

    assert "plain://host/a" in caplog.text


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
