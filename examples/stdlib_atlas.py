"""Map a Python library: what its modules hold, and which of them the others need.

    python examples/stdlib_atlas.py                    # Python's own standard library
    python examples/stdlib_atlas.py some/sources --output map --trace

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


@jf.python_app(executors=["cpu"])
def parse(source: Source) -> Module:
    return atlas_source.read_module(source)


@jf.python_app(executors=["cpu"])
def sum_up(modules: Any) -> Totals:
    return atlas_graph.sum_up(modules)


@jf.join_app
def map_package(sources: Sequence[Source]) -> dict[str, Any]:
    """Fan out: a task for each file, and one for all of them together.

    A join app ends when the futures that it returns have ended, with their results
    in the same places.
    """
    modules = [parse(source) for source in sources]
    return {"modules": modules, "totals": sum_up(modules)}


@jf.python_app(executors=["cpu"])
def link(packages: Any) -> Graph:
    return atlas_graph.link(all_modules(packages))


@jf.python_app(executors=["cpu"])
def list_names(packages: Any, outputs: Sequence[jf.File]) -> None:
    """Write each import of the library on a line of its own."""
    library = [m for m in all_modules(packages) if not m.source.is_test]
    names = [atlas_source.full_name(*pair) for m in library for pair in m.imports]
    write(outputs[0], "".join(f"{name}\n" for name in names))


@jf.bash_app(executors=["io"])
def count_lines(
    inputs: Sequence[Any],
    outputs: Sequence[jf.File],  # noqa: ARG001  (the kernel looks for them)
    stdout: Any,  # noqa: ARG001  (the kernel sends there what the command prints)
) -> str:
    """Return the command to be run."""
    lines = shlex.quote(str(inputs[0]))
    return (
        "set -o pipefail; export LC_ALL=C; "  # the same order in every language
        f"sort {lines} | uniq -c | sort -k1,1nr -k2"
    )


@jf.python_app(executors=["cpu"])
def draw(title: str, graph: Any, outputs: Sequence[jf.File]) -> None:
    core = {name: n for name, n in list(graph.needed_by.items())[:CORE_SIZE] if n}
    library = f"{len(graph.needed_by):,} (tests left out)"
    subtitle = f"The modules that most others import: {len(core)} of {library}"
    picture = atlas_svg.draw(title, subtitle, core, graph.edges(core))
    write(outputs[0], picture)


@jf.python_app(executors=["cpu"])
def write_report(
    title: str,
    left_out: Sequence[str],
    packages: Any,
    graph: Any,
    inputs: Sequence[Any],
    outputs: Sequence[jf.File],
) -> None:
    counts, picture = map(Path, inputs)
    counted = [line.split(None, 1) for line in counts.read_text("utf-8").splitlines()]
    report = atlas_report.render(
        title,
        left_out,
        all_modules(packages),
        {name: package["totals"] for name, package in packages.items()},
        graph,
        [(int(number), name) for number, name in counted],
        picture.name,
    )
    write(outputs[0], report)


def all_modules(packages: Mapping[str, Mapping[str, Any]]) -> list[Module]:
    modules = [m for package in packages.values() for m in package["modules"]]
    return sorted(modules, key=lambda module: module.source.path)


def write(path: jf.File, text: str) -> None:
    # Names of files, and so of modules, need not be valid text.
    Path(path).write_text(text, encoding="utf-8", errors="backslashreplace")


# -- The workflow: nothing here waits, except for what the caller asks of the futures --


def map_library(
    title: str, sources: Sequence[Source], left_out: Sequence[str], output: Path
) -> tuple[jf.DataFuture, dict[str, jf.AppFuture[Any]]]:
    """Return the futures of the report and of the packages."""
    packages = {
        package: map_package([s for s in sources if s.package == package])
        for package in sorted({s.package for s in sources})
    }
    names = list_names(packages, outputs=[jf.File(output / "names.txt")])
    counts = jf.File(output / "counts.txt")
    counted = count_lines(inputs=names.outputs, outputs=[counts], stdout=(counts, "w"))
    graph = link(packages)
    drawn = draw(title, graph, outputs=[jf.File(output / "imports.svg")])
    report = write_report(
        title,
        left_out,
        packages,
        graph,
        inputs=[*counted.outputs, *drawn.outputs],
        outputs=[jf.File(output / "report.md")],
    )
    return report.outputs[0], packages


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
        with jf.load(config, plugins=[trace]) as kernel:
            print(f"Mapping {len(sources):,} files in {directory}")
            report, packages = map_library(title, sources, left_out, output)
            report.result()
    except jf.JackfieldError as error:
        sys.exit(f"stdlib_atlas: {error}")
    tasks = sum(kernel.summary().counts.values())
    print(f"{tasks:,} tasks ended in {time.perf_counter() - began:.1f} s")
    if options.trace:
        trace.show(packages)
    print(f"Report:  {report.filepath}")
    print(f"Picture: {output / 'imports.svg'}")


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
    return parser.parse_args()


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
