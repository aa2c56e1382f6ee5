"""What a worker does when it is told to end, though it does not clear its modules."""

from __future__ import annotations

import atexit
import ctypes
import gzip
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest
    from tests.executors.processes.conftest import Open

kept: list[Any] = []


def leave_open(directory: Path) -> int:
    text = (directory / "text").open("w")
    text.write("written")
    raw = (directory / "raw").open("wb", 1000)
    raw.write(b"written")
    packed = gzip.open(directory / "packed", "wt")  # noqa: SIM115  (left open)
    packed.write("written")
    sys.modules["kept_by_a_task"] = kept  # type: ignore[assignment]  # kept to the end
    kept.extend([raw, text, packed])
    return os.getpid()


def test_files_that_are_left_open_are_written(
    open_executor: Open, tmp_path: Path
) -> None:
    pool = open_executor(workers=1)
    pool.call(leave_open, tmp_path)

    pool.executor.shutdown()

    assert (tmp_path / "text").read_text() == "written"
    assert (tmp_path / "raw").read_bytes() == b"written"
    assert gzip.decompress((tmp_path / "packed").read_bytes()) == b"written"


def at_exit(path: Path) -> None:
    atexit.register(path.write_text, "done")


def test_atexit_functions_run(open_executor: Open, tmp_path: Path) -> None:
    pool = open_executor(workers=1)
    pool.call(at_exit, tmp_path / "atexit")

    pool.executor.shutdown()

    assert (tmp_path / "atexit").read_text() == "done"


def raise_at_exit(path: Path) -> None:
    atexit.register(path.write_text, "done")
    atexit.register(int, "no number")


def test_one_that_raises_keeps_no_other_from_running(
    open_executor: Open, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = open_executor(workers=1)
    pool.call(raise_at_exit, tmp_path / "atexit")

    pool.executor.shutdown()

    assert (tmp_path / "atexit").read_text() == "done"
    assert "no number" in capsys.readouterr().err


def print_natively() -> None:
    ctypes.CDLL(None).printf(b"from native code\n")


def test_what_native_code_has_printed_appears(
    open_executor: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = open_executor(workers=1)
    pool.call(print_natively)

    pool.executor.shutdown()

    assert "from native code" in capsys.readouterr().out


def start_thread(fifo: Path, path: Path) -> None:
    def work() -> None:
        fifo.read_text()
        path.write_text("done")

    threading.Thread(target=work).start()


def test_threads_that_are_no_daemons_are_waited_for(
    open_executor: Open,
    tmp_path: Path,
    wait_until: Callable[[Callable[[], object]], None],
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    pool = open_executor(workers=1)
    pool.call(start_thread, fifo, tmp_path / "thread")
    ending = threading.Thread(target=pool.executor.shutdown)
    ending.start()

    fifo.write_text("go on")
    ending.join(60)

    assert not ending.is_alive()
    assert (tmp_path / "thread").read_text() == "done"
