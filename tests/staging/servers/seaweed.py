"""The S3 server of the test kit, as an endpoint of these tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.staging.servers import needs
from tests.staging.servers.endpoint import Endpoint

from jackfield_testing.servers import S3Server


@contextmanager
def start() -> Iterator[Endpoint]:
    """Run it with a bucket, someone who may write there and someone who may not."""
    with S3Server(needs.program("seaweedfs", "weed")) as server:
        yield Endpoint(
            f"s3://{server.bucket}",
            server.process,
            server.content,
            _options(server, server.key, server.secret),
            _options(server, *server.reader),
        )


def _options(server: S3Server, key: str, secret: str) -> dict[str, str]:
    return {"endpoint_url": server.endpoint_url, "key": key, "secret": secret}
