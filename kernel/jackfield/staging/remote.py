"""What a staging provider is given, and what it answers."""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True)
class RemoteInfo:
    """What the other side tells of a file; every field may be unknown.

    Attributes:
        size: Its length in bytes.
        etag: A validator that changes with the content, as the other side writes it.
            A weak one (``W/"..."``) is compared but never resumed from.
        modified: When it was changed last, as the other side writes it.
        settled: Whether the bytes are known to be of one version, so that the kernel
            need not ask again afterwards.
    """

    size: int | None = None
    etag: str | None = None
    modified: str | None = None
    settled: bool = False

    def differs(self, other: RemoteInfo) -> str | None:
        """Say what two looks at a file disagree on, or ``None``."""
        for name in ("etag", "size", "modified"):
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours is not None and theirs is not None and ours != theirs:
                return f"its {name} was {ours!r} and is {theirs!r}"
        return None


UNKNOWN: Final = RemoteInfo()
"""Nothing is known of a file."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a provider waits for the other side, in seconds.

    Attributes:
        connect: For a connection to be made.
        idle: For the next byte. A transfer may take as long as it likes while bytes
            arrive.
    """

    connect: float = 10.0
    idle: float = 60.0


PATIENCE: Final = Timeouts()
"""The timeouts where nobody has set others."""


class Stop:
    """Ends a transfer from outside: a flag, and what breaks a blocking call."""

    def __init__(self) -> None:
        self.event: Event = threading.Event()
        self._lock: threading.Lock = threading.Lock()
        self._breakers: list[Callable[[], object]] = []

    def stop(self) -> None:
        """Stop it for good. On any thread; never raises."""
        with self._lock:
            self.event.set()
        self.interrupt()

    def interrupt(self) -> None:
        """Break the blocking calls of the moment only."""
        with self._lock:
            breakers = list(self._breakers)
        for breaker in breakers:
            try:
                breaker()
            except Exception:  # noqa: S112  (closing what is closed already)
                continue

    @contextmanager
    def child(self) -> Iterator[Stop]:
        """Give one that is stopped with this one, but may stop, or stall, alone."""
        child = Stop()
        if not self.add(child.stop):
            child.stop()
        try:
            yield child
        finally:
            self.remove(child.stop)

    def add(self, breaker: Callable[[], object]) -> bool:
        """Note a breaker; tell whether it is not too late."""
        with self._lock:
            self._breakers.append(breaker)
            return not self.event.is_set()

    def remove(self, breaker: Callable[[], object]) -> None:
        """Forget a breaker."""
        with self._lock:
            self._breakers.remove(breaker)


@dataclass(eq=False, kw_only=True)
class Remote:
    """A place elsewhere, and how to talk to it.

    Attributes:
        url: Where. Never to be shown: it may hold a password. ``str(remote)`` may.
        options: The provider's own keys of the tables ``[staging.SCHEME]`` and
            ``[staging.SCHEME.hosts."HOST"]``; see ``read_options``.
        credentials: What the configuration's ``credentials = "name"`` stands for:
            names such as ``user``, ``password``, ``key``, ``secret``, ``token``.
            Empty if there is none. Never to be shown.
        timeouts: To be given to whatever waits for the other side.
    """

    url: str
    options: Mapping[str, Any] = field(default_factory=dict)
    credentials: Mapping[str, str] = field(default_factory=dict)
    timeouts: Timeouts = PATIENCE
    stop: Stop = field(default_factory=Stop)

    @property
    def scheme(self) -> str:
        """The URL's scheme, in lower case; ``file`` for a plain path."""
        scheme, mark, _ = self.url.partition("://")
        return scheme.lower() if mark else "file"

    @property
    def cancelled(self) -> Event:
        """Set when nobody wants the file any more."""
        return self.stop.event

    def check(self) -> None:
        """Go on only if somebody still wants the file.

        Raises:
            TransferCancelledError: Nobody does.
        """
        if self.stop.event.is_set():
            raise TransferCancelledError(redact(self.url))

    @contextmanager
    def broken_by(self, breaker: Callable[[], object]) -> Iterator[None]:
        """Have a blocking call broken when the transfer is cancelled or stalls.

        Args:
            breaker: Called at most once, on another thread, while the block runs:
                such as a socket's ``shutdown``, a process's ``kill``. What the block
                raises then does not matter.

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
        """Return the options as a dataclass, whose fields name what there is.

        Every field has a default.

        Raises:
            ConfigurationError: There is an option that it has not, or one of another
                type than its default's.
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
                expected = type(default).__name__
                raise ConfigurationError(
                    f"{table}.{name} is {value!r}; expected {expected}."
                )
        return made

    def __str__(self) -> str:
        """The URL without secrets."""
        return redact(self.url)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {redact(self.url)}>"
