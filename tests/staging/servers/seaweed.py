"""SeaweedFS, an S3 server with real signatures, multipart uploads and conditions."""

from __future__ import annotations

import http
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.staging.servers import needs
from tests.staging.servers.endpoint import READER, USER, Endpoint
from tests.staging.servers.process import HOST, Server, connect, free_ports, running

BUCKET = "jackfield-tests"
TWIN = 10000
"""Each of its ports P takes P + 10000 as well, for gRPC."""

SECRET = "secret-of-"


@dataclass(frozen=True)
class Filer:
    """Content behind the S3 server, by SeaweedFS's own plain HTTP interface.

    Attributes:
        url: Of the bucket's folder.
    """

    url: str

    def put(self, name: str, data: bytes) -> None:
        self._call("PUT", name, data)

    def get(self, name: str) -> bytes:
        return self._call("GET", name)

    def names(self, folder: str = "") -> list[str]:
        names: list[str] = []
        for entry in self._entries(folder):
            path = f"{folder}/{entry['FullPath'].rpartition('/')[2]}".lstrip("/")
            # Go's os.ModeDir is the topmost of 32 bits.
            names += self.names(path) if entry["Mode"] >> 31 else [path]
        return sorted(names)

    def delete(self, name: str) -> None:
        self.get(name)
        self._call("DELETE", name)

    def make(self) -> None:
        """Make the bucket, unless there is one."""
        try:
            self._call("POST", "/")
        except urllib.error.HTTPError as error:
            if error.code != http.HTTPStatus.CONFLICT:
                raise

    def _entries(self, folder: str) -> list[dict[str, Any]]:
        answer = json.loads(self._call("GET", f"{folder}/?limit=10000".lstrip("/")))
        return answer["Entries"] or []

    def _call(self, method: str, name: str, data: bytes | None = None) -> bytes:
        path = urllib.parse.quote(name, safe="/?=")
        headers = {"Accept": "application/json"}
        if data is not None:
            headers["Content-Type"] = "application/octet-stream"
        request = urllib.request.Request(
            f"{self.url}/{path.lstrip('/')}", data, headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                body: bytes = answer.read()
                return body
        except urllib.error.HTTPError as error:
            with error:
                if error.code == http.HTTPStatus.NOT_FOUND:
                    raise FileNotFoundError(name) from error
                raise


@contextmanager
def start(directory: Path) -> Iterator[Endpoint]:
    """Run it with a bucket, someone who may write there and someone who may not."""
    weed = needs.program("seaweedfs", "weed")
    master, volume, filer, s3 = free_ports(4, twin=TWIN)
    config = directory / "s3.json"
    config.write_text(json.dumps(_identities()))
    data = directory / "data"
    data.mkdir()
    command = [
        *(weed, "-logtostderr", "server", f"-dir={data}"),
        *(f"-ip={HOST}", f"-ip.bind={HOST}", "-volume.max=20"),
        *(f"-master.port={master}", f"-volume.port={volume}", "-filer", "-s3"),
        *(f"-filer.port={filer}", f"-s3.port={s3}", f"-s3.config={config}"),
        # Two more services that would listen on fixed ports.
        *("-s3.port.iceberg=0", "-s3.port.lance=0"),
        *("-master.telemetry=false", "-s3.autoCreateBucket=false"),
        # The default of 10 s is what makes a restart slow.
        *("-master.electionTimeout=1s", "-master.volumeSizeLimitMB=64"),
        # A disk that is full by a percentage would make all volumes read-only.
        "-volume.minFreeSpace=64MiB",
        *(f"-filer.localSocket={data}/filer", f"-s3.localSocket={data}/s3"),
    ]
    content = Filer(f"http://{HOST}:{filer}/buckets/{BUCKET}")

    def ready() -> None:
        connect(s3)
        content.make()
        content.put(".ready", b"1")
        content.delete(".ready")

    server = Server(
        "weed", command, directory, ready, _sockets(master, volume, filer, s3)
    )
    with running(server):
        yield Endpoint(
            f"s3://{BUCKET}",
            server,
            content,
            _options(s3, USER),
            _options(s3, READER),
        )


def _identities() -> dict[str, Any]:
    rights = {USER: ["Read", "Write", "List", "Tagging"], READER: ["Read", "List"]}
    return {
        "identities": [
            {
                "name": user,
                "credentials": [{"accessKey": user, "secretKey": SECRET + user}],
                "actions": actions,
            }
            for user, actions in rights.items()
        ]
    }


def _options(port: int, user: str) -> dict[str, str]:
    return {
        "endpoint_url": f"http://{HOST}:{port}",
        "key": user,
        "secret": SECRET + user,
    }


def _sockets(*ports: int) -> list[Path]:
    """Sockets that it makes in /tmp whatever its options say."""
    parts = zip(("master", "volume", "filer", "s3"), ports, strict=True)
    return [
        Path("/tmp") / f"seaweedfs-{part}-grpc-{port + TWIN}.sock"
        for part, port in parts
    ]
