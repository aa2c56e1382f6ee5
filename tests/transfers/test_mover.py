"""What moves files is a plugin: ours, or another that is asked before it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import jackfield as jf
from jackfield.errors import PluginError, PluginLoadError
from jackfield.plugins import PluginManager
from jackfield.staging.mover import Mover, Provider, Site
from jackfield.staging.progress import OnProgress, ignore_progress

if TYPE_CHECKING:
    from jackfield.staging.remote import Stop

LIMIT_S = 40.0


class Shelf(Site):
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


class Shelves(Mover):
    """A mover that counts what it is asked for."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.asked: list[tuple[str, str]] = []

    def site(self, scheme: str, host: str, provider: Provider) -> Site:
        self.asked.append((scheme, host))
        return Shelf(self.top)

    def verify(self, file: jf.File) -> jf.File:
        raise jf.TransferError(file.url, "verify was asked")


class Plugin:
    def __init__(self, mover: Any) -> None:
        self.mover = mover
        self.arguments: list[Any] = []

    @jf.hookimpl
    def jackfield_create_mover(
        self, transfers: Any, staging: Any, credentials: Any
    ) -> Any:
        self.arguments.append((transfers, staging, credentials))
        return self.mover


@jf.python_app
def read(file: jf.File) -> str:
    return Path(file).read_text()


@jf.python_app
def write(text: str, outputs: list[jf.File] | None = None) -> None:
    assert outputs
    Path(outputs[0]).write_text(text)


def test_a_programs_mover_moves_the_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("content")
    mover = Shelves(tmp_path)
    plugin = Plugin(mover)
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
    assert sorted(mover.asked) == [("shelf", "host:7"), ("shelf", "other")]
    ((transfers, staging, _),) = plugin.arguments
    assert transfers["attempts"] == 3
    assert staging["file"]["copy"] is False


def test_a_run_without_remote_files_has_none(tmp_path: Path) -> None:
    plugin = Plugin(Shelves(tmp_path))
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
    manager = PluginManager([Plugin("a mover")])

    with pytest.raises(PluginLoadError, match="Mover"):
        manager.create_mover({}, {}, lambda _: None)


def test_our_sites_can_be_pickled(tmp_path: Path) -> None:
    mover = PluginManager().create_mover({"cache": str(tmp_path)}, {}, print)
    site = mover.site("http", "host", Provider(served=("http",)))

    copy = pickle.loads(pickle.dumps(site))

    assert copy.connections == site.connections
    assert copy.provider == site.provider
