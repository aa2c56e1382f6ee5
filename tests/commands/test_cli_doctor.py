"""``jackfield doctor``, as a program: what it finds, and that it ends."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield_testing.servers import HostileHTTPServer

LIMIT_S = 120.0

GOOD = """
[executors.cpu]
plugin = "processes"
workers = 1

[checkpoint]
store = "sqlite:///results.db"
"""


def run(cwd: Path, *args: str) -> tuple[int, str]:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("JACKFIELD_")}
    ran = subprocess.run(
        [sys.executable, "-m", "jackfield", "doctor", *args],
        capture_output=True,
        check=False,
        text=True,
        cwd=cwd,
        env=environ,
        timeout=LIMIT_S,
    )
    assert "Traceback" not in ran.stderr
    return ran.returncode, ran.stdout


def examine(cwd: Path, *args: str) -> tuple[int, dict[tuple[str, str], Any]]:
    """Return the exit code, and the findings by area and name."""
    code, out = run(cwd, "--json", *args)
    told = json.loads(out)
    assert told["ok"] == (code == 0)
    return code, {(one["area"], one["which"]): one for one in told["findings"]}


def test_where_all_is_well_each_thing_says_so_and_nothing_is_left(
    tmp_path: Path,
) -> None:
    (tmp_path / "jackfield.toml").write_text(GOOD)

    code, found = examine(tmp_path)

    assert code == 0
    assert {one["level"] for one in found.values()} == {"ok"}, found
    assert "first task in" in found["executors", "cpu (processes)"]["told"]
    store = found["stores", "sqlite:///results.db"]["told"]
    assert store == f"is not there yet: a run makes it below {tmp_path}."
    assert found["configuration", "files"]["told"].endswith("jackfield.toml")
    assert [path.name for path in tmp_path.iterdir()] == ["jackfield.toml"]


def test_a_store_with_results_and_its_key_are_looked_at(tmp_path: Path) -> None:
    table = {"store": f"sqlite:///{tmp_path}/results.db"}
    with jf.load({"run_dir": tmp_path / "runs", "checkpoint": table}) as kernel:
        assert kernel.submit(abs, -1, cache=True).result(60) == 1
    (tmp_path / "jackfield.toml").write_text(GOOD)

    code, found = examine(tmp_path, "--skip", "executors", "--skip", "plugins")

    assert code == 0
    told = found["stores", "sqlite:///results.db"]["told"]
    assert told.startswith("has results, opened in")
    assert found["stores", "key"]["level"] == "ok"
    assert not {area for area, _ in found} & {"executors", "plugins"}


def test_what_is_wrong_is_told_with_what_to_do_and_the_rest_is_looked_at(
    tmp_path: Path,
) -> None:
    (tmp_path / "results.db").write_bytes(b"no database" * 100)
    (tmp_path / "results.db").chmod(0o600)
    (tmp_path / "runs").write_text("no directory")
    (tmp_path / "jackfield.toml").write_text(
        f'{GOOD}\n[executors.far]\nplugin = "fargate"\n'
    )

    code, out = run(tmp_path, "--skip", "plugins", "--url", "nowhere.txt")

    assert code == 1
    lines = out.splitlines()
    for start in (
        "  ERROR    executors.far (from ",
        "  ERROR    runs: it is there, and no directory.",
        "  ERROR    sqlite:///results.db: CorruptCheckpointError",
        "  ERROR    far (fargate): PluginNotFoundError",
        "  ERROR    nowhere.txt: there is no file",
    ):
        [number] = [n for n, line in enumerate(lines) if line.startswith(start)]
        assert lines[number + 1].startswith("           -> ") or "nowhere" in start
    assert any(line.startswith("  ok       cpu (processes)") for line in lines)
    assert lines[-1] == "5 errors, no warnings"


def test_a_remote_file_is_looked_at_and_not_moved(tmp_path: Path) -> None:
    with HostileHTTPServer({"/data": b"0123456789"}) as server:
        good, missing = server.url("/data"), server.url("/nothing")
        urls = ["--url", good, "--url", missing, "--url", "htpp://x/y"]
        skip = ["--skip", "executors", "--skip", "plugins"]

        code, found = examine(tmp_path, *skip, *urls)

        assert server.count("GET", "/data") == 0
    assert code == 1
    assert found["files", good]["told"].startswith("10 bytes")
    assert "RemoteNotFoundError" in found["files", missing]["told"]
    assert "htpp" in found["files", "htpp://x/y"]["told"]
    assert found["files", "htpp://x/y"]["level"] == "error"


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["text", "json"])
def test_what_hangs_is_given_up(tmp_path: Path, form: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        skip = ["--skip", "executors", "--skip", "plugins", "--skip", "environment"]

        code, out = run(tmp_path, "--limit", "2", *skip, "--url", url, *form)

    assert code == 1
    assert "no answer within 2 s." in out
