"""Running a bash app's command, where the executor calls it."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from jackfield import hookimpl
from jackfield.abc import Command
from jackfield.errors import (
    AppTimeout,
    BashAppError,
    BashAppNoReturn,
    BashExitFailure,
    KernelClosedError,
    MissingOutputs,
)
from jackfield.files import CALLED_IN, KEPT_STDERR, NO_NAME, lack_of
from jackfield_bash.process import (
    arguments_of,
    end,
    ends_within,
    file_for_code,
    said,
    start,
)
from jackfield_bash.streams import at, detail_of, is_one_file, kept_at, opened
from jackfield_system import programs

if TYPE_CHECKING:
    import subprocess


@hookimpl
def jackfield_create_command(function: Callable[..., Any], name: str) -> Command:
    """Run what the function returns in bash."""
    return BashCommand(function, name)


class BashCommand(Command):
    """The function of a bash app's tasks.

    ``function``, the app's, returns the command line; ``name`` is the app's name.
    """

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self.function: Callable[..., Any] = function
        self.name: str = name

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

        What the kernel reads is given on to the function if it has such parameters.

        Raises:
            BashAppNoReturn: The function has not returned a command line.
            BashAppError: The command line has a NUL, or what is no character.
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
        out, err = at(directory, stdout), at(directory, stderr)
        with kept_at(kept if err is None else None) as path:
            err = err if path is None else Path(path)
            try:
                self._run(command, out, err, walltime, directory, ends)
                self._look_for(outputs)
            except (AppTimeout, MissingOutputs) as error:
                error.add_note(detail_of(0, command, err, 0))
                raise
        return 0

    def _look_for(self, outputs: Any) -> None:
        lacks = [lack_of(os.fspath(file)) for file in outputs or ()]
        missing = tuple(filter(None, lacks))
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
            more = "; is a `return` missing?" if command is None else "."
            raise BashAppNoReturn(
                f"bash app {self.name!r} returned {type(command).__name__}; expected "
                f"the command line, a str{more}"
            )
        if found := NO_NAME.search(command):
            what = "NUL" if found[0] == "\0" else "surrogate"
            raise BashAppError(
                f"bash app {self.name!r} returned a command line that holds a {what} "
                f"at character {found.start()}, which no program can be given"
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
        one = is_one_file(stdout, stderr)
        with (
            opened("stdout", stdout, self.name) as out,
            opened("stderr", None if one else stderr, self.name) as err,
            arguments_of(command) as (arguments, fds),
            file_for_code() as file,
        ):
            before = 0 if err is None else os.fstat(err.fileno()).st_size
            streams = out, out if one else err
            begin = partial(start, arguments, streams, fds, file, directory, ends)
            code = self._code(begin, file, walltime, ends)
        if code != 0:
            exitcode = code if code > 0 else 128 - code
            detail = detail_of(code, command, stderr, before)
            raise BashExitFailure(self.name, exitcode, detail, command)

    def _code(
        self,
        begin: Callable[[], subprocess.Popen[bytes]],
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
        process = begin()
        try:
            if programs.ends != ends:
                raise KernelClosedError(f"{self.name!r} is cut short by its run")
            if not ends_within(process, walltime):
                raise AppTimeout(self.name, walltime or 0.0)
        finally:
            code = end(process)
        if file is None and code is not None:
            return code
        told = said(file)
        if told is None:
            raise BashAppError(
                f"bash app {self.name!r} has ended, but its exit code is lost, so that "
                f"nobody knows whether it was a success. Something in process "
                f"{os.getpid()} has reaped the command: os.wait(), os.waitpid(-1, ...) "
                f"or a handler of SIGCHLD. Have that wait for its own children only."
            )
        return told
