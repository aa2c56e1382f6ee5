"""Run all rows on every system that is installed, in turns, and print ratios.

usage: python run.py [--rows ROW,...] [--repeats N] [--quick] [--full] [--page]

Each measurement is a process of its own. The systems of a row take turns, so that
what else the machine does meets all of them; a row shows medians with their spread,
and the ratio of each other system's median to ours (above 1: ours is better).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import graphs
import large
import memory
import pages
import processes
import quality
import start
import table
import threads
from peers import NEEDS, installed
from plot import draw

import memo
import monitoring
import staging

if TYPE_CHECKING:
    from rows import Case, Row

HERE = Path(__file__).parent
RESULTS = HERE / "results"
LIMIT_S = 900.0
THEMES = (
    threads, graphs, processes, large, start, memo, memory, quality, staging, monitoring,
    pages,
)  # fmt: skip
ROWS: list[Row] = [row for theme in THEMES for row in theme.ROWS]


def main() -> None:
    options = read_options()
    facts = table.machine()
    results: dict[str, Any] = {"machine": facts, "rows": {}}
    print(f"{table.title(facts)}\n\n{missing()}\n", *table.HEAD, sep="\n", flush=True)
    shown: list[str] = []
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory), options.repeats, 10 if options.quick else 1)
        for row in options.rows:
            samples = results["rows"][row.name] = bench.measure(row)
            for line in table.lines(row, samples):
                print(line, flush=True)
                shown.append(line)
    write(results, options.output)
    if options.page:
        command = " ".join(["python run.py", *sys.argv[1:]])
        how = f"Command: `{command}`. Load before it: {facts['load']:.1f}. {missing()}"
        table.replace(HERE / "README.md", facts, how, [*table.HEAD, *shown])


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").split("\n")[0],
        epilog=f"rows: {', '.join(row.name for row in ROWS)}",
    )
    parser.add_argument("--rows", help="names of rows, or memo.py for all of a module")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a tenth of the tasks")
    parser.add_argument(
        "--full", action="store_true", help="rows of a million tasks too"
    )
    parser.add_argument(
        "--output", type=Path, default=RESULTS, help="directory for JSON and picture"
    )
    parser.add_argument(
        "--page", action="store_true", help="put the table into README.md"
    )
    options = parser.parse_args()
    options.rows = chosen(options.rows, full=options.full)
    return options


def chosen(names: str | None, *, full: bool) -> list[Row]:
    if names is None:
        return [row for row in ROWS if full or not row.full]
    by_name = {
        f"{theme.__name__}.py": [row for row in theme.ROWS if full or not row.full]
        for theme in THEMES
    }
    by_name |= {row.name: [row] for row in ROWS}
    unknown = [name for name in names.split(",") if name not in by_name]
    if unknown:
        sys.exit(f"run.py: there is no row {unknown[0]!r}. Rows: {', '.join(by_name)}.")
    return [row for name in names.split(",") for row in by_name[name]]


def missing() -> str:
    names = [name for name in NEEDS if not installed(name)]
    return (
        f"Not installed: {', '.join(names)}." if names else "All peers are installed."
    )


def write(results: dict[str, Any], directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / ".gitignore").write_text("*\n")
    (directory / "results.json").write_text(json.dumps(results, indent=1), "utf-8")
    (directory / "ratios.svg").write_text(draw(results, ROWS), "utf-8")
    print(f"\nWritten: {directory / 'results.json'} and ratios.svg")


class Bench:
    """Takes measurements, and keeps what was prepared for them.

    Args:
        directory: Where they write; what is prepared stays there for all rows.
        repeats: Of each case.
        divide: By which numbers of tasks are divided.
    """

    def __init__(self, directory: Path, repeats: int, divide: int) -> None:
        self.directory = directory
        self.repeats = repeats
        self.divide = divide
        self._prepared: dict[str, Path] = {}

    def measure(self, row: Row) -> dict[str, list[dict[str, float]]]:
        """Return the figures of each repeat of each case that can be measured here."""
        cases = [case for case in row.cases if available(case)]
        samples: dict[str, list[dict[str, float]]] = {case.name: [] for case in cases}
        for _ in range(self.repeats):
            for case in cases:
                with self._place(row) as place:
                    figures = self._once(case, place)
                if figures is not None:
                    samples[case.name].append(figures)
        return samples

    @contextlib.contextmanager
    def _place(self, row: Row) -> Iterator[Path]:
        """Give a directory: the prepared one, or one for this measurement alone."""
        if row.prepare is not None:
            if row.prepare.work not in self._prepared:
                place = Path(tempfile.mkdtemp(dir=self.directory))
                self._once(row.prepare, place)
                self._prepared[row.prepare.work] = place
            yield self._prepared[row.prepare.work]
            return
        place = Path(tempfile.mkdtemp(dir=self.directory))
        yield place
        shutil.rmtree(place, ignore_errors=True)

    def _once(self, case: Case, place: Path) -> dict[str, float] | None:
        n = max(1, case.n // self.divide)
        options = json.dumps(dict(case.options))
        bin_directory = Path(sys.executable).parent
        paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
        try:
            done = subprocess.run(
                [
                    sys.executable,
                    HERE / "one.py",
                    case.system,
                    case.work,
                    str(n),
                    options,
                ],
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
                check=False,
                env={
                    **os.environ,
                    "PATH": f"{bin_directory}:{os.environ['PATH']}",
                    "PYTHONPATH": os.pathsep.join(paths),
                    "BENCH_DIR": str(place),
                    "PYTHONDONTWRITEBYTECODE": "",  # an installed package is compiled
                    "XDG_CONFIG_HOME": str(
                        place
                    ),  # the signing key: not the user's own
                },
            )
        except subprocess.TimeoutExpired:  # one stuck peer takes no other row along
            print(f"{case.name} {case.work}: no end in {LIMIT_S} s", file=sys.stderr)
            return None
        if done.returncode:
            why = done.stderr.strip().splitlines()[-1:]
            print(f"{case.name} {case.work} failed: {why}", file=sys.stderr)
            return None
        figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return figures


def available(case: Case) -> bool:
    """Tell whether what a case needs is installed."""
    module = case.options.get("module", "json")
    return installed(case.system) and find_spec(module.partition(".")[0]) is not None


if __name__ == "__main__":
    main()
