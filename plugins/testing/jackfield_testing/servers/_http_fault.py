"""What the faults of the HTTP server have in common.

A fault is a frozen dataclass whose fields say how much goes wrong. It overrides some of
four methods, each called at its stage of an exchange; one that it does not override
does what an honest server does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jackfield_testing.servers._http_resource import Policy
    from jackfield_testing.servers._http_wire import Answer, Request, Upload


class Exchange(Protocol):
    """One request and its answer, as a fault sees it.

    Attributes:
        request: The request.
        files: The server's files; a fault may change them.
    """

    request: Request
    files: dict[str, bytes]

    def stall(self) -> None:
        """Wait until the server is told to release what it holds, or is closed."""

    def pause(self, seconds: float) -> None:
        """Wait for some seconds, or until the server is closed."""

    def close(self) -> None:
        """End the connection after this exchange, in good order."""

    def reset(self) -> None:
        """End the connection now, by a TCP reset."""


class HTTPFault:
    """What goes wrong with a request; subclass it for faults of your own.

    The methods run on the thread of the connection, in this order: ``policy``,
    ``receive`` (only for PUT), ``answer``, ``stream`` (only for GET).

    Attributes:
        methods: The requests that it applies to, unless ``server.fault`` is given other
            ``methods``.
        lasting: Whether it is a property of the server, such as a missing ETag, which
            shows together with any other fault. Of the faults that are not lasting,
            only the first that is not used up happens to a request.
    """

    methods: ClassVar[tuple[str, ...]] = ("GET", "HEAD", "PUT")
    lasting: ClassVar[bool] = False

    def policy(self, policy: Policy) -> Policy:
        """Change what the server can do for the file."""
        return policy

    def receive(self, upload: Upload, exchange: Exchange) -> bytes:
        """Read the body of a PUT."""
        del exchange
        return upload.rest()

    def answer(self, normal: Callable[[], Answer], exchange: Exchange) -> Answer:
        """Give the answer; ``normal`` makes the honest one (for PUT, it stores)."""
        del exchange
        return normal()

    def stream(self, answer: Answer, exchange: Exchange) -> Iterator[bytes]:
        """Give what is sent after the head, piece by piece."""
        del exchange
        yield answer.body
