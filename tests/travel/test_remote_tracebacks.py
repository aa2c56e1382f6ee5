"""A failure's traceback from a worker names the script's file, and shows its line."""

from __future__ import annotations

import linecache
import subprocess
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

LIMIT_S = 60.0

SCRIPT = """
import traceback
import jackfield as jf

class Reader:
    def parse(self, text):
        return float(text)  # the line of the method

@jf.python_app
def parse(text):
    def inner():
        return Reader().parse(text)  # the line of the closure
    return inner()

if __name__ == "__main__":
    with jf.load(executors={"one": {"plugin": "processes", "workers": 1}}):
        print("".join(traceback.format_exception(parse("NA").exception(60))))
"""


def test_functions_of_a_script_show_file_and_line(tmp_path: Path) -> None:
    script = tmp_path / "the_script.py"
    script.write_text(SCRIPT)

    done = subprocess.run(
        [sys.executable, "the_script.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S, check=True,
    )  # fmt: skip

    lines = SCRIPT.splitlines()
    for text in ("# the line of the method", "# the line of the closure"):
        number = next(n for n, line in enumerate(lines, 1) if text in line)
        assert f'the_script.py", line {number}' in done.stdout
        assert text in done.stdout


def cell(name: str, text: str) -> Any:
    """Run text as a notebook does: no file has it, but Python knows its lines."""
    module = ModuleType("cells_of_a_notebook")
    sys.modules[module.__name__] = module
    linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
    exec(compile(text, name, "exec"), vars(module))
    return module


def test_cells_of_a_notebook_show_their_line(isolated: Any) -> None:
    module = cell("<cell 7>", "def divide(x):\n    return 1 / x  # in the cell\n")
    try:
        with isolated() as kernel:
            error = kernel.submit(module.divide, 0).exception(LIMIT_S)
    finally:
        del sys.modules[module.__name__], linecache.cache["<cell 7>"]

    shown = "".join(traceback.format_exception(error))
    assert (
        'File "<cell 7>", line 2, in divide\n    return 1 / x  # in the cell' in shown
    )
