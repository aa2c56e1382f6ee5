"""Directories by HTTP: the indexes that servers make of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jackfield import Remote, TransferError
from jackfield.errors import RemoteNotFoundError, TransferCancelledError
from jackfield_staging import _http_rules as rules
from jackfield_staging import http
from jackfield_staging._http_index import entries
from jackfield_testing.servers import Answer, Exchange, HostileHTTPServer, HTTPFault
from jackfield_transfers.transfer import Transfer

if TYPE_CHECKING:
    from tests.staging.servers.nginx import Nginx

TREE = {
    "a.txt": b"1",
    "b c.txt": b"2",
    "per%cent.txt": b"3",
    "é.txt": b"4",
    "sub/d&e.txt": b"5",
    "sub/deeper/f#g.txt": b"6",
}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def python_server(tmp_path: Path) -> Iterator[str]:
    """A server of the standard library with the tree; its URL."""
    for name, content in TREE.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    handler = partial(Quiet, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
    http.provider.jackfield_kernel_closing()


class Index(HTTPFault):
    """A page of HTML in the place of a file."""

    def answer(self, normal: Any, exchange: Exchange) -> Answer:
        page = normal()
        return Answer.of(page.status, page.body, "text/html") if page.body else page


@pytest.fixture
def server() -> Iterator[HostileHTTPServer]:
    with HostileHTTPServer() as made:
        made.fault("*", Index())
        yield made
    http.provider.jackfield_kernel_closing()


def names(url: str, **more: Any) -> list[str]:
    found = http.provider.jackfield_list_files(Remote(url=url, **more))
    assert found is not None
    assert all(one.startswith(url) for one in found)
    return sorted(one[len(url) :] for one in found)


QUOTED = [
    "%C3%A9.txt",
    "a.txt",
    "b%20c.txt",
    "per%25cent.txt",
    "sub/d%26e.txt",
    "sub/deeper/f%23g.txt",
]


def test_the_index_of_python_is_followed_down(python_server: str) -> None:
    assert names(f"{python_server}/tree/") == QUOTED


def test_the_index_of_nginx_is_followed_down(nginx: Nginx) -> None:
    for name, content in TREE.items():
        nginx.put(f"tree/{name}", content)

    found = names(nginx.at("tree/"))

    assert [one.replace("&", "%26") for one in found] == QUOTED
    http.provider.jackfield_kernel_closing()


def test_what_was_listed_can_be_looked_at(python_server: str) -> None:
    found = http.provider.jackfield_list_files(Remote(url=f"{python_server}/tree/"))

    assert found is not None
    for url in found:
        info = http.provider.jackfield_stat_file(Remote(url=url))
        assert info is not None
        assert info.size == 1


def test_a_missing_directory_is_not_found(python_server: str) -> None:
    with pytest.raises(RemoteNotFoundError):
        names(f"{python_server}/nothing/")


def test_what_is_no_page_is_no_index(server: HostileHTTPServer) -> None:
    server.heal()
    server.files["/d/"] = b"data"

    with pytest.raises(TransferError, match="no index"):
        names(server.url("/d/"))


def test_an_index_that_goes_too_deep_is_an_error(server: HostileHTTPServer) -> None:
    for depth in range(20):
        server.files["/d/" + "e/" * depth] = b"<a href='e/'>e</a>"

    with pytest.raises(TransferError, match="16 directories deep"):
        names(server.url("/d/"))


def test_an_index_of_too_many_files_is_an_error(server: HostileHTTPServer) -> None:
    links = b"".join(b"<a href=%d>x</a>" % one for one in range(40_000))
    server.files["/d/"] = b"<a href=a/>a</a><a href=b/>b</a><a href=c/>c</a>"
    for below in ("a", "b", "c"):
        server.files[f"/d/{below}/"] = links

    assert len(names(server.url("/d/a/"))) == 40_000
    with pytest.raises(TransferError, match="more than 100000 files"):
        names(server.url("/d/"))


def test_an_index_of_too_many_directories_is_an_error(
    server: HostileHTTPServer,
) -> None:
    server.files["/d/"] = b"".join(b"<a href=%d/>x</a>" % one for one in range(10_001))

    with pytest.raises(TransferError, match="more than 10000 directories"):
        names(server.url("/d/"))


def test_a_page_of_an_index_has_a_mebibyte_at_most(server: HostileHTTPServer) -> None:
    server.files["/d/"] = b"<a href=x>x</a>" + b" " * (1 << 20)

    with pytest.raises(TransferError, match="more than 1048576 bytes"):
        names(server.url("/d/"))


def test_a_directory_that_two_pages_link_to_is_read_once(
    server: HostileHTTPServer,
) -> None:
    server.files["/d/"] = b"<a href=a/>a</a><a href=a/b/>b</a><a href=a/b/x>x</a>"
    server.files["/d/a/"] = b"<a href=b/>b</a>"
    server.files["/d/a/b/"] = b"<a href=x>x</a>"

    assert names(server.url("/d/")) == ["a/b/x"]
    assert server.count("GET", "/d/a/b/") == 1


HOSTILE = {
    "links": "<a href=x ",
    "open tags": "<a ",
    "open quotes": "<a href=\"'",
    "quotes in turn": "<a href='<a href=\"",
    "attributes": "<a x=y",
    "comments": "<!--",
    "comments that end otherwise": "<!-- --",
    "scripts": "<script",
    "angles": "<",
    "spaces": "<a          ",
    "slashes": "<a/////",
    "declarations": "<!DOCTYPE <![CDATA[",
    "references": "<a href='&#",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_page_made_to_be_slow_is_read_in_no_time(kind: str) -> None:
    """What is quadratic in the page takes minutes for a page of this length."""
    piece = HOSTILE[kind]
    page = piece.encode() * ((1 << 20) // len(piece))
    began = time.process_time()

    entries(page, "http://h/d/")

    assert time.process_time() - began < 30


@pytest.mark.parametrize("kind", ["links", "open tags", "comments"])
def test_a_page_made_to_be_slow_holds_nobody_up(
    server: HostileHTTPServer, tmp_path: Path, kind: str
) -> None:
    """All transfers share one loop, where nobody's index is read."""
    piece = HOSTILE[kind].encode()
    server.heal()
    server.fault("/d/", Index())
    server.files["/d/"] = piece * ((1 << 20) // len(piece))
    server.files["/x"] = bytes(1000)
    began = time.process_time()

    with ThreadPoolExecutor(4) as pool:
        listings = [pool.submit(names, server.url("/d/")) for _ in range(3)]
        transfer = Transfer(url=server.url("/x"), path=tmp_path / "part")
        http.provider.jackfield_stage_in(transfer)
        for listing in listings:
            listing.result()

    assert time.process_time() - began < 60


def test_an_index_is_not_read_for_nobody() -> None:
    """Whoever is cancelled stops at the next link."""
    seen = 0

    def check() -> None:
        nonlocal seen
        seen += 1
        if seen == 3:
            raise TransferCancelledError("http://h/")

    with pytest.raises(TransferCancelledError):
        entries(b"<a href=1><a href=2><a href=3><a href=4>", "http://h/", check)
    assert seen == 3


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("é".encode(), "%C3%A9"),
        ("é".encode("latin-1"), "%E9"),
        (b"&eacute;", "%C3%A9"),
        (b"%e9", "%e9"),
        ("日本".encode("shift-jis"), "%93%FA%96%7B"),
    ],
    ids=ascii,
)
def test_a_name_that_is_no_utf_8_goes_back_as_it_has_come(
    name: bytes, path: str
) -> None:
    assert entries(b"<a href='" + name + b"'>x</a>", "http://h/d/") == [path]


@pytest.mark.parametrize(
    "piece", ['"', "\\", ";", "; charset", ")", "(", ",", "<", "=;"]
)
def test_headers_made_to_be_slow_are_read_in_no_time(
    server: HostileHTTPServer, piece: str
) -> None:
    """They are read on the loop. What is quadratic takes minutes for so many bytes."""
    text = "x" + piece * (60_000 // len(piece))

    class Slow(HTTPFault):
        def answer(self, normal: Any, exchange: Exchange) -> Answer:
            page: Answer = normal()
            page.headers |= {
                "Content-Type": f"text/html; {text}",
                "Set-Cookie": f"a={text}",
                "Retry-After": text,
                "Last-Modified": text,
                "Content-Range": f"bytes {text}",
                "Content-Encoding": "identity",
            }
            return page

    server.heal()
    server.fault("/d/", Slow())
    server.files["/d/"] = b"<a href=x>x</a>"
    began = time.process_time()

    assert names(server.url("/d/")) == ["x"]
    rules.retry_after(text)
    rules.describe(206, {"Content-Range": f"bytes {text}"})
    assert time.process_time() - began < 30


@pytest.mark.parametrize("charset", ["none-such", "punycode", "%%%", '"', "idna"])
def test_a_server_may_name_any_character_set(
    server: HostileHTTPServer, charset: str
) -> None:
    class Odd(HTTPFault):
        def answer(self, normal: Any, exchange: Exchange) -> Answer:
            page: Answer = normal()
            return Answer.of(page.status, page.body, f"text/html; charset={charset}")

    server.heal()
    server.fault("/d/", Odd())
    server.files["/d/"] = b"<a href=x>x</a>"

    assert names(server.url("/d/")) == ["x"]


@pytest.mark.parametrize(
    "page",
    [
        "<a href='&#" + "9" * 5000 + ";'>x</a><a href=good>x</a>",
        "<!-- <a href=no>x</a> --><a href=good>x</a><!-- <a href=no>",
        "<script>'<a href=no>'</script><a href=good>x</a><style><a href=no>",
        "<a title='href=no' data-href=no href=good>x</a>",
        "<abbr href=no><area href=no><a><a href><a href=><a href=good",
        "<a\nhref\t=\n'good'>x</a>",
        "<<a <a href='good'>",
    ],
)
def test_markup_that_is_broken_gives_the_links_that_it_has(page: str) -> None:
    assert entries(page.encode(), "http://h/d/") == ["good"]


def test_credentials_go_along_and_stay_in_the_urls() -> None:
    with HostileHTTPServer(
        {"/d/": b"<a href=e/>e</a>", "/d/e/": b"<a href=x>x</a>"},
        authorization="Basic YTpwQHg=",
        protected=["GET"],
    ) as server:
        server.fault("*", Index())
        url = server.url("/d/").replace("//", "//a:p%40x@")

        assert names(url) == ["e/x"]


@pytest.mark.parametrize(
    ("link", "expected"),
    [
        ("x", ["x"]),
        ("./x", ["x"]),
        ("sub/", ["sub/"]),
        ("/d%20e/x", ["x"]),
        ("http://h/d%20e/x", ["x"]),
        ("x#part", ["x"]),
        ("a b", ["a%20b"]),
        ("&lt;x&gt;", ["%3Cx%3E"]),
        ("?C=N;O=D", []),
        ("x?y", []),
        ("", []),
        (".", []),
        ("./", []),
        ("../", []),
        ("..", []),
        ("../d%20e/", []),
        ("../other/x", []),
        ("%2e%2e/x", []),
        ("sub/%2E%2E/%2e%2e/x", []),
        ("..%2fx", []),
        ("a%2fb", []),
        ("a%00b", []),
        ("/", []),
        ("/x", []),
        ("//other/d%20e/x", []),
        ("https://h/d%20e/x", []),
        ("http://h:81/d%20e/x", []),
        ("ftp://h/d%20e/x", []),
        ("javascript:alert(1)", []),
        ("mailto:a@b", []),
        ("http://[::1/x", []),
    ],
)
def test_row_72_only_links_below_the_directory_count(
    link: str, expected: list[str]
) -> None:
    page = f'<html><a name="top">top</a><a class="f" href="{link}">shown</a>'

    assert entries(page.encode(), "http://h/d%20e/") == expected


def test_a_link_that_comes_twice_counts_once() -> None:
    assert entries(b"<a href=x>1</a><A HREF='x'>2</A>", "http://h/") == ["x"]
