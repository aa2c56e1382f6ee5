"""What plugins warn of reaches the run's log and the terminal, and commands neither."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.errors import (
    BashExitFailure,
    CheckpointError,
    JackfieldError,
    RemoteError,
    TransferError,
    one_line,
    printable,
)

HOSTILE = "\x1b]0;title\x07\x9b31m\u202etxt.exe\u2028\udcff\r"
ESCAPED = r"\x1b]0;title\x07\x9b31m\u202etxt.exe\u2028\udcff\r"

Run = Callable[[str], "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(source: str) -> subprocess.CompletedProcess[str]:
        prelude = "import logging, warnings\nimport jackfield as jf\n"
        prelude += "from jackfield.errors import PluginWarning\n"
        return subprocess.run(
            [sys.executable, "-c", prelude + source],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )

    return run


PLUGIN = """
class Warns:
    @jf.hookimpl
    def jackfield_kernel_started(self, kernel):
        for _ in range(3):
            {what}
"""
LOADED = """
with jf.load(run_dir="runs", plugins=[Warns()]) as kernel:
    pass
print((kernel.run_dir / "jackfield.log").read_text())
"""


@pytest.mark.parametrize(
    "what",
    [
        "logging.getLogger('jackfield.mine').warning('an old proxy')",
        "logging.getLogger('jackfield.staging.https').error('an old %s', 'proxy')",
        "warnings.warn('an old proxy', PluginWarning)",
    ],
    ids=["warning", "error", "Python's warning"],
)
def test_a_plugins_warning_is_in_the_log_and_once_on_the_terminal(
    run: Run, what: str
) -> None:
    end = run(PLUGIN.format(what=what) + LOADED)

    assert "an old proxy" in end.stdout
    assert end.stderr.count(": an old proxy\n") == 1


def test_its_other_records_are_in_neither(run: Run) -> None:
    what = "logging.getLogger('jackfield.mine').info('a detail')"
    end = run(PLUGIN.format(what=what) + LOADED)

    assert "a detail" not in end.stdout + end.stderr


def test_an_application_that_takes_records_shows_them_itself(run: Run) -> None:
    what = "logging.getLogger('jackfield.mine').warning('an old proxy')"
    basic = "logging.basicConfig(format='APP %(message)s')\n"
    end = run(basic + PLUGIN.format(what=what) + LOADED)

    assert end.stderr.count("APP an old proxy") == 3
    assert "jackfield: an old proxy" not in end.stderr


def test_the_kernels_own_warnings_are_for_the_log(run: Run) -> None:
    end = run(
        """
with jf.load(run_dir="runs") as kernel:
    assert kernel.submit(int, "x").exception()
print((kernel.run_dir / "jackfield.log").read_text())
"""
    )

    assert "WARNING" in end.stdout
    assert end.stderr == ""


def test_a_plugin_writes_to_the_runs_that_are_open(tmp_path: Path) -> None:
    log = logging.getLogger("jackfield.mine")
    first = jf.DataFlowKernel(jf.Config(run_dir=tmp_path))
    second = jf.DataFlowKernel(jf.Config(run_dir=tmp_path))
    log.warning("for both")
    first.cleanup()
    log.warning("for the second")
    second.cleanup()
    log.warning("for nobody")

    texts = [(one.run_dir / "jackfield.log").read_text() for one in (first, second)]
    assert ["for both" in text for text in texts] == [True, True]
    assert ["for the second" in text for text in texts] == [False, True]
    assert ["for nobody" in text for text in texts] == [False, False]


def test_ended_runs_leave_no_handler(tmp_path: Path) -> None:
    def load() -> None:
        jf.load(run_dir=tmp_path).cleanup()

    load()
    before = list(logging.getLogger("jackfield").handlers)
    load()

    assert logging.getLogger("jackfield").handlers == before


# -- nothing commands a terminal


def test_a_record_is_one_line_of_the_log(tmp_path: Path) -> None:
    with jf.load(run_dir=tmp_path) as kernel:
        logging.getLogger("jackfield.mine").warning("first\n%s second", HOSTILE)
        text = (kernel.run_dir / "jackfield.log").read_text()

    assert f"first\\n{ESCAPED} second\n" in text
    assert text.replace("\n", "").isprintable()


def test_a_traceback_in_the_log_keeps_its_lines(tmp_path: Path) -> None:
    with jf.load(run_dir=tmp_path) as kernel:
        try:
            raise ValueError(HOSTILE)
        except ValueError:
            logging.getLogger("jackfield.mine").exception("failed")
        text = (kernel.run_dir / "jackfield.log").read_text()

    assert "Traceback (most recent call last):\n" in text
    assert ESCAPED in text
    assert text.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    "error",
    [
        TransferError("https://h/x", f"server said: {HOSTILE}"),
        RemoteError("E", HOSTILE, f"Traceback\n{HOSTILE}"),
        BashExitFailure("f", 1, HOSTILE),
        CheckpointError(HOSTILE, HOSTILE),
        JackfieldError(HOSTILE),
        jf.AppTimeout(HOSTILE, 1.0),
        jf.NoDataFlowKernelError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_message_of_ours_does(error: Exception) -> None:
    assert str(error).replace("\n", "").isprintable()
    assert one_line(error).isprintable()


def test_an_error_that_others_derive_from_ours_is_escaped_too() -> None:
    class Mine(TransferError):
        def __str__(self) -> str:
            return f"mine: {super().__str__()}: {HOSTILE}"

    assert (
        str(Mine("https://h/x", HOSTILE)) == f"mine: https://h/x: {ESCAPED}: {ESCAPED}"
    )


def test_an_exception_of_a_task_is_escaped_wherever_it_is_told(tmp_path: Path) -> None:
    def fails(text: str) -> None:
        raise ValueError(text)

    events: list[Any] = []

    class Watch:
        @jf.hookimpl
        def jackfield_task_events(self, events: Any, seen: Any = events) -> None:
            seen.extend(one.error for one in events if one.error)

    with jf.load(run_dir=tmp_path, plugins=[Watch()]) as kernel:
        future = kernel.submit(fails, HOSTILE)
        dependent = kernel.submit(str, future)
        texts = [
            repr(future) if future.exception() else "",
            str(dependent.exception()),
            *kernel.summary().failures,
        ]
    texts += events
    texts.append((kernel.run_dir / "jackfield.log").read_text())

    for text in texts:
        assert text.replace("\n", "").isprintable()
        assert ESCAPED in text.replace("\\\\", "\\")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ünïcode 中文", "plain ünïcode 中文"),
        ("a\tb", r"a\tb"),
        ("\x00\x7f\x85", r"\x00\x7f\x85"),
        ("\u2066\u200f\u061c\u202e", r"\u2066\u200f\u061c\u202e"),
        ("\udc80", r"\udc80"),
    ],
)
def test_only_what_is_not_printable_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_line_ends_may_be_kept() -> None:
    assert printable("a\nb\tc\x1b", keep="\n\t") == "a\nb\tc\\x1b"


FULL = """
import resource, signal, sys
import jackfield as jf

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
for number in range(2):
    with jf.load({"run_dir": sys.argv[1], "log_level": "DEBUG"}) as kernel:
        for x in range(20):
            kernel.submit(abs, -x).result()
print("ended")
"""


def test_where_the_disk_is_full_the_run_goes_on_and_says_so_once(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-c", FULL, str(tmp_path / "runs")]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=60
    )

    assert (done.returncode, done.stdout) == (0, "ended\n"), done.stderr
    assert done.stderr.count("jackfield.log cannot be written") == 2
    assert "Traceback" not in done.stderr
