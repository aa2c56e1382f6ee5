"""The directory of an agent: what a killed one leaves, the next one removes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from typing import TYPE_CHECKING

import pytest

from jackfield_executors.remote.agent import Agent
from jackfield_executors.remote.fingerprint import fingerprint
from jackfield_testing.footprint import WAIT_S, settled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jackfield_executors.remote.places import Home

HOME: Home = (None, [], "", "no", {})

AGENT = """\
import io, pickle, sys, zipfile
from jackfield_executors.remote.agent import Agent
from jackfield_executors.remote.fingerprint import fingerprint

data = io.BytesIO()
with zipfile.ZipFile(data, "w") as archive:
    archive.writestr("helpers.py", "VERSION = 1")

if __name__ == "__main__":
    agent = Agent("far", fingerprint(), 1, (None, [], "", "no", {}))
    agent.put(0, pickle.dumps((("digest", data.getvalue()), {}, [], None, (), ())))
    print("there", flush=True)
    sys.stdin.read()
    agent.stop()
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have temporary files of this process, and of its children, in one place."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return place


@pytest.fixture
def started(temporary: Path) -> Iterator[subprocess.Popen[str]]:
    """Give a process with an agent that has unpacked modules."""
    assert list(temporary.iterdir()) == []
    command, pipe = [sys.executable, "-c", AGENT], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "there\n"
            yield process
        finally:
            process.kill()


def modules(temporary: Path) -> list[Path]:
    return list(temporary.glob("*/code/helpers.py"))


def test_the_next_agent_removes_what_a_killed_one_has_left(
    started: subprocess.Popen[str], temporary: Path
) -> None:
    assert modules(temporary)
    started.kill()
    started.wait()
    assert modules(temporary)

    following = Agent("far", fingerprint(), 1, HOME)

    try:
        assert settled(lambda: list(temporary.glob("jackfield-*")) == [], WAIT_S)
    finally:
        following.stop()


def test_another_agent_leaves_that_of_a_living_one_alone(
    started: subprocess.Popen[str], temporary: Path
) -> None:
    before = modules(temporary)
    agents = [Agent("far", fingerprint(), 1, HOME) for _ in range(3)]
    try:
        swept = "jackfield-far-sweep"
        threads = [one for one in threading.enumerate() if one.name == swept]
        for thread in threads:
            thread.join(WAIT_S)
        assert modules(temporary) == before
    finally:
        for agent in agents:
            agent.stop()

    assert started.stdin is not None
    started.stdin.close()
    assert started.wait(WAIT_S) == 0
    assert list(temporary.glob("jackfield-*")) == []
