"""``python_app``, ``bash_app``, ``join_app`` with Parsl's parameters."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar, Final

import jackfield as jf
from jackfield_parsl.dataflow.dflow import (
    SPECIFICATION,
    DataFlowKernel,
    DataFlowKernelLoader,
)

JACKFIELDS_OWN: Final = frozenset({"priority", "resources"})
"""Arguments that Jackfield reads in a call, and Parsl gives to a function: so they are
bound to it before Jackfield sees the call."""


class AppBase:
    """One of Jackfield's apps, called as Parsl's are."""

    decorate: ClassVar[Callable[..., Any]]

    def __init__(
        self,
        func: Callable[..., Any],
        data_flow_kernel: DataFlowKernel | None = None,
        executors: Sequence[str] | str = "all",
        cache: bool = False,
        ignore_for_cache: Sequence[str] | None = None,
    ) -> None:
        functools.update_wrapper(self, func)
        self.func = func
        self.data_flow_kernel = data_flow_kernel
        self.executors = executors
        self.cache = cache
        options: dict[str, Any] = {
            "cache": cache,
            "cache_failures": cache,
            "ignore_for_cache": list(ignore_for_cache or ()),
        }
        if executors != "all":
            options["executors"] = executors
        self._made = type(self).decorate(**options)
        self.jackfield_app: jf.App[..., Any] = self._made(func)
        self._asks = _default_specification(func)

    def __call__(self, *args: Any, **kwargs: Any) -> jf.AppFuture[Any]:
        """Submit a call."""
        kernel = self.data_flow_kernel or DataFlowKernelLoader.dfk()
        app, kwargs = self.jackfield_app, {**self._asks, **kwargs}
        own = {name: kwargs.pop(name) for name in JACKFIELDS_OWN & kwargs.keys()}
        if own:
            app = self._made(functools.partial(self.func, **own))
        return kernel.call(app, args, kwargs)

    def __jackfield_hash__(self) -> object:
        return self.jackfield_app

    def __jackfield_function__(self) -> tuple[str, Callable[..., Any]]:
        return self.jackfield_app.__jackfield_function__()


def _default_specification(func: Callable[..., Any]) -> Mapping[str, Any]:
    """Return what calls ask for that say nothing, as the function's signature says."""
    with suppress(TypeError, ValueError):  # some builtins have none
        found = inspect.signature(func).parameters.get(SPECIFICATION)
        if found is not None and found.default is not inspect.Parameter.empty:
            return {SPECIFICATION: found.default}
    return {}


class PythonApp(AppBase):
    """A function that is a task when it is called."""

    decorate: ClassVar[Callable[..., Any]] = staticmethod(jf.python_app)


class BashApp(AppBase):
    """A function whose command line is a task when it is called."""

    decorate: ClassVar[Callable[..., Any]] = staticmethod(jf.bash_app)


class JoinApp(AppBase):
    """A function that returns futures of other apps."""

    decorate: ClassVar[Callable[..., Any]] = staticmethod(jf.join_app)


def _made(
    kind: type[AppBase], function: Callable[..., Any] | None, *options: Any
) -> Any:
    """Make an app, or return what makes one; the options are in ``AppBase``'s order."""
    if function is None:
        return lambda function: kind(function, *options)
    return kind(function, *options)


def python_app(
    function: Callable[..., Any] | None = None,
    data_flow_kernel: DataFlowKernel | None = None,
    cache: bool = False,
    executors: Sequence[str] | str = "all",
    ignore_for_cache: Sequence[str] | None = None,
) -> Any:
    """See ``jackfield.python_app``."""
    options = data_flow_kernel, executors, cache, ignore_for_cache
    return _made(PythonApp, function, *options)


def bash_app(
    function: Callable[..., Any] | None = None,
    data_flow_kernel: DataFlowKernel | None = None,
    cache: bool = False,
    executors: Sequence[str] | str = "all",
    ignore_for_cache: Sequence[str] | None = None,
) -> Any:
    """See ``jackfield.bash_app``."""
    options = data_flow_kernel, executors, cache, ignore_for_cache
    return _made(BashApp, function, *options)


def join_app(
    function: Callable[..., Any] | None = None,
    data_flow_kernel: DataFlowKernel | None = None,
    cache: bool = False,
    ignore_for_cache: Sequence[str] | None = None,
) -> Any:
    """See ``jackfield.join_app``."""
    options = data_flow_kernel, "all", cache, ignore_for_cache
    return _made(JoinApp, function, *options)
