"""``load(progress=True)``: on terminals, in files, with two kernels, after a fork."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from io import StringIO
from typing import TYPE_CHECKING

import pytest

import jackfield as jf
from jackfield import ConfigurationError, TaskState
from jackfield.events import Batch, TaskChange
from jackfield_monitoring.progress.counts import Counts
from jackfield_monitoring.progress.monitor import LogFace

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Start

LIMIT_S = 100.0

APPS = """
    import os, sys, time
    import jackfield as jf

    @jf.python_app
    def align(number):
        if number % 10 == 3:
            raise ValueError(f"sample {number} has no reads")
        return number

    @jf.python_app(cache=True)
    def count(number):
        return number

    @jf.python_app
    def merge(numbers):
        return len(numbers)
"""

THREE = (
    APPS
    + """
    # On one thread the tasks end in the order in which they were submitted.
    one = {"one": {"plugin": "threads", "workers": 1}}
    with jf.load(executors=one, progress=True):
        print("begun")
        futures = [align(number) for number in range(40)]
        futures += [count(number % 5) for number in range(20)]
        for future in futures:
            future.exception()
        merge(futures[50:]).result()
        print("ended")
"""
)


def test_three_apps_with_failures(start: Start) -> None:
    tty = start(THREE)

    assert tty.end() == 0
    text = tty.text
    assert text[:3] == ["begun", "ended", ""]
    assert [" ".join(re.sub("[━─]", "", line).split()) for line in text[3:6]] == [
        "align 36/40 4 failed",
        "count 20/20 15 memoized",
        "merge 1/1",
    ]
    assert re.fullmatch(r"\d:\d\d  57 of 61 done, 15 memoized, 4 failed", text[6])
    assert (
        text[7] == "newest failure: task 33 (align): ValueError: sample 33 has no reads"
    )
    assert len(text) == 8
    assert (tty.screen.cursor.y, tty.screen.cursor.x) == (8, 0)


def test_it_is_shown_while_it_runs(start: Start) -> None:
    tty = start(
        APPS
        + """
    @jf.python_app
    def wait():
        return sys.stdin.readline()

    with jf.load(progress=True, executors={"one": {"plugin": "threads", "workers": 1}}):
        futures = [wait() for _ in range(3)]
        merge(futures).result()
    """
    )
    tty.sees("0/3  1 running")
    tty.sees("merge")
    tty.until(lambda tty: re.search(r"0 of 4 done, 1 running, 3 wait", str(tty.text)))
    for ended in (1, 2):
        tty.type("x\n")
        tty.sees(f"{ended}/3  1 running")
    tty.type("x\n")

    assert tty.end() == 0
    assert re.fullmatch(r"\d:\d\d  4 of 4 done", tty.text[-1])


@pytest.mark.parametrize("plugin", ["threads", "processes"])
def test_prints_of_tasks_are_whole(start: Start, plugin: str) -> None:
    tty = start(
        f"""
    import sys
    import jackfield as jf

    @jf.python_app
    def talk(number):
        print("task", number, "talks")
        print("task", number, "complains", file=sys.stderr)

    if __name__ == "__main__":
        executors = {{"own": {{"plugin": "{plugin}", "workers": 2}}}}
        with jf.load(progress=True, executors=executors):
            for number in range(300):
                talk(number)
    """
    )
    assert tty.end() == 0

    said = [line for line in tty.text if line.startswith("task")]
    wanted = {f"task {n} {how}" for n in range(300) for how in ("talks", "complains")}
    assert len(said) == 600
    assert set(said) == wanted
    assert tty.text[-1].endswith("300 of 300 done")


def test_ctrl_c_leaves_a_clean_terminal(start: Start) -> None:
    tty = start(
        APPS
        + """
    @jf.python_app
    def wait(seconds):
        time.sleep(seconds)

    with jf.load(progress=True, exit_grace=0.1):
        futures = [wait(0.2) for _ in range(1000)]
        print("may be interrupted")
        futures[-1].result()
    """
    )
    tty.sees("may be interrupted")
    tty.sees(" running")
    tty.type("\x03")

    assert tty.end() == -signal.SIGINT
    text = tty.text
    assert text[0] == "may be interrupted"
    assert any("interrupted with" in line for line in text)
    assert sum("of 1,000 done" in line for line in text) == 1
    at = next(n for n, line in enumerate(text) if "of 1,000 done" in line)
    assert " cancelled" in text[at]
    assert text[at + 1].startswith("Traceback")
    assert text[-1] == "KeyboardInterrupt"
    assert tty.screen.cursor.x == 0


def test_no_color(start: Start) -> None:
    tty = start(THREE, NO_COLOR="1")

    assert tty.end() == 0
    assert set(re.findall(rb"\x1b\[\d*m", tty.raw)) <= {b"\x1b[0m"}
    assert "4 failed" in "\n".join(tty.text)


@pytest.mark.parametrize("environ", [{"TERM": "dumb"}, {"TERM": ""}, {"CI": "true"}])
def test_where_nothing_can_be_drawn_a_line_is_written(
    start: Start, environ: dict[str, str]
) -> None:
    tty = start(THREE, **environ)

    assert tty.end() == 0
    assert b"\x1b" not in tty.raw
    assert tty.text[:2] == ["begun", "ended"]
    told = re.fullmatch(
        r"jackfield: \d:\d\d  57 of 61 done, 15 memoized, 4 failed; newest failure: "
        r"task 33 \(align\): ValueError: sample 33 has no reads",
        "".join(tty.text[2:]),
    )
    assert told


def test_a_terminal_that_knows_no_unicode(start: Start) -> None:
    tty = start(THREE, PYTHONIOENCODING="ascii")

    assert tty.end() == 0
    assert tty.raw.isascii()
    assert "align  #" in "\n".join(tty.text)


def test_a_new_size_counts(start: Start) -> None:
    tty = start(
        APPS
        + """
    @jf.python_app
    def a_long_name_of_an_app(number):
        return sys.stdin.readline()

    with jf.load(progress=True):
        print("begun")
        a_long_name_of_an_app(0).result()
        print("ended")
    """,
        columns=100,
    )
    tty.sees("a_long_name_of_an_app  ")
    tty.resize(rows=24, columns=30)
    tty.sees("a_long_n…  0/1  1 running")
    assert tty.text[0] == "begun"
    tty.resize(rows=30, columns=90)
    tty.sees("a_long_name_of_an_app  ")
    tty.type("x\n")

    assert tty.end() == 0
    assert "ended" in tty.text
    assert tty.text[-1].endswith("1 of 1 done")


def test_hostile_names(start: Start) -> None:
    tty = start(
        APPS
        + r"""
    names = ["\x1b[2J\x1b[H", "two\nlines", "\u202e\udc80", "日本" * 40, "<b>"]
    with jf.load(progress=True):
        print("begun")
        for name in names:
            def fail(): raise ValueError(name)
            fail.__name__ = name
            jf.dfk().submit(fail).exception()
    """
    )
    assert tty.end() == 0
    text = tty.text
    assert text[0] == "begun"
    assert text[2].startswith("\\x1b[2J\\x1b[H ")
    assert text[3].startswith("two\\nlines ")
    assert text[4].startswith("\\u202e\\udc80 ")
    assert text[6].startswith("<b> ")
    assert len(text) == 9


def test_500_apps(start: Start) -> None:
    tty = start(
        APPS
        + """
    def nothing(): pass
    with jf.load(progress=True):
        for number in range(500):
            nothing.__name__ = f"app{number}"
            jf.dfk().submit(nothing)
    """
    )
    assert tty.end() == 0
    assert len(tty.text) == 15  # a blank line, and the most that there may be
    assert tty.text[-2] == "and 488 more apps"
    assert tty.text[-1].endswith("500 of 500 done")


def test_a_small_terminal_is_left_to_the_program(start: Start) -> None:
    tty = start(THREE, rows=3)

    assert tty.end() == 0
    assert tty.text[:2] == ["begun", "ended"]
    assert len(tty.text) <= 4


def test_a_terminal_without_a_size_has_the_usual_one(start: Start) -> None:
    tty = start(THREE, rows=0, columns=0)

    tty.screen.resize(24, 80)
    assert tty.end() == 0
    assert any("done" in line for line in tty.text)


def test_two_kernels_share_the_terminal(start: Start) -> None:
    tty = start(
        APPS
        + """
    @jf.python_app
    def wait():
        return sys.stdin.readline()

    config = jf.Config(monitors={"mine": {"plugin": "progress"}})
    with jf.load(progress=True):
        with jf.DataFlowKernel(config) as second:
            future = wait()
            others = [second.submit(print, "other", number) for number in range(3)]
            for one in others: one.result()
            future.result()
        print("the second has ended")
    """
    )
    tty.sees("wait ")
    tty.sees("print ")
    tty.sees("0 of 1 done, 1 running")
    others = sorted(line for line in tty.text if line.startswith("other"))
    assert others == [f"other {number}" for number in range(3)]
    tty.type("x\n")

    assert tty.end() == 0
    text = tty.text
    assert sum(line.endswith("3 of 3 done") for line in text) == 1
    assert sum(line.endswith("1 of 1 done") for line in text) == 1
    assert text.index("the second has ended") < len(text) - 2
    assert sum(line.startswith("print ") for line in text) == 1


def test_no_tasks_say_nothing(start: Start) -> None:
    tty = start(
        """
    import jackfield as jf
    with jf.load(progress=True):
        print("only this")
    """
    )
    assert tty.end() == 0
    assert tty.text == ["only this"]


def test_a_forked_child_shows_nothing(start: Start) -> None:
    tty = start(
        APPS
        + """
    import multiprocessing

    def child():
        print("child")

    with jf.load(progress=True):
        align(1).result()
        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        process.join()
        print("code", process.exitcode)
    """
    )
    assert tty.end() == 0
    said = [line for line in tty.text if line]
    assert said[:2] == ["child", "code 0"]
    assert len(said) == 4


@pytest.mark.parametrize(
    "close", ["sys.stderr.close()", "sys.stderr = None", "os.close(2)"]
)
def test_without_standard_error_the_run_goes_on(start: Start, close: str) -> None:
    for when in ("before", "within"):
        before, within = (close, "") if when == "before" else ("", close)
        tty = start(
            APPS
            + f"""
    {before}
    with jf.load(progress=True):
        futures = [align(number) for number in range(3)]
        {within}
        time.sleep(0.6)  # so that it would have been drawn twice
        print(sum(future.result() for future in futures))
    """
        )
        assert tty.end() == 0
        assert "3" in tty.text


def test_a_terminal_that_goes_away_does_not_hold_the_run_up(
    start: Start, tmp_path: Path
) -> None:
    tty = start(
        APPS
        + """
    import signal
    signal.signal(signal.SIGHUP, lambda *_: None)  # as nohup does
    with jf.load(progress=True):
        align(1).result()
        print("begun")
        while os.getppid() and os.isatty(2):
            time.sleep(0.02)
        open("done.txt", "w").write(str(align(2).result()))
        sys.stdout = sys.stderr = open("rest.txt", "w")
    """
    )
    tty.sees("begun")
    tty.hang_up()

    assert tty.wait() == 0
    assert (tmp_path / "done.txt").read_text() == "2"


RUN = ("-m", "jackfield", "run")


def test_jackfield_run_shows_it_on_a_terminal(start: Start) -> None:
    tty = start(THREE.replace("progress=True", ""), *RUN)

    assert tty.end() == 1
    text = "\n".join(tty.text)
    assert re.search(r"^align .* 36/40  4 failed$", text, re.MULTILINE)
    assert re.search(r"^61 tasks in ", text, re.MULTILINE)


def test_jackfield_run_leaves_it_out(start: Start) -> None:
    tty = start(THREE.replace("progress=True", ""), *RUN, "--no-progress")

    assert tty.end() == 1
    assert b"\x1b" not in tty.raw
    assert "61 tasks in " in "\n".join(tty.text)


def test_jackfield_run_shows_a_configured_one_once(
    start: Start, tmp_path: Path
) -> None:
    table = '[monitors.progress]\nplugin = "progress"\n'
    (tmp_path / "jackfield.toml").write_text(table)
    tty = start(THREE, *RUN)

    assert tty.end() == 1
    assert sum("of 61 done" in line for line in tty.text) == 1


@pytest.mark.parametrize(
    ("options", "file"),
    [(("--no-plugin", "progress"), ""), ((), "[plugins]\nblock = ['progress']")],
    ids=["here", "in a file"],
)
def test_jackfield_run_goes_on_where_it_is_blocked(
    start: Start, tmp_path: Path, options: tuple[str, ...], file: str
) -> None:
    (tmp_path / "jackfield.toml").write_text(f"retries = 0\n{file}")
    tty = start(THREE.replace("progress=True", ""), *RUN, *options)

    assert tty.end() == 1
    assert b"\x1b" not in tty.raw
    assert "61 tasks in " in "\n".join(tty.text)


def test_the_second_ctrl_c_leaves_a_clean_terminal(start: Start) -> None:
    tty = start(
        """
    import time
    import jackfield as jf

    with jf.load(exit_grace=100):
        future = jf.dfk().submit(time.sleep, 1000)
        print("begun")
        future.result()
    """,
        *RUN,
    )
    tty.sees("1 running")
    tty.type("\x03")
    tty.sees("Press Ctrl-C again")
    tty.until(lambda tty: b"running" in tty.raw.partition(b"Press")[2])
    tty.type("\x03")

    assert tty.end() == 130
    assert not any("running" in line for line in tty.text[tty.screen.cursor.y :])


def run_piped(
    script: str, tmp_path: Path, **environ: str
) -> subprocess.CompletedProcess[str]:
    (tmp_path / "script.py").write_text(textwrap.dedent(script))
    return subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=True,
    )


def test_elsewhere_than_on_a_terminal_it_is_lines(tmp_path: Path) -> None:
    done = run_piped(THREE, tmp_path)

    assert done.stdout == "begun\nended\n"
    told = r"jackfield: \d:\d\d  57 of 61 done, 15 memoized, 4 failed.*\n"
    assert re.fullmatch(told, done.stderr)


def test_lines_come_again_and_again(tmp_path: Path) -> None:
    script = """
    import sys
    from jackfield_monitoring.progress import monitor
    monitor.LogFace.period = 0.02

    import jackfield as jf
    with jf.load(progress=True):
        jf.dfk().submit(input).result()
    """
    (tmp_path / "script.py").write_text(textwrap.dedent(script))
    with subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        for line in process.stderr:
            if "0 of 1 done" in line:
                break
        process.stdin.write("x\n")
        process.stdin.close()
        rest = process.stderr.readlines()
    assert process.returncode == 0
    assert rest[-1].endswith("1 of 1 done\n")


def test_a_failure_is_written_once() -> None:
    stream, counts = StringIO(), Counts()
    face = LogFace(stream)

    def fail(task: int) -> None:
        one = TaskChange(task, "align", "python", TaskState.FAILED, None, "no")
        counts.take(Batch(0, 0, changes=[one]))

    face.show(counts, 10.0)
    fail(1)
    face.show(counts, 20.0)
    face.show(counts, 30.0)
    fail(2)
    face.finish(counts, 35.0)

    assert stream.getvalue().splitlines() == [
        "jackfield: 0:10  no tasks yet",
        "jackfield: 0:20  0 of 1 done, 1 failed; newest failure: task 1 (align): no",
        "jackfield: 0:30  0 of 1 done, 1 failed",
        "jackfield: 0:35  0 of 2 done, 2 failed; newest failure: task 2 (align): no",
    ]


def test_it_has_no_options(tmp_path: Path) -> None:
    monitors = {"mine": {"plugin": "progress", "colour": 1}}

    with pytest.raises(ConfigurationError, match=r"monitors\.mine .* 'colour'"):
        jf.load(run_dir=tmp_path, monitors=monitors)


def test_options_are_refused_without_a_run(tmp_path: Path) -> None:
    (tmp_path / "jackfield.toml").write_text(
        '[monitors.mine]\nplugin = "progress"\ncolour = 1\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "jackfield", "config", "check"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 1
    assert "monitors.mine.colour" in done.stdout + done.stderr


def test_progress_does_not_replace_other_monitors(tmp_path: Path) -> None:
    (tmp_path / "jackfield.toml").write_text('[monitors.other]\nplugin = "progress"\n')
    with jf.load(tmp_path / "jackfield.toml", run_dir=tmp_path, progress=True) as one:
        assert set(one.config.monitors) == {"other", "progress"}
