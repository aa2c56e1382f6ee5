"""``jackfield runs``: which runs there were, how they are, and what they wrote."""

from __future__ import annotations

import json
import shlex
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from jackfield import TaskState, hookimpl
from jackfield.errors import JackfieldError
from jackfield.states import told_once
from jackfield_monitoring import runs as finding
from jackfield_monitoring.runs import Run, RunError
from jackfield_monitoring.store.schema import FILE_NAME as STORE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

JACKFIELD_API = ">=1,<2"

RERUNS_SHOWN: Final = 5

FOLLOW_S: Final = 0.2
"""Seconds between two looks at a log that is followed."""

COLOURS: Final = {"running": "cyan", "done": "green", "failed": "red", "lost": "yellow"}
"""Of a state on a terminal that shows colours; ``click`` leaves them out elsewhere."""


dir_option: Final = click.option(
    "--dir", "parent", metavar="DIR", type=click.Path(file_okay=False, path_type=Path),
    help="The directory of runs. [default: run_dir of the configuration]",
)  # fmt: skip
"""Of each command that looks at runs, behind its name."""

run_argument: Final = click.argument("name", metavar="[RUN]", default="last")
"""Of each command that looks at one run; ``finding.find`` takes what it gets."""


_TOLD: Final = (
    TaskState.MEMOIZED,
    TaskState.FAILED,
    TaskState.DEPENDENCY_FAILED,
    TaskState.CANCELLED,
)
"""States of which a line on a run tells the numbers."""


@click.group(invoke_without_command=True)
@click.pass_context
def runs(context: click.Context) -> None:
    """List runs, and look at them.

    They may go on, have ended, or have been killed; without a command they are listed.
    RUN is a number, a path, the beginning of a run's id, or `last`. All is read from
    the directories of the runs; nothing is asked of their programs.
    """
    if context.invoked_subcommand is None:
        context.invoke(ls, parent=None, limit=None, as_json=False)


@hookimpl
def jackfield_register_commands(cli: click.Group) -> None:
    """Add ``jackfield runs``."""
    cli.add_command(runs)


_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@runs.command()
@click.option("--limit", type=click.IntRange(1), help="Print so many of the newest.")
@_json_option
@dir_option
def ls(parent: Path | None, limit: int | None, as_json: bool) -> None:
    """List runs, the newest last."""
    with telling():
        found = finding.runs_in(parent_of(parent))[-(limit or 0) :]
    if as_json:
        click.echo(json.dumps([_described(run) for run in found], indent=2))
    elif found:
        _print_table(found)
    else:
        click.echo(f"There are no runs in {parent_of(parent).absolute()} yet.")


@runs.command()
@run_argument
@click.option("--task", type=click.IntRange(0), help="Show this task instead.")
@_json_option
@dir_option
def show(parent: Path | None, name: str, task: int | None, as_json: bool) -> None:
    """Show what RUN is: how it goes, what failed, what ran and where.

    With --task, show what a single task did and said, from the history that `jackfield
    run` keeps.
    """
    with telling():
        run = finding.find(name, parent_of(parent))
    if task is not None:
        if as_json:
            raise click.UsageError("--task and --json do not go together.")
        from jackfield_monitoring.one_task import shown

        for line in shown(run, task):
            click.echo(line)
    elif as_json:
        click.echo(json.dumps(_described(run), indent=2))
    else:
        for line in _shown(run):
            click.echo(line)


@runs.command()
@run_argument
@click.option(
    "-n", "--lines", type=click.IntRange(0), default=20, show_default=True,
    help="So many of the last lines.",
)  # fmt: skip
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended.")
@dir_option
def tail(parent: Path | None, name: str, lines: int, follow: bool) -> None:
    """Print the end of RUN's log."""
    with telling():
        run = finding.find(name, parent_of(parent))
        for line in finding.tail(run, lines, FOLLOW_S if follow else None):
            click.echo(plain(line.rstrip("\n")))


@runs.command()
@click.argument("names", metavar="RUN...", nargs=-1)
@click.option("--older-than", type=float, metavar="DAYS", help="All that began before.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@dir_option
def rm(
    parent: Path | None, names: Sequence[str], older_than: float | None, yes: bool
) -> None:
    """Remove runs, with their logs and all that they keep. Running ones stay.

    Results that a run has stored in its own directory are lost with it.
    """
    if bool(names) == (older_than is not None):
        raise click.UsageError("Name runs, or say --older-than DAYS.")
    with telling():
        place = parent_of(parent)
        if older_than is None:
            chosen = [finding.find(name, place) for name in names]
        else:
            limit = time.time() - older_than * 86_400
            chosen = [
                run
                for run in finding.runs_in(place)
                if run.began < limit and run.state != "running"
            ]
        for run in chosen:
            click.echo(_row(run))
        if not chosen:
            click.echo("There is nothing to remove.")
        elif yes or click.confirm(f"Remove {_these(len(chosen))} for ever?"):
            for run in chosen:
                finding.remove(run)


def _these(number: int) -> str:
    return "this run" if number == 1 else f"these {number} runs"


# -- Where, and what is wrong


def parent_of(given: Path | None) -> Path:
    """Return the directory of runs: the one that is given or configured."""
    if given is not None:
        return given
    from jackfield.plugins import PluginManager

    return Path(PluginManager().find_configuration().config.run_dir)


@contextmanager
def telling(*more: type[Exception]) -> Iterator[None]:
    """Print an error that has a text of its own as that text; ``more`` are such."""
    told: tuple[type[Exception], ...] = (RunError, JackfieldError, *more)
    try:
        yield
    except told as error:
        raise click.ClickException(plain(str(error))) from error


# -- Showing


def plain(text: str) -> str:
    """Return text with nothing in it that could command a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _described(run: Run) -> dict[str, Any]:
    """Return what JSON is to hold: the record, and what is found out now."""
    told: dict[str, Any] = {"path": str(run.path.absolute()), **run.record}
    told["state"] = run.state
    if run.problem:
        told["problem"] = run.problem
    return told


def _print_table(found: Iterable[Run]) -> None:
    rows = list(found)
    width = max(len(run.path.name) for run in rows)
    tasks = max(len(_tasks(run)) for run in rows)
    for run in rows:
        click.echo(_row(run, width, tasks))


def _row(run: Run, width: int = 0, tasks: int = 0) -> str:
    began = time.strftime("%F %T", time.localtime(run.began))
    state = click.style(f"{run.state:7}", fg=COLOURS.get(run.state))
    return (
        f"{run.path.name:{width}}  {state}  {began}  {_elapsed(run):>8}  "
        f"{_tasks(run):{tasks}}  {plain(_script(run))}"
    ).rstrip()


def _elapsed(run: Run) -> str:
    seconds = run.elapsed
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02} min"


def _tasks(run: Run) -> str:
    """Tell the number of tasks, and of those whose function has not succeeded."""
    if not run.record:
        return ""
    total = sum(run.counts.values())
    told = [f"{total:,} task{'' if total == 1 else 's'}"]
    for state in _TOLD:
        number = run.counts.get(state.value, 0)
        told += [f"{number:,} {state.value}"] if number else []
    return ", ".join(told)


def _script(run: Run) -> str:
    """Return the command line as people would write it, without Python's own path."""
    first, *others = run.argv or [""]
    return shlex.join([Path(first).name, *others]) if first else ""


def _shown(run: Run) -> Iterator[str]:
    yield f"Run {run.path.name}: {click.style(run.state, fg=COLOURS.get(run.state))}"
    if run.problem:
        yield f"  {plain(run.problem)}"
    if run.state == "lost":
        yield "  Its program is gone, and did not say goodbye: it was killed, or the"
        yield "  machine stopped. The counts are those that it wrote last."
    for heading, text in _facts(run):
        if text:
            yield f"  {heading:10}{plain(text)}"
    failures = told_once(run.failures, run.counts.get("failed", 0))
    for failure in failures if run.failures else ():
        yield f"  {click.style('failed', fg='red')}    {plain(failure)}"
    reruns = finding.reruns_of(run)
    for one in reruns[:RERUNS_SHOWN]:
        yield f"  run again {plain(f'task {one.task} ({one.app}): {one.reason}')}"
    more = len(reruns) - RERUNS_SHOWN
    if more > 0:
        yield f"            ... and {more:,} more"


def _facts(run: Run) -> Iterator[tuple[str, str]]:
    program, code = run.table("program"), run.table("code")
    yield "id", run.id
    yield "directory", str(run.path.absolute())
    yield "began", time.strftime("%F %T", time.localtime(run.began))
    yield "took", _elapsed(run)
    counts = run.counts.items()
    yield "tasks", ", ".join(f"{count:,} {state}" for state, count in counts)
    yield "command", _script(run)
    yield "in", run.text("program", "cwd")
    user, host = run.text("program", "user"), run.text("program", "host")
    if host:
        yield "by", f"{user}@{host}, process {program.get('pid')}"
    changed = ", with changes" if code.get("dirty") is True else ""
    if run.text("code", "commit"):
        yield "commit", f"{run.text('code', 'commit')}{changed} in {code.get('root')}"
    yield "python", run.text("program", "python")
    yield "log", str((run.path / finding.LOG_NAME).absolute())
    page = shlex.join(["jackfield", "report", str(run.path.absolute())])
    yield "page", page if (run.path / STORE).exists() else ""
