"""The futures that apps return.

An ``AppFuture`` is a ``concurrent.futures.Future`` and works wherever one does:
``wait``, ``as_completed``, ``asyncio.wrap_future``. It differs inside, because a
kernel makes a million of them: the condition that waiters need is made when
somebody waits, and done-callbacks run on a thread of their own, so that no
callback can hold up an executor or the kernel. ``dataflow.claims`` tells how one ends.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import CancelledError, Future
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED, PENDING
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self, TypeAlias, TypeVar

from jackfield.futures import claims
from jackfield.futures.locks import Condition, Latch

if TYPE_CHECKING:
    from jackfield.files import File
    from jackfield.graph.task import Task

T = TypeVar("T")

MemoStatus: TypeAlias = Literal["hit", "miss", "off", "pending"]


@dataclass(frozen=True, slots=True)
class MemoInfo:
    """Whether an earlier result is used for a task: ``future.memo``.

    Attributes:
        status: ``"hit"``: the result of an equal call is used, an earlier one or one
            that was being executed. ``"miss"``: the function is, or was, executed.
            ``"off"``: neither, because the app is not cached or the task ended before
            it was looked up. ``"pending"``: not known yet.
        key: The memo key in hexadecimal, as ``jackfield memo show`` takes it;
            ``None`` where it is not known.
    """

    status: MemoStatus
    key: str | None


class KernelFuture(Future[T]):
    """What the kernel's futures have in common. Only the kernel makes them."""

    # Class attributes stand for what most futures never need of their own.
    _state: str = PENDING
    _result: T | None = None
    _exception: BaseException | None = None
    _callbacks: list[Callable[[Any], object]] | None = None
    _cond: Condition | None = None
    _waiting: list[Any] | None = None
    _sleepers: list[Latch] | None = None

    def __init__(self, task: Task) -> None:
        # The base class would make a condition and two lists; see the module.
        self._task: Task = task

    # -- what concurrent.futures.wait and as_completed reach into

    if not TYPE_CHECKING:  # type checkers take them for the base class's attributes

        @property
        def _condition(self) -> Condition:
            condition = self._cond
            if condition is None:
                with claims.CLAIM:
                    condition = self._cond
                    if condition is None:
                        condition = self._cond = Condition()
            return condition

        @property
        def _waiters(self) -> list[Any]:
            # Reached with the condition held, so two threads cannot both make it.
            if self._waiting is None:
                self._waiting = []
            return self._waiting

    # -- the public face

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
            BaseException: Whatever its function raised, as it was raised.
        """
        self._await_end(timeout)
        if self._exception is not None:
            try:
                raise self._exception
            finally:
                self = None  # type: ignore[assignment]  # breaks the cycle with the traceback  # noqa: PLW0642
        return self._result  # type: ignore[return-value]  # settled, so it is a T

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the task and return its exception, ``None`` if it succeeded.

        Args:
            timeout: Seconds; ``None`` waits for ever.

        Raises:
            TimeoutError: It has not ended in time.
            CancelledError: It was cancelled.
        """
        self._await_end(timeout)
        return self._exception

    def _await_end(self, timeout: float | None) -> None:
        if self._state is PENDING and not self._sleep(timeout):
            raise TimeoutError(f"{self!r} did not end within {timeout} s")
        if self._state is CANCELLED_AND_NOTIFIED:
            raise CancelledError(f"{self._task.title} was cancelled")

    def _sleep(self, timeout: float | None) -> bool:
        """Wait until the task has ended; tell whether it has.

        Not by ``Condition.wait``, in which Ctrl-C may lose the lock.
        """
        sleeper = Latch()
        if not claims.add_sleeper(self, sleeper):
            return True
        try:
            return sleeper.wait(timeout)
        finally:
            if self._state is PENDING:
                claims.drop_sleeper(self, sleeper)

    def add_done_callback(self, fn: Callable[[Self], object]) -> None:
        """Have ``fn(self)`` called when the task has ended.

        It runs on the kernel's callback thread, or at once on this one if the task
        has ended. What it raises is logged.
        """
        with claims.CLAIM:
            if self._state is PENDING:
                if self._callbacks is None:
                    self._callbacks = []
                self._callbacks.append(fn)
                return
        claims.run_callback(self, fn)

    def set_result(self, result: T) -> NoReturn:
        """Refuse: only the kernel ends a task."""
        del result
        raise RuntimeError("The kernel alone sets the result of a task's future.")

    def set_exception(self, exception: BaseException | None) -> NoReturn:
        """Refuse: only the kernel ends a task."""
        del exception
        raise RuntimeError("The kernel alone sets the exception of a task's future.")

    def set_running_or_notify_cancel(self) -> NoReturn:
        """Refuse: this is for executors, on futures of their own."""
        raise RuntimeError("The kernel alone changes the state of a task's future.")

    def __await__(self) -> Generator[Any, None, T]:
        import asyncio

        return asyncio.wrap_future(self).__await__()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{self!r} cannot be pickled: pass it to an app as an argument, to any "
            f"depth in lists, dicts and dataclasses, and the app gets its result."
        )

    def _succeeded(self) -> bool:
        return self._state is FINISHED and self._exception is None

    def _outcome(self) -> str:
        if self._state is PENDING:
            return self._task.state.value
        if self.cancelled():
            return "cancelled"
        if self._exception is not None:
            return f"raised {type(self._exception).__name__}"
        return f"returned {type(self._result).__name__}"


class AppFuture(KernelFuture[T]):
    """The result of calling an app: ends when the task and its outputs have.

    ``future[key]`` is a future too: of the item of the result. Attributes of a
    result are not reached this way: ``hasattr(future, name)`` means the future.

    Attributes:
        outputs: One ``DataFuture`` for each file in ``outputs=``.
    """

    @property
    def tid(self) -> int:
        """Number of the task in its kernel, from 0."""
        return self._task.id

    @property
    def outputs(self) -> list[DataFuture]:
        """One future for each file that the app was told to make."""
        extras = self._task.extras
        number = len(extras.outputs) if extras is not None else 0
        return list(self._task.data_futures[:number])

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
        ended, task = self.done(), self._task  # in this order: it is noted before
        extras = task.extras
        status: MemoStatus = extras.memo if extras is not None else "off"
        if status == "off" and task.spec.cache and task.kernel.config.app_cache:
            status = "off" if ended else "pending"
        elif status == "hit" and self.cancelled():  # just before it got the result
            status = "off"
        key = extras.key if extras is not None else None
        return MemoInfo(status, key.hex() if key is not None else None)

    def task_status(self) -> str:
        """Return the name of the task's state, for example ``"submitted"``."""
        return self._task.state.value

    def cancel(self) -> bool:
        """Cancel the task if its function has not returned.

        A task that waits is always cancelled; one that was given to an executor,
        if it has not begun or the executor can stop it. Tasks that depend on it
        fail with ``DependencyError``.

        Returns:
            Whether the task is cancelled.
        """
        return self._task.kernel.cancel(self._task, self)

    def __getitem__(self, key: Any) -> AppFuture[Any]:
        return self._task.kernel.lift_item(self, key)

    # Without these, Python would try indices 0, 1, 2, ... and launch tasks for ever.
    __iter__ = None
    __contains__ = None

    def __repr__(self) -> str:
        return f"<AppFuture {self._task.title}: {self._outcome()}>"


class DataFuture(KernelFuture["File"]):
    """A file that an app makes: ends when the file is where it was wanted.

    Attributes:
        file_obj: The file, as given in ``outputs``.
        parent: The app's future.
    """

    def __init__(self, task: Task, parent: AppFuture[Any], file: File) -> None:
        super().__init__(task)
        self.parent: AppFuture[Any] = parent
        self.file_obj: File = file

    @property
    def tid(self) -> int:
        """Number of the task that makes the file."""
        return self._task.id

    @property
    def filepath(self) -> str:
        """The file's local path."""
        return self.file_obj.filepath

    @property
    def filename(self) -> str:
        """The last part of the file's path."""
        return self.file_obj.filename

    def cancel(self) -> bool:
        """Cancel the app that makes the file."""
        return self.parent.cancel()

    def __repr__(self) -> str:
        return (
            f"<DataFuture {self.file_obj!r} of {self._task.title}: {self._outcome()}>"
        )
