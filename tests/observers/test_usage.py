"""``[plugins.usage]``: what is sent is what was shown, and only where it is wanted."""

from __future__ import annotations

import getpass
import json
import logging
import socket
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import jackfield as jf
from jackfield_cli import main
from jackfield_observers import usage

LIMIT_S = 60.0


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DO_NOT_TRACK", raising=False)
    monkeypatch.delenv("JACKFIELD_USAGE", raising=False)
    monkeypatch.chdir(tmp_path)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.got: list[bytes] = []
        self.status = 204
        self.gate = threading.Event()
        self.gate.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/usage"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        server.got.append(self.rfile.read(int(self.headers["Content-Length"])))
        assert server.gate.wait(LIMIT_S)
        self.send_response(server.status)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    do_GET = do_POST


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.gate.set()
        server.shutdown()
        thread.join(LIMIT_S)


@jf.python_app
def secret_project(path: str) -> str:
    if path == "bad":
        raise ValueError("/home/me/secret_project")
    return path


def run(**options: Any) -> jf.DataFlowKernel:
    executors = {"alps-cluster": {"plugin": "threads"}, "lab": ThreadPoolExecutor(1)}
    table: dict[str, Any] = {"plugins": {"usage": options}}
    with jf.load(table, executors=executors) as kernel:
        for path in ("/home/me/a", "/home/me/b", "bad"):
            secret_project(path).exception(LIMIT_S)
    return kernel


def show() -> Result:
    result = CliRunner().invoke(main, ["usage"])
    assert result.exit_code == 0, result.output
    return result


def test_what_is_received_is_what_is_shown(server: Server) -> None:
    kernel = run(url=server.url)

    shown = show().stdout_bytes
    assert server.got == [shown]
    assert (kernel.run_dir / "usage.json").read_bytes() == shown
    log = (kernel.run_dir / "jackfield.log").read_text()
    assert f"Usage was sent to {server.url}" in log
    told = json.loads(shown)
    assert told.pop("tasks") == {"succeeded": 2, "failed": 1}
    assert told.pop("executors") == ["other", "threads"]
    assert set(told) == {"jackfield", "python", "platform", "seconds"}
    hidden = ("home", "secret", "alps", getpass.getuser(), socket.gethostname())
    assert not any(word in shown.decode().replace("threads", "") for word in hidden)


def test_without_the_table_nothing_is_sent_or_written(server: Server) -> None:
    with jf.load() as kernel:
        assert secret_project("x").result(LIMIT_S) == "x"

    assert not (kernel.run_dir / "usage.json").exists()
    result = show()
    assert json.loads(result.stdout)["tasks"] == {}
    assert "Nothing is sent" in result.stderr
    assert server.got == []


def test_without_an_address_it_is_written_and_not_sent() -> None:
    kernel = run()

    assert show().stdout_bytes == (kernel.run_dir / "usage.json").read_bytes()
    mode = stat.S_IMODE((kernel.run_dir / "usage.json").stat().st_mode)
    assert mode == 0o600


@pytest.mark.parametrize(
    ("name", "value"),
    [("DO_NOT_TRACK", "1"), ("DO_NOT_TRACK", "true"), ("JACKFIELD_USAGE", "off")],
)
def test_the_environment_has_the_last_word(
    server: Server, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    kernel = run(url=server.url)

    assert server.got == []
    assert not (kernel.run_dir / "usage.json").exists()
    Path("jackfield.toml").write_text(f'[plugins.usage]\nurl = "{server.url}"\n')
    assert "Nothing is sent" in show().stderr


def test_the_command_says_where_it_is_sent() -> None:
    Path("jackfield.toml").write_text(
        '[plugins.usage]\nurl = "https://me:hush@example.org/u?t=hush"\n'
        '[executors.mine]\nplugin = "processes"\n'
    )
    result = show()

    assert json.loads(result.stdout)["executors"] == ["processes"]
    assert "to https://me:***@example.org/u" in result.stderr
    assert "hush" not in result.output


@pytest.mark.parametrize("status", [302, 500])
def test_a_server_that_refuses_is_not_spoken_of(
    server: Server, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    server.status = status
    with caplog.at_level(logging.DEBUG, usage.log.name):
        run(url=server.url)

    assert len(server.got) == 1  # a redirect is not followed
    (record,) = [one for one in caplog.records if one.name == usage.log.name]
    assert record.levelno == logging.DEBUG


def test_a_server_that_hangs_does_not_hold_up_the_end(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jackfield_observers.usage.LIMIT_S", 0.2)
    server.gate.clear()
    run(url=server.url)

    assert len(server.got) == 1
    assert not server.gate.is_set()  # it hangs still, and the end has come


def test_what_cannot_be_written_is_not_sent(server: Server) -> None:
    table: dict[str, Any] = {"plugins": {"usage": {"url": server.url}}}
    with jf.load(table) as kernel:
        (kernel.run_dir / "usage.json").symlink_to("/dev/null")

    assert server.got == []


@pytest.mark.parametrize("url", ["file:///etc/passwd", "example.org", 7, "http://"])
def test_an_address_that_cannot_be_is_refused(url: Any) -> None:
    with pytest.raises(jf.ConfigurationError, match=r"plugins\.usage\.url"):
        jf.load({"plugins": {"usage": {"url": url}}})
