"""A kernel as a ``concurrent.futures.Executor``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jackfield as jf
from jackfield_parsl.app.app import AppBase, python_app
from jackfield_parsl.dataflow.dflow import DataFlowKernel, DataFlowKernelLoader

if TYPE_CHECKING:
    from jackfield_parsl.config import Config


class ParslPoolExecutor(jf.KernelExecutor):
    """``jackfield.KernelExecutor`` with Parsl's arguments.

    Raises:
        ValueError: Neither a configuration nor a kernel is given, or both.
    """

    def __init__(
        self,
        config: Config | None = None,
        dfk: DataFlowKernel | None = None,
        executors: list[str] | str = "all",
    ) -> None:
        if (config is None) == (dfk is None):
            both = "Specify only one of config or dfk"
            raise ValueError(both if dfk else "Must specify one of config or dfk")
        self._own = DataFlowKernelLoader.load(config) if dfk is None else None
        self._dfk = dfk or DataFlowKernelLoader.dfk()
        self.executors = executors
        self._apps: dict[Callable[..., Any], AppBase] = {}
        super().__init__(self._dfk.kernel, executors)

    @property
    def app_count(self) -> int:
        """How many functions were submitted."""
        return len(self._apps)

    def get_app(self, fn: Callable[..., Any]) -> AppBase:
        """Return a function as an app."""
        if fn not in self._apps:
            self._apps[fn] = python_app(
                fn, data_flow_kernel=self._dfk, executors=self.executors
            )
        return self._apps[fn]

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> jf.AppFuture[Any]:
        """Submit a call."""
        self.get_app(fn)
        return super().submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; end the kernel if it was made for this."""
        super().shutdown(wait, cancel_futures=cancel_futures)
        if self._own is not None:
            self._own.cleanup()
