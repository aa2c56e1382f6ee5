"""An HTTP server that does on the wire what an honest one cannot be made to do."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal, Self

from jackfield_testing.servers._http_fault import HTTPFault
from jackfield_testing.servers._http_resource import (
    Policy,
    Version,
    failed_condition,
    represent,
)
from jackfield_testing.servers._http_wire import (
    Answer,
    BadRequestError,
    Channel,
    Request,
    Upload,
    read_request,
)
from jackfield_testing.servers._listening import HOST, Listener

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import TracebackType


class HostileHTTPServer:
    """Serves bytes on 127.0.0.1 honestly, except where a fault was set.

    It runs from its construction until it is closed, on daemon threads, one for each
    connection. It speaks HTTP/1.1 with connections that are kept: GET, HEAD and PUT;
    strong ETags and ``Last-Modified``, both changing with the content; single ranges
    with ``If-Range``; ``If-Match`` and ``If-None-Match``; ``Expect: 100-continue``.
    A PUT answers 201 for a new file and 204 for another version.

    ```python
    with HostileHTTPServer({"/x": b"content"}) as server:
        server.fault("/x", Truncate(at=3), times=2)
        fetch(server.url("/x"))
        assert server.count("GET", "/x") == 3
    ```

    All methods may be called on any thread, at any time.

    Attributes:
        files: Contents by path, as the path stands in a request (not decoded). May
            be changed at any time; a request sees one version.
        release: Set it to let all stalled answers go on. Closing sets it.
        stalled: Set when an answer begins to stall; clear it to wait for the next.
    """

    def __init__(
        self,
        files: Mapping[str, bytes] | None = None,
        *,
        authorization: str | None = None,
        protected: Iterable[str] = ("PUT",),
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Begin to serve.

        Args:
            files: What there is at first; copied.
            authorization: The value that the ``Authorization`` header must have,
                for instance ``"Bearer token"``; other requests are answered with 401.
            protected: The methods that need it.
            ssl_context: Makes it an https server, with the context's certificate.
        """
        self.files: dict[str, bytes] = dict(files or {})
        self.release: threading.Event = threading.Event()
        self.stalled: threading.Event = threading.Event()
        self._authorization = authorization
        self._protected = frozenset(protected)
        self._scheme = "http" if ssl_context is None else "https"
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._planned: list[_Planned] = []
        self._requests: list[Request] = []
        self._versions: dict[str, Version] = {}
        self._listener = Listener(self._serve, ssl_context)

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
        return f"<{type(self).__name__} {self.url('/')}>"

    def close(self) -> None:
        """Cut all connections and wait for the threads. May be called again.

        Raises:
            RuntimeError: A thread did not end within ten seconds.
        """
        self._closed.set()
        self.release.set()
        self._listener.close()

    @property
    def port(self) -> int:
        """The port."""
        return self._listener.port

    def url(self, path: str) -> str:
        """Give the URL of a path."""
        return f"{self._scheme}://{HOST}:{self.port}{path}"

    def fault(
        self,
        path: str,
        fault: HTTPFault,
        times: int | None = None,
        *,
        methods: Sequence[str] | None = None,
    ) -> None:
        """Let a fault happen to requests for a path.

        Lasting faults (``BadRange``, ``Gzip``, ``HugeHeaders``, ``NoETag``,
        ``NoRanges``, ``WeakETag``) go together with any other. Of the rest, one
        happens to a request: the first that was set and is not used up. So
        ``Status(503)`` twice and then ``Truncate`` once are two calls in that order.

        Args:
            path: The path, without a query; ``"*"`` stands for all.
            fault: What happens.
            times: To how many requests; None stands for all.
            methods: To which; None leaves it to the fault, see its ``methods``.
        """
        chosen = frozenset(fault.methods if methods is None else methods)
        with self._lock:
            self._planned.append(_Planned(path, fault, times, chosen))

    def heal(self, path: str | None = None) -> None:
        """Drop the faults that were set for a path, or all.

        An exchange that has begun goes on as it began.
        """
        with self._lock:
            self._planned = [
                planned
                for planned in self._planned
                if path is not None and planned.path != path
            ]

    @property
    def requests(self) -> list[Request]:
        """The requests so far, each noted before it is answered. A copy."""
        with self._lock:
            return list(self._requests)

    def count(self, method: str | None = None, path: str | None = None) -> int:
        """Count the requests with a method and a path; None stands for any."""
        return sum(
            method in (None, request.method) and path in (None, request.path)
            for request in self.requests
        )

    @property
    def connections(self) -> int:
        """The greatest number of connections that were open at once."""
        return self._listener.most

    @property
    def accepted(self) -> int:
        """The number of connections that were made so far."""
        return self._listener.accepted

    def _serve(self, connection: socket.socket) -> None:
        channel = Channel(connection)
        ending = "keep"
        while ending == "keep":
            try:
                ending = self._serve_one(channel)
            except BadRequestError as error:
                answer = Answer.of(400, str(error).encode())
                channel.send(answer.head() + answer.body)
                ending = "close"
        if ending == "close":
            channel.finish()
        else:
            channel.reset()

    def _serve_one(self, channel: Channel) -> str:
        request = read_request(channel)
        with self._lock:
            self._requests.append(request)
            faults = self._due(request)
        exchange = _Exchange(self, request)
        policy = Policy()
        for fault in faults:
            policy = fault.policy(policy)
        normal = self._normal(channel, exchange, policy, faults[-1])
        if exchange.ending != "reset":
            answer = _answer(normal, exchange, faults)
            _send(channel, answer, exchange, faults[-1])
        return exchange.ending

    def _due(self, request: Request) -> list[HTTPFault]:
        """Return the lasting faults and, as the last one, the one that is due."""
        lasting = []
        single = None
        for planned in self._planned:
            if not planned.concerns(request):
                continue
            if planned.fault.lasting:
                lasting.append(planned)
            elif single is None:
                single = planned
        for planned in [*lasting, *filter(None, [single])]:
            planned.left = None if planned.left is None else planned.left - 1
        last = HTTPFault() if single is None else single.fault
        return [*(planned.fault for planned in lasting), last]

    def _normal(
        self, channel: Channel, exchange: _Exchange, policy: Policy, fault: HTTPFault
    ) -> Callable[[], Answer]:
        """Read the request's body; return the function that makes the honest answer."""
        request = exchange.request
        denied = self._denied(request)
        if request.method == "PUT":
            version = self._version(request.path)
            validators = {} if version is None else version.validators(policy)
            denied = denied or failed_condition(
                request, validators, exists=version is not None
            )
            body = _receive(channel, exchange, fault, denied)
            return lambda: denied or self._store(request.path, body)
        Upload(channel, request).rest()
        return lambda: denied or self._read(request, policy)

    def _denied(self, request: Request) -> Answer | None:
        given = request.headers.get("authorization")
        if self._authorization is None or request.method not in self._protected:
            return None
        if given == self._authorization:
            return None
        answer = Answer.of(401, b"who are you?\n")
        answer.headers["WWW-Authenticate"] = 'Basic realm="files"'
        return answer

    def _read(self, request: Request, policy: Policy) -> Answer:
        if request.method not in ("GET", "HEAD"):
            answer = Answer.of(405, b"no such method\n")
            answer.headers["Allow"] = "GET, HEAD, PUT"
            return answer
        version = self._version(request.path)
        if version is None:
            return Answer.of(404, b"no such file\n")
        return represent(version, policy, request)

    def _store(self, path: str, body: bytes) -> Answer:
        new = path not in self.files
        self.files[path] = body
        return Answer.of(201) if new else Answer(204)

    def _version(self, path: str) -> Version | None:
        """Return the current version of a file; each new content seen gets a number."""
        content = self.files.get(path)
        if content is None:
            return None
        with self._lock:
            seen = self._versions.get(path)
            if seen is None or seen.content != content:
                number = 0 if seen is None else seen.number + 1
                self._versions[path] = seen = Version(content, number)
            return seen


@dataclass(slots=True)
class _Planned:
    """A fault that was set; ``left`` is how often it may still happen."""

    path: str
    fault: HTTPFault
    left: int | None
    methods: frozenset[str]

    def concerns(self, request: Request) -> bool:
        """Whether it happens to a request."""
        return (
            self.path in ("*", request.path)
            and self.left != 0
            and request.method in self.methods
        )


class _Exchange:
    """What a fault sees of a request and its server."""

    def __init__(self, server: HostileHTTPServer, request: Request) -> None:
        self.request = request
        self.files = server.files
        self.ending: Literal["keep", "close", "reset"] = "keep"
        if "close" in request.headers.get("connection", "").lower():
            self.ending = "close"
        self._server = server

    def stall(self) -> None:
        self._server.stalled.set()
        self._server.release.wait()

    def pause(self, seconds: float) -> None:
        self._server._closed.wait(seconds)

    def close(self) -> None:
        if self.ending == "keep":
            self.ending = "close"

    def reset(self) -> None:
        self.ending = "reset"


def _receive(
    channel: Channel, exchange: _Exchange, fault: HTTPFault, denied: Answer | None
) -> bytes:
    if exchange.request.headers.get("expect", "").lower() == "100-continue":
        if denied is not None:
            exchange.close()  # the body will not come
            return b""
        channel.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    return fault.receive(Upload(channel, exchange.request), exchange)


def _answer(
    normal: Callable[[], Answer], exchange: _Exchange, faults: list[HTTPFault]
) -> Answer:
    for fault in faults:
        normal = partial(fault.answer, normal, exchange)
    return normal()


def _send(
    channel: Channel, answer: Answer, exchange: _Exchange, fault: HTTPFault
) -> None:
    if exchange.ending == "reset":
        return
    if exchange.ending == "close" and answer.raw is None:
        answer.headers.setdefault("Connection", "close")
    channel.send(answer.head())
    method = exchange.request.method
    if method == "HEAD" or answer.status in (204, 304):
        return
    source = fault if method == "GET" else HTTPFault()
    for block in source.stream(answer, exchange):
        channel.send(block)
