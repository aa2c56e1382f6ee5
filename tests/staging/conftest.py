"""Real servers on loopback, each started when a test first asks for it.

Every fixture gives an ``Endpoint``: see ``servers/endpoint.py``. They last for the
whole run, so a test works below a folder or a name of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from tests.staging.servers import ftp, needs, nginx, seaweed, sshd, tls, vsftpd, webdav

from jackfield_testing.servers._process import scratch

if TYPE_CHECKING:
    from tests.staging.servers.endpoint import Endpoint


@pytest.fixture(scope="session")
def _started() -> list[Endpoint]:
    """What runs by now."""
    return []


@pytest.fixture(autouse=True)
def _every_server_runs(_started: list[Endpoint]) -> None:
    """Start what an earlier test has killed; try it once, for it may take long."""
    for endpoint in [e for e in _started if not e.server.running]:
        _started.remove(endpoint)
        endpoint.restart()
        _started.append(endpoint)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tls.Authority:
    """The authority that the servers' certificates come from."""
    needs.modules("ftp_server", "trustme")
    return tls.make(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def seaweedfs(_started: list[Endpoint]) -> Iterator[Endpoint]:
    """An S3 server with a bucket; ``readonly`` is who may not write there."""
    with seaweed.start() as endpoint:
        _started.append(endpoint)
        yield endpoint


@pytest.fixture(scope="session")
def webdav_server(_started: list[Endpoint]) -> Iterator[Endpoint]:
    """A WebDAV server that wants a user and a password."""
    with scratch("webdav") as directory, webdav.start(directory) as endpoint:
        _started.append(endpoint)
        yield endpoint


@pytest.fixture(scope="session")
def http_files(_started: list[Endpoint]) -> Iterator[Endpoint]:
    """A well-behaved HTTP server of files, read-only and open to all."""
    with scratch("http") as directory, webdav.start_files(directory) as endpoint:
        _started.append(endpoint)
        yield endpoint


@pytest.fixture(scope="session")
def _ftp(
    _started: list[Endpoint], authority: tls.Authority
) -> Iterator[tuple[Endpoint, Endpoint]]:
    with scratch("ftp") as directory, ftp.start(directory, authority) as endpoints:
        _started.append(endpoints[0])
        yield endpoints


@pytest.fixture(scope="session")
def ftp_server(_ftp: tuple[Endpoint, Endpoint]) -> Endpoint:
    """An FTP server; ``readonly`` is who may not write there."""
    return _ftp[0]


@pytest.fixture(scope="session")
def ftps_server(_ftp: tuple[Endpoint, Endpoint]) -> Endpoint:
    """The same server at the port where it insists on TLS; ``options["ca"]``."""
    return _ftp[1]


@pytest.fixture(scope="session")
def _nginx(
    _started: list[Endpoint], authority: tls.Authority
) -> Iterator[tuple[nginx.Nginx, nginx.Nginx]]:
    with scratch("nginx") as directory, nginx.start(directory, authority) as endpoints:
        _started.append(endpoints[0])
        yield endpoints


@pytest.fixture(scope="session", name="nginx")
def nginx_http(_nginx: tuple[nginx.Nginx, nginx.Nginx]) -> nginx.Nginx:
    """nginx by plain HTTP, with folders that behave: ``servers/nginx.py``."""
    return _nginx[0]


@pytest.fixture(scope="session")
def nginx_tls(_nginx: tuple[nginx.Nginx, nginx.Nginx]) -> nginx.Nginx:
    """The same nginx by HTTPS; ``options["ca"]`` is what to trust."""
    return _nginx[1]


@pytest.fixture(scope="session", name="vsftpd")
def vsftpd_server(_started: list[Endpoint]) -> Iterator[Endpoint]:
    """vsftpd; ``readonly`` is the anonymous user."""
    with scratch("vsftpd") as directory, vsftpd.start(directory) as endpoint:
        _started.append(endpoint)
        yield endpoint


@pytest.fixture(scope="session", name="sshd")
def sftp_server(_started: list[Endpoint]) -> Iterator[Endpoint]:
    """OpenSSH by SFTP; ``options`` has the user, its key and the known hosts."""
    with scratch("sshd") as directory, sshd.start(directory) as endpoint:
        _started.append(endpoint)
        yield endpoint
