"""``KernelExecutor``: a kernel as a ``concurrent.futures.Executor``."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from jackfield.errors import KernelClosedError
from jackfield.graph.task import checked_labels
from jackfield.steps.call import READ_BY_KERNEL, Specs, name_of, plain_call

if TYPE_CHECKING:
    from jackfield.futures import AppFuture
    from jackfield.kernel.dfk import DataFlowKernel

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
        self._specs: Specs = Specs(checked_labels(executors))
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
        spec = self._specs[getattr(fn, "__name__", None) or name_of(fn)]
        target, given, named = plain_call(fn, args, kwargs)
        future: AppFuture[R]
        if READ_BY_KERNEL.isdisjoint(named):
            future = self._kernel.submit_app(spec, target, given, named)
        else:  # the library does not mean what the kernel would read here
            future = self._kernel.submit_app(spec, _call, (target, given, named), {})
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
