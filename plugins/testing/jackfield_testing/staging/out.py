"""Stage out: what a task has made is there when its future is done."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from jackfield.errors import DependencyError, TransferError
from jackfield_testing.background import Background
from jackfield_testing.footprint import WAIT_S
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

    from jackfield_testing.staging.site import StagingSite

HALF = BLOCK // 2
REPLACEMENTS = 12
"""Versions of a file that is watched while it is replaced."""

PATIENT = {"idle_timeout": 300.0}


class Out(StagingCase):
    """Outputs that are sent, and outputs that cannot be or must not be."""

    @pytest.fixture(autouse=True)
    def _sends(self, request: pytest.FixtureRequest) -> None:
        if request.function.__qualname__.startswith(Out.__qualname__):
            needs(self.stages_out, "does not stage out (stages_out)")

    @pytest.mark.parametrize("size", [0, 1, BLOCK])
    def test_an_output_is_there_byte_for_byte(
        self, site: StagingSite, tmp_path: Path, size: int
    ) -> None:
        site.make_room("made.dat")

        with self.running(site, tmp_path) as run:
            future = run.write("made.dat", size)

            assert future.outputs[0].result(WAIT_S).url == site.url("made.dat")
            assert difference(site.get("made.dat"), tasks.content(size)) is None
            assert future.result(WAIT_S) == size

    def test_a_large_output_is_there_byte_for_byte(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        with self.running(site, tmp_path) as run:
            assert run.write("large-made.dat", self.large).result(WAIT_S) == self.large

        got = site.get("large-made.dat")
        site.delete("large-made.dat")
        assert difference(got, tasks.content(self.large)) is None

    def test_outputs_of_awkward_names_are_there(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        with self.running(site, tmp_path) as run:
            for seed, name in enumerate(self.names):
                run.write(f"made {name}", 100, seed)

        for seed, name in enumerate(self.names):
            got = site.get(f"made {name}")
            assert difference(got, tasks.content(100, seed)) is None, name

    def test_an_output_takes_the_place_of_an_older_file(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        for old in (tasks.content(2 * BLOCK), b"short"):
            site.put("replaced.dat", old)
            with self.running(site, tmp_path) as run:
                run.write("replaced.dat", BLOCK, 1).result(WAIT_S)

            assert difference(site.get("replaced.dat"), tasks.content(BLOCK, 1)) is None

    def test_others_see_the_older_file_or_the_new_one_at_every_moment(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        needs(self.replaces_whole, "replaces files in place (replaces_whole)")
        versions = [tasks.content(BLOCK, seed) for seed in range(REPLACEMENTS)]
        site.put("watched.dat", versions[0])
        strange: list[str] = []
        over = threading.Event()

        def watch() -> None:
            while not over.is_set():
                seen = site.get("watched.dat")
                if seen not in versions:
                    strange.append("nothing" if seen is None else f"{len(seen)} bytes")

        watcher = Background(watch)
        try:
            with self.running(site, tmp_path) as run:
                for seed in range(1, REPLACEMENTS):
                    run.write("watched.dat", BLOCK, seed).result(WAIT_S)
        finally:
            over.set()
            watcher.finish()
        assert strange == []

    def test_an_output_is_the_input_of_another_task(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        site.make_room("first.dat")
        site.make_room("second.dat")

        with self.running(site, tmp_path) as run:
            first = run.write("first.dat", BLOCK)
            second = run.submit(
                tasks.copy, first.outputs[0], outputs=[run.file("second.dat")]
            )

            assert second.result(WAIT_S) == BLOCK
            read = run.submit(tasks.read, run.file("second.dat"), second)
            assert difference(read.result(WAIT_S), tasks.content(BLOCK)) is None

    def test_an_output_takes_the_place_of_its_own_input(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        site.put("renewed.dat", b"the older file")

        with self.running(site, tmp_path) as run:
            both = run.file("renewed.dat")
            before = run.read("renewed.dat")
            done = run.submit(tasks.extend, both, outputs=[both])

            assert done.result(WAIT_S) == len(b"the older file, and more")
            assert before.result(WAIT_S) == b"the older file"

        assert site.get("renewed.dat") == b"the older file, and more"

    def test_a_directory_is_no_output_where_a_file_is_wanted(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        with self.running(site, tmp_path) as run:
            target = run.file("no-directory.dat")
            error = failure(run.submit(tasks.write_tree, {"x": b"x"}, outputs=[target]))

        assert isinstance(error, TransferError)
        assert site.get("no-directory.dat") is None

    def test_many_outputs_at_a_time_do_not_mix(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        with self.running(site, tmp_path) as run:
            for n in range(30):
                run.write(f"out-{n}.dat", n * 2001, n)

        for n in range(30):
            got = site.get(f"out-{n}.dat")
            assert difference(got, tasks.content(n * 2001, n)) is None

    def test_an_upload_that_breaks_is_made_again(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        site.make_room("broken.dat")
        faults_of(site).break_upload("broken.dat", HALF, times=1)

        with self.running(site, tmp_path) as run:
            assert run.write("broken.dat", BLOCK).result(WAIT_S) == BLOCK

        assert difference(site.get("broken.dat"), tasks.content(BLOCK)) is None

    def test_an_upload_that_fails_leaves_the_older_file(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        needs(self.replaces_whole, "replaces files in place (replaces_whole)")
        site.put("kept.dat", b"the older file")
        faults_of(site).break_upload("kept.dat", HALF)

        with self.running(site, tmp_path, options={"attempts": 2}) as run:
            future = run.write("kept.dat", BLOCK)
            error = failure(future)
            of_output = failure(future.outputs[0])

        assert isinstance(error, OSError)
        assert str(error) in str(of_output)
        assert site.get("kept.dat") == b"the older file"

    def test_an_output_for_a_forbidden_place_fails_task_and_output(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        site.make_room("forbidden-made.dat")
        faults_of(site).forbid("forbidden-made.dat")

        with self.running(site, tmp_path) as run:
            future = run.write("forbidden-made.dat", 1000)
            after = run.submit(tasks.read, future.outputs[0])
            error = failure(future)

            assert isinstance(error, PermissionError)
            assert str(error) in str(failure(future.outputs[0]))
            assert isinstance(failure(after), DependencyError)

    def test_an_output_of_a_task_that_fails_is_not_sent(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        with self.running(site, tmp_path) as run:
            future = run.submit(_write_and_fail, outputs=[run.file("unsent.dat")])

            assert isinstance(failure(future), ArithmeticError)
            assert "out" not in [event.direction for event in run.watcher.events]

        assert site.get("unsent.dat") is None

    def test_a_stalled_upload_that_is_cancelled_ends_at_once(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        needs(self.replaces_whole, "replaces files in place (replaces_whole)")
        site.put("stalled-made.dat", b"the older file")
        faults = faults_of(site)
        faults.stall("stalled-made.dat", HALF)

        with self.running(site, tmp_path, options=PATIENT) as run:
            # Large, so that it cannot all be in the buffers of the system.
            future = run.write("stalled-made.dat", self.large)
            assert faults.wait_stalled(WAIT_S)
            assert site.get("stalled-made.dat") == b"the older file"
            began = time.monotonic()
            run.kernel.cleanup(wait=False)
            ended(began, AT_ONCE_S)
            faults.release()

        assert future.done()
        assert site.get("stalled-made.dat") == b"the older file"


def _write_and_fail(outputs: list[str]) -> None:
    tasks.write(100, 0, outputs)
    raise ArithmeticError
