"""Cached apps through the kernel: within a run, and from one run to the next."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.abc import CheckpointRecord
from jackfield.errors import CheckpointError, CheckpointWarning, MemoKeyError

LIMIT_S = 60.0

SCRIPT = """
import sys
import jackfield as jf
from helper import scale

@jf.python_app(cache=True)
def work(x):
    print("ran", x, flush=True)
    return scale(x)

if __name__ == "__main__":
    with jf.load({"executors": {"x": {"plugin": sys.argv[1], "workers": 2}}}):
        print("results", [future.result() for future in [work(1), work(2), work(1)]])
"""
HELPER = "def scale(x):\n    return x * 2\n"


@pytest.fixture(autouse=True)
def _own_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tests' signing key out of the user's configuration."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def run_script(
    directory: Path, plugin: str = "threads"
) -> tuple[int, *tuple[str, ...]]:
    """Return how many tasks ran, and the line of results.

    What workers print may come after it.
    """
    (directory / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py", plugin],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=True,
    )
    results = [line for line in done.stdout.splitlines() if line.startswith("results")]
    return done.stdout.count("ran"), *results


@pytest.mark.parametrize("plugin", ["threads", "processes"])
def test_a_second_run_does_what_has_changed(tmp_path: Path, plugin: str) -> None:
    (tmp_path / "helper.py").write_text(HELPER)
    assert run_script(tmp_path, plugin) == (2, "results [2, 4, 2]")
    assert run_script(tmp_path, plugin) == (0, "results [2, 4, 2]")

    (tmp_path / "helper.py").write_text(
        f"# a comment\n\n{HELPER}\n\ndef other(): ...\n"
    )
    assert run_script(tmp_path, plugin) == (0, "results [2, 4, 2]")

    (tmp_path / "helper.py").write_text(HELPER.replace("2", "3"))
    assert run_script(tmp_path, plugin) == (2, "results [3, 6, 3]")


KILLED = """
import sys
import jackfield as jf

@jf.python_app(cache=True)
def work(x):
    print("ran", x, flush=True)
    return x

with jf.load():
    for i in range(int(sys.argv[1])):
        print("got", work(i).result(), flush=True)
"""


def test_what_a_future_gave_is_there_after_a_kill(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(KILLED)
    child = subprocess.Popen(
        [sys.executable, script, "100000"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    got = 0
    for line in child.stdout:
        got += line.startswith("got")
        if got == 50:
            child.kill()
    child.stdout.close()
    assert child.wait(LIMIT_S) == -signal.SIGKILL

    again = subprocess.run(
        [sys.executable, script, str(got)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=True,
    )

    assert "ran" not in again.stdout
    assert again.stdout.count("got") == got


class Store:
    """A plugin with a store in memory, which can refuse to write."""

    def __init__(self) -> None:
        self.records: dict[bytes, CheckpointRecord] = {}
        self.broken = False
        self.gate = threading.Event()
        self.gate.set()

    @jf.hookimpl
    def jackfield_open_checkpoint(self, url: str) -> Any:
        return _Opened(self) if url.startswith("here") else None


class _Opened(jf.abc.CheckpointStore):
    def __init__(self, store: Store) -> None:
        self.store = store

    def get(self, key: bytes) -> CheckpointRecord | None:
        return self.store.records.get(key)

    def put_many(self, records: Sequence[CheckpointRecord]) -> None:
        assert self.store.gate.wait(LIMIT_S)
        if self.store.broken:
            raise CheckpointError("the disk is full", "here")
        self.store.records.update({record.key: record for record in records})

    def keys(self) -> Any:
        return iter(self.store.records)

    def delete(self, keys: Any) -> None:
        for key in keys:
            self.store.records.pop(key, None)

    def close(self) -> None:
        pass


def load(store: Store, **options: Any) -> jf.DataFlowKernel:
    return jf.load({"checkpoint": {"store": "here:", **options}}, plugins=[store])


def test_a_task_ends_when_its_result_is_stored() -> None:
    store = Store()
    store.gate.clear()
    with load(store) as kernel:
        future = kernel.submit(pow, 2, 3, cache=True)
        with pytest.raises(TimeoutError):
            future.result(0.2)
        store.gate.set()
        assert future.result(LIMIT_S) == 8
        assert len(store.records) == 1


@pytest.mark.parametrize("mode", ["dfk_exit", "periodic"])
def test_other_modes_store_later(mode: str) -> None:
    store = Store()
    store.gate.clear()
    with load(store, mode=mode) as kernel:
        assert kernel.submit(pow, 2, 3, cache=True).result(LIMIT_S) == 8
        assert store.records == {}
        store.gate.set()

    assert len(store.records) == 1


def test_a_store_that_cannot_write_costs_no_result() -> None:
    store = Store()
    store.broken = True
    with pytest.warns(CheckpointWarning, match="disk is full"):
        assert _powers(store) == [2**i for i in range(20)]


def _powers(store: Store) -> list[int]:
    with load(store) as kernel:
        futures = [kernel.submit(pow, 2, i, cache=True) for i in range(20)]
        return [future.result(LIMIT_S) for future in futures]


def test_what_another_has_written_is_not_unpickled() -> None:
    store = Store()
    with load(store) as kernel:
        kernel.submit(pow, 2, 3, cache=True).result(LIMIT_S)
    key, record = store.records.popitem()
    evil = record.value[:-3] + b"xyz"
    store.records[key] = CheckpointRecord(key, evil, record.app)

    with pytest.warns(CheckpointWarning, match="tampered"), load(store) as kernel:
        assert kernel.submit(pow, 2, 3, cache=True).result(LIMIT_S) == 8


def test_equal_calls_in_flight_share_one_execution(kernel: jf.DataFlowKernel) -> None:
    gate = threading.Event()
    ran: list[int] = []

    @jf.python_app(cache=True)
    def work(x: int) -> int:
        ran.append(x)
        assert gate.wait(LIMIT_S)
        return x

    futures = [work(1), work(x=1), work(1), work(2)]
    gate.set()

    assert [future.result(LIMIT_S) for future in futures] == [1, 1, 1, 2]
    assert sorted(ran) == [1, 2]
    assert [f.task_status() for f in futures].count("memoized") == 2


def test_a_failure_is_not_shared_unless_asked(
    kernel: jf.DataFlowKernel, tmp_path: Path
) -> None:
    tries = str(tmp_path / "tries")

    def work(x: int) -> int:
        with Path(tries).open("a") as stream:
            stream.write("x")
        raise ValueError(f"try {Path(tries).stat().st_size}")

    plain = jf.python_app(cache=True)(work)
    sticky = jf.python_app(cache=True, cache_failures=True)(work)

    assert str(plain(1).exception(LIMIT_S)) == "try 1"
    assert str(plain(1).exception(LIMIT_S)) == "try 2"
    assert str(sticky(2).exception(LIMIT_S)) == "try 3"
    assert str(sticky(2).exception(LIMIT_S)) == "try 3"


def test_equal_calls_that_wait_for_one_that_fails_fail_with_it(tmp_path: Path) -> None:
    runs: list[str] = []
    go_on = threading.Event()

    @jf.python_app(cache=True, retries=1)
    def fails(x: int) -> int:
        runs.append("x")
        assert go_on.wait(LIMIT_S)
        raise ValueError("no")

    executors = {"t": {"plugin": "threads"}}
    with jf.load(executors=executors, run_dir=tmp_path) as kernel:
        futures = [fails(1) for _ in range(100)]
        hasty = fails.options(retries=0)(1)
        while kernel.task_state_counts[jf.TaskState.READY] < 100:
            pass  # they have to wait for the first one
        go_on.set()

        errors = [future.exception(LIMIT_S) for future in futures]
        assert {str(error) for error in errors} == {"no"}
        assert isinstance(hasty.exception(LIMIT_S), ValueError)
        # It and its retry, and the one that is run under other conditions.
        assert len(runs) == 3

        assert isinstance(fails(1).exception(LIMIT_S), ValueError)
        assert len(runs) == 5  # nothing of a failure is kept


def test_a_call_that_was_cancelled_leaves_its_execution_to_an_equal_one(
    tmp_path: Path,
) -> None:
    runs: list[str] = []
    began, go_on = threading.Event(), threading.Event()

    @jf.python_app(cache=True)
    def counts(x: int) -> int:
        runs.append("x")
        return len(runs)

    @jf.python_app
    def holds() -> None:
        began.set()
        assert go_on.wait(LIMIT_S)

    one = {"t": {"plugin": "threads", "workers": 1}}
    with jf.load(executors=one, run_dir=tmp_path):
        held = holds()
        assert began.wait(LIMIT_S)
        first, second = counts(1), counts(1)
        assert first.cancel()
        go_on.set()

        assert second.result(LIMIT_S) == 1
        held.result(LIMIT_S)


@pytest.mark.parametrize("checkpoint", [{"store": "memory"}, {}])
def test_equal_calls_that_fail_cost_the_same_however_many_they_are(
    tmp_path: Path, checkpoint: dict[str, str]
) -> None:
    @jf.python_app(cache=True, version="1")
    def fails(x: int) -> int:
        raise ValueError("never")

    def seconds_a_call(number: int) -> float:
        began = time.process_time()
        futures = [fails(number) for _ in range(number)]
        assert all(future.exception(LIMIT_S) for future in futures)
        return (time.process_time() - began) / number

    with jf.load({"checkpoint": checkpoint, "run_dir": tmp_path}):
        seconds_a_call(100)
        few, many = (min(seconds_a_call(n) for _ in range(3)) for n in (200, 1600))
        assert many < 4 * few  # eight times, if all are looked up anew


def test_the_lead_goes_past_calls_that_were_cancelled(
    kernel: jf.DataFlowKernel,
) -> None:
    gate = threading.Event()
    tries: list[int] = []

    @jf.python_app(cache=True)  # with a version, what is in the list would count
    def work(x: int) -> int:
        tries.append(x)
        assert gate.wait(LIMIT_S)
        if len(tries) == 1:
            raise ValueError("the first only")
        return x

    first = work(1)
    # Under other conditions, or they would fail with the first.
    followers = [work.options(retries=0)(1) for _ in range(5)]
    while not tries or kernel.task_state_counts[jf.TaskState.READY] < 5:
        pass
    assert all(one.cancel() for one in followers[:3])
    gate.set()

    assert isinstance(first.exception(LIMIT_S), ValueError)
    assert [one.result(LIMIT_S) for one in followers[3:]] == [1, 1]
    assert tries == [1, 1]


@pytest.mark.parametrize("plugin", ["threads", "processes"])
def test_what_a_call_changes_in_its_closure_does_not_keep_its_result_from_being_kept(
    tmp_path: Path, plugin: str
) -> None:
    def status() -> str:
        called: list[int] = []

        @jf.python_app(cache=True, version="1")
        def work(x: int) -> int:
            called.append(x)
            return x

        with jf.load(executors={"x": {"plugin": plugin}}, run_dir=tmp_path):
            future = work(1)
            assert future.result(LIMIT_S) == 1
            return str(future.memo.status)

    assert [status(), status()] == ["miss", "hit"]


def test_what_the_script_changes_in_a_closure_before_the_call_is_not_kept(
    tmp_path: Path,
) -> None:
    gate = threading.Event()
    factor = [2]

    @jf.python_app
    def block() -> bool:
        return gate.wait(LIMIT_S)

    @jf.python_app(cache=True, version="1")
    def work(x: int) -> int:
        return x * factor[0]

    executors = {"x": {"plugin": "threads", "workers": 1}}
    with jf.load(executors=executors, run_dir=tmp_path) as kernel:
        block()
        changed = work(1)
        while kernel.task_state_counts[jf.TaskState.SUBMITTED] < 2:
            pass
        factor[0] = 3
        gate.set()
        assert changed.result(LIMIT_S) == 3
        factor[0] = 2
        again = work(1)
        assert (again.result(LIMIT_S), again.memo.status) == (2, "miss")


def test_cancels_while_the_lead_is_handed_on_leave_nobody_behind(
    kernel: jf.DataFlowKernel,
) -> None:
    @jf.python_app(cache=True, version="1")
    def fails(x: int) -> int:
        raise ValueError("never")

    for number in range(200):
        futures = [fails(number) for _ in range(8)]
        for future in futures[number % 4 :: 2]:
            future.cancel()
        _, pending = concurrent.futures.wait(futures, LIMIT_S)
        assert not pending


def test_no_text_of_a_shared_failure_is_made_while_the_graph_is_changed(
    kernel: jf.DataFlowKernel,
) -> None:
    steps: list[str] = []

    class Told(Exception):
        def __str__(self) -> str:
            steps.extend(frame.name for frame in traceback.extract_stack())
            return "told"

    @jf.python_app(cache=True, cache_failures=True)
    def fails(x: int) -> int:
        raise Told

    for _ in range(2):
        assert isinstance(fails(1).exception(LIMIT_S), Told)
    kernel.wait_for_current_tasks(LIMIT_S)

    assert steps
    assert "step" not in steps  # it would hold up all other tasks


def test_lambdas_and_closures_never_share(kernel: jf.DataFlowKernel) -> None:
    def adder(n: int) -> Any:
        return jf.python_app(cache=True)(lambda x: x + n)

    first, second = jf.python_app(cache=True)(lambda x: x + 1), adder(100)

    assert first(5).result(LIMIT_S) == 6
    assert second(5).result(LIMIT_S) == 105
    assert adder(3)(5).result(LIMIT_S) == 8


def test_a_file_counts_by_its_content(
    kernel: jf.DataFlowKernel, tmp_path: Path
) -> None:
    ran: list[str] = []

    @jf.python_app(cache=True)
    def read(path: Any) -> str:
        ran.append("x")
        return Path(path).read_text()

    path = tmp_path / "a.txt"
    path.write_text("one")
    assert read(jf.File(path)).result(LIMIT_S) == "one"
    assert read(jf.File(path)).result(LIMIT_S) == "one"
    path.write_text("two")
    assert read(jf.File(path)).result(LIMIT_S) == "two"
    assert len(ran) == 2


def test_an_output_that_is_gone_is_made_again(
    kernel: jf.DataFlowKernel, tmp_path: Path
) -> None:
    @jf.bash_app(cache=True)
    def make(outputs: Any = (), stdout: Any = jf.AUTO_LOGNAME) -> str:
        return f"echo made > {outputs[0]}"

    path = tmp_path / "out.txt"
    make(outputs=[jf.File(path)]).result(LIMIT_S)
    again = make(outputs=[jf.File(path)])
    again.result(LIMIT_S)
    assert again.task_status() == "memoized"
    path.unlink()
    assert Path(make(outputs=[jf.File(path)]).outputs[0].result(LIMIT_S)).exists()


@jf.python_app(cache=True)
def make(text: str, outputs: Sequence[jf.File] = ()) -> int:
    Path(outputs[0]).write_text(text)
    return len(text)


@jf.python_app(cache=True)
def contents(file: jf.File) -> str:
    return Path(file).read_text()


def test_an_output_that_another_call_has_overwritten_is_made_again(
    tmp_path: Path,
) -> None:
    run = {"run_dir": tmp_path / "runs"}
    out = jf.File(tmp_path / "out.txt")
    for _ in range(2):  # the second time from the store
        with jf.load(run):
            for text in "ABAB":
                made = make(text, outputs=[out])
                assert contents(made.outputs[0]).result(LIMIT_S) == text


def test_outputs_that_are_as_they_were_made_are_not_made_again(tmp_path: Path) -> None:
    out = jf.File(tmp_path / "out.txt")
    statuses = []
    for content in (None, "A", "edited"):
        if content is not None:
            Path(out).write_text(content)  # "A": another time, the same content
        with jf.load({"run_dir": tmp_path / "runs"}):
            future = make("A", outputs=[out])
            assert future.result(LIMIT_S) == 1
            statuses.append(future.memo.status)
            if content == "edited":
                assert "an output is not what the call made" in str(jf.explain(future))
    assert statuses == ["miss", "hit", "miss"]
    assert Path(out).read_text() == "A"


def test_a_big_output_is_identified_beside_the_kernels_threads(tmp_path: Path) -> None:
    out = jf.File(tmp_path / "big")
    with jf.load({"run_dir": tmp_path / "runs"}) as kernel:
        for status in ("miss", "hit"):
            future = make("x" * (2 << 20), outputs=[out])
            assert future.result(LIMIT_S) == 2 << 20
            assert future.memo.status == status
        summary = kernel.summary()
        assert summary.counts[jf.TaskState.SUCCEEDED] == 1
        assert summary.own[jf.TaskState.SUCCEEDED] >= 2  # look-ups, or what is kept


NOTEBOOK = """
import sys
import jackfield as jf

OPTIONS = {"depth": 1}
RATE = 2

def helper(x):
    return x * RATE

@jf.python_app(cache=True)
def work(x):
    return helper(x) + OPTIONS["depth"]

if __name__ == "__main__":
    with jf.load({"executors": {"x": {"plugin": sys.argv[1], "workers": 1}}}):
        results = [work(10).result()]
        OPTIONS["depth"] = 5
        results.append(work(10).result())
        RATE = 3
        results.append(work(10).result())
        def helper(x):
            return 0
        results.append(work(10).result())
        OPTIONS["depth"], RATE = 1, 2
        results.append(work(10).result())
        print(results)
"""


@pytest.mark.parametrize("plugin", ["threads", "processes"])
def test_the_code_that_runs_is_the_code_of_the_key(tmp_path: Path, plugin: str) -> None:
    (tmp_path / "notebook.py").write_text(NOTEBOOK)
    done = subprocess.run(
        [sys.executable, "notebook.py", plugin],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=True,
    )
    assert done.stdout == "[21, 25, 35, 5, 1]\n"


BEFORE = """
import jackfield as jf

RATE = 2

def work(x):
    return x * RATE

if __name__ == "__main__":
    with jf.load({"executors": {"x": {"plugin": "processes", "workers": 1}}}) as kernel:
        before = kernel.submit(work, 10).result()
        RATE = 3
        print(before, kernel.submit(work, 10, cache=True).result())
"""


def test_a_function_that_was_sent_uncached_is_sent_again(tmp_path: Path) -> None:
    (tmp_path / "before.py").write_text(BEFORE)
    done = subprocess.run(
        [sys.executable, "before.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=True,
    )
    assert done.stdout == "20 30\n"


def test_an_argument_without_an_identity_is_named(kernel: jf.DataFlowKernel) -> None:
    @jf.python_app(cache=True)
    def work(lock: Any) -> None:
        pass

    with pytest.raises(MemoKeyError, match="argument 'lock'"):
        work(threading.Lock()).result(LIMIT_S)


def test_what_is_ignored_does_not_count(kernel: jf.DataFlowKernel) -> None:
    ran: list[int] = []

    @jf.python_app(cache=True, ignore_for_cache=["verbose"])
    def work(x: int, verbose: bool = False) -> int:
        ran.append(x)
        return x

    assert work(1, verbose=True).result(LIMIT_S) == 1
    assert work(1).result(LIMIT_S) == 1
    assert ran == [1]


def test_a_file_may_count_by_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one")
    table = {"store": f"sqlite:///{tmp_path}/results.db", "files": "stat"}

    @jf.python_app(cache=True)
    def read(path: Any) -> str:
        return Path(path).read_text()

    with jf.load({"checkpoint": table}):
        assert read(jf.File(path)).result(LIMIT_S) == "one"
        status = path.stat()
        path.write_text("two")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert read(jf.File(path)).result(LIMIT_S) == "one"
