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
)
from jackfield.files import CALLED_IN, open_no_link
from jackfield.staging.names import environment_of_programs

if TYPE_CHECKING:
    import subprocess

SHELL: Final = "/bin/bash"

_running: Final[set[subprocess.Popen[bytes]]] = set()
"""The commands of this process that have not ended, for ``_kill_running``."""

_LONGEST_ARGUMENT: Final = 131_071
"""Bytes of one argument of a program, at most; Linux counts a NUL at its end, too."""

_TAIL: Final = 2000
"""Bytes at the end of standard error that an error message shows."""


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
        /,
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
        directory = kwargs.pop(CALLED_IN, "")
        if not Path(directory).is_dir():  # the worker does not see the script's files
            directory = ""
        command = self._command(args, kwargs, read)
        out, err = _at(directory, stdout), _at(directory, stderr)
        self._run(command, out, err, walltime, directory)
        missing = [os.fspath(file) for file in outputs if not Path(file).exists()]
        if missing:
            raise MissingOutputs(self.name, missing)
        return 0

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
        self,
        command: str,
        stdout: Any,
        stderr: Any,
        walltime: float | None,
        directory: str,
    ) -> None:
        import subprocess

        one = _is_one_file(stdout, stderr)
        with (
            _opened("stdout", stdout, self.name) as out,
            _opened("stderr", None if one else stderr, self.name) as err,
            _arguments(command) as (arguments, fds),
        ):
            target = subprocess.STDOUT if one else err
            process = _start(arguments, out, target, fds, directory)
            try:
                code = self._wait(process, walltime)
            finally:
                _running.discard(process)
        if code != 0:
            exitcode = code if code > 0 else 128 - code
            raise BashExitFailure(self.name, exitcode, _detail(code, stderr))

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


def _at(directory: str, stream: Any) -> Any:
    """Return a stream with its path, which may be relative, in a directory."""
    if isinstance(stream, tuple):
        return _at(directory, stream[0]), stream[1]
    return None if stream is None else Path(directory, stream)


def _is_one_file(stdout: Any, stderr: Any) -> bool:
    """Tell whether both streams go to one file.

    It must be opened once, or each would write over what the other has written.
    """
    one, other = (s[0] if isinstance(s, tuple) else s for s in (stdout, stderr))
    return None not in (one, other) and one.resolve() == other.resolve()


@contextmanager
def _arguments(command: str) -> Iterator[tuple[list[str], tuple[int, ...]]]:
    """Give the arguments that start a command, and the descriptors that it needs.

    The system takes no argument that is longer than 128 KiB. A longer command is in a
    file without a name, which bash reads, and closes before the command begins.
    """
    data = os.fsencode(command)
    if len(data) <= _LONGEST_ARGUMENT:
        yield [SHELL, "-c", "--", command], ()
        return
    import tempfile

    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        number = file.fileno()
        read = f'__command=$(</dev/fd/{number}); exec {number}<&-; eval "$__command"'
        yield [SHELL, "-c", read], (number,)


def _start(
    arguments: list[str], stdout: Any, stderr: Any, fds: tuple[int, ...], directory: str
) -> subprocess.Popen[bytes]:
    """Start a command in its own process group, to be killed with all it starts."""
    import subprocess

    process = subprocess.Popen(
        arguments,
        cwd=directory or None,
        pass_fds=fds,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env=environment_of_programs(),
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
        # Devices may be links, as /dev/stdout is; nobody else can put any there.
        device = os.fspath(path).startswith("/dev/")
        opener = None if device else open_no_link
        stream = open(path, mode, opener=opener)  # noqa: SIM115  (closed below)
    except (OSError, ValueError, TypeError) as error:
        raise BadStdStreamFile(
            f"{name}= of bash app {app!r}, {spec!r}, cannot be opened: {error}"
        ) from error
    with stream:
        yield stream


def _detail(code: int, stderr: Any) -> str:
    """Return how the command has ended, and the end of its standard error."""
    parts = []
    if code < 0:
        with contextlib.suppress(ValueError):
            parts.append(f"killed by {signal.Signals(-code).name}")
    if stderr is not None:
        path = Path(stderr[0] if isinstance(stderr, tuple) else stderr)
        with contextlib.suppress(OSError):
            with path.open("rb") as stream:
                stream.seek(max(0, path.stat().st_size - _TAIL))
                tail = stream.read().decode(errors="replace").strip()
            parts.append(f"see {path}" + (f", which ends:\n{tail}" if tail else ""))
    return "; ".join(parts)
