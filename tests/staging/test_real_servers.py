"""Each server does what its fixture promises, as a client of another house sees it."""

from __future__ import annotations

import base64
import contextlib
import ftplib
import http.client
import io
import os
import signal
import ssl
import stat
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from tests.staging.servers.endpoint import Endpoint
from tests.staging.servers.nginx import SLOW_BYTES_S, Nginx

from jackfield_testing.servers._process import (
    Server,
    ServerError,
    connect,
    running,
    scratch,
)

if TYPE_CHECKING:
    from tests.staging.servers.tls import Authority

LIMIT_S = 60.0
BODY = bytes(range(256)) * 1000


class Answer(NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    body: bytes


def port_of(endpoint: Endpoint) -> int:
    url: str = endpoint.options.get("endpoint_url", endpoint.url)
    port = urllib.parse.urlsplit(url).port
    assert port is not None
    return port


def ask(
    endpoint: Endpoint,
    method: str,
    name: str,
    body: bytes | None = None,
    context: ssl.SSLContext | None = None,
    **headers: str,
) -> Answer:
    """Send one HTTP request; underscores in the headers' names are dashes."""
    at: tuple[str, int] = ("127.0.0.1", port_of(endpoint))
    connection = (
        http.client.HTTPConnection(*at, timeout=LIMIT_S)
        if context is None
        else http.client.HTTPSConnection(*at, timeout=LIMIT_S, context=context)
    )
    with closing(connection):
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, f"/{name}", body, fields)
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers, answer.read())


def login(endpoint: Endpoint, password: str | None = None) -> str:
    user, known = endpoint.options["username"], endpoint.options["password"]
    pair = f"{user}:{password or known}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


# -- Any server: it comes up, and goes for good ----------------------------------------


@pytest.fixture(
    params=[
        "seaweedfs",
        "ftp_server",
        "ftps_server",
        "webdav_server",
        "http_files",
        "nginx",
        "nginx_tls",
        "vsftpd",
        "sshd",
    ]
)
def endpoint(request: pytest.FixtureRequest) -> Endpoint:
    """Every server in turn."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Endpoint)
    return found


def test_content_is_put_listed_and_deleted_beside_the_protocol(
    endpoint: Endpoint,
) -> None:
    url = endpoint.put("beside/a b/ü%.bin", BODY)
    endpoint.put("beside/empty", b"")

    assert url == f"{endpoint.url}/beside/a b/ü%.bin"
    assert endpoint.get("beside/a b/ü%.bin") == BODY
    assert endpoint.get("beside/empty") == b""
    assert endpoint.names("beside") == ["beside/a b/ü%.bin", "beside/empty"]
    endpoint.delete("beside/a b/ü%.bin")
    assert endpoint.names("beside") == ["beside/empty"]
    with pytest.raises(FileNotFoundError):
        endpoint.get("beside/a b/ü%.bin")
    with pytest.raises(FileNotFoundError):
        endpoint.delete("beside/a b/ü%.bin")


def test_a_killed_server_refuses_connections_until_it_is_started_again(
    endpoint: Endpoint,
) -> None:
    endpoint.put("killed/before", BODY)

    endpoint.kill()
    with pytest.raises(ConnectionRefusedError):
        connect(port_of(endpoint))
    endpoint.restart()

    connect(port_of(endpoint))
    assert endpoint.get("killed/before") == BODY


def test_a_test_may_leave_a_server_killed(http_files: Endpoint) -> None:
    http_files.kill()

    assert not http_files.server.running


def test_the_test_after_that_finds_it_started_again(http_files: Endpoint) -> None:
    connect(port_of(http_files))

    assert http_files.server.running


def test_every_server_listens_on_loopback_alone(endpoint: Endpoint) -> None:
    import psutil

    listening = set()
    for process in _descendants(endpoint.server.pid):
        with contextlib.suppress(psutil.NoSuchProcess):  # of a connection that ended
            listening |= {
                connection.laddr.ip
                for connection in process.net_connections("inet")
                if connection.status == psutil.CONN_LISTEN
            }

    assert listening == {"127.0.0.1"}


def _descendants(pid: int) -> list[Any]:
    import psutil

    found: list[Any] = psutil.Process(pid).children(recursive=True)
    return found


# -- The guard -------------------------------------------------------------------------

FORKER = """
import os, signal, sys, time
for _ in range(2):
    if os.fork() == 0:
        os.setsid()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(f"pid-{os.getpid()}", "w").close()
time.sleep(60)
"""
"""Four processes in sessions of their own that do not care for SIGTERM."""


def pids(directory: Path) -> list[int]:
    return [int(path.name.removeprefix("pid-")) for path in directory.glob("pid-*")]


def is_gone(pid: int) -> bool:
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        )
    except FileNotFoundError:
        return True


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def four_are_up(directory: Path) -> None:
    if len(pids(directory)) < 4:
        raise FileNotFoundError("not all have told their number")


def forker(directory: Path, *leftovers: Path) -> Server:
    command = [sys.executable, "-I", "-S", "-c", FORKER]
    return Server(
        "forker", command, directory, lambda: four_are_up(directory), leftovers
    )


def test_a_server_is_ended_with_every_process_that_it_forked(tmp_path: Path) -> None:
    leftover = tmp_path / "leftover"
    leftover.touch()
    with scratch("forker") as directory:
        with running(forker(directory, leftover)):
            started = pids(directory)

        assert len(started) == 4
        wait_until(lambda: all(is_gone(pid) for pid in started))
        assert not directory.exists()
        assert not leftover.exists()


@contextmanager
def driver_of_a_forker(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that starts the forker and then waits."""
    source = f"""
import sys, threading
from pathlib import Path
from tests.staging.test_real_servers import forker
forker(Path({str(directory)!r})).start()
print("up", flush=True)
threading.Event().wait()
"""
    driver = subprocess.Popen(
        [sys.executable, "-c", source],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    with driver:
        try:
            yield driver
        finally:
            driver.kill()


def test_a_server_and_its_files_do_not_outlive_a_killed_test_run() -> None:
    with scratch("orphan") as directory, driver_of_a_forker(directory) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == b"up\n"
        started = pids(directory)

        driver.send_signal(signal.SIGKILL)

        wait_until(lambda: not directory.exists())
        assert len(started) == 4
        assert all(is_gone(pid) for pid in started)


def test_a_server_that_does_not_come_up_shows_its_log(tmp_path: Path) -> None:
    program = "print('no such volume'); raise SystemExit(3)"
    command = [sys.executable, "-c", program]
    server = Server("broken", command, tmp_path / "broken", lambda: connect(1))
    server.directory.mkdir()

    with pytest.raises(ServerError, match=r"broken ended with code 3.*\nno such vol"):
        server.start()

    server.close()


# -- S3 --------------------------------------------------------------------------------


def s3(endpoint: Endpoint, **changed: Any) -> Any:
    s3fs = pytest.importorskip("s3fs")
    options = {**endpoint.options, **changed}
    return s3fs.S3FileSystem(**options, skip_instance_cache=True)


def test_seaweedfs_takes_and_gives_objects_by_signed_requests(
    seaweedfs: Endpoint,
) -> None:
    fs = s3(seaweedfs)

    fs.pipe_file(seaweedfs.at("s3/object"), BODY)

    assert seaweedfs.get("s3/object") == BODY
    assert fs.cat_file(seaweedfs.at("s3/object"), start=10, end=20) == BODY[10:20]
    assert fs.info(seaweedfs.at("s3/object"))["size"] == len(BODY)


def test_seaweedfs_changes_the_etag_with_the_content(seaweedfs: Endpoint) -> None:
    fs = s3(seaweedfs)
    seaweedfs.put("s3/changing", b"one")
    one = fs.info(seaweedfs.at("s3/changing"), refresh=True)["ETag"]

    seaweedfs.put("s3/changing", b"two")

    assert fs.info(seaweedfs.at("s3/changing"), refresh=True)["ETag"] != one


def test_seaweedfs_says_that_an_object_or_a_bucket_is_missing(
    seaweedfs: Endpoint,
) -> None:
    fs = s3(seaweedfs)

    with pytest.raises(FileNotFoundError):
        fs.cat_file(seaweedfs.at("s3/nothing"))
    with pytest.raises(FileNotFoundError):
        fs.cat_file("s3://no-such-bucket/object")
    with pytest.raises(FileNotFoundError):
        fs.pipe_file("s3://no-such-bucket/object", BODY)


def test_seaweedfs_refuses_a_wrong_secret(seaweedfs: Endpoint) -> None:
    seaweedfs.put("s3/secret", BODY)

    with pytest.raises(PermissionError):
        s3(seaweedfs, secret="wrong").cat_file(seaweedfs.at("s3/secret"))


def test_seaweedfs_lets_its_reader_read_and_not_write(seaweedfs: Endpoint) -> None:
    assert seaweedfs.readonly is not None
    seaweedfs.put("s3/read", BODY)
    fs = s3(seaweedfs, **seaweedfs.readonly)

    assert fs.cat_file(seaweedfs.at("s3/read")) == BODY
    with pytest.raises(PermissionError):
        fs.pipe_file(seaweedfs.at("s3/written"), BODY)
    assert seaweedfs.names("s3").count("s3/written") == 0


# -- HTTP and WebDAV -------------------------------------------------------------------


@pytest.fixture(params=["http_files", "nginx"])
def web(request: pytest.FixtureRequest) -> Endpoint:
    """Every plain HTTP server in turn."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Endpoint)
    return found


def test_http_gives_files_ranges_and_etags(web: Endpoint) -> None:
    web.put("web/file", BODY)

    whole = ask(web, "GET", "web/file")
    tag = whole.headers["ETag"]
    part = ask(web, "GET", "web/file", Range="bytes=10-19", If_Range=tag)
    head = ask(web, "HEAD", "web/file")

    assert (whole.status, whole.body) == (200, BODY)
    assert (part.status, part.body) == (206, BODY[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(BODY)}"
    assert (head.status, head.headers["Content-Length"]) == (200, str(len(BODY)))
    assert head.headers["ETag"] == tag


def test_http_says_not_modified_or_another_etag(web: Endpoint) -> None:
    web.put("web/versions", b"one")
    tag = ask(web, "GET", "web/versions").headers["ETag"]

    same = ask(web, "GET", "web/versions", If_None_Match=tag)
    web.put("web/versions", b"longer")

    assert same.status == 304
    assert ask(web, "GET", "web/versions").headers["ETag"] != tag


def test_http_refuses_a_missing_file_and_a_range_beyond_the_end(web: Endpoint) -> None:
    web.put("web/short", b"short")

    assert ask(web, "GET", "web/nothing").status == 404
    assert ask(web, "GET", "web/short", Range="bytes=5-").status == 416


def test_http_lists_a_folder(web: Endpoint) -> None:
    web.put("web/listed/name.txt", b"")

    assert b"name.txt" in ask(web, "GET", "web/listed/").body


def test_http_files_takes_no_files(http_files: Endpoint) -> None:
    assert ask(http_files, "PUT", "web-put", BODY).status == 403
    assert http_files.names("web-put") == []


def test_webdav_takes_gives_moves_and_deletes_files(webdav_server: Endpoint) -> None:
    key = login(webdav_server)

    made = ask(webdav_server, "MKCOL", "dav", Authorization=key)
    put = ask(webdav_server, "PUT", "dav/file", BODY, Authorization=key)
    target = webdav_server.at("dav/moved")
    move = ask(webdav_server, "MOVE", "dav/file", Authorization=key, Destination=target)

    assert (made.status, put.status, move.status) == (201, 201, 201)
    assert webdav_server.get("dav/moved") == BODY
    assert ask(webdav_server, "GET", "dav/moved", Authorization=key).body == BODY
    assert ask(webdav_server, "DELETE", "dav/moved", Authorization=key).status == 204
    assert webdav_server.names("dav") == []


def test_webdav_refuses_who_has_no_password_or_a_wrong_one(
    webdav_server: Endpoint,
) -> None:
    wrong = login(webdav_server, "wrong")

    assert ask(webdav_server, "GET", "").status == 401
    assert ask(webdav_server, "GET", "", Authorization=wrong).status == 401


def test_nginx_takes_and_deletes_files(nginx: Nginx) -> None:
    put = ask(nginx, "PUT", "dav/new/file", BODY)
    stored = nginx.get("dav/new/file")
    delete = ask(nginx, "DELETE", "dav/new/file")

    assert (put.status, stored, delete.status) == (201, BODY, 204)
    assert nginx.names("dav") == []


def test_nginx_takes_files_into_folders_made_beside_it(nginx: Nginx) -> None:
    nginx.put("dav/beside/old", b"old")

    assert ask(nginx, "PUT", "dav/beside/old", b"new").status == 204
    assert nginx.get("dav/beside/old") == b"new"


def test_nginx_refuses_what_its_folders_say(nginx: Nginx) -> None:
    for name in ("forbidden/file", "readonly/file", "private/file"):
        nginx.put(name, BODY)
    key = login(nginx)

    assert ask(nginx, "GET", "forbidden/file").status == 403
    assert ask(nginx, "PUT", "readonly/file", b"").status == 403
    assert ask(nginx, "GET", "readonly/file").body == BODY
    assert ask(nginx, "GET", "private/file").status == 401
    assert ask(nginx, "GET", "private/file", Authorization=key).body == BODY


def test_nginx_sends_slowly_where_it_is_told_to(nginx: Nginx) -> None:
    # It gives the first second's share at once.
    size = SLOW_BYTES_S * 3 // 2
    nginx.put("slow/file", bytes(size))
    begun = time.monotonic()

    answer = ask(nginx, "GET", "slow/file")

    assert len(answer.body) == size
    assert 0.3 < time.monotonic() - begun < LIMIT_S


def test_nginx_keeps_a_record_of_its_requests(nginx: Nginx) -> None:
    nginx.put("recorded/file", BODY)

    ask(nginx, "GET", "recorded/file", Range="bytes=1-2")

    wanted = 'GET /recorded/file 206 "bytes=1-2"'
    wait_until(lambda: wanted in nginx.requests())
    assert nginx.requests().count(wanted) == 1


def test_nginx_gives_the_same_by_tls(nginx_tls: Nginx, authority: Authority) -> None:
    nginx_tls.put("web/safe", BODY)

    answer = ask(nginx_tls, "GET", "web/safe", context=authority.context())

    assert (answer.status, answer.body) == (200, BODY)
    assert nginx_tls.options["ca"] == authority.ca


def test_nginx_is_not_trusted_without_its_authority(nginx_tls: Nginx) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        ask(nginx_tls, "GET", "", context=ssl.create_default_context())


# -- FTP -------------------------------------------------------------------------------


@contextmanager
def ftp(
    endpoint: Endpoint,
    options: Any = None,
    context: ssl.SSLContext | None = None,
) -> Iterator[ftplib.FTP]:
    """Log in, with TLS where a context is given."""
    options = options or endpoint.options
    client = ftplib.FTP() if context is None else ftplib.FTP_TLS(context=context)
    with client:
        client.connect("127.0.0.1", port_of(endpoint), timeout=LIMIT_S)
        client.login(options["username"], options["password"])
        if isinstance(client, ftplib.FTP_TLS):
            client.prot_p()
        yield client


def fetch(client: ftplib.FTP, name: str, rest: int | None = None) -> bytes:
    blocks: list[bytes] = []
    client.retrbinary(f"RETR {name}", blocks.append, rest=rest)
    return b"".join(blocks)


@pytest.fixture(params=["ftp_server", "vsftpd"])
def files(request: pytest.FixtureRequest) -> Endpoint:
    """Every plain FTP server in turn."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Endpoint)
    return found


def test_ftp_takes_renames_and_gives_files(files: Endpoint) -> None:
    with ftp(files) as client:
        client.mkd("ftp")
        client.storbinary("STOR ftp/part", io.BytesIO(BODY))
        client.rename("ftp/part", "ftp/whole")

        assert fetch(client, "ftp/whole") == BODY
        assert fetch(client, "ftp/whole", rest=1000) == BODY[1000:]
        client.voidcmd("TYPE I")
        assert client.size("ftp/whole") == len(BODY)
    assert files.names("ftp") == ["ftp/whole"]
    assert files.get("ftp/whole") == BODY


def test_ftp_takes_files_into_folders_made_beside_it(files: Endpoint) -> None:
    files.put("ftp-beside/old", b"old")

    with ftp(files) as client:
        client.storbinary("STOR ftp-beside/old", io.BytesIO(b"new"))

    assert files.get("ftp-beside/old") == b"new"


def test_ftp_says_that_a_file_is_missing(files: Endpoint) -> None:
    with ftp(files) as client, pytest.raises(ftplib.error_perm, match="550"):
        fetch(client, "nothing")


def test_ftp_refuses_a_user_whom_it_does_not_know(files: Endpoint) -> None:
    stranger = {**files.options, "username": "stranger"}

    with pytest.raises(ftplib.error_perm, match="530"), ftp(files, stranger):
        pass


def test_pyftpdlib_refuses_a_wrong_password(ftp_server: Endpoint) -> None:
    wrong = {**ftp_server.options, "password": "wrong"}

    with pytest.raises(ftplib.error_perm, match="530"), ftp(ftp_server, wrong):
        pass


def test_ftp_lets_its_reader_read_and_not_write(files: Endpoint) -> None:
    files.put("ftp-read/file", BODY)

    with ftp(files, files.readonly) as client:
        assert fetch(client, "ftp-read/file") == BODY
        with pytest.raises(ftplib.error_perm, match="550"):
            client.storbinary("STOR ftp-read/written", io.BytesIO(BODY))

    assert files.names("ftp-read") == ["ftp-read/file"]


def test_only_one_of_the_ftp_servers_lists_with_facts(
    ftp_server: Endpoint, vsftpd: Endpoint
) -> None:
    with ftp(ftp_server) as client:
        assert isinstance(list(client.mlsd()), list)
    with ftp(vsftpd) as client, pytest.raises(ftplib.error_perm, match="500"):
        list(client.mlsd())


def test_ftps_gives_and_takes_files_by_tls(
    ftps_server: Endpoint, authority: Authority
) -> None:
    with ftp(ftps_server, context=authority.context()) as client:
        client.storbinary("STOR ftps", io.BytesIO(BODY))

        assert fetch(client, "ftps") == BODY
    assert ftps_server.get("ftps") == BODY
    assert ftps_server.options["ca"] == authority.ca


def test_ftps_is_not_trusted_without_its_authority(ftps_server: Endpoint) -> None:
    context = ssl.create_default_context()

    with pytest.raises(ssl.SSLCertVerificationError), ftp(ftps_server, context=context):
        pass


def test_ftps_wants_tls(ftps_server: Endpoint) -> None:
    with pytest.raises(ftplib.error_perm, match="550"), ftp(ftps_server):
        pass


# -- SFTP ------------------------------------------------------------------------------


@contextmanager
def sftp(endpoint: Endpoint, known_hosts: Path, key: Path) -> Iterator[Any]:
    import paramiko

    with paramiko.SSHClient() as client:
        client.load_host_keys(str(known_hosts))
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        client.connect(
            "127.0.0.1",
            port_of(endpoint),
            endpoint.options["username"],
            key_filename=str(key),
            look_for_keys=False,
            allow_agent=False,
            timeout=LIMIT_S,
        )
        yield client.open_sftp()


def path_of(endpoint: Endpoint, name: str) -> str:
    return urllib.parse.urlsplit(endpoint.at(name)).path


def test_sshd_gives_takes_and_renames_files(sshd: Endpoint) -> None:
    known, key = sshd.options["known_hosts"], sshd.options["key"]

    with sftp(sshd, known, key) as client:
        client.putfo(io.BytesIO(BODY), path_of(sshd, "part"))
        client.posix_rename(path_of(sshd, "part"), path_of(sshd, "sftp"))

        with client.open(path_of(sshd, "sftp")) as file:
            assert file.read() == BODY
        with pytest.raises(FileNotFoundError):
            client.stat(path_of(sshd, "nothing"))
    assert sshd.get("sftp") == BODY


def test_sshd_refuses_another_key(sshd: Endpoint) -> None:
    import paramiko

    another = sshd.server.directory / "host_key"

    with (
        pytest.raises(paramiko.AuthenticationException),
        sftp(sshd, sshd.options["known_hosts"], another),
    ):
        pass


def test_sshd_is_not_known_without_its_known_hosts(
    sshd: Endpoint, tmp_path: Path
) -> None:
    import paramiko

    (tmp_path / "empty").touch()

    with (
        pytest.raises(paramiko.SSHException, match="not found in known_hosts"),
        sftp(sshd, tmp_path / "empty", sshd.options["key"]),
    ):
        pass


def test_the_keys_of_the_fixtures_are_for_their_user_alone(
    sshd: Endpoint, authority: Authority
) -> None:
    for path in (sshd.options["key"], authority.server):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.stat().st_uid == os.geteuid()
