"""The conformance kit, with the servers of the real world."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import pytest

from jackfield_staging._core_files import escape
from jackfield_testing import StagingConformance, StagingSite
from jackfield_testing.footprint import WAIT_S
from jackfield_testing.staging.case import AWKWARD_NAMES

if TYPE_CHECKING:
    from pathlib import Path

    from tests.staging.servers.endpoint import Endpoint

FOLDER: Final = "kit"
NONE: Final[Mapping[str, Any]] = {}


class EndpointSite(StagingSite):
    """A folder of a server that is there for the whole run."""

    def __init__(
        self,
        endpoint: Endpoint,
        url: str = "",
        *,
        options: Mapping[str, Any] = NONE,
        credentials: Mapping[str, str] = NONE,
        folder: str = FOLDER,
    ) -> None:
        base = f"{url or endpoint.url}/{folder}/"
        super().__init__(base, options=options, credentials=credentials)
        self.content = endpoint.content
        self.folder = folder

    def put(self, name: str, data: bytes) -> None:
        self.content.put(f"{self.folder}/{name}", data)

    def get(self, name: str) -> bytes | None:
        with suppress(FileNotFoundError):
            return self.content.get(f"{self.folder}/{name}")
        return None

    def delete(self, name: str) -> None:
        self.content.delete(f"{self.folder}/{name}")


class TestNginx(StagingConformance):
    notices_changes = False  # its ETag is made of the size and the second

    @pytest.fixture
    def site(self, nginx: Endpoint) -> EndpointSite:
        return EndpointSite(nginx)


@pytest.mark.slow
class TestNginxWithTLS(StagingConformance):
    notices_changes = False
    large = 1 << 20

    @pytest.fixture
    def site(self, nginx_tls: Endpoint) -> EndpointSite:
        options = {"ca_file": str(nginx_tls.options["ca"])}
        return EndpointSite(nginx_tls, options=options)


@pytest.mark.slow
class TestVsftpd(StagingConformance):
    notices_changes = False

    @pytest.fixture
    def site(self, vsftpd: Endpoint) -> EndpointSite:
        # Not as credentials: it takes every password.
        user, password = login(vsftpd).values()
        return EndpointSite(vsftpd, vsftpd.url.replace("://", f"://{user}:{password}@"))


class TestSeaweedFS(StagingConformance):
    large = 8 << 20
    # What its own interface, which looks behind S3, takes for a query.
    names = tuple(name for name in StagingConformance.names if "?" not in name)

    @pytest.fixture
    def site(self, seaweedfs: Endpoint) -> EndpointSite:
        options = dict(seaweedfs.options)
        known = {part: options.pop(part) for part in ("key", "secret")}
        return ObjectSite(seaweedfs, options=options, credentials=known)


class ObjectSite(EndpointSite):
    def url(self, name: str) -> str:
        return self.base + escape(name)


@pytest.mark.slow
class TestWebDAVByHTTP(StagingConformance):
    notices_changes = False  # WsgiDAV's ETag is made of the size and the second
    replaces_whole = False  # it writes what is put in place
    large = 8 << 20

    @pytest.fixture
    def site(self, webdav_server: Endpoint) -> EndpointSite:
        return EndpointSite(webdav_server, credentials=login(webdav_server))


@pytest.mark.slow
class TestWebDAVByFsspec(StagingConformance):
    notices_changes = False  # WsgiDAV's ETag is made of the size and the second
    replaces_whole = False  # it removes the older file before it renames the new one
    large = 8 << 20
    # Of the name that an output is to have it drops what follows one of these.
    names = tuple(name for name in AWKWARD_NAMES if not {*";?"} & {*name})

    @pytest.fixture
    def site(self, webdav_server: Endpoint) -> EndpointSite:
        url = webdav_server.url.replace("http://", "webdav://")
        return EndpointSite(
            webdav_server,
            url,
            options={"tls": False},
            credentials=login(webdav_server),
            folder="kit-by-fsspec",  # by HTTP, names come that cannot be had here
        )

    @pytest.mark.parametrize("name", ["cut;here.dat", "cut?here.dat"])
    def test_an_output_that_gets_another_name_is_an_error(
        self, site: StagingSite, tmp_path: Path, name: str
    ) -> None:
        with self.running(site, tmp_path) as run:
            error = run.write(name, 100).outputs[0].exception(WAIT_S)

        assert "has cut its name off" in str(error)


class TestOpenSSH(StagingConformance):
    notices_changes = False  # SFTP tells the size and the second
    large = 8 << 20
    verified = "size"
    resumes = False

    @pytest.fixture
    def site(self, sshd: Endpoint) -> EndpointSite:
        options = {
            "key_file": str(sshd.options["key"]),
            "known_hosts": str(sshd.options["known_hosts"]),
            "allow_agent": False,
            "look_for_keys": False,
        }
        user = {"user": sshd.options["username"]}
        return EndpointSite(sshd, options=options, credentials=user)


def login(endpoint: Endpoint) -> dict[str, str]:
    return {
        "user": endpoint.options["username"],
        "password": endpoint.options["password"],
    }
