"""What a program submits as its last act runs at its end, whatever it needs for that.

Nothing here is asked for before the end has begun: no worker, transfer or watchdog is
there yet. The other thread submits when the main thread has ended for certain, from
when on Python 3.12 starts no thread.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from jackfield_testing.servers import HostileHTTPServer

Run = Callable[[str], Any]

APPS = """
from pathlib import Path

@jf.python_app
def square(number):
    Path(f"ran{number}").touch()
    return number * number

@jf.python_app
async def later(number):
    Path(f"ran{number}").touch()
    return number

@jf.python_app(cache=True)
def cached(number):
    Path(f"ran{number}").touch()
    return number

@jf.bash_app
def touch(number):
    return f"touch ran{number}"

@jf.join_app
def joined(number):
    return square(square(number))

@jf.python_app
def read(file, number):
    Path(f"ran{number}").write_bytes(Path(file).read_bytes())

@jf.python_app
def count(directory):
    Path(f"ran{len(list(Path(directory).iterdir()))}").touch()

@jf.python_app(walltime=0.2)
def endless():
    while True:
        time.sleep(0.05)

gate = threading.Event()

def load(plugin, **options):
    table = {"plugin": plugin, "workers": 4}
    jf.load({"run_dir": "runs", "exit_grace": 50, "executors": {"x": table}, **options})
"""

LAST_ACTS = {
    "main": "submit()",
    "thread": """
def wait_and_submit():
    threading.main_thread().join()
    submit()

threading.Thread(target=wait_and_submit).start()
""",
}


@pytest.fixture(params=LAST_ACTS)
def last_act(request: pytest.FixtureRequest, run: Run) -> Callable[[str, str], Any]:
    """Run a program that loads a kernel, submits with its last line, and ends."""

    def end(load: str, submit: str) -> Any:
        submits = f"def submit():\n    {submit}\n"
        return run(APPS + load + "\n" + submits + LAST_ACTS[request.param])

    return end


@pytest.mark.parametrize("plugin", ["threads", "processes"])
@pytest.mark.parametrize(
    ("submit", "ran"),
    [
        ("for number in range(6): square(number)", {0, 1, 2, 3, 4, 5}),
        ("square(square(square(2)))", {2, 4, 16}),
        ("later(1)", {1}),
        ("touch(1); touch(2)", {1, 2}),
        ("joined(3)", {3, 9}),
    ],
    ids=["apps", "chain", "coroutine", "bash", "join"],
)
def test_tasks_of_the_last_act_run(
    last_act: Any, tmp_path: Path, plugin: str, submit: str, ran: set[int]
) -> None:
    end = last_act(f"load({plugin!r})", submit)

    assert end.code == 0, end.err
    assert {int(path.name[3:]) for path in tmp_path.glob("ran*")} == ran
    assert "failed" not in end.err
    assert "cannot" not in end.err


@pytest.mark.parametrize("plugin", ["threads", "processes"])
def test_files_of_the_last_act_are_fetched(
    last_act: Any, tmp_path: Path, plugin: str
) -> None:
    directory = tmp_path / "directory"
    directory.mkdir()
    (directory / "a").write_bytes(b"here")
    (directory / "b").write_bytes(b"too")
    url = directory.as_uri() + "/"
    with HostileHTTPServer({"/x": b"there"}) as server:
        files = f"read(jf.File({server.url('/x')!r}), 1); count(jf.File({url!r}))"
        end = last_act(f"load({plugin!r})", files)

    assert end.code == 0, end.err
    assert (tmp_path / "ran1").read_bytes() == b"there"
    assert (tmp_path / "ran2").exists()


@pytest.mark.parametrize("plugin", ["threads", "processes"])
def test_a_walltime_of_the_last_act_ends_the_task(last_act: Any, plugin: str) -> None:
    end = last_act(f"load({plugin!r})", "endless()")

    assert "AppTimeout" in end.err
    assert "1 of 1 tasks failed" in end.err
    assert end.code == 0  # as of every task that fails in time


def test_results_of_the_last_act_are_kept(
    last_act: Any, run: Run, tmp_path: Path
) -> None:
    store = "load('threads', checkpoint={'store': 'sqlite:///results.db'})"

    end = last_act(store, "cached(1); cached(2)")

    assert end.code == 0, end.err
    (tmp_path / "ran1").unlink()
    again = run(APPS + store + "\nsay(cached(1).result())")
    assert again.out == ["1"], again.err
    assert not (tmp_path / "ran1").exists()


def test_the_last_act_is_in_the_history_and_seen_by_callbacks(
    last_act: Any, tmp_path: Path
) -> None:
    end = last_act(
        "load('threads', monitors={'db': {'plugin': 'sqlite'}})",
        "square(7).add_done_callback(lambda future: say(future.result()))",
    )

    assert (end.code, end.out) == (0, ["49"]), end.err
    (history,) = tmp_path.glob("runs/*/monitor.db")
    with closing(sqlite3.connect(f"file:{history}?mode=ro", uri=True)) as database:
        assert database.execute("SELECT count(*) FROM task").fetchone() == (1,)


def test_what_has_not_ended_within_the_grace_is_cut_short(
    run: Run, tmp_path: Path
) -> None:
    end = run(
        APPS
        + """
@jf.python_app(executors=["x"])
def stay():
    Path("begun").touch()
    gate.wait()

load("threads", exit_grace=0.5)
for _ in range(4):
    stay()
square(1)  # behind them
"""
    )

    assert end.code == 120
    assert "the program ends with 5 unfinished tasks; they get 0.5 s" in end.err
    assert (tmp_path / "begun").exists()
    assert not (tmp_path / "ran1").exists()


@pytest.mark.skipif(sys.version_info[:2] != (3, 12), reason="others start threads then")
def test_a_thread_is_lent_to_whoever_starts_one(run: Run) -> None:
    end = run(
        """
import atexit
from jackfield_executors.spare import SPARE
load()

def start_all():
    started, names = [], []
    def work():
        names.append(threading.current_thread().name)
        time.sleep(0.01)
    try:
        while len(started) <= SPARE:
            started.append(threading.Thread(target=work, name=f"own-{len(started)}"))
            started[-1].start()
    except RuntimeError as error:
        say(error)
    for thread in started[:-1]:
        thread.join()
        assert thread.ident and not thread.is_alive() and thread.name in names
    say(len(names) == SPARE)

jf.dfk().cleanup()
atexit.register(start_all)
"""
    )

    assert end.out == ["can't create new thread at interpreter shutdown", "True"]
    assert end.code == 0, end.err


def test_a_fork_has_spare_threads_of_its_own(run: Run, tmp_path: Path) -> None:
    end = run(
        APPS
        + """
load("threads")
warnings.simplefilter("ignore")
faulthandler.cancel_dump_traceback_later()  # a child would wait for its thread
child = os.fork()
if child == 0:
    load("threads", run_dir="child")
    square(5)
    sys.exit()
assert os.waitpid(child, 0)[1] == 0
square(6)
"""
    )

    assert end.code == 0, end.err
    assert {path.name for path in tmp_path.glob("ran*")} == {"ran5", "ran6"}
