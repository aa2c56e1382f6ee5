"""Directories and patterns: many files that are staged as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import jackfield as jf
from jackfield.errors import TransferError
from jackfield_testing.footprint import WAIT_S
from jackfield_testing.staging import tasks
from jackfield_testing.staging.case import StagingCase, failure, needs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jackfield_testing.staging.site import StagingSite

TREE: Final[Mapping[str, bytes]] = {
    "a.dat": b"a",
    "empty.dat": b"",
    "b c.txt": b"b c",
    "100%.dat": b"percent",
    "grüße/tief.dat": b"deep",
    "sub/a.dat": b"another a",
    "sub/sub/large.dat": tasks.content(100_001),
}


LISTED: Final = ("a#b.dat", "what?.dat", "%41.dat")
"""Names that mean something else if a listing gives them back without quoting."""


class Trees(StagingCase):
    """All of them arrive, each in its place."""

    def _tree(self) -> dict[str, bytes]:
        """Return what is in the directory: no name that the server cannot have."""
        awkward = [name for name in LISTED if name in self.names]
        return {
            **TREE,
            **{
                f"{place}{name}": name.encode()
                for name in awkward
                for place in ("", "sub/")
            },
        }

    def test_a_directory_arrives_with_all_that_is_in_it(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        self._place(site)

        with self.running(site, tmp_path) as run:
            found = run.submit(tasks.read_tree, run.file("tree/")).result(WAIT_S)

        assert found == self._tree()

    def test_a_star_fits_names_in_one_directory(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        assert self._matching(site, tmp_path, "*.dat") == {
            name: data
            for name, data in self._tree().items()
            if "/" not in name and name.endswith(".dat")
        }

    def test_two_stars_fit_names_below(self, site: StagingSite, tmp_path: Path) -> None:
        assert self._matching(site, tmp_path, "**/*.dat") == {
            name: data for name, data in self._tree().items() if name.endswith(".dat")
        }

    def test_a_pattern_fits_names_however_they_are_written(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        self._place(site)
        wanted = {name: TREE[name] for name in ("b c.txt", "100%.dat")}
        found: dict[str, bytes] = {}

        with self.running(site, tmp_path) as run:
            for pattern in ("b%20c*", "%62 c.*", "100%25*"):
                file = jf.File(site.url("tree/") + pattern)
                found |= run.submit(tasks.read_tree, file).result(WAIT_S)

        assert found == wanted

    def test_a_linked_directory_is_sent_as_what_it_holds(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        needs(self.stages_out, "does not stage out (stages_out)")
        names = ("real/x.dat", "link/x.dat")
        for name in names:
            site.make_room(f"linked-tree/{name}")

        with self.running(site, tmp_path) as run:
            target = run.file("linked-tree/")
            run.submit(tasks.write_linked_tree, outputs=[target]).result(WAIT_S)

        assert [site.get(f"linked-tree/{name}") for name in names] == [b"linked"] * 2

    def test_a_file_is_no_output_where_a_directory_is_wanted(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        needs(self.stages_out, "does not stage out (stages_out)")

        with self.running(site, tmp_path) as run:
            target = run.file("no-file-tree/")
            error = failure(run.submit(tasks.write, 10, 0, outputs=[target]))

        assert isinstance(error, TransferError)
        assert site.get("no-file-tree") is None

    def test_a_pattern_that_fits_nothing_is_a_missing_file(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        self._place(site)

        with self.running(site, tmp_path) as run:
            error = failure(run.submit(tasks.read_tree, self._pattern(site, "*.none")))

            assert isinstance(error, FileNotFoundError)
            assert run.left() == []

    def test_a_missing_directory_leaves_nothing_behind(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        needs(self.lists, "cannot list files (lists)")

        with self.running(site, tmp_path) as run:
            error = failure(run.submit(tasks.read_tree, run.file("no-such-tree/")))

            assert isinstance(error, FileNotFoundError)
            assert run.left() == []

    def test_a_directory_is_sent_with_all_that_is_in_it(
        self, site: StagingSite, tmp_path: Path
    ) -> None:
        needs(self.stages_out, "does not stage out (stages_out)")
        tree = self._tree()
        for name in tree:
            site.make_room(f"made-tree/{name}")

        with self.running(site, tmp_path) as run:
            target = run.file("made-tree/")
            run.submit(tasks.write_tree, tree, outputs=[target]).result(WAIT_S)

        assert {name: site.get(f"made-tree/{name}") for name in tree} == tree

    def _place(self, site: StagingSite) -> None:
        needs(self.lists, "cannot list files (lists)")
        for name, data in self._tree().items():
            site.put(f"tree/{name}", data)

    def _matching(
        self, site: StagingSite, tmp_path: Path, pattern: str
    ) -> dict[str, bytes]:
        self._place(site)
        with self.running(site, tmp_path) as run:
            file = self._pattern(site, pattern)
            found: dict[str, bytes] = run.submit(tasks.read_tree, file).result(WAIT_S)
            return found

    def _pattern(self, site: StagingSite, pattern: str) -> jf.File:
        return jf.File(site.url("tree/") + quote(pattern, safe="*/"))
