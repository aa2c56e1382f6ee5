"""FTP servers without measure, and those that take files and show none."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from jackfield import Remote, RemoteInfo, TransferError
from jackfield.staging.remote import Timeouts
from jackfield_staging import ftp
from jackfield_staging._ftp_listing import info_of
from jackfield_testing.servers import HostileFTPServer, Refuse, Unknown
from jackfield_transfers.transfer import Transfer

LIMIT_S = 60.0
PATIENT = Timeouts(connect=LIMIT_S, idle=LIMIT_S)
HURRIED = Timeouts(connect=0.5, idle=0.5)
MIB = 1 << 20
BODY = b"content" * 100


@pytest.fixture(autouse=True)
def _no_connection_is_left() -> Iterator[None]:
    yield
    ftp.provider.jackfield_kernel_closing()


@pytest.fixture
def server() -> Iterator[HostileFTPServer]:
    with HostileFTPServer() as server:
        yield server


Talk = Callable[[socket.socket], object]


@contextmanager
def talker(talk: Talk) -> Iterator[str]:
    """A server that is nothing but what it says; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection, suppress(OSError):
                        talk(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"ftp://127.0.0.1:{listening.getsockname()[1]}/"
        finally:
            ftp.provider.jackfield_kernel_closing()
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


def grown(act: Callable[[], object]) -> int:
    """Return by how many bytes the greatest use of memory has grown."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    act()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


def listing_of(data: bytes, times: int) -> Talk:
    """Log anybody in, and show the same piece of a listing over and over."""

    def talk(connection: socket.socket) -> None:
        connection.sendall(b"220 here\r\n")
        with (
            connection.makefile("rb") as commands,
            socket.create_server(("127.0.0.1", 0)) as passive,
        ):
            port = passive.getsockname()[1]
            answers = {
                b"USER": "230 in",
                b"TYPE": "200 well",
                b"PWD": '257 "/"',
                b"CWD": "250 well",
                b"PASV": f"227 (127,0,0,1,{port >> 8},{port & 255})",
            }
            for command in commands:
                verb = command.split()[0]
                reply = answers.get(verb, "500 what?")
                if verb in (b"MLSD", b"LIST"):
                    connection.sendall(b"150 now\r\n")
                    with passive.accept()[0] as shown:
                        for _ in range(times):
                            shown.sendall(data)
                    reply = "226 done"
                connection.sendall(reply.encode() + b"\r\n")

    return talk


def fails(url: str, timeouts: Timeouts = PATIENT) -> str:
    """List a directory, which cannot be done; the reason."""
    with pytest.raises(TransferError) as caught:
        ftp.provider.jackfield_list_files(Remote(url=url, timeouts=timeouts))
    return str(caught.value)


# -- Without end


@pytest.mark.parametrize("line", [b"220-welcome\r\n", b" \r\n", b"x" * 100])
def test_a_banner_without_end_is_an_error(line: bytes) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(b"220-welcome\r\n")
        while True:
            connection.sendall(line * 1000)

    with talker(talk) as url:
        assert grown(lambda: fails(url)) < 64 * MIB


@pytest.mark.parametrize("piece", [b"220-welcome\r\n", b"2"])
def test_a_slow_banner_without_end_holds_nobody_up(piece: bytes) -> None:
    over = threading.Event()

    def talk(connection: socket.socket) -> None:
        while not over.wait(0.05):
            connection.sendall(piece)

    with talker(talk) as url:
        began = time.monotonic()
        fails(url, HURRIED)
        over.set()
    assert time.monotonic() - began < LIMIT_S / 2


@pytest.mark.parametrize("verb", ["MLST", "SIZE", "MLSD", "PASV", "TYPE"])
def test_a_reply_of_many_lines_is_an_error(server: HostileFTPServer, verb: str) -> None:
    (server.root / "x").write_bytes(BODY)
    if verb == "SIZE":
        server.fault("MLST", Unknown())
    many = "\r\n".join(["213-no"] + [" " + "x" * 1000] * 100 + ["213 end"])
    server.fault(verb, Refuse(many))

    if verb == "MLSD":
        assert "a reply has over 65536" in fails(server.url(""))
        return
    with pytest.raises(TransferError, match="a reply has over 65536"):
        ftp.provider.jackfield_stage_in(
            Transfer(url=server.url("x"), path=server.root / "part")
        )


@pytest.mark.parametrize(
    "piece",
    [b"type=file; x\r\n", b"x", b"\r\n", b"-rw-r--r-- 1 a a 1 Jan 1 2020 x\r\n"],
)
def test_a_listing_without_end_is_an_error(piece: bytes) -> None:
    block = piece * (MIB // len(piece))

    with talker(listing_of(block, 1000)) as url:
        reasons: list[str] = []
        assert grown(lambda: reasons.append(fails(url))) < 512 * MIB
        assert "more than 16777216 bytes" in reasons[0]


def test_directories_without_end_are_an_error() -> None:
    lines = b"".join(b"type=dir; %d\r\n" % one for one in range(100_001))

    with talker(listing_of(lines, 1)) as url:
        assert "more than 100000 directories" in fails(url)


@pytest.mark.parametrize("size", ["9" * 19, "9" * 5000, "²", "-1", ""])
def test_a_size_that_is_none_is_not_known(size: str) -> None:
    assert info_of(size, "2020") == RemoteInfo(modified="2020")


# -- Odd answers


@pytest.mark.parametrize(
    "reply",
    [
        "227 Entering Passive Mode.",
        "227 (1,2,3,4,5)",
        "227 (127,0,0,1,999999,1)",
        "227 (127,0,0,1,0,0)",
        "228 Entering Long Passive Mode",
        "200 well",
        "425 Cannot open a passive connection.",
        "501 Not for you.",
        "522 Use EPSV.",
    ],
)
def test_a_passive_mode_that_is_answered_oddly_is_asked_for_otherwise(
    server: HostileFTPServer, tmp_path: Path, reply: str
) -> None:
    (server.root / "x").write_bytes(BODY)
    server.fault("PASV", Refuse(reply))

    ftp.provider.jackfield_stage_in(
        Transfer(url=server.url("x"), path=tmp_path / "part")
    )

    assert (tmp_path / "part").read_bytes() == BODY
    assert server.count("EPSV") == 1


@pytest.mark.parametrize("reply", ["229 here", "229 (|||x|)", "229 (|||)", "200 well"])
def test_an_extended_passive_mode_that_is_none_is_an_error(
    server: HostileFTPServer, tmp_path: Path, reply: str
) -> None:
    (server.root / "x").write_bytes(BODY)
    server.fault("PASV", Unknown())
    server.fault("EPSV", Refuse(reply))

    with pytest.raises(TransferError):
        ftp.provider.jackfield_stage_in(
            Transfer(url=server.url("x"), path=tmp_path / "part")
        )


# -- Places that show nothing


@pytest.mark.parametrize("unknown", [True, False])
def test_a_drop_box_takes_a_file_that_it_does_not_show(
    server: HostileFTPServer, tmp_path: Path, unknown: bool
) -> None:
    (tmp_path / "out").write_bytes(BODY)
    for verb in ("MLST", "SIZE", "MDTM", "LIST", "MLSD"):
        server.fault(verb, Unknown() if unknown else Refuse("550 Permission denied."))
    server.fault("DELE", Refuse("550 Permission denied."))

    info = ftp.provider.jackfield_stage_out(
        Transfer(url=server.url("box/x", login=True), path=tmp_path / "out")
    )

    assert (server.root / "box" / "x").read_bytes() == BODY
    assert info is not None
    assert info.size is None
