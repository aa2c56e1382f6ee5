"""Stage-out by PUT, to servers that refuse, break off and hang."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jackfield import RemoteInfo, TransferError
from jackfield.errors import RemoteForbiddenError, TransferCancelledError
from jackfield.staging.remote import Timeouts
from jackfield_staging import http
from jackfield_testing.servers import (
    Answer,
    Exchange,
    HostileHTTPServer,
    HTTPFault,
    Redirect,
    Reset,
    StallBeforeHeaders,
    StallMidBody,
    Status,
    Upload,
)
from jackfield_transfers.transfer import Transfer

if TYPE_CHECKING:
    from tests.staging.servers.endpoint import Endpoint
    from tests.staging.servers.nginx import Nginx

CONTENT = bytes(range(256)) * 12_000
LIMIT_S = 60.0


@pytest.fixture
def server() -> Iterator[HostileHTTPServer]:
    with HostileHTTPServer() as made:
        yield made
    http.provider.jackfield_kernel_closing()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "out"
    path.write_bytes(CONTENT)
    return path


def transfer_to(url: str, path: Path, **more: Any) -> Transfer:
    more.setdefault("timeouts", Timeouts(connect=10 * LIMIT_S, idle=10 * LIMIT_S))
    return Transfer(url=url, path=path, **more)


def send(url: str, path: Path, **more: Any) -> None:
    assert (
        http.provider.jackfield_stage_out(transfer_to(url, path, **more))
        == RemoteInfo()
    )


def test_a_file_is_sent_with_its_length(server: HostileHTTPServer, file: Path) -> None:
    transfer = transfer_to(server.url("/x"), file)

    http.provider.jackfield_stage_out(transfer)

    assert server.files["/x"] == CONTENT
    assert server.requests[0].headers["content-length"] == str(len(CONTENT))
    assert "transfer-encoding" not in server.requests[0].headers
    assert transfer.moved == len(CONTENT)


def test_an_empty_file_is_sent(server: HostileHTTPServer, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()

    send(server.url("/x"), empty)

    assert server.files["/x"] == b""


def test_many_files_are_sent_at_once(server: HostileHTTPServer, file: Path) -> None:
    urls = [server.url(f"/{number}") for number in range(16)]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda url: send(url, file), urls))

    assert set(server.files.values()) == {CONTENT}


@pytest.mark.parametrize(
    ("code", "transient"),
    [(202, False), (400, False), (413, False), (429, True), (501, False), (507, True)],
)
def test_any_other_answer_than_stored_is_an_error(
    server: HostileHTTPServer, file: Path, code: int, transient: bool
) -> None:
    server.fault("/x", Status(code, retry_after=3))

    with pytest.raises(TransferError, match=f"answered {code}") as caught:
        send(server.url("/x"), file)

    assert caught.value.transient is transient
    assert caught.value.retry_after == (3 if transient else None)


def test_who_may_not_write_is_forbidden(file: Path) -> None:
    with HostileHTTPServer(authorization="Bearer right") as server:
        with pytest.raises(RemoteForbiddenError):
            send(server.url("/x"), file)
        send(server.url("/x"), file, credentials={"token": "right"})

        assert server.files["/x"] == CONTENT


@pytest.mark.parametrize("after", [None, 0, 100_000, 10**9], ids=str)
def test_a_connection_that_breaks_is_a_transient_error(
    server: HostileHTTPServer, file: Path, after: int | None
) -> None:
    server.fault("/x", Reset(after))

    with pytest.raises(TransferError) as caught:
        send(server.url("/x?sig=s3cret"), file)

    assert caught.value.transient
    assert "s3cret" not in f"{caught.value} {caught.value.__cause__}"


@pytest.mark.parametrize(
    "fault", [StallMidBody(100_000), StallBeforeHeaders()], ids=["body", "answer"]
)
def test_a_stall_ends_after_the_idle_timeout(
    server: HostileHTTPServer, tmp_path: Path, fault: HTTPFault
) -> None:
    big = tmp_path / "big"  # more than the buffers between the two take in
    with big.open("wb") as writer:
        writer.truncate(32 << 20)
    server.fault("/x", fault)

    with pytest.raises(TransferError, match="nothing came for") as caught:
        send(server.url("/x"), big, timeouts=Timeouts(idle=0.5))

    assert caught.value.transient


def test_a_slow_reader_is_no_stall(server: HostileHTTPServer, tmp_path: Path) -> None:
    class Slow(HTTPFault):
        def receive(self, upload: Upload, exchange: Exchange) -> bytes:
            parts = []
            for _ in range(10):
                parts.append(upload.read(1 << 20))
                exchange.pause(0.35)
            return b"".join(parts) + upload.rest()

    big = tmp_path / "big"
    with big.open("wb") as writer:
        writer.truncate(16 << 20)
    server.fault("/x", Slow())

    send(server.url("/x"), big, timeouts=Timeouts(idle=3.0))

    assert len(server.files["/x"]) == 16 << 20


def test_a_cancelled_upload_ends_at_once(
    server: HostileHTTPServer, tmp_path: Path
) -> None:
    big = tmp_path / "big"
    with big.open("wb") as writer:
        writer.truncate(32 << 20)
    server.fault("/x", StallMidBody(100_000))
    transfer = transfer_to(server.url("/x"), big)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(http.provider.jackfield_stage_out, transfer)
        assert server.stalled.wait(LIMIT_S)
        transfer.stop.stop()
        with pytest.raises(TransferCancelledError):
            running.result(LIMIT_S)


def test_a_redirect_that_keeps_the_method_gets_the_file_again(
    server: HostileHTTPServer, file: Path
) -> None:
    server.fault("/x", Redirect("/y", 307))

    send(server.url("/x"), file)

    assert server.files == {"/y": CONTENT}


def test_a_redirect_to_a_page_is_an_error(
    server: HostileHTTPServer, file: Path
) -> None:
    server.fault("/x", Redirect("/y", 302))

    with pytest.raises(TransferError, match="answered 302"):
        send(server.url("/x"), file)

    assert server.count("GET") == 0


def test_a_kept_connection_that_has_gone_stale_is_no_error(
    server: HostileHTTPServer, file: Path
) -> None:
    class CloseAfter(HTTPFault):
        def answer(self, normal: Any, exchange: Exchange) -> Answer:
            answer: Answer = normal()
            # Without a "Connection: close", so that the client keeps what is gone.
            answer.headers["Connection"] = "keep-alive"
            exchange.close()
            return answer

    server.fault("/x", CloseAfter())

    for _ in range(20):
        send(server.url("/x"), file)

    assert server.files["/x"] == CONTENT


def test_a_file_that_becomes_shorter_is_an_error(
    server: HostileHTTPServer, file: Path
) -> None:
    class Cut(HTTPFault):
        def receive(self, upload: Upload, exchange: Exchange) -> bytes:
            os.truncate(file, 10)
            return upload.rest()

    with file.open("ab") as writer:
        writer.truncate(64 << 20)
    server.fault("/x", Cut())

    with pytest.raises(TransferError, match="became shorter") as caught:
        send(server.url("/x?sig=s3cret"), file)

    assert "/x" not in server.files
    assert "s3cret" not in f"{caught.value} {caught.value.__cause__}"


def test_a_missing_local_file_passes_through(
    server: HostileHTTPServer, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        send(server.url("/x"), tmp_path / "nothing")

    assert not isinstance(caught.value, TransferError)
    assert server.requests == []


# -- Real servers


def test_nginx_stores_a_file_below_new_directories(nginx: Nginx, file: Path) -> None:
    send(nginx.at("put/deep/x"), file)

    assert nginx.get("put/deep/x") == CONTENT


def test_nginx_refuses_where_nobody_may_write(nginx: Nginx, file: Path) -> None:
    with pytest.raises(RemoteForbiddenError):
        send(nginx.at("readonly/x"), file)


def test_a_put_makes_no_directories_on_a_webdav_server(
    webdav_server: Endpoint, file: Path
) -> None:
    url = webdav_server.at("one/two%20b/x")
    credentials = {
        "user": webdav_server.options["username"],
        "password": webdav_server.options["password"],
    }

    with pytest.raises(TransferError, match="409"):
        send(url, file, credentials=credentials)

    http.provider.jackfield_kernel_closing()
