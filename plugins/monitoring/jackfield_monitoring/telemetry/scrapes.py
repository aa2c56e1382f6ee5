"""A server that answers one address, ``/metrics``, to who scrapes it.

On this machine it answers only requests that name this machine as their host: a page in
a browser can make a name of its own lead here, and would otherwise read the answer.
"""

from __future__ import annotations

import ipaddress
import socket
import socketserver
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import urlsplit

from prometheus_client.exposition import choose_encoder

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

PATH: Final = "/metrics"

SCRAPES_MOST: Final = 20
"""Connections that are answered at a time; each has a thread."""


class Scrapes(ThreadingHTTPServer):
    """Serves a registry on threads of its own, from ``start`` to ``stop``.

    Args:
        registry: What is served.
        address: The numeric address to listen at, or ``localhost``.
        port: 0 for any that is free.

    Raises:
        OSError: The address is not this machine's, or the port is taken.
    """

    daemon_threads: bool = True
    block_on_close: bool = False

    def __init__(self, registry: CollectorRegistry, address: str, port: int) -> None:
        self.registry: CollectorRegistry = registry
        self.free: threading.BoundedSemaphore = threading.BoundedSemaphore(SCRAPES_MOST)
        self.names: frozenset[str] = _names(address)
        if ":" in address:
            self.address_family: int = socket.AF_INET6
        super().__init__((address, port), _Handler)
        self._thread: threading.Thread = threading.Thread(
            target=self.serve_forever, args=(0.1,), name="jackfield-metrics",
            daemon=True,
        )  # fmt: skip

    def server_bind(self) -> None:
        """Bind, without asking for the name of the address, which may take long."""
        socketserver.TCPServer.server_bind(self)

    @property
    def url(self) -> str:
        """Where the metrics are."""
        host, port = str(self.server_address[0]), self.server_address[1]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}{PATH}"

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer no more, and free the port."""
        self.shutdown()
        self._thread.join()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer on a thread, or close the connection if too many are open."""
        if self.free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and let the next one come."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: who scrapes may break a connection off."""


def _names(address: str) -> frozenset[str]:
    """Return the hosts that requests may name; none for all of them."""
    try:
        loopback = ipaddress.ip_address(address).is_loopback
    except ValueError:
        loopback = address == "localhost"
    return frozenset({"127.0.0.1", "localhost", "::1", address} if loopback else ())


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    server_version: str = "jackfield"
    sys_version: str = ""
    timeout: ClassVar[float | None] = 10

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (its name)
        """Say nothing of requests."""

    def do_GET(self) -> None:
        """Answer with what the metrics are now."""
        server = self.server
        assert isinstance(server, Scrapes)
        try:
            if not self._names(server.names):
                self._answer(HTTPStatus.FORBIDDEN, b"This is not that host.\n")
            elif self.path.partition("?")[0] != PATH:
                self._answer(HTTPStatus.NOT_FOUND, f"See {PATH}.\n".encode())
            else:
                encode, kind = choose_encoder(self.headers.get("Accept", ""))
                self._answer(HTTPStatus.OK, encode(server.registry), kind)
        except OSError:
            pass  # whoever asked has gone

    def _names(self, names: frozenset[str]) -> bool:
        """Tell whether the request names this machine as its host."""
        try:
            host = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        except ValueError:
            return False
        return not names or host in names

    def _answer(
        self, status: HTTPStatus, body: bytes, kind: str = "text/plain; charset=utf-8"
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)
