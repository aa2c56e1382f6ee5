"""FTP: what arrives is whole, what fails says why, and nothing is left of either."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import psutil
import pytest
from tests.staging.servers import vsftpd as vsftpd_server

from jackfield import ConfigurationError, Remote, RemoteInfo
from jackfield.errors import (
    RemoteChangedError,
    RemoteForbiddenError,
    RemoteNotFoundError,
    TransferCancelledError,
    TransferError,
)
from jackfield.staging.remote import Timeouts
from jackfield_staging import ftp
from jackfield_staging._ftp_listing import parsed
from jackfield_testing.servers import (
    BogusAddress,
    DropData,
    FTPFault,
    HostileFTPServer,
    KillControl,
    Refuse,
    StallData,
    Unknown,
)
from jackfield_testing.servers._process import scratch
from jackfield_transfers.transfer import Transfer

if TYPE_CHECKING:
    from tests.staging.servers.endpoint import Endpoint
    from tests.staging.servers.tls import Authority

LIMIT_S = 60.0
BODY = bytes(range(256)) * 2000
PATIENT = Timeouts(connect=10 * LIMIT_S, idle=10 * LIMIT_S)
"""So that what ends a stalled transfer is not a timeout."""

HURRIED = Timeouts(connect=LIMIT_S, idle=0.3)


def close_idle() -> None:
    ftp.provider.jackfield_kernel_closing()


@pytest.fixture(autouse=True)
def _no_connection_is_left() -> Iterator[None]:
    yield
    close_idle()


@pytest.fixture
def server() -> Iterator[HostileFTPServer]:
    with HostileFTPServer(password="p@ss/w:rd%") as server:
        yield server


def incoming(url: str, path: Path, **more: Any) -> Transfer:
    return Transfer(url=url, path=path, **{"timeouts": PATIENT, **more})


def fetch(url: str, path: Path, **more: Any) -> RemoteInfo:
    info = ftp.provider.jackfield_stage_in(incoming(url, path, **more))
    assert info is not None
    return info


def send(url: str, path: Path, body: bytes = BODY, **more: Any) -> RemoteInfo:
    path.write_bytes(body)
    info = ftp.provider.jackfield_stage_out(incoming(url, path, **more))
    assert info is not None
    return info


def stat(url: str, **more: Any) -> RemoteInfo:
    info = ftp.provider.jackfield_stat_file(Remote(url=url, timeouts=PATIENT, **more))
    assert info is not None
    return info


def names(url: str, **more: Any) -> dict[str, RemoteInfo]:
    """List a directory; the names are relative to it."""
    found = ftp.provider.jackfield_list_files(Remote(url=url, timeouts=PATIENT, **more))
    assert found is not None
    assert all(name.startswith(url) for name in found)
    return {name.removeprefix(url): info for name, info in found.items()}


def files(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


def size_of(path: Path) -> int | None:
    """Return the size of what has been begun; ``None`` before the first byte."""
    return path.stat().st_size if path.exists() else None


# -- In --------------------------------------------------------------------------------


def test_a_file_arrives_whole_and_is_told_of(
    server: HostileFTPServer, tmp_path: Path
) -> None:
    (server.root / "x").write_bytes(BODY)

    info = fetch(server.url("x"), tmp_path / "part")

    assert (tmp_path / "part").read_bytes() == BODY
    assert (info.size, info.settled) == (len(BODY), True)
    assert info.etag == f'"{info.size}-{info.modified}"'
    assert stat(server.url("x")).differs(info) is None


@pytest.mark.parametrize("lacking", [["MLST"], ["MLST", "MDTM"], ["MLST", "SIZE"]])
def test_a_server_without_modern_commands_gives_its_files(
    server: HostileFTPServer, tmp_path: Path, lacking: list[str]
) -> None:
    (server.root / "x").write_bytes(BODY)
    for command in lacking:
        server.fault(command, Unknown())

    info = fetch(server.url("x"), tmp_path / "part")

    assert (tmp_path / "part").read_bytes() == BODY
    assert info.size == (None if "SIZE" in lacking else len(BODY))
    assert (info.modified is None) == ("MDTM" in lacking)
    assert info.settled == (lacking == ["MLST"])


def test_an_empty_file_arrives(server: HostileFTPServer, tmp_path: Path) -> None:
    (server.root / "x").touch()

    assert fetch(server.url("x"), tmp_path / "part").size == 0
    assert (tmp_path / "part").read_bytes() == b""


@pytest.mark.parametrize("name", ["none", "none/x", "directory"])
@pytest.mark.parametrize("lacking", [None, "MLST"])
def test_what_is_no_file_is_not_found(
    server: HostileFTPServer, tmp_path: Path, name: str, lacking: str | None
) -> None:
    (server.root / "directory").mkdir()
    if lacking:
        server.fault(lacking, Unknown())

    with pytest.raises(RemoteNotFoundError, match=f"{server.port}/{name}: "):
        fetch(server.url(name), tmp_path / "part")

    assert not (tmp_path / "part").exists()


def test_a_file_that_is_there_and_not_given_is_forbidden(
    server: HostileFTPServer, tmp_path: Path
) -> None:
    (server.root / "x").write_bytes(BODY)
    server.fault("RETR", Refuse("550 Failed to open file."))

    with pytest.raises(RemoteForbiddenError, match="550 Failed to open file"):
        fetch(server.url("x"), tmp_path / "part")


def test_a_full_disk_is_told_as_it_is(server: HostileFTPServer) -> None:
    (server.root / "x").write_bytes(BODY)

    with pytest.raises(OSError, match="No space left") as caught:
        fetch(server.url("x"), Path("/dev/full"))

    assert caught.value.errno == errno.ENOSPC
    assert not isinstance(caught.value, TransferError)


# -- Row 66: broken transfers ----------------------------------------------------------


@pytest.mark.parametrize("command", ["RETR", "STOR"])
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(DropData(1000), id="426"),
        pytest.param(DropData(1000, None), id="no word"),
        pytest.param(DropData(1000, "226 Complete."), id="226"),
        pytest.param(DropData(0, "226 Complete."), id="nothing and 226"),
        pytest.param(DropData(1000, "451 Local error."), id="451"),
        pytest.param(DropData(1000, "452 No space."), id="452"),
        pytest.param(KillControl(1000), id="control killed"),
        pytest.param(StallData(1000), id="stall"),
        pytest.param(Refuse("421 Going down."), id="421"),
        pytest.param(Refuse("425 Cannot connect."), id="425"),
        pytest.param(Refuse("450 Busy."), id="450"),
    ],
)
def test_row_66_a_broken_transfer_is_transient_and_the_next_one_is_whole(
    server: HostileFTPServer, tmp_path: Path, fault: FTPFault, command: str
) -> None:
    body = BODY * 20  # more than the buffers of both sides take
    (server.root / "x").write_bytes(body if command == "RETR" else b"old")
    server.fault(command, fault, times=1)
    url = server.url("x", login=True)

    with pytest.raises(TransferError) as caught:
        move(command, url, tmp_path / "part", body, timeouts=HURRIED)

    assert caught.value.transient
    assert str(caught.value).startswith(f"ftp://user:***@127.0.0.1:{server.port}/x: ")
    if command == "STOR":
        assert files(server.root) == ["x"]
        assert (server.root / "x").read_bytes() == b"old"
    sessions = server.sessions
    move(command, url, tmp_path / "part", body)
    assert (server.root / "x").read_bytes() == body
    assert (tmp_path / "part").read_bytes() == body
    assert server.sessions == sessions + 1


def move(command: str, url: str, path: Path, body: bytes, **more: Any) -> RemoteInfo:
    if command == "STOR":
        return send(url, path, body, **more)
    return fetch(url, path, **more)


def test_row_66_a_stalled_answer_is_transient(
    server: HostileFTPServer, tmp_path: Path
) -> None:
    server.fault("MLST", StallData())

    with pytest.raises(TransferError, match=r"no byte in 0\.3 s") as caught:
        fetch(server.url("x"), tmp_path / "part", timeouts=HURRIED)

    assert caught.value.transient


def test_a_server_that_is_not_there_is_transient(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"ftp://127.0.0.1:{nobody.getsockname()[1]}/x"

        with pytest.raises(TransferError, match="refused") as caught:
            fetch(url, tmp_path / "part")

    assert caught.value.transient


def test_a_file_that_is_replaced_on_the_way_has_changed(
    server: HostileFTPServer, tmp_path: Path
) -> None:
    (server.root / "x").write_bytes(BODY)
    server.fault("RETR", StallData(1000))
    fetching = in_thread(lambda: fetch(server.url("x"), tmp_path / "part"))
    assert server.stalled.wait(LIMIT_S)
    (server.root / "new").write_bytes(BODY)
    os.utime(server.root / "new", (1, 1))
    (server.root / "new").rename(server.root / "x")
    server.release.set()

    with pytest.raises(RemoteChangedError, match=r"its (modified|etag) was") as caught:
        fetching.result(LIMIT_S)

    assert caught.value.transient


# -- Going on where an earlier attempt has ended ---------------------------------------


def resume(
    server: HostileFTPServer, part: Path, known: RemoteInfo, have: int = 100_000
) -> Transfer:
    part.write_bytes(BODY[:have])
    transfer = incoming(server.url("x"), part, offset=have, known=known)
    ftp.provider.jackfield_stage_in(transfer)
    return transfer


def test_a_transfer_goes_on_where_the_last_one_ended(
    server: HostileFTPServer, tmp_path: Path
) -> None:
    (server.root / "x").write_bytes(BODY)

    transfer = resume(server, tmp_path / "part", stat(server.url("x")))

    assert (tmp_path / "part").read_bytes() == BODY
    assert transfer.moved == len(BODY)
    assert ("REST", "100000") in server.commands


def test_a_transfer_that_lacked_only_its_end_moves_nothing(
    server: HostileFTPServer, tmp_path: Path
) -> None:
    (server.root / "x").write_bytes(BODY)

    resume(server, tmp_path / "part", stat(server.url("x")), len(BODY))

    assert (tmp_path / "part").read_bytes() == BODY
    assert server.transfers == 0


@pytest.mark.parametrize("why", ["changed", "cannot"])
def test_a_transfer_that_cannot_go_on_begins_again(
    server: HostileFTPServer, tmp_path: Path, why: str
) -> None:
    (server.root / "x").write_bytes(bytes(len(BODY)))
    known = stat(server.url("x"))
    (server.root / "x").write_bytes(BODY)
    if why == "cannot":
        known = stat(server.url("x"))
        server.fault("REST", Refuse("502 Not implemented."))
    else:
        os.utime(server.root / "x", (1, 1))

    transfer = resume(server, tmp_path / "part", known)

    assert (tmp_path / "part").read_bytes() == BODY
    assert transfer.moved == len(BODY)


# -- Row 67: servers of all kinds ------------------------------------------------------


def test_row_67_data_connections_are_made_from_here(
    server: HostileFTPServer, tmp_path: Path
) -> None:
    send(server.url("x", login=True), tmp_path / "out")
    fetch(server.url("x"), tmp_path / "part")

    assert (tmp_path / "part").read_bytes() == BODY
    assert server.count("PASV") == 2


def test_row_67_a_server_that_knows_only_epsv_serves(
    server: HostileFTPServer, tmp_path: Path
) -> None:
    (server.root / "x").write_bytes(BODY)
    server.fault("PASV", Unknown())

    for _ in range(2):
        fetch(server.url("x"), tmp_path / "part")

    assert (tmp_path / "part").read_bytes() == BODY
    assert (server.count("PASV"), server.count("EPSV")) == (1, 2)


def test_row_67_a_server_without_any_passive_mode_is_named(
    server: HostileFTPServer, tmp_path: Path
) -> None:
    (server.root / "x").write_bytes(BODY)
    server.fault("PASV", Unknown())
    server.fault("EPSV", Unknown())

    with pytest.raises(TransferError, match="EPSV") as caught:
        fetch(server.url("x"), tmp_path / "part")

    assert not caught.value.transient


def test_row_67_the_address_that_a_server_gives_is_not_believed(
    server: HostileFTPServer, tmp_path: Path
) -> None:
    (server.root / "x").write_bytes(BODY)
    server.fault("PASV", BogusAddress())

    # 192.0.2.1 would be no answer for ten seconds; here, nobody listens at the port.
    with pytest.raises(TransferError, match="refused") as caught:
        fetch(server.url("x"), tmp_path / "part")

    assert caught.value.transient


def test_row_67_a_size_is_not_asked_for_in_ascii_mode(
    server: HostileFTPServer, tmp_path: Path
) -> None:
    (server.root / "x").write_bytes(b"a\nb\r\n\n")
    server.fault("MLST", Unknown())

    assert fetch(server.url("x"), tmp_path / "part").size == 6
    assert (tmp_path / "part").read_bytes() == b"a\nb\r\n\n"


@pytest.mark.parametrize(
    ("reply", "transient"),
    [
        ("530 Login incorrect.", False),
        ("530 Too many users, try again later.", True),
        ("421 Too many connections.", True),
    ],
)
def test_row_67_a_refused_login_is_told(
    server: HostileFTPServer, tmp_path: Path, reply: str, transient: bool
) -> None:
    server.fault("PASS", Refuse(reply))

    with pytest.raises(TransferError, match=reply) as caught:
        fetch(server.url("x", login=True), tmp_path / "part")

    assert caught.value.transient == transient
    assert isinstance(caught.value, RemoteForbiddenError) != transient


def test_row_67_where_anonymous_may_not_log_in_it_is_forbidden(tmp_path: Path) -> None:
    with (
        HostileFTPServer(anonymous=False) as server,
        pytest.raises(RemoteForbiddenError, match="530"),
    ):
        fetch(server.url("x"), tmp_path / "part")


@pytest.mark.parametrize("atomic", [True, False])
@pytest.mark.parametrize("reply", ["552 Quota exceeded.", "426 Aborted.", None])
def test_row_67_an_upload_that_fails_at_its_first_byte_leaves_no_empty_file(
    server: HostileFTPServer, tmp_path: Path, reply: str | None, atomic: bool
) -> None:
    server.fault("STOR", DropData(0, reply))

    with pytest.raises(TransferError) as caught:
        send(
            server.url("x", login=True),
            tmp_path / "out",
            timeouts=HURRIED,
            options={"atomic": atomic},
        )

    assert caught.value.transient == (reply is None or not reply.startswith("5"))
    assert files(server.root) == []


# -- Rows 68 and 75: who one is --------------------------------------------------------


@pytest.mark.parametrize("named", [True, False])
def test_row_68_a_password_is_decoded_once(
    server: HostileFTPServer, tmp_path: Path, named: bool
) -> None:
    known = {"user": server.user, "password": server.password} if named else {}

    send(
        server.url("x", login=not named),
        tmp_path / "out",
        credentials=known,
    )

    assert ("PASS", "p@ss/w:rd%") in server.commands
    assert (server.root / "x").read_bytes() == BODY


def test_row_75_no_error_holds_a_password(
    server: HostileFTPServer, tmp_path: Path
) -> None:
    told = []
    for url in (
        server.url("none", login=True),
        f"ftp://user:s3cret@127.0.0.1:{server.port}/x",
        "ftp://user:s3cret@127.0.0.1:1/x",
        "ftp://user:s3cret@127.0.0.1:none/x",
        f"ftp://user:s3cret@127.0.0.1:{server.port}/%0d%0aDELE%20x",
    ):
        with pytest.raises(TransferError) as caught:
            fetch(url, tmp_path / "part")
        told += [str(caught.value), repr(caught.value), repr(caught.value.__cause__)]

    assert not any("s3cret" in text or "ss%2Fw" in text for text in told)
    assert not any("p@ss" in text for text in told)


# -- Rows 72 and 74: URLs --------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "http://h/x",
        "file:///x",
        "simplecache::ftp://h/x",
        "ftp.example.org/x",
        "local://x",
        "~/x",
        "/ftp://h/x",
    ],
)
def test_row_74_other_urls_are_left_to_others(tmp_path: Path, url: str) -> None:
    assert ftp.provider.jackfield_stage_in(incoming(url, tmp_path / "part")) is None
    assert ftp.provider.jackfield_stage_out(incoming(url, tmp_path / "part")) is None
    assert ftp.provider.jackfield_stat_file(Remote(url=url)) is None
    assert ftp.provider.jackfield_list_files(Remote(url=url)) is None


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("a/b", "/a/b"),
        ("/a/b", "/a/b"),
        ("%2Fa/b", "/a/b"),
        ("~/a", "/a"),
        ("%7E/a", "/~/a"),
        ("a%20b%3Fc%23d%25", "/a b?c#d%"),
        ("a?b#c", "/a?b#c"),
        ("x;type=i", "/x;type=i"),
        ("x%3Btype=i", "/x;type=i"),
        ("%C3%BC", "/ü"),
    ],
)
def test_row_72_a_path_is_decoded_and_begins_at_the_root(
    server: HostileFTPServer, path: str, asked: str
) -> None:
    (server.root / asked[1:]).parent.mkdir(parents=True, exist_ok=True)
    (server.root / asked[1:]).write_bytes(b"1")

    assert stat(f"ftp://127.0.0.1:{server.port}/{path}").size == 1


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/a%0d%0aDELE%20b",
        "ftp://h/a%00",
        "ftp://h/a\r\nb",
        "ftp://us%0aer@h/a",
        "ftp://h:port/a",
        "ftp://a..b/a",
        "ftp:///a",
    ],
)
def test_row_72_what_cannot_be_said_in_ftp_is_refused_without_asking(
    tmp_path: Path, url: str
) -> None:
    with pytest.raises(TransferError) as caught:
        fetch(url, tmp_path / "part")

    assert not caught.value.transient


def test_an_unknown_option_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"staging\.ftp\.atomik.*'atomic'"):
        fetch("ftp://h/x", tmp_path / "part", options={"atomik": True})


# -- Out -------------------------------------------------------------------------------


def test_an_upload_replaces_what_is_there_in_one_step(
    server: HostileFTPServer, tmp_path: Path
) -> None:
    (server.root / "x").write_bytes(b"old")
    server.fault("STOR", StallData(1000))
    url = server.url("x", login=True)
    sending = in_thread(lambda: send(url, tmp_path / "out"))
    assert server.stalled.wait(LIMIT_S)

    assert (server.root / "x").read_bytes() == b"old"
    assert len(files(server.root)) == 2

    server.release.set()
    assert sending.result(LIMIT_S).size == len(BODY)
    assert files(server.root) == ["x"]
    assert (server.root / "x").read_bytes() == BODY


def test_missing_directories_are_made(server: HostileFTPServer, tmp_path: Path) -> None:
    (server.root / "a").mkdir()
    url = server.url("a/b/c/x", login=True)

    send(url, tmp_path / "out")

    assert files(server.root) == ["a/b/c/x"]


def test_who_may_not_write_is_told_so(server: HostileFTPServer, tmp_path: Path) -> None:
    with pytest.raises(RemoteForbiddenError):
        send(server.url("x"), tmp_path / "out")

    assert files(server.root) == []


def test_a_refused_rename_says_what_to_do_and_leaves_the_old_file(
    server: HostileFTPServer, tmp_path: Path
) -> None:
    (server.root / "x").write_bytes(b"old")
    server.fault("RNTO", Refuse("553 It exists."), times=1)

    with pytest.raises(RemoteForbiddenError, match="atomic = false"):
        send(server.url("x", login=True), tmp_path / "out")

    assert files(server.root) == ["x"]
    assert (server.root / "x").read_bytes() == b"old"


def test_a_server_that_renames_nothing_over_an_old_file_takes_files_directly(
    server: HostileFTPServer, tmp_path: Path
) -> None:
    (server.root / "x").write_bytes(b"old")
    server.fault("RNTO", Refuse("553 It exists."))

    send(server.url("x", login=True), tmp_path / "out", options={"atomic": False})

    assert files(server.root) == ["x"]
    assert (server.root / "x").read_bytes() == BODY


def test_a_server_that_renames_nothing_takes_files_directly(
    server: HostileFTPServer, tmp_path: Path
) -> None:
    server.fault("RNFR", Unknown())

    send(
        server.url("x", login=True),
        tmp_path / "out",
        options={"atomic": False},
    )

    assert (server.root / "x").read_bytes() == BODY


def test_a_file_that_may_not_be_overwritten_is_not_deleted_either(
    server: HostileFTPServer, tmp_path: Path
) -> None:
    (server.root / "x").write_bytes(b"old")
    server.fault("STOR", Refuse("550 Permission denied."))

    with pytest.raises(RemoteForbiddenError):
        send(
            server.url("x", login=True),
            tmp_path / "out",
            options={"atomic": False},
        )

    assert (server.root / "x").read_bytes() == b"old"


def test_the_longest_name_can_be_sent(server: HostileFTPServer, tmp_path: Path) -> None:
    name = "ü" * 127

    send(server.url(name, login=True), tmp_path / "out", b"1")

    assert files(server.root) == [name]


# -- Row 76: cancelling ----------------------------------------------------------------


def in_thread(function: Callable[[], RemoteInfo]) -> Future[RemoteInfo]:
    with_one = ThreadPoolExecutor(1)
    future = with_one.submit(function)
    with_one.shutdown(wait=False)
    return future


def cancel(transfer: Transfer, running: Future[RemoteInfo]) -> None:
    """Cancel a transfer, and see that it ends; its timeouts would be later."""
    transfer.stop.stop()
    with pytest.raises(TransferCancelledError):
        running.result(LIMIT_S)


@pytest.mark.parametrize("command", ["USER", "MLST", "PASV", "RETR"])
def test_row_76_a_stalled_download_ends_when_it_is_cancelled(
    server: HostileFTPServer, tmp_path: Path, command: str
) -> None:
    (server.root / "x").write_bytes(BODY * 20)
    server.fault(command, StallData(1000))
    transfer = incoming(server.url("x"), tmp_path / "part")
    running = in_thread(lambda: cast("Any", ftp.provider.jackfield_stage_in(transfer)))
    assert server.stalled.wait(LIMIT_S)

    cancel(transfer, running)

    left = size_of(tmp_path / "part")
    server.release.set()
    assert size_of(tmp_path / "part") == left


@pytest.mark.parametrize("command", ["PASV", "STOR", "MLST", "RNTO"])
def test_row_76_a_stalled_upload_that_is_cancelled_leaves_nothing(
    server: HostileFTPServer, tmp_path: Path, command: str
) -> None:
    (tmp_path / "out").write_bytes(BODY * 20)
    server.fault(command, StallData(1000))
    transfer = incoming(server.url("x", login=True), tmp_path / "out")
    running = in_thread(lambda: cast("Any", ftp.provider.jackfield_stage_out(transfer)))
    assert server.stalled.wait(LIMIT_S)

    cancel(transfer, running)

    assert files(server.root) == []


def test_row_76_a_connection_that_is_not_answered_can_be_cancelled(
    tmp_path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as busy:
        address = busy.getsockname()
        with socket.create_connection(address), socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(address)  # fills the queue, so that the next waits
            before = knocking(address)
            transfer = incoming(f"ftp://127.0.0.1:{address[1]}/x", tmp_path / "part")
            running = in_thread(
                lambda: cast("Any", ftp.provider.jackfield_stage_in(transfer))
            )
            assert wait_until(lambda: knocking(address) == before + 1)

            cancel(transfer, running)


def knocking(address: Any) -> int:
    """Count the connections to an address that are not answered yet."""
    own = psutil.Process().net_connections("tcp4")
    return sum(one.raddr == address and one.status == "SYN_SENT" for one in own)


def wait_until(true: Callable[[], bool]) -> bool:
    end = time.monotonic() + LIMIT_S
    while not true() and time.monotonic() < end:
        threading.Event().wait(0.01)
    return true()


def test_a_transfer_that_a_watchdog_breaks_is_transient(
    server: HostileFTPServer, tmp_path: Path
) -> None:
    (server.root / "x").write_bytes(BODY)
    server.fault("RETR", StallData(1000))
    transfer = incoming(server.url("x"), tmp_path / "part")
    running = in_thread(lambda: cast("Any", ftp.provider.jackfield_stage_in(transfer)))
    assert server.stalled.wait(LIMIT_S)

    transfer.stop.interrupt()

    with pytest.raises(TransferError, match="nothing moved") as caught:
        running.result(LIMIT_S)
    assert caught.value.transient


def test_a_cancelled_transfer_does_not_begin(
    server: HostileFTPServer, tmp_path: Path
) -> None:
    transfer = incoming(server.url("x"), tmp_path / "part")
    transfer.stop.stop()

    with pytest.raises(TransferCancelledError):
        ftp.provider.jackfield_stage_in(transfer)

    assert server.sessions == 0


# -- Connections are used again --------------------------------------------------------


def test_many_files_need_one_connection(
    server: HostileFTPServer, tmp_path: Path
) -> None:
    (server.root / "x").write_bytes(BODY)

    for _ in range(5):
        fetch(server.url("x"), tmp_path / "part")
        with pytest.raises(RemoteNotFoundError):
            stat(server.url("none"))

    assert server.sessions == 1
    close_idle()
    assert wait_until(lambda: server.count("QUIT") == 1)


def test_another_user_has_another_connection(
    server: HostileFTPServer, tmp_path: Path
) -> None:
    (server.root / "x").write_bytes(BODY)

    fetch(server.url("x"), tmp_path / "part")
    fetch(server.url("x", login=True), tmp_path / "part")

    assert server.sessions == 2


def test_a_connection_that_the_server_has_closed_is_made_again(
    ftp_server: Endpoint, tmp_path: Path
) -> None:
    url = ftp_server.put("ftp-again/x", BODY)
    fetch(url, tmp_path / "part", **login(ftp_server))
    ftp_server.restart()

    fetch(url, tmp_path / "part", **login(ftp_server))

    assert (tmp_path / "part").read_bytes() == BODY


FORKING = """
import os, sys
from pathlib import Path
from jackfield_transfers.transfer import Transfer
from jackfield_staging import ftp

def fetch(path):
    known = dict(zip(["user", "password"], sys.argv[2:]))
    file = Transfer(url=sys.argv[1], path=Path(path), credentials=known)
    ftp.provider.jackfield_stage_in(file)

fetch("parent")
child = os.fork()
fetch("child" if child == 0 else "parent")
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
fetch("parent")
ftp.provider.jackfield_kernel_closing()
"""


def test_a_forked_child_has_connections_of_its_own(
    ftp_server: Endpoint, tmp_path: Path
) -> None:
    url = ftp_server.put("ftp-fork/x", BODY)
    known = login(ftp_server)["credentials"]

    subprocess.run(
        [sys.executable, "-W", "error", "-c", FORKING, url, *known.values()],
        cwd=tmp_path,
        check=True,
        timeout=LIMIT_S,
    )

    assert (tmp_path / "parent").read_bytes() == BODY
    assert (tmp_path / "child").read_bytes() == BODY


# -- Listing ---------------------------------------------------------------------------

TREE = {"a": 1, "b c%#?/ü": 2, "b c%#?/d/e;type=i": 3, ".hidden": 4, "d -> e": 5}


def plant(root: Path) -> None:
    for name, size in TREE.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(bytes(size))
    (root / "empty").mkdir()


@pytest.mark.parametrize("lacking", [[], ["MLSD"], ["MLSD", "MLST"]])
def test_a_directory_is_listed_to_any_depth(
    server: HostileFTPServer, lacking: list[str]
) -> None:
    (server.root / "top").mkdir()
    plant(server.root / "top")
    for command in lacking:
        server.fault(command, Unknown())
    url = server.url("top") + "/"

    found = names(url)

    assert {name: info.size for name, info in found.items()} == {
        "a": 1,
        "b%20c%25%23%3F/%C3%BC": 2,
        "b%20c%25%23%3F/d/e%3Btype%3Di": 3,
        ".hidden": 4,
        "d%20-%3E%20e": 5,
    }
    for name, info in found.items():
        assert stat(url + name).differs(info) is None


def test_a_listing_ends_where_links_lead_in_a_circle(server: HostileFTPServer) -> None:
    (server.root / "a/b").mkdir(parents=True)
    (server.root / "a/x").touch()
    for number in range(3):
        (server.root / f"a/b/up{number}").symlink_to(server.root / "a")

    assert list(names(server.url("a") + "/")) == ["x"]


@pytest.mark.parametrize("lacking", [None, "MLSD"])
def test_a_directory_that_is_not_there_is_not_found(
    server: HostileFTPServer, lacking: str | None
) -> None:
    (server.root / "file").touch()
    if lacking:
        server.fault(lacking, Unknown())

    for name in ("none/", "file/"):
        with pytest.raises(RemoteNotFoundError):
            names(server.url(name))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("-rw-r--r--   1 u  g   12 Jan 05 10:00 a b", ("a b", "file", 12)),
        ("-rw-r--r--. 1 u g 12 Jan  5  2024  a", (" a", "file", 12)),
        ("-rw-r--r--+ 1 1000 1000 0 Dec 31 23:59 ...", ("...", "file", 0)),
        ("drwxr-xr-x 2 u g 4096 Jan 05 10:00 d", ("d", "dir", None)),
        ("lrwxrwxrwx 1 u g 4 Jan 05 10:00 l -> a -> b", ("l", "link", None)),
        ("prw-r--r-- 1 u g 0 Jan 05 10:00 p", ("p", "other", None)),
        ("-rw-r--r-- 1 u 12 Jan 05 10:00 a", ("a", "file", 12)),
        ("01-23-24  10:15AM       <DIR>          My files", ("My files", "dir", None)),
        ("01-23-2024  10:15PM              1234 a b.txt", ("a b.txt", "file", 1234)),
    ],
)
def test_what_servers_show_for_people_is_understood(
    text: str, told: tuple[str, str, int | None]
) -> None:
    [entry] = parsed(["total 8", text])

    assert (entry.name, entry.kind, entry.info.size) == told


@pytest.mark.parametrize(
    "text", ["-rw-r--r-- 1 u g 12 Jan 05 10:00 ../a", "nothing of the kind", "d"]
)
def test_what_cannot_be_understood_is_not_passed_over(text: str) -> None:
    with pytest.raises(ValueError, match="listing"):
        list(parsed([text]))


# -- TLS -------------------------------------------------------------------------------


@pytest.fixture
def tls_server(authority: Authority) -> Iterator[HostileFTPServer]:
    with HostileFTPServer(certificate=authority.server) as server:
        yield server


def ftps(server: HostileFTPServer, path: str) -> str:
    return server.url(path, login=True).replace("ftp:", "ftps:")


def test_files_move_both_ways_in_tls(
    tls_server: HostileFTPServer, authority: Authority, tmp_path: Path
) -> None:
    options = {"ca_file": str(authority.ca)}

    send(ftps(tls_server, "a/x"), tmp_path / "out", options=options)
    info = fetch(ftps(tls_server, "a/x"), tmp_path / "part", options=options)

    assert info.size == len(BODY)
    assert (tmp_path / "part").read_bytes() == BODY
    assert list(names(ftps(tls_server, "a/"), options=options)) == ["x"]
    verbs = [command.verb for command in tls_server.commands]
    assert verbs.index("AUTH") < verbs.index("USER")
    assert ("PROT", "P") in tls_server.commands


@pytest.mark.parametrize("fault", [DropData(1000, None), StallData(1000)])
@pytest.mark.parametrize("command", ["RETR", "STOR"])
def test_row_66_a_transfer_that_breaks_in_tls_is_transient(
    tls_server: HostileFTPServer,
    authority: Authority,
    tmp_path: Path,
    fault: FTPFault,
    command: str,
) -> None:
    body = BODY * 20
    tls_server.fault(command, fault, times=1)
    options = {"ca_file": str(authority.ca)}
    if command == "RETR":
        (tls_server.root / "x").write_bytes(body)

    with pytest.raises(TransferError) as caught:
        move(
            command,
            ftps(tls_server, "x"),
            tmp_path / "part",
            body,
            options=options,
            timeouts=HURRIED,
        )

    assert caught.value.transient
    assert files(tls_server.root) == (["x"] if command == "RETR" else [])


def test_row_76_a_stalled_transfer_in_tls_ends_when_it_is_cancelled(
    tls_server: HostileFTPServer, authority: Authority, tmp_path: Path
) -> None:
    (tls_server.root / "x").write_bytes(BODY * 20)
    tls_server.fault("RETR", StallData(1000))
    transfer = incoming(
        ftps(tls_server, "x"),
        tmp_path / "part",
        options={"ca_file": str(authority.ca)},
    )
    running = in_thread(lambda: cast("Any", ftp.provider.jackfield_stage_in(transfer)))
    assert tls_server.stalled.wait(LIMIT_S)

    cancel(transfer, running)


def test_a_server_that_cannot_be_trusted_does_not_learn_the_password(
    tls_server: HostileFTPServer, tmp_path: Path
) -> None:
    with pytest.raises(TransferError, match="certificate") as caught:
        fetch(ftps(tls_server, "x"), tmp_path / "part")

    assert not caught.value.transient
    assert tls_server.count("USER") == tls_server.count("PASS") == 0


def test_a_server_without_tls_does_not_learn_the_password(
    server: HostileFTPServer, tmp_path: Path
) -> None:
    with pytest.raises(TransferError, match=r"no TLS .* does not offer") as caught:
        fetch(ftps(server, "x"), tmp_path / "part")

    assert not caught.value.transient
    assert server.count("USER") == server.count("PASS") == 0


def test_a_file_of_certificates_that_is_missing_is_named(
    tls_server: HostileFTPServer, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="ca_file names '/none"):
        fetch(
            ftps(tls_server, "x"),
            tmp_path / "part",
            options={"ca_file": "/none.pem"},
        )


VSFTPD_TLS = """
ssl_enable=YES
rsa_cert_file={certificate}
force_local_logins_ssl=YES
force_local_data_ssl=YES
ssl_ciphers=HIGH
require_ssl_reuse=YES
strict_ssl_read_eof=YES
strict_ssl_write_shutdown=YES
implicit_ssl={implicit}
"""


@pytest.mark.parametrize("implicit", [False, True])
def test_vsftpd_at_its_strictest_moves_files_both_ways(
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    implicit: bool,
) -> None:
    strict = VSFTPD_TLS.format(
        certificate=authority.server, implicit="YES" if implicit else "NO"
    )
    monkeypatch.setattr(vsftpd_server, "CONFIG", vsftpd_server.CONFIG + strict)
    options = {"ca_file": str(authority.ca), "implicit": implicit}

    with scratch("vsftpd-tls") as directory, vsftpd_server.start(directory) as endpoint:
        url = endpoint.at("a/x").replace("ftp:", "ftps:")
        known = {**login(endpoint), "options": options}
        for _ in range(2):
            send(url, tmp_path / "out", BODY * 5, **known)
            fetch(url, tmp_path / "part", **known)
        close_idle()

    assert (tmp_path / "part").read_bytes() == BODY * 5


# -- Servers that people use -----------------------------------------------------------


@pytest.fixture(params=["ftp_server", "ftps_server", "vsftpd"])
def real(request: pytest.FixtureRequest) -> Endpoint:
    endpoint = request.getfixturevalue(request.param)
    endpoint.put(f"{request.param}-ftp/empty", b"")
    return cast("Endpoint", endpoint)


def login(endpoint: Endpoint, who: Mapping[str, Any] | None = None) -> dict[str, Any]:
    known = who or endpoint.options
    options = {"ca_file": str(known["ca"])} if "ca" in known else {}
    names = {"user": known["username"], "password": known["password"]}
    return {"credentials": names, "options": options}


def test_real_servers_take_and_give_files(real: Endpoint, tmp_path: Path) -> None:
    url = real.at("ftp-both/a%20b/x")

    for body in (BODY, b"", BODY * 3):
        sent = send(url, tmp_path / "out", body, **login(real))
        got = fetch(url, tmp_path / "part", **login(real))

        assert (tmp_path / "part").read_bytes() == body
        assert real.get("ftp-both/a b/x") == body
        assert sent.size == got.size == len(body)
    assert real.names("ftp-both") == ["ftp-both/a b/x"]


def test_real_servers_say_what_is_missing_or_forbidden(
    real: Endpoint, tmp_path: Path
) -> None:
    with pytest.raises(RemoteNotFoundError):
        fetch(real.at("ftp-none/x"), tmp_path / "part", **login(real))
    with pytest.raises(RemoteNotFoundError):
        names(real.at("ftp-none/"), **login(real))
    with pytest.raises(RemoteForbiddenError):
        send(real.at("ftp-x"), tmp_path / "out", **login(real, real.readonly))
    known = login(real)
    known["credentials"].update(user="stranger", password="wrong")
    with pytest.raises(RemoteForbiddenError):
        fetch(real.at("ftp-none/x"), tmp_path / "part", **known)


def test_real_servers_list_their_directories(real: Endpoint) -> None:
    for name, size in TREE.items():
        if "->" not in name:
            real.put(f"ftp-list/{name}", bytes(size))

    found = names(real.at("ftp-list/"), **login(real))

    assert {name: info.size for name, info in found.items()} == {
        "a": 1,
        "b%20c%25%23%3F/%C3%BC": 2,
        "b%20c%25%23%3F/d/e%3Btype%3Di": 3,
        ".hidden": 4,
    }


def test_vsftpd_s_links_are_followed_once(vsftpd: Endpoint) -> None:
    vsftpd.put("ftp-links/a/x", b"1")
    top = vsftpd.content.root / "ftp-links"  # type: ignore[attr-defined]  # a Tree
    (top / "a/up").symlink_to("..")
    (top / "b").symlink_to("a/x")
    (top / "nowhere").symlink_to("none")

    assert sorted(names(vsftpd.at("ftp-links/"), **login(vsftpd))) == ["a/x", "b"]


def test_vsftpd_s_names_that_are_no_utf_8_are_listed_and_fetched(
    vsftpd: Endpoint, tmp_path: Path
) -> None:
    vsftpd.put(os.fsdecode(b"ftp-bytes/\xfc"), BODY)
    url = vsftpd.at("ftp-bytes/")

    assert list(names(url, **login(vsftpd))) == ["%FC"]
    fetch(url + "%FC", tmp_path / "part", **login(vsftpd))

    assert (tmp_path / "part").read_bytes() == BODY
