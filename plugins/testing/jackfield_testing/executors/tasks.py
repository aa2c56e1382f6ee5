"""What the conformance kit runs on executors: functions and awkward objects.

Imported in workers: nothing here needs more than the standard library.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Never

if TYPE_CHECKING:
    from pathlib import Path

SPAN_S = 0.02
"""Seconds that ``span`` takes."""

LIMIT_S = 60.0
"""How long a held task waits for its release before it gives up."""

POLL_S = 0.002


# -- Plain tasks


def add(a: int, b: int = 0) -> int:
    """Return the sum."""
    return a + b


def identity(value: Any) -> Any:
    """Return the argument."""
    return value


def now(_: object = None) -> int:
    """Return a clock that all processes of a machine share, in nanoseconds."""
    return time.monotonic_ns()


def span(_: object = None) -> tuple[int, int]:
    """Take a moment; return when that began and ended, as ``now`` does."""
    began = now()
    time.sleep(SPAN_S)
    return began, now()


def unlike_any_other(_: object = None) -> str:
    """Return another value at each call, though the arguments are the same."""
    return os.urandom(16).hex()


def process_id(_: object = None) -> int:
    """Return the number of the process that runs this."""
    return os.getpid()


def append_one(items: list[int]) -> int:
    """Change the argument, and return its length."""
    items.append(1)
    return len(items)


def numbers(count: int) -> list[int]:
    """Return a list of that many numbers."""
    return list(range(count))


def first_sum(values: list[Any]) -> int:
    """Add up the numbers in the first of some values."""
    return sum(values[0])


def payload(size: int) -> bytes:
    """Return as many bytes as asked for, not all of them alike."""
    return bytes(range(256)) * (size // 256) + b"\xff" * (size % 256)


def write(path: Path, text: str) -> None:
    """Write a file."""
    path.write_text(text)


# -- Tasks that wait for each other through files


class Gate:
    """Holds tasks until the test lets them go, across processes, by files.

    A task that enters leaves a file with its process id in it, and goes on when the
    file ``open`` appears.
    """

    def __init__(self, directory: Path) -> None:
        self.directory: Path = directory
        directory.mkdir(parents=True, exist_ok=True)

    def hold(self, name: str) -> str:
        """Enter, wait until the gate is open, return the name. To be run as a task."""
        announce(self.directory / name)
        wait_for(self.directory / "open")
        return name

    def open(self) -> None:
        """Let all go."""
        (self.directory / "open").touch()

    def entered(self) -> set[str]:
        """The names of the tasks that have begun."""
        return {
            path.name
            for path in self.directory.iterdir()
            if path.name != "open" and path.suffix != ".part"
        }

    def process_of(self, name: str) -> int:
        """The process that a task which has begun runs in."""
        return int((self.directory / name).read_text())


class Tally:
    """Counts how often each task has run, across processes, in one file."""

    def __init__(self, path: Path) -> None:
        self.path: Path = path

    def run(self, number: int) -> int:
        """Note that this number's task runs, return the number. To be run as a task."""
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            os.write(file, b"%d\n" % number)
        finally:
            os.close(file)
        return number

    def counts(self) -> Counter[int]:
        """How often the task of each number has run."""
        return Counter(map(int, self.path.read_text().split()))


def announce(path: Path) -> None:
    """Leave a file with this process's id in it.

    It is written under another name and renamed, so whoever finds it finds the id too.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    part.write_text(str(os.getpid()))
    part.rename(path)


def wait_for(path: Path, limit: float = LIMIT_S) -> None:
    """Wait until a file exists.

    Raises:
        TimeoutError: It does not, within ``limit`` seconds.
    """
    deadline = time.monotonic() + limit
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{path} did not appear within {limit:g} s")
        time.sleep(POLL_S)


def meet(directory: Path, name: str, other: str) -> None:
    """Wait for another task to come here; only tasks that run at one time can meet."""
    announce(directory / name)
    wait_for(directory / other)


# -- Tasks that end badly


def fail(error: BaseException) -> Never:
    """Raise the argument."""
    raise error


def fail_with(text: str) -> Never:
    """Raise a ValueError."""
    raise ValueError(text)


class TwoArguments(Exception):  # noqa: N818  (named for what is awkward about it)
    """Can be pickled and not unpickled: its ``args`` do not fit its constructor."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


def fail_with_two_arguments() -> Never:
    """Raise an exception that does not survive pickling."""
    raise TwoArguments("this", "that")


def fail_with_a_lock() -> Never:
    """Raise an exception that cannot be pickled."""
    raise ValueError("holds a lock", threading.Lock())


def fail_with_interrupt() -> Never:
    """Raise what Ctrl-C raises."""
    raise KeyboardInterrupt


def fail_with_generator_exit() -> Never:
    """Raise what Python raises in a generator that is closed."""
    raise GeneratorExit


class Unspeakable(BaseException):
    """Not an ``Exception``, and its text cannot be had: ``str`` of it raises."""

    def __repr__(self) -> str:
        raise RuntimeError("from a __repr__")

    __str__ = __repr__


def fail_unspeakably() -> Never:
    """Raise an exception that cannot be shown."""
    raise Unspeakable


def leave() -> Never:
    """Raise SystemExit."""
    sys.exit(3)


def return_a_lock() -> Any:
    """Return what cannot be pickled."""
    return threading.Lock()


def return_a_trap() -> Any:
    """Return what can be pickled and not unpickled."""
    return Trap()


def return_a_tower() -> Any:
    """Return lists nested so deeply that pickling them exhausts the stack."""
    tower: list[Any] = []
    for _ in range(100_000):
        tower = [tower]
    return tower


class Trap:
    """Pickles, and raises when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("no number",)


class Mine:
    """Raises ``KeyboardInterrupt``, which is no ``Exception``, when it is pickled."""

    def __reduce__(self) -> Never:
        raise KeyboardInterrupt("from a __reduce__")


# -- Deaths of a worker


def die_by_exit_1(_: object = None) -> Never:
    """End the process at once, with a failure."""
    os._exit(1)


def die_by_exit_0(_: object = None) -> Never:
    """End the process at once, as if all were well."""
    os._exit(0)


def die_by_kill(_: object = None) -> None:
    """Kill the process."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(LIMIT_S)


# -- Tasks that do not end


def spin(started: Path) -> Never:
    """Run Python code for ever."""
    announce(started)
    while True:
        pass


def block(started: Path) -> None:
    """Wait in C code for longer than any test does."""
    announce(started)
    time.sleep(2 * LIMIT_S)
