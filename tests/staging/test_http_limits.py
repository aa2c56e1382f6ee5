"""HTTP servers without measure, and odd surroundings: proxies, netrc, cookies."""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from jackfield import ConfigurationError, Remote, RemoteInfo, TransferError
from jackfield.errors import RemoteForbiddenError
from jackfield.staging.remote import Timeouts
from jackfield_staging import http
from jackfield_staging._http_rules import content_range, retry_after
from jackfield_staging._http_wire import proxy_for
from jackfield_testing.servers import (
    Answer,
    Exchange,
    HostileHTTPServer,
    HTTPFault,
    HugeHeaders,
    Redirect,
    Status,
)
from jackfield_transfers.transfer import Transfer

CONTENT = bytes(range(256)) * 10
LIMIT_S = 60.0
PATIENT = Timeouts(connect=LIMIT_S, idle=LIMIT_S)
HURRIED = Timeouts(connect=0.5, idle=0.5)


@pytest.fixture
def server() -> Iterator[HostileHTTPServer]:
    with HostileHTTPServer({"/x": CONTENT}) as made:
        yield made
    http.provider.jackfield_kernel_closing()


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "part"


def fetch(url: str, path: Path, **more: Any) -> RemoteInfo:
    more.setdefault("timeouts", PATIENT)
    info = http.provider.jackfield_stage_in(Transfer(url=url, path=path, **more))
    assert info is not None
    return info


# -- What comes without end and is no file


class Endless(HTTPFault):
    """Sends something over and over, a little before each time-out."""

    methods: ClassVar[tuple[str, ...]] = ("GET",)

    def __init__(self, begin: bytes, piece: bytes) -> None:
        self.begin = begin
        self.piece = piece

    def answer(self, normal: Callable[[], Answer], exchange: Exchange) -> Answer:
        exchange.close()
        return Answer(200, raw=self.begin)

    def stream(self, answer: Answer, exchange: Exchange) -> Iterator[bytes]:
        while True:
            exchange.pause(0.05)
            yield self.piece


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDLESS = {
    "100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "102 Processing": (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "header": (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X: x\r\n"),
    "chunk extension": (CHUNKED + b"5;", b"x=y;"),
    "chunk extension after a chunk": (CHUNKED + b"1\r\nx\r\n5;", b"x=y;"),
    "trailers": (CHUNKED + b"1\r\nx\r\n0\r\n", b"X: x\r\n"),
    "zeros before a chunk's size": (CHUNKED, b"0"),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_what_is_no_file_holds_nobody_up(
    server: HostileHTTPServer, part: Path, kind: str
) -> None:
    server.fault("/x", Endless(*ENDLESS[kind]))
    began = time.monotonic()

    with pytest.raises(TransferError):
        fetch(server.url("/x"), part, timeouts=HURRIED)

    assert time.monotonic() - began < LIMIT_S / 2


def test_an_error_page_without_end_is_an_error(
    server: HostileHTTPServer, part: Path
) -> None:
    server.fault("/x", Endless(b"HTTP/1.1 503 Busy\r\n\r\n", b"busy"))

    with pytest.raises(TransferError, match="503"):
        fetch(server.url("/x"), part)


def test_an_index_without_end_is_an_error(server: HostileHTTPServer) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"

    class Pages(Endless):
        def stream(self, answer: Answer, exchange: Exchange) -> Iterator[bytes]:
            yield from itertools.repeat(self.piece)

    server.fault("/d/", Pages(head, b"<a href=x>x</a>" * 1000))

    with pytest.raises(TransferError, match="more than 1048576 bytes"):
        http.provider.jackfield_list_files(Remote(url=server.url("/d/")))


# -- Numbers and dates


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        ("9" * 18, 1e18),
        ("9" * 400, 1e18),
        ("9" * 5000, 1e18),
        ("-1", None),
        ("1e9", None),
        ("soon", None),
        ("Mon, 01 Jan 99999 00:00:00 GMT", None),
        ("Mon, 01 Jan 9999 00:00:00 -2400", None),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0.0),
        ("Mon, 01 Jan 2001 00:00:00 +99999999", None),
        ("Mon, " + "1" * 5000 + " Jan 2001 00:00:00 GMT", None),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 0.0),
    ],
)
def test_a_wish_for_a_delay_is_a_number_or_none(
    value: str, seconds: float | None
) -> None:
    assert retry_after(value) == seconds


@pytest.mark.parametrize("value", ["9" * 400, "9" * 5000, "Fri, 99 Foo 9999", "\xe4"])
def test_a_server_may_wish_for_any_delay(
    server: HostileHTTPServer, part: Path, value: str
) -> None:
    server.fault("/x", Status(503, retry_after=value))

    with pytest.raises(TransferError, match="503") as caught:
        fetch(server.url("/x"), part)

    assert caught.value.transient


def test_a_range_of_any_size_is_understood() -> None:
    assert content_range("bytes 0-1/" + "9" * 5000) == (0, 10**18)


# -- Headers


@pytest.mark.parametrize("fault", [HugeHeaders(1, 65_000), HugeHeaders(900, 60)])
def test_headers_of_64_kilobytes_are_taken(
    server: HostileHTTPServer, part: Path, fault: HTTPFault
) -> None:
    server.fault("/x", fault)

    assert fetch(server.url("/x"), part).size == len(CONTENT)


@pytest.mark.parametrize("fault", [HugeHeaders(1, 70_000), HugeHeaders(2000, 10)])
def test_more_headers_are_an_error(
    server: HostileHTTPServer, part: Path, fault: HTTPFault
) -> None:
    server.fault("/x", fault)

    with pytest.raises(TransferError):
        fetch(server.url("/x"), part)


# -- Cookies


class SetCookie(HTTPFault):
    """Sends the client on, with a cookie, as a page does where one logs in."""

    def __init__(self, to: str, cookie: str) -> None:
        self.to = to
        self.cookie = cookie

    def answer(self, normal: Callable[[], Answer], exchange: Exchange) -> Answer:
        answer = Redirect(self.to).answer(normal, exchange)
        answer.headers["Set-Cookie"] = self.cookie
        return answer


class WantsCookie(HTTPFault):
    """Sends clients without a cookie to where they get one."""

    def answer(self, normal: Callable[[], Answer], exchange: Exchange) -> Answer:
        if "session=42" in exchange.request.headers.get("cookie", ""):
            return normal()
        return Redirect("/login").answer(normal, exchange)


def test_a_cookie_lasts_for_one_transfer(server: HostileHTTPServer, part: Path) -> None:
    server.fault("/x", WantsCookie())
    server.fault("/login", SetCookie("/x", "session=42; Path=/"))

    for _ in range(2):
        assert fetch(server.url("/x"), part).settled
        assert part.read_bytes() == CONTENT

    assert server.count("GET", "/login") == 2


def test_a_cookie_is_not_for_another_host(
    server: HostileHTTPServer, part: Path
) -> None:
    with HostileHTTPServer({"/x": CONTENT}) as other:
        away = other.url("/x").replace("127.0.0.1", "localhost")
        server.fault("/x", SetCookie(away, "session=42; Path=/"))

        fetch(server.url("/x"), part)

        assert all("cookie" not in one.headers for one in other.requests)


def test_the_users_own_cookies_go_along(server: HostileHTTPServer, part: Path) -> None:
    server.fault("/x", WantsCookie())
    server.fault("/login", SetCookie("/x", "session=42; Path=/"))

    fetch(server.url("/x"), part, options={"headers": {"Cookie": "mine=1"}})

    cookies = server.requests[-1].headers["cookie"]
    assert "mine=1" in cookies
    assert "session=42" in cookies


# -- Proxies


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


TRUSTING = {"trust_env": True}


@pytest.mark.parametrize(
    ("no_proxy", "used"),
    [
        ("h:81", True),
        ("h:80", False),
        ("h", False),
        ("other, h:80", False),
        (".example.org", True),
        ("*", False),
    ],
)
def test_no_proxy_may_name_a_port(
    environment: pytest.MonkeyPatch, no_proxy: str, used: bool
) -> None:
    environment.setenv("http_proxy", "http://p:3128")
    environment.setenv("no_proxy", no_proxy)

    assert proxy_for("h", 80, "http") == ("http://p:3128" if used else None)


@pytest.mark.parametrize(
    ("host", "no_proxy", "used"),
    [
        ("10.1.2.3", "lab.example, 10.0.0.0/8", False),
        ("10.1.2.3", "10.0.0.1/8", False),
        ("11.1.2.3", "10.0.0.0/8", True),
        ("fd00::7", "fd00::/8", False),
        ("fd00::7", "10.0.0.0/8", True),
        ("lab.example", "10.0.0.0/8", True),
        ("10.1.2.3", "10.0.0.0/99, nonsense/8", True),
    ],
)
def test_no_proxy_may_name_a_network(
    environment: pytest.MonkeyPatch, host: str, no_proxy: str, used: bool
) -> None:
    environment.setenv("http_proxy", "http://p:3128")
    environment.setenv("no_proxy", no_proxy)

    assert proxy_for(host, 80, "http") == ("http://p:3128" if used else None)


@pytest.mark.parametrize("form", ["{}", "//{}", "http://{}"])
def test_a_proxy_needs_no_scheme(
    server: HostileHTTPServer,
    part: Path,
    environment: pytest.MonkeyPatch,
    form: str,
) -> None:
    environment.setenv("http_proxy", form.format(f"127.0.0.1:{server.port}"))

    with pytest.raises(TransferError):  # it is no proxy; but it was asked
        fetch("http://nowhere.invalid/x", part, options=TRUSTING)

    assert server.requests[0].target == "http://nowhere.invalid/x"


@pytest.mark.parametrize(
    "proxy", ["socks5://p:1", "http://me:s3cret@p:port", "http://"]
)
def test_a_proxy_that_is_none_is_named(
    part: Path, environment: pytest.MonkeyPatch, proxy: str
) -> None:
    environment.setenv("http_proxy", proxy)

    with pytest.raises(ConfigurationError, match="names a proxy for h") as caught:
        fetch("http://h/x", part, options=TRUSTING)

    assert "s3cret" not in str(caught.value)


def test_an_error_names_the_proxy_that_cannot_be_reached(
    part: Path, environment: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    environment.setenv("all_proxy", f"http://me:s3cret@127.0.0.1:{port}")

    for url in ("http://h/x", "https://h/x"):
        with pytest.raises(TransferError) as caught:
            fetch(url, part, options=TRUSTING)

        assert f"asked through the proxy http://me:***@127.0.0.1:{port}" in str(
            caught.value
        )
        assert caught.value.transient


@pytest.mark.parametrize("status", [403, 407, 502])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_error_names_the_proxy_that_refuses(
    server: HostileHTTPServer,
    part: Path,
    environment: pytest.MonkeyPatch,
    status: int,
    scheme: str,
) -> None:
    server.fault("*", Status(status), methods=["GET", "HEAD", "CONNECT"])
    environment.setenv("all_proxy", server.url(""))

    with pytest.raises(TransferError, match=str(status)) as caught:
        fetch(f"{scheme}://nowhere.invalid/x", part, options=TRUSTING)

    assert f"127.0.0.1:{server.port}" in str(caught.value)
    assert isinstance(caught.value, RemoteForbiddenError) or status in (403, 502)


@pytest.mark.parametrize("target", ["169.254.169.254", "[::1]", "localhost"])
def test_row_61_no_redirect_by_a_proxy_leads_to_a_private_address(
    server: HostileHTTPServer,
    part: Path,
    environment: pytest.MonkeyPatch,
    target: str,
) -> None:
    server.fault("*", Redirect(f"http://{target}/inside"))
    environment.setenv("http_proxy", server.url(""))

    with pytest.raises(RemoteForbiddenError, match="private_redirects = true"):
        fetch("http://nowhere.invalid/x", part, options=TRUSTING)

    assert [one.target for one in server.requests] == ["http://nowhere.invalid/x"]


# -- netrc


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_netrc_file_may_be_in_latin_1(
    server: HostileHTTPServer,
    part: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    encoding: str,
) -> None:
    text = "# für mich\nmachine 127.0.0.1 login a password pä\n"
    (tmp_path / "netrc").write_text(text, encoding)
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    fetch(server.url("/x"), part, options={"netrc": True})

    assert server.requests[0].headers["authorization"] == "Basic YTpww6Q="


# -- URLs


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/get?sig=a%2Bb+c%7E", "/get?sig=a%2Bb+c%7E"),
        ("/get?name=a b&sig=a%2Bb+c%7E%2f", "/get?name=a%20b&sig=a%2Bb+c%7E%2f"),
        ("/get?name=ä&sig='(%7E)'", "/get?name=%C3%A4&sig='(%7E)'"),
        ("/%7Ex/ä?a=%7E&b;c", "/%7Ex/%C3%A4?a=%7E&b;c"),
        ("/get/?id=5", "/get/?id=5"),
    ],
)
def test_only_what_needs_it_is_quoted(
    server: HostileHTTPServer, part: Path, path: str, sent: str
) -> None:
    server.fault("*", Status(404))

    with pytest.raises(FileNotFoundError):
        fetch(server.url(path), part)
    server.heal()
    server.fault("/old", Redirect(path.encode().decode("latin-1")))
    with pytest.raises(FileNotFoundError):
        fetch(server.url("/old"), part)

    assert [one.target for one in server.requests if one.target != "/old"] == [sent] * 2


# -- A digest that the user knows


def test_nobody_looks_again_at_what_a_digest_proves(
    server: HostileHTTPServer, part: Path
) -> None:
    server.files["/big"] = CONTENT * 1000

    for name in ("/x", "/big"):
        info = fetch(server.url(name), part, sha256="of something")
        assert info.size == len(server.files[name])

    assert [one.method for one in server.requests] == ["GET", "GET"]
