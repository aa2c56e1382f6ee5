"""Running coroutines of fsspec's filesystems so that they can be stopped.

fsspec's own ``sync`` leaves a coroutine running when its caller is interrupted, so
that a file grows, or an object appears, after the transfer has ended. Here the
coroutine is cancelled with the transfer.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import queue
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, Final, TypeAlias, TypeVar

from fsspec.asyn import get_loop

if TYPE_CHECKING:
    from jackfield import Remote

T = TypeVar("T")

BLOCK: Final = 1 << 20
"""Bytes that are handed over between two threads at a time."""

Pull: TypeAlias = Callable[[int], Coroutine[Any, Any, bytes]]
"""Gives the block of a file that begins at an offset; empty at the end."""


def run(remote: Remote, coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on fsspec's thread and return what it returns.

    Raises:
        TransferCancelledError: The transfer was cancelled; the coroutine is, too.
        TimeoutError: It was broken off because nothing moved any more.
    """
    return _wait(remote, asyncio.run_coroutine_threadsafe(coroutine, get_loop()))


def blocks(remote: Remote, read: Callable[[], Coroutine[Any, Any, T]]) -> Iterator[T]:
    """Give what ``read`` returns until it is empty, reading one block ahead."""
    loop = get_loop()
    ahead = asyncio.run_coroutine_threadsafe(read(), loop)
    try:
        while block := _wait(remote, ahead):
            ahead = asyncio.run_coroutine_threadsafe(read(), loop)
            yield block
    finally:
        ahead.cancel()


def feed(
    remote: Remote, file: BinaryIO, send: Callable[[Pull], Coroutine[Any, Any, T]]
) -> T:
    """Run ``send(pull)`` like ``run``; this thread reads the file for it meanwhile.

    A slow disk keeps nobody else's transfer waiting, and the file is used by no other
    thread than the caller's.

    Raises:
        OSError: The file cannot be read.
    """
    loop = get_loop()
    asked: queue.SimpleQueue[tuple[asyncio.Future[bytes], int] | None]
    asked = queue.SimpleQueue()

    async def pull(offset: int) -> bytes:
        waiter: asyncio.Future[bytes] = loop.create_future()
        asked.put((waiter, offset))
        return await waiter

    future = asyncio.run_coroutine_threadsafe(send(pull), loop)
    future.add_done_callback(lambda _: asked.put(None))
    try:
        with remote.broken_by(future.cancel):
            while (one := asked.get()) is not None:
                waiter, offset = one
                if file.tell() != offset:
                    file.seek(offset)
                loop.call_soon_threadsafe(_give, waiter, file.read(BLOCK))
        return _wait(remote, future)
    finally:
        future.cancel()


def _give(waiter: asyncio.Future[bytes], block: bytes) -> None:
    if not waiter.done():
        waiter.set_result(block)


def _wait(remote: Remote, future: concurrent.futures.Future[T]) -> T:
    try:
        with remote.broken_by(future.cancel):
            return future.result()
    except concurrent.futures.CancelledError:
        remote.check()
        raise TimeoutError("nothing moved any more") from None
    finally:
        future.cancel()
