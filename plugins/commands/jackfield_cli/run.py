"""``jackfield run``: a script, its configuration chosen from outside, and a summary."""

from __future__ import annotations

import os
import runpy
import shlex
import signal
import sys
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from jackfield import hookimpl
from jackfield.errors import JackfieldError, NoDataFlowKernelError
from jackfield_cli._exits import ExitFunctions
from jackfield_cli._options import config_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType, TracebackType

    from jackfield import DataFlowKernel
    from jackfield_cli._program import Program

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the signal's number, as shells count."""

TERMINATED = 143
"""Exit code after SIGTERM, counted the same way."""

PROGRESS = "progress"
"""The monitor that is used where people look on."""

STORE = "sqlite"
"""The monitor that is used unless a configuration says otherwise."""

HISTORY = "monitor.db"
"""The file in a run's directory of which a report is made."""

ALONE = frozenset({"--load", "--no-progress", "--no-monitor", "--help"})
"""The options that take no value."""


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


class _Run(click.Command):
    """A command that leaves all behind ``-m MODULE`` to the module, as Python does."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = 0
        while at < len(args) and args[at].startswith("-") and args[at] not in "--":
            if args[at].startswith("-m"):
                end = at + (2 if args[at] == "-m" else 1)
                args = [*args[:end], "--", *args[end:]]
                break
            alone = "=" in args[at] or args[at] in ALONE
            at += 1 if alone else 2
        return super().parse_args(ctx, args)


@click.command(cls=_Run, context_settings={"allow_interspersed_args": False})
@click.option("--profile", metavar="NAME", help="Use this profile.")
@config_file
@click.option(
    "--set", "assign", metavar="KEY=VALUE", multiple=True, help="Set one key."
)
@click.option(
    "--no-plugin", "blocked", metavar="NAME", multiple=True, help="Keep a plugin out."
)
@click.option("--no-progress", is_flag=True, help="Do not show how the run gets on.")
@click.option("--load", is_flag=True, help="Load a kernel before the script runs.")
@click.option("--no-monitor", is_flag=True, help="Keep no history of its runs.")
@click.option("-m", "module", metavar="MODULE", help="Run a module, as python -m does.")
@click.argument("args", metavar="SCRIPT [ARGS]...", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def run(
    ctx: click.Context,
    *,
    profile: str | None,
    file: Path | None,
    assign: Sequence[str],
    blocked: Sequence[str],
    no_progress: bool,
    load: bool,
    no_monitor: bool,
    module: str | None,
    args: Sequence[str],
) -> None:
    """Run SCRIPT with ARGS, and sum up its tasks.

    It is run as Python itself would. SCRIPT is a file, a directory or zip file with a
    __main__.py, or - for standard input. The kernels that it loads are configured by
    the options given here: its load() uses FILE and the profile, and every kernel gets
    the values that are set. With --load, one kernel is loaded first, for a script that
    loads none of its own. On a terminal it is shown how the tasks get on. A run's
    history is kept in monitor.db in its directory, unless the configuration says what
    is to follow it.

    Exit code: the script's own; 1 if it raised or a task failed; 130 on Ctrl-C, 143 on
    SIGTERM.
    """
    from jackfield.config import set_default_source
    from jackfield.plugins.selection import VARIABLE, blocking
    from jackfield_cli import _program

    program: _program.Program = (
        _program.Module(module, args) if module else _script(ctx, args)
    )
    kernels = _Kernels()
    chosen = partial(set_default_source, file, profile=profile, plugins=[kernels])
    try:
        chosen(assign=assign)
    except JackfieldError as error:
        raise click.ClickException(str(error)) from error
    if blocked:
        os.environ[VARIABLE] = blocking(os.environ.get(VARIABLE), blocked)
    shown = sys.stderr.isatty() and not no_progress and _usable(PROGRESS)
    progress = [f"monitors.{PROGRESS}.plugin={PROGRESS}"] if shown else []
    kept = not no_monitor and _usable(STORE)
    table = [f"monitors.db.plugin={STORE}", "monitors.db.complete=true"]
    history = table if kept else []
    chosen(assign=[*progress, *assign], defaults=history)
    program.become_main()
    signal.signal(signal.SIGTERM, _terminate)
    if load:
        _load()
    code = _execute(program, kernels)
    failed = _sum_up(kernels.started)
    sys.exit(code or int(failed))


def _script(ctx: click.Context, args: Sequence[str]) -> Program:
    """Return what the first argument names: a file, a directory, standard input."""
    from jackfield_cli import _program

    if not args:
        raise click.UsageError("Missing argument 'SCRIPT'.", ctx)
    name = click.Path(exists=True, allow_dash=True).convert(args[0], None, ctx)
    return _program.of_path(str(name), args[1:])


def _usable(monitor: str) -> bool:
    """Tell whether a monitor is installed and not blocked."""
    from jackfield.plugins import PluginManager
    from jackfield.plugins.scan import find_entry_points
    from jackfield.plugins.selection import read_selection

    block: Sequence[str] = ()
    with suppress(JackfieldError):  # it is told when a kernel is loaded
        block = PluginManager().find_configuration().config.block_plugins
    selection = read_selection(block=block)
    return any(
        one.kind == "monitor" and one.name == monitor and not selection.refusal(one)
        for one in find_entry_points()
    )


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


class _End:
    """Ends the kernels that a script leaves open, as leaving ``with load():`` does."""

    def __init__(self, kernels: _Kernels) -> None:
        self.code: int = 0
        self.cause: BaseException | None = None
        self._kernels: _Kernels = kernels

    def wait(self) -> None:
        """Wait for the tasks that there are, if the kernels' end would."""
        for kernel in self._kernels.started:
            if self.cause is None and kernel.config.exit_mode == "wait":
                kernel.wait_for_current_tasks()

    def end(self) -> None:
        """End them; a Ctrl-C meanwhile cancels what has not begun."""
        try:
            self._end()
        except KeyboardInterrupt as interrupt:
            self.interrupt(interrupt)

    def interrupt(self, interrupt: KeyboardInterrupt) -> None:
        """End them now, with what has not begun cancelled."""
        self.code, self.cause = _report(interrupt), interrupt
        self._end()

    def _end(self) -> None:
        cause = self.cause
        for kernel in reversed(self._kernels.started):
            kernel.__exit__(type(cause) if cause else None, cause, None)


def _execute(program: Program, kernels: _Kernels) -> int:
    """Run the script, and what it leaves behind; return its exit code.

    Threads that are no daemons are waited for, then tasks, then the script's exit
    functions run, then the kernels end. All that is while the script is still the
    ``__main__`` module, because results of the last tasks may be of its classes, and
    before the interpreter ends, because from then on no thread can be started.
    """
    end, main_ended = _End(kernels), _main_thread_seems_to_end()
    functions = ExitFunctions()
    try:
        error = _run_code(program)
        end.code = _report(error)
        end.cause = error if end.code else None  # sys.exit(0) is a good end
        main_ended.set()
        _wait_for_threads()
        end.wait()
    except KeyboardInterrupt as interrupt:
        end.interrupt(interrupt)
    functions.run()
    end.end()
    return end.code


def _main_thread_seems_to_end() -> threading.Event:
    """Return an event with which the main thread ends, for those who wait for that.

    Under Python it ends with the script's last line, and threads may watch it, to end
    as well. Here it goes on, to wait for them.
    """
    main, ended = threading.main_thread(), threading.Event()

    def join(timeout: float | None = None) -> None:
        ended.wait(timeout)

    main.join = join  # type: ignore[method-assign]  # of this one thread
    main.is_alive = lambda: not ended.is_set()  # type: ignore[method-assign]  # too
    return ended


def _wait_for_threads() -> None:
    """Wait for the script's threads, as Python does before its exit functions.

    Those of ``concurrent.futures`` never end by themselves, so they are not waited for.
    """
    while True:
        passed = {threading.main_thread(), *_threads_of_pools()}
        threads = (one for one in threading.enumerate() if not one.daemon)
        thread = next((one for one in threads if one not in passed), None)
        if thread is None:
            return
        thread.join()


def _threads_of_pools() -> set[threading.Thread]:
    """Return the threads of ``concurrent.futures``, which has no public way to tell."""
    kept = (("thread", "_threads_queues"), ("process", "_threads_wakeups"))
    return {
        thread
        for module, name in kept
        for thread in getattr(sys.modules.get(f"concurrent.futures.{module}"), name, ())
    }


def _run_code(program: Program) -> BaseException | None:
    """Run a program; return what it raised, or ``None``.

    Raises:
        KeyboardInterrupt: Ctrl-C and SIGTERM go through.
    """
    try:
        program.run()
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
    if sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        os.write(sys.stderr.fileno(), b"\x1b[J")  # progress stands below the cursor
    os._exit(INTERRUPTED)


def _exit_code(code: object) -> int:
    if code is None or isinstance(code, int):
        return code or 0
    click.echo(str(code), err=True)
    return 1


def _without_our_frames(trace: TracebackType | None) -> TracebackType | None:
    from jackfield_cli import _program

    ours = {__file__, _program.__file__, "<frozen runpy>", runpy.__file__}
    while trace and trace.tb_frame.f_code.co_filename in ours:
        trace = trace.tb_next
    return trace


# -- The summary --------------------------------------------------------------------


def _sum_up(kernels: Sequence[DataFlowKernel]) -> bool:
    """Print what became of the tasks, and return whether one failed."""
    summaries = [kernel.summary() for kernel in kernels]
    for summary in summaries:
        click.echo(str(summary), err=True)
        if summary.failed and (summary.run_dir / HISTORY).exists():
            command = shlex.join(["jackfield", "report", str(summary.run_dir)])
            click.echo(f"  All of it, as a page: {command}", err=True)
    if not summaries:
        click.echo("No kernel was loaded.", err=True)
    return any(summary.failed for summary in summaries)
