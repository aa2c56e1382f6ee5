"""The hostile HTTP server: honest by default, and each fault as it is on the wire."""

from __future__ import annotations

import gzip
import http.client
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from jackfield_testing.footprint import footprint, settled
from jackfield_testing.servers import (
    BadRange,
    Bomb,
    ChangeAfter,
    ChangeBetween,
    Drip,
    Exchange,
    Garbage,
    Gzip,
    HostileHTTPServer,
    HTTPFault,
    HugeHeaders,
    LieLong,
    LieShort,
    NoETag,
    NoLength,
    NoRanges,
    Portal,
    Redirect,
    Reset,
    StallBeforeHeaders,
    StallMidBody,
    Status,
    Truncate,
    TruncateChunked,
    WeakETag,
    etag,
)

LIMIT_S = 60.0
CONTENT = bytes(range(256)) * 40
OTHER = bytes(reversed(CONTENT))
NONE: Mapping[str, str] = {}


class Seen(NamedTuple):
    """What a client has seen of an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def ask(
    server: HostileHTTPServer,
    method: str = "GET",
    path: str = "/x",
    headers: Mapping[str, str] = NONE,
    body: bytes | None = None,
) -> Seen:
    """Make one request on a connection of its own, and read what was promised."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT_S)
    try:
        connection.request(method, path, body=body, headers=dict(headers))
        answer = connection.getresponse()
        return Seen(answer.status, dict(answer.headers), answer.read())
    finally:
        connection.close()


def wire(server: HostileHTTPServer, path: str = "/x", method: str = "GET") -> bytes:
    """Give all that comes for a request until the server ends the connection."""
    with socket.create_connection(("127.0.0.1", server.port), LIMIT_S) as client:
        client.sendall(f"{method} {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        return b"".join(iter(lambda: client.recv(65536), b""))


def part(headers: str) -> Mapping[str, str]:
    return {"Range": headers}


@pytest.fixture
def server() -> Iterator[HostileHTTPServer]:
    with HostileHTTPServer({"/x": CONTENT}) as running:
        yield running


# An honest server


def test_a_file_is_served_with_its_length_and_validators(
    server: HostileHTTPServer,
) -> None:
    seen = ask(server)

    assert seen.status == 200
    assert seen.body == CONTENT
    assert seen.headers["Content-Length"] == str(len(CONTENT))
    assert seen.headers["ETag"] == etag(CONTENT)
    assert seen.headers["Last-Modified"] == "Mon, 01 Jan 2024 00:00:00 GMT"
    assert seen.headers["Accept-Ranges"] == "bytes"


def test_both_validators_change_with_the_content(server: HostileHTTPServer) -> None:
    before = ask(server)
    server.files["/x"] = OTHER

    after = ask(server)

    assert after.headers["ETag"] != before.headers["ETag"]
    assert after.headers["Last-Modified"] != before.headers["Last-Modified"]


def test_an_unknown_path_is_404(server: HostileHTTPServer) -> None:
    assert ask(server, path="/nothing").status == 404


def test_a_query_does_not_make_another_file(server: HostileHTTPServer) -> None:
    assert ask(server, path="/x?signature=s3cret").body == CONTENT
    assert server.requests[0].target == "/x?signature=s3cret"
    assert server.count("GET", "/x") == 1


def test_head_has_the_headers_of_get_and_no_body(server: HostileHTTPServer) -> None:
    head = ask(server, "HEAD")

    assert head == Seen(200, ask(server).headers, b"")


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("bytes=0-99", 0, 100), ("bytes=100-", 100, None), ("bytes=-10", -10, None)],
)
def test_a_range_is_served(
    server: HostileHTTPServer, asked: str, start: int, stop: int | None
) -> None:
    seen = ask(server, headers=part(asked))

    assert seen.status == 206
    assert seen.body == CONTENT[start:stop]
    first = start % len(CONTENT)
    last = first + len(seen.body) - 1
    assert seen.headers["Content-Range"] == f"bytes {first}-{last}/{len(CONTENT)}"


def test_a_range_beyond_the_end_is_416(server: HostileHTTPServer) -> None:
    seen = ask(server, headers=part(f"bytes={len(CONTENT)}-"))

    assert seen.status == 416
    assert seen.headers["Content-Range"] == f"bytes */{len(CONTENT)}"


@pytest.mark.parametrize("asked", ["bytes=0-1,3-4", "bytes=-", "lines=1-2"])
def test_a_range_of_another_kind_is_ignored(
    server: HostileHTTPServer, asked: str
) -> None:
    assert ask(server, headers=part(asked)).status == 200


@pytest.mark.parametrize("validator", ["ETag", "Last-Modified"])
def test_if_range_gives_the_whole_of_another_version(
    server: HostileHTTPServer, validator: str
) -> None:
    headers = {"Range": "bytes=5-", "If-Range": ask(server).headers[validator]}
    same = ask(server, headers=headers)
    server.files["/x"] = OTHER

    other = ask(server, headers=headers)

    assert (same.status, same.body) == (206, CONTENT[5:])
    assert (other.status, other.body) == (200, OTHER)


def test_if_match_refuses_another_version(server: HostileHTTPServer) -> None:
    assert ask(server, headers={"If-Match": etag(CONTENT)}).status == 200
    assert ask(server, headers={"If-Match": etag(OTHER)}).status == 412


def test_if_none_match_spares_the_same_version(server: HostileHTTPServer) -> None:
    same = ask(server, headers={"If-None-Match": f'"a", {etag(CONTENT)}'})

    assert (same.status, same.body) == (304, b"")
    assert ask(server, headers={"If-None-Match": etag(OTHER)}).status == 200


def test_a_put_makes_a_file_and_then_another_version(
    server: HostileHTTPServer,
) -> None:
    made = ask(server, "PUT", "/new", body=b"one")
    changed = ask(server, "PUT", "/new", body=b"two")

    assert (made.status, changed.status) == (201, 204)
    assert server.files["/new"] == b"two"


def test_a_put_in_chunks_is_stored(server: HostileHTTPServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT_S)
    connection.request("PUT", "/new", body=iter([b"one", b"two"]), encode_chunked=True)

    assert connection.getresponse().status == 201
    connection.close()
    assert server.files["/new"] == b"onetwo"


def test_a_put_may_be_for_a_new_file_only(server: HostileHTTPServer) -> None:
    only_new = {"If-None-Match": "*"}

    assert ask(server, "PUT", "/x", only_new, OTHER).status == 412
    assert ask(server, "PUT", "/new", only_new, OTHER).status == 201
    assert server.files == {"/x": CONTENT, "/new": OTHER}


def test_a_put_needs_the_authorization_that_was_set() -> None:
    with HostileHTTPServer(authorization="Bearer token") as server:
        refused = ask(server, "PUT", "/x", NONE, b"content")
        wrong = ask(server, "PUT", "/x", {"Authorization": "Bearer no"}, b"content")
        right = ask(server, "PUT", "/x", {"Authorization": "Bearer token"}, b"content")

        assert [refused.status, wrong.status, right.status] == [401, 401, 201]
        assert "WWW-Authenticate" in refused.headers
        assert ask(server).body == b"content"


def test_other_methods_may_need_it_too() -> None:
    with HostileHTTPServer({"/x": CONTENT}, authorization="a", protected=["GET"]) as s:
        assert ask(s).status == 401
        assert ask(s, headers={"Authorization": "a"}).status == 200


@pytest.mark.parametrize(
    ("authorization", "first"),
    [(None, b"HTTP/1.1 100 Continue"), ("a", b"HTTP/1.1 401 Unauthorized")],
)
def test_a_client_that_waits_is_told_whether_to_send(
    authorization: str | None, first: bytes
) -> None:
    head = b"PUT /x HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
    with (
        HostileHTTPServer(authorization=authorization) as server,
        socket.create_connection(("127.0.0.1", server.port), LIMIT_S) as client,
    ):
        client.sendall(head)

        assert client.recv(len(first)) == first


def test_another_method_is_405(server: HostileHTTPServer) -> None:
    seen = ask(server, "DELETE")

    assert (seen.status, seen.headers["Allow"]) == (405, "GET, HEAD, PUT")


def test_what_is_not_a_request_is_400(server: HostileHTTPServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), LIMIT_S) as client:
        client.sendall(b"hello\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 400 ")


def test_a_connection_is_kept_for_more_requests(server: HostileHTTPServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=LIMIT_S)
    for method in ["GET", "HEAD", "PUT", "GET"]:
        connection.request(method, "/x", body=CONTENT if method == "PUT" else None)
        connection.getresponse().read()
    connection.close()

    assert server.accepted == 1
    assert [request.method for request in server.requests] == [
        "GET",
        "HEAD",
        "PUT",
        "GET",
    ]


def test_connections_one_after_another_are_one_at_once(
    server: HostileHTTPServer,
) -> None:
    for _ in range(20):
        ask(server)

    assert server.accepted == 20
    assert server.connections == 1


def test_connections_open_together_are_counted_together(
    server: HostileHTTPServer,
) -> None:
    server.fault("/x", StallBeforeHeaders())
    threads = [threading.Thread(target=ask, args=[server]) for _ in range(3)]
    for thread in threads:
        thread.start()

    assert settled(lambda: server.connections == 3, LIMIT_S)
    server.release.set()
    for thread in threads:
        thread.join(LIMIT_S)


def test_a_request_is_noted_with_its_headers(server: HostileHTTPServer) -> None:
    ask(server, headers={"Range": "bytes=1-2", "X-Token": "t"})

    request = server.requests[0]
    assert (request.method, request.path, request.range) == ("GET", "/x", "bytes=1-2")
    assert request.headers["x-token"] == "t"


# What is set for a path


def test_a_fault_happens_as_often_as_it_was_set(server: HostileHTTPServer) -> None:
    server.fault("/x", Status(503), times=2)
    server.fault("/x", Status(500), times=1)

    assert [ask(server).status for _ in range(4)] == [503, 503, 500, 200]


def test_a_fault_without_times_happens_until_it_is_healed(
    server: HostileHTTPServer,
) -> None:
    server.fault("/x", Status(503))
    before = [ask(server).status for _ in range(3)]

    server.heal("/x")

    assert before == [503, 503, 503]
    assert ask(server).status == 200


def test_a_fault_leaves_other_paths_alone(server: HostileHTTPServer) -> None:
    server.files["/y"] = OTHER
    server.fault("/x", Status(503))

    assert ask(server, path="/y").status == 200


def test_a_fault_may_be_set_for_all_paths(server: HostileHTTPServer) -> None:
    server.fault("*", Status(503))

    assert ask(server, path="/y").status == 503


def test_a_fault_of_bodies_is_not_spent_on_head(server: HostileHTTPServer) -> None:
    server.fault("/x", Truncate(at=10), times=1)

    assert ask(server, "HEAD").status == 200
    with pytest.raises(http.client.IncompleteRead):
        ask(server)


def test_a_fault_may_be_set_for_some_methods(server: HostileHTTPServer) -> None:
    server.fault("/x", Status(403), methods=["HEAD"])

    assert ask(server, "HEAD").status == 403
    assert ask(server).status == 200


def test_a_lasting_fault_goes_together_with_another(
    server: HostileHTTPServer,
) -> None:
    server.fault("/x", WeakETag())
    server.fault("/x", Truncate(at=10), times=1)

    head, _, body = wire(server).partition(b"\r\n\r\n")

    assert b"ETag: W/" in head
    assert body == CONTENT[:10]


def test_a_fault_of_ones_own_can_be_set(server: HostileHTTPServer) -> None:
    class Shout(HTTPFault):
        def receive(self, upload: object, exchange: Exchange) -> bytes:
            exchange.close()
            return b"SHOUTED"

    server.fault("/new", Shout())

    assert ask(server, "PUT", "/new", body=b"said").status == 201
    assert server.files["/new"] == b"SHOUTED"


# Faults of the connection


def test_truncate_ends_before_the_declared_length(server: HostileHTTPServer) -> None:
    server.fault("/x", Truncate(at=1000))

    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(server)

    assert caught.value.partial == CONTENT[:1000]
    assert caught.value.expected == len(CONTENT) - 1000


def test_truncate_chunked_ends_without_the_last_chunk(
    server: HostileHTTPServer,
) -> None:
    server.fault("/x", TruncateChunked(at=1000))

    head, _, body = wire(server).partition(b"\r\n\r\n")

    assert b"Transfer-Encoding: chunked" in head
    assert b"Content-Length" not in head
    assert body == b"3e8\r\n" + CONTENT[:1000] + b"\r\n"
    with pytest.raises(http.client.IncompleteRead):
        ask(server)


@pytest.mark.parametrize("after", [None, 0, 1000])
def test_reset_is_a_reset(server: HostileHTTPServer, after: int | None) -> None:
    server.fault("/x", Reset(after=after))

    with pytest.raises(ConnectionResetError):
        wire(server)


def test_reset_before_the_headers_sends_nothing(server: HostileHTTPServer) -> None:
    server.fault("/x", Reset(after=None))

    with pytest.raises(ConnectionResetError):
        ask(server)


def test_reset_in_a_put_stores_nothing(server: HostileHTTPServer) -> None:
    server.fault("/new", Reset(after=10))

    with pytest.raises(OSError, match=r"(?i)reset|broken pipe"):
        ask(server, "PUT", "/new", body=CONTENT)

    assert "/new" not in server.files


def test_reset_after_the_whole_of_a_put_loses_only_the_answer(
    server: HostileHTTPServer,
) -> None:
    server.fault("/new", Reset(after=len(CONTENT)))

    with pytest.raises(ConnectionResetError):
        ask(server, "PUT", "/new", body=CONTENT)

    assert server.files["/new"] == CONTENT


@pytest.mark.parametrize("at", [None, 1000])
def test_no_length_ends_with_the_connection(
    server: HostileHTTPServer, at: int | None
) -> None:
    server.fault("/x", NoLength(at))

    seen = ask(server)

    assert seen.body == CONTENT[:at]
    assert "Content-Length" not in seen.headers


def test_lie_short_sends_more_than_it_says(server: HostileHTTPServer) -> None:
    server.fault("/x", LieShort(by=100))

    assert ask(server).body == CONTENT[:-100]
    assert wire(server).endswith(CONTENT)


def test_lie_long_sends_less_than_it_says(server: HostileHTTPServer) -> None:
    server.fault("/x", LieLong(by=100))

    with pytest.raises(http.client.IncompleteRead) as caught:
        ask(server)

    assert (caught.value.partial, caught.value.expected) == (CONTENT, 100)


def test_a_lie_about_the_length_is_in_head_too(server: HostileHTTPServer) -> None:
    server.fault("/x", LieLong(by=100))

    head = ask(server, "HEAD")

    assert head.headers["Content-Length"] == str(len(CONTENT) + 100)


def stalled_client(server: HostileHTTPServer, path: str = "/x") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", server.port), LIMIT_S)
    client.sendall(f"GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n".encode())
    assert server.stalled.wait(LIMIT_S)
    return client


def everything(client: socket.socket) -> bytes:
    with client:
        return b"".join(iter(lambda: client.recv(65536), b""))


def test_a_stall_before_the_headers_ends_when_released(
    server: HostileHTTPServer,
) -> None:
    server.fault("/x", StallBeforeHeaders())
    client = stalled_client(server)

    client.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.recv(1)
    client.settimeout(LIMIT_S)
    server.release.set()

    assert everything(client).endswith(CONTENT)


def test_a_stall_in_the_body_ends_when_released(server: HostileHTTPServer) -> None:
    server.fault("/x", StallMidBody(after=1000))
    client = stalled_client(server)

    begun = b""
    while not begun.endswith(CONTENT[:1000]):
        begun += client.recv(65536)
    client.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.recv(1)
    client.settimeout(LIMIT_S)
    server.release.set()

    assert (begun + everything(client)).endswith(CONTENT)


def test_a_put_can_stall(server: HostileHTTPServer) -> None:
    server.fault("/new", StallMidBody(after=10))
    seen: list[Seen] = []
    thread = threading.Thread(
        target=lambda: seen.append(ask(server, "PUT", "/new", body=CONTENT))
    )
    thread.start()

    assert server.stalled.wait(LIMIT_S)
    assert "/new" not in server.files
    server.release.set()
    thread.join(LIMIT_S)

    assert seen[0].status == 201
    assert server.files["/new"] == CONTENT


def test_a_drip_is_slow_but_whole(server: HostileHTTPServer) -> None:
    server.fault("/x", Drip(block=1000, pause=0.001))

    assert ask(server).body == CONTENT


def test_a_drip_ends_with_the_server() -> None:
    with HostileHTTPServer({"/x": CONTENT}) as server:
        server.fault("/x", Drip(block=1, pause=1000.0))
        client = socket.create_connection(("127.0.0.1", server.port), LIMIT_S)
        client.sendall(b"GET /x HTTP/1.1\r\n\r\n")
        assert client.recv(10) == b"HTTP/1.1 2"
    client.close()


def test_garbage_is_not_http(server: HostileHTTPServer) -> None:
    server.fault("/x", Garbage())

    assert wire(server) == Garbage().data
    with pytest.raises(http.client.BadStatusLine):
        ask(server)


def test_huge_headers_are_more_than_a_client_takes(
    server: HostileHTTPServer,
) -> None:
    server.fault("/x", HugeHeaders(count=1000, size=100))

    with pytest.raises(http.client.HTTPException, match="headers"):
        ask(server)


def test_huge_headers_may_be_one_long_line(server: HostileHTTPServer) -> None:
    server.fault("/x", HugeHeaders(count=1, size=100_000))

    with pytest.raises(http.client.LineTooLong):
        ask(server)


# Faults of the answer


def test_a_status_comes_with_its_page_and_the_time_to_come_back(
    server: HostileHTTPServer,
) -> None:
    server.fault("/x", Status(429, retry_after=7))

    seen = ask(server)

    assert (seen.status, seen.body) == (429, b"error page")
    assert seen.headers["Retry-After"] == "7"


def test_a_status_for_a_put_stores_nothing(server: HostileHTTPServer) -> None:
    server.fault("/new", Status(507))

    assert ask(server, "PUT", "/new", body=CONTENT).status == 507
    assert "/new" not in server.files


@pytest.mark.parametrize(
    "to", ["/x", "file:///etc/passwd", "http://169.254.169.254/latest/"]
)
def test_a_redirect_goes_wherever_it_is_told(
    server: HostileHTTPServer, to: str
) -> None:
    server.fault("/x", Redirect(to, status=307))

    seen = ask(server)

    assert (seen.status, seen.headers["Location"]) == (307, to)


def test_the_content_changes_in_the_middle(server: HostileHTTPServer) -> None:
    server.fault("/x", ChangeAfter(1000, OTHER))

    mixed = ask(server)

    assert mixed.body == CONTENT[:1000] + OTHER[1000:]
    assert mixed.headers["ETag"] == etag(CONTENT)
    assert ask(server, "HEAD").headers["ETag"] == etag(OTHER)


def test_the_content_changes_in_the_middle_of_a_range(
    server: HostileHTTPServer,
) -> None:
    server.fault("/x", ChangeAfter(10, OTHER))

    seen = ask(server, headers=part("bytes=100-199"))

    assert seen.body == CONTENT[100:110] + OTHER[110:200]


def test_the_content_changes_between_two_requests(server: HostileHTTPServer) -> None:
    server.fault("/x", ChangeBetween(OTHER), times=1)

    assert ask(server, "HEAD").headers["ETag"] == etag(CONTENT)
    assert ask(server).body == OTHER


def test_gzip_comes_even_if_it_is_not_wanted(server: HostileHTTPServer) -> None:
    server.fault("/x", Gzip())

    seen = ask(server, headers={"Accept-Encoding": "identity", **part("bytes=5-")})

    assert seen.status == 200
    assert seen.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(seen.body) == CONTENT


def test_a_bomb_is_small_until_it_is_unpacked(server: HostileHTTPServer) -> None:
    server.fault("/x", Bomb())

    seen = ask(server)

    assert seen.headers["Content-Encoding"] == "gzip"
    assert len(seen.body) < 100_000
    assert len(gzip.decompress(seen.body)) == 64 << 20


def test_a_range_may_be_ignored(server: HostileHTTPServer) -> None:
    server.fault("/x", BadRange("ignored"))

    seen = ask(server, headers=part("bytes=100-"))

    assert (seen.status, seen.body) == (200, CONTENT)
    assert seen.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize(("asked", "given"), [(100, 50), (0, 1)])
def test_a_range_may_begin_elsewhere(
    server: HostileHTTPServer, asked: int, given: int
) -> None:
    server.fault("/x", BadRange("elsewhere"))

    seen = ask(server, headers=part(f"bytes={asked}-"))

    assert (seen.status, seen.body) == (206, CONTENT[given:])
    assert seen.headers["Content-Range"].startswith(f"bytes {given}-")


def test_if_range_may_be_ignored(server: HostileHTTPServer) -> None:
    server.fault("/x", BadRange("if-range"))

    seen = ask(server, headers={"If-Range": etag(OTHER), **part("bytes=100-")})

    assert (seen.status, seen.body) == (206, CONTENT[100:])


def test_there_may_be_no_etag(server: HostileHTTPServer) -> None:
    server.fault("/x", NoETag(), times=1)
    server.fault("/y", NoETag(last_modified=False))
    server.files["/y"] = OTHER

    one, neither = ask(server).headers, ask(server, path="/y").headers

    assert "ETag" not in one
    assert "Last-Modified" in one
    assert not {"ETag", "Last-Modified"} & set(neither)


def test_a_weak_etag_never_matches_for_a_range(server: HostileHTTPServer) -> None:
    server.fault("/x", WeakETag())
    tag = ask(server).headers["ETag"]

    seen = ask(server, headers={"If-Range": tag, **part("bytes=100-")})

    assert tag == f"W/{etag(CONTENT)}"
    assert seen.status == 200
    assert ask(server, headers={"If-Match": tag}).status == 412
    assert ask(server, headers={"If-None-Match": tag}).status == 304


def test_ranges_may_be_unknown(server: HostileHTTPServer) -> None:
    server.fault("/x", NoRanges())

    seen = ask(server, headers=part("bytes=100-"))

    assert (seen.status, seen.body) == (200, CONTENT)
    assert "Accept-Ranges" not in seen.headers


def test_a_portal_is_html_with_200(server: HostileHTTPServer) -> None:
    server.fault("/x", Portal())

    seen = ask(server)

    assert seen.status == 200
    assert seen.headers["Content-Type"].startswith("text/html")
    assert seen.body == Portal().page


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("needs the program openssl to make a certificate")
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    options = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    options += " -days 2 -subj /CN=test -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(
        ["openssl", *options.split(), "-out", file, "-keyout", f"{file}.key"],
        check=True,
        capture_output=True,
        timeout=LIMIT_S,
    )
    file.write_bytes(file.read_bytes() + Path(f"{file}.key").read_bytes())
    return file


@pytest.fixture
def https(certificate: Path) -> Iterator[HostileHTTPServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with HostileHTTPServer({"/x": CONTENT}, ssl_context=context) as running:
        yield running


def ask_securely(server: HostileHTTPServer, context: ssl.SSLContext) -> bytes:
    connection = http.client.HTTPSConnection(
        "127.0.0.1", server.port, timeout=LIMIT_S, context=context
    )
    try:
        connection.request("GET", "/x")
        return connection.getresponse().read()
    finally:
        connection.close()


def test_https_serves_clients_that_trust_it(
    https: HostileHTTPServer, certificate: Path
) -> None:
    trusting = ssl.create_default_context(cafile=certificate)

    assert https.url("/x").startswith("https://127.0.0.1:")
    assert ask_securely(https, trusting) == CONTENT


def test_https_fails_for_clients_that_do_not(https: HostileHTTPServer) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        ask_securely(https, ssl.create_default_context())

    assert https.requests == []


def test_https_has_faults_too(https: HostileHTTPServer, certificate: Path) -> None:
    https.fault("/x", Truncate(at=1000))

    with pytest.raises((http.client.IncompleteRead, ssl.SSLError)):
        ask_securely(https, ssl.create_default_context(cafile=certificate))


def test_a_client_that_never_shakes_hands_hinders_nobody(
    https: HostileHTTPServer, certificate: Path
) -> None:
    trusting = ssl.create_default_context(cafile=certificate)
    with socket.create_connection(("127.0.0.1", https.port), LIMIT_S):
        assert ask_securely(https, trusting) == CONTENT
        https.close()


# The end


def hang_without_a_word(server: HostileHTTPServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), LIMIT_S)


def hang_in_a_request(server: HostileHTTPServer) -> socket.socket:
    client = hang_without_a_word(server)
    client.sendall(b"PUT /x HTTP/1.1\r\nContent-Length: 100\r\n\r\nhalf")
    return client


def hang_without_reading(server: HostileHTTPServer) -> socket.socket:
    server.files["/big"] = bytes(16 << 20)
    client = hang_without_a_word(server)
    client.sendall(b"GET /big HTTP/1.1\r\n\r\n")
    return client


def hang_in_a_stall(server: HostileHTTPServer) -> socket.socket:
    server.fault("/x", StallMidBody(after=10))
    return stalled_client(server)


@pytest.mark.parametrize(
    "hang",
    [hang_without_a_word, hang_in_a_request, hang_without_reading, hang_in_a_stall],
)
def test_a_client_that_hangs_does_not_hinder_the_end(
    hang: Callable[[HostileHTTPServer], socket.socket],
) -> None:
    before = footprint()
    server = HostileHTTPServer({"/x": CONTENT})
    with hang(server) as client:
        assert settled(lambda: server.accepted == 1, LIMIT_S)

        server.close()

        with pytest.raises(OSError, match="refused"):
            ask(server)
        while client.recv(1 << 20):
            pass  # whatever was under way, and then the end
    assert footprint() == before


def test_a_server_may_be_closed_twice() -> None:
    server = HostileHTTPServer()
    server.close()

    server.close()

    assert server.requests == []


def test_a_client_that_has_gone_leaves_nothing_behind(
    server: HostileHTTPServer,
) -> None:
    before = footprint()
    client = hang_without_reading(server)
    assert settled(lambda: server.count() == 1, LIMIT_S)

    client.close()

    assert settled(lambda: footprint() == before, LIMIT_S)


def test_the_servers_are_imported_without_anything_heavy() -> None:
    code = (
        "import sys, jackfield_testing.servers\n"
        "heavy = ['pyftpdlib', 'pytest', 'OpenSSL', 'asyncio', 'multiprocessing']\n"
        "print([name for name in heavy if name in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=dict(os.environ),
    )

    assert done.stdout == "[]\n", done.stderr
