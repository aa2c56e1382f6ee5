"""The contract with staging providers: what they are given, and what they answer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, TypeVar

from jackfield.errors import ConfigurationError, TransferCancelledError, suggest
from jackfield.files import redact

if TYPE_CHECKING:
    from threading import Event

T = TypeVar("T")

log: Final = logging.getLogger("jackfield.staging")


@dataclass(frozen=True, slots=True)
class RemoteInfo:
    """What a server says of a file; every field may be unknown.

    Attributes:
        size: Its length in bytes.
        etag: A validator: text that changes with the content, as the server writes it.
            A weak one (``W/"..."``) is compared, but no transfer is resumed by it.
        modified: When the file was changed last, as the server writes it.
        settled: Whether the provider knows that all bytes are of one version. If not,
            the kernel asks the server again after the transfer.
    """

    size: int | None = None
    etag: str | None = None
    modified: str | None = None
    settled: bool = False

    def differs(self, other: RemoteInfo) -> str | None:
        """Say in a sentence how a later answer differs from this one, or ``None``.

        What one of the two does not know makes no difference.
        """
        for name in ("etag", "size", "modified"):
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours is not None and theirs is not None and ours != theirs:
                return f"its {name} was {ours!r} and is {theirs!r}"
        return None


def warn_alone(text: str) -> None:
    """Log a warning where there is no run that it could be told to: in a worker."""
    log.warning("%s", text)


UNKNOWN: Final = RemoteInfo()
"""What is known of a file before anybody has asked: nothing."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a provider waits for a server, in seconds.

    Attributes:
        connect: For a connection to be made.
        idle: For the next byte. A transfer may take any time while bytes move.
    """

    connect: float = 10.0
    idle: float = 60.0


class Stop:
    """Ends a transfer from outside, on any thread.

    It has a flag, for code that looks at it between two blocks of a file, and
    *breakers*, functions that break a blocking call, such as a socket's ``shutdown``.
    The thread that moves the file adds a breaker before it blocks and removes it
    afterwards. To add it and to look at the flag is one step, with the lock held, and
    so is to set the flag. So whoever stops the transfer either finds the breaker and
    calls it, or has set the flag before, and then ``add`` says so.
    """

    def __init__(self) -> None:
        self.event: Event = threading.Event()
        self._lock: threading.Lock = threading.Lock()
        self._breakers: list[Callable[[], object]] = []

    def stop(self) -> None:
        """Stop the transfer for good. Never raises."""
        with self._lock:
            self.event.set()
        self.interrupt()

    def interrupt(self) -> None:
        """Break the blocking calls of the moment; the transfer may try again."""
        with self._lock:
            breakers = list(self._breakers)
        for breaker in breakers:
            try:
                breaker()
            except Exception:  # noqa: S112  (what it would break has ended just now)
                continue

    def add(self, breaker: Callable[[], object]) -> bool:
        """Add a breaker; return False if the transfer was stopped before.

        Then nobody calls the breaker any more. It has to be removed in either case.
        """
        with self._lock:
            self._breakers.append(breaker)
            return not self.event.is_set()

    def remove(self, breaker: Callable[[], object]) -> None:
        """Remove a breaker, once for each ``add``."""
        with self._lock:
            self._breakers.remove(breaker)


@dataclass(eq=False, kw_only=True)
class Remote:
    """A remote file, or directory, and how to talk to its server.

    Attributes:
        url: Its URL. It may hold a password, so it must not be shown; ``str(remote)``
            may be.
        options: The provider's own keys of the tables ``[staging.SCHEME]`` and
            ``[staging.SCHEME.hosts."HOST"]``; see ``read_options``.
        credentials: What the configuration's ``credentials = "name"`` stands for:
            names such as ``user``, ``password``, ``key``, ``secret``, ``token``.
            Empty if there is none. Must not be shown.
        timeouts: To be given to whatever waits for the server.
        stop: Ends the transfer; see ``cancelled``, ``check`` and ``broken_by``.
        warn: Called with a sentence, writes a warning to the log of the run, once.
    """

    url: str
    options: Mapping[str, Any] = field(default_factory=dict)
    credentials: Mapping[str, str] = field(default_factory=dict)
    timeouts: Timeouts = Timeouts()
    stop: Stop = field(default_factory=Stop)
    warn: Callable[[str], object] = warn_alone

    @property
    def scheme(self) -> str:
        """The URL's scheme, in lower case; ``file`` for a plain path."""
        scheme, mark, _ = self.url.partition(":/")
        return scheme.lower() if mark and "/" not in scheme else "file"

    @property
    def cancelled(self) -> Event:
        """An event that is set when nobody wants the file any more."""
        return self.stop.event

    def check(self) -> None:
        """Raise ``TransferCancelledError`` if nobody wants the file any more."""
        if self.stop.event.is_set():
            raise TransferCancelledError(redact(self.url))

    @contextmanager
    def broken_by(self, breaker: Callable[[], object]) -> Iterator[None]:
        """Have a blocking call broken when the transfer is cancelled or stalls.

        ``breaker`` is called on another thread while the block runs, perhaps more than
        once: a socket's ``shutdown``, a process's ``kill``. What the block raises then
        does not matter.

        Raises:
            TransferCancelledError: It has been cancelled already.
        """
        in_time = self.stop.add(breaker)
        try:
            if not in_time:
                self.check()
            yield
        finally:
            self.stop.remove(breaker)

    def read_options(self, kind: type[T]) -> T:
        """Return the options as an object of a dataclass of the provider's.

        The dataclass's fields are the options that exist; each has a default, whose
        type an option must have.

        Raises:
            ConfigurationError: An option is none of the fields, or of another type.
        """
        if not self.options:
            return kind()
        table = f"staging.{self.scheme}"
        known = {one.name: one for one in fields(kind)}  # type: ignore[arg-type]  # a dataclass, says the caller
        for name in self.options:
            if name not in known:
                raise ConfigurationError(
                    f"{table}.{name} is no option{suggest(name, known)} There are: "
                    f"{', '.join(sorted(known))}."
                )
        made, usual = kind(**self.options), kind()
        for name, value in self.options.items():
            default = getattr(usual, name)
            if default is not None and not isinstance(value, type(default)):
                given, expected = type(value).__name__, type(default).__name__
                raise ConfigurationError(
                    f"{table}.{name} is of type {given}; expected {expected}."
                )
        return made

    def __str__(self) -> str:
        """The URL without secrets."""
        return redact(self.url)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {redact(self.url)}>"
