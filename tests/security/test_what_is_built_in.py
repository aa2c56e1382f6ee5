"""What is built in is known by files, not by what a distribution calls itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RAN = "import pathlib; pathlib.Path('ran').touch()\nimport jackfield as jf\n"


def run(cwd: Path, code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    path = {"PYTHONPATH": str(cwd), **environ}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env=path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def install(site: Path, directory: str, called: str, entry_points: str) -> None:
    info = site / directory
    info.mkdir()
    (info / "METADATA").write_text(f"Name: {called}\nVersion: 9.9\n")
    (info / "RECORD").write_text("jackfield/__init__.py,,\nevil.py,,\n")
    (info / "entry_points.txt").write_text(entry_points)
    hook = "@jf.hookimpl\ndef jackfield_kernel_started(kernel): pass\n"
    (site / "evil.py").write_text(RAN + hook)


@pytest.mark.parametrize("called", ["jackfield", "Jackfield", "jackfield-"])
@pytest.mark.parametrize("group", ["plugins", "memo"])
@pytest.mark.parametrize("way", ["variable", "configuration"])
def test_a_distribution_that_calls_itself_jackfield_is_not_allowed_by_that(
    tmp_path: Path, called: str, group: str, way: str
) -> None:
    name = "python" if group == "memo" else "evil"
    text = f"[jackfield.{group}]\n{name} = evil\n"
    install(tmp_path, "evil-9.9.dist-info", called, text)
    allow = "None" if way == "variable" else "[]"
    code = (
        "import jackfield as jf\n"
        "same = jf.python_app(lambda x: x, cache=True)\n"
        f"with jf.load(allow_plugins={allow}): print(same(1).result(60))\n"
    )
    environ = {"JACKFIELD_PLUGINS": "-*"} if way == "variable" else {}

    done = run(tmp_path, code, **environ)

    assert done.stdout == "1\n", done.stderr
    assert not (tmp_path / "ran").exists()


def test_a_built_in_name_is_ours_and_the_other_is_named(tmp_path: Path) -> None:
    text = "[jackfield.executors]\nthreads = evil\n"
    install(tmp_path, "evil-9.9.dist-info", "jackfield", text)

    done = run(
        tmp_path,
        "import jackfield as jf\n"
        "with jf.load() as kernel: print(kernel.submit(len, 'ab').result(60))",
    )

    assert done.stdout == "2\n"
    assert "jackfield 9.9 offers executor 'threads' too" in done.stderr
    assert not (tmp_path / "ran").exists()
