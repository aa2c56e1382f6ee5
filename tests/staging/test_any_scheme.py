"""Any scheme: what fsspec's implementations serve is staged like the rest."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import psutil
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from jackfield import ConfigurationError, File, Remote
from jackfield.errors import (
    RemoteForbiddenError,
    RemoteNotFoundError,
    TransferCancelledError,
    TransferError,
)
from jackfield.staging.remote import RemoteInfo, Timeouts
from jackfield_staging import any_scheme
from jackfield_testing.servers import (
    HostileHTTPServer,
    HTTPFault,
    StallBeforeHeaders,
    StallMidBody,
)
from jackfield_transfers.transfer import Transfer

if TYPE_CHECKING:
    from tests.staging.servers.endpoint import Endpoint

LIMIT_S = 60.0
BODY = bytes(range(256)) * 4000
LARGE = os.urandom(1 << 20) * 20
PATIENT = Timeouts(connect=10 * LIMIT_S, idle=10 * LIMIT_S)
"""So that what ends a stalled transfer is not a timeout."""


def close_idle() -> None:
    any_scheme.provider.jackfield_kernel_closing()


@pytest.fixture(autouse=True)
def _nothing_is_kept() -> Iterator[None]:
    yield
    close_idle()


@dataclass(frozen=True)
class Place:
    """A folder somewhere, and what it takes to get there."""

    url: str
    options: Mapping[str, Any] = field(default_factory=dict)
    credentials: Mapping[str, str] = field(default_factory=dict)
    names: Callable[[], list[str]] = list

    def transfer(self, name: str, path: Path, **more: Any) -> Transfer:
        common = {
            "timeouts": PATIENT,
            "options": self.options,
            "credentials": self.credentials,
        }
        return Transfer(url=f"{self.url}/{name}", path=path, **{**common, **more})

    def remote(self, name: str) -> Remote:
        return self.transfer(name, Path("unused"))


def sftp(endpoint: Endpoint, **more: Any) -> Place:
    given = {
        "key_file": str(endpoint.options["key"]),
        "known_hosts": str(endpoint.options["known_hosts"]),
        "allow_agent": False,
        "look_for_keys": False,
        **more,
    }
    login = {"user": endpoint.options["username"]}
    return Place(endpoint.url, given, login, endpoint.names)


def webdav(endpoint: Endpoint) -> Place:
    login = {
        "user": endpoint.options["username"],
        "password": endpoint.options["password"],
    }
    url = endpoint.url.replace("http://", "webdav://")
    return Place(url, {"tls": False}, login, endpoint.names)


def s3a(endpoint: Endpoint) -> Place:
    """The same store as in the tests of S3, by an asynchronous filesystem of fsspec."""
    options = dict(endpoint.options)
    login = {name: options.pop(name) for name in ("key", "secret")}
    url = endpoint.url.replace("s3:", "s3a:")
    return Place(f"{url}/by-fsspec", options, login, endpoint.names)


@pytest.fixture(params=["memory", "sftp", "webdav", "s3a"])
def place(request: pytest.FixtureRequest) -> Place:
    match request.param:
        case "sftp":
            return sftp(request.getfixturevalue("sshd"))
        case "webdav":
            return webdav(request.getfixturevalue("webdav_server"))
        case "s3a":
            return s3a(request.getfixturevalue("seaweedfs"))
    MemoryFileSystem.store.clear()
    return Place("memory://", names=lambda: list(MemoryFileSystem.store))


def stage_in(place: Place, name: str, path: Path, **more: Any) -> RemoteInfo:
    info = any_scheme.provider.jackfield_stage_in(place.transfer(name, path, **more))
    assert info is not None
    return info


def stage_out(place: Place, name: str, path: Path, **more: Any) -> RemoteInfo:
    info = any_scheme.provider.jackfield_stage_out(place.transfer(name, path, **more))
    assert info is not None
    return info


# -- What every filesystem does


@pytest.mark.parametrize("body", [b"", b"1", BODY, LARGE], ids=len)
def test_a_file_makes_the_way_there_and_back(
    body: bytes, place: Place, tmp_path: Path
) -> None:
    (tmp_path / "out").write_bytes(body)
    name = f"any/way%20there/{len(body)}"

    stage_out(place, name, tmp_path / "out")
    given = place.transfer(name, tmp_path / "in")
    fetched = any_scheme.provider.jackfield_stage_in(given)

    assert (tmp_path / "in").read_bytes() == body
    assert fetched is not None
    assert fetched.size == len(body) == given.moved


def test_a_look_tells_what_the_transfer_tells(place: Place, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(BODY)
    stage_out(place, "looked-at", tmp_path / "out")

    fetched = stage_in(place, "looked-at", tmp_path / "in")
    looked = any_scheme.provider.jackfield_stat_file(place.remote("looked-at"))

    assert looked == fetched
    assert fetched.size == len(BODY)
    assert fetched.modified is not None


def test_row_62_a_new_version_looks_different(place: Place, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(BODY)
    stage_out(place, "changing", tmp_path / "out")
    fetched = stage_in(place, "changing", tmp_path / "in")
    (tmp_path / "out").write_bytes(BODY + b"more")
    stage_out(place, "changing", tmp_path / "out")

    looked = any_scheme.provider.jackfield_stat_file(place.remote("changing"))

    assert looked is not None
    assert fetched.differs(looked)


def test_a_missing_file_is_not_found(place: Place, tmp_path: Path) -> None:
    for hook in (
        any_scheme.provider.jackfield_stage_in,
        any_scheme.provider.jackfield_stat_file,
    ):
        with pytest.raises(RemoteNotFoundError) as caught:
            hook(place.transfer("no/such/file", tmp_path / "in"))
        assert not caught.value.transient

    assert not (tmp_path / "in").exists()


def test_a_directory_is_no_file(place: Place, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(BODY)
    stage_out(place, "folder/file", tmp_path / "out")

    with pytest.raises(TransferError, match="directory"):
        stage_in(place, "folder", tmp_path / "in")


NAMES = ["a%b", "a#b", "with space", "star*", "Ünï", "deeper/down"]


def test_names_with_signs_are_listed_as_urls_that_name_them(
    place: Place, tmp_path: Path
) -> None:
    for number, name in enumerate(NAMES):
        (tmp_path / "out").write_bytes(b"%d" % number)
        coded = name.replace("%", "%25").replace("#", "%23").replace("*", "%2A")
        stage_out(place, f"signs/{coded}", tmp_path / "out")

    listed = any_scheme.provider.jackfield_list_files(place.remote("signs/"))

    assert listed is not None
    found = {url.rpartition("/signs/")[2]: url for url in listed}
    assert {File(f"x://h/{name}").path[1:] for name in found} == set(NAMES)
    for name, url in found.items():
        assert url.startswith(f"{place.url}/signs/")
        stage_in(place, f"signs/{name}", tmp_path / "in")
        number = NAMES.index(File(f"x://h/{name}").path[1:])
        assert (tmp_path / "in").read_bytes() == b"%d" % number


def test_a_directory_that_is_not_there_is_missing(place: Place) -> None:
    with pytest.raises(RemoteNotFoundError):
        any_scheme.provider.jackfield_list_files(place.remote("no/such/"))


def test_an_upload_replaces_what_is_there_and_leaves_nothing_else(
    place: Place, tmp_path: Path
) -> None:
    (tmp_path / "out").write_bytes(b"old")
    stage_out(place, "replaced/it", tmp_path / "out")
    (tmp_path / "out").write_bytes(BODY)

    stage_out(place, "replaced/it", tmp_path / "out")
    stage_in(place, "replaced/it", tmp_path / "in")

    assert (tmp_path / "in").read_bytes() == BODY
    assert [one for one in place.names() if "replaced" in one][1:] == []


def test_row_76_a_cancelled_upload_leaves_what_was_there(
    place: Place, tmp_path: Path
) -> None:
    if place.url.startswith("s3a:"):
        pytest.skip("s3fs tells of no progress before the object is there")
    (tmp_path / "out").write_bytes(b"old")
    stage_out(place, "kept/it", tmp_path / "out")
    (tmp_path / "out").write_bytes(LARGE)
    given = place.transfer("kept/it", tmp_path / "out")

    class Stopped(Transfer):
        def advance(self, moved: int) -> None:
            super().advance(moved)
            self.stop.stop()

    given.__class__ = Stopped
    with pytest.raises(TransferCancelledError):
        any_scheme.provider.jackfield_stage_out(given)

    stage_in(place, "kept/it", tmp_path / "in")
    assert (tmp_path / "in").read_bytes() == b"old"
    assert [one for one in place.names() if "kept" in one][1:] == []


def test_row_76_a_cancelled_download_ends(place: Place, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(LARGE)
    stage_out(place, "long", tmp_path / "out")
    given = place.transfer("long", tmp_path / "in")

    class Stopped(Transfer):
        def advance(self, moved: int) -> None:
            super().advance(moved)
            self.stop.stop()

    given.__class__ = Stopped
    with pytest.raises(TransferCancelledError):
        any_scheme.provider.jackfield_stage_in(given)

    assert (tmp_path / "in").stat().st_size < len(LARGE)


def test_what_is_there_already_is_not_asked_for_again(
    webdav_server: Endpoint, seaweedfs: Endpoint, tmp_path: Path
) -> None:
    for place in (webdav(webdav_server), s3a(seaweedfs)):
        (tmp_path / "out").write_bytes(LARGE)
        stage_out(place, "resumed", tmp_path / "out")
        known = any_scheme.provider.jackfield_stat_file(place.remote("resumed"))
        (tmp_path / "in").write_bytes(LARGE[:1000])

        stage_in(place, "resumed", tmp_path / "in", offset=1000, known=known)

        assert (tmp_path / "in").read_bytes() == LARGE


def test_many_threads_may_ask_at_once(place: Place, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(BODY)
    stage_out(place, "shared", tmp_path / "out")
    start = threading.Barrier(4)

    def fetch(number: int) -> bytes:
        start.wait(LIMIT_S)
        stage_in(place, "shared", tmp_path / f"in{number}")
        return (tmp_path / f"in{number}").read_bytes()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(fetch, range(4))) == [BODY] * 4


# -- Which schemes


@pytest.mark.parametrize("scheme", ["file", "http", "https", "ftp", "ftps", "s3"])
def test_schemes_with_a_plugin_of_their_own_are_left_to_it(
    scheme: str, tmp_path: Path
) -> None:
    other = Transfer(url=f"{scheme}://host/x", path=tmp_path / "in")

    assert not any_scheme.provider.jackfield_serves_scheme(scheme)
    assert any_scheme.provider.jackfield_stage_in(other) is None
    assert any_scheme.provider.jackfield_stage_out(other) is None
    assert any_scheme.provider.jackfield_stat_file(other) is None
    assert any_scheme.provider.jackfield_list_files(other) is None


@pytest.mark.parametrize(
    "url",
    [
        "local:///etc/passwd",
        "dir:///etc/passwd",
        "simplecache::file:///etc/passwd",
        "filecache::memory://x",
        "blockcache://x",
        "reference:///etc/passwd",
        "zip://x::file:///etc/x.zip",
        "tar:///etc/x.tar",
        "git:///etc",
        "asynclocal:///etc/passwd",
    ],
)
def test_row_74_what_reaches_local_files_is_not_served(
    url: str, tmp_path: Path
) -> None:
    assert not any_scheme.provider.jackfield_serves_scheme(url.partition(":")[0])
    given = Transfer(url=url, path=tmp_path / "in")
    assert any_scheme.provider.jackfield_stage_in(given) is None


def test_row_74_a_chain_of_filesystems_is_refused(tmp_path: Path) -> None:
    given = Transfer(url="memory://x::file:///etc/passwd", path=tmp_path / "in")

    with pytest.raises(TransferError, match="chains"):
        any_scheme.provider.jackfield_stage_in(given)


def test_row_74_a_local_filesystem_by_another_name_is_refused(tmp_path: Path) -> None:
    from fsspec.implementations.local import LocalFileSystem

    fsspec.register_implementation("mydisk", LocalFileSystem, clobber=True)
    given = Transfer(url="mydisk:///etc/passwd", path=tmp_path / "in")

    with pytest.raises(TransferError, match="local files"):
        any_scheme.provider.jackfield_stage_in(given)


def test_a_scheme_that_nobody_knows_is_not_served(tmp_path: Path) -> None:
    assert not any_scheme.provider.jackfield_serves_scheme("gopher")
    given = Transfer(url="gopher://h/x", path=tmp_path / "in")
    assert any_scheme.provider.jackfield_stage_in(given) is None


def test_an_implementation_that_is_not_installed_says_how_to_install_it(
    tmp_path: Path,
) -> None:
    fsspec.register_implementation(
        "absent", "absent_fs.FileSystem", clobber=True, errtxt="Install absent_fs"
    )
    given = Transfer(url="absent://h/x", path=tmp_path / "in")

    assert any_scheme.provider.jackfield_serves_scheme("absent")
    with pytest.raises(ConfigurationError, match="not installed: Install absent_fs"):
        any_scheme.provider.jackfield_stage_in(given)


def test_a_filesystem_registered_in_the_script_is_served(tmp_path: Path) -> None:
    class Shelf(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
        protocol = "rack"
        store = {"/x": None}
        pseudo_dirs = [""]

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return "/" + path.partition("://")[2].strip("/") if "://" in path else path

    Shelf.store = {}
    fsspec.register_implementation("rack", Shelf, clobber=True)
    (tmp_path / "out").write_bytes(BODY)
    place = Place("rack://top")

    stage_out(place, "x", tmp_path / "out")
    stage_in(place, "x", tmp_path / "in")

    assert (tmp_path / "in").read_bytes() == BODY
    assert list(Shelf.store) == ["/top/x"]


def test_an_option_that_the_filesystem_does_not_take_is_named(
    sshd: Endpoint, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="colour"):
        stage_in(sftp(sshd, colour="blue"), "x", tmp_path / "in")


# -- SFTP


def test_a_host_that_is_not_known_is_refused(sshd: Endpoint, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    place = sftp(sshd, known_hosts=str(tmp_path / "empty"))

    with pytest.raises(TransferError, match="known_hosts") as caught:
        stage_in(place, "x", tmp_path / "in")

    assert not caught.value.transient


def test_a_host_that_shows_another_key_is_refused(
    sshd: Endpoint, tmp_path: Path
) -> None:
    import paramiko

    other = paramiko.ECDSAKey.generate()
    host = sshd.url.removeprefix("sftp://").partition("/")[0].replace(":", "]:")
    line = f"[{host} {other.get_name()} {other.get_base64()}\n"
    (tmp_path / "hosts").write_text(line)
    place = sftp(sshd, known_hosts=str(tmp_path / "hosts"))

    with pytest.raises(TransferError) as caught:
        stage_in(place, "x", tmp_path / "in")

    assert "known_hosts" in str(caught.value) or "key" in str(caught.value)
    assert not isinstance(caught.value, RemoteNotFoundError)


def test_an_unknown_host_is_taken_where_the_user_insists(
    sshd: Endpoint, tmp_path: Path
) -> None:
    (tmp_path / "empty").touch()
    sshd.content.put("insisted", BODY)
    place = sftp(sshd, known_hosts=str(tmp_path / "empty"), insecure_host_keys=True)

    with pytest.warns(UserWarning, match="insecure_host_keys = true"):
        stage_in(place, "insisted", tmp_path / "in")

    assert (tmp_path / "in").read_bytes() == BODY
    assert (tmp_path / "empty").read_bytes() == b""


def test_a_list_of_known_hosts_that_is_missing_is_named(
    sshd: Endpoint, tmp_path: Path
) -> None:
    place = sftp(sshd, known_hosts=str(tmp_path / "none"))

    with pytest.raises(ConfigurationError, match="known_hosts"):
        stage_in(place, "x", tmp_path / "in")


def test_somebody_without_a_key_is_forbidden(sshd: Endpoint, tmp_path: Path) -> None:
    place = sftp(sshd)
    options = {
        name: value for name, value in place.options.items() if "key_" not in name
    }

    with pytest.raises(RemoteForbiddenError):
        stage_in(Place(place.url, options, place.credentials), "x", tmp_path / "in")


def test_a_connection_is_used_again_and_closed_with_the_kernel(
    sshd: Endpoint, tmp_path: Path
) -> None:
    sshd.content.put("again", BODY)
    place = sftp(sshd)
    port = int(place.url.removeprefix("sftp://127.0.0.1:").partition("/")[0])

    def connections() -> set[int]:
        own = psutil.Process().net_connections()
        return {one.laddr.port for one in own if one.raddr and one.raddr.port == port}

    stage_in(place, "again", tmp_path / "in")
    first = connections()
    stage_in(place, "again", tmp_path / "in")

    assert len(first) == 1
    assert connections() == first
    close_idle()
    assert connections() == set()


def test_a_server_that_has_gone_is_a_transient_error(
    sshd: Endpoint, tmp_path: Path
) -> None:
    sshd.content.put("gone", BODY)
    place = sftp(sshd)
    stage_in(place, "gone", tmp_path / "in")
    sshd.kill()

    for _ in range(2):
        with pytest.raises(TransferError) as caught:
            stage_in(place, "gone", tmp_path / "in")
        assert caught.value.transient


# -- WebDAV


def test_row_75_a_password_in_the_url_is_decoded_and_not_shown(
    webdav_server: Endpoint, tmp_path: Path
) -> None:
    place = webdav(webdav_server)
    host = place.url.removeprefix("webdav://")
    url = f"webdav://somebody:s3cr%40t@{host}"

    with pytest.raises(RemoteForbiddenError) as caught:
        stage_in(Place(url, place.options), "x", tmp_path / "in")

    assert "s3cr" not in str(caught.value)


@pytest.mark.parametrize("fault", [StallBeforeHeaders(), StallMidBody(after=5000)])
def test_row_76_a_silent_server_does_not_keep_a_cancelled_transfer(
    fault: HTTPFault, tmp_path: Path
) -> None:
    with HostileHTTPServer({"/x": BODY}) as server:
        place = Place(f"webdav://127.0.0.1:{server.port}", {"tls": False})
        server.fault("*", _Properties(), methods=("PROPFIND",))
        server.fault("/x", fault, methods=("GET",))
        given = place.transfer("x", tmp_path / "in")

        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(any_scheme.provider.jackfield_stage_in, given)
            assert server.stalled.wait(LIMIT_S)
            given.stop.stop()
            with pytest.raises(TransferCancelledError):
                future.result(LIMIT_S)
        there = (tmp_path / "in").stat().st_size if (tmp_path / "in").exists() else 0
        server.release.set()
    assert there <= 5000


@dataclass(frozen=True)
class _Properties(HTTPFault):
    """What a WebDAV server tells of a file."""

    def answer(self, normal: Callable[[], Any], exchange: Any) -> Any:
        from jackfield_testing.servers import Answer

        del normal
        body = (
            '<?xml version="1.0"?><d:multistatus xmlns:d="DAV:"><d:response>'
            f"<d:href>{exchange.request.path}</d:href><d:propstat><d:prop>"
            f"<d:getcontentlength>{len(BODY)}</d:getcontentlength><d:resourcetype/>"
            "</d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>"
            "</d:multistatus>"
        )
        return Answer.of(207, body.encode(), "application/xml")


def test_row_76_a_cancelled_upload_of_a_coroutine_ends(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(BODY)
    with HostileHTTPServer() as server:
        server.fault("/bucket/x", StallBeforeHeaders(), methods=("PUT",))
        options = {"endpoint_url": server.url("").rstrip("/")}
        place = Place("s3a://bucket", options, {"key": "k", "secret": "s"})
        given = place.transfer("x", tmp_path / "out")

        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(any_scheme.provider.jackfield_stage_out, given)
            assert server.stalled.wait(LIMIT_S)
            given.stop.stop()
            with pytest.raises(TransferCancelledError):
                future.result(LIMIT_S)
