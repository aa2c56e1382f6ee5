"""``jackfield export``: a run's history for other programs."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import click

from jackfield import hookimpl
from jackfield.errors import printable
from jackfield_monitoring import runs as finding
from jackfield_monitoring.commands import dir_option, parent_of, run_argument, telling
from jackfield_monitoring.export import as_csv, as_parquet, as_trace
from jackfield_monitoring.store.reader import Store, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

JACKFIELD_API = ">=1,<2"

Format: TypeAlias = Literal["trace", "csv", "parquet"]


@click.command()
@run_argument
@click.option(
    "--format", "form", type=click.Choice(["trace", "csv", "parquet"]), required=True,
    help="A trace for Perfetto, or tables.",
)  # fmt: skip
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="PATH",
    help="Where to write. [default: run-NNN... in this directory]",
)  # fmt: skip
@dir_option
def export(name: str, form: Format, output: Path | None, parent: Path | None) -> None:
    """Write RUN's history for other programs.

    RUN is a number, a path, the beginning of a run's id, or `last`; it may still go on.

    trace: one file for ui.perfetto.dev or chrome://tracing; with gzip if PATH ends with
    .gz. csv and parquet: a directory with a file for each table; csv also as a zip
    file, if PATH ends with .zip.
    """
    with telling(StoreError, ImportError, OSError):
        run = finding.find(name, parent_of(parent))
        suffix = ".trace.json.gz" if form == "trace" else f"-{form}"
        path = output or Path(f"run-{run.path.resolve().name}{suffix}")
        with Store(run.path) as store, store.computing():
            _write(store, form, path)
    click.echo(f"Written: {printable(str(path))}")


@hookimpl
def jackfield_register_commands(cli: click.Group) -> None:
    """Add ``jackfield export``."""
    cli.add_command(export)


def _write(store: Store, form: Format, path: Path) -> None:
    if form == "trace":
        with _new_file(path) as file:
            as_trace.write(store, file, compressed=path.suffix == ".gz")
    elif form == "csv" and path.suffix == ".zip":
        with _new_file(path) as file:
            as_csv.write_zip(store, file)
    elif form == "csv":
        _make_directory(path)
        as_csv.write_directory(store, path)
    else:
        as_parquet.check()
        _make_directory(path)
        as_parquet.write(store, path)


def _make_directory(path: Path) -> None:
    """Make a directory, or take an empty one; others' files are not mixed with ours."""
    path.mkdir(parents=True, exist_ok=True)
    if any(path.iterdir()):
        raise click.ClickException(f"{path} is not empty; name another with -o.")


@contextmanager
def _new_file(path: Path) -> Iterator[Path]:
    """Give a name to write to; the file takes its place when it is complete.

    A device or a pipe (``/dev/stdout``) is written into, not replaced.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    made, new = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(made)
    try:
        yield Path(new)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(new, 0o666 & ~mask)  # noqa: PTH101  (a name is at hand)
        os.replace(new, path)  # noqa: PTH105
    except BaseException:
        os.unlink(new)  # noqa: PTH108
        raise
