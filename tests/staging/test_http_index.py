"""Directories by HTTP: the indexes that servers make of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jackfield import Remote, TransferError
from jackfield.errors import RemoteNotFoundError
from jackfield_staging import http
from jackfield_staging._http_index import entries
from jackfield_testing.servers import Answer, Exchange, HostileHTTPServer, HTTPFault

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
    http.jackfield_kernel_closing()


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
    http.jackfield_kernel_closing()


def names(url: str, **more: Any) -> list[str]:
    found = http.jackfield_list_files(Remote(url=url, **more))
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
    http.jackfield_kernel_closing()


def test_what_was_listed_can_be_looked_at(python_server: str) -> None:
    found = http.jackfield_list_files(Remote(url=f"{python_server}/tree/"))

    assert found is not None
    for url in found:
        info = http.jackfield_stat_file(Remote(url=url))
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
    links = [b"<a href=%d>x</a>" % one for one in range(100_001)]
    server.files["/few/"] = b"".join(links[:50])
    server.files["/many/"] = b"".join(links)

    assert len(names(server.url("/few/"))) == 50
    with pytest.raises(TransferError, match="100000 files"):
        names(server.url("/many/"))


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

    assert entries(page, "http://h/d%20e/") == expected


def test_a_link_that_comes_twice_counts_once() -> None:
    assert entries("<a href=x>1</a><A HREF='x'>2</A>", "http://h/") == ["x"]
