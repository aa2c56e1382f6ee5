"""The dashboard's server: who gets an answer, and what it tells of runs."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from click.testing import CliRunner
from tests.monitoring.conftest import history, record

from jackfield import TaskState
from jackfield.events import AttemptRecord, Batch, Failure, TaskRecord
from jackfield_cli import main
from jackfield_monitoring.pages import live
from jackfield_monitoring.pages import server as server_module
from jackfield_monitoring.pages.server import Dashboard, is_loopback
from jackfield_monitoring.runs import RunError
from jackfield_monitoring.store.reader import StoreError
from jackfield_testing.footprint import settled

LIMIT_S = 60.0


@contextmanager
def serving(runs: Path, host: str = "127.0.0.1") -> Iterator[Dashboard]:
    with Dashboard(runs, host) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(LIMIT_S)


@pytest.fixture
def dashboard(runs: Path) -> Iterator[Dashboard]:
    """A dashboard of the directory ``runs``."""
    with serving(runs) as server:
        yield server


def get(
    server: Dashboard, path: str, headers: Mapping[str, str] = {}, method: str = "GET"
) -> tuple[int, bytes, Mapping[str, str]]:
    port = server.server_address[1]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    try:
        connection.putrequest(method, path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.getheaders())
    finally:
        connection.close()


def told(server: Dashboard, path: str) -> Any:
    status, body, _ = get(server, path)
    assert status == 200, body
    return json.loads(body)


@contextmanager
def stream(server: Dashboard, query: str = "") -> Iterator[Callable[[], str]]:
    """Listen to events; gives a function that waits for the next change."""
    port = server.server_address[1]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
    connection.request("GET", f"/api/events{query}")
    answer = connection.getresponse()
    assert answer.status == 200

    def following() -> str:
        while True:
            line = answer.readline().decode()
            assert line, "the stream has ended"
            if line.startswith("data:"):
                return line

    try:
        yield following
    finally:
        answer.close()
        connection.close()


def task(
    number: int, state: TaskState = TaskState.SUCCEEDED, **more: Any
) -> TaskRecord:
    values: dict[str, Any] = {
        "task": number, "app": "fit", "kind": "python", "label": "", "call": "fit()",
        "state": state, "attempts": 0, "submitted": 1.0, "ended": None, "parent": None,
        "depends_on": (), "executor": None, "memo": "off", "key": None, "refusal": "",
        "stdout": None, "stderr": None, "failure": None,
    }  # fmt: skip
    return TaskRecord(**(values | more))


def batch(*tasks: TaskRecord) -> Batch:
    return Batch(1_790_000_002.0, 2.0, tasks=tasks)


# -- Who gets an answer


def test_only_requests_for_this_host_are_answered(dashboard: Dashboard) -> None:
    port = dashboard.server_address[1]
    answers = {
        host: get(dashboard, "/api/runs", {"Host": host})[0]
        for host in [
            f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}", "127.0.0.1",
            f"127.0.0.1:{port + 1}", f"evil.example:{port}", "evil.example", "",
            f"127.0.0.1.evil.example:{port}", f"localhost:{port}@evil.example",
        ]
    }  # fmt: skip

    assert list(answers.values()) == [200] * 3 + [403] * 7


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    ],
)
def test_pages_of_others_get_no_answer(
    dashboard: Dashboard, headers: dict[str, str]
) -> None:
    status, body, _ = get(dashboard, "/api/runs", headers)

    assert status == 403
    assert b"runs" not in body
    assert get(dashboard, "/", {"Origin": dashboard.url.rstrip("/")})[0] == 200


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"]
)
def test_nothing_but_get_is_answered(dashboard: Dashboard, method: str) -> None:
    assert get(dashboard, "/api/runs", method=method)[0] == 501


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py", "/static/..%2fserver.py", "/static//etc/passwd",
        "/static/page.css/..", "/api/runs/..", "/api/runs/../overview",
        "/api/runs/%2e%2e/overview", "/api/runs/0x0/overview",
        "/api/runs/secret/overview", "/api/runs/007/overview",
        "/api/runs/%D9%A1/overview",
        "/api/runs/000/tasks/-1", "/api/runs/000/tasks/1%3B--",
        "/api/runs/000/columns?from=1;DROP", "/api/events?run=../..", "/etc/passwd",
    ],
)  # fmt: skip
def test_there_is_nothing_beside_the_runs(
    runs: Path, dashboard: Dashboard, made_up: Callable[..., Path], path: str
) -> None:
    made_up(tasks=2)
    (runs / "secret").mkdir()
    record(runs / "secret")
    (runs / "007").symlink_to(runs / "secret")

    status, body, _ = get(dashboard, path)

    assert status in (400, 404), body
    assert "error" in json.loads(body)


@pytest.mark.parametrize(
    "line",
    [b"GET /\x01 HTTP/1.1", b"GET http://[ HTTP/1.1", b"GET /% HTTP/1.1", b"\xff\xfe",
     b"GET /?a=%ff HTTP/1.1", b"GET /" + b"x" * 70_000 + b" HTTP/1.1", b"GET"],
    ids=["control", "brackets", "percent", "bytes", "query", "long", "short"],
)  # fmt: skip
def test_a_malformed_request_breaks_nothing(dashboard: Dashboard, line: bytes) -> None:
    address = ("127.0.0.1", dashboard.server_address[1])
    with socket.create_connection(address, LIMIT_S) as connection:
        host = f"Host: 127.0.0.1:{address[1]}".encode()
        connection.sendall(line + b"\r\n" + host + b"\r\nConnection: close\r\n\r\n")
        connection.recv(1_000)

    assert get(dashboard, "/")[0] == 200


def test_a_name_that_no_directory_can_have_gets_an_answer(
    dashboard: Dashboard,
) -> None:
    status, body, _ = get(dashboard, f"/api/runs/{'1' * 5_000}/overview")

    assert status == 503
    assert "too long" in json.loads(body)["error"]


def test_every_answer_keeps_browsers_strict(dashboard: Dashboard) -> None:
    for path in ("/", "/static/page.css", "/static/dashboard.js", "/api/runs", "/no"):
        _, _, headers = get(dashboard, path)
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "Access-Control-Allow-Origin" not in headers


def test_other_machines_need_the_token(runs: Path) -> None:
    with serving(runs, "0.0.0.0") as server:
        url, token = server.url, server.token
        assert get(server, "/api/runs")[0] == 401
        assert get(server, "/api/runs?token=wrong")[0] == 401
        assert get(server, "/api/runs", {"Cookie": 'a="; b=\x01'})[0] == 401

        status, _, headers = get(server, f"/?token={token}")
        cookie = headers["Set-Cookie"]
        answer = get(server, "/api/runs", {"Cookie": cookie.partition(";")[0]})

    assert url.endswith(f"/?token={token}")
    assert len(token) >= 32
    assert (status, headers["Location"]) == (303, "/")
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert answer[0] == 200


def test_what_is_loopback() -> None:
    assert all(map(is_loopback, ["127.0.0.1", "127.9.9.9", "::1", "localhost"]))
    assert not any(map(is_loopback, ["0.0.0.0", "::", "10.0.0.1", "example.org", ""]))


# -- What it tells


def test_runs_are_listed_the_newest_first(
    runs: Path, dashboard: Dashboard, made_up: Callable[..., Path]
) -> None:
    assert told(dashboard, "/api/runs")["runs"] == []
    made_up(0, tasks=2)
    record(made_up(1, tasks=2), began=1_790_000_100.0)

    listed = told(dashboard, "/api/runs")["runs"]

    assert [run["run"] for run in listed] == ["001", "000"]
    assert listed[0]["name"] == "fit.py · run 001"
    assert listed[0]["stored"] is True


def test_the_overview_agrees_with_the_tasks(
    dashboard: Dashboard, made_up: Callable[..., Path]
) -> None:
    made_up(tasks=500, failed=0.1)

    overview = told(dashboard, "/api/runs/000/overview")

    assert sum(overview["counts"]) == sum(n for _, _, n, _ in overview["tally"]) == 500
    failures = [one for one in overview["failures"] if not one["noNews"]]
    assert sum(one["tasks"] for one in failures) == overview["counts"][7] > 0
    assert all(one["traceback"].startswith("Traceback") for one in failures)
    folded = [one["noNews"] != "" for one in overview["failures"]]
    assert folded == sorted(folded)


def test_a_task_is_told_with_what_it_wrote(runs: Path, dashboard: Dashboard) -> None:
    run = runs / "000"
    (run / "task_logs").mkdir(parents=True)
    (run / "task_logs/out").write_text("\x1b[31mred\x1b[0m")
    key = b"k" * 32
    one = task(
        4, stdout=str(run / "task_logs/out"), stderr="/etc/passwd", label="mine",
        memo="miss", key=key, refusal="it was written by another version",
    )  # fmt: skip
    history(run, [batch(one)])

    page = told(dashboard, "/api/runs/000/tasks/4")

    assert page["call"] == "fit()"
    assert ["label", "mine"] in page["facts"]
    assert ["why not", "it was written by another version"] in page["memo"]
    assert ["key", key.hex()] in page["memo"]
    assert [tail["text"] for tail in page["tails"]] == ["red", ""]
    assert "outside" in page["tails"][1]["note"]
    assert told(dashboard, "/api/runs/000/tasks/5") is None


def test_a_task_is_told_what_it_said_and_not_another_one(
    runs: Path, dashboard: Dashboard
) -> None:
    said = [Failure("ValueError", f"bad record {n} in /in/{n}.txt") for n in range(2)]
    tasks = [
        task(n, TaskState.FAILED, attempts=1, ended=2.0, failure=said[n])
        for n in range(2)
    ]
    attempts = [
        AttemptRecord(n, 1, "cpu", 1.0, 2.0, None, said[n], None) for n in range(2)
    ]
    history(runs / "000", [batch(*tasks)._replace(attempts=attempts)])

    pages = [told(dashboard, f"/api/runs/000/tasks/{n}") for n in range(2)]

    for n, page in enumerate(pages):
        words = f"ValueError: bad record {n} in /in/{n}.txt"
        assert page["said"] == page["attempts"][0]["error"] == words


def test_a_change_is_told_as_soon_as_it_is_there(
    runs: Path, dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked for ten times a second, and nothing else can tell it in time."""
    assert live.LOOK_S <= 0.1
    monkeypatch.setattr(server_module, "LOOK_S", 2 * LIMIT_S)
    monkeypatch.setattr(server_module, "BEAT_S", 2 * LIMIT_S)
    writer = history(runs / "000", [batch(task(0, TaskState.WAITING))], state=None)
    lags = []
    with stream(dashboard, "?run=000") as following:
        following()
        for number in range(1, 11):
            began = monotonic()
            writer.write([batch(task(number))])
            following()
            counts = told(dashboard, "/api/runs/000/overview")["counts"]
            lags.append(monotonic() - began)
            assert counts[5] == number
    writer.close()
    lags.sort()

    print(f"from commit to news: median {lags[5] * 1e3:.0f} ms, most {lags[-1]:.2f} s")


def test_a_request_that_is_late_opens_nothing_after_the_end(
    runs: Path, made_up: Callable[..., Path]
) -> None:
    made_up(0, tasks=2)
    kept = live.Runs(runs)
    kept.start()
    late = kept.history("000")
    assert late.details(0) is not None

    kept.stop()

    with pytest.raises(StoreError, match="has ended"):
        late.details(0)
    with pytest.raises(RunError, match="has ended"):
        kept.history("000")


def test_a_new_run_is_told(dashboard: Dashboard, made_up: Callable[..., Path]) -> None:
    with stream(dashboard) as following:
        following()
        made_up(tasks=1)
        following()
        assert len(told(dashboard, "/api/runs")["runs"]) == 1


def test_nobody_is_kept_up_to_date_beyond_a_limit_but_who_has_gone_counts_no_more(
    dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "STREAMS_MOST", 3)
    monkeypatch.setattr(server_module, "LOOK_S", LIMIT_S)  # its own look comes too late
    with ExitStack() as closing:
        for _ in range(3):
            closing.enter_context(stream(dashboard))()

        status, body, _ = get(dashboard, "/api/events")

        assert status == 503
        assert "open already" in json.loads(body)["error"]
    for _ in range(20):  # a page that is loaded again and again
        with stream(dashboard) as following:
            following()


def test_a_place_is_given_back_when_the_page_has_gone(dashboard: Dashboard) -> None:
    with stream(dashboard) as following:
        following()
        assert len(dashboard.streams) == 1

    assert settled(lambda: len(dashboard.streams) == 0, LIMIT_S)


# -- Histories that cannot be read


def corrupt(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100] + os.urandom(20_000))


def newer(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


def foreign(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 100)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [(corrupt, "damaged"), (newer, "newer Jackfield"), (foreign, "damaged")],
)
def test_a_history_that_cannot_be_read_is_a_sentence(
    dashboard: Dashboard,
    made_up: Callable[..., Path],
    damage: Callable[[Path], None],
    sentence: str,
) -> None:
    made_up(1, tasks=5)
    damage(made_up(0, tasks=50) / "monitor.db")

    overview = told(dashboard, "/api/runs/000/overview")
    status, body, _ = get(dashboard, "/api/runs/000/columns")

    assert sentence in overview["problem"]
    assert overview["counts"][7] == 1  # as run.json has it
    assert (status, sentence in json.loads(body)["error"]) == (503, True)
    assert sum(told(dashboard, "/api/runs/001/overview")["counts"]) == 5


def test_a_history_that_is_deleted_and_comes_again(
    dashboard: Dashboard, made_up: Callable[..., Path], runs: Path
) -> None:
    run = made_up(tasks=5)
    assert told(dashboard, "/api/runs/000/overview")["stored"] is True

    (run / "monitor.db").unlink()
    gone = told(dashboard, "/api/runs/000/overview")
    history(run, [batch(task(0))])
    anew = told(dashboard, "/api/runs/000/overview")

    assert (gone["stored"], gone["problem"]) == (False, "")
    assert "[monitors.db]" in gone["advice"]
    assert gone["failureLines"] == ["Task 3 failed: no"]
    assert sum(anew["counts"]) == 1


def test_a_run_that_is_removed_is_a_sentence(
    dashboard: Dashboard, made_up: Callable[..., Path], runs: Path
) -> None:
    run = made_up(tasks=5)
    told(dashboard, "/api/runs/000/overview")
    for file in run.iterdir():
        file.unlink()
    run.rmdir()

    status, body, _ = get(dashboard, "/api/runs/000/overview")

    assert status == 404
    assert "not there" in json.loads(body)["error"]


def test_a_locked_history_is_read_all_the_same(
    runs: Path, dashboard: Dashboard
) -> None:
    writer = history(runs / "000", [batch(task(0))], state=None)
    locking = sqlite3.connect(runs / "000/monitor.db", isolation_level=None)
    locking.execute("BEGIN IMMEDIATE")
    try:
        assert sum(told(dashboard, "/api/runs/000/overview")["counts"]) == 1
    finally:
        locking.execute("ROLLBACK")
        locking.close()
        writer.close()


# -- The command


def test_ctrl_c_ends_it_cleanly(runs: Path, made_up: Callable[..., Path]) -> None:
    made_up(tasks=3)
    with subprocess.Popen(
        [sys.executable, "-m", "jackfield", "dashboard", "--dir", str(runs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        url = program.stdout.readline().strip()
        host, port = url.removeprefix("http://").rstrip("/").split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=LIMIT_S)
        connection.request("GET", "/api/events?run=000")
        stream = connection.getresponse()
        assert stream.readline().startswith(b"retry")
        program.send_signal(signal.SIGINT)
        _, errors = program.communicate(timeout=LIMIT_S)
        connection.close()

    assert (program.returncode, errors) == (0, "")


def test_a_directory_without_runs_is_named(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "jackfield", "dashboard"]
    done = subprocess.run(
        [*command, "--dir", str(tmp_path / "nothing")],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )

    assert done.returncode == 1
    assert "There are no runs in" in done.stderr


def test_reading_changes_nothing(
    dashboard: Dashboard, made_up: Callable[..., Path]
) -> None:
    run = made_up(tasks=50)
    before = (run / "monitor.db").read_bytes()

    for path in ("overview", "columns", "tasks/1"):
        get(dashboard, f"/api/runs/000/{path}")

    assert (run / "monitor.db").read_bytes() == before


@pytest.mark.parametrize("host", ["127.0.0.1", "256.1.1.1"])
def test_where_nothing_can_listen_is_a_sentence(runs: Path, host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])

        done = CliRunner().invoke(
            main, ["dashboard", "--dir", str(runs), "--host", host, "--port", port]
        )

    assert done.exit_code == 1, done.output
    assert f"Nothing can listen at {host}, port {port}" in done.output


def test_a_run_that_is_named_is_the_page_that_is_told(
    runs: Path, made_up: Callable[..., Path]
) -> None:
    run = made_up(tasks=5)
    command = [sys.executable, "-m", "jackfield", "dashboard", "last"]
    with subprocess.Popen(
        [*command, "--dir", str(runs)], stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        told = program.stdout.readline().strip()
        program.send_signal(signal.SIGINT)

        assert told.endswith(f"/#run={run.name}")
        assert program.wait(60) == 0
