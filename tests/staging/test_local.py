"""Copies of local files: whole, of one version, and nowhere that they must not be."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from jackfield import ConfigurationError, File, Remote, RemoteInfo
from jackfield.errors import (
    RemoteChangedError,
    RemoteForbiddenError,
    RemoteNotFoundError,
    TransferCancelledError,
    TransferError,
)
from jackfield_staging import local
from jackfield_transfers.transfer import Transfer

BODY = bytes(range(256)) * 10_000


@pytest.fixture
def there(tmp_path: Path) -> Path:
    directory = tmp_path / "there"
    directory.mkdir()
    return directory


def url_of(path: Path) -> str:
    return "file://" + quote(os.fsencode(path))


def fetch(url: str, path: Path, **more: Any) -> RemoteInfo:
    info = local.provider.jackfield_stage_in(Transfer(url=url, path=path, **more))
    assert info is not None
    return info


def send(url: str, path: Path, body: bytes = BODY, **more: Any) -> RemoteInfo:
    path.write_bytes(body)
    info = local.provider.jackfield_stage_out(Transfer(url=url, path=path, **more))
    assert info is not None
    return info


def stat(url: str, **more: Any) -> RemoteInfo:
    info = local.provider.jackfield_stat_file(Remote(url=url, **more))
    assert info is not None
    return info


def names(url: str, **more: Any) -> dict[str, RemoteInfo]:
    found = local.provider.jackfield_list_files(Remote(url=url, **more))
    assert found is not None
    return {name.removeprefix(url): info for name, info in found.items()}


def entries(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


# -- In --------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["path", "file:", "FILE:", "localhost"])
def test_a_file_is_copied_and_told_of(there: Path, tmp_path: Path, form: str) -> None:
    source = there / ("a b" if form == "path" else "a b%")
    source.write_bytes(BODY)
    url = {
        "path": str(source),
        "file:": url_of(source),
        "FILE:": url_of(source).replace("file", "FILE", 1),
        "localhost": url_of(source).replace("//", "//localhost", 1),
    }[form]

    transfer = Transfer(url=url, path=tmp_path / "part")
    info = local.provider.jackfield_stage_in(transfer)

    assert (tmp_path / "part").read_bytes() == BODY
    assert info is not None
    assert (info.size, info.settled) == (len(BODY), True)
    assert info.modified == str(source.stat().st_mtime_ns)
    assert stat(url).differs(info) is None
    assert transfer.moved == len(BODY)


def test_a_plain_path_is_literal(there: Path, tmp_path: Path) -> None:
    (there / "a%20b?c#d").write_bytes(BODY)

    fetch(str(there / "a%20b?c#d"), tmp_path / "part")

    assert (tmp_path / "part").read_bytes() == BODY


@pytest.mark.parametrize("name", ["ü %#?;", "\udcfc"])
def test_a_url_says_any_name(there: Path, tmp_path: Path, name: str) -> None:
    (there / name).write_bytes(BODY)
    url = url_of(there / name)

    fetch(url, tmp_path / "part")

    assert (tmp_path / "part").read_bytes() == BODY
    if name.isprintable():
        assert File(url).path == str(there / name)


@pytest.mark.parametrize("name", ["none", "none/x", "file/x", "directory", "pipe"])
def test_what_is_no_file_is_not_found(there: Path, tmp_path: Path, name: str) -> None:
    (there / "directory").mkdir()
    (there / "file").touch()
    os.mkfifo(there / "pipe")

    with pytest.raises(RemoteNotFoundError, match=name):
        fetch(url_of(there / name), tmp_path / "part")
    with pytest.raises(RemoteNotFoundError, match=name):
        stat(url_of(there / name))

    assert not (tmp_path / "part").exists()


def test_a_copy_goes_on_where_the_last_one_ended(there: Path, tmp_path: Path) -> None:
    (there / "x").write_bytes(BODY)
    known = stat(str(there / "x"))
    (tmp_path / "part").write_bytes(b"-" * 1000)

    fetch(str(there / "x"), tmp_path / "part", offset=1000, known=known)

    assert (tmp_path / "part").read_bytes() == b"-" * 1000 + BODY[1000:]


def test_a_copy_of_another_version_begins_again(there: Path, tmp_path: Path) -> None:
    (there / "x").write_bytes(bytes(len(BODY)))
    known = stat(str(there / "x"))
    (there / "new").write_bytes(BODY)
    (there / "new").rename(there / "x")
    (tmp_path / "part").write_bytes(bytes(1000))

    fetch(str(there / "x"), tmp_path / "part", offset=1000, known=known)

    assert (tmp_path / "part").read_bytes() == BODY


class WrittenMeanwhile(Transfer):
    """Writes to the source after the first block."""

    def advance(self, moved: int) -> None:
        super().advance(moved)
        if self.moved == moved:
            os.utime(self.url, (1, 1))


def test_a_file_that_is_written_to_meanwhile_has_changed(
    there: Path, tmp_path: Path
) -> None:
    (there / "x").write_bytes(BODY)

    with pytest.raises(RemoteChangedError):
        local.provider.jackfield_stage_in(
            WrittenMeanwhile(url=str(there / "x"), path=tmp_path / "part")
        )


def test_a_full_disk_is_told_as_it_is(there: Path) -> None:
    (there / "x").write_bytes(BODY)

    with pytest.raises(OSError, match="No space left") as caught:
        fetch(str(there / "x"), Path("/dev/full"))

    assert caught.value.errno == errno.ENOSPC
    assert not isinstance(caught.value, TransferError)


# -- Out -------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["path", "file:"])
def test_a_file_is_put_in_its_place(there: Path, tmp_path: Path, form: str) -> None:
    target = there / "a/b c"
    url = str(target) if form == "path" else url_of(target)

    info = send(url, tmp_path / "out")

    assert target.read_bytes() == BODY
    assert stat(url).differs(info) is None
    assert entries(target.parent) == ["b c"]


def test_the_longest_name_can_be_written(there: Path, tmp_path: Path) -> None:
    send(str(there / ("ü" * 127)), tmp_path / "out")

    assert entries(there) == ["ü" * 127]


def test_a_relative_path_is_below_the_working_directory(tmp_path: Path) -> None:
    send("x", tmp_path / "out")

    assert Path("x").read_bytes() == BODY


def test_missing_directories_are_made(there: Path, tmp_path: Path) -> None:
    send(str(there / "a/b/x"), tmp_path / "out")

    assert (there / "a/b/x").read_bytes() == BODY


@pytest.mark.parametrize("name", ["directory", "directory/", "directory/.."])
def test_a_directory_is_not_replaced(there: Path, tmp_path: Path, name: str) -> None:
    (there / "directory").mkdir()

    with pytest.raises(TransferError, match="director"):
        send(f"{there}/{name}", tmp_path / "out")

    assert entries(there) == ["directory"]
    assert entries(there / "directory") == []


class Failing(Transfer):
    """Fails after the first block, or is cancelled."""

    def advance(self, moved: int) -> None:
        super().advance(moved)
        if self.options:
            raise OSError(errno.EIO, "a bad disk")
        self.stop.stop()


@pytest.mark.parametrize("fails", [True, False])
def test_row_76_a_copy_that_ends_early_leaves_the_old_file_and_nothing_else(
    there: Path, tmp_path: Path, fails: bool
) -> None:
    (there / "x").write_bytes(b"old")
    (tmp_path / "out").write_bytes(BODY)
    options = {"copy": True} if fails else {}
    transfer = Failing(url=str(there / "x"), path=tmp_path / "out", options=options)

    with pytest.raises(
        OSError if fails else TransferCancelledError, match=r"bad|cancel"
    ):
        local.provider.jackfield_stage_out(transfer)

    assert entries(there) == ["x"]
    assert (there / "x").read_bytes() == b"old"


# -- Row 73: links ---------------------------------------------------------------------


def test_row_73_a_link_at_the_destination_is_replaced_and_not_followed(
    there: Path, tmp_path: Path
) -> None:
    (tmp_path / "victim").write_bytes(b"precious")
    (there / "x").symlink_to(tmp_path / "victim")

    send(str(there / "x"), tmp_path / "out")

    assert (tmp_path / "victim").read_bytes() == b"precious"
    assert not (there / "x").is_symlink()
    assert (there / "x").read_bytes() == BODY


def test_row_73_a_link_where_a_copy_arrives_is_not_followed(
    there: Path, tmp_path: Path
) -> None:
    (there / "x").write_bytes(BODY)
    (tmp_path / "victim").write_bytes(b"precious")
    (tmp_path / "part").symlink_to(tmp_path / "victim")

    with pytest.raises(OSError, match="symbolic links"):
        fetch(str(there / "x"), tmp_path / "part")

    assert (tmp_path / "victim").read_bytes() == b"precious"


@pytest.mark.parametrize("name", ["../x", "link", "up/x", "up/new/x", "%2e%2e/x"])
def test_row_73_nothing_outside_of_the_roots_is_touched(
    there: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "x").write_bytes(b"secret")
    (there / "link").symlink_to(tmp_path / "x")
    (there / "up").symlink_to(tmp_path)
    options = {"roots": [str(there)]}
    url = f"file://{there}/{name}"

    with pytest.raises(RemoteForbiddenError, match=r"staging\.file\.roots"):
        fetch(url, tmp_path / "part", options=options)
    with pytest.raises(RemoteForbiddenError):
        stat(url, options=options)
    if name != "link":  # it would be replaced, which is inside
        with pytest.raises(RemoteForbiddenError):
            send(url, tmp_path / "out", options=options)

    assert (tmp_path / "x").read_bytes() == b"secret"
    assert not (tmp_path / "part").exists()
    assert not (tmp_path / "new").exists()


def test_a_link_that_is_put_there_after_the_look_is_not_followed(
    there: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    inside = there / "inside"
    inside.write_bytes(b"harmless")
    find_out = os.path.realpath

    def swapped_after(path: Any, **options: Any) -> Any:
        real = find_out(path, **options)
        if real == str(inside):
            inside.unlink()
            inside.symlink_to(tmp_path / "secret")
        return real

    monkeypatch.setattr(os.path, "realpath", swapped_after)
    with pytest.raises((TransferError, OSError)):
        fetch(f"file://{inside}", tmp_path / "part", options={"roots": [str(there)]})

    part = tmp_path / "part"
    assert not part.exists() or part.read_bytes() != b"secret"
    assert inside.is_symlink()


def test_what_is_inside_of_the_roots_is_moved_and_listed(
    there: Path, tmp_path: Path
) -> None:
    (tmp_path / "alias").symlink_to(there)
    options = {"roots": ["/nonexistent", str(tmp_path / "alias")]}

    send(str(tmp_path / "alias/a/x"), tmp_path / "out", options=options)
    fetch(str(there / "a/x"), tmp_path / "part", options=options)

    assert (tmp_path / "part").read_bytes() == BODY
    assert list(names(f"{there}/", options=options)) == ["a/x"]
    with pytest.raises(RemoteForbiddenError):
        names(f"{tmp_path}/", options=options)


def test_a_root_is_no_prefix_of_a_name(there: Path, tmp_path: Path) -> None:
    (tmp_path / "there2").write_bytes(b"1")

    with pytest.raises(RemoteForbiddenError):
        stat(str(tmp_path / "there2"), options={"roots": [str(there)]})


# -- Lists -----------------------------------------------------------------------------


@pytest.fixture
def tree(there: Path) -> Path:
    (there / "b c%/d").mkdir(parents=True)
    (there / "empty").mkdir()
    for name in ("a", ".hidden", "b c%/ü", "b c%/d/\udcfc"):
        (there / name).write_bytes(b"12")
    (there / "loop").symlink_to(there)
    (there / "self").symlink_to("self")
    (there / "nowhere").symlink_to("none")
    (there / "alias").symlink_to("a")
    os.mkfifo(there / "pipe")
    return there


def test_files_below_a_url_are_listed(tree: Path) -> None:
    url = url_of(tree) + "/"

    found = names(url)

    assert sorted(found) == [
        ".hidden",
        "a",
        "alias",
        "b%20c%25/%C3%BC",
        "b%20c%25/d/%FC",
    ]
    for name, info in found.items():
        assert stat(url + name) == info
        assert info.size == 2


def test_files_below_a_path_are_listed(tree: Path) -> None:
    assert sorted(names(f"{tree}/")) == [
        ".hidden",
        "a",
        "alias",
        "b c%/d/\udcfc",
        "b c%/ü",
    ]


def test_a_directory_that_is_not_there_is_not_found(tree: Path) -> None:
    for name in ("none/", "a/"):
        with pytest.raises(RemoteNotFoundError):
            names(f"{tree}/{name}")


# -- Row 74: URLs ----------------------------------------------------------------------


@pytest.mark.parametrize("url", ["local:///x", "ftp://h/x", "files:///x", "memory://x"])
def test_row_74_other_schemes_are_left_to_others(tmp_path: Path, url: str) -> None:
    transfer = Transfer(url=url, path=tmp_path / "part")

    assert local.provider.jackfield_stage_in(transfer) is None
    assert local.provider.jackfield_stage_out(transfer) is None
    assert local.provider.jackfield_stat_file(Remote(url=url)) is None
    assert local.provider.jackfield_list_files(Remote(url=url)) is None


@pytest.mark.parametrize("name", ["~/x", "~root/x", "$HOME/x", "simplecache::x"])
def test_row_74_nothing_is_expanded(name: str, tmp_path: Path) -> None:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_bytes(BODY)

    fetch(name, tmp_path / "part")

    assert (tmp_path / "part").read_bytes() == BODY


@pytest.mark.parametrize("url", ["file://host/x", "file://~/x", "file:///x%00y"])
def test_row_74_a_url_of_another_place_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(TransferError) as caught:
        fetch(url, tmp_path / "part")

    assert not caught.value.transient


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"root": []}, "root"),
        ({"roots": "/"}, "roots"),
        ({"roots": [1]}, "roots"),
        ({"copy": "yes"}, "copy"),
    ],
)
def test_a_bad_option_is_named(
    tmp_path: Path, options: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigurationError, match=rf"staging\.file\.{named}"):
        fetch("file:///x", tmp_path / "part", options=options)
