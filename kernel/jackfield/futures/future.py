"""The futures that apps return, and how one ends: exactly once.

An ``AppFuture`` is a ``concurrent.futures.Future`` and works wherever one does:
``wait``, ``as_completed``, ``asyncio.wrap_future``. It differs inside, because a
kernel makes a million of them: the condition that waiters need is made when somebody
asks for it, and done-callbacks run on a thread of their own, so that no callback can
hold up an executor or the kernel.

Several threads may want to end one future at the same time: the one that works off the
executor's report, and any thread of the user's that calls ``cancel``. The state of the
future decides between them: with the lock ``_claim`` held, whoever finds it pending
writes the end, and whoever comes later learns that it has lost. To look whether the
future has ended, nobody needs the lock, because an end is never taken back.

A thread that waits in ``result`` sleeps at a latch of its own, which whoever ends the
future opens (``_sleep``).

``concurrent.futures.wait`` and ``as_completed`` do not sleep at latches. They take the
future's condition, look at the state, and add a waiter if it is pending; they count on
being told of every end that comes later. So where a condition exists, the future is
ended with it held, and the waiters are told before it is let go. The condition is
always taken before the lock, never the other way round.

The functions of this module are for the kernel, the classes are for everybody.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import CancelledError, Future
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED, PENDING
from functools import partial
from operator import attrgetter
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Literal,
    NamedTuple,
    NoReturn,
    Protocol,
    Self,
    TypeAlias,
    TypeVar,
    cast,
)

from jackfield.errors import FutureInTextWarning, class_name, traceback_of
from jackfield.futures.locks import Condition, Latch, is_interrupt
from jackfield.futures.misuse import REFUSED
from jackfield.kept import Kept

if TYPE_CHECKING:
    from types import TracebackType

    from jackfield.files import File

T = TypeVar("T")

MemoStatus: TypeAlias = Literal["hit", "miss", "off", "pending"]

_ASYNCIO: Final = frozenset({"asyncio.futures", "asyncio.tasks"})
"""Modules whose callbacks wait for a future."""

_claim: Any = threading.RLock()
"""Held for the few instructions that decide how a future ends.

One for all futures, so that a batch of ends takes it once. Reentrant, because the
garbage collector may call a ``__del__`` of a user's at any instruction, and that may
cancel another future.
"""


class MemoInfo(NamedTuple):
    """Whether an earlier result is used for a task: ``future.memo``.

    Attributes:
        status: ``"hit"``: the result of an equal call is used, which ended before or
            was running. ``"miss"``: the function is, or was, called. ``"off"``: neither
            of these, because the app is not cached or the task ended before a result
            was looked up. ``"pending"``: not known yet.
        key: The memo key in hexadecimal, as ``jackfield memo show`` takes it;
            ``None`` where it is not known.
    """

    status: MemoStatus
    key: str | None


class TaskOfFuture(Protocol):
    """What a future asks of the task behind it."""

    @property
    def id(self) -> int:
        """Number of the task in its kernel, from 0."""
        ...

    @property
    def title(self) -> str:
        """Number and name, for messages."""
        ...

    @property
    def app(self) -> str:
        """Name of the app's function."""
        ...

    def call_text(self) -> str:
        """Return the call, arguments shortened; ``""`` where there is none to show."""
        ...

    @property
    def status(self) -> str:
        """Name of the task's state."""
        ...

    @property
    def output_futures(self) -> list[DataFuture]:
        """One future for each file that the app was told to make."""
        ...

    def stream(self, name: Literal["stdout", "stderr"]) -> Any:
        """Return where a standard stream goes, or its future if it is a file's."""
        ...

    def memo_info(self, *, ended: bool, cancelled: bool) -> MemoInfo:
        """Return whether an earlier result is used."""
        ...

    def see(self) -> None:
        """Note that somebody has got the error with which it has failed."""
        ...

    def cancel(self, future: AppFuture[Any]) -> bool:
        """Cancel the task, whose future is ``future``; see ``AppFuture.cancel``."""
        ...

    def refuse_wait(self) -> None:
        """Raise if this thread must not wait for the task, because it runs one."""
        ...

    def item(self, future: AppFuture[Any], key: Any) -> AppFuture[Any]:
        """Return the future of an item of ``future``'s result."""
        ...


class Cancellation(CancelledError):  # noqa: N818  (what the user asked for is no error)
    """The error with which the kernel ends a future as cancelled.

    A class of its own, because a ``CancelledError`` that a task's function raises is a
    failure like any other.
    """


class KernelFuture(Future[T]):
    """What the kernel's futures have in common. Only the kernel makes them."""

    # Most futures never need most of these, so the class has them, and an instance
    # gets its own only when it needs one. While the future is pending, they are written
    # with ``_claim`` held; ``_waiting`` with the condition held.
    _state: str = PENDING
    _result: T | None = None
    _exception: BaseException | None = None
    _traceback: TracebackType | None = None  # of the exception, as the task raised it
    _callbacks: list[Callable[[Any], object]] | None = None
    _cond: Condition | None = None
    _waiting: list[Any] | None = None
    _sleepers: list[Latch] | None = None

    def __init__(self, task: TaskOfFuture) -> None:
        # The base class's constructor is not called: it would make a condition and two
        # lists for each future.
        self._task: TaskOfFuture = task

    # -- what concurrent.futures.wait and as_completed reach into

    if not TYPE_CHECKING:  # type checkers take them for the base class's attributes

        @property
        def _condition(self) -> Condition:
            condition = self._cond
            if condition is None:
                # With the lock, so that ``settle`` cannot find that there is none, and
                # end the future without it, while it is made.
                with _claim:
                    condition = self._cond
                    if condition is None:
                        condition = self._cond = Condition()
            return condition

        @property
        def _waiters(self) -> list[Any]:
            # ``concurrent.futures`` reads this with the condition held, so two threads
            # cannot both make the list. Whoever reads it is about to wait.
            self._task.refuse_wait()
            if self._waiting is None:
                self._waiting = []
            return self._waiting

    # -- the public face

    @property
    def tid(self) -> int:
        """Number of the task in its kernel, from 0."""
        return self._task.id

    @property
    def app(self) -> str:
        """Name of the app's function."""
        return self._task.app

    def done(self) -> bool:
        """Tell whether the task has ended, in whatever way."""
        return self._state is not PENDING

    def running(self) -> bool:
        """Return False: the kernel cannot see a worker pick a task up."""
        return False

    def cancelled(self) -> bool:
        """Tell whether the task was cancelled."""
        return self._state is CANCELLED_AND_NOTIFIED

    def result(self, timeout: float | None = None) -> T:
        """Wait for the task and return its result, or raise its exception.

        Args:
            timeout: Seconds; ``None`` waits for ever.

        Raises:
            TimeoutError: It has not ended in time.
            CancelledError: It was cancelled.
            DependencyError: A task that it depends on failed.
            CircularWaitError: Called without a timeout in a task of the same kernel.
            BaseException: Whatever its function raised, as it was raised: one object
                for all who ask, so that its traceback leads to who asked last, and a
                note that one adds is seen by all. Instead of StopIteration, which ends
                loops and is lost in ``await``, it is a RuntimeError with that as its
                cause.
        """
        self._await_end(timeout)
        if self._exception is not None:
            self._task.see()
            try:
                raise _as_raised(self)
            finally:
                self = None  # type: ignore[assignment]  # breaks the cycle with the traceback  # noqa: PLW0642
        value = self._result
        if issubclass(type(value), Kept):
            # Several threads may do this at once: each gets the same object.
            value = self._result = cast("Kept", value).fetch()
        return value  # type: ignore[return-value]  # settled, so it is a T

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the task and return its exception, ``None`` if it succeeded.

        Args:
            timeout: Seconds; ``None`` waits for ever.

        Raises:
            TimeoutError: It has not ended in time.
            CancelledError: It was cancelled.
            CircularWaitError: Called without a timeout in a task of the same kernel.
        """
        self._await_end(timeout)
        if self._exception is not None:
            self._task.see()
        elif issubclass(type(self._result), Kept):
            try:
                self.result(0)
            except Exception as error:
                return error
        return self._exception

    def _await_end(self, timeout: float | None) -> None:
        """Wait for the end; raise if it does not come in time, or is a cancel."""
        if self._state is PENDING and timeout is None:
            self._task.refuse_wait()
        if self._state is PENDING and not self._sleep(timeout):
            raise TimeoutError(f"{self!r} did not end within {timeout} s")
        if self._state is CANCELLED_AND_NOTIFIED:
            raise CancelledError(f"{self._task.title} was cancelled")

    def _sleep(self, timeout: float | None) -> bool:
        """Wait until the task has ended; tell whether it has."""
        sleeper = Latch()
        with _claim:
            # We look at the state and note the latch in one hold of the lock; whoever
            # ends the future writes the state and opens the latches in one hold of it.
            # So that thread comes either before, and we see the end, or after, and
            # finds our latch.
            if self._state is not PENDING:
                return True
            if self._sleepers is None:
                self._sleepers = []
            self._sleepers.append(sleeper)
        # One case is left. If the main thread cancels, a Ctrl-C may strike it when it
        # has written the state and not yet opened the latches. For that, the latch asks
        # for ``done`` once a second.
        try:
            return sleeper.wait(timeout, self.done)
        finally:
            if self._state is PENDING:
                self._drop_sleeper(sleeper)

    def _drop_sleeper(self, sleeper: Latch) -> None:
        """Forget a latch at which nobody waits any more."""
        with _claim:
            if self._sleepers is not None and sleeper in self._sleepers:
                self._sleepers.remove(sleeper)

    def add_done_callback(self, fn: Callable[[Self], object]) -> None:
        """Have ``fn(self)`` called when the task has ended.

        It is called on the kernel's callback thread; if the task has ended already, at
        once on this thread. What it raises is logged; a Ctrl-C that comes while it runs
        on this thread is raised here.
        """
        if getattr(fn, "__module__", None) in _ASYNCIO:
            fn = self._for_asyncio(fn)
        # With the lock, so that the future does not end between the look and the
        # append: its callbacks might have been taken already, and this one would never
        # be called.
        with _claim:
            if self._state is PENDING:
                if self._callbacks is None:
                    self._callbacks = []
                self._callbacks.append(fn)
                return
        run_callback(self, fn, at_once=True)

    def _for_asyncio(self, fn: Callable[[Self], object]) -> Callable[[Self], object]:
        """Return what to call instead of a callback by which asyncio waits for this.

        ``asyncio.wait`` takes this for one of its own futures, the callbacks of which
        are called on the loop's thread.
        """
        import asyncio

        if self._state is PENDING:
            self._task.refuse_wait()
        _as_raised(self)  # asyncio takes the traceback that it finds, and adds to it
        if fn.__module__ != "asyncio.tasks":
            return fn
        on_loop: Any = asyncio.get_running_loop().call_soon_threadsafe
        return partial(on_loop, fn)

    def remove_done_callback(self, fn: Callable[[Self], object]) -> int:
        """Forget a done-callback, as ``asyncio.wait`` asks; return how many went."""
        with _claim:
            before = self._callbacks or []
            left = [one for one in before if one != fn and not _hands_on(one, fn)]
            self._callbacks = left or None
        return len(before) - len(left)

    def __await__(self) -> Generator[Any, None, T]:
        import asyncio

        return asyncio.wrap_future(self).__await__()

    def __reduce__(self) -> NoReturn:
        raise TypeError(  # ``copy`` comes here too
            f"{self!r} cannot be copied or pickled: it stands for one task. Use it as "
            f"it is, or pass it to an app as an argument, to any depth in lists, dicts "
            f"and dataclasses, and the app gets its result."
        )

    def __format__(self, spec: str) -> str:
        warnings.warn(
            "a future is put into a text, which does not wait for its result: pass "
            "the future to an app, or ask for its .result(); if the future itself is "
            "meant, write {...!r}.",
            FutureInTextWarning,
            stacklevel=2,
        )
        return format(str(self), spec)

    # -- the end

    def _write(self, error: BaseException | None, value: Any) -> bool:
        """End the future if it is pending, and tell whether it was.

        Called with the lock held. The result is written before the state: who sees that
        the future has ended, even without the lock, sees the result too.
        """
        if self._state is not PENDING:
            return False
        if error is None:
            self._result = value
            self._state = FINISHED
        elif type(error) is Cancellation:
            self._state = CANCELLED_AND_NOTIFIED
        else:
            if isinstance(error, StopIteration):
                stop, name = error, type(error).__name__
                error = RuntimeError(f"Task {self._task.title} raised {name}")
                error.__cause__ = stop
            self._traceback = traceback_of(error)  # first, for ``_as_raised``
            self._exception = error
            self._state = FINISHED
        sleepers = self._sleepers
        if sleepers is not None:
            self._sleepers = None
            for sleeper in sleepers:
                sleeper.open()
        return True

    def _tell_waiters(self) -> None:
        """Tell ``concurrent.futures.wait`` that the future has ended.

        Called with the condition held.
        """
        for waiter in self._waiting or ():
            if self.cancelled():
                waiter.add_cancelled(self)
            elif self._exception is not None:
                waiter.add_exception(self)
            else:
                waiter.add_result(self)

    def _strand(self, error: BaseException) -> None:
        """End the future in a forked child; see ``strand``."""
        # The threads that sleep at latches are the parent's, and the condition may be
        # held by one of them, for ever in this copy of the memory.
        self._cond = self._sleepers = None
        self._write(error, None)

    def _outcome(self) -> str:
        """Return the state in a word or two, and the call, for ``repr``."""
        if self._state is PENDING:
            word = self._task.status
        elif self.cancelled():
            word = "cancelled"
        elif self._exception is not None:
            word = f"raised {class_name(type(self._exception))}"
        elif issubclass(type(self._result), Kept):  # a proxy is not asked
            word = f"returned {self._result!r}"
        else:
            word = f"returned {class_name(type(self._result))}"
        call = self._task.call_text()
        return f"{word} [in {call}]" if call else word


for _name, _method in REFUSED.items():  # to a type checker they are errors as it is
    setattr(KernelFuture, _name, _method)


class AppFuture(KernelFuture[T]):
    """The future of a call of an app. It ends when the task and its outputs have.

    ``future[key]`` is another future, of that item of the result. There is nothing of
    the kind for attributes of the result: ``future.name`` means the future's own.

    Attributes:
        outputs: One ``DataFuture`` for each file in ``outputs=``.
    """

    @property
    def outputs(self) -> list[DataFuture]:
        """One future for each file that the app was told to make."""
        return self._task.output_futures

    @property
    def stdout(self) -> Any:
        """Where standard output goes: as given; for ``AUTO_LOGNAME`` the path.

        For a ``File`` it is a ``DataFuture``, which other apps can depend on.
        """
        return self._task.stream("stdout")

    @property
    def stderr(self) -> Any:
        """Where standard error goes; like ``stdout``."""
        return self._task.stream("stderr")

    @property
    def memo(self) -> MemoInfo:
        """Whether an earlier result is used; ``jackfield.explain`` tells why."""
        # First the end, then the memo: a task notes what it uses before it ends. The
        # other way round, it could end between the two looks, and a task that has ended
        # would seem to be pending.
        ended = self.done()
        return self._task.memo_info(ended=ended, cancelled=self.cancelled())

    def task_status(self) -> str:
        """Return the name of the task's state, for example ``"submitted"``."""
        return self._task.status

    def cancel(self) -> bool:
        """Cancel the task if its function has not returned.

        A task that waits is always cancelled; one that was given to an executor,
        if it has not begun or the executor can stop it. Tasks that depend on it
        fail with ``DependencyError``.

        Returns:
            Whether the task is cancelled.
        """
        return self._task.cancel(self)

    def __getitem__(self, key: Any) -> AppFuture[Any]:
        return self._task.item(self, key)

    if TYPE_CHECKING:  # or it would take ``future[0]`` for a sign that one may loop
        __iter__ = None

    def __repr__(self) -> str:
        return f"<AppFuture {self._task.title}: {self._outcome()}>"


class DataFuture(KernelFuture["File"]):
    """A file that an app makes: ends when the file is where it was wanted.

    Attributes:
        file_obj: The file, as given in ``outputs``.
        parent: The app's future.
    """

    def __init__(self, task: TaskOfFuture, parent: AppFuture[Any], file: File) -> None:
        super().__init__(task)
        self.parent: AppFuture[Any] = parent
        self.file_obj: File = file

    @property
    def filepath(self) -> str:
        """The file's local path."""
        return self.file_obj.filepath

    @property
    def filename(self) -> str:
        """The same path, as in Parsl; ``File.filename`` is its last part alone."""
        return self.filepath

    def cancel(self) -> bool:
        """Cancel the app that makes the file."""
        return self.parent.cancel()

    def __repr__(self) -> str:
        return (
            f"<DataFuture {self.file_obj!r} of {self._task.title}: {self._outcome()}>"
        )


# -- for the kernel: what stands behind a future

task_of: Final[Callable[[KernelFuture[Any]], Any]] = attrgetter("_task")
"""Give the task behind a future."""

value_of: Final[Callable[[KernelFuture[Any]], Any]] = attrgetter("_result")
"""Give the result of a future that has ended well; it may be ``Kept``."""

error_of: Final[Callable[[KernelFuture[Any]], BaseException | None]] = attrgetter(
    "_exception"
)
"""Give the error of a future that has failed; to look at it is not to ask for it."""


def _as_raised(future: KernelFuture[Any]) -> Any:
    """Return the error of a future with its first traceback; ``None`` if it has none.

    Each ``raise`` adds frames to it: it would grow with each question, and keep them.
    """
    error = future._exception
    if error is not None:
        BaseException.with_traceback(error, future._traceback)
    return error


def succeeded(future: KernelFuture[Any]) -> bool:
    """Tell whether a future has ended with a result."""
    return future._state is FINISHED and future._exception is None


# -- for the kernel: how futures end

Ending: TypeAlias = (
    "tuple[KernelFuture[Any] | None, BaseException | None, Any, Any, Any]"
)
"""How a future is to end: ``(future, error, value, task, final state)``.

The last two are not used here; the caller reads them when it has the answers.
"""


def settle(endings: Iterable[Ending]) -> list[bool]:
    """End futures; tell for each whether it was still pending.

    A ``Cancellation`` as the error ends a future as cancelled. Callbacks are left to
    the caller, who takes them with ``take_callbacks`` when it holds no lock.

    The lock is taken once for all futures that have no condition. Those that have one
    are ended afterwards, one by one, because the condition has to be taken first.
    """
    wins: list[bool] = []
    watched: list[tuple[int, KernelFuture[Any], BaseException | None, Any]] = []
    # No condition can come into being while we hold the lock, so a future that has none
    # here has nobody who would have to be told.
    with _claim:
        for future, error, value, _, _ in endings:
            if future is not None and future._cond is not None:
                watched.append((len(wins), future, error, value))
                wins.append(False)
            else:
                wins.append(future is not None and future._write(error, value))
    for place, future, error, value in watched:
        with future._condition:
            with _claim:  # a cancel may have come since the look above
                wins[place] = future._write(error, value)
            if wins[place]:
                future._tell_waiters()
    return wins


def claim_cancel(
    future: KernelFuture[Any], allowed: Callable[[], bool] | None = None
) -> bool:
    """End a pending future as cancelled; tell whether this call did.

    Args:
        future: The future.
        allowed: Asked with the lock held whether the future may be cancelled; without
            it, it may. It must call no code of users.
    """
    if not _claim._is_owned():
        return _end_as_cancelled(future, allowed)
    # This thread has the lock: the garbage collector called a ``__del__`` of a user's.
    # To wait for the condition now would be the wrong order, because its holder may
    # wait for the lock. If it is not free, the cancel is refused, as if it came late.
    if not future._condition.acquire(blocking=False):
        return False
    try:
        return _end_as_cancelled(future, allowed)
    finally:
        future._condition.release()


def _end_as_cancelled(
    future: KernelFuture[Any], allowed: Callable[[], bool] | None
) -> bool:
    ours = False
    with future._condition:
        try:
            with _claim:
                if future._state is not PENDING or not (allowed is None or allowed()):
                    return False
                ours = True
                future._write(Cancellation(), None)
            return True
        finally:
            # After a Ctrl-C, too: this was the end, and nobody else would tell them.
            if ours and future._state is not PENDING:
                future._tell_waiters()


def holding_ends() -> Any:
    """Return a context manager within which no future of any kernel ends.

    It is for a few instructions of the kernel between which no cancel may come.
    """
    return _claim


def take_callbacks(
    futures: Iterable[KernelFuture[Any]],
) -> list[tuple[KernelFuture[Any], list[Callable[[Any], object]]]]:
    """Return those futures that have callbacks, with these. All of them have ended."""
    # This needs no lock. ``add_done_callback`` adds nothing to a future that has ended,
    # and a future is among those of one step only: the step that has ended it.
    found: list[tuple[KernelFuture[Any], list[Callable[[Any], object]]]] = []
    for future in futures:
        callbacks = future._callbacks
        if callbacks is not None:
            future._callbacks = None
            found.append((future, callbacks))
    return found


def _hands_on(callback: object, fn: object) -> bool:
    """Tell whether a callback is what ``_for_asyncio`` has made of another one."""
    return isinstance(callback, partial) and callback.args == (fn,)


def run_callback(
    future: KernelFuture[Any] | None,
    callback: Callable[[Any], object],
    *,
    at_once: bool = False,
) -> None:
    """Call a done-callback; log what it raises, whatever that is.

    With ``at_once`` this is the thread of the user, whose Ctrl-C is raised.
    """
    try:
        callback(future)
    except BaseException as error:
        if at_once and is_interrupt(error):
            raise
        logging.getLogger("jackfield").exception(
            "A done-callback of %r raised; the run goes on", future
        )


def reset_after_fork() -> None:
    """Make a new lock in a forked child.

    A thread of the parent may have held the old one in the moment of the fork. In the
    child that thread does not exist and would never give it back.
    """
    global _claim  # noqa: PLW0603  (the one lock of this module)
    _claim = threading.RLock()


def strand(future: KernelFuture[Any], error: BaseException) -> None:
    """End a future with an error in a forked child, where nobody else can end it."""
    future._strand(error)
