"""The hostile FTP server: honest by default, and each fault as it is on the wire."""

from __future__ import annotations

import ftplib
import importlib.util
import io
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jackfield_testing.footprint import footprint, settled
from jackfield_testing.installed import skip_without
from jackfield_testing.servers import (
    BogusAddress,
    DropData,
    FTPCommand,
    FTPFault,
    HostileFTPServer,
    KillControl,
    Refuse,
    StallData,
    Unknown,
)

skip_without("pyftpdlib", extra="testing")

LIMIT_S = 60.0
CONTENT = bytes(range(256)) * 1000
"""More than pyftpdlib sends or reads at a time."""


@pytest.fixture
def server() -> Iterator[HostileFTPServer]:
    with HostileFTPServer() as running:
        (running.root / "x").write_bytes(CONTENT)
        yield running


@pytest.fixture
def client(server: HostileFTPServer) -> Iterator[ftplib.FTP]:
    with connect(server) as connected:
        connected.login(server.user, server.password)
        yield connected


def connect(server: HostileFTPServer) -> ftplib.FTP:
    client = ftplib.FTP(timeout=LIMIT_S)
    client.connect("127.0.0.1", server.port)
    return client


def logged_in(server: HostileFTPServer) -> ftplib.FTP:
    client = connect(server)
    client.login(server.user, server.password)
    return client


def get(client: ftplib.FTP, name: str = "x", rest: int | None = None) -> bytes:
    received = io.BytesIO()
    client.retrbinary(f"RETR {name}", received.write, rest=rest)
    return received.getvalue()


def put(client: ftplib.FTP, content: bytes = CONTENT, name: str = "new") -> str:
    return client.storbinary(f"STOR {name}", io.BytesIO(content))


def drain(data: socket.socket) -> bytes:
    with data:
        return b"".join(iter(lambda: data.recv(65536), b""))


# An honest server


def test_a_file_is_served(client: ftplib.FTP, server: HostileFTPServer) -> None:
    assert get(client) == CONTENT
    assert server.transfers == 1


def test_a_file_is_served_from_an_offset(client: ftplib.FTP) -> None:
    assert get(client, rest=1000) == CONTENT[1000:]


def test_size_date_and_listing_are_told(client: ftplib.FTP) -> None:
    client.voidcmd("TYPE I")

    assert client.size("x") == len(CONTENT)
    assert client.voidcmd("MDTM x").startswith("213 ")
    assert dict(client.mlsd())["x"]["size"] == str(len(CONTENT))
    assert client.nlst() == ["x"]


def test_size_is_refused_in_ascii_mode(client: ftplib.FTP) -> None:
    client.voidcmd("TYPE A")

    with pytest.raises(ftplib.error_perm, match="550"):
        client.size("x")


def test_a_file_is_stored_and_renamed(
    client: ftplib.FTP, server: HostileFTPServer
) -> None:
    put(client, CONTENT, "part")
    client.rename("part", "whole")

    assert (server.root / "whole").read_bytes() == CONTENT
    assert not (server.root / "part").exists()
    assert server.transfers == 1


def test_active_mode_works(client: ftplib.FTP) -> None:
    client.set_pasv(False)

    assert get(client) == CONTENT


def test_a_directory_may_be_given(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"content")

    with HostileFTPServer(tmp_path) as server, logged_in(server) as client:
        assert get(client) == b"content"

    assert (tmp_path / "x").exists()


def test_a_wrong_password_is_refused(server: HostileFTPServer) -> None:
    with connect(server) as client, pytest.raises(ftplib.error_perm, match="530"):
        client.login(server.user, "wrong")


def test_a_password_may_need_quoting_in_the_url() -> None:
    with HostileFTPServer(user="u", password="p@x/") as server:
        assert server.url("a b", login=True) == (
            f"ftp://u:p%40x%2F@127.0.0.1:{server.port}/a%20b"
        )
        with connect(server) as client:
            assert client.login("u", "p@x/").startswith("230")


def test_anonymous_may_read_and_not_write(server: HostileFTPServer) -> None:
    with connect(server) as client:
        client.login()

        assert get(client) == CONTENT
        with pytest.raises(ftplib.error_perm, match="550"):
            put(client)


def test_anonymous_may_be_off() -> None:
    with (
        HostileFTPServer(anonymous=False) as server,
        connect(server) as client,
        pytest.raises(ftplib.error_perm, match="530"),
    ):
        client.login()


def test_commands_and_sessions_are_noted(server: HostileFTPServer) -> None:
    for _ in range(2):
        with connect(server) as client:
            client.login(server.user, server.password)

    assert server.sessions == 2
    assert server.commands[:2] == [
        FTPCommand("USER", server.user),
        FTPCommand("PASS", server.password),
    ]
    assert server.count("quit") == 2


def test_two_servers_do_not_know_of_each_other(server: HostileFTPServer) -> None:
    with HostileFTPServer(password="other") as second:
        second.fault("RETR", Refuse())
        with logged_in(server) as one, logged_in(second) as other:
            assert get(one) == CONTENT
            with pytest.raises(ftplib.error_perm):
                get(other)


# What is set for a command


def test_a_fault_happens_as_often_as_it_was_set(
    client: ftplib.FTP, server: HostileFTPServer
) -> None:
    server.fault("RETR", Refuse("450 Busy."), times=2)

    for _ in range(2):
        with pytest.raises(ftplib.error_temp, match=r"450 Busy\."):
            get(client)
    assert get(client) == CONTENT


def test_a_fault_without_times_happens_until_it_is_healed(
    client: ftplib.FTP, server: HostileFTPServer
) -> None:
    server.fault("RETR", Refuse())
    server.fault("SIZE", Refuse())
    with pytest.raises(ftplib.error_perm):
        get(client)

    server.heal("RETR")

    assert get(client) == CONTENT
    with pytest.raises(ftplib.error_perm):
        client.size("x")


@pytest.mark.parametrize(
    ("command", "fault"), [("RETR", BogusAddress()), ("SIZE", DropData())]
)
def test_a_fault_that_cannot_happen_is_an_error(
    server: HostileFTPServer, command: str, fault: FTPFault
) -> None:
    with pytest.raises(ValueError, match=command):
        server.fault(command, fault)


def test_the_unknown_cannot_be_counted(server: HostileFTPServer) -> None:
    with pytest.raises(ValueError, match="times"):
        server.fault("MLSD", Unknown(), times=1)


# Faults of commands


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        ("PASS", "530 Login incorrect."),
        ("PASV", "425 No."),
        ("REST", "502 No."),
        ("RNTO", "553 Not allowed."),
        ("SIZE", "550 No."),
    ],
)
def test_a_refused_command_is_not_carried_out(
    server: HostileFTPServer, command: str, reply: str
) -> None:
    server.fault(command, Refuse(reply))

    def do_all() -> None:
        with connect(server) as client:
            client.login(server.user, server.password)
            client.voidcmd("TYPE I")
            client.size("x")
            get(client, rest=1)
            client.rename("x", "y")

    with pytest.raises(ftplib.Error) as caught:
        do_all()

    assert str(caught.value) == reply
    assert (server.root / "x").exists()


def test_421_ends_the_connection(server: HostileFTPServer) -> None:
    server.fault("USER", Refuse("421 Too many users."), times=1)

    with connect(server) as client:
        with pytest.raises(ftplib.error_temp, match="421"):
            client.login()
        with pytest.raises(EOFError):
            client.getresp()
    with connect(server) as client:
        client.login()


@pytest.mark.parametrize("command", ["MLSD", "SIZE", "MDTM", "REST", "EPSV"])
def test_an_unknown_command_is_500_and_no_feature(
    client: ftplib.FTP, server: HostileFTPServer, command: str
) -> None:
    name = command.replace("MLSD", "MLST")
    assert name in client.sendcmd("FEAT")
    server.fault(command, Unknown())
    server.fault(name, Unknown())

    with pytest.raises(ftplib.error_perm, match="500"):
        client.sendcmd(f"{command} 0")
    assert name not in client.sendcmd("FEAT")


def test_a_server_may_know_only_epsv(
    client: ftplib.FTP, server: HostileFTPServer
) -> None:
    server.fault("PASV", Unknown())

    with pytest.raises(ftplib.error_perm, match="500"):
        get(client)
    client.af = socket.AF_INET6  # then ftplib asks for EPSV
    assert get(client) == CONTENT


def test_pasv_may_give_a_bogus_address(
    client: ftplib.FTP, server: HostileFTPServer
) -> None:
    server.fault("PASV", BogusAddress())

    reply = client.sendcmd("PASV")

    assert "(192,0,2,1," in reply
    with pytest.raises(ConnectionRefusedError):
        get(client)  # ftplib takes the port and not the host


def test_epsv_may_give_a_bogus_port(
    client: ftplib.FTP, server: HostileFTPServer
) -> None:
    server.fault("EPSV", BogusAddress())

    assert client.sendcmd("EPSV").endswith(f"(|||{server.dead_port}|).")


def test_a_command_may_kill_the_control_connection(
    client: ftplib.FTP, server: HostileFTPServer
) -> None:
    server.fault("SIZE", KillControl())

    with pytest.raises(EOFError):
        client.size("x")


def test_a_command_may_stall(client: ftplib.FTP, server: HostileFTPServer) -> None:
    server.fault("SIZE", StallData())
    client.voidcmd("TYPE I")
    client.putcmd("SIZE x")
    assert server.stalled.wait(LIMIT_S)
    assert client.sock is not None
    client.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.sock.recv(1)
    client.sock.settimeout(LIMIT_S)

    server.release.set()

    assert client.getresp() == f"213 {len(CONTENT)}"


# Faults of downloads


@pytest.mark.parametrize("after", [0, 1000, 70_000, len(CONTENT)])
def test_a_download_may_be_dropped_with_426(
    client: ftplib.FTP, server: HostileFTPServer, after: int
) -> None:
    server.fault("RETR", DropData(after))
    client.voidcmd("TYPE I")

    received = drain(client.transfercmd("RETR x"))

    assert received == CONTENT[:after]
    with pytest.raises(ftplib.error_temp, match="426"):
        client.voidresp()


def test_a_download_may_be_dropped_without_a_word(
    client: ftplib.FTP, server: HostileFTPServer
) -> None:
    server.fault("RETR", DropData(1000, reply=None))
    client.voidcmd("TYPE I")

    received = drain(client.transfercmd("RETR x"))

    assert received == CONTENT[:1000]
    # The next reply on the control connection is that to the next command.
    assert client.sendcmd("NOOP").startswith("200")


def test_a_short_download_may_be_called_complete(
    client: ftplib.FTP, server: HostileFTPServer
) -> None:
    server.fault("RETR", DropData(1000, reply="226 Transfer complete."), times=1)

    assert get(client) == CONTENT[:1000]
    assert get(client) == CONTENT


def test_a_file_shorter_than_the_fault_is_whole(
    client: ftplib.FTP, server: HostileFTPServer
) -> None:
    server.fault("RETR", DropData(len(CONTENT) + 1))

    assert get(client) == CONTENT


@pytest.mark.parametrize("after", [0, 1000])
def test_a_download_may_take_the_control_connection_with_it(
    client: ftplib.FTP, server: HostileFTPServer, after: int
) -> None:
    server.fault("RETR", KillControl(after), times=1)
    client.voidcmd("TYPE I")

    received = drain(client.transfercmd("RETR x"))

    assert received == CONTENT[:after]
    with pytest.raises(EOFError):
        client.voidresp()
    with logged_in(server) as again:
        assert get(again) == CONTENT


@pytest.mark.parametrize("after", [0, 1000])
def test_a_download_may_stall(
    client: ftplib.FTP, server: HostileFTPServer, after: int
) -> None:
    server.fault("RETR", StallData(after))
    client.voidcmd("TYPE I")
    with client.transfercmd("RETR x") as data:
        assert server.stalled.wait(LIMIT_S)
        begun = b""
        while len(begun) < after:
            begun += data.recv(after)
        data.setblocking(False)
        with pytest.raises(BlockingIOError):
            data.recv(1)
        data.settimeout(LIMIT_S)

        server.release.set()

        assert begun + drain(data) == CONTENT
    assert client.voidresp().startswith("226")


def test_a_listing_may_be_cut(client: ftplib.FTP, server: HostileFTPServer) -> None:
    server.fault("MLSD", DropData(5, reply="226 Done."))

    assert len(list(client.mlsd())) <= 1
    assert server.transfers == 0


# Faults of uploads


@pytest.mark.parametrize("reply", ["452 No space.", "552 Quota exceeded."])
@pytest.mark.parametrize("after", [0, 1000])
def test_an_upload_may_fail_on_the_way(
    client: ftplib.FTP, server: HostileFTPServer, reply: str, after: int
) -> None:
    server.fault("STOR", DropData(after, reply))
    client.voidcmd("TYPE I")
    with client.transfercmd("STOR new") as data:
        data.sendall(CONTENT[: after + 1])

        with pytest.raises(ftplib.Error) as caught:
            client.voidresp()

    assert str(caught.value) == reply
    assert (server.root / "new").read_bytes() == CONTENT[:after]


def test_a_short_upload_may_be_called_complete(
    client: ftplib.FTP, server: HostileFTPServer
) -> None:
    server.fault("STOR", DropData(1000, reply="226 Transfer complete."))

    assert put(client).startswith("226")
    assert (server.root / "new").read_bytes() == CONTENT[:1000]


def test_an_upload_may_be_dropped_without_a_word(
    client: ftplib.FTP, server: HostileFTPServer
) -> None:
    server.fault("STOR", DropData(1000, reply=None))
    client.voidcmd("TYPE I")
    with client.transfercmd("STOR new") as data:
        data.sendall(CONTENT[:1001])
        with pytest.raises(ConnectionResetError):
            data.recv(1)

    assert client.sendcmd("NOOP").startswith("200")


def test_an_upload_may_take_the_control_connection_with_it(
    client: ftplib.FTP, server: HostileFTPServer
) -> None:
    server.fault("STOR", KillControl(after=1000))
    client.voidcmd("TYPE I")
    with client.transfercmd("STOR new") as data:
        data.sendall(CONTENT[:1001])

        with pytest.raises(EOFError):
            client.voidresp()


def test_an_upload_may_stall(client: ftplib.FTP, server: HostileFTPServer) -> None:
    server.fault("STOR", StallData(after=1000))
    client.voidcmd("TYPE I")
    with client.transfercmd("STOR new") as data:
        data.sendall(CONTENT[:2000])
        assert server.stalled.wait(LIMIT_S)
        assert (server.root / "new").stat().st_size <= 1000

        server.release.set()
        data.sendall(CONTENT[2000:])

    assert client.voidresp().startswith("226")
    assert (server.root / "new").read_bytes() == CONTENT


# TLS


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    if importlib.util.find_spec("OpenSSL") is None:
        pytest.skip("needs pyOpenSSL: pip install pyopenssl")
    if shutil.which("openssl") is None:
        pytest.skip("needs the program openssl to make a certificate")
    file = tmp_path / "certificate.pem"
    options = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    options += " -days 2 -subj /CN=test -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(
        ["openssl", *options.split(), "-out", file, "-keyout", f"{file}.key"],
        check=True,
        capture_output=True,
        timeout=LIMIT_S,
    )
    return file


@pytest.mark.parametrize("after", [None, 0, 1000])
def test_tls_is_spoken_by_a_server_with_a_certificate(
    certificate: Path, after: int | None
) -> None:
    key = certificate.with_name(f"{certificate.name}.key")
    with HostileFTPServer(certificate=certificate, key=key) as server:
        (server.root / "x").write_bytes(CONTENT)
        if after is not None:
            server.fault("RETR", DropData(after, reply="226 Complete."))
        context = ssl.create_default_context(cafile=certificate)
        with ftplib.FTP_TLS(timeout=LIMIT_S, context=context) as client:
            client.connect("127.0.0.1", server.port)
            client.login(server.user, server.password)
            client.prot_p()

            assert get(client) == CONTENT[:after]
            assert put(client).startswith("226")

        assert (server.root / "new").read_bytes() == CONTENT


# The end


def hang_before_login(server: HostileFTPServer) -> ftplib.FTP:
    return connect(server)


def hang_in_a_download(server: HostileFTPServer) -> ftplib.FTP:
    (server.root / "x").write_bytes(bytes(16 << 20))
    client = logged_in(server)
    client.voidcmd("TYPE I")
    hanging.append(client.transfercmd("RETR x"))
    return client


def hang_in_an_upload(server: HostileFTPServer) -> ftplib.FTP:
    client = logged_in(server)
    hanging.append(client.transfercmd("STOR new"))
    return client


def hang_in_a_stall(server: HostileFTPServer) -> ftplib.FTP:
    server.fault("RETR", StallData())
    client = hang_in_a_download(server)
    assert server.stalled.wait(LIMIT_S)
    return client


def hang_before_connecting(server: HostileFTPServer) -> ftplib.FTP:
    client = logged_in(server)
    client.sendcmd("PASV")
    return client


hanging: list[socket.socket] = []
"""Data connections of clients that hang."""


@pytest.mark.parametrize(
    "hang",
    [
        hang_before_login,
        hang_in_a_download,
        hang_in_an_upload,
        hang_in_a_stall,
        hang_before_connecting,
    ],
)
def test_a_client_that_hangs_does_not_hinder_the_end(
    hang: Callable[[HostileFTPServer], ftplib.FTP],
) -> None:
    before = footprint()
    server = HostileFTPServer()
    client = hang(server)

    server.close()

    with pytest.raises(ConnectionRefusedError):
        connect(server)
    client.close()
    while hanging:
        hanging.pop().close()
    assert footprint() == before
    assert not server.root.exists()


def test_a_server_may_be_closed_twice() -> None:
    server = HostileFTPServer()
    server.close()

    server.close()

    assert server.commands == []


def test_a_client_that_has_gone_leaves_nothing_behind(
    server: HostileFTPServer,
) -> None:
    before = footprint()
    client = hang_in_a_download(server)

    client.close()
    hanging.pop().close()

    assert settled(lambda: footprint() == before, LIMIT_S)


def test_nothing_is_left_when_it_cannot_begin(tmp_path: Path) -> None:
    before = footprint()

    with pytest.raises((ValueError, ImportError)):
        HostileFTPServer(tmp_path / "missing", certificate=tmp_path / "none")

    assert footprint() == before


def test_the_missing_library_is_named_with_what_to_install() -> None:
    code = (
        "import sys\n"
        "sys.modules['pyftpdlib'] = None\n"
        "from jackfield_testing.servers import HostileFTPServer\n"
        "try:\n"
        "    HostileFTPServer()\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert "pip install 'jackfield[testing]'" in done.stdout, done.stderr


def test_logging_is_left_as_it_was() -> None:
    code = (
        "import logging, time\n"
        "from jackfield_testing.servers import HostileFTPServer\n"
        "with HostileFTPServer() as server:\n"
        "    import ftplib\n"
        "    ftplib.FTP().connect('127.0.0.1', server.port)\n"
        "print(logging.logThreads, logging.logProcesses, logging.root.handlers)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (done.stdout, done.stderr) == ("True True []\n", "")
