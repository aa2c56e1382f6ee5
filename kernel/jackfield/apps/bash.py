"""Running a bash app's command, in the thread or process where the executor calls it.

Each command has a process group and a mark of its own (see ``programs``), so that at
its walltime, and at the end of the program, it is killed together with all that it has
started.

*Process ids.* Until a command is reaped, its id is its own; afterwards it may be that
of a foreign process. The thread that runs the command kills it before it reaps it. At
the program's end another thread kills what is in ``_running``, with ``_lock`` held; so
a command leaves ``_running``, under that lock, before it is reaped.
"""

from __future__ import annotations

import atexit
import contextlib
import inspect
import math
import os
import select
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Lock
from typing import IO, TYPE_CHECKING, Any, Final

from jackfield import programs
from jackfield.errors import (
    AppTimeout,
    BadStdStreamFile,
    BashAppError,
    BashAppNoReturn,
    BashExitFailure,
    KernelClosedError,
    MissingOutputs,
    printable,
)
from jackfield.files import CALLED_IN, open_no_link
from jackfield.graph.calls import KEPT_STDERR, shown_command
from jackfield.staging.names import without_credentials

if TYPE_CHECKING:
    import subprocess

SHELL: Final = "/bin/bash"

_running: Final[dict[subprocess.Popen[bytes], str]] = {}
"""The commands of this process that are not reaped, with their marks."""

_lock: Lock = Lock()
"""Held to kill a command, and to take one out of ``_running``."""

_codes_get_lost: bool = False
"""Whether some code in this process has reaped a command before this module could."""

_LONGEST_MS: Final = 2e9
"""The longest time that ``poll`` can wait, some weeks. Longer walltimes are none."""

_LONGEST_ARGUMENT: Final = 131_071
"""Bytes of one argument of a program, at most; Linux counts a NUL at its end, too."""

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
        ends = programs.ends
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
        kept = kwargs.pop(KEPT_STDERR, None)
        command = self._command(args, kwargs, read)
        out, err = _at(directory, stdout), _at(directory, stderr)
        with _kept(kept if err is None else None) as path:
            err = err if path is None else Path(path)
            try:
                self._run(command, out, err, walltime, directory, ends)
                self._look_for(outputs)
            except (AppTimeout, MissingOutputs) as error:
                error.add_note(_detail(0, command, err, 0))
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
        self,
        command: str,
        stdout: Any,
        stderr: Any,
        walltime: float | None,
        directory: str,
        ends: int,
    ) -> None:
        one = _is_one_file(stdout, stderr)
        with (
            _opened("stdout", stdout, self.name) as out,
            _opened("stderr", None if one else stderr, self.name) as err,
            _arguments(command) as (arguments, fds),
            _file_for_code() as file,
        ):
            begin = 0 if err is None else os.fstat(err.fileno()).st_size
            streams = out, out if one else err
            start = partial(_start, arguments, streams, fds, file, directory, ends)
            code = self._code(start, file, walltime, ends)
        if code != 0:
            exitcode = code if code > 0 else 128 - code
            detail = _detail(code, command, stderr, begin)
            raise BashExitFailure(self.name, exitcode, detail, command)

    def _code(
        self,
        start: Callable[[], subprocess.Popen[bytes]],
        file: IO[bytes] | None,
        walltime: float | None,
        ends: int,
    ) -> int:
        """Run the command and return its exit code; the command has ended then.

        So it has when an exception comes instead, be it raised in this thread from
        outside, as by a walltime or Ctrl-C.

        If runs have ended here more often than ``ends``, which was counted when the
        task began, one of them was the task's: its thread was given up.
        """
        process = start()
        known = False
        try:
            if programs.ends != ends:
                raise KernelClosedError(f"{self.name!r} is cut short by its run")
            if not _ends_within(process, walltime):
                raise AppTimeout(self.name, walltime or 0.0)
            known = _is_ours(process)
        finally:
            _end(process)
        if file is None and known:
            return int(process.returncode)
        said = _said(file)
        if said is None:
            raise BashAppError(
                f"bash app {self.name!r} has ended, but its exit code is lost, so that "
                f"nobody knows whether it was a success. Something in process "
                f"{os.getpid()} has reaped the command: os.wait(), os.waitpid(-1, ...) "
                f"or a handler of SIGCHLD. Have that wait for its own children only."
            )
        return said


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


@contextmanager
def _file_for_code() -> Iterator[IO[bytes] | None]:
    """Give a file for an exit code, where the code cannot be had by waiting for it.

    Where SIGCHLD is ignored, which a parent can hand on, the system throws it away.
    """
    ignored = signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
    if not (ignored or _codes_get_lost):
        yield None
        return
    import tempfile  # it imports much, and few need it

    with tempfile.TemporaryFile() as file:
        yield file


def _said(file: IO[bytes] | None) -> int | None:
    """Return the exit code that a file holds; ``None`` if there is none."""
    global _codes_get_lost  # noqa: PLW0603  (what is true of this process)
    if file is None:
        _codes_get_lost = True  # the next commands, as retries, use a file
        return None
    file.seek(0)
    code = file.read()
    return int(code) if code else None


def _start(
    arguments: list[str],
    streams: tuple[Any, Any],
    fds: tuple[int, ...],
    file: IO[bytes] | None,
    directory: str,
    ends: int,
) -> subprocess.Popen[bytes]:
    """Start a command in its own process group, to be killed with all it starts.

    With a file, a shell around that of the command writes the exit code there.
    """
    import subprocess

    if file is not None:
        fd = file.fileno()
        around = f'"$@" {fd}>&-; printf %d $? >&{fd}'
        arguments, fds = [SHELL, "-c", around, SHELL, *arguments], (*fds, fd)
    mark, environment = programs.environment(ends)
    process = subprocess.Popen(
        arguments,
        cwd=directory or None,
        stdin=subprocess.DEVNULL,
        stdout=streams[0],
        stderr=streams[1],
        env=without_credentials(environment),
        process_group=0,
        pass_fds=fds,
    )
    _running[process] = mark
    return process


def _ends_within(process: subprocess.Popen[bytes], limit: float | None) -> bool:
    """Wait until a command has ended, and do not reap it; false if it goes on."""
    import subprocess

    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:  # somebody else has reaped it
        return True
    except (AttributeError, OSError):  # not on this system, or no descriptor is left
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            return False
        return True
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        limit = math.inf if limit is None else limit * 1000.0
        return bool(poll.poll(limit if limit < _LONGEST_MS else None))
    finally:
        os.close(fd)


def _is_ours(process: subprocess.Popen[bytes]) -> bool:
    """Tell whether a command's exit code is known, or is kept for us to reap."""
    if process.returncode is not None:
        return True
    try:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _end(process: subprocess.Popen[bytes]) -> None:
    """Reap a command; kill it first, with all that it has started, if it still runs."""
    if process.returncode is None and not _ends_within(process, 0.0):
        _kill(process, _running[process])
    with _lock:
        del _running[process]
    process.wait()


def _kill_running() -> None:
    """Kill commands at the program's end: the threads that would may be gone."""
    with _lock:
        for process, mark in list(_running.items()):
            _kill(process, mark)


atexit.register(_kill_running)


def _forget() -> None:
    """In a forked child, the commands are the parent's and must not be killed."""
    global _lock  # noqa: PLW0603  (a thread of the parent may have held it)
    _lock = Lock()
    _running.clear()


os.register_at_fork(after_in_child=_forget)


def _kill(process: subprocess.Popen[bytes], mark: str) -> None:
    """Kill a command, if it is not reaped, and all that it has started."""
    if process.returncode is None and _is_ours(process):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    programs.kill_marked(mark)


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
