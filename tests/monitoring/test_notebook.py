"""What notebooks show of kernels, futures, summaries and explanations."""

from __future__ import annotations

import re
import threading
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

import jackfield as jf
from jackfield_monitoring import html, notebook_tables

LIMIT_S = 60.0
HOSTILE = [
    "<script>alert(1)</script>",
    "'; DROP TABLE task; --",
    '" onmouseover="alert(1)',
    "\x1b[2J\x1b]0;title\x07",
    "right \u202e left",
    "a NUL \0 and a surrogate \udc80",
    "</pre></td></table><h1>",
]


class Shown(HTMLParser):
    """HTML taken apart: its tags, its attributes' names, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f"{data}\n"


def shown(value: Any) -> Shown:
    return Shown(notebook_tables.shown(value))


@jf.python_app
def align(name: str) -> str:
    if name.startswith("bad"):
        raise ValueError(f"no reads in <{name}>")
    return name


def test_a_kernel_shows_its_tasks_and_failures(kernel: jf.DataFlowKernel) -> None:
    futures = [align(name) for name in ("a", "b", "bad c")]
    for future in futures:
        future.exception()

    seen = shown(kernel)

    assert "DataFlowKernel, open" in seen.text
    assert re.search(r"succeeded\s+2\s+failed\s+1\s", seen.text)
    assert "ValueError: no reads in <bad c>" in seen.text
    assert str(kernel.run_dir) in seen.text
    kernel.cleanup()
    assert "DataFlowKernel, closed" in shown(kernel).text


def test_a_summary_tells_of_the_failures_that_it_leaves_out(
    kernel: jf.DataFlowKernel,
) -> None:
    assert re.search(r"tasks\s+none", shown(kernel.summary()).text)
    futures = [align(f"bad {number}") for number in range(200)]
    for future in futures:
        future.exception()
    summary = kernel.summary()

    text = shown(summary).text

    left = summary.failed - len(summary.failures)
    assert f"... and {left} more" in text


def test_a_printed_summary_is_a_few_lines(kernel: jf.DataFlowKernel) -> None:
    assert str(kernel.summary()).endswith(f" s. Run: {kernel.run_dir}")
    futures = [align(name) for name in ("a", *(f"bad {n}" for n in range(7)))]
    for future in futures:
        future.exception()

    head, *failures = str(kernel.summary()).splitlines()

    assert re.match(r"8 tasks in \d+\.\d s: 1 succeeded, 7 failed\. Run: /", head)
    assert len(failures) == 6
    assert re.match(r"  Task \d \(align\) failed: ValueError: no reads", failures[0])
    assert failures[-1] == "  ... and 2 more"


def test_a_future_shows_its_state_without_waiting(kernel: jf.DataFlowKernel) -> None:
    may_end = threading.Event()

    def wait(name: str) -> bool:
        return may_end.wait(LIMIT_S)

    future = kernel.submit(wait, "slow")
    pending = shown(future).text
    may_end.set()
    future.result()

    assert re.search(
        r"AppFuture\s+task\s+0 \(wait\)\s+state\s+(waiting|ready|submitted)", pending
    )
    assert "wait('slow')" in pending
    assert re.search(r"state\s+succeeded", shown(future).text)


def test_a_failed_future_shows_its_error(kernel: jf.DataFlowKernel) -> None:
    future = align("bad c")
    future.exception()
    seen = shown(future)

    assert re.search(r"state\s+failed", seen.text)
    assert "ValueError: no reads in <bad c>" in seen.text
    assert "align('bad c')" in seen.text


def test_a_cancelled_future_says_so(kernel: jf.DataFlowKernel) -> None:
    may_end = threading.Event()
    blocked = [kernel.submit(may_end.wait, LIMIT_S) for _ in range(4)]
    future = align("late")
    future.cancel()
    may_end.set()

    assert re.search(r"state\s+cancelled", shown(future).text)
    assert all(one.result() for one in blocked)


def test_a_future_of_a_file_names_it(kernel: jf.DataFlowKernel, tmp_path: Path) -> None:
    @jf.python_app
    def write(outputs: list[jf.File]) -> None:
        Path(outputs[0]).write_text("x")

    future = write(outputs=[jf.File(tmp_path / "made.txt")])
    future.result()
    seen = shown(future.outputs[0])

    assert "DataFuture" in seen.text
    assert "made.txt" in seen.text


def test_an_explanation_shows_its_reasons(kernel: jf.DataFlowKernel) -> None:
    @jf.python_app(cache=True)
    def double(x: int) -> int:
        return 2 * x

    first, second = double(1), double(2)
    assert (first.result(), second.result()) == (2, 4)
    told = jf.explain(second)

    text = shown(told).text

    for line in str(told).splitlines():
        assert line.strip() in text


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_text_is_only_text(kernel: jf.DataFlowKernel, text: str) -> None:
    def fail(argument: str) -> None:
        raise ValueError(argument)

    fail.__name__ = fail.__qualname__ = text
    future = kernel.submit(fail, text, label=text)
    future.exception()

    for value in (future, kernel, kernel.summary()):
        seen = shown(value)
        assert set(seen.tags) <= {"div", "strong", "table", "tr", "th", "td", "pre"}
        assert seen.attributes <= {"style"}
        assert seen.text.replace("\n", "").isprintable()
        seen.text.encode()


def test_a_long_text_is_cut() -> None:
    made = html.table([("message", "x" * 1_000_000)])

    assert len(made) < 3_000


def test_in_a_real_notebook(tmp_path: Path) -> None:
    setup = """
import jackfield as jf
kernel = jf.load()

@jf.python_app
def double(x):
    return 2 * x
"""
    ask = "future = double(21)\nfuture.result()\nfuture"
    end = "kernel.cleanup()\nkernel.summary()"
    make: Any = nbformat.v4  # it has no types
    cells = [make.new_code_cell(text) for text in (setup, ask, "kernel", end)]
    book = make.new_notebook(cells=cells)

    NotebookClient(
        book, timeout=LIMIT_S, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()

    outputs = [Shown(cell.outputs[0].data["text/html"]).text for cell in book.cells[1:]]
    assert "0 (double)" in outputs[0]
    assert "DataFlowKernel, open" in outputs[1]
    assert re.search(r"succeeded\s+1", outputs[2])
