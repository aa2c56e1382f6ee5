"""Programs of their own, for what must not happen to the tests' own process."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

LIMIT_S = 60.0
"""Seconds that a program may take; nothing that works takes a tenth of it."""

PRELUDE = """
import faulthandler, os, signal, sys, threading, time, warnings
faulthandler.dump_traceback_later({limit}, exit=True)
import jackfield as jf

def say(*words):
    print(*words, flush=True)

def load(**options):
    options.setdefault("run_dir", "runs")
    options.setdefault("exit_grace", 0.3)
    executors = {{"threads": {{"plugin": "threads", "workers": 4}}}}
    options.setdefault("executors", executors)
    return jf.load(jf.Config(**options))

"""


class End(NamedTuple):
    """How a program ended: its exit code and what it wrote."""

    code: int
    out: list[str]
    err: str


class Program:
    """A Python program in a session of its own, killed if it does not end."""

    def __init__(self, source: str, directory: Path, name: str = "program.py") -> None:
        path = directory / name
        path.write_text(PRELUDE.format(limit=LIMIT_S - 5) + source)
        self.process: subprocess.Popen[str] = subprocess.Popen(
            [sys.executable, str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=directory,
            text=True,
            start_new_session=True,
        )
        self._out: list[str] = []
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._err = ""
        self._readers = [
            threading.Thread(target=self._read_out),
            threading.Thread(target=self._read_err),
        ]
        for reader in self._readers:
            reader.start()

    def _read_out(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._out.append(line.rstrip("\n"))
            self._lines.put(line.rstrip("\n"))
        self._lines.put(None)

    def _read_err(self) -> None:
        assert self.process.stderr is not None
        self._err = self.process.stderr.read()

    def wait_for(self, wanted: str) -> None:
        """Read on until it says this line."""
        while True:
            line = self._lines.get(timeout=LIMIT_S)
            if line is None:
                end = self.end()
                raise AssertionError(f"it ended without saying {wanted!r}: {end}")
            if line == wanted:
                return

    def signal(self, number: int = signal.SIGINT) -> None:
        """Send a signal to its process group, as a terminal does for Ctrl-C."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def end(self) -> End:
        """Wait for its end."""
        try:
            code = self.process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(
                f"it hangs; it said {self._out}\n{self._err}"
            ) from None
        for reader in self._readers:
            reader.join(LIMIT_S)
        return End(code, self._out, self._err)

    def kill(self) -> None:
        """End it and all that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(LIMIT_S)
        for reader in self._readers:
            reader.join(LIMIT_S)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], Program]]:
    """Start a program from its source; it has ``say`` and ``load``."""
    programs: list[Program] = []

    def start(source: str) -> Program:
        program = Program(source, tmp_path, f"program{len(programs)}.py")
        programs.append(program)
        return program

    yield start
    for program in programs:
        program.kill()


@pytest.fixture
def run(start: Callable[[str], Program]) -> Callable[[str], End]:
    """Run a program to its end."""
    return lambda source: start(source).end()
