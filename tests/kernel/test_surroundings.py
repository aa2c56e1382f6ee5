"""A kernel works in odd but usual surroundings of an interpreter."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

import jackfield as jf

LIMIT_S = 60.0

TASKS = """
import jackfield as jf
def double(x): return 2 * x
with jf.load(executors={"t": {"plugin": "threads"}, "p": {"plugin": "processes"}}) as k:
    print(k.submit(double, 21).result(60))
    apps = [jf.python_app(double, executors=[one]) for one in ("t", "p")]
    print([app(1).result(60) for app in apps])
"""


def run(
    code: str, cwd: Path, *flags: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *flags, "-c", code],
        cwd=cwd,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("odd", ["pathlib.Path('.')", "b'x'", "None", "object()"])
def test_anything_may_be_in_sys_path(tmp_path: Path, odd: str) -> None:
    code = f"import sys, pathlib\nsys.path.insert(0, {odd})\n{TASKS}"
    code += f"    sys.path.append({odd})\n    print(apps[1](2).result(60))"

    done = run(code, tmp_path)

    assert done.stdout == "42\n[2, 2]\n4\n", done.stderr


@pytest.mark.parametrize("name", ["~ackfield", "-ackfield", "~-ckfield"])
def test_what_pip_has_left_behind_is_passed_over(tmp_path: Path, name: str) -> None:
    info = tmp_path / f"{name}-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: jackfield\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(
        "[jackfield.executors]\nthreads = gone.threads\n[jackfield.plugins]\ng = gone\n"
    )

    done = run(TASKS, tmp_path, PYTHONPATH=str(tmp_path))

    assert (done.stdout, done.stderr) == ("42\n[2, 2]\n", "")


BROKEN = {
    "no metadata": {"entry_points.txt": "[jackfield.plugins]\nx = gone\n"},
    "no version": {
        "METADATA": "Name: x",
        "entry_points.txt": "[jackfield.plugins]\n=\n",
    },
    "binary": {
        "METADATA": "\udcff\0",
        "entry_points.txt": "[jackfield.memo]\n\udcfe=\0",
    },
    "garbage": {
        "entry_points.txt": "[jackfield.plugins]\na\n=\n[[[\n]\nb = \nc = 1x:y\n"
    },
    "ours, named twice": {
        "METADATA": "Name: Jackfield\nVersion: 9\n",
        "entry_points.txt": "[jackfield.executors]\nthreads = gone\nprocesses = gone\n",
    },
}


@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.parametrize("finder", ["directories", "importlib"])
def test_broken_metadata_of_others_stop_no_kernel(
    tmp_path: Path, what: str, finder: str
) -> None:
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    for name, text in BROKEN[what].items():
        (info / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    code = TASKS
    if finder == "importlib":
        code = (
            "import sys\n"
            "class Finder:\n"
            "    def find_spec(self, *args): return None\n"
            "    def find_distributions(self, context): return [Broken()]\n"
            "class Broken:\n"
            "    def read_text(self, name): raise UnicodeError('x')\n"
            "    def __getattr__(self, name): raise RuntimeError(name)\n"
            f"sys.meta_path.append(Finder())\n{code}"
        )

    done = run(code, tmp_path, PYTHONPATH=str(tmp_path))

    assert done.stdout == "42\n[2, 2]\n", done.stderr
    assert "Traceback" not in done.stderr


def test_bytes_warnings_may_be_errors(tmp_path: Path) -> None:
    code = """
import sys, jackfield as jf
@jf.python_app(cache=True)
def same(x): return x
@jf.bash_app
def echo(stdout=jf.AUTO_LOGNAME, outputs=()): return f"echo hi > {outputs[0]}"
open("in.txt", "w").write("x")
for plugin in ("threads", "processes"):
    for store in (f"sqlite:///{plugin}.db", f"pickle:///{plugin}"):
        for _ in range(2):
            with jf.load(
                executors={"x": {"plugin": plugin}},
                checkpoint={"store": store},
                use_plugins={"journal": {}, "transient": {}},
            ) as kernel:
                for value in (1, b"x", "x", {"a": b"a", b"b": ["c"]}):
                    assert same(value).result(60) == value
                same(jf.File("in.txt")).result(60)
                jf.explain(same(b"1"))
                echo(outputs=[jf.File("out.txt")]).result(60)
                repr(kernel.config)
print("done")
"""

    done = run(code, tmp_path, "-bb")

    assert done.stdout == "done\n", done.stderr


# -- What an application's loggers hear


@pytest.mark.parametrize("logger", ["", "jackfield"])
@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING", "ERROR"])
def test_an_application_hears_what_its_own_level_lets_through(
    tmp_path: Path, logger: str, level: str
) -> None:
    heard: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            # Clients of engines that other tests have used log here, too.
            if record.name.startswith("jackfield"):
                heard.append(record.levelname)

    target, listener = logging.getLogger(logger), Listener()
    # A level of ours that another test has left would count, and not that of the root.
    ours = logging.getLogger("jackfield")
    before = {one: one.level for one in (ours, target)}
    ours.setLevel(logging.NOTSET)
    target.setLevel(level)
    target.addHandler(listener)
    try:
        with jf.load(run_dir=tmp_path, log_level="INFO") as kernel:
            kernel.submit(len, 3).exception(LIMIT_S)
    finally:
        target.removeHandler(listener)
        for one, earlier in before.items():
            one.setLevel(earlier)

    wanted = {"DEBUG": {"INFO", "WARNING"}, "INFO": {"INFO", "WARNING"}}
    assert {*heard} == wanted.get(level, {"WARNING"} if level == "WARNING" else set())
    log = (kernel.run_dir / "jackfield.log").read_text()
    assert " INFO " in log
    assert " WARNING " in log
