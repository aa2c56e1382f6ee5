"""What is left: disks, directories, threads, connections, processes."""

from __future__ import annotations

import operator
import os
import signal
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

import jackfield as jf
from jackfield_testing.footprint import WAIT_S, footprint, settled
from jackfield_testing.staging import tasks
from jackfield_testing.staging.case import (
    BLOCK,
    StagingCase,
    difference,
    failure,
    faults_of,
    needs,
)

if TYPE_CHECKING:
    from concurrent.futures import Future

    from jackfield_testing.footprint import Footprint
    from jackfield_testing.staging.case import Run
    from jackfield_testing.staging.site import StagingSite

READ_ONLY: Final = Path("/sys")
"""A directory in which even root can make nothing."""


class Disk(StagingCase):
    """An error of the local disk reaches the user as the error that it is."""

    def test_a_full_disk_fails_the_task_and_leaves_nothing_behind(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        site.put("too-large.dat", tasks.content(BLOCK))
        site.put("small.dat", b"small")

        with self.running(site, tmp_path) as run:
            with _files_of_at_most(BLOCK // 2):
                error = failure(run.read("too-large.dat"))

            assert isinstance(error, OSError)
            assert error.errno is not None, f"what the system says is lost: {error!r}"
            assert run.left() == []
            run.watcher.until("failed")
            assert run.watcher.stages().count("started") == 1, "it was tried again"
            assert run.read("small.dat").result(WAIT_S) == b"small"

    def test_a_read_only_directory_fails_the_task(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        needs(READ_ONLY.is_dir(), f"needs {READ_ONLY} for this")
        site.put("plain.dat", b"plain")

        with self.running(site, tmp_path) as run:
            (run.kernel.run_dir / "files").symlink_to(READ_ONLY)
            error = failure(run.read("plain.dat"))

        assert isinstance(error, OSError)
        assert not isinstance(error, jf.TransferError)


class Leaks(StagingCase):
    """Nothing is left of a kernel that has ended."""

    def test_a_kernel_leaves_no_thread_and_no_connection(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        self._run_often(site, tmp_path, self.short_cycles)

    @pytest.mark.slow
    def test_many_kernels_leave_no_thread_and_no_connection(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        self._run_often(site, tmp_path, self.cycles)

    def test_a_cancelled_transfer_leaves_no_thread_and_no_connection(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        faults = faults_of(site)
        self._run_often(site, tmp_path, 0)
        before = footprint()
        faults.stall("plain.dat", BLOCK // 2)

        with self.running(site, tmp_path, options={"idle_timeout": 300.0}) as run:
            future = run.read("plain.dat")
            assert faults.wait_stalled(WAIT_S)
            future.cancel()
        faults.release()

        self._check_nothing_more(before)

    def _run_often(self, site: StagingSite, tmp_path: Path, cycles: int) -> None:
        site.put("plain.dat", tasks.content(BLOCK))
        self._cycle(site, tmp_path)  # imports, and what is made once for a process
        before = footprint()
        for _ in range(cycles):
            self._cycle(site, tmp_path)
        self._check_nothing_more(before)
        assert list(tmp_path.rglob("*.part")) == []

    def _check_nothing_more(self, before: Footprint) -> None:
        assert settled(lambda: all(map(operator.le, footprint(), before)), WAIT_S), (
            f"{footprint()}, before: {before}"
        )

    def _cycle(self, site: StagingSite, tmp_path: Path) -> None:
        with self.running(site, tmp_path) as run:
            futures: list[Future[Any]] = [run.read("plain.dat"), run.read("absent.dat")]
            if self.stages_out:
                futures.append(run.write("made.dat", 1000))
            for future in futures:
                future.exception(WAIT_S)


class Elsewhere(StagingCase):
    """The plugin in other processes than the one it was first used in."""

    def test_files_staged_in_the_task_are_the_same(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        contents = {f"task-{n}.dat": tasks.content(n * 50_001, n) for n in range(3)}
        for name, data in contents.items():
            site.put(name, data)

        with self._in_tasks(site, tmp_path) as run:
            for name, data in contents.items():
                got = run.read(name).result(WAIT_S)
                assert difference(got, data) is None
            assert isinstance(failure(run.read("absent.dat")), FileNotFoundError)

    def test_outputs_staged_in_the_task_are_the_same(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        needs(self.stages_out, "does not stage out (stages_out)")
        site.make_room("task-made.dat")

        with self._in_tasks(site, tmp_path) as run:
            run.write("task-made.dat", BLOCK).result(WAIT_S)

        assert difference(site.get("task-made.dat"), tasks.content(BLOCK)) is None

    def test_a_forked_process_can_move_files_too(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        needs(self.other_processes, "finds no files elsewhere (other_processes)")
        needs(hasattr(os, "fork"), "cannot be tested where nothing forks")
        site.put("forked.dat", tasks.content(BLOCK))

        with self.running(site, tmp_path) as run:
            assert run.read("forked.dat").result(WAIT_S)
            child = _fork(lambda: self._read_again(site, tmp_path))
            _, status = os.waitpid(child, 0)
            site.put("after.dat", b"after")
            after = run.read("after.dat").result(WAIT_S)

        assert status == 0
        assert after == b"after"

    def _read_again(self, site: StagingSite, tmp_path: Path) -> bool:
        """Read the file with a kernel of this process, which is a forked one."""
        with self.running(site, tmp_path / "forked") as run:
            return run.read("forked.dat").result(WAIT_S) == tasks.content(BLOCK)

    @contextmanager
    def _in_tasks(self, site: StagingSite, tmp_path: Path) -> Iterator[Run]:
        """Give a kernel whose tasks move files themselves, in other processes."""
        needs(self.other_processes, "finds no files elsewhere (other_processes)")
        temporary = tmp_path / "temporary"
        temporary.mkdir()
        config: dict[str, Any] = {
            "executors": {"processes": {"plugin": "processes", "workers": 1}}
        }
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TMPDIR", str(temporary))
            patch.setattr(tempfile, "tempdir", None)
            with self.running(
                site, tmp_path, options={"in_task": True}, **config
            ) as run:
                yield run
                assert not any(path.is_file() for path in _below(run.left()))
        assert list(temporary.glob("jackfield-*")) == []


def _below(directories: list[Path]) -> Iterator[Path]:
    for directory in directories:
        yield from directory.rglob("*")


@contextmanager
def _files_of_at_most(size: int) -> Iterator[None]:
    """Limit the size of every file that this process writes; more raises OSError."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Python ignores it, but perhaps not the program around.
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def _fork(action: Any) -> int:
    """Call something in a forked process, which ends with 0 if it returns true."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        child = os.fork()
    if child:
        return child
    signal.alarm(int(WAIT_S))
    try:
        os._exit(0 if action() else 1)
    except BaseException:
        import traceback

        traceback.print_exc()
        os._exit(2)
