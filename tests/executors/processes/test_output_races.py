"""Races of the loop with the thread that passes on output, made certain."""

from __future__ import annotations

import logging
import os
import pickle
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

import pytest

from jackfield_executors.processes.output import MOST_RECORDS, RECORDS_S, Output

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMIT_S = 60.0
RECORD = pickle.dumps({"name": "tests.flood", "levelno": logging.ERROR, "msg": "much"})


class Queue(deque[Any]):
    """Calls back when somebody has just found it empty."""

    when_empty: Callable[[], None] | None = None

    def __len__(self) -> int:
        found = super().__len__()
        call, self.when_empty = self.when_empty, None
        if call is not None:
            call()
        return found


def test_a_worker_may_start_and_end_while_the_new_ones_are_taken_in(
    capfd: pytest.CaptureFixture[str],
) -> None:
    output = Output("cpu")
    output._new = Queue()

    def start_and_end() -> None:
        out, err, pipes = output.open()
        os.write(out, b"last words\n")
        os.close(out)
        os.close(err)
        output.end(pipes)

    output._new.when_empty = start_and_end
    output._wake()
    while output._new.when_empty is not None:
        output._thread.join(0.01)
        assert output._thread.is_alive()

    output.close()

    assert "last words\n" in capfd.readouterr().out


class Screen:
    """Takes the place of ``sys.stdout``, and calls back when it has shown text."""

    def __init__(self) -> None:
        self.text = ""
        self.when_shown: Callable[[], object] | None = None
        self._changed = threading.Condition()

    def write(self, text: str) -> None:
        with self._changed:
            self.text += text
            self._changed.notify_all()
        if self.when_shown is not None:
            self.when_shown()

    def flush(self) -> None:
        pass

    def shows(self, text: str) -> bool:
        """Wait until a text is shown; false if that takes too long."""
        with self._changed:
            return self._changed.wait_for(lambda: text in self.text, LIMIT_S)


def install_screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """Show output there. A fixture could not: pytest sets ``sys.stdout`` after it."""
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    return screen


class Flood(logging.Handler):
    """Calls a function for each record that it handles."""

    def __init__(self) -> None:
        super().__init__()
        self.when_handled: Callable[[], object] | None = None
        self.handled = 0

    def emit(self, _: logging.LogRecord) -> None:
        self.handled += 1
        if self.when_handled is not None:
            self.when_handled()


@pytest.fixture
def flood() -> Iterator[Flood]:
    logger = logging.getLogger("tests.flood")
    handler = Flood()
    logger.addHandler(handler)
    logger.propagate = False
    yield handler
    logger.removeHandler(handler)


def test_pipes_are_read_while_log_records_come_without_end(
    monkeypatch: pytest.MonkeyPatch, flood: Flood
) -> None:
    screen = install_screen(monkeypatch)
    output = Output("cpu")
    out, err, pipes = output.open()
    flood.when_handled = lambda: output.add_record(RECORD)  # so there is always one
    output.add_record(RECORD)
    try:
        os.write(out, b"hello\n")
        assert screen.shows("hello\n")
    finally:
        flood.when_handled = None
        os.close(out)
        os.close(err)
        output.end(pipes)
        output.close()


def test_pipes_are_read_while_many_log_records_wait_for_a_slow_handler(
    monkeypatch: pytest.MonkeyPatch, flood: Flood
) -> None:
    screen = install_screen(monkeypatch)
    records = 200
    handled: list[int] = []
    shown = threading.Event()

    def note() -> None:
        handled.append(flood.handled)
        shown.set()

    screen.when_shown = note
    output = Output("cpu")
    out, err, pipes = output.open()
    flood.when_handled = lambda: shown.wait(2 * RECORDS_S)
    for _ in range(records):
        output.add_record(RECORD)
    os.write(out, b"hello\n")
    os.close(out)
    os.close(err)
    assert shown.wait(LIMIT_S)
    output.end(pipes)
    output.close()
    output._thread.join(LIMIT_S)

    assert handled[0] < records
    assert flood.handled == records


def test_a_pipe_of_an_ended_worker_is_not_read_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = install_screen(monkeypatch)
    output = Output("cpu")
    out, err, pipes = output.open()
    os.write(out, b"last words\n")
    screen.when_shown = lambda: os.write(out, b"of a child that lives on\n")
    output.end(pipes)
    output.close()  # waits for a moment
    ended = not output._thread.is_alive()
    screen.when_shown = None
    output._thread.join(LIMIT_S)
    os.close(out)
    os.close(err)

    assert ended
    assert screen.text.startswith("last words\n")


def test_a_character_may_be_cut_where_a_partial_line_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = install_screen(monkeypatch)
    output = Output("cpu")
    out, err, pipes = output.open()
    first, *rest = "€".encode()
    os.write(out, b"10 " + bytes([first]))
    assert screen.shows("10 ")
    os.write(out, bytes(rest))
    assert screen.shows("10 €")
    os.write(out, b"\nend" + bytes([first]))
    os.close(out)
    os.close(err)
    output.end(pipes)
    output.close()

    assert screen.text == "10 €\nend\\xe2"


def test_dropped_log_records_are_counted(
    flood: Flood, caplog: pytest.LogCaptureFixture
) -> None:
    go = threading.Event()
    busy = threading.Event()
    output = Output("cpu")

    def wait() -> None:
        busy.set()
        assert go.wait(LIMIT_S)

    flood.when_handled = wait
    output.add_record(RECORD)
    assert busy.wait(LIMIT_S)
    for _ in range(MOST_RECORDS + 7):
        output.add_record(RECORD)
    go.set()
    output.close()
    output._thread.join(LIMIT_S)

    assert flood.handled == MOST_RECORDS + 1
    texts = [one.getMessage() for one in caplog.records if one.name != "tests.flood"]
    assert texts == ["7 log records of workers came too fast"]
