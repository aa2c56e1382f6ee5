"""Progress in a real notebook: one output, which is replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import nbformat
from nbclient import NotebookClient

if TYPE_CHECKING:
    from pathlib import Path

LIMIT_S = 100.0


def run(directory: Path, *cells: str) -> list[Any]:
    """Run a notebook of these cells, and return it."""
    make: Any = nbformat.v4  # it has no types
    book = make.new_notebook(cells=[make.new_code_cell(cell) for cell in cells])
    resources = {"metadata": {"path": str(directory)}}
    NotebookClient(book, timeout=LIMIT_S, resources=resources).execute()
    found: list[Any] = book.cells
    return found


def test_one_output_is_kept_up_to_date(tmp_path: Path) -> None:
    begin = """
import jackfield as jf
kernel = jf.load(progress=True)

@jf.python_app
def align(name):
    if name.startswith("bad"):
        raise ValueError(f"<b>no reads</b> in {name}")
    return name
"""
    work = """
for name in ("a", "b", "bad c"):
    align(name).exception()
print("said")
"""
    first, second, third = run(tmp_path, begin, work, "kernel.cleanup()")

    assert [output.output_type for output in first.outputs] == ["display_data"]
    data = first.outputs[0].data
    assert data["text/plain"].splitlines()[-1].endswith("no reads</b> in bad c")
    assert "2 of 3 done, 1 failed" in data["text/plain"]
    assert "&lt;b&gt;no reads&lt;/b&gt;" in data["text/html"]
    assert "<script" not in data["text/html"]
    assert [output.text for output in second.outputs] == ["said\n"]
    assert third.outputs == []


def test_it_changes_while_tasks_run(tmp_path: Path) -> None:
    cells = run(
        tmp_path,
        "import jackfield as jf, threading, time\nkernel = jf.load(progress=True)",
        """
import IPython.display
seen, seen_running = [], threading.Event()
update = IPython.display.DisplayHandle.update

def spy(self, data, **options):
    seen.append(time.monotonic())
    if "1 running" in data["text/plain"]:
        seen_running.set()
    update(self, data, **options)

IPython.display.DisplayHandle.update = spy
future = kernel.submit(seen_running.wait, 60)
future.result()
""",
        "kernel.cleanup()\nassert seen_running.is_set()\n"
        "min((b - a for a, b in zip(seen[:-1], seen[1:-1])), default=1.0) > 0.4",
    )
    assert cells[2].outputs[0].data["text/plain"] == "True"
