"""Stage in from a server that behaves."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import jackfield as jf
from jackfield_testing.footprint import WAIT_S
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
    from jackfield_testing.staging.site import StagingSite

ABSENT = "absent.dat"


class Another:
    """Serves another scheme, and is asked after the provider under test."""

    @jf.hookimpl(trylast=True)
    def jackfield_stage_in(self, transfer: jf.Transfer) -> jf.RemoteInfo | None:
        """Give what no other provider would."""
        if transfer.scheme != "kit-another":
            return None
        return transfer.receive([b"another's"])


class Content(StagingCase):
    """What arrives is what is there."""

    @pytest.mark.parametrize("size", [0, 1, 4096, BLOCK])
    def test_a_file_arrives_byte_for_byte(
        self, site: StagingSite, tmp_path: Path, size: int
    ) -> None:
        data = tasks.content(size)
        site.put("plain.dat", data)

        with self.running(site, tmp_path) as run:
            got = run.read("plain.dat").result(WAIT_S)

        assert difference(got, data) is None

    def test_files_of_other_schemes_are_left_to_others(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        needs(bool(site.plugins), "is an entry point, asked about its scheme alone")
        site.put("plain.dat", b"mine")

        with self.running(site, tmp_path) as run:
            run.kernel.register(Another())
            url = site.url("plain.dat")
            file = jf.File("kit-another" + url[url.index(":") :])
            got = run.submit(tasks.read, file).result(WAIT_S)

        assert got == b"another's", "a hook has to return None for other schemes"

    def test_a_large_file_arrives_byte_for_byte(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        data = tasks.content(self.large)
        site.put("large.dat", data)

        with self.running(site, tmp_path) as run:
            got = run.read("large.dat").result(WAIT_S)

        site.delete("large.dat")
        assert difference(got, data) is None

    def test_text_is_not_translated(self, site: StagingSite, tmp_path: Path) -> None:
        data = b"a\nb\r\nc\r\r\n\x00\x1a\xff\xfe" * 100
        site.put("lines.txt", data)

        with self.running(site, tmp_path) as run:
            got = run.read("lines.txt").result(WAIT_S)

        assert difference(got, data) is None

    def test_awkward_names_are_names(self, site: StagingSite, tmp_path: Path) -> None:
        for name in self.names:
            site.put(name, name.encode())

        with self.running(site, tmp_path) as run:
            futures = {name: run.read(name) for name in self.names}
            for name, future in futures.items():
                assert future.result(WAIT_S) == name.encode(), name

    def test_a_name_in_a_directory_is_found(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        site.put("a dir/b%2Fc/deep.dat", b"deep")

        with self.running(site, tmp_path) as run:
            assert run.read("a dir/b%2Fc/deep.dat").result(WAIT_S) == b"deep"

    def test_a_new_version_is_seen_by_another_kernel(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        for data in (b"the first version", b"another"):
            site.put("versions.dat", data)
            with self.running(site, tmp_path) as run:
                assert run.read("versions.dat").result(WAIT_S) == data

    def test_a_missing_file_leaves_nothing_behind(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        with self.running(site, tmp_path) as run:
            error = failure(run.read(ABSENT))

            assert isinstance(error, FileNotFoundError)
            assert run.file(ABSENT).filename in str(error)
            assert run.left() == []
            run.watcher.until("failed")
            assert run.watcher.stages().count("started") == 1, "it was tried again"

    def test_a_missing_file_harms_no_other(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        site.put("there.dat", b"there")

        with self.running(site, tmp_path) as run:
            absent, there = run.read(ABSENT), run.read("there.dat")

            assert isinstance(failure(absent), FileNotFoundError)
            assert there.result(WAIT_S) == b"there"
            site.put("late.dat", b"late")
            assert run.read("late.dat").result(WAIT_S) == b"late"

    def test_a_forbidden_file_leaves_nothing_behind(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        site.put("forbidden.dat", b"not for you")
        faults_of(site).forbid("forbidden.dat")

        with self.running(site, tmp_path) as run:
            error = failure(run.read("forbidden.dat"))

            assert isinstance(error, PermissionError)
            assert run.left() == []


class Declared(StagingCase):
    """What is known about a file, and what its user declares about it."""

    def test_it_is_told_how_a_file_is_known_to_be_right(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        site.put("plain.dat", tasks.content(BLOCK))

        with self.running(site, tmp_path) as run:
            known = run.submit(tasks.verified, run.file("plain.dat")).result(WAIT_S)
            run.watcher.until("done")

        assert known == self.verified
        assert [e.verified for e in run.watcher.events if e.stage == "done"] == [known]

    def test_a_declared_digest_is_compared(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        data = tasks.content(BLOCK)
        right, wrong = hashlib.sha256(data).hexdigest(), "0" * 64
        site.put("declared.dat", data)

        with self.running(site, tmp_path) as run:
            file = run.file("declared.dat", sha256=right, size=BLOCK)
            assert run.submit(tasks.verified, file).result(WAIT_S) == "digest"
            here = run.left()
            error = failure(run.read("declared.dat", sha256=wrong))

            assert isinstance(error, jf.TransferError)
            assert right in str(error)
            assert run.left() == here

    def test_a_declared_size_is_compared(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        site.put("declared.dat", b"12345")

        with self.running(site, tmp_path) as run:
            assert run.read("declared.dat", size=5).result(WAIT_S) == b"12345"
            error = failure(run.read("declared.dat", size=6))

        assert isinstance(error, jf.TransferError)

    def test_a_file_that_is_larger_than_allowed_leaves_nothing_behind(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        site.put("larger.dat", tasks.content(BLOCK))

        with self.running(site, tmp_path, options={"max_bytes": 1000}) as run:
            error = failure(run.read("larger.dat"))

            assert "max_bytes" in str(error)
            assert run.left() == []

    def test_an_unknown_option_is_named(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        needs(self.checks_options, "does not look at its options (checks_options)")
        site.put("plain.dat", b"plain")

        with self.running(site, tmp_path, options={"no_such_option": 1}) as run:
            error = failure(run.read("plain.dat"))

        assert isinstance(error, jf.ConfigurationError)
        assert "no_such_option" in str(error)


class Cached(StagingCase):
    """Files that an earlier run has brought."""

    def test_a_cached_file_is_not_moved_again(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        needs(self.caches, "tells too little for the cache (caches)")
        data = tasks.content(BLOCK)
        site.put("cached.dat", data)
        cache = {"cache": str(tmp_path / "cache")}

        with self.running(site, tmp_path, transfers=cache) as run:
            run.read("cached.dat").result(WAIT_S)
        with self.running(site, tmp_path, transfers=cache) as run:
            got = run.read("cached.dat").result(WAIT_S)
            run.watcher.until("done")

            assert difference(got, data) is None
            assert run.watcher.stages() == ["done"]

    def test_a_cached_file_of_an_older_version_is_moved_again(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        cache = {"cache": str(tmp_path / "cache")}

        for data in (b"the first version", b"another"):
            site.put("cached.dat", data)
            with self.running(site, tmp_path, transfers=cache) as run:
                assert run.read("cached.dat").result(WAIT_S) == data

    def test_a_version_of_the_same_size_is_moved_again(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        needs(self.notices_changes, "does not know versions apart (notices_changes)")
        cache = {"cache": str(tmp_path / "cache")}

        for seed in range(3):
            data = tasks.content(1000, seed)
            site.put("versions.dat", data)
            with self.running(site, tmp_path, transfers=cache) as run:
                got = run.read("versions.dat").result(WAIT_S)
            assert difference(got, data) is None, "its validator is a constant"


class Many(StagingCase):
    """Many tasks, many files."""

    def test_tasks_that_want_one_file_share_a_transfer(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        data = tasks.content(BLOCK)
        site.put("shared.dat", data)

        with self.running(site, tmp_path) as run:
            futures = [
                run.submit(tasks.place, run.file("shared.dat")) for _ in range(200)
            ]
            places = {future.result(WAIT_S) for future in futures}
            run.watcher.until("done")
            stages = run.watcher.stages()
            (place,) = places
            assert difference(Path(place).read_bytes(), data) is None

        assert stages == ["started", "done"]

    def test_a_file_is_asked_for_once(self, site: StagingSite, tmp_path: Path) -> None:
        site.put("once.dat", tasks.content(BLOCK))
        faults = faults_of(site)

        with self.running(site, tmp_path) as run:
            run.read("once.dat").result(WAIT_S)

        assert list(faults.starts("once.dat")) == [0]

    def test_many_files_at_a_time_do_not_mix(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        contents = {f"many-{n}.dat": tasks.content(n * 2001, n) for n in range(50)}
        for name, data in contents.items():
            site.put(name, data)

        with self.running(site, tmp_path) as run:
            futures = {name: run.read(name) for name in contents}
            for name, data in contents.items():
                assert difference(futures[name].result(WAIT_S), data) is None, name

    def test_files_of_one_name_do_not_meet(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        names = ["here/same.dat", "there/same.dat", "same.dat"]
        for name in names:
            site.put(name, name.encode())

        with self.running(site, tmp_path) as run:
            together = run.submit(tasks.read_all, [run.file(name) for name in names])

            assert together.result(WAIT_S) == [name.encode() for name in names]
