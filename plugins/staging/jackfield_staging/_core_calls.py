"""Calling a filesystem for one transfer, which may be cut off at any moment.

fsspec's own ``sync`` leaves a coroutine running when its caller is interrupted, so that
a file grows, or an object appears, after the transfer has ended. Here what was begun
ends with the transfer.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Any, BinaryIO, Final, TypeVar

from jackfield import JackfieldError, Remote, Transfer, TransferError, clock
from jackfield.errors import one_line
from jackfield_staging._core_files import BLOCK, Files, Runs, Stream, get_loop

T = TypeVar("T")

TIDY_S: Final = 0.3  # for a blocking call that is given up to tidy up after itself
TIDY_LOOP_S: Final = 6.0  # for a coroutine that sends; it limits itself to less


class Loan:
    """A filesystem in the hands of one transfer.

    The transfer is cut off from it as a whole, by whoever cancels it or sees that it
    moves no more, on another thread. That may come in the middle of a call or between
    two, where it must not go lost: so ``cut`` raises a flag and cancels the call that
    is noted, under a lock under which ``_note`` looks at the flag, too. It may also
    come when the transfer has just ended, and must not hit the next one: so ``close``,
    under that lock, turns it off.

    Attributes:
        files: The filesystem.
        usable: Whether the filesystem can be lent to somebody else afterwards.
    """

    def __init__(self, remote: Remote, files: Files) -> None:
        self.usable = True
        self._remote = remote
        self.files = files
        self._lock = threading.Lock()
        self._is_cut = False
        self._is_over = False
        self._pending: Future[Any] | None = None
        self._thread: threading.Thread | None = None

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
        with self._explained():
            if self.files.runs is Runs.CALLER:
                return function(*given)
            return self._wait(self._begin(function, *given))

    def _begin(self, function: Callable[..., Any], *given: Any) -> Future[Any]:
        """Have something called elsewhere, unless the transfer is cut off already."""
        self._remote.check()
        if self._is_cut:
            raise CancelledError
        if self.files.runs is Runs.LOOP:
            return asyncio.run_coroutine_threadsafe(function(*given), get_loop())
        future: Future[Any] = Future()
        self._thread = threading.Thread(
            target=_settle, args=(future, function, *given), daemon=True
        )
        self._thread.start()
        return future

    def _wait(self, future: Future[T]) -> T:
        self._note(future)
        try:
            return future.result()
        except CancelledError:
            if self._thread is not None:
                self._thread.join(TIDY_S)
            raise
        finally:
            self._pending = None
            # It goes on if this thread was interrupted: nobody wants its result now.
            if future.cancel():
                self.usable = False

    def _note(self, future: Future[Any]) -> None:
        with self._lock:
            self._pending = future
            if self._is_cut:
                future.cancel()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
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

    @contextmanager
    def streaming(self, transfer: Transfer, path: Any) -> Iterator[Stream]:
        """Give a file's stream, and close it afterwards if it has not ended."""
        on_loop = self.files.runs is Runs.LOOP
        opened: list[Stream] = []
        ended = False
        try:
            if on_loop:
                self.call(self._open_on_loop, opened, transfer, path)
            else:
                opened.append(self.call(self.files.stream, transfer, path))
            yield opened[0]
            ended = opened[0].read is None
        finally:
            # A coroutine may have opened its stream when its cancellation arrives,
            # which then drops it. This arrives later, and finds it in the list.
            if on_loop and not ended:
                get_loop().call_soon_threadsafe(_close_all, opened)
            elif self.usable and not ended:
                self.call(_close_all, opened)

    async def _open_on_loop(self, opened: list[Stream], *given: Any) -> None:
        opened.append(await self.files.stream(*given))

    def blocks(self, stream: Stream) -> Iterator[bytes]:
        """Give a stream's bytes; on the loop, the next are read ahead meanwhile."""
        yield from stream.first
        if stream.read is None:
            return
        if self.files.runs is not Runs.LOOP:
            while block := self.call(stream.read):
                yield block
            return
        with self._explained():
            ahead = self._begin(stream.read)
            try:
                while parts := self._wait(ahead):
                    ahead = self._begin(stream.read)
                    yield from parts
            finally:
                ahead.cancel()

    def send(self, transfer: Transfer, path: Any) -> Any:
        """Have the transfer's file sent; return what is there then."""
        if self.files.runs is not Runs.LOOP:
            return self.call(self.files.send, transfer, path)
        with transfer.open() as file:
            outgoing = Outgoing(transfer, file)
            try:
                with self._explained():
                    return self._send_on_loop(outgoing, path)
            except Exception:
                if outgoing.failure is not None:
                    # It came first, and says more than what a connection makes of it.
                    raise outgoing.failure from None
                raise

    def _send_on_loop(self, outgoing: Outgoing, path: Any) -> Any:
        sending = self._begin(outgoing.sent_by, self.files.send, path)
        try:
            sending.add_done_callback(outgoing.end)
            self._note(sending)
            outgoing.serve()
            return self._wait(sending)
        except Exception:
            outgoing.tidied()
            raise
        finally:
            sending.cancel()  # this thread itself may have been interrupted


def _close_all(opened: list[Stream]) -> None:
    for stream in opened:
        stream.close()


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

    A disk may be slow, and the loop is everybody's: so the file is read on the
    transfer's own thread, which waits for the end anyhow. Its first block is read
    before, so that a small file costs no other change of threads than its request.

    Attributes:
        transfer: Whose it is.
        size: Its length in bytes.
        failure: What went wrong with reading it.
    """

    def __init__(self, transfer: Transfer, file: BinaryIO) -> None:
        self.transfer = transfer
        self.size = os.fstat(file.fileno()).st_size
        self.failure: Exception | None = None
        self._file = file
        self._first = file.read(BLOCK)
        self._begun = False
        self._ended = threading.Event()
        self._asked: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    async def read(self, offset: int) -> bytes:
        """Return some bytes from an offset on, about ``BLOCK``; there are some."""
        if offset < len(self._first):
            return self._first[offset:] if offset else self._first
        block = await self.work(_read, offset)
        if not block:
            reason = "the file became shorter while it was sent"
            self.failure = TransferError(str(self.transfer), reason)
            raise self.failure
        return block

    async def work(self, function: Callable[..., T], *given: Any) -> T:
        """Call a function of the file on the transfer's thread; return its result."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[T] = loop.create_future()

        def tell(set_outcome: Callable[[Any], None], outcome: object) -> None:
            if not waiter.done():  # or cancelled meanwhile
                set_outcome(outcome)

        def act() -> None:
            try:
                result = function(self._file, *given)
            except Exception as error:
                self.failure = error
                loop.call_soon_threadsafe(tell, waiter.set_exception, error)
            else:
                loop.call_soon_threadsafe(tell, waiter.set_result, result)

        self._asked.put(act)
        return await waiter

    def held(self, start: int, size: int) -> bytes | None:
        """Return some of the file's bytes if they are here already."""
        end = start + size
        return self._first[start:end] if end <= len(self._first) else None

    def moves(self) -> None:
        """Say that bytes have gone, which were counted when they were read."""
        self.transfer.active = clock.monotonic()

    async def sent_by(
        self, send: Callable[[Outgoing, Any], Coroutine[Any, Any, T]], path: Any
    ) -> T:
        """Send it, and tell the transfer's thread when that has ended for good."""
        self._begun = True
        try:
            return await send(self, path)
        finally:
            self._ended.set()

    def serve(self) -> None:
        """Do what the loop asks for, until ``end``."""
        while (act := self._asked.get()) is not None:
            act()

    def end(self, _: object) -> None:
        """Have ``serve`` return. On any thread."""
        self._asked.put(None)

    def tidied(self) -> None:
        """Wait for a coroutine that was cancelled to remove what it has begun."""
        if self._begun:
            self._ended.wait(TIDY_LOOP_S)


def _read(file: BinaryIO, offset: int) -> bytes:
    if file.tell() != offset:
        file.seek(offset)
    return file.read(BLOCK)
