"""Filesystems of fsspec, lent to transfers.

An asynchronous one is shared by all transfers that want the same; its coroutines run
on fsspec's thread. Any other belongs to one transfer at a time and to a thread of its
own, which lives as long as it does: so a transfer that is cancelled, or whose server
is silent, can leave while the call that hangs still hangs, and what that call brings
later goes nowhere.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from jackfield import ConfigurationError
from jackfield_staging import _loop
from jackfield_staging._any_errors import explained

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

    from jackfield import Remote
    from jackfield_staging._any_access import Access

T = TypeVar("T")

Key: TypeAlias = tuple[object, ...]

MOST_IDLE: Final = 16
TIDY_S: Final = 0.3
"""Seconds that a call which is given up has to remove what it has begun."""


class Lease:
    """A filesystem and the means to call it."""

    def __init__(self, shared: bool) -> None:
        self.shared: bool = shared
        self.usable: bool = False
        self.filesystem: AbstractFileSystem
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    def open(self, remote: Remote, access: Access) -> None:
        """Make the filesystem, which may mean to connect."""
        if not self.shared:
            threading.Thread(
                target=self._work, name="jackfield-fsspec", daemon=True
            ).start()

        def make() -> AbstractFileSystem:
            try:
                return access.kind(**access.arguments, skip_instance_cache=True)
            except TypeError as error:
                raise ConfigurationError(
                    f"staging.{remote.scheme}: {access.kind.__name__} cannot be made "
                    f"with these options: {error}"
                ) from error

        self.filesystem = make() if self.shared else self.call(remote, make)
        self.usable = True

    def call(self, remote: Remote, function: Callable[[], T]) -> T:
        """Call a function on the filesystem's own thread and wait for it.

        Raises:
            TransferCancelledError: The transfer was cancelled. The lease is of no use
                any more.
            TimeoutError: It was broken off because nothing moved any more.
        """
        answer: concurrent.futures.Future[T] = concurrent.futures.Future()
        ended = threading.Event()
        self._calls.put(lambda: _answer(answer, function, ended))
        try:
            with explained(remote), remote.broken_by(answer.cancel):
                return answer.result()
        except concurrent.futures.CancelledError:
            self.usable = False
            ended.wait(TIDY_S)
            remote.check()
            raise TimeoutError("nothing moved any more") from None
        finally:
            self.usable = self.usable and answer.done()

    def alive(self) -> bool:
        """Whether its connection is there, as far as it can be told from here."""
        client = getattr(self.filesystem, "client", None)
        transport = getattr(client, "get_transport", lambda: None)()
        return transport is None or bool(transport.is_active())

    def close(self) -> None:
        """Close its connections, which ends what hangs on them, and its thread."""
        self.usable = False
        filesystem = getattr(self, "filesystem", None)
        client = getattr(filesystem, "client", None)
        for holder in (filesystem, getattr(client, "http", None), client):
            close = getattr(holder, "close", None)
            if close is not None:
                with contextlib.suppress(Exception):
                    close()
                break
        self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            del call


def _answer(
    answer: concurrent.futures.Future[T],
    function: Callable[[], T],
    ended: threading.Event,
) -> None:
    try:
        result = function()
    except BaseException as error:
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            answer.set_exception(error)
    else:
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            answer.set_result(result)
    finally:
        ended.set()


class _Pool:
    """Leases that nobody has, and asynchronous ones that anybody may have."""

    def __init__(self) -> None:
        self.lock: threading.Lock = threading.Lock()
        self.idle: list[tuple[Key, Lease]] = []


_pool = _Pool()


@contextmanager
def lent(remote: Remote, access: Access) -> Iterator[Lease]:
    """Lend a filesystem for the block; keep it for others if nothing went wrong."""
    key = (access.kind, repr(sorted(access.arguments.items())), os.getpid())
    lease = _take(key)
    try:
        if lease is None:
            lease = Lease(shared=access.kind.async_impl)
            lease.open(remote, access)
            if lease.shared:
                _keep(key, lease)
        yield lease
    except FileNotFoundError:
        _give_back(key, lease)
        raise
    except BaseException:
        if lease is not None and not lease.shared:
            lease.close()
        raise
    _give_back(key, lease)


def close_idle() -> None:
    """Let go of all that nobody uses."""
    with _pool.lock:
        idle, _pool.idle = _pool.idle, []
    for _, lease in idle:
        if not lease.shared:
            lease.close()


def _take(key: Key) -> Lease | None:
    """Give a lease that works, and close those that do not."""
    while (lease := _find(key)) is not None and not lease.alive():
        lease.close()
    return lease


def _find(key: Key) -> Lease | None:
    with _pool.lock:
        for number, (other, lease) in enumerate(_pool.idle):
            if other == key:
                return lease if lease.shared else _pool.idle.pop(number)[1]
    return None


def _give_back(key: Key, lease: Lease | None) -> None:
    if lease is None or lease.shared:
        return
    if lease.usable:
        _keep(key, lease)
    else:
        lease.close()


def _keep(key: Key, lease: Lease) -> None:
    with _pool.lock:
        _pool.idle.append((key, lease))
        surplus = _pool.idle.pop(0)[1] if len(_pool.idle) > MOST_IDLE else None
    if surplus is not None and not surplus.shared:
        surplus.close()


def ask(lease: Lease, remote: Remote, method: str, *given: Any, **named: Any) -> Any:
    """Call one of the filesystem's methods the way it has to be called."""
    if lease.shared:
        coroutine = getattr(lease.filesystem, f"_{method}")
        with explained(remote):
            return _loop.run(remote, coroutine(*given, **named))
    function = getattr(lease.filesystem, method)
    return lease.call(remote, lambda: function(*given, **named))


def _forget() -> None:
    """In a forked child: the parent's connections and threads are not ours."""
    _pool.lock = threading.Lock()
    _pool.idle = []


os.register_at_fork(after_in_child=_forget)
