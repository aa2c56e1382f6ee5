"""Running a bash app's command, in the thread or process where the executor calls it.

Each command has a process group of its own, so that at its walltime, and at the end of
the program, it is killed together with all that it has started.
"""

from __future__ import annotations

import atexit
import contextlib
import inspect
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jackfield.errors import (
    AppTimeout,
    BadStdStreamFile,
    BashAppNoReturn,
    BashExitFailure,
    MissingOutputs,
    printable,
)
from jackfield.graph.calls import KEPT_STDERR, shown_command

if TYPE_CHECKING:
    import subprocess

SHELL: Final = "/bin/bash"

_running: Final[set[subprocess.Popen[bytes]]] = set()
"""The commands of this process that have not ended, for ``_kill_running``."""

_TAIL: Final = 2000
"""Bytes at the end of standard error that an error message shows."""

_LAST: Final = 300
"""Characters of its last line that stand in the first line of the message."""


class BashCommand:
    """The function of a bash app's tasks.

    ``function``, the app's, returns the command line; ``name`` is the app's name.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self.function: Callable[..., Any] = function
        self.name: str = name

    def __jackfield_function__(self) -> tuple[str, Callable[..., Any]]:
        return "bash", self.function

    def __call__(
        self,
        *args: Any,
        stdout: Any = None,
        stderr: Any = None,
        walltime: float | None = None,
        outputs: Any = (),
        label: Any = None,
        **kwargs: Any,
    ) -> int:
        """Build the command line and run it; return 0.

        The parameters with names are those that the kernel also reads. They are given
        on to the function if it has such parameters.

        Raises:
            BashAppNoReturn: The function has not returned a command line.
            BadStdStreamFile: A file for a stream cannot be opened.
            BashExitFailure: The exit code is not 0.
            AppTimeout: The walltime is over.
            MissingOutputs: The command has not made all outputs.
        """
        read = {
            "stdout": stdout,
            "stderr": stderr,
            "walltime": walltime,
            "outputs": outputs,
            "label": label,
        }
        kept = kwargs.pop(KEPT_STDERR, None)
        command = self._command(args, kwargs, read)
        with _kept(kept if stderr is None else None) as path:
            stderr = stderr if path is None else path
            try:
                self._run(command, stdout, stderr, walltime)
                self._look_for(outputs)
            except (AppTimeout, MissingOutputs) as error:
                error.add_note(_detail(0, command, stderr, 0))
                raise
        return 0

    def _look_for(self, outputs: Any) -> None:
        missing = [os.fspath(file) for file in outputs if not Path(file).exists()]
        if missing:
            raise MissingOutputs(self.name, missing)

    def _command(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], read: dict[str, Any]
    ) -> str:
        parameters = inspect.signature(self.function).parameters
        takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        given = {
            name: value
            for name, value in read.items()
            if value not in (None, ()) and (takes_all or name in parameters)
        }
        command = self.function(*args, **kwargs, **given)
        if not isinstance(command, str):
            raise BashAppNoReturn(
                f"bash app {self.name!r} returned {type(command).__name__}; expected "
                f"the command line, a str."
            )
        return command

    def _run(
        self, command: str, stdout: Any, stderr: Any, walltime: float | None
    ) -> None:
        with (
            _opened("stdout", stdout, self.name) as out,
            _opened("stderr", stderr, self.name) as err,
        ):
            begin = 0 if err is None else os.fstat(err.fileno()).st_size
            process = _start(command, out, err)
            try:
                code = self._wait(process, walltime)
            finally:
                _running.discard(process)
        if code != 0:
            exitcode = code if code > 0 else 128 - code
            detail = _detail(code, command, stderr, begin)
            raise BashExitFailure(self.name, exitcode, detail, command)

    def _wait(self, process: subprocess.Popen[bytes], walltime: float | None) -> int:
        import subprocess

        try:
            return process.wait(walltime)
        except subprocess.TimeoutExpired:
            raise AppTimeout(self.name, walltime or 0.0) from None
        finally:
            # It still runs if its time is over, or if an exception was raised in this
            # thread, as by a walltime or Ctrl-C.
            if process.poll() is None:
                _kill_group(process)


def _start(command: str, stdout: Any, stderr: Any) -> subprocess.Popen[bytes]:
    """Start a command in its own process group, to be killed with all it starts."""
    import subprocess

    process = subprocess.Popen(
        [SHELL, "-c", command],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        process_group=0,
    )
    _running.add(process)
    return process


def _kill_running() -> None:
    """Kill commands at the program's end: the threads that would may be gone."""
    for process in list(_running):
        _kill_group(process)


atexit.register(_kill_running)
# In a forked child, the commands are the parent's and must not be killed.
os.register_at_fork(after_in_child=_running.clear)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def _opened(name: str, spec: Any, app: str) -> Iterator[Any]:
    """Open the file for a stream.

    ``name`` is ``"stdout"`` or ``"stderr"``. ``spec`` is a path, to which is appended;
    a pair of path and mode; or ``None``, which leaves the stream as it is.

    Raises:
        BadStdStreamFile: It cannot be opened.
    """
    if spec is None:
        yield None
        return
    path, mode = spec if isinstance(spec, tuple) else (spec, "a")
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        stream = Path(path).open(mode)  # noqa: SIM115  (closed below, when used up)
    except (OSError, ValueError, TypeError) as error:
        raise BadStdStreamFile(
            f"{name}= of bash app {app!r}, {spec!r}, cannot be opened: {error}"
        ) from error
    with stream:
        yield stream


@contextmanager
def _kept(path: str | None) -> Iterator[str | None]:
    """Give the file for the standard error of a command whose call names none.

    It is ``path``, in the run directory; where a worker does not see that, it is a
    temporary one. Afterwards it is removed if it is empty or temporary.
    """
    seen = path is None or Path(path).parents[2].is_dir()
    place = path if seen else tempfile.mkstemp(prefix="jackfield-", suffix=".stderr")[1]
    try:
        yield place
    finally:
        if place is not None:
            with contextlib.suppress(OSError):
                if not seen or Path(place).stat().st_size == 0:
                    Path(place).unlink()


def _detail(code: int, command: str, stderr: Any, begin: int) -> str:
    """Return how a command has ended, which it is, and the end of its standard error.

    ``begin`` is how long the file for that was when the command began.
    """
    parts = []
    if code < 0:
        with contextlib.suppress(ValueError):
            parts.append(f"killed by {signal.Signals(-code).name}")
    if stderr is None:
        return "; ".join([*parts, f"command: {shown_command(command)}"])
    path = Path(stderr[0] if isinstance(stderr, tuple) else stderr)
    tail = _tail(path, begin)
    last = tail.rpartition("\n")[2].strip()[:_LAST]
    if last:
        parts.append(last if code else f"it wrote: {last}")
    text = "; ".join([*parts, f"command: {shown_command(command)}", f"see {path}"])
    return f"{text}\nIts standard error ends:\n{tail}" if "\n" in tail else text


def _tail(path: Path, begin: int) -> str:
    """Return the end of a file, printable, but nothing that was there before."""
    with contextlib.suppress(OSError):
        if path.is_file():  # and no named pipe, at which one would wait
            with path.open("rb") as stream:
                stream.seek(max(begin, path.stat().st_size - _TAIL))
                text = stream.read(_TAIL).decode(errors="replace").strip()
            return printable(text, keep="\n\t")
    return ""
