"""What moves files is a plugin: ours, or another that is asked before it."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import jackfield as jf
from jackfield.errors import PluginError, PluginLoadError
from jackfield.plugins import PluginManager
from jackfield.staging.mover import Mover, MoverContext, Provider
from jackfield_transfers.host_site import HostSite, OnProgress, ignore_progress
from jackfield_transfers.shared import SharedMover

if TYPE_CHECKING:
    from jackfield.staging.remote import Stop

LIMIT_S = 40.0


class Shelf(HostSite):
    """A site whose files lie in a directory already."""

    connections = 1
    in_task = False
    provider = Provider(stage_in=(abs,), stage_out=(abs,))

    def __init__(self, top: Path) -> None:
        self.top = top

    def stage_in(
        self,
        file: jf.File,
        directory: Path,
        stop: Stop,
        on_progress: OnProgress = ignore_progress,
    ) -> jf.File:
        assert directory.is_dir()
        return file.at(self.top / Path(file.path).name, verified="none")

    def stage_out(
        self, file: jf.File, stop: Stop, on_progress: OnProgress = ignore_progress
    ) -> jf.File:
        (self.top / Path(file.path).name).write_bytes(Path(file).read_bytes())
        return file

    def look(self, file: jf.File, stop: Stop) -> jf.RemoteInfo | None:
        return None


class Shelves(SharedMover):
    """A mover that counts what it is asked for."""

    def __init__(self, around: MoverContext, top: Path) -> None:
        super().__init__(around)
        self.top = top
        self.asked: list[tuple[str, str]] = []

    def make_site(self, scheme: str, host: str, provider: Provider) -> HostSite:
        self.asked.append((scheme, host))
        return Shelf(self.top)

    def verify(self, file: jf.File) -> jf.File:
        raise jf.TransferError(file.url, "verify was asked")


class Plugin:
    """Makes a mover, and keeps it with what it was asked by."""

    def __init__(self, make: Callable[[MoverContext], Any]) -> None:
        self.make = make
        self.made: list[Any] = []
        self.arguments: list[MoverContext] = []

    @jf.hookimpl
    def jackfield_create_mover(self, around: MoverContext) -> Any:
        self.arguments.append(around)
        self.made.append(self.make(around))
        return self.made[-1]


@jf.python_app
def read(file: jf.File) -> str:
    return Path(file).read_text()


@jf.python_app
def write(text: str, outputs: list[jf.File] | None = None) -> None:
    assert outputs
    Path(outputs[0]).write_text(text)


def test_a_programs_mover_moves_the_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("content")
    plugin = Plugin(partial(Shelves, top=tmp_path))
    with jf.load(
        run_dir=tmp_path / "runs",
        plugins=[plugin],
        transfers={"attempts": 3},
        staging={"file": {"copy": False}},
    ):
        out = write("made", outputs=[jf.File("shelf://other/b.txt")])
        assert read(jf.File("shelf://host:7/x/a.txt")).result(LIMIT_S) == "content"
        out.result(LIMIT_S)
        out.outputs[0].result(LIMIT_S)
        declared = read(jf.File(str(tmp_path / "a.txt"), size=7))
        assert "verify was asked" in str(declared.exception(LIMIT_S))

    assert (tmp_path / "b.txt").read_text() == "made"
    (mover,), (around,) = plugin.made, plugin.arguments
    assert sorted(mover.asked) == [("shelf", "host:7"), ("shelf", "other")]
    assert around.transfers["attempts"] == 3
    assert around.staging["file"]["copy"] is False


def test_a_run_without_remote_files_has_none(tmp_path: Path) -> None:
    plugin = Plugin(partial(Shelves, top=tmp_path))
    (tmp_path / "a.txt").write_text("content")
    with jf.load(run_dir=tmp_path / "runs", plugins=[plugin]):
        assert read(jf.File(str(tmp_path / "a.txt"))).result(LIMIT_S) == "content"

    assert plugin.arguments == []


def test_without_a_mover_the_call_says_so(tmp_path: Path) -> None:
    with (
        jf.load(run_dir=tmp_path, block_plugins=("files",)),
        pytest.raises(PluginError, match=r"'files'.*blocked"),
    ):
        read(jf.File("http://127.0.0.1:1/x"))


def test_an_answer_that_is_none_is_refused(tmp_path: Path) -> None:
    manager = PluginManager([Plugin(str)])
    around = MoverContext({}, {}, (), manager.provider)

    with pytest.raises(PluginLoadError, match="Mover"):
        manager.usual("mover", (Mover,), around)


def test_our_sites_can_be_pickled(tmp_path: Path) -> None:
    def provider(scheme: str) -> Provider:
        return Provider(served=(scheme,))

    around = MoverContext({"cache": str(tmp_path)}, {}, (), provider)
    mover = PluginManager().usual("mover", (Mover,), around)
    assert isinstance(mover, SharedMover)
    site = mover.site(jf.File("http://host/x"))

    copy = pickle.loads(pickle.dumps(site))

    assert copy.connections == site.connections
    assert copy.provider == site.provider
