"""``[monitors.metrics] plugin = "prometheus"``: what is scraped is the truth."""

from __future__ import annotations

import http.client
import re
import socket
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families

import jackfield as jf
from jackfield import TaskState, TransferEvent
from jackfield.events import (
    AttemptRecord,
    Batch,
    Failure,
    Load,
    Place,
    Rerun,
    TaskChange,
    WorkerEvent,
)
from jackfield_monitoring.telemetry.metrics import (
    APPS_MOST,
    LABEL_MOST,
    Numbers,
    PrometheusMonitor,
)

if TYPE_CHECKING:
    from prometheus_client import Metric

LIMIT_S = 60.0


class Scrape(dict[tuple[Any, ...], float]):
    """Name and values of labels, in the order of their names, to the number."""

    def __init__(self, families: list[Metric]) -> None:
        super().__init__(
            ((sample.name, *(sample.labels[name] for name in sorted(sample.labels))),
             sample.value)
            for family in families
            for sample in family.samples
        )  # fmt: skip

    def total(self, name: str) -> float:
        return sum(value for key, value in self.items() if key[0] == name)


def scrape(url: str) -> Scrape:
    with urllib.request.urlopen(url, timeout=LIMIT_S) as answer:
        return parsed(answer.read().decode())


def parsed(text: str) -> Scrape:
    families = text_string_to_metric_families(text)
    return Scrape(list(families))


def told(numbers: Numbers) -> Scrape:
    return Scrape(list(numbers.registry.collect()))


def until(url: str, done: Callable[[Scrape], bool]) -> Scrape:
    """Scrape until the numbers are those: what is told comes a moment later."""
    end = time.monotonic() + LIMIT_S
    while True:
        found = scrape(url)
        if done(found):
            return found
        assert time.monotonic() < end, found


def address(kernel: jf.DataFlowKernel) -> str:
    found = re.search(
        r"Metrics are at (\S+)", (kernel.run_dir / "jackfield.log").read_text()
    )
    assert found
    return found[1]


def table(tmp_path: Path, **options: Any) -> dict[str, Any]:
    return {
        "run_dir": str(tmp_path / "runs"),
        "monitors": {"metrics": {"plugin": "prometheus", **options}},
    }


@jf.python_app
def double(x: int) -> int:
    return 2 * x


@jf.python_app(retries=2)
def fail(x: int) -> None:
    raise (ValueError if x % 2 else KeyError)(x)


@pytest.mark.parametrize("plugin", ["threads", "processes"])
def test_what_is_scraped_are_the_counts_of_the_run(tmp_path: Path, plugin: str) -> None:
    executors = {"cpu": {"plugin": plugin, "workers": 2}}
    with jf.load(table(tmp_path), executors=executors) as kernel:
        url = address(kernel)
        assert url.startswith("http://127.0.0.1:")
        failed = [fail(number) for number in range(6)]
        futures: list[jf.AppFuture[Any]] = [double(n) for n in range(50)]
        futures += [*failed, double(failed[0])]
        for future in futures:
            future.exception(LIMIT_S)
        counts = kernel.summary().counts
        ends = {
            "jackfield_tasks_ended_total": sum(counts.values()),
            "jackfield_attempts_total": 68,
            "jackfield_attempt_failures_total": 18,
        }
        found = until(
            url, lambda now: all(now.total(name) == n for name, n in ends.items())
        )

    ended = Counter[str]()
    for key, value in found.items():
        if key[0] == "jackfield_tasks_ended_total":
            ended[key[2]] += int(value)
    assert ended == {state.value: n for state, n in counts.items() if n}
    assert found["jackfield_tasks_ended_total", "double", "succeeded"] == 50
    assert found["jackfield_tasks_ended_total", "double", "dependency-failed"] == 1
    assert found["jackfield_tasks_ended_total", "fail", "failed"] == 6
    assert found["jackfield_tasks_submitted_total", "double"] == 51
    assert found.total("jackfield_tasks") == 0
    attempts = "jackfield_attempts_total"
    assert found[attempts, "double", "cpu", "succeeded"] == 50
    assert found[attempts, "fail", "cpu", "retried"] == 12
    assert found[attempts, "fail", "cpu", "failed"] == 6
    assert found["jackfield_attempt_failures_total", "fail", "ValueError"] == 9
    assert found["jackfield_attempt_failures_total", "fail", "KeyError"] == 9
    assert found["jackfield_attempt_duration_seconds_count", "double"] == 50
    assert found["jackfield_attempt_duration_seconds_bucket", "fail", "+Inf"] == 18
    assert found.total("jackfield_records_lost_total") == 0


def test_what_runs_is_seen_with_the_load_of_its_executor(tmp_path: Path) -> None:
    gate = jf.python_app(_wait)
    release = tmp_path / "go"
    executors = {"cpu": {"plugin": "processes", "workers": 2}}
    with jf.load(table(tmp_path), executors=executors) as kernel:
        futures = [gate(str(release)) for _ in range(5)]
        after = double(futures[0])
        running = {
            ("jackfield_executor_unfinished", "cpu"): 5.0,
            ("jackfield_tasks", "_wait", "submitted"): 5.0,
            ("jackfield_tasks", "double", "waiting"): 1.0,
        }
        found = until(
            address(kernel),
            lambda now: running.items() <= now.items(),
        )
        assert found["jackfield_executor_workers", "cpu"] == 2
        release.touch()
        after.result(LIMIT_S)
        until(
            address(kernel),
            lambda now: now["jackfield_executor_unfinished", "cpu"] == 0,
        )


def _wait(path: str) -> int:
    while not Path(path).exists():
        time.sleep(0.01)
    return 1


def test_the_end_frees_the_port_though_a_connection_is_open(tmp_path: Path) -> None:
    with jf.load(table(tmp_path)) as kernel:
        port = int(address(kernel).split(":")[2].split("/")[0])
        idle = socket.create_connection(("127.0.0.1", port), LIMIT_S)
    with idle, socket.create_server(("127.0.0.1", port)) as server:
        assert server.getsockname()[1] == port


def test_an_end_that_is_told_just_after_the_server_began_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = PrometheusMonitor()
    free = threading.Lock()
    ends = iter([True])

    class EndsWhenItIsFree:
        def __enter__(self) -> None:
            free.acquire()

        def __exit__(self, *raised: object) -> None:
            free.release()
            if next(ends, False):
                monitor.jackfield_kernel_closing(kernel)

    monkeypatch.setattr(monitor, "_lock", EndsWhenItIsFree())
    with jf.load({"run_dir": str(tmp_path / "runs")}) as kernel:
        monitor.jackfield_kernel_started(kernel)
        url = address(kernel)

    with pytest.raises(OSError, match="refused"):
        scrape(url)


def test_a_port_that_is_taken_is_told_and_the_run_goes_on(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with jf.load(table(tmp_path, port=port)) as kernel:
            assert double(1).result(LIMIT_S) == 2
    log = (kernel.run_dir / "jackfield.log").read_text()
    assert f"nothing can listen at port {port} of 127.0.0.1" in log


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200), ("localhost:80", 200), ("[::1]", 200),
        ("evil.example", 403), ("127.0.0.1.evil.example", 403), ("[", 403), ("", 403),
    ],
)  # fmt: skip
def test_only_requests_that_name_this_machine_get_an_answer(
    tmp_path: Path, host: str, status: int
) -> None:
    with jf.load(table(tmp_path)) as kernel:
        where = address(kernel).split("/")[2]
        connection = http.client.HTTPConnection(where, timeout=LIMIT_S)
        connection.request("GET", "/metrics", headers={"Host": host})
        assert connection.getresponse().status == status
        connection.close()


def test_other_paths_and_methods_get_nothing(tmp_path: Path) -> None:
    with jf.load(table(tmp_path)) as kernel:
        where = address(kernel).split("/")[2]
        for method, path, status in [
            ("GET", "/", 404), ("GET", "/../run.json", 404), ("POST", "/metrics", 501),
        ]:  # fmt: skip
            connection = http.client.HTTPConnection(where, timeout=LIMIT_S)
            connection.request(method, path)
            assert connection.getresponse().status == status
            connection.close()


def test_openmetrics_is_spoken_where_it_is_asked_for(tmp_path: Path) -> None:
    with jf.load(table(tmp_path)) as kernel:
        accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
        request = urllib.request.Request(address(kernel), headers=accept)
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
            text = answer.read().decode()
    families = list(parse_openmetrics(text))  # type: ignore[no-untyped-call]  # it has no types
    assert "jackfield_run" in {family.name for family in families}


# -- What is counted of what is told


def batch(*changes: tuple[int, str, TaskState], **more: Any) -> Batch:
    tasks = [
        TaskChange(task, app, "python", state, None, None)
        for task, app, state in changes
    ]
    return Batch(0.0, 0.0, changes=tasks, **more)


def test_no_more_than_so_many_apps_have_numbers_of_their_own() -> None:
    numbers = Numbers()
    many = [(n, f"app{n}", TaskState.SUCCEEDED) for n in range(3 * APPS_MOST)]
    numbers.take(batch(*many))
    numbers.take(batch((1_000, "app0", TaskState.SUCCEEDED)))

    found = told(numbers)
    name = "jackfield_tasks_ended_total"
    assert found[name, "app0", "succeeded"] == 2
    assert found[name, "other", "succeeded"] == 2 * APPS_MOST
    assert sum(key[0] == name for key in found) == APPS_MOST + 1


@pytest.mark.parametrize(
    "app",
    ['a"b', "a\\b\n# HELP x", "a{b}", "\ud800", "\x1b[31m", "x" * 1_000_000, "\u202e"],
)
def test_any_name_of_an_app_can_be_scraped(app: str) -> None:
    from prometheus_client import generate_latest

    numbers = Numbers()
    numbers.take(batch((0, app, TaskState.FAILED)))

    text = generate_latest(numbers.registry).decode()
    found = parsed(text)
    (key,) = [key for key in found if key[0] == "jackfield_tasks_ended_total"]
    assert len(key[1]) <= 7 * LABEL_MOST  # a character may be shown by an escape
    assert "\x1b" not in key[1]


def test_what_is_told_of_transfers_workers_and_losses_is_counted() -> None:
    def step(number: int, stage: str, attempt: int, moved: int) -> TransferEvent:
        return TransferEvent(
            number, "https://host/x", "in", stage, attempt, moved, 100, 0.0, None,
            0.0, 0.0, None,
        )  # fmt: skip

    numbers = Numbers()
    numbers.take(batch(
        transfers=[
            step(1, "started", 1, 0), step(1, "progress", 1, 60),
            step(2, "done", 0, 100),
        ],
        workers=[
            WorkerEvent("cpu", "cpu-0", "h", 1, False, "It was killed.", 0.0),
            WorkerEvent("cpu", "cpu-1", "h", 2, False, "", 0.0),
            WorkerEvent("cpu", "cpu-2", "h", 3, True, "", 0.0),
        ],
        lost=7,
    ))  # fmt: skip
    numbers.take(batch(
        transfers=[
            step(1, "retrying", 1, 70), step(1, "started", 2, 0),
            step(1, "done", 2, 100),
        ],
        loads=[Load("cpu", 4, 9)],
        lost=1,
    ))  # fmt: skip

    found = told(numbers)
    assert found["jackfield_transfer_bytes_total", "in"] == 170
    assert found["jackfield_transfers_total", "in", "done"] == 2
    assert found["jackfield_workers_lost_total", "cpu"] == 1
    assert found["jackfield_executor_workers", "cpu"] == 4
    assert found["jackfield_records_lost_total",] == 8


def test_what_was_cancelled_before_it_ran_has_neither_failed_nor_run() -> None:
    failure = Failure("CancelledError", "it was cancelled")
    place = Place("cpu-0", "h", 1, 1.0, 2.0)
    attempts = [
        AttemptRecord(0, 1, "cpu", 1.0, 500.0, None, failure, None),
        AttemptRecord(1, 1, "cpu", 1.0, 2.0, place, failure, None),
    ]
    ends = [(n, "fit", TaskState.CANCELLED) for n in range(2)]
    numbers = Numbers()
    numbers.take(batch(*ends, attempts=attempts))

    found = told(numbers)
    assert found["jackfield_attempts_total", "fit", "cpu", "cancelled"] == 2
    assert found.total("jackfield_attempt_failures_total") == 0
    assert found["jackfield_attempt_duration_seconds_count", "fit"] == 1
    assert found["jackfield_attempt_duration_seconds_sum", "fit"] == 1


def test_runs_for_the_sake_of_a_lost_result_are_counted_by_themselves() -> None:
    why = "worker w-1 has gone with it"
    lost = Failure("WorkerLostError", "it was lost once more", "")
    place = Place("w-2", "h", 1, 5.0, 6.0)

    def ended(attempt: int, failure: Failure | None, retry: float | None) -> Any:
        return AttemptRecord(7, attempt, "far", 4.0, 6.0, place, failure, retry)

    numbers = Numbers()
    end = 7, "fit", TaskState.SUCCEEDED
    numbers.take(batch(end, attempts=[ended(1, None, None)]))
    numbers.take(batch(reruns=[Rerun(7, 2, "far", why, 4.0)]))
    numbers.take(batch(attempts=[ended(2, lost, 0.0)]))
    rerun = Rerun(7, 3, "far", why, 4.0)
    numbers.take(batch(reruns=[rerun], attempts=[ended(3, None, None)]))

    found = told(numbers)
    assert found["jackfield_reruns_total", "far"] == 2
    assert found["jackfield_reruns_ended_total", "far", "retried"] == 1
    assert found["jackfield_reruns_ended_total", "far", "succeeded"] == 1
    assert found.total("jackfield_attempts_total") == 1
    assert found.total("jackfield_attempt_failures_total") == 0
