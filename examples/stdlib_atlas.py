"""Map a Python library: what its modules hold, and which of them the others need.

    python examples/stdlib_atlas.py                    # Python's own standard library
    python examples/stdlib_atlas.py some/sources --output map --trace
    python examples/stdlib_atlas.py --cache            # go on where it was

With ``--cache`` results are kept from one run to the next: a run that was killed goes
on where it was, and one after a file or a function was edited does again what that
changes. At its end it says how many calls of each app were found and how many were run.

Read it from top to bottom: the apps, the workflow that joins them, where they run,
who is told of it, and the command line. What the apps do inside is plain Python and
stands beside this file: ``atlas_source.py`` parses, ``atlas_graph.py`` counts,
``atlas_svg.py`` draws and ``atlas_report.py`` writes.
"""

from __future__ import annotations

import argparse
import platform
import shlex
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import atlas_graph
import atlas_report
import atlas_source
import atlas_svg
from atlas_graph import Graph, Totals
from atlas_source import Module, Source

import jackfield as jf

CORE_SIZE = 40
"""Modules in the picture."""


# -- The apps: calling one makes a task and returns a future --------------------------
#
# An argument may be a future, or a list or a dict with futures in it, to any depth:
# the task waits for them, and the function gets their results.
#
# What ``cache=True`` compares: the function with all that it calls, here and in the
# files beside this one; the arguments; of a ``File``, what is in it. Calls that make
# values are cached, and files are written by calls that are not: somebody may have
# changed them since.


@jf.python_app(executors=["cpu"], cache=True)
def parse(source: Source, file: jf.File) -> Module:
    return atlas_source.read_module(source, file)


@jf.python_app(executors=["cpu"], cache=True)
def sum_up(modules: Any) -> Totals:
    return atlas_graph.sum_up(modules)


@jf.join_app
def map_package(directory: Path, sources: Sequence[Source]) -> dict[str, Any]:
    """Fan out: a task for each file, and one for all of them together.

    A join app ends when the futures that it returns have ended, with their results
    in the same places.
    """
    modules = [parse(source, jf.File(directory / source.path)) for source in sources]
    return {"modules": modules, "totals": sum_up(modules)}


@jf.python_app(executors=["cpu"], cache=True)
def link(packages: Any) -> Graph:
    return atlas_graph.link(all_modules(packages))


@jf.python_app(executors=["cpu"], cache=True)
def list_names(packages: Any) -> str:
    """List each import of the library on a line of its own."""
    library = [m for m in all_modules(packages) if not m.source.is_test]
    names = [atlas_source.full_name(*pair) for m in library for pair in m.imports]
    return "".join(f"{name}\n" for name in names)


@jf.bash_app(executors=["io"])
def count_lines(
    lines: Any,
    outputs: Sequence[jf.File],  # noqa: ARG001  (the kernel looks for them)
    stdout: Any,  # noqa: ARG001  (the kernel sends there what the command prints)
) -> str:
    """Return the command to be run."""
    return (
        "set -o pipefail; export LC_ALL=C; "  # the same order in every language
        f"sort {shlex.quote(str(lines))} | uniq -c | sort -k1,1nr -k2"
    )


@jf.python_app(executors=["cpu"], cache=True)
def draw(title: str, graph: Any) -> str:
    core = {name: n for name, n in list(graph.needed_by.items())[:CORE_SIZE] if n}
    library = f"{len(graph.needed_by):,} (tests left out)"
    subtitle = f"The modules that most others import: {len(core)} of {library}"
    return atlas_svg.draw(title, subtitle, core, graph.edges(core))


@jf.python_app(executors=["cpu"], cache=True)
def report_on(
    title: str,
    left_out: Sequence[str],
    packages: Any,
    graph: Any,
    counts: Any,
    picture: str,
) -> str:
    lines = Path(counts).read_text("utf-8").splitlines()
    counted = [line.split(None, 1) for line in lines]
    return atlas_report.render(
        title,
        left_out,
        all_modules(packages),
        {name: package["totals"] for name, package in packages.items()},
        graph,
        [(int(number), name) for number, name in counted],
        picture,
    )


@jf.python_app(executors=["io"])
def save(text: Any, outputs: Sequence[jf.File]) -> None:
    # Names of files, and so of modules, need not be valid text.
    Path(outputs[0]).write_text(text, encoding="utf-8", errors="backslashreplace")


def all_modules(packages: Mapping[str, Mapping[str, Any]]) -> list[Module]:
    modules = [m for package in packages.values() for m in package["modules"]]
    return sorted(modules, key=lambda module: module.source.path)


# -- The workflow: nothing here waits, except for what the caller asks of the futures --


def map_library(
    title: str,
    directory: Path,
    sources: Sequence[Source],
    left_out: Sequence[str],
    output: Path,
) -> tuple[list[jf.DataFuture], dict[str, jf.AppFuture[Any]]]:
    """Return the futures of the files, the report first, and of the packages."""
    packages = {
        package: map_package(directory, [s for s in sources if s.package == package])
        for package in sorted({s.package for s in sources})
    }
    names = save(list_names(packages), outputs=[jf.File(output / "names.txt")])
    counts = jf.File(output / "counts.txt")
    counted = count_lines(names.outputs[0], outputs=[counts], stdout=(counts, "w"))
    graph = link(packages)
    picture = jf.File(output / "imports.svg")
    drawn = save(draw(title, graph), outputs=[picture])
    report = report_on(
        title, left_out, packages, graph, counted.outputs[0], picture.filename
    )
    saved = save(report, outputs=[jf.File(output / "report.md")])
    return [*saved.outputs, *drawn.outputs], packages


# -- Where the tasks run --------------------------------------------------------------


def own_configuration(output: Path) -> dict[str, Any]:
    """The labels "cpu" and "io" are those that the apps name."""
    return {
        "executors": {
            "cpu": {"plugin": "processes"},  # a worker for each core
            "io": {"plugin": "threads", "workers": 2},
        },
        "run_dir": output / "runs",
    }


class Trace:
    """A plugin: the kernel tells it of every change of a task's state."""

    def __init__(self) -> None:
        self.ended: Counter[tuple[str, str, str]] = Counter()

    @jf.hookimpl
    def jackfield_task_events(self, events: Sequence[jf.TaskEvent]) -> None:
        """Count the tasks that have come to their end."""
        for event in events:
            if event.state.final:
                where = event.executor or "-"
                self.ended[event.app, where, event.state.value] += 1

    def show_cache(self) -> None:
        """Print how many results were there already, and how many had to be made."""
        hits, runs = Counter[str](), Counter[str]()
        for (app, executor, state), number in self.ended.items():
            if state == "memoized":
                hits[app] += number
            elif executor != "_internal":  # join apps, and what the kernel itself does
                runs[app] += number
        print(f"\n{'Hits':>7}{'Runs':>7}  of the app")
        for app in sorted(hits | runs):
            print(f"{hits[app]:7}{runs[app]:7}  {app}")
        print()

    def show(self, packages: Mapping[str, jf.AppFuture[Any]]) -> None:
        """Print what was counted, and which process parsed how many files."""
        print(f"\n{'Tasks':>7}  {'of the app':14}{'on executor':14}ended as")
        for (app, executor, state), number in sorted(self.ended.items()):
            print(f"{number:7}  {app:14}{executor:14}{state}")
        results = {name: package.result() for name, package in packages.items()}
        workers = Counter(module.worker for module in all_modules(results))
        print(f"\n{'Files':>7}  parsed by process")
        for worker, number in sorted(workers.items()):
            print(f"{number:7}  {worker}")
        print()


# -- The command line -----------------------------------------------------------------


def main() -> None:
    options = read_options()
    directory = Path(options.directory or sysconfig.get_path("stdlib")).resolve()
    output = Path(options.output).resolve()
    sources, left_out = find_sources(directory)
    make_output(output)
    if options.directory:
        title = f"The Python sources in {directory.name}"
    else:
        title = f"The standard library of Python {platform.python_version()}"
    config = options.config or options.profile or own_configuration(output)
    trace = Trace()

    began = time.perf_counter()
    try:
        with jf.load(config, plugins=[trace], **caching(options)) as kernel:
            print(f"Mapping {len(sources):,} files in {directory}")
            files, packages = map_library(title, directory, sources, left_out, output)
            report, picture = [file.result() for file in files]
    except jf.JackfieldError as error:
        sys.exit(f"stdlib_atlas: {error}")
    tasks = sum(kernel.summary().counts.values())
    print(f"{tasks:,} tasks ended in {time.perf_counter() - began:.1f} s")
    if options.trace:
        trace.show(packages)
    if options.cache:
        trace.show_cache()
    print(f"Report:  {report}")
    print(f"Picture: {picture}")


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Map a Python library: its modules, and which need which."
    )
    parser.add_argument(
        "directory",
        nargs="?",
        help="folder of .py files (default: the standard library of this Python)",
    )
    parser.add_argument(
        "--output",
        default="atlas",
        help="folder for report and picture (default: %(default)s)",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--profile", help="Jackfield profile to run on: with executors cpu and io"
    )
    where.add_argument(
        "--config", type=Path, metavar="FILE", help="TOML file that says where to run"
    )
    parser.add_argument(
        "--trace", action="store_true", help="tell how many tasks ran, and where"
    )
    parser.add_argument(
        "--cache",
        action="store_true",
        help="use results of earlier runs, and keep them",
    )
    parser.add_argument(
        "--store",
        metavar="URL",
        help="with --cache: where to keep them, such as sqlite:///results.db "
        "(default: checkpoints.db beside the directories of the runs)",
    )
    options = parser.parse_args()
    if options.store and not options.cache:
        parser.error("--store needs --cache")
    return options


def caching(options: argparse.Namespace) -> dict[str, Any]:
    """Return the part of the configuration that is chosen by --cache and --store."""
    store = {"checkpoint": {"store": options.store}} if options.store else {}
    return {"app_cache": options.cache, **store}


def find_sources(directory: Path) -> tuple[list[Source], list[str]]:
    if not directory.is_dir():
        sys.exit(f"stdlib_atlas: {directory} is not a directory.")
    sources, left_out = atlas_source.find_sources(directory)
    if not sources:
        sys.exit(f"stdlib_atlas: {directory} holds no .py files.")
    return sources, left_out


def make_output(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output):
            pass
    except OSError as error:
        sys.exit(f"stdlib_atlas: cannot write to {output}: {error.strerror}.")


if __name__ == "__main__":
    main()
