"""Ends of tasks' outputs: only from within the run, and harmless."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jackfield_monitoring.pages.tails import TAIL_BYTES, plain, read_tail


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's directory beside a file that is nobody's business."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "runs/003/task_logs/0000").mkdir(parents=True)
    return tmp_path / "runs/003"


def log(run: Path, text: bytes) -> str:
    path = run / "task_logs/0000/task_0001.stdout"
    path.write_bytes(text)
    return str(path)


def test_the_end_of_a_file_is_read(run: Path) -> None:
    path = log(run, b"".join(b"line %d\n" % i for i in range(10_000)))

    tail = read_tail(run, "stdout", path)

    assert tail["text"].endswith("line 9998\nline 9999\n")
    assert tail["text"].startswith("line ")
    assert tail["note"] == f"the last {TAIL_BYTES:,} of 98,890 bytes"


def test_a_run_that_was_moved_keeps_its_outputs(run: Path) -> None:
    log(run, b"moved")

    tail = read_tail(run, "stdout", "/old/runs/003/task_logs/0000/task_0001.stdout")

    assert tail["text"] == "moved"


@pytest.mark.parametrize(
    "path",
    [
        "{run}/../../secret",
        "{run}/task_logs/../../../secret",
        "/x/task_logs/../../../../../../{top}/secret",
        "{top}/secret",
        "{run}/link",
        "{run}/linked/secret",
        "{run}/pipe",
        "{run}/task_logs",
        "{run}",
        "relative",
        "",
        "{run}/task_logs/nul\0byte",
        "{run}/lone\udc80surrogate",
    ],
)
def test_nothing_else_is_read(run: Path, path: str) -> None:
    top = run.parents[1]
    (run / "link").symlink_to(top / "secret")
    (run / "linked").symlink_to(top)
    os.mkfifo(run / "pipe")

    tail = read_tail(run, "stdout", path.format(run=run, top=top))

    assert tail["text"] == ""
    assert tail["note"]
    assert tail["note"].isprintable()


def test_a_run_below_a_link_is_the_run(run: Path) -> None:
    path = log(run, b"here")
    (run.parents[1] / "latest").symlink_to(run)
    linked = run.parents[1] / "latest"

    assert read_tail(linked, "stdout", path)["text"] == "here"
    below = str(linked / "task_logs/0000/task_0001.stdout")
    assert read_tail(linked, "stdout", below)["text"] == "here"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPdcs\x1b\\x", "x"),
        ("\x1bc\x1b(Bx", "x"),
        ("10 %\r50 %\r100 %\ndone\r\n", "100 %\ndone\n"),
        ("a\x00b\x08", "a\\x00b\\x08"),
        ("\u202eevil", "\\u202eevil"),
        ("tab\tand\n", "tab\tand\n"),
        ("\x1b", "\\x1b"),
        ("\x1b[", ""),
    ],
)
def test_nothing_in_it_commands_a_terminal(raw: str, shown: str) -> None:
    assert plain(raw) == shown


def test_bytes_that_are_no_text_are_shown_as_such(run: Path) -> None:
    assert read_tail(run, "stdout", log(run, b"\xff\xfe"))["text"] == "\ufffd\ufffd"


def test_an_empty_file_is_said_to_be_empty(run: Path) -> None:
    assert read_tail(run, "stdout", log(run, b""))["note"] == "empty"
