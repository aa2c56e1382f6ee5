"""The HTTP sessions of this process: two, with all connections that are kept.

They are made and used on fsspec's thread only. What differs between transfers
(timeouts, certificates, credentials) goes with each request.
"""

from __future__ import annotations

import asyncio
import atexit
import errno
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import aiohttp
from fsspec.asyn import get_loop
from fsspec.implementations.http import HTTPFileSystem

from jackfield_staging._http_rules import is_public

BUFFER: Final = 1 << 19
"""Bytes that a connection takes in ahead of who reads it; up to twice as many."""

_CLOSING_S: Final = 2.0
"""Seconds that closing idle connections may take."""

_lock = threading.Lock()
_users = 0
_filesystems: dict[tuple[int, bool], HTTPFileSystem] = {}
"""By process and guard. A child keeps its parent's, to touch them never again: both
share what the loop waits on."""


@contextmanager
def used() -> Iterator[None]:
    """Keep the sessions open while the block runs. On any thread."""
    global _users  # noqa: PLW0603  (a count of the process)
    with _lock:
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1


async def session(*, guarded: bool = False) -> aiohttp.ClientSession:
    """Return the session. On fsspec's thread.

    Args:
        guarded: Whether it is to connect to public addresses only.
    """
    key = (os.getpid(), guarded)
    if key not in _filesystems:
        _filesystems[key] = HTTPFileSystem(
            # Not "asynchronous", it would be closed by a finalizer, also in a child.
            asynchronous=True,
            skip_instance_cache=True,
            get_client=_open_guarded if guarded else _open,
        )
    made: aiohttp.ClientSession = await _filesystems[key].set_session()
    return made


async def _open(
    factory: Any = None,
    **_: object,
) -> aiohttp.ClientSession:
    # The engine limits how many connections a host gets; a second limit here could
    # only make transfers wait that are counted as running.
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, socket_factory=factory),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        read_bufsize=BUFFER,
    )


async def _open_guarded(**_: object) -> aiohttp.ClientSession:
    return await _open(_public_socket)


def _public_socket(target: Any) -> socket.socket:
    """Make the socket for an address that was resolved, if it is a public one.

    Here and not before, because a name may be resolved to something else each time.
    """
    family, kind, protocol, _, address = target
    if not is_public(address[0]):
        raise OSError(errno.EACCES, "the address is not a public one")
    return socket.socket(family, kind, protocol)


# -- The end


def close_idle() -> None:
    """Close all connections, unless a transfer uses the sessions. On any thread."""
    if not any(pid == os.getpid() for pid, _ in _filesystems):
        return
    closing = asyncio.run_coroutine_threadsafe(_close(), get_loop())
    with suppress(TimeoutError):
        closing.result(_CLOSING_S)


async def _close() -> None:
    # A transfer counts as user before it comes to this thread for a session: so
    # either it is seen here, or it will find these gone and make new ones.
    if _users:
        return
    own = [key for key in _filesystems if key[0] == os.getpid()]
    for filesystem in [_filesystems.pop(key) for key in own]:
        made = await filesystem.set_session()
        await made.close()


def _after_fork() -> None:
    global _lock, _users
    _lock, _users = threading.Lock(), 0


os.register_at_fork(after_in_child=_after_fork)
atexit.register(close_idle)
