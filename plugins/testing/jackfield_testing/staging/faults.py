"""Stage in from a server that fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest

from jackfield.errors import RemoteChangedError, TransferError
from jackfield.hookspecs import hookimpl
from jackfield_testing.footprint import WAIT_S, connections_to, settled
from jackfield_testing.staging import tasks
from jackfield_testing.staging.case import (
    AT_ONCE_S,
    BLOCK,
    StagingCase,
    difference,
    ended,
    failure,
    faults_of,
    needs,
)

if TYPE_CHECKING:
    from pathlib import Path

    from jackfield import Transfer
    from jackfield_testing.staging.case import Run
    from jackfield_testing.staging.site import StagingFaults, StagingSite

HALF: Final = BLOCK // 2
IDLE_S: Final = 0.3
PAUSE_S: Final = 0.75
"""Between five pieces: together longer than four of it, which nothing idle may last."""

PATIENT: Final = {"idle_timeout": 300.0, "connect_timeout": 300.0}
"""So that what ends a stalled transfer is not a timeout."""


class Cut(StagingCase):
    """Half a file is no file."""

    def test_a_file_that_is_always_cut_short_leaves_nothing_behind(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        site.put("cut.dat", tasks.content(BLOCK))
        faults_of(site).truncate("cut.dat", 1000)

        with self.running(site, tmp_path, options={"attempts": 3}) as run:
            error = failure(run.read("cut.dat"))

            assert isinstance(error, OSError)
            assert run.left() == []
            run.watcher.until("failed")
            assert run.watcher.stages().count("started") == 3

    def test_a_file_that_is_cut_short_once_arrives(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        data = tasks.content(BLOCK)
        site.put("cut.dat", data)
        faults_of(site).truncate("cut.dat", HALF, times=1)

        with self.running(site, tmp_path) as run:
            got = run.read("cut.dat").result(WAIT_S)
            run.watcher.until("done")

            assert difference(got, data) is None
            assert run.watcher.stages().count("started") == 2

    def test_a_broken_connection_is_made_again(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        data = tasks.content(BLOCK)
        site.put("broken.dat", data)
        faults_of(site).interrupt("broken.dat", HALF, times=2)

        with self.running(site, tmp_path) as run:
            got = run.read("broken.dat").result(WAIT_S)
            run.watcher.until("done")

            assert difference(got, data) is None
            assert run.watcher.stages().count("started") == 3

    def test_an_interrupted_transfer_goes_on_where_it_was(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        needs(self.resumes, "begins again (resumes)")
        data = tasks.content(4 * BLOCK)
        site.put("resumed.dat", data)
        faults = faults_of(site)
        faults.truncate("resumed.dat", 3 * BLOCK, times=1)

        with self.running(site, tmp_path) as run:
            got = run.read("resumed.dat").result(WAIT_S)

        assert difference(got, data) is None
        first, second = faults.starts("resumed.dat")
        assert first == 0
        assert second > 0, "the second request asked for all"
        assert 3 * BLOCK + (len(data) - second) < 2 * len(data)

    def test_what_was_interrupted_and_is_another_file_now_begins_again(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        old, new = tasks.content(BLOCK, 1), tasks.content(BLOCK, 2)
        site.put("other.dat", old)
        faults_of(site).truncate("other.dat", HALF, times=1)
        needs(self.notices_changes, "does not know versions apart (notices_changes)")

        # The wait between the attempts is long enough to place the new file.
        with self.running(site, tmp_path, options={"backoff": 2.0}) as run:
            future = run.read("other.dat")
            run.watcher.until("retrying")
            site.put("other.dat", new)
            got = future.result(WAIT_S)

        assert difference(got, old) is None or difference(got, new) is None

    def test_a_server_that_is_overloaded_is_asked_again(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        site.put("busy.dat", b"later")
        faults_of(site).refuse_for_now("busy.dat", times=2)

        with self.running(site, tmp_path) as run:
            assert run.read("busy.dat").result(WAIT_S) == b"later"


class Interrupted(StagingCase):
    """Transfers that the kit breaks off itself: no server has to fail for it."""

    def test_what_is_broken_off_goes_on_or_begins_again(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        data = tasks.content(3 * BLOCK)
        site.put("broken-off.dat", data)
        breaks = _BreaksOff(lambda: None)

        with self.running(site, tmp_path) as run:
            run.kernel.register(breaks)
            got = run.read("broken-off.dat").result(WAIT_S)

        assert difference(got, data) is None
        breaks.skip_unless_broken()
        if self.resumes:
            assert breaks.starts[-1] > 0, "it began again, and says that it resumes"

    def test_what_is_broken_off_and_is_another_file_now_begins_again(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        needs(self.notices_changes, "does not know versions apart (notices_changes)")
        new = tasks.content(3 * BLOCK, 1)
        site.put("replaced-then.dat", tasks.content(3 * BLOCK))
        breaks = _BreaksOff(lambda: site.put("replaced-then.dat", new))

        with self.running(site, tmp_path) as run:
            run.kernel.register(breaks)
            got = run.read("replaced-then.dat").result(WAIT_S)

        assert difference(got, new) is None, "two versions were mixed"
        breaks.skip_unless_broken()


class _BreaksOff:
    """A plugin that breaks the first attempt off when some bytes have come.

    It stands around the provider's hook, and sees what that counts.

    Attributes:
        starts: At which byte each attempt began to count.
    """

    def __init__(self, then: Callable[[], object]) -> None:
        self._then = then
        self.starts: list[int] = []

    @hookimpl(wrapper=True)
    def jackfield_stage_in(self, transfer: Transfer) -> Generator[None, Any, Any]:
        """Have the transfer raise from ``advance``, the first time."""
        counts, begun = transfer.advance, False

        def advance(moved: int) -> None:
            nonlocal begun
            if not begun:
                begun = True
                self.starts.append(transfer.moved)
            counts(moved)
            if len(self.starts) == 1 and transfer.moved > BLOCK:
                self._then()
                raise ConnectionResetError("broken off by the conformance kit")

        vars(transfer)["advance"] = advance
        return (yield)

    def skip_unless_broken(self) -> None:
        """Skip the test if the provider counts nothing, and so was not broken off."""
        if len(self.starts) < 2:
            pytest.skip("this provider does not count what it moves (Transfer.advance)")


class Changes(StagingCase):
    """No file is put together of two versions."""

    def test_a_file_that_changes_on_the_way_is_never_mixed(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        needs(self.notices_changes, "does not know versions apart (notices_changes)")
        old, new = tasks.content(BLOCK, 1), tasks.content(BLOCK, 2)
        site.put("changing.dat", old)
        faults_of(site).change("changing.dat", HALF, new)

        with self.running(site, tmp_path) as run:
            got = run.read("changing.dat").result(WAIT_S)

        assert difference(got, new) is None

    def test_a_file_that_is_replaced_on_the_way_is_never_mixed(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        old, new = tasks.content(BLOCK, 1), tasks.content(BLOCK + 1000, 2)
        site.put("replaced.dat", old)
        faults = faults_of(site)
        faults.stall("replaced.dat", HALF, times=1)

        with self.running(site, tmp_path) as run:
            future = run.read("replaced.dat")
            assert faults.wait_stalled(WAIT_S)
            site.put("replaced.dat", new)
            faults.release()
            got = future.result(WAIT_S)

        assert difference(got, old) is None or difference(got, new) is None

    def test_a_file_that_never_rests_is_given_up(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        needs(self.notices_changes, "does not know versions apart (notices_changes)")
        site.put("restless.dat", tasks.content(BLOCK))
        for seed in range(1, 9):
            faults_of(site).change("restless.dat", HALF, tasks.content(BLOCK, seed))

        with self.running(site, tmp_path, options={"attempts": 3}) as run:
            error = failure(run.read("restless.dat"))

            assert isinstance(error, RemoteChangedError)
            assert run.left() == []


class Stalls(StagingCase):
    """A transfer that does not move ends all the same."""

    def test_a_stalled_transfer_fails_in_time(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        options = {"idle_timeout": IDLE_S, "attempts": 1}
        with self._stalling(site, tmp_path, options) as (_, run):
            began = time.monotonic()
            error = failure(run.read("stalled.dat"))

            ended(began, 2 * AT_ONCE_S)
            assert isinstance(error, TransferError | TimeoutError)
            assert str(error)
            assert run.left() == []

    def test_a_server_that_never_answers_is_given_up_in_time(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        options = {"idle_timeout": IDLE_S, "connect_timeout": IDLE_S, "attempts": 1}
        with self._stalling(site, tmp_path, options, after=0) as (_, run):
            began = time.monotonic()
            error = failure(run.read("stalled.dat"))

            ended(began, 2 * AT_ONCE_S)
            assert isinstance(error, TransferError | TimeoutError)
            assert run.left() == []

    def test_a_stalled_transfer_is_tried_again(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        options = {"idle_timeout": IDLE_S}
        with self._stalling(site, tmp_path, options, times=1) as (_, run):
            got = run.read("stalled.dat").result(WAIT_S)

            assert difference(got, tasks.content(BLOCK)) is None

    def test_a_slow_transfer_is_left_in_peace_while_it_moves(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        data = tasks.content(BLOCK)
        site.put("slow.dat", data)
        faults_of(site).slow_down("slow.dat", PAUSE_S)
        options = {"idle_timeout": 4 * PAUSE_S, "attempts": 1}

        with self.running(site, tmp_path, options=options) as run:
            got = run.read("slow.dat").result(WAIT_S)

        assert difference(got, data) is None

    def test_a_stalled_transfer_that_is_cancelled_ends_at_once(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        with self._stalling(site, tmp_path, PATIENT) as (faults, run):
            future = run.read("stalled.dat")
            assert faults.wait_stalled(WAIT_S)
            held = connections_to(site.base)

            assert future.cancel()
            run.watcher.until("cancelled", limit=AT_ONCE_S)

            assert future.cancelled()
            assert settled(lambda: run.left() == [], AT_ONCE_S), run.left()
            assert held == 0 or settled(
                lambda: connections_to(site.base) < held, AT_ONCE_S
            ), "the connection is still open"

    def test_a_transfer_goes_on_while_one_task_still_wants_it(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        with self._stalling(site, tmp_path, PATIENT, times=1) as (faults, run):
            futures = [run.read("stalled.dat") for _ in range(3)]
            assert faults.wait_stalled(WAIT_S)
            futures[0].cancel()
            futures[1].cancel()
            faults.release()

            got = futures[2].result(WAIT_S)

            assert difference(got, tasks.content(BLOCK)) is None

    def test_a_run_that_is_cut_short_does_not_wait_for_a_stalled_transfer(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        with self._stalling(site, tmp_path, PATIENT) as (faults, run):
            future = run.read("stalled.dat")
            assert faults.wait_stalled(WAIT_S)
            began = time.monotonic()

            run.kernel.cleanup(wait=False)

            ended(began, AT_ONCE_S)
            assert future.cancelled()
            assert run.left() == []

    @contextmanager
    def _stalling(
        self,
        site: StagingSite,
        tmp_path: Path,
        options: Any,
        *,
        after: int = HALF,
        times: int | None = None,
    ) -> Iterator[tuple[StagingFaults, Run]]:
        site.put("stalled.dat", tasks.content(BLOCK))
        faults = faults_of(site)
        faults.stall("stalled.dat", after, times)
        try:
            with self.running(site, tmp_path, options=options) as run:
                yield faults, run
        finally:
            faults.release()


class Cancelled(StagingCase):
    """A transfer that nobody wants any more, wherever it is."""

    def test_a_cancelled_transfer_leaves_all_or_nothing(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        data = tasks.content(self.large)
        site.put("large.dat", data)

        with self.running(site, tmp_path) as run:
            future = run.read("large.dat")
            run.watcher.until("started")
            future.cancel()
            assert settled(lambda: len(run.watcher.stages()) > 1, AT_ONCE_S)
            if "cancelled" in run.watcher.stages():
                assert settled(lambda: run.left() == [], AT_ONCE_S), run.left()
            again = run.read("large.dat").result(WAIT_S)

        site.delete("large.dat")
        assert difference(again, data) is None

    def test_transfers_that_have_not_begun_are_cancelled_too(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        names = [f"queued-{n}.dat" for n in range(30)]
        for name in names:
            site.put(name, tasks.content(BLOCK))

        with self.running(site, tmp_path, options={"connections": 1}) as run:
            futures = [run.read(name) for name in names]
            for future in futures:
                future.cancel()
            site.put("after.dat", b"after")

            assert run.read("after.dat").result(WAIT_S) == b"after"
            assert settled(
                lambda: len(run.left()) == run.watcher.stages().count("done"),
                AT_ONCE_S,
            ), f"{len(run.left())} files, {run.watcher.stages()}"
            assert any(future.cancelled() for future in futures)
