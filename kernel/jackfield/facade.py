"""``KernelExecutor``: a kernel as a ``concurrent.futures.Executor``."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

from jackfield.errors import KernelClosedError
from jackfield.graph.task import AppSpec, checked_labels
from jackfield.steps.call import READ_BY_KERNEL

if TYPE_CHECKING:
    from jackfield.futures import AppFuture
    from jackfield.graph.task import Executors
    from jackfield.kernel.dfk import DataFlowKernel

_MOST_SPECS: Final = 1_000
"""Names of functions for which a record is kept, to make none for each call."""

P = ParamSpec("P")
R = TypeVar("R")


def _call(
    function: Callable[..., R], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> R:
    return function(*args, **kwargs)


class KernelExecutor(concurrent.futures.Executor):
    """Runs calls as tasks of a kernel, for libraries that take an executor.

    Futures among the arguments are waited for, as with apps. All methods may be called
    on any thread.

    Args:
        kernel: The kernel. ``shutdown`` does not end it.
        executors: Labels of those of its executors that may be used, or ``"all"``.
    """

    def __init__(
        self, kernel: DataFlowKernel, executors: list[str] | str = "all"
    ) -> None:
        self._kernel: DataFlowKernel = kernel
        self._labels: Executors = checked_labels(executors)
        self._specs: dict[str, AppSpec] = {}
        self._unfinished: dict[AppFuture[Any], None] = {}
        self._down: bool = False

    def submit(
        self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> AppFuture[R]:
        """Submit ``fn(*args, **kwargs)`` as a task.

        Keyword arguments that mean something to the kernel, such as ``stdout``, are
        given to ``fn`` like all others.

        Raises:
            KernelClosedError: After ``shutdown``, or when the kernel takes no tasks.
        """
        if self._down:
            raise KernelClosedError("cannot schedule new futures after shutdown")
        name = getattr(fn, "__name__", None) or type(fn).__name__
        spec = self._specs.get(name)
        if spec is None:
            if len(self._specs) >= _MOST_SPECS:  # names that are made up
                self._specs.clear()
            spec = self._specs[name] = AppSpec(name, executors=self._labels)
        future: AppFuture[R]
        if READ_BY_KERNEL.isdisjoint(kwargs):
            future = self._kernel.submit_app(spec, fn, args, kwargs)
        else:  # the library does not mean what the kernel would read here
            future = self._kernel.submit_app(spec, _call, (fn, args, kwargs), {})
        self._unfinished[future] = None
        future.add_done_callback(self._forget)
        return future

    def map(
        self,
        fn: Callable[..., R],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
    ) -> Iterator[R]:
        """Call ``fn`` for each item and give the results in order.

        ``chunksize`` is ignored: the kernel hands tasks over in batches by itself.
        """
        del chunksize
        return super().map(fn, *iterables, timeout=timeout)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls. The kernel goes on.

        Args:
            wait: Whether to wait for the calls that were submitted.
            cancel_futures: Whether to cancel them, as far as that is possible.
        """
        self._down = True
        futures = list(self._unfinished)
        if cancel_futures:
            for future in futures:
                future.cancel()
        if wait:
            concurrent.futures.wait(futures)

    def _forget(self, future: AppFuture[Any]) -> None:
        self._unfinished.pop(future, None)
