"""Shows that an installed Jackfield works: tasks, files, results, plugins, commands.

Run by `.ci/check-dist` in an environment that has the wheel or the sdist and nothing
else. It takes seconds, and replaces no test: it finds what a build has left out.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path

import jackfield as jf


@jf.python_app(executors=["io"])
def double(x: int) -> int:
    return 2 * x


@jf.python_app(executors=["cpu"], cache=True)
def square(x: int) -> int:
    return x * x


@jf.bash_app(executors=["io"])
def write(text: str, outputs: tuple[jf.File, ...] = ()) -> str:
    return f"echo {text} > {outputs[0]}"


@jf.python_app(executors=["io"])
def read(path: str) -> str:
    return Path(path).read_text()


@jf.join_app
def squares(n: int) -> object:
    return [square(x) for x in range(n)]


CONFIG = {
    "executors": {
        "cpu": {"plugin": "processes", "workers": 1},
        "io": {"plugin": "threads", "workers": 2},
    },
    "checkpoint": {"store": "sqlite:///results.db"},
    "monitors": {"history": {"plugin": "sqlite"}},
}


def main() -> None:
    for expected in ("miss", "hit"):
        with jf.load(CONFIG):
            result = square(double(3))
            assert result.result(60) == 36
            written = write("hello", outputs=[jf.File("hello.txt")])
            assert read(written.outputs[0]).result(60) == "hello\n"
            assert squares(4).result(60) == [0, 1, 4, 9]
            assert result.memo.status == expected

    print("tasks run, and their results are found again")

    installed = distribution("jackfield")
    packages = {one.parts[0] for one in installed.files or () if one.suffix == ".py"}
    assert "tests" not in packages
    for package in packages - {"..", "bin"}:
        assert (files(package) / "py.typed").is_file(), f"{package} has no py.typed"
    assert any(one.name == "LICENSE" for one in installed.files or ())
    print(f"{len(packages)} packages, each with its types")

    for command in (
        ["--version"],
        ["plugins", "--check"],
        ["new", "executor", "smoke"],
        ["runs", "ls"],
        ["report", "-o", "report.html"],
        ["doctor"],
    ):
        done = subprocess.run(
            [Path(sys.executable).with_name("jackfield"), *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    assert Path("report.html").stat().st_size > 10_000
    assert Path("jackfield-smoke/jackfield_smoke/executor.py").is_file()
    print("commands work")


if __name__ == "__main__":
    main()
