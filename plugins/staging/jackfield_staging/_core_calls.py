"""Calling a filesystem for one transfer, which may be cut off at any moment.

fsspec's own ``sync`` leaves a coroutine running when its caller is interrupted, so that
a file grows, or an object appears, after the transfer has ended. Here what was begun
ends with the transfer.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import closing, suppress
from typing import Any, BinaryIO, Final, TypeVar

from jackfield import JackfieldError, RemoteInfo, Transfer, TransferError, clock
from jackfield.errors import one_line
from jackfield_staging._core_files import BLOCK, Files, Head, Runs, get_loop

T = TypeVar("T")

SOON_S: Final = 0.2  # that what has come from a generator on the loop waits for more
TIDY_S: Final = 0.3  # for a blocking call that is given up to tidy up after itself
FEW: Final = 1 << 16  # bytes of a file that are sent at once, and digested on the loop
TIDY_LOOP_S: Final = 6.0  # for a coroutine that sends; it limits itself to less


class Loan:
    """A filesystem in the hands of one transfer.

    The transfer is cut off from it as a whole, by whoever cancels it or sees that it
    moves no more, on another thread. That may come in the middle of a call or between
    two, where it must not go lost: so ``cut`` raises a flag and cancels the call that
    is noted, under a lock; and under that lock the next call looks at the flag, begins
    and is noted. It may also come when the transfer has just ended, and must not hit
    the next one: so ``close``, under that lock, turns it off.

    Attributes:
        files: The filesystem.
        path: What the transfer is about, as the filesystem's methods are given it.
        usable: Whether the filesystem can be lent to somebody else afterwards.
    """

    def __init__(self, remote: Any, files: Files, path: Any) -> None:
        self.usable = True
        self.files = files
        self.path = path
        self._remote = remote  # a Transfer, where bytes are to move
        self._lock = threading.Lock()
        self._is_cut = False
        self._is_over = False
        self._pending: Future[Any] | None = None
        self._failure: Exception | None = None

    def cut(self) -> None:
        """Break off what is under way, and all that would follow. On any thread."""
        with self._lock:
            if self._is_over:
                return
            self._is_cut = True
            if self._pending is not None:
                self._pending.cancel()
            self.files.cut()

    def close(self) -> None:
        """Let the filesystem go, which nobody is to cut for this transfer any more."""
        with self._lock:
            self._is_over = True

    def call(self, function: Callable[..., Any], *given: Any) -> Any:
        """Call a function of the filesystem where it has to run; return its result.

        It raises what the filesystem's error means, or that the transfer was cut off.
        """
        try:
            if self.files.runs is Runs.CALLER:
                return function(*given)
            return self._call_elsewhere(function, *given)
        except JackfieldError:
            raise
        except Exception as error:
            self._remote.check()
            if self._is_cut:
                reason = f"nothing moved for {self._remote.timeouts.idle:g} s"
                raise TransferError(str(self._remote), reason, True) from error
            self.files.explain(self._remote, error)
            if isinstance(error, ValueError | LookupError | ArithmeticError):
                reason = f"the answer cannot be understood: {one_line(error)}"
                raise TransferError(str(self._remote), reason) from error
            raise

    def _call_elsewhere(self, function: Callable[..., Any], *given: Any) -> Any:
        self._remote.check()
        thread = None
        with self._lock:
            if self._is_cut:
                raise CancelledError
            if self.files.runs is Runs.LOOP:
                future = asyncio.run_coroutine_threadsafe(function(*given), get_loop())
            else:
                future, thread = apart(function, *given)
            self._pending = future
        try:
            return future.result()
        except CancelledError:
            if thread is not None:
                thread.join(TIDY_S)
            raise
        finally:
            self._pending = None
            # It goes on if this thread was interrupted: nobody wants its result now.
            if future.cancel():
                self.usable = False

    def look(self) -> RemoteInfo:
        """Return what is known of the file now."""
        info: RemoteInfo = self.call(self.files.look, self._remote, self.path)
        return info

    def find(self) -> dict[str, RemoteInfo]:
        """Return the URL of each file below, with what is known of it."""
        found = self.files.listed(self.call, self._remote, self.path)
        return {self._remote.url + name: info for name, info in found.items()}

    def receive(self) -> RemoteInfo:
        """Have the file written where the transfer says; return what is known of it."""
        with closing(self._items()) as items:
            head: Head = next(items)
            info = head.info

            def blocks() -> Iterator[bytes]:
                nonlocal info
                for item in items:
                    if isinstance(item, RemoteInfo):
                        info = item
                    else:
                        yield from item

            self._remote.receive(blocks(), info, start=head.start)
        return info

    def _items(self) -> Generator[Any]:
        """Give what the filesystem's generator gives, and close that in the end."""
        stream, ended = self.files.stream(self._remote, self.path), False
        on_loop = self.files.runs is Runs.LOOP
        take = self._some if on_loop else _one
        try:
            while not ended:
                *items, last = self.call(take, stream)
                yield from items
                ended = last is None
                if not ended:
                    yield last
        finally:
            if on_loop and not ended:
                # If a step of the generator is under way, ``call`` has cancelled it,
                # and the generator ends with it. But the step may have ended before
                # that arrived: then the generator is still open, and is closed here.
                asyncio.run_coroutine_threadsafe(stream.aclose(), get_loop())
            elif self.usable and not ended:  # else it hangs
                self.call(stream.close)

    async def _some(self, stream: AsyncGenerator[Any]) -> list[Any]:
        """Take what comes soon, up to a block; ``None`` is the end.

        So a small file costs one change of threads.
        An error is raised the next time, when what has come before it is written. Never
        is a head taken alone: an error meanwhile would cost what has come behind it.
        """
        if self._failure is not None:
            raise self._failure
        items, size, late = [], 0, clock.monotonic() + SOON_S
        try:
            async for item in stream:
                items.append(item)
                if isinstance(item, list):
                    size += sum(map(len, item))
                    if size >= BLOCK or clock.monotonic() > late:
                        break
            else:
                items.append(None)
        except Exception as error:
            self._failure = error
            if not items:
                raise
        return items

    def send(self) -> Any:
        """Have the transfer's file sent; return what is there then."""
        send = self.files.send
        if self.files.runs is not Runs.LOOP:
            return self.call(send, self._remote, self.path)
        with closing(Outgoing(self._remote)) as outgoing:
            try:
                return self.call(outgoing.sent_by, send, self.path)
            except Exception:
                outgoing.tidied()
                if outgoing.failure is not None:
                    # It came first, and says more than what a connection makes of it.
                    raise outgoing.failure from None
                raise


def _one(stream: Generator[Any]) -> list[Any]:
    return [next(stream, None)]


def apart(
    function: Callable[..., T], *given: Any
) -> tuple[Future[T], threading.Thread]:
    """Call a function on a thread of its own, which may be left where it hangs."""
    future: Future[T] = Future()
    thread = threading.Thread(
        target=_settle, args=(future, function, *given), daemon=True
    )
    thread.start()
    return future, thread


def _settle(future: Future[T], function: Callable[..., T], *given: Any) -> None:
    """Call a function and tell its future, which may have been cancelled meanwhile."""
    with suppress(InvalidStateError):
        try:
            result = function(*given)
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)


class Outgoing:
    """The file of a stage-out, as a filesystem on the loop sees it.

    A disk may be slow, and the loop is everybody's: so the file is read on threads
    apart. Its first block is read before, so that a small file needs none.

    Attributes:
        transfer: Whose it is.
        size: Its length in bytes.
        failure: What went wrong with reading it.
    """

    def __init__(self, transfer: Transfer) -> None:
        self.transfer = transfer
        self.failure: Exception | None = None
        self._file = transfer.open()
        self._reading = threading.Lock()
        self._ended = threading.Event()
        self._ended.set()
        try:
            self.size = os.fstat(self._file.fileno()).st_size
            self._first = self._file.read(BLOCK)
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file, when a thread that still reads it has done so.

        Closed before, its number might be another file's by the time of the read.
        """
        with self._reading:
            self._file.close()

    async def read(self, offset: int) -> bytes:
        """Return some bytes from an offset on, about ``BLOCK``; there are some."""
        if offset < len(self._first):
            return self._first[offset:] if offset else self._first

        def read_on(file: BinaryIO) -> bytes:
            if file.tell() != offset:
                file.seek(offset)
            return file.read(BLOCK)

        block = await self.work(read_on)
        if not block:
            reason = "the file became shorter while it was sent"
            self.failure = TransferError(str(self.transfer), reason)
            raise self.failure
        return block

    async def work(self, function: Callable[..., T], *given: Any) -> T:
        """Call a function of the file on a thread apart; return its result."""

        def act() -> T:
            with self._reading:
                return function(self._file, *given)

        try:
            result: T = await asyncio.wrap_future(apart(act)[0])
        except Exception as error:
            self.failure = error
            raise
        return result

    def held(self, start: int, size: int) -> bytes | None:
        """Return some of the file's bytes if they are few, and here already."""
        end = start + size
        few = size <= FEW and end <= len(self._first)
        return self._first[start:end] if few else None

    def moves(self) -> None:
        """Say that bytes have gone, which were counted when they were read."""
        self.transfer.active = clock.monotonic()

    async def sent_by(
        self, send: Callable[[Outgoing, Any], Coroutine[Any, Any, T]], path: Any
    ) -> T:
        """Send it, and tell the transfer's thread when that has ended for good."""
        self._ended.clear()
        try:
            return await send(self, path)
        finally:
            self._ended.set()

    def tidied(self) -> None:
        """Wait for a coroutine that was cancelled to remove what it has begun."""
        self._ended.wait(TIDY_LOOP_S)
