"""What all schemes share: one lease, one end, and one way to tell of local errors."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from jackfield import ConfigurationError, Remote, TransferError
from jackfield.staging.remote import Timeouts
from jackfield_staging import _core_hooks, any_scheme, ftp, http, local, s3
from jackfield_staging._core_files import part_name
from jackfield_testing.servers import HostileFTPServer, HostileHTTPServer
from jackfield_transfers.transfer import Transfer

BODY = bytes(range(256)) * 20_000
LIMITS = Timeouts(connect=5.0, idle=5.0)


@pytest.fixture(autouse=True)
def _nothing_is_kept() -> Iterator[None]:
    yield
    _core_hooks.close_idle()
    MemoryFileSystem.store.clear()


@pytest.fixture
def server() -> Iterator[HostileHTTPServer]:
    with HostileHTTPServer({"/x": BODY}) as made:
        yield made


class InterruptedOnce(Transfer):
    """Is broken off, as one that stalls is, while what has arrived is written."""

    interrupted = False

    def advance(self, moved: int) -> None:
        super().advance(moved)
        if self.moved > 1000 and not self.interrupted:
            self.interrupted = True
            self.stop.interrupt()


@pytest.mark.parametrize("scheme", ["http", "ftp", "memory"])
def test_an_interrupt_between_two_calls_is_not_lost(
    scheme: str, tmp_path: Path
) -> None:
    modules: dict[str, Any] = {"http": http, "ftp": ftp, "memory": any_scheme}
    hook = modules[scheme].provider
    with ExitStack() as servers:
        url = "memory://x"
        if scheme == "http":
            url = servers.enter_context(HostileHTTPServer({"/x": BODY})).url("/x")
        elif scheme == "ftp":
            made = servers.enter_context(HostileFTPServer())
            (made.root / "x").write_bytes(BODY)
            url = made.url("x")
        else:
            MemoryFileSystem().pipe_file("/x", BODY)
        path = tmp_path / "part"
        transfer = InterruptedOnce(url=url, path=path, timeouts=LIMITS)

        with pytest.raises(TransferError, match="nothing moved for 5 s") as caught:
            hook.jackfield_stage_in(transfer)

    assert caught.value.transient
    assert path.stat().st_size < len(BODY)


class Remembering(Transfer):
    """Knows what would have broken it off, as one does who is about to do it."""

    breakers: Sequence[Callable[[], object]] = ()

    def advance(self, moved: int) -> None:
        super().advance(moved)
        self.breakers = list(self.stop._breakers)


def test_an_interrupt_that_comes_too_late_does_not_hit_the_next_transfer(
    tmp_path: Path,
) -> None:
    with HostileFTPServer() as server:
        (server.root / "x").write_bytes(BODY)
        path = tmp_path / "part"
        first = Remembering(url=server.url("x"), path=path, timeouts=LIMITS)
        ftp.provider.jackfield_stage_in(first)

        assert first.breakers
        for breaker in first.breakers:
            breaker()
        second = Transfer(url=server.url("x"), path=path, timeouts=LIMITS)
        ftp.provider.jackfield_stage_in(second)

        assert path.read_bytes() == BODY
        assert server.sessions == 1


def test_the_filesystems_that_nobody_uses_are_few(tmp_path: Path) -> None:
    MemoryFileSystem().pipe_file("/x", b"content")

    for number in range(2 * _core_hooks.MOST_IDLE):
        path = tmp_path / str(number)
        transfer = Transfer(url="memory://x", path=path, options={"number": number})
        any_scheme.provider.jackfield_stage_in(transfer)

    assert len(_core_hooks._pool.kept) == _core_hooks.MOST_IDLE


class BadDisk(Transfer):
    """Its file cannot be read to the end."""

    def advance(self, moved: int) -> None:
        if self.moved > 1 << 20:
            raise OSError(errno.EIO, "the disk is broken")
        super().advance(moved)


def test_a_local_error_while_a_file_is_sent_is_told_as_it_is(
    server: HostileHTTPServer, tmp_path: Path
) -> None:
    path = tmp_path / "out"
    path.write_bytes(BODY)
    transfer = BadDisk(url=server.url("/new"), path=path, timeouts=LIMITS)

    with pytest.raises(OSError, match="the disk is broken") as caught:
        http.provider.jackfield_stage_out(transfer)

    assert not isinstance(caught.value, TransferError)
    assert "/new" not in server.files


PROVIDERS: dict[str, Any] = {
    **dict.fromkeys(("ftp", "ftps"), ftp),
    **dict.fromkeys(("http", "https"), http),
    **dict.fromkeys(("memory", "sftp", "webdav"), any_scheme),
    "file": local,
    "s3": s3,
}


@pytest.mark.parametrize("tail", ["//[::1/x", "//[]/x", "//me:pass/word:80@h:80:80/x"])
@pytest.mark.parametrize("scheme", sorted({*PROVIDERS} - {"memory"}))
def test_a_url_that_cannot_be_read_is_an_error_without_its_password(
    scheme: str, tail: str
) -> None:
    pytest.importorskip("paramiko")
    pytest.importorskip("webdav4")
    remote = Remote(url=f"{scheme}:{tail}", timeouts=LIMITS)

    with pytest.raises(TransferError) as caught:
        PROVIDERS[scheme].provider.jackfield_stat_file(remote)

    assert "word" not in str(caught.value)
    assert "pass" not in str(caught.value)


@pytest.mark.parametrize(
    ("scheme", "options"),
    [
        ("https", {"ca_file": "~nobody-of-this-name/ca.pem"}),
        ("https", {"ca_file": "\0"}),
        ("https", {"ca_file": "/"}),
        ("http", {"headers": {1: "x"}}),
        ("http", {"headers": {"x": "\0"}}),
        ("http", {"headers": {"x\n": "y"}}),
        ("file", {"roots": ["\0"]}),
        ("file", {"roots": "/"}),
        ("sftp", {"key_file": 3}),
        ("sftp", {"known_hosts": "~nobody-of-this-name/known_hosts"}),
    ],
    ids=repr,
)
def test_an_option_that_no_file_or_text_can_be_is_named(
    scheme: str, options: dict[str, Any]
) -> None:
    pytest.importorskip("paramiko")
    remote = Remote(url=f"{scheme}://localhost/x", options=options, timeouts=LIMITS)

    with pytest.raises(ConfigurationError, match=next(iter(options))):
        PROVIDERS[scheme].provider.jackfield_stat_file(remote)


@pytest.mark.parametrize("before", range(45))
def test_a_name_to_write_to_is_cut_between_two_characters(before: int) -> None:
    name = quote("x" * before + "日本語-😀.dat")

    decoded = unquote(part_name(name), errors="strict")

    assert "%" not in decoded
    assert decoded.startswith(f".{'x' * min(before, 40)}")
