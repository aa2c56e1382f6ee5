"""The dashboard's server: it answers GET on this machine, and reads; that is all.

Any page that a browser shows can send requests to a server on the same machine, and can
make a name of its own lead to it. So a request must name this server as its host, and
must not come from a page of another origin. From other machines only those get an
answer who have the token, which is in the address that the command prints.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import secrets
import select
import socket
import threading
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import parse_qs, urlsplit

from jackfield_monitoring.pages import bundle
from jackfield_monitoring.pages.live import Runs
from jackfield_monitoring.runs import RunError
from jackfield_monitoring.store.reader import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

STREAMS_MOST: Final = 50
"""Pages that may be kept up to date at a time."""

BEAT_S: Final = 15.0
"""Seconds after which a stream without news says that it is alive."""

LOOK_S: Final = 1.0
"""Seconds after which it is seen at the latest that a page has gone."""

COOKIE: Final = "jackfield-dashboard"

JSON: Final = "application/json"

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class RefusedError(Exception):
    """A request gets no answer; the text says why."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status: HTTPStatus = status


class Streams:
    """The connections on which pages wait for changes. Any thread may ask."""

    def __init__(self) -> None:
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def enter(self, connection: socket.socket) -> bool:
        """Give a page a place, if there is one.

        A page that was closed, or loaded anew, keeps its place until its thread looks
        next. So where there is none left, those whose browser has gone lose theirs.
        """
        with self._lock:
            if len(self._open) >= STREAMS_MOST:
                self._open = {one for one in self._open if not has_gone(one)}
            if len(self._open) >= STREAMS_MOST:
                return False
            self._open.add(connection)
            return True

    def __len__(self) -> int:
        return len(self._open)

    def leave(self, connection: socket.socket) -> None:
        """Take a place back, if that has not been done yet."""
        with self._lock:
            self._open.discard(connection)


def has_gone(connection: socket.socket) -> bool:
    """Tell at once whether who was at the other end has closed a connection."""
    ready = select.poll()
    try:
        ready.register(connection, select.POLLIN)
        # Without a look first, a socket with a timeout would wait so long.
        return bool(ready.poll(0)) and not connection.recv(1, socket.MSG_PEEK)
    except (OSError, ValueError):  # the latter: its own thread has just closed it
        return True


class Dashboard(ThreadingHTTPServer):
    """Serves the runs of a directory.

    Args:
        parent: The directory of runs.
        host: The address to listen at. What is not this machine's own needs the token.
        port: 0 for any that is free.

    Attributes:
        runs: The runs.
        token: What must be known to get an answer, or ``""`` on this machine alone.
    """

    address_family: int = socket.AF_INET
    daemon_threads: bool = True
    block_on_close: bool = False

    def __init__(self, parent: Path, host: str = "127.0.0.1", port: int = 0) -> None:
        self.runs: Runs = Runs(parent)
        self.token: str = "" if is_loopback(host) else secrets.token_urlsafe(24)
        self.streams: Streams = Streams()
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), Handler)
        self.runs.start()

    def server_close(self) -> None:
        """End what is under way, and close everything."""
        self.runs.stop()
        super().server_close()

    @property
    def url(self) -> str:
        """Where the dashboard is, with the token if there is one."""
        host, port = str(self.server_address[0]), self.server_address[1]
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{port}/" + (f"?token={self.token}" if self.token else "")

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: browsers break connections off all the time."""


def is_loopback(host: str) -> bool:
    """Tell whether only programs of this machine reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version: str = "HTTP/1.1"
    server_version: str = "jackfield"
    sys_version: str = ""
    timeout: ClassVar[float | None] = 30

    @property
    def dashboard(self) -> Dashboard:
        """The server, by its own type."""
        assert isinstance(self.server, Dashboard)
        return self.server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (its name)
        """Say nothing of requests."""

    def do_GET(self) -> None:
        """Answer a request, or say why not."""
        try:
            address = urlsplit(self.path)
            query = {
                name: values[-1] for name, values in parse_qs(address.query).items()
            }
            self._check_origin()
            if self._let_in(query):
                self._route(address.path, query)
        except RefusedError as error:
            self._refuse(error.status, str(error))
        except RunError as error:
            self._refuse(HTTPStatus.NOT_FOUND, str(error))
        except StoreError as error:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        except ValueError:
            self._refuse(HTTPStatus.BAD_REQUEST, "That is no address of a dashboard.")
        except (ConnectionError, TimeoutError):
            self.close_connection = True  # the browser has gone
        except OSError as error:
            text = f"The run cannot be read: {error.strerror}."
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, text)

    # -- Who may ask

    def _check_origin(self) -> None:
        """Refuse what a page of somebody else has sent.

        Raises:
            RefusedError: It names another host, or comes from another origin.
        """
        host = self.headers.get("Host", "")
        port = self.dashboard.server_address[1]
        if not self.dashboard.token:
            names = (
                "127.0.0.1",
                "localhost",
                "[::1]",
                str(self.dashboard.server_address[0]),
            )
            if host not in {f"{name}:{port}" for name in names}:
                raise RefusedError(HTTPStatus.FORBIDDEN, "This is not that host.")
        origin = self.headers.get("Origin")
        if origin is not None and origin != f"http://{host}":
            raise RefusedError(HTTPStatus.FORBIDDEN, "Other pages get no answer.")
        if self.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site") and (
            self.headers.get("Sec-Fetch-Mode") != "navigate"
        ):
            raise RefusedError(HTTPStatus.FORBIDDEN, "Other pages get no answer.")

    def _let_in(self, query: Mapping[str, str]) -> bool:
        """Tell whether to go on; a token in the address becomes a cookie first.

        Raises:
            RefusedError: The token is missing, or wrong.
        """
        token = self.dashboard.token
        if not token or _same(self._cookie(), token):
            return True
        if not _same(query.get("token", ""), token):
            text = "The whole address is needed, as the command has printed it."
            raise RefusedError(HTTPStatus.UNAUTHORIZED, text)
        cookie = f"{COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/"
        self._send(b"", "text/plain", HTTPStatus.SEE_OTHER, Location="/",
                   **{"Set-Cookie": cookie})  # fmt: skip
        return False

    def _cookie(self) -> str:
        try:
            found = SimpleCookie(self.headers.get("Cookie", "")).get(COOKIE)
        except CookieError:
            return ""
        return found.value if found else ""

    # -- Answers

    def _route(self, path: str, query: Mapping[str, str]) -> None:
        match path.split("/")[1:]:
            case [""]:
                self._send(shell().encode(), "text/html; charset=utf-8")
            case ["static", name] if name in bundle.names():
                suffix = name[name.rindex(".") :]
                self._send(bundle.file(name), bundle.TYPES[suffix])
            case ["api", "runs"]:
                self._send(self.dashboard.runs.listed(), JSON)
            case ["api", "runs", name, "overview"]:
                self._send(self.dashboard.runs.history(name).overview(), JSON)
            case ["api", "runs", name, "columns"]:
                first, unit = (_number(query.get(key, "0")) for key in ("from", "unit"))
                data = self.dashboard.runs.history(name).columns(first, unit)
                self._send(data, "application/octet-stream")
            case ["api", "runs", name, "tasks", task]:
                told = self.dashboard.runs.history(name).details(_number(task))
                self._send(json.dumps(told).encode(), JSON)
            case ["api", "events"]:
                self._stream(query.get("run", ""))
            case _:
                raise RefusedError(HTTPStatus.NOT_FOUND, "There is nothing here.")

    def _stream(self, name: str) -> None:
        """Tell the page of each change, as server-sent events, until it goes."""
        streams = self.dashboard.streams
        if not streams.enter(self.connection):
            text = "Too many pages are open already."
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, text)
        try:
            with self.dashboard.runs.watching(name) as wait:
                self._head("text/event-stream", HTTPStatus.OK, {"Connection": "close"})
                self.wfile.write(b"retry: 1000\nevent: change\ndata: 0\n\n")
                known, beat = 0, monotonic()
                while not (self.dashboard.runs.stopped or has_gone(self.connection)):
                    now = wait(known, LOOK_S)
                    if now != known:
                        self.wfile.write(f"event: change\ndata: {now}\n\n".encode())
                    elif monotonic() - beat >= BEAT_S:
                        self.wfile.write(b":\n\n")
                    else:
                        continue
                    known, beat = now, monotonic()
        finally:
            streams.leave(self.connection)

    def _send(
        self, body: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK, **more: str
    ) -> None:
        self._head(kind, status, {"Content-Length": str(len(body)), **more})
        self.wfile.write(body)

    def _head(self, kind: str, status: HTTPStatus, more: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": kind, **more}.items():
            self.send_header(name, value)
        self.end_headers()

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        body = json.dumps({"error": reason}).encode()
        self._send(body, JSON, status, Connection="close")


def shell() -> str:
    """Return the page that loads everything else."""
    return bundle.frame(
        "Jackfield",
        '<link rel="stylesheet" href="/static/page.css">\n'
        '<script type="module" src="/static/dashboard.js"></script>',
        "<noscript>The dashboard is drawn by JavaScript; `jackfield runs` is not."
        "</noscript>",
    )


def _number(text: str) -> int:
    """Read a number of a task.

    Raises:
        RefusedError: It is none.
    """
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "That is no number of a task.")
    return int(text)


def _same(one: str, other: str) -> bool:
    """Compare without telling by time how much of it is right."""
    return hmac.compare_digest(one.encode(), other.encode())
