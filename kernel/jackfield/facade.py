"""``KernelExecutor``: a kernel as a ``concurrent.futures.Executor``."""

from __future__ import annotations

import concurrent.futures
import os
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from jackfield.config import Config
from jackfield.errors import ConfigurationError, KernelClosedError, suggest
from jackfield.graph.task import checked_labels
from jackfield.kernel.dfk import DataFlowKernel
from jackfield.kernel.load import make
from jackfield.steps.call import READ_BY_KERNEL
from jackfield.steps.functions import Specs, name_of, plain_call

if TYPE_CHECKING:
    from jackfield.futures import AppFuture

P = ParamSpec("P")
R = TypeVar("R")


def _call(
    function: Callable[..., R], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> R:
    return function(*args, **kwargs)


def _kernel(given: Any) -> DataFlowKernel:
    """Return the kernel that was given, or one made from a configuration."""
    if isinstance(given, DataFlowKernel):
        return given
    if not isinstance(given, Config | Mapping | str | os.PathLike):
        raise TypeError(
            f"KernelExecutor takes a kernel, or a configuration as jackfield.load() "
            f"takes it, to make one of its own; not {given!r:.80}."
        )
    return make(given)


class KernelExecutor(concurrent.futures.Executor):
    """Runs calls as tasks of a kernel, for libraries that take an executor.

    Futures among the arguments are waited for, as with apps. All methods may be called
    on any thread. ``map`` ignores ``chunksize``: batches are the kernel's own affair.

    Args:
        kernel: A kernel, which ``shutdown`` does not end; or a configuration, as
            ``jackfield.load`` takes it, for a kernel that ends with this executor.
        executors: Labels of those of its executors that may be used, or ``"all"``.

    Raises:
        TypeError: ``kernel`` is neither.
        ConfigurationError: The configuration is wrong, or a label is unknown.
    """

    def __init__(
        self,
        kernel: DataFlowKernel | Config | Mapping[str, Any] | str | os.PathLike[str],
        executors: list[str] | str = "all",
    ) -> None:
        labels = checked_labels(executors)
        self._owned: bool = not isinstance(kernel, DataFlowKernel)
        self._kernel: DataFlowKernel = _kernel(kernel)
        for label in () if labels == "all" else labels:
            known = self._kernel.executors
            if label not in known:
                if self._owned:
                    self._kernel.cleanup(wait=False)
                raise ConfigurationError(
                    f"KernelExecutor: there is no executor {label!r}"
                    f"{suggest(label, known)} Executors: {', '.join(known)}."
                )
        self._specs: Specs = Specs(labels)
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

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls. A kernel that was given goes on; one of its own ends.

        Args:
            wait: Whether to wait for the calls that were submitted, and for their
                done-callbacks. If not, a kernel of its own ends in the background, and
                the program does not end before.
            cancel_futures: Whether to cancel them, as far as that is possible.
        """
        self._down = True
        futures = list(self._unfinished)
        if cancel_futures:
            for future in futures:
                future.cancel()
        if wait:
            concurrent.futures.wait(futures)
            self._kernel.wait_for_callbacks(lambda: not self._unfinished)
            if self._owned:
                self._kernel.cleanup()
        elif self._owned:
            threading.Thread(
                target=self._kernel.cleanup, name="jackfield-executor-end"
            ).start()

    def _forget(self, future: AppFuture[Any]) -> None:
        self._unfinished.pop(future, None)
