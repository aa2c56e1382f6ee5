from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple
from xml.etree import ElementTree

import pytest

pytestmark = pytest.mark.timeout(600)  # whole programs, some of them twice

SCRIPT = Path(__file__).parents[2] / "examples" / "stdlib_atlas.py"

FILES = {
    "alpha.py": """
        import os.path
        import sys
        from typing import Any

        import beta.core
        from beta import Engine, tools

        LIMIT: int = 3

        async def run() -> Any:
            def inner(): ...
            import beta.core
    """,
    "beta/__init__.py": "from .core import Core as Engine\n",
    "beta/core.py": """
        try:
            from . import tools
        except ImportError:
            tools = None

        class Core:
            def go(self): ...
    """,
    "beta/tools/__init__.py": """
        import sys
        from ..core import Core
        from .... import beyond
    """,
    "beta/tests/test_core.py": "import sys\nfrom beta.core import Core\n",
    "beta/broken.py": "x = 1\nx = = 2\n",
    "old.py": "# coding: no-such-coding\n",
    "site-packages/third.py": "import alpha\n",
    ".hidden/secret.py": "import alpha\n",
}


class Atlas(NamedTuple):
    """One run of the script: what it printed and what it wrote."""

    ran: subprocess.CompletedProcess[str]
    output: Path

    def read(self, name: str) -> str:
        return (self.output / name).read_text("utf-8")

    def table(self, heading: str) -> list[list[str]]:
        """The rows of the first table below a heading, without backquotes."""
        below = (
            self.read("report.md").partition(f"# {heading}\n")[2].partition("\n#")[0]
        )
        rows = [line for line in below.splitlines() if line.startswith("|")]
        return [[cell.strip(" `") for cell in row.split("|")[1:-1]] for row in rows[2:]]


def run(directory: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the script as users do, in a directory."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("JACKFIELD_")}
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments],
        check=False,
        cwd=directory,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
    )


def write_files(directory: Path) -> Path:
    for name, text in FILES.items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dedent(text).lstrip("\n"))
    return directory


@pytest.fixture(scope="module")
def atlas(tmp_path_factory: pytest.TempPathFactory) -> Atlas:
    """The small library of ``FILES``, mapped once for the tests that only look."""
    directory = tmp_path_factory.mktemp("atlas")
    write_files(directory / "library")
    ran = run(directory, "library", "--trace")
    assert ran.returncode == 0, ran.stderr
    return Atlas(ran, directory / "atlas")


# -- The report ---------------------------------------------------------------------


def test_the_report_begins_with_the_totals(atlas: Atlas) -> None:
    assert atlas.table("The Python sources in library") == [
        ["Files", "7"],
        ["of which tests", "1"],
        ["with the module name of another", "0"],
        ["that could not be parsed", "2"],
        ["Lines of those that could", "25"],
        ["Functions and methods", "3"],
        ["Classes", "1"],
        ["Imports, each as often as it is written", "14"],
        ["Pairs of modules, of which one imports the other", "7"],
        ["Pairs of modules that import each other", "1"],
    ]


def test_modules_are_ranked_by_how_many_of_the_library_need_them(atlas: Atlas) -> None:
    assert atlas.table("Modules that most others need") == [
        ["1", "beta.core", "3", "1", "7"],
        ["2", "beta.tools", "2", "0", "3"],
        ["3", "beta", "1", "0", "1"],
    ]


def test_names_are_counted_by_the_bash_step(atlas: Atlas) -> None:
    counted = [line.split() for line in atlas.read("counts.txt").splitlines()]

    assert counted == [
        ["2", "beta.core"],
        ["2", "beta.core.Core"],
        ["2", "beta.tools"],
        ["2", "sys"],
        ["1", "....beyond"],
        ["1", "beta.Engine"],
        ["1", "os.path"],
        ["1", "typing.Any"],
    ]


def test_names_are_traced_to_their_sources(atlas: Atlas) -> None:
    meanings = {
        name: what for name, _, what in atlas.table("Names that are imported most")
    }

    assert meanings["beta.core"] == "module, `beta/core.py"
    assert meanings["beta.core.Core"] == "class, `beta/core.py` line 6"
    assert meanings["sys"] == meanings["typing.Any"] == "no Python source here"


def test_a_name_that_a_package_passes_on_is_traced_through_it(atlas: Atlas) -> None:
    assert atlas.table("Definitions that are imported most") == [
        ["beta.core.Core", "2", "class, `beta/core.py` line 6"],
        ["beta.Engine", "1", "class, `beta/core.py` line 6"],
    ]


def test_the_biggest_modules_come_first(atlas: Atlas) -> None:
    assert atlas.table("Biggest modules")[:3] == [
        ["alpha", "12", "2", "0"],
        ["beta.core", "7", "1", "1"],
        ["beta.tools", "3", "0", "0"],
    ]


def test_each_package_is_summed_up(atlas: Atlas) -> None:
    assert atlas.table("Packages") == [
        ["(top level)", "2", "0", "12", "2", "0", "beta`, `os`, `sys`, `typing"],
        ["beta", "5", "1", "13", "1", "1", "sys"],
    ]


def test_files_that_cannot_be_parsed_are_listed_with_the_reason(atlas: Atlas) -> None:
    assert atlas.table("Files that could not be parsed") == [
        ["beta/broken.py", "line 2: invalid syntax"],
        ["old.py", "unknown encoding: no-such-coding"],
    ]


def test_folders_that_are_left_out_are_named(atlas: Atlas) -> None:
    left_out = atlas.output.parent / "library" / "site-packages"

    assert f"\nLeft out: `{left_out}`.\n" in atlas.read("report.md")


def test_the_picture_shows_the_needed_modules_and_their_imports(atlas: Atlas) -> None:
    picture = ElementTree.fromstring(atlas.read("imports.svg"))
    titles = [node.text for node in picture.iter("{http://www.w3.org/2000/svg}title")]

    assert "](imports.svg)" in atlas.read("report.md")
    assert titles == [
        "The Python sources in library",
        "beta imports beta.core",
        "beta.core imports beta.tools",
        "beta.tools imports beta.core",
        "beta: imported by 1 modules",
        "beta.core: imported by 3 modules",
        "beta.tools: imported by 2 modules",
    ]


def test_every_executor_and_every_run_gives_the_same_bytes(
    atlas: Atlas, tmp_path: Path
) -> None:
    config = tmp_path / "threads.toml"
    config.write_text(
        '[executors.cpu]\nplugin = "threads"\n[executors.io]\nplugin = "threads"\n'
    )
    library = atlas.output.parent / "library"

    ran = run(tmp_path, library, "--config", config, "--output", "other")

    assert ran.returncode == 0, ran.stderr
    for name in ("report.md", "imports.svg", "counts.txt"):
        assert (tmp_path / "other" / name).read_bytes() == atlas.read(name).encode()


def test_a_second_run_replaces_what_the_first_has_written(
    atlas: Atlas, tmp_path: Path
) -> None:
    library = write_files(tmp_path / "library")
    for _ in range(2):
        ran = run(tmp_path, library)
        assert ran.returncode == 0, ran.stderr

    assert (tmp_path / "atlas" / "counts.txt").read_text() == atlas.read("counts.txt")


# -- What is printed ----------------------------------------------------------------


def test_the_last_lines_say_where_report_and_picture_are(atlas: Atlas) -> None:
    assert atlas.ran.stdout.splitlines()[-2:] == [
        f"Report:  {atlas.output / 'report.md'}",
        f"Picture: {atlas.output / 'imports.svg'}",
    ]


def test_the_trace_counts_the_tasks_of_each_app_and_executor(atlas: Atlas) -> None:
    rows = [line.split() for line in atlas.ran.stdout.splitlines()]
    tasks = {row[1]: (row[0], row[2]) for row in rows if row[-1:] == ["succeeded"]}

    assert tasks.pop("map_package")[0] == "2"
    assert tasks == {
        "count_lines": ("1", "io"),
        "draw": ("1", "cpu"),
        "link": ("1", "cpu"),
        "list_names": ("1", "cpu"),
        "parse": ("7", "cpu"),
        "sum_up": ("2", "cpu"),
        "report_on": ("1", "cpu"),
        "save": ("3", "io"),
    }


def test_the_trace_counts_the_files_of_each_process(atlas: Atlas) -> None:
    below = atlas.ran.stdout.partition("parsed by process\n")[2].partition("\n\n")[0]
    files = [int(line.split()[0]) for line in below.splitlines()]

    assert sum(files) == 7


# -- What cannot be -----------------------------------------------------------------


def assert_refused(ran: subprocess.CompletedProcess[str], *message: object) -> None:
    assert ran.returncode == 1
    assert ran.stderr == f"stdlib_atlas: {' '.join(map(str, message))}\n"
    assert ran.stdout == ""


def test_a_directory_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    ran = run(tmp_path, "nowhere")

    assert_refused(ran, tmp_path / "nowhere", "is not a directory.")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_without_sources_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("import os\n")

    assert_refused(run(tmp_path, "."), tmp_path, "holds no .py files.")


def test_an_output_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken.py").write_text("import os\n")

    ran = run(tmp_path, ".", "--output", "taken.py/atlas")

    where = tmp_path / "taken.py" / "atlas"
    assert_refused(ran, "cannot write to", f"{where}:", "Not a directory.")


@pytest.mark.parametrize(
    "arguments", [["--profile", "nowhere"], ["--config", "nowhere.toml"]]
)
def test_a_configuration_that_does_not_exist_is_named(
    tmp_path: Path, arguments: Sequence[str]
) -> None:
    (tmp_path / "one.py").write_text("import os\n")

    ran = run(tmp_path, ".", *arguments)

    assert ran.returncode == 1
    assert ran.stderr.startswith("stdlib_atlas: ")
    assert arguments[1] in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_configuration_without_an_executor_of_the_apps_is_refused(
    tmp_path: Path,
) -> None:
    (tmp_path / "one.py").write_text("import os\n")
    config = tmp_path / "small.toml"
    config.write_text('[executors.cpu]\nplugin = "threads"\n')

    ran = run(tmp_path, ".", "--config", config)

    assert ran.returncode == 1
    assert "asks for an executor 'io'. Configured: cpu." in ran.stderr
    assert "Traceback" not in ran.stderr


# -- The real thing -----------------------------------------------------------------


def test_the_standard_library_is_mapped_whole(tmp_path: Path) -> None:
    library = Path(sysconfig.get_path("stdlib")).resolve()
    inside = [
        set(file.relative_to(library).parts[:-1]) for file in library.rglob("*.py")
    ]
    installed = {"site-packages", "dist-packages", "__pycache__"}
    number = sum(not folders & installed for folders in inside)

    atlas = Atlas(run(tmp_path), tmp_path / "atlas")

    assert atlas.ran.returncode == 0, atlas.ran.stderr
    version = ".".join(map(str, sys.version_info[:3]))
    totals = dict(atlas.table(f"The standard library of Python {version}"))
    assert totals["Files"] == f"{number:,}"
    needed = [row[1] for row in atlas.table("Modules that most others need")]
    assert {"os", "re", "warnings"} < set(needed[:6])
    unparsed = [row[0] for row in atlas.table("Files that could not be parsed")]
    assert all("/test" in f"/{path}" for path in unparsed)
    ElementTree.fromstring(atlas.read("imports.svg"))
