from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import textwrap
import zipapp
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = [sys.executable, "-c", "from jackfield_cli.run import run; run()"]
APPS = """
import jackfield as jf

@jf.python_app
def double(x):
    return 2 * x

@jf.python_app
def fail(x):
    raise ValueError(f"no {x}")

"""


class Place:
    """A directory with a script in it, and how to run it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.script = directory / "script.py"

    def environ(self, others: dict[str, str]) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith("JACKFIELD_")}
        return kept | others

    def run(
        self, text: str, *args: str, options: tuple[str, ...] = (), **environ: str
    ) -> subprocess.CompletedProcess[str]:
        self.script.write_text(textwrap.dedent(text))
        return subprocess.run(
            [*COMMAND, *options, "script.py", *args],
            check=False,
            cwd=self.directory,
            env=self.environ(environ),
            capture_output=True,
            text=True,
            timeout=120,
        )

    def start(self, text: str) -> subprocess.Popen[str]:
        self.script.write_text(textwrap.dedent(text))
        return subprocess.Popen(
            [*COMMAND, "script.py"],
            cwd=self.directory,
            env=self.environ({}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


# -- As under python ----------------------------------------------------------------


def test_a_script_sees_what_it_sees_under_python(place: Place) -> None:
    text = """
        import json, sys
        import neighbour

        def annotated(x: 1 + 1): ...

        print(json.dumps([
            __name__, __file__, sys.argv, sys.path[0], sorted(vars()),
            __builtins__ is __import__("builtins"), annotated.__annotations__,
            sys.modules["__main__"].neighbour.VALUE,
        ]))
    """
    (place.directory / "neighbour.py").write_text("VALUE = 7")

    ran = place.run(text, "--set", "x", "-h")
    plain = subprocess.run(
        [sys.executable, "script.py", "--set", "x", "-h"],
        check=False,
        cwd=place.directory,
        env=place.environ({}),
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert ran.returncode == 0, ran.stderr
    left, right = json.loads(ran.stdout), json.loads(plain.stdout)
    left[4], right[4] = set(left[4]), {*right[4]} - {"__cached__", "__annotations__"}
    assert left[4] >= right[4]
    del left[4], right[4]
    assert left == right


def test_a_traceback_shows_the_scripts_frames_only(place: Place) -> None:
    ran = place.run("def f():\n    1 / 0\n\nf()\n")

    assert ran.returncode == 1
    assert ran.stderr.startswith("Traceback (most recent call last):\n")
    assert f'File "{place.script}", line 4, in <module>' in ran.stderr
    assert "ZeroDivisionError: division by zero" in ran.stderr
    assert "cli/run.py" not in ran.stderr


def test_a_syntax_error_is_shown_with_its_line(place: Place) -> None:
    ran = place.run("x = (1,\n")

    assert ran.returncode == 1
    assert ran.stderr.lstrip().startswith(f'File "{place.script}", line 1')
    assert "SyntaxError" in ran.stderr


def test_the_scripts_exit_code_is_the_exit_code(place: Place) -> None:
    assert place.run("import sys; sys.exit(3)").returncode == 3
    assert place.run("import sys; sys.exit()").returncode == 0


def test_an_exit_with_a_message_prints_it(place: Place) -> None:
    ran = place.run("import sys; sys.exit('no input')")

    assert ran.returncode == 1
    assert ran.stderr.startswith("no input\n")


def test_a_missing_script_is_a_usage_error(place: Place) -> None:
    ran = subprocess.run(
        [*COMMAND, "none.py"],
        check=False,
        cwd=place.directory,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert ran.returncode == 2
    assert "'none.py' does not exist" in ran.stderr


# -- Configuration ------------------------------------------------------------------


def test_the_scripts_own_load_gets_the_chosen_configuration(place: Place) -> None:
    (place.directory / "jackfield.toml").write_text("retries = 1")
    (place.directory / "other.toml").write_text("retries = 2\nmax_pending = 50")

    ran = place.run(
        """
        import jackfield as jf

        with jf.load() as kernel:
            print(kernel.config.retries, kernel.config.max_pending)
        """,
        options=("--config", "other.toml", "--set", "retries=3"),
    )

    assert ran.stdout == "3 50\n", ran.stderr


def test_values_that_are_set_reach_a_kernel_with_a_config_of_its_own(
    place: Place,
) -> None:
    ran = place.run(
        """
        import jackfield as jf

        with jf.load(jf.Config(retries=1, max_pending=50)) as kernel:
            print(kernel.config.retries, kernel.config.max_pending)
        """,
        options=("--set", "retries=3"),
    )

    assert ran.stdout == "3 50\n", ran.stderr


def test_a_profile_reaches_the_scripts_load(place: Place) -> None:
    metadata = place.directory / "my_lab-1.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: my-lab\nVersion: 1.2\n")
    (metadata / "entry_points.txt").write_text("[jackfield.profiles]\nlab = my_lab:p\n")
    (place.directory / "my_lab.py").write_text("p = {'retries': 4}")

    ran = place.run(
        """
        import jackfield as jf

        with jf.load() as kernel:
            print(kernel.config.retries)
        """,
        options=("--profile", "lab"),
        PYTHONPATH=str(place.directory),
    )

    assert ran.stdout == "4\n", ran.stderr


def test_an_assignment_that_cannot_be_is_told_before_the_script_runs(
    place: Place,
) -> None:
    ran = place.run("print('ran')", options=("--set", "retrys=3"))

    assert ran.returncode == 1
    assert ran.stdout == ""
    assert ran.stderr.startswith("Error: 'retrys'")
    assert "did you mean 'retries'" in ran.stderr


def test_a_blocked_plugin_is_not_used(place: Place) -> None:
    ran = place.run(
        """
        import jackfield as jf

        with jf.load():
            pass
        """,
        options=("--no-plugin", "threads"),
    )

    assert ran.returncode == 1
    assert "'threads'" in ran.stderr
    assert "blocked" in ran.stderr


def test_a_script_without_a_kernel_is_told_the_option_for_it(place: Place) -> None:
    ran = place.run(APPS + "print(double(2).result())")

    assert ran.returncode == 1
    assert "NoDataFlowKernelError" in ran.stderr
    assert "jackfield run --load" in ran.stderr


def test_with_the_option_a_kernel_is_there_before_the_first_line(place: Place) -> None:
    ran = place.run(APPS + "print(double(2).result())", options=("--load",))

    assert (ran.returncode, ran.stdout) == (0, "4\n"), ran.stderr
    assert "1 task in " in ran.stderr


def test_with_the_option_a_bad_configuration_is_told_in_a_sentence(
    place: Place,
) -> None:
    ran = place.run(APPS, options=("--load", "--set", "retries=many"))

    assert ran.returncode == 1
    assert ran.stderr.startswith("Error: retries (from command line) must be a number")


# -- Summary and end ----------------------------------------------------------------


def test_the_summary_counts_states_and_names_the_run(place: Place) -> None:
    ran = place.run(
        APPS + "with jf.load():\n    print(double(double(double(1))).result())"
    )

    assert (ran.returncode, ran.stdout) == (0, "8\n"), ran.stderr
    [line] = ran.stderr.splitlines()
    assert line.startswith("3 tasks in ")
    assert line.endswith(f": 3 succeeded. Run: {place.directory / 'runs' / '000'}")


def test_failures_are_named_and_make_the_exit_code_1(place: Place) -> None:
    ran = place.run(
        APPS
        + """
with jf.load():
    jf.wait_for_current_tasks()
    failed = [fail(n) for n in range(7)]
    double(failed[0])
"""
    )

    assert ran.returncode == 1
    first, *failures, last, advice = ran.stderr.splitlines()
    assert "7 failed" in first
    assert "1 dependency-failed" in first
    assert len(failures) == 5
    assert all("ValueError: no " in line for line in failures)
    assert last == "  ... and 2 more"
    command = shlex.split(advice.partition(": ")[2])
    assert command == ["jackfield", "report", str(place.directory / "runs" / "000")]
    page = place.directory / "page.html"
    jackfield = [sys.executable, "-m", *command, "-o", str(page)]
    subprocess.run(jackfield, check=True, timeout=120, stdout=subprocess.DEVNULL)
    assert page.exists()


def test_the_summary_says_when_there_was_no_kernel(place: Place) -> None:
    ran = place.run("print('ran')")

    assert (ran.returncode, ran.stdout) == (0, "ran\n")
    assert ran.stderr == "No kernel was loaded.\n"


def test_each_kernel_of_a_script_has_its_line(place: Place) -> None:
    ran = place.run(
        APPS
        + "with jf.load():\n    double(1)\nwith jf.load():\n    double(1), double(2)"
    )

    first, second = ran.stderr.splitlines()
    assert first.startswith("1 task in ")
    assert second.startswith("2 tasks in ")


def test_tasks_of_a_kernel_that_the_script_left_open_are_waited_for(
    place: Place,
) -> None:
    ran = place.run(
        APPS
        + """
import threading

jf.load()
late = threading.Event()

@jf.python_app
def wait(event):
    assert event.wait(300)
    print("done")

wait(late)
threading.Timer(0.2, late.set).start()
"""
    )

    assert (ran.returncode, ran.stdout) == (0, "done\n"), ran.stderr
    assert "1 succeeded" in ran.stderr


def test_after_an_exception_nothing_is_waited_for(place: Place) -> None:
    ran = place.run(
        APPS
        + """
import threading

jf.load(exit_grace=0.1)

@jf.python_app
def later(x):
    print("ran all the same")

@jf.python_app
def wait(event):
    event.wait(300)

event = threading.Event()
later(wait(event))
timer = threading.Timer(20.0, event.set)
timer.daemon = True
timer.start()
raise RuntimeError("no more")
"""
    )

    assert ran.returncode == 1
    assert "RuntimeError: no more" in ran.stderr
    assert "ran all the same" not in ran.stdout


def test_ctrl_c_ends_the_run_with_130_and_a_summary(place: Place) -> None:
    running = place.start(
        APPS
        + """
import threading

@jf.python_app
def block(event):
    print("ready", flush=True)
    event.wait(300)

with jf.load(exit_grace=0.1):
    event = threading.Event()
    future = block(event)
    try:
        future.result()
    finally:
        event.set()
"""
    )
    try:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=120)
    finally:
        running.kill()
        running.communicate()

    assert running.returncode == 130, errors
    first, *waited, interrupted, summary = errors.splitlines()
    assert first.startswith("jackfield: interrupted with 1 unfinished task: ")
    assert waited[0].startswith("  Waiting for 0 (block(<Event>)) on ")
    assert interrupted == "Interrupted."
    assert summary.startswith("1 task in ")


def test_a_second_ctrl_c_waits_for_nothing_more(place: Place) -> None:
    running = place.start(
        APPS
        + """
import threading

jf.load(exit_grace=300)
event = threading.Event()

@jf.python_app
def block():
    print("ready", flush=True)
    event.wait(300)

block().result()
"""
    )
    try:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline() == "ready\n"
        running.send_signal(signal.SIGINT)
        assert running.stderr.readline() == "Interrupted.\n"
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=120)
    finally:
        running.kill()
        running.communicate()

    assert running.returncode == 130


def test_ctrl_c_while_tasks_are_waited_for_cuts_the_waiting_short(place: Place) -> None:
    running = place.start(
        APPS
        + """
import threading

jf.load(exit_grace=0.1)
script_has_ended, never = threading.Event(), threading.Event()

@jf.python_app
def block():
    assert script_has_ended.wait(300)
    print("ready", flush=True)
    never.wait(300)

double(block())
script_has_ended.set()
"""
    )
    try:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        running.send_signal(signal.SIGINT)
        _, errors = running.communicate(timeout=120)
    finally:
        running.kill()
        running.communicate()

    assert running.returncode == 130, errors
    first, second, *_ = errors.splitlines()
    assert first == "Interrupted."
    assert second.startswith("jackfield: interrupted with 2 unfinished tasks: ")
    assert "2 tasks in " in errors


# -- As Python does it


def test_threads_that_are_no_daemons_still_submit(place: Place) -> None:
    done = place.run(
        APPS
        + textwrap.dedent(
            """
        import threading
        jf.load()
        def later():
            threading.main_thread().join()
            print([double(i).result(60) for i in range(3)])
        threading.Thread(target=later).start()
        """
        )
    )

    assert (done.returncode, done.stdout) == (0, "[0, 2, 4]\n"), done.stderr
    assert "3 tasks" in done.stderr
    assert "3 succeeded" in done.stderr


@pytest.mark.parametrize("plugin", ["threads", "processes"])
def test_exit_functions_still_submit(place: Place, plugin: str) -> None:
    register = "atexit.register(lambda: print(double(4).result(60)))"
    load = f"jf.load(executors={{'x': {{'plugin': '{plugin}', 'workers': 1}}}})"
    done = place.run(f"{APPS}\nimport atexit\n{load}\n{register}\n")

    assert (done.returncode, done.stdout) == (0, "8\n"), done.stderr
    assert "1 succeeded" in done.stderr


def test_tasks_of_a_foreign_pool_are_waited_for_before_exit_functions(
    place: Place,
) -> None:
    """``multiprocessing`` has an exit function that breaks such a pool.

    Another pool, which the script has left open and no kernel knows, holds up nothing.
    """
    done = place.run(
        """
        import concurrent.futures as cf, multiprocessing as mp, jackfield as jf
        double = jf.python_app(lambda x: 2 * x)
        if __name__ == "__main__":
            mp.set_start_method("spawn")
            other = cf.ProcessPoolExecutor(1)
            other.submit(abs, -1).result(60)
            jf.load(executors={"pool": cf.ProcessPoolExecutor(1)})
            double(4).add_done_callback(lambda one: print(one.result()))
        """
    )

    assert (done.returncode, done.stdout) == (0, "8\n"), done.stderr


def test_exit_functions_are_called_in_pythons_order(place: Place) -> None:
    text = """
import atexit, functools, jackfield as jf
atexit.register(print, "first")
@atexit.register
def second(): print("second")
def third(): raise SystemExit(5)
def fourth(): raise ValueError("shown")
atexit.register(third)
atexit.register(functools.partial(print, "partial"), "args", sep="-")
atexit.register(fourth)
atexit.register(second)
atexit.unregister(second)
"""
    place.script.write_text(text)
    plain = subprocess.run(
        [sys.executable, "script.py"],
        cwd=place.directory,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    done = place.run(text)

    assert done.stdout == plain.stdout == "partial-args\nfirst\n"
    assert (done.returncode, plain.returncode) == (0, 0)
    assert "ValueError: shown" in done.stderr


def test_a_task_that_fails_in_an_exit_function_counts(place: Place) -> None:
    done = place.run(
        APPS + "\nimport atexit\njf.load()\natexit.register(lambda: fail(1))\n"
    )

    assert done.returncode == 1
    assert "1 failed" in done.stderr


PROGRAM = """
import sys, jackfield as jf
@jf.python_app
def double(x): return 2 * x
class Mine: pass
@jf.python_app
def make(): return Mine()
if __name__ == "__main__":
    with jf.load(executors={"x": {"plugin": "processes", "workers": 1}}):
        print(sys.argv[1:], double(21).result(60), type(make().result(60)) is Mine)
        print(sys.argv[0], sys.path[0], sys.modules["__main__"].double is double)
"""


@pytest.mark.parametrize("kind", ["directory", "zipapp", "-", "-m", "-m package"])
def test_what_python_runs_is_run_alike(place: Place, kind: str) -> None:
    here = place.directory
    (here / "packed").mkdir()
    (here / "packed" / "__main__.py").write_text(PROGRAM)
    (here / "packed" / "__init__.py").touch()
    (here / "module.py").write_text(PROGRAM)
    zipapp.create_archive(here / "packed", here / "app.pyz")
    what = {
        "directory": ["packed"],
        "zipapp": ["app.pyz"],
        "-": ["-"],
        "-m": ["-m", "module"],
        "-m package": ["-m", "packed"],
    }[kind]

    def output(command: list[str]) -> str:
        done = subprocess.run(
            [*command, *what, "--flag", "-x"],
            check=False,
            cwd=here,
            env=place.environ({}),
            input=PROGRAM if kind == "-" else None,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    as_python = output([sys.executable])
    assert "['--flag', '-x'] 42 True" in as_python
    assert output(COMMAND) == as_python


def test_options_may_come_before_a_module(place: Place) -> None:
    (place.directory / "module.py").write_text(
        "import jackfield as jf, sys\nprint(jf.dfk().config.retries, sys.argv[1:])\n"
    )

    done = subprocess.run(
        [*COMMAND, "--load", "--set", "retries=2", "-m", "module", "-m", "--load"],
        check=True,
        cwd=place.directory,
        env=place.environ({}),
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.stdout == "2 ['-m', '--load']\n"


@pytest.mark.parametrize("args", [["-m", "no_such_module"], ["empty"]])
def test_what_cannot_be_run_is_told_in_a_sentence(
    place: Place, args: list[str]
) -> None:
    (place.directory / "empty").mkdir()

    done = subprocess.run(
        [*COMMAND, *args],
        check=False,
        cwd=place.directory,
        env=place.environ({}),
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "no_such_module" in done.stderr or "__main__" in done.stderr


def test_a_configuration_beside_the_script_is_found_first(place: Place) -> None:
    deep = place.directory / "deep"
    deep.mkdir()
    (place.directory / "jackfield.toml").write_text("retries = 1")
    (deep / "jackfield.toml").write_text("retries = 2")
    (deep / "script.py").write_text(
        "import jackfield as jf\nwith jf.load() as k: print(k.config.retries)\n"
    )

    for command in ([sys.executable], COMMAND):
        done = subprocess.run(
            [*command, "deep/script.py"],
            check=True,
            cwd=place.directory,
            env=place.environ({}),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.stdout == "2\n"


@pytest.mark.parametrize("encoding", ["latin-1", "latin-1:strict", "cp1252"])
def test_a_terminal_that_knows_few_characters_is_no_traceback(
    place: Place, encoding: str
) -> None:
    done = place.run(
        APPS
        + 'with jf.load(): fail("\\u65e5\\u672c").exception(60)\n'
        + 'raise SystemExit("\\u65e5")\n',
        PYTHONIOENCODING=encoding,
        PYTHONUTF8="0",
        JACKFIELD_RUN_DIR="r\u65e5",
    )

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "ValueError: no \\u65e5\\u672c" in done.stderr


def test_config_show_on_such_a_terminal(place: Place) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jackfield", "config", "show"],
        check=False,
        cwd=place.directory,
        env=place.environ(
            {"PYTHONIOENCODING": "latin-1", "JACKFIELD_RUN_DIR": "r\u65e5"}
        ),
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    assert "r\\u65e5" in done.stdout


MONITORS = """
with jf.load() as kernel:
    double(1).result()
print((kernel.run_dir / "monitor.db").exists(), dict(kernel.config.monitors))
"""


@pytest.mark.parametrize(
    ("options", "file", "printed"),
    [
        ((), "", "True {'db': {'plugin': 'sqlite', 'complete': True}}"),
        (("--no-monitor",), "", "False {}"),
        (("--no-plugin", "sqlite"), "", "False {}"),
        ((), "[plugins]\nblock = ['sqlite']", "False {}"),
        ((), "[monitors]", "False {}"),
        ((), "[monitors.x]\nplugin = 'sqlite'", "True {'x': {'plugin': 'sqlite'}}"),
    ],
    ids=["by itself", "told not to", "blocked", "blocked by a file", "none", "own"],
)
def test_a_run_keeps_its_history_unless_told_otherwise(
    place: Place, options: tuple[str, ...], file: str, printed: str
) -> None:
    (place.directory / "jackfield.toml").write_text(file)

    done = place.run(APPS + MONITORS, options=options)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == printed


def test_a_script_with_a_configuration_of_its_own_has_a_history_too(
    place: Place,
) -> None:
    done = place.run(APPS + MONITORS.replace("load()", "load(jf.Config(retries=1))"))

    assert done.stdout.strip() == "True {'db': {'plugin': 'sqlite', 'complete': True}}"
