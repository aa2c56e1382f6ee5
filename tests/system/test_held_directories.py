"""Temporary directories: whose process is gone is removed, and nobody else's."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from jackfield_system import held_directories
from jackfield_system.held_directories import HeldDirectory, sweep
from jackfield_testing.footprint import WAIT_S, settled

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

HOLDER = """\
import sys
from pathlib import Path
from jackfield_system.held_directories import HeldDirectory
made = HeldDirectory("holder", Path(sys.argv[1])).path
(made / "inner").mkdir()
(made / "inner" / "data").write_text("data")
print(made, flush=True)
sys.stdin.read()
"""


@contextmanager
def holder(place: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Start a process that holds a directory; give both."""
    command = [sys.executable, "-c", HOLDER, str(place)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def test_only_the_directory_of_a_killed_process_is_swept(tmp_path: Path) -> None:
    with (
        holder(tmp_path) as (killed, dead),
        holder(tmp_path) as (_, living),
        HeldDirectory("mine", tmp_path) as mine,
    ):
        killed.kill()
        killed.wait()
        assert (dead / "inner" / "data").is_file()

        sweep(tmp_path)

        assert not dead.exists()
        assert (living / "inner" / "data").is_file()
        assert mine.is_dir()


def test_the_end_of_its_use_removes_it_and_a_second_end_does_nothing(
    tmp_path: Path,
) -> None:
    made = HeldDirectory("mine", tmp_path)
    (made.path / "data").write_text("data")
    assert made.path.stat().st_mode & 0o077 == 0

    made.remove()
    made.remove()

    assert list(tmp_path.iterdir()) == []


def test_what_is_not_ours_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "data").write_text("data")
    (tmp_path / "jackfield-link.held").symlink_to(precious)
    (tmp_path / "jackfield-file.held").write_text("data")
    (tmp_path / "jackfield-other").mkdir()
    (tmp_path / "other.held").mkdir()
    somebodys = tmp_path / "jackfield-somebodys.held"
    somebodys.mkdir()
    if os.geteuid():
        monkeypatch.setattr(os, "geteuid", lambda: -1)
    else:
        os.chown(somebodys, 12345, 12345)
    before = sorted(tmp_path.rglob("*"))

    sweep(tmp_path)
    sweep(tmp_path / "not there")

    assert sorted(tmp_path.rglob("*")) == before


def test_a_maker_whose_directory_is_swept_meanwhile_makes_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweeper may have the lock when the maker comes for it."""
    swept: list[str] = []
    lock = fcntl.flock

    def late(number: int, how: int) -> None:
        if not swept:
            (found,) = tmp_path.iterdir()
            swept.append(found.name)
            sweep(tmp_path)
        lock(number, how)

    monkeypatch.setattr(fcntl, "flock", late)

    with HeldDirectory("mine", tmp_path) as mine:
        assert mine.is_dir()
        assert swept != [mine.name]


def test_a_network_file_system_is_not_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jackfield-old.held").mkdir()
    monkeypatch.setattr(held_directories, "shared_kind", lambda _: "nfs4")
    sweep(tmp_path)
    assert (tmp_path / "jackfield-old.held").is_dir()


def test_many_makers_and_sweepers_lose_nothing(tmp_path: Path) -> None:
    problems: list[str] = []

    def make() -> None:
        for _ in range(50):
            with HeldDirectory("mine", tmp_path) as mine:
                (mine / "data").write_text("data")
                if not (mine / "data").is_file():
                    problems.append(str(mine))

    def sweep_often() -> None:
        for _ in range(50):
            sweep(tmp_path)

    threads = [threading.Thread(target=one) for one in [make, sweep_often] * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)

    assert not problems
    assert settled(lambda: list(tmp_path.iterdir()) == [], WAIT_S)
