"""``future.memo`` and ``jackfield.explain``: was it a hit, and why not."""

from __future__ import annotations

import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.abc import CheckpointRecord
from jackfield.errors import CheckpointWarning, MemoKeyError
from jackfield.keeping import CachedCall
from jackfield.plugins import PluginManager
from jackfield_results.explanation import find_nearest
from jackfield_results.manifests import changes

LIMIT_S = 60.0


def status(future: jf.AppFuture[Any]) -> str:
    """Wait for the end of a task, and return its memo's status."""
    future.exception(LIMIT_S)
    return future.memo.status


# -- future.memo


def test_a_future_tells_hit_and_miss_and_off(kernel: jf.DataFlowKernel) -> None:
    first = kernel.submit(pow, 2, 3, cache=True)
    first.result(LIMIT_S)
    second = kernel.submit(pow, 2, 3, cache=True)
    plain = kernel.submit(pow, 2, 3)

    assert [status(one) for one in (first, second, plain)] == ["miss", "hit", "off"]
    assert first.memo.key is not None
    assert len(bytes.fromhex(first.memo.key)) == 32
    assert first.memo.key == second.memo.key
    assert plain.memo == jf.MemoInfo("off", None)
    assert str(jf.explain(plain)).endswith(
        "off\n  the app is not cached: its decorator does not say cache=True"
    )


def test_what_is_not_known_yet_is_pending(kernel: jf.DataFlowKernel) -> None:
    gate = threading.Event()
    waited_for = kernel.submit(gate.wait, LIMIT_S)
    future = kernel.submit(abs, waited_for, cache=True)
    before = future.memo
    told = jf.explain(future).reasons
    gate.set()

    assert before == jf.MemoInfo("pending", None)
    assert told == ("it has not been looked up yet",)
    assert status(future) == "miss"


def test_who_follows_an_equal_call_is_a_hit(kernel: jf.DataFlowKernel) -> None:
    gate = threading.Event()

    @jf.python_app(cache=True)
    def work(x: int) -> bool:
        return gate.wait(LIMIT_S)

    leader, follower = work(1), work(1)
    kernel.submit(abs, 1).result(LIMIT_S)  # submitted later, so launched later
    before, why = follower.memo, jf.explain(follower).reasons
    gate.set()

    assert (before.status, why) == (
        "pending",
        ("it waits for an equal call, which is being executed",),
    )
    assert [status(leader), status(follower)] == ["miss", "hit"]
    assert jf.explain(follower).reasons == ("an equal call was being executed",)


def test_a_task_that_ended_too_early_is_off(kernel: jf.DataFlowKernel) -> None:
    def refuse() -> int:
        raise ValueError("no")

    unhashable = kernel.submit(id, threading.Lock(), cache=True)
    unlucky = kernel.submit(abs, kernel.submit(refuse), cache=True)

    assert isinstance(unhashable.exception(LIMIT_S), MemoKeyError)
    assert status(unhashable) == status(unlucky) == "off"
    assert "ended before it was looked up (failed)" in str(jf.explain(unhashable))
    assert "MemoKeyError" in str(jf.explain(unhashable))
    assert "(dependency-failed)" in str(jf.explain(unlucky))


def test_caching_can_be_off_for_a_run(tmp_path: Path) -> None:
    with jf.load({"app_cache": False, "run_dir": str(tmp_path / "r")}) as kernel:
        future = kernel.submit(pow, 2, 3, cache=True)

        assert status(future) == "off"
    assert "app_cache = false" in str(jf.explain(future))


def test_only_futures_of_tasks_can_be_explained(kernel: jf.DataFlowKernel) -> None:
    with pytest.raises(TypeError, match="not a int"):
        jf.explain(3)  # type: ignore[arg-type]  # that is the point


# -- within a run


def test_without_a_store_there_is_nothing_to_compare(tmp_path: Path) -> None:
    table = {"store": "memory"}
    with jf.load({"checkpoint": table, "run_dir": str(tmp_path / "r")}) as kernel:
        futures = [kernel.submit(pow, 2, n, cache=True) for n in (3, 3)]
        assert [one.result(LIMIT_S) for one in futures] == [8, 8]

    told = sorted(jf.explain(one).reasons[0] for one in futures)
    assert told[0].startswith("an equal call of this run")
    assert told[1] == "no equal call was made in this run, and no results are stored"


def test_an_argument_that_changes_is_named(kernel: jf.DataFlowKernel) -> None:
    @jf.python_app(cache=True)
    def work(x: int, y: int = 1) -> int:
        return x * y

    first = work(2)
    first.result(LIMIT_S)
    second = work(2, y=3)
    second.result(LIMIT_S)

    told = jf.explain(second)
    assert told.reasons == ("argument y has changed",)
    assert told.nearest == first.memo.key
    assert told.store is not None
    assert told.store.startswith("sqlite:///")
    assert str(told).splitlines()[0] == f"work (task 1): miss, key {second.memo.key}"


def test_only_what_was_stored_when_it_was_looked_up_counts(
    kernel: jf.DataFlowKernel,
) -> None:
    gate = threading.Event()

    @jf.python_app(cache=True)
    def work(x: int) -> int:
        assert x or gate.wait(LIMIT_S)
        return x

    early, late = work(0), work(1)
    late.result(LIMIT_S)
    gate.set()
    early.result(LIMIT_S)

    assert "no earlier call of this app is stored" in str(jf.explain(early))
    assert "no earlier call of this app is stored" in str(jf.explain(late))


def test_a_missing_output_is_named(kernel: jf.DataFlowKernel, tmp_path: Path) -> None:
    @jf.bash_app(cache=True)
    def make(outputs: Any = ()) -> str:
        return f"echo made > {outputs[0]}"

    path = tmp_path / "out.txt"
    first = make(outputs=[jf.File(path)])
    first.result(LIMIT_S)
    again = make(outputs=[jf.File(path)])
    assert status(again) == "hit"
    path.unlink()
    missed = make(outputs=[jf.File(path)])

    assert status(missed) == "miss"
    assert jf.explain(missed).reasons == (f"outputs are missing: {path}",)
    assert jf.explain(missed.outputs[0]) == jf.explain(missed)
    assert "no earlier call" in str(jf.explain(first))


def test_a_missing_output_of_an_earlier_run_is_named(tmp_path: Path) -> None:
    options = {"checkpoint": {"store": f"sqlite:///{tmp_path}/results.db"}}

    @jf.bash_app(cache=True)
    def make(outputs: Any = ()) -> str:
        return f"echo made > {outputs[0]}"

    path = tmp_path / "out.txt"
    for _ in range(2):
        with jf.load(options):
            future = make(outputs=[jf.File(path)])
            assert status(future) == "miss"
        path.unlink()

    assert jf.explain(future).reasons == (f"outputs are missing: {path}",)


def test_a_result_that_is_refused_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"checkpoint": {"store": f"sqlite:///{tmp_path}/results.db"}}
    with jf.load(options) as kernel:
        kernel.submit(pow, 2, 3, cache=True).result(LIMIT_S)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another"))

    with warnings.catch_warnings(), jf.load(options) as kernel:
        warnings.simplefilter("ignore", CheckpointWarning)
        future = kernel.submit(pow, 2, 3, cache=True)
        assert future.result(LIMIT_S) == 8

    assert future.memo.status == "miss"
    assert "the stored result is signed with another key" in str(jf.explain(future))


def test_a_failure_that_is_cached_is_a_hit(kernel: jf.DataFlowKernel) -> None:
    @jf.python_app(cache=True, cache_failures=True)
    def fail(x: int) -> int:
        raise ValueError(x)

    assert status(fail(1)) == "miss"
    second = fail(1)

    assert status(second) == "hit"
    assert "its failures are cached" in str(jf.explain(second))


# -- from run to run

SCRIPT = """
import jackfield as jf
from helper import scale

LIMIT = {limit}

@jf.python_app(cache=True{options})
def work(x, path=None, scale_by=1):
    {body}

with jf.load({{"checkpoint": {{"store": "{store}", "read": {read!r}}}}}):
    futures = [work(n{arguments}) for n in (1, 2)]
    jf.wait_for_current_tasks()
for future in futures:
    print(jf.explain(future))
    print("--")
"""
HELPER = "RATE = 2\n\n\ndef scale(x):\n    return x * RATE\n"

Runs = Callable[..., list[str]]


@pytest.fixture(params=["sqlite:///results.db", "pickle:///results"])
def runs(request: pytest.FixtureRequest, tmp_path: Path) -> Runs:
    """Run a script with two calls; return what is told of each."""

    def runs(helper: str = HELPER, read: tuple[str, ...] = (), **parts: str) -> Any:
        made = {"limit": "1", "options": "", "arguments": "", "store": request.param}
        made["body"] = "return scale(x) + LIMIT"
        text = SCRIPT.format(**{**made, **parts}, read=list(read))
        (tmp_path / "script.py").write_text(text)
        (tmp_path / "helper.py").write_text(helper)
        done = subprocess.run(
            [sys.executable, "-B", "script.py"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [one.strip() for one in done.stdout.split("--\n")[:-1]]

    return runs


def reasons(told: str) -> list[str]:
    lines = told.splitlines()
    assert ": miss, key " in lines[0]
    assert lines[1].startswith("nearest stored call: ")
    return [line.strip() for line in lines[2:]]


def test_first_calls_and_hits_are_told(runs: Runs) -> None:
    assert all("no earlier call of this app is stored" in told for told in runs())
    assert all(": hit, key " in told and "  stored 20" in told for told in runs())


def test_what_was_edited_is_told_with_its_place(runs: Runs) -> None:
    runs()
    edits: list[tuple[dict[str, str], str]] = [
        (
            {"helper": HELPER.replace("* RATE", "// RATE")},
            "function helper.scale (helper.py:4) has changed",
        ),
        (
            {"helper": "\n" + HELPER.replace("= 2", "= 3")},
            "global helper.RATE (helper.py:2) has changed",
        ),
        ({"limit": "7"}, "global __main__.LIMIT (script.py:5) has changed"),
        (
            {"body": "return scale(x) - LIMIT"},
            "function __main__.work (script.py:7) has changed",
        ),
    ]
    for edit, sentence in edits:
        for told in runs(**edit):
            assert sentence in reasons(told), told
        runs()


def test_arguments_that_changed_are_told(runs: Runs, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("one")
    arguments = ", path=jf.File('data')"
    runs(arguments=arguments)
    (tmp_path / "data").write_text("two")

    for told in runs(arguments=arguments):
        assert reasons(told) == ["argument path has changed"]
    for told in runs(arguments=f"{arguments}, scale_by=2"):
        assert reasons(told) == ["argument scale_by has changed"]


def test_a_version_that_changed_is_told(runs: Runs) -> None:
    runs(options=", version='1'")

    for told in runs(options=", version='2'"):
        assert reasons(told) == [
            "function __main__.work has changed from version '1' to version '2'"
        ]


def test_a_package_that_changed_is_told(runs: Runs, tmp_path: Path) -> None:
    site = tmp_path / "site-packages"
    helper = (
        f"import sys\nsys.path.append({str(site)!r})\nfrom gauge import read\n"
        "def scale(x):\n    return read(x)\n"
    )
    for version in ("1.0", "1.1"):
        info = site / f"gauge-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: gauge\nVersion: {version}\n"
        )
        (site / "gauge.py").write_text("def read(x):\n    return x\n")
        told = runs(helper)
        (info / "METADATA").unlink()
        info.rmdir()

    assert reasons(told[0]) == ["package gauge has changed from 1.0 to 1.1"]


def test_an_earlier_runs_store_is_compared_and_named(runs: Runs) -> None:
    runs(store="sqlite:///old.db")
    read = ("sqlite:///old.db",)

    hits = runs(read=read)
    misses = runs(read=read, limit="2")

    assert all("  stored 20" in told and "in sqlite:///old.db" in told for told in hits)
    for told in misses:
        assert ", sqlite:///old.db" in told.splitlines()[1]
        assert reasons(told) == ["global __main__.LIMIT (script.py:5) has changed"]


# -- the nearest call


def entry(number: int, created: float, **digests: str) -> CheckpointRecord:
    manifest = {part.replace("_", " ", 1): one for part, one in digests.items()}
    return CheckpointRecord(number.to_bytes(32, "big"), b"", "fit", created, manifest)


def nearest_of(records: list[CheckpointRecord], run: float = 1e9) -> Any:
    """Which of these records is nearest to a call of x = 1 and f = 1?"""
    store = PluginManager().open_checkpoint("sqlite:///near.db", {})
    store.put_many(records)
    manifest = {"argument x": "1", "argument y": "1", "function f": "1"}
    call = CachedCall("fit", None, bytes(32), lambda: manifest, 100.0, hit=False)
    found = find_nearest(call, manifest, [("sqlite:///near.db", store)], run)
    store.close()
    return None if found.entry is None else found.entry.key[-1]


def test_the_same_arguments_come_before_the_same_code() -> None:
    code = entry(1, 5.0, argument_x="1", argument_y="1", function_f="2", function_g="1")
    other = entry(2, 6.0, argument_x="2", argument_y="1", function_f="1")

    assert nearest_of([other, code]) == 1


def test_of_equals_the_newest_counts() -> None:
    records = [
        entry(n, float(n), argument_x="2", argument_y="1", function_f="1")
        for n in range(1, 9)
    ]

    assert nearest_of([*records[4:], *records[:4]]) == 8


def test_calls_of_an_earlier_run_come_before_neighbours() -> None:
    before = entry(1, 5.0, argument_x="2", argument_y="1", function_f="2")
    neighbour = entry(2, 60.0, argument_x="1", argument_y="2", function_f="1")

    assert nearest_of([before, neighbour], run=50.0) == 1


def test_what_was_stored_later_does_not_count() -> None:
    late = entry(1, 100.0, argument_x="1", argument_y="1", function_f="2")
    other = late._replace(app="other", created=1.0, key=b"k" * 32)

    assert nearest_of([late, other]) is None


def test_no_more_than_a_part_of_very_many_calls_is_compared() -> None:
    store = PluginManager().open_checkpoint("sqlite:///many.db", {})
    for first in range(0, 12_000, 1_000):
        numbers = range(first + 1, first + 1_001)
        store.put_many(
            [entry(n, n / 1e3, argument_x=str(n)) for n in numbers],
        )
    call = CachedCall("fit", None, bytes(32), dict, 100.0, hit=False)

    found = find_nearest(call, {"argument x": "1"}, [("sqlite:///many.db", store)], 0.0)
    store.close()

    assert found.capped
    assert found.entry is not None
    assert found.entry.key[-1] == 12_000 % 256


def test_lambdas_are_told_apart_by_their_order() -> None:
    old = {"function a.<lambda> (a.py:1)": "1", "function a.<lambda> (a.py:5)": "2"}
    new = {"function a.<lambda> (a.py:3)": "1", "function a.<lambda> (a.py:7)": "3"}

    assert changes(old, new) == ["function a.<lambda> (a.py:7) has changed"]


def test_another_python_is_told() -> None:
    assert changes({"Python 3.11": "1"}, {"Python 3.12": "2"}) == [
        "Python has changed from 3.11 to 3.12"
    ]
