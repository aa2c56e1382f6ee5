"""``jackfield run``: a script, its configuration chosen from outside, and a summary."""

from __future__ import annotations

import builtins
import io
import os
import signal
import sys
from contextlib import suppress
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import click

from jackfield import hookimpl
from jackfield.errors import JackfieldError, NoDataFlowKernelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType, TracebackType

    from jackfield import DataFlowKernel, Summary

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the signal's number, as shells count."""

TERMINATED = 143
"""Exit code after SIGTERM, counted the same way."""

SHOWN_FAILURES = 5


class _Terminated(KeyboardInterrupt):
    """Raised in the main thread by SIGTERM, which ends a run as Ctrl-C does."""


class _Kernels:
    """A plugin that remembers the kernels that start."""

    def __init__(self) -> None:
        self.started: list[DataFlowKernel] = []

    @hookimpl
    def jackfield_kernel_started(self, kernel: DataFlowKernel) -> None:
        self.started.append(kernel)
        kernel.tell_no_failures()  # the summary has them


@click.command(context_settings={"allow_interspersed_args": False})
@click.option("--profile", metavar="NAME", help="Use this profile.")
@click.option(
    "--config",
    "file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Read this file instead of searching for one.",
)
@click.option(
    "--set", "assign", metavar="KEY=VALUE", multiple=True, help="Set one key."
)
@click.option(
    "--no-plugin", "blocked", metavar="NAME", multiple=True, help="Keep a plugin out."
)
@click.option("--load", is_flag=True, help="Load a kernel before the script runs.")
@click.argument("script", type=click.Path(exists=True, dir_okay=False))
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def run(
    *,
    profile: str | None,
    file: Path | None,
    assign: Sequence[str],
    blocked: Sequence[str],
    load: bool,
    script: str,
    args: Sequence[str],
) -> None:
    """Run SCRIPT with ARGS, as Python itself would, and sum up its tasks.

    The kernels that the script loads are configured by the options given here: its
    load() uses FILE and the profile, and every kernel gets the values that are set.
    With --load, one kernel is loaded first, for a script that loads none of its
    own.

    Exit code: the script's own; 1 if it raised or a task failed; 130 on Ctrl-C, 143 on
    SIGTERM.
    """
    from jackfield.config import set_default_source
    from jackfield.plugins.selection import VARIABLE, blocking

    kernels = _Kernels()
    try:
        set_default_source(file, profile=profile, assign=assign, plugins=[kernels])
    except JackfieldError as error:
        raise click.ClickException(str(error)) from error
    if blocked:
        os.environ[VARIABLE] = blocking(os.environ.get(VARIABLE), blocked)
    module = _become_main(script, args)
    signal.signal(signal.SIGTERM, _terminate)
    if load:
        _load()
    code = _execute(module, kernels)
    failed = _sum_up(kernels.started)
    sys.exit(code or int(failed))


@hookimpl
def jackfield_register_commands(cli: click.Group) -> None:
    """Add ``jackfield run``."""
    cli.add_command(run)


def _load() -> None:
    import jackfield

    try:
        jackfield.load()
    except JackfieldError as error:
        raise click.ClickException(str(error)) from error


# -- The script ---------------------------------------------------------------------


def _execute(module: ModuleType, kernels: _Kernels) -> int:
    """Run the script, end the kernels it leaves behind, and return its exit code.

    Kernels end while the script is still the ``__main__`` module: results of their
    last tasks may be of its classes. ``runpy`` would have put the old one back.
    """
    try:
        error = _run_code(module)
        code = _report(error)
        _end(kernels, error if code else None)  # sys.exit(0) is a good end
    except KeyboardInterrupt as interrupt:
        code = _report(interrupt)
        _end(kernels, interrupt)
    return code


def _end(kernels: _Kernels, cause: BaseException | None) -> None:
    """End the kernels that are still open, as leaving ``with load():`` does."""
    for kernel in reversed(kernels.started):
        kernel.__exit__(type(cause) if cause else None, cause, None)


def _become_main(script: str, args: Sequence[str]) -> ModuleType:
    """Make this process look as Python makes it look to a script.

    Nothing is put back: threads of the script may outlive its last line.
    """
    path = str(Path(script).absolute())
    module = ModuleType("__main__")
    module.__file__ = path
    module.__loader__ = SourceFileLoader("__main__", path)
    module.__dict__["__builtins__"] = builtins
    sys.modules["__main__"] = module
    sys.argv[:] = [script, *args]
    if not sys.flags.safe_path:
        sys.path[0] = str(Path(script).resolve().parent)
    return module


def _run_code(module: ModuleType) -> BaseException | None:
    """Run a module's file as that module's code.

    Returns:
        What it raised, or ``None``.

    Raises:
        KeyboardInterrupt: Ctrl-C and SIGTERM go through.
    """
    assert module.__file__
    try:
        with io.open_code(module.__file__) as source:
            code = compile(source.read(), module.__file__, "exec", dont_inherit=True)
        exec(code, module.__dict__)  # noqa: S102  (to run it is what we are for)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return error
    return None


def _report(error: BaseException | None) -> int:
    """Print how the script ended, as Python does; return the exit code."""
    match error:
        case None:
            return 0
        case SystemExit():
            return _exit_code(error.code)
        case KeyboardInterrupt():
            signal.signal(signal.SIGINT, _leave)
            terminated = isinstance(error, _Terminated)
            click.echo("Terminated." if terminated else "Interrupted.", err=True)
            return TERMINATED if terminated else INTERRUPTED
    error.__traceback__ = _without_our_frames(error.__traceback__)
    sys.excepthook(type(error), error, error.__traceback__)
    if isinstance(error, NoDataFlowKernelError):
        click.echo("With `jackfield run --load`, one is loaded first.", err=True)
    return 1


def _terminate(number: int, frame: FrameType | None) -> None:
    """Raise what ends the run; batch schedulers send SIGTERM before they kill."""
    del number, frame
    raise _Terminated


def _leave(number: int, frame: FrameType | None) -> None:
    """Leave at once: the second Ctrl-C waits for no task, thread or lock."""
    del number, frame
    with suppress(RuntimeError):  # the interrupted code may be writing itself
        sys.stdout.flush()
    os._exit(INTERRUPTED)


def _exit_code(code: object) -> int:
    if code is None or isinstance(code, int):
        return code or 0
    click.echo(str(code), err=True)
    return 1


def _without_our_frames(trace: TracebackType | None) -> TracebackType | None:
    while trace and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return trace


# -- The summary --------------------------------------------------------------------


def _sum_up(kernels: Sequence[DataFlowKernel]) -> bool:
    """Print what became of the tasks, and return whether one failed."""
    summaries = [kernel.summary() for kernel in kernels]
    for summary in summaries:
        for line in _lines(summary):
            click.echo(line, err=True)
    if not summaries:
        click.echo("No kernel was loaded.", err=True)
    return any(summary.failed for summary in summaries)


def _lines(summary: Summary) -> Iterator[str]:
    tasks = sum(summary.counts.values())
    states = [
        f"{count} {state.value}" for state, count in summary.counts.items() if count
    ]
    told = ": " + ", ".join(states) if states else ""
    noun = "task" if tasks == 1 else "tasks"
    yield f"{tasks} {noun} in {summary.elapsed:.1f} s{told}. Run: {summary.run_dir}"
    failures = summary.failures[:SHOWN_FAILURES]
    yield from (f"  {failure}" for failure in failures)
    if summary.failed > len(failures):
        yield f"  ... and {summary.failed - len(failures)} more failures"
