"""Connections that the bytes of S3 objects go over, kept between transfers.

Each request runs on its transfer's own thread, and ends when its socket is shut
down. Proxies are taken from the environment, as botocore does.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from jackfield import TransferError

if TYPE_CHECKING:
    from jackfield import Remote
    from jackfield.staging.remote import Timeouts

READ_SIZE: Final = 1 << 18
"""Bytes that are read at most at a time; less where less has arrived."""

PORTS: Final = {"http": 80, "https": 443}


class Connection(HTTPConnection):
    """One connection, which another thread may break at any time."""

    def __init__(self, site: SplitResult, timeouts: Timeouts) -> None:
        host = site.hostname or ""
        port = site.port or PORTS[site.scheme]
        super().__init__(host, port, blocksize=READ_SIZE)
        self.timeouts: Timeouts = timeouts
        self.context: ssl.SSLContext | None = None
        self.dialled: tuple[str, int] = host, port
        self.tunnel: Mapping[str, str] | None = None
        self.fresh: bool = True

    def connect(self) -> None:
        """Connect, by way of the proxy if there is one."""
        self._dial()
        assert self.sock is not None
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tunnel is not None:
            self._dig()
        if self.context is not None:
            self.sock = self.context.wrap_socket(
                self.sock, server_hostname=self.host, do_handshake_on_connect=False
            )
            self.sock.do_handshake()
        self.sock.settimeout(self.timeouts.idle)

    def _dial(self) -> None:
        """Try the host's addresses; the socket can be broken while it connects."""
        failure: OSError | None = None
        for family, kind, protocol, _, address in socket.getaddrinfo(
            *self.dialled, type=socket.SOCK_STREAM
        ):
            self.sock = socket.socket(family, kind, protocol)
            self.sock.settimeout(self.timeouts.connect)
            try:
                return self.sock.connect(address)
            except OSError as error:
                self.sock.close()
                failure = error
        raise failure or OSError("the host has no address")

    def _dig(self) -> None:
        """Ask the proxy for a connection to the store itself."""
        assert self.sock is not None
        head = f"CONNECT {self.host}:{self.port} HTTP/1.1\r\n"
        lines = {"Host": f"{self.host}:{self.port}", **(self.tunnel or {})}
        head += "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self.sock.sendall(f"{head}\r\n".encode("latin-1"))
        answer = HTTPResponse(self.sock, method="CONNECT")
        answer.begin()
        if answer.status != 200:
            raise ConnectionError(f"the proxy answers {answer.status} {answer.reason}")

    def abort(self) -> None:
        """Break what is under way. On any thread."""
        if self.sock is not None:
            # TLS's own shutdown would pull its state from under the thread that reads.
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)

    def usable(self) -> bool:
        """Whether an idle one is still open: it has nothing to say."""
        if self.sock is None:
            return False
        watch = select.poll()
        watch.register(self.sock, select.POLLIN)
        return not watch.poll(0)


class Connections:
    """The idle connections of one client."""

    def __init__(self, timeouts: Timeouts, verify: str | bool) -> None:
        self._timeouts: Timeouts = timeouts
        self._verify: str | bool = verify
        self._lock: threading.Lock = threading.Lock()
        self._idle: dict[str, list[Connection]] = {}
        self._proxies: dict[str, str] = getproxies()
        self._context: ssl.SSLContext | None = None

    @contextmanager
    def request(
        self,
        remote: Remote,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Any = None,
    ) -> Iterator[HTTPResponse]:
        """Send one request and give the answer; it is to be read inside.

        Raises:
            TransferCancelledError: The transfer was cancelled meanwhile.
            TransferError: The connection could not be made, or broke. Transient.
        """
        site = urlsplit(url)
        connection = self._take(site)
        try:
            with remote.broken_by(connection.abort):
                target, extra = self._target(site)
                headers = {"Host": _host(site), **headers, **extra}
                response = _ask(remote, connection, method, target, headers, body)
                yield response
        except BaseException:
            connection.close()
            raise
        if response.isclosed() and not response.will_close:
            self._give_back(site, connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close the idle ones."""
        with self._lock:
            idle = [one for some in self._idle.values() for one in some]
            self._idle.clear()
        for connection in idle:
            connection.close()

    def _take(self, site: SplitResult) -> Connection:
        while True:
            with self._lock:
                idle = self._idle.get(f"{site.scheme}://{site.netloc}")
                connection = idle.pop() if idle else None
            if connection is None:
                return self._make(site)
            if connection.usable():
                return connection
            connection.close()

    def _give_back(self, site: SplitResult, connection: Connection) -> None:
        connection.fresh = False
        with self._lock:
            self._idle.setdefault(f"{site.scheme}://{site.netloc}", []).append(
                connection
            )

    def _make(self, site: SplitResult) -> Connection:
        connection = Connection(site, self._timeouts)
        if site.scheme == "https":
            connection.context = self._tls()
        proxy = self._proxy(site)
        if proxy is not None:
            connection.dialled = proxy.hostname or "", proxy.port or 80
            if site.scheme == "https":
                connection.tunnel = _proxy_login(proxy)
        return connection

    def _proxy(self, site: SplitResult) -> SplitResult | None:
        proxy = self._proxies.get(site.scheme)
        if not proxy or proxy_bypass(site.hostname or ""):
            return None
        return urlsplit(proxy if "://" in proxy else f"http://{proxy}")

    def _target(self, site: SplitResult) -> tuple[str, Mapping[str, str]]:
        """Return what to ask for, and what to tell a proxy besides."""
        path = f"{site.path}?{site.query}" if site.query else site.path
        proxy = self._proxy(site) if site.scheme == "http" else None
        if proxy is None:
            return path, {}
        return f"http://{site.netloc}{path}", _proxy_login(proxy)

    def _tls(self) -> ssl.SSLContext:
        with self._lock:
            if self._context is None:
                self._context = _tls_context(self._verify)
            return self._context


def _proxy_login(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {b64encode(login.encode()).decode()}"}


def _tls_context(verify: str | bool) -> ssl.SSLContext:
    from botocore.httpsession import where

    if isinstance(verify, str):
        return ssl.create_default_context(cafile=verify)
    context = ssl.create_default_context(
        cafile=os.environ.get("AWS_CA_BUNDLE") or where()
    )
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _host(site: SplitResult) -> str:
    """Return the host as the signature has it: without a port that goes unsaid."""
    return site.netloc.removesuffix(f":{PORTS[site.scheme]}")


def _ask(
    remote: Remote,
    connection: Connection,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: Any,
) -> HTTPResponse:
    """Send a request; a second time if an idle connection turns out to be closed."""
    with network(remote):
        try:
            return _answer(connection, method, target, headers, body)
        except ConnectionError:
            if connection.fresh:
                raise
        remote.check()
        connection.close()
        if body is not None:
            body.seek(0)
        return _answer(connection, method, target, headers, body)


def _answer(
    connection: Connection,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: Any,
) -> HTTPResponse:
    try:
        connection.request(method, target, body, dict(headers))
    except (BrokenPipeError, ConnectionResetError) as error:
        # A store that refuses an upload says why before it hangs up.
        return _last_words(connection, error)
    return connection.getresponse()


def _last_words(connection: Connection, error: OSError) -> HTTPResponse:
    try:
        response = connection.getresponse()
    except (OSError, HTTPException):
        raise error from None
    response.will_close = True
    return response


def blocks(remote: Remote, response: HTTPResponse) -> Iterator[bytes]:
    """Give an answer's body as it arrives.

    Raises:
        TransferError: It ends before the length that was announced. Transient.
    """
    while True:
        with network(remote):
            block = response.read1(READ_SIZE)
        if not block:
            break
        yield block
    if response.length:
        remote.check()
        reason = f"the connection ended with {response.length} bytes still to come"
        raise TransferError(str(remote), reason, transient=True)
    response.close()  # read1 leaves that to others, and only then it is used again


UNREACHABLE: Final = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN}


@contextmanager
def network(remote: Remote) -> Iterator[None]:
    """Take what goes wrong inside for the connection's fault.

    What the local file system raises while a file is sent is left as it is.
    """
    try:
        yield
    except TransferError:
        raise
    except ssl.SSLCertVerificationError as error:
        reason = f"its certificate is not trusted: {error.verify_message}"
        raise TransferError(str(remote), reason) from error
    except (OSError, HTTPException) as error:
        remote.check()
        if not _is_the_network(error):
            raise
        reason = f"the connection failed: {error or type(error).__name__}"
        raise TransferError(str(remote), reason, transient=True) from error


def _is_the_network(error: Exception) -> bool:
    kinds = ConnectionError, TimeoutError, ssl.SSLError, socket.gaierror, HTTPException
    return isinstance(error, kinds) or getattr(error, "errno", 0) in UNREACHABLE
