"""The atlas with ``--cache``: killed, run again, with other code, on other sources."""

from __future__ import annotations

import ast
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from jackfield.errors import CheckpointError
from jackfield.plugins import PluginManager

pytestmark = pytest.mark.timeout(600)  # whole programs, some of them twice

EXAMPLES = Path(__file__).parents[2] / "examples"
STDLIB = Path(sysconfig.get_path("stdlib")).resolve()
PACKAGES = ("email", "http", "importlib", "json", "logging", "unittest", "urllib")
NOT_CACHED = ("count_lines", "save")
WRITTEN = ("report.md", "imports.svg", "counts.txt", "names.txt")
LIMIT_S = 120.0
POLL_S = 0.01

Records = Mapping[str, float]
"""Key of a stored result to the time at which it was stored."""


class Place:
    """A directory with sources, the scripts that map them, and what comes of that."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.library = directory / "library"
        self.scripts = directory / "scripts"
        self.atlas = directory / "atlas"
        self.store = directory / "results.db"
        self.first = Cached("")
        """What its first run has made, where a fixture has run it."""
        if not self.scripts.exists():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(EXAMPLES, self.scripts, ignore=ignored)

    def start(self, *options: str | Path) -> subprocess.Popen[str]:
        """Start the script as users do, for whoever will end it."""
        script = self.scripts / "stdlib_atlas.py"
        arguments = [self.library, "--output", self.atlas, *options]
        environ = {
            k: v for k, v in os.environ.items() if not k.startswith("JACKFIELD_")
        }
        return subprocess.Popen(
            [sys.executable, script, *arguments],
            cwd=self.directory,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *options: str | Path) -> str:
        with self.start(*options) as process:
            try:
                said, _ = process.communicate(timeout=LIMIT_S)
            finally:
                end(process)
        assert process.returncode == 0, said
        return said

    def map(self) -> Cached:
        """Run it with its cache; return what it found and what it made."""
        return Cached(self.run("--cache", "--store", f"sqlite:///{self.store}"))

    def written(self) -> dict[str, bytes]:
        return {name: (self.atlas / name).read_bytes() for name in WRITTEN}

    def afresh(self) -> dict[str, bytes]:
        """Return what a run without a cache writes."""
        other = self.directory / "afresh"
        self.run("--output", other)
        return {name: (other / name).read_bytes() for name in WRITTEN}

    def records(self) -> Records:
        """Return what is stored; the store need not be there."""
        with contextlib.suppress(CheckpointError):
            url = f"sqlite:///{self.store}"
            store = PluginManager().open_checkpoint(url, {"read_only": True})
            with contextlib.closing(store):
                return {entry.key.hex(): entry.created for entry in store.scan()}
        return {}

    def edit(self, script: str, old: str, new: str) -> None:
        """Change a script, at the one place where it has ``old``."""
        path = self.scripts / script
        text = path.read_text("utf-8")
        assert text.count(old) == 1, (script, old)
        path.write_text(text.replace(old, new), "utf-8")


class Cached:
    """What a run has printed of its cached apps: how often found, and how often run."""

    def __init__(self, said: str) -> None:
        table = said.partition("of the app\n")[2].partition("\n\n")[0]
        rows = [line.split() for line in table.splitlines()]
        cached = [row for row in rows if row[2] not in NOT_CACHED]
        self.hits = {app: int(hits) for hits, _, app in cached if hits != "0"}
        self.runs = {app: int(runs) for _, runs, app in cached if runs != "0"}


def end(process: subprocess.Popen[str]) -> None:
    """Kill what is left of a run: the script and its workers."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def copy_sources(library: Path, packages: tuple[str, ...] = PACKAGES) -> int:
    """Copy some packages of the standard library; return the number of files."""
    for package in packages:
        (library / package).mkdir(parents=True)
        for file in (STDLIB / package).glob("*.py"):
            shutil.copyfile(file, library / package / file.name)
    return len(list(library.rglob("*.py")))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Some packages of the standard library that nobody has mapped yet."""
    assert copy_sources(tmp_path / "library") > 60
    return Place(tmp_path)


@pytest.fixture(scope="module")
def afresh(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run without a cache writes of such sources, wherever they are."""
    directory = tmp_path_factory.mktemp("afresh")
    copy_sources(directory / "library")
    return Place(directory).afresh()


@pytest.fixture
def small(tmp_path: Path) -> Place:
    """Two packages of the standard library that nobody has mapped yet."""
    copy_sources(tmp_path / "library", ("json", "logging"))
    return Place(tmp_path)


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Sources that have been mapped with a cache; not to be changed."""
    directory = tmp_path_factory.mktemp("mapped")
    copy_sources(directory / "library", ("json", "logging"))
    with pytest.MonkeyPatch.context() as patch:
        key = tmp_path_factory.getbasetemp() / "config"
        patch.setenv("XDG_CONFIG_HOME", str(key))
        place = Place(directory)
        place.first = place.map()
    return place


@pytest.fixture
def known(mapped: Place, tmp_path: Path) -> Iterator[Place]:
    """The same place, in which everything may be changed: it is put back afterwards."""
    kept = mapped.directory.rename(tmp_path / "kept")
    try:
        shutil.copytree(kept, mapped.directory)
        yield mapped
    finally:
        shutil.rmtree(mapped.directory)
        kept.rename(mapped.directory)


@pytest.fixture
def edited(mapped: Place, tmp_path: Path) -> Place:
    """The same sources and results, with scripts that may be edited."""
    place = Place(tmp_path)
    place.library, place.atlas = mapped.library, mapped.atlas
    shutil.copyfile(mapped.store, place.store)
    return place


# -- Killed -------------------------------------------------------------------------


def kill_when(place: Place, *, stored: int = 0, seconds: float = 0.0) -> Records:
    """Start a run, kill it, and return what is stored by then.

    It is killed when so many results are stored and so much time has gone, unless it
    has ended before.
    """
    url = f"sqlite:///{place.store}"
    with place.start("--cache", "--store", url) as process:
        began = time.monotonic()
        while process.poll() is None:
            if time.monotonic() - began >= seconds and (
                not stored or len(place.records()) >= stored
            ):
                break
            assert time.monotonic() - began < LIMIT_S
            time.sleep(POLL_S)
        process.kill()  # the script alone: its workers have to see for themselves
        process.communicate(timeout=LIMIT_S)
    return place.records()


def assert_goes_on(
    place: Place, killed: list[Records], afresh: Mapping[str, bytes]
) -> None:
    """Run it to its end; see that nothing is done again, and nothing is missing."""
    before = place.records()
    last = place.map()

    after = place.records()
    assert sum(last.runs.values()) == len(after) - len(before)
    for records in killed:
        assert records.items() <= after.items()  # a result made again has a new time
    assert place.written() == afresh
    assert place.map().runs == {}


@pytest.mark.parametrize("stored", [1, 40])
def test_a_run_killed_after_some_results_goes_on_from_there(
    place: Place, stored: int, afresh: dict[str, bytes]
) -> None:
    killed = kill_when(place, stored=stored)

    assert len(killed) >= stored
    assert_goes_on(place, [killed], afresh)


def test_a_run_killed_again_and_again_goes_on_each_time(
    place: Place, afresh: dict[str, bytes]
) -> None:
    dice = random.Random(os.urandom(8))

    killed = [kill_when(place, seconds=dice.uniform(0.1, 0.9)) for _ in range(4)]

    assert_goes_on(place, killed, afresh)


@pytest.mark.slow
def test_the_standard_library_is_mapped_by_runs_that_are_killed(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.library = STDLIB
    dice = random.Random(0)

    killed = [kill_when(place, seconds=dice.uniform(0.2, 2.0)) for _ in range(20)]

    assert_goes_on(place, killed, place.afresh())


# -- Run again ----------------------------------------------------------------------


def test_a_run_on_unchanged_sources_does_nothing(known: Place) -> None:
    stored, written = known.records(), known.written()

    again = known.map()

    assert known.first.hits == {}
    assert again.runs == {}
    assert again.hits == known.first.runs
    assert known.records() == stored
    assert known.written() == written == known.afresh()


def test_a_file_that_somebody_has_changed_is_written_again(known: Place) -> None:
    written = known.written()
    (known.atlas / "names.txt").write_text("something else\n")
    (known.atlas / "report.md").unlink()

    assert known.map().runs == {}
    assert known.written() == written


def test_results_are_kept_beside_the_runs_unless_a_store_is_named(small: Place) -> None:
    Cached(small.run("--cache"))

    assert (small.atlas / "runs" / "checkpoints.db").exists()
    assert Cached(small.run("--cache")).runs == {}


def test_a_run_without_the_option_neither_uses_nor_keeps_results(small: Place) -> None:
    said = small.run()

    assert "Hits" not in said
    assert not (small.atlas / "runs" / "checkpoints.db").exists()


# -- Other code ---------------------------------------------------------------------


class _OtherDocstrings(ast.NodeTransformer):
    def visit(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            is_docstring = ast.get_docstring(node) is not None
            node.body[:is_docstring] = [ast.Expr(ast.Constant("Something else."))]
        return node


def test_other_comments_docstrings_and_formatting_do_not_count(edited: Place) -> None:
    for script in edited.scripts.glob("*.py"):
        tree = _OtherDocstrings().visit(ast.parse(script.read_text("utf-8")))
        text = ast.unparse(ast.fix_missing_locations(tree))
        script.write_text(f"# A comment.\n\n\n{text}  # another\n", "utf-8")

    assert edited.map().runs == {}


@pytest.mark.parametrize(
    ("script", "old", "new", "apps"),
    [
        ("atlas_source.py", "return sum(", "return 0 + sum(", "parse"),
        (
            "atlas_source.py",
            "return origin\n",
            "return str(origin)\n",
            "list_names parse",
        ),
        ("atlas_graph.py", "sorted(counts.", "sorted(dict(counts).", "link sum_up"),
        ("atlas_svg.py", "LARGEST * math", "1 * LARGEST * math", "draw"),
        (
            "atlas_report.py",
            "from map(_row, rows)",
            "from map(_row, [*rows])",
            "report_on",
        ),
        (
            "stdlib_atlas.py",
            "sorted(modules, key",
            "sorted([*modules], key",
            "link list_names report_on",
        ),
    ],
)
def test_an_edited_function_has_those_run_again_that_reach_it(
    edited: Place, script: str, old: str, new: str, apps: str
) -> None:
    edited.edit(script, old, new)

    assert set(edited.map().runs) == set(apps.split())


def test_what_follows_from_an_edit_is_done_again(known: Place) -> None:
    known.edit("stdlib_atlas.py", "CORE_SIZE = 40", "CORE_SIZE = 5")

    assert known.map().runs == {"draw": 1}
    assert known.written() == known.afresh()


# -- Other sources ------------------------------------------------------------------

FOLLOWING = dict.fromkeys(("draw", "link", "list_names", "report_on", "sum_up"), 1)
"""What has to be done again, once each, when a package has other imports."""


def test_a_new_file_is_parsed_and_what_follows_is_done_again(known: Place) -> None:
    (known.library / "json" / "more.py").write_text("import json.decoder\n")

    added = known.map()

    assert added.runs == {"parse": 1, **FOLLOWING}
    assert added.hits["parse"] == known.first.runs["parse"]
    assert known.written() == known.afresh()


def test_without_a_file_nothing_is_parsed_but_what_follows_is_done_again(
    known: Place,
) -> None:
    (known.library / "json" / "tool.py").unlink()

    assert known.map().runs == FOLLOWING
    assert known.written() == known.afresh()


def test_an_edited_file_is_parsed_and_what_follows_is_done_again(known: Place) -> None:
    with (known.library / "json" / "tool.py").open("a") as file:
        file.write("import json.encoder\n")

    assert known.map().runs == {"parse": 1, **FOLLOWING}
    assert known.written() == known.afresh()


def test_nothing_follows_from_an_edit_that_leaves_a_file_the_same(known: Place) -> None:
    tool = known.library / "json" / "tool.py"
    tool.write_text(
        tool.read_text("utf-8").replace("import argparse", "import  argparse")
    )

    assert known.map().runs == {"parse": 1}
    assert known.written() == known.afresh()


def test_sources_that_are_as_they_were_give_what_they_gave(known: Place) -> None:
    before = known.written()
    (known.library / "json" / "more.py").write_text("import json.decoder\n")
    known.map()
    (known.library / "json" / "more.py").unlink()

    again = known.map()

    assert known.written() == before
    assert again.runs == {}
