"""What a call of a function becomes: its name, its signature, what a task calls.

Functions that are no apps are submitted too. And a default of a parameter may be, or
hold, what a task has to wait for: it then goes with each call that leaves it out.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import BuiltinFunctionType, FunctionType
from typing import Any, Final

from jackfield.errors import printable
from jackfield.executors.coroutines import runnable
from jackfield.graph.arguments import ATOMIC, find
from jackfield.graph.task import AppSpec
from jackfield.steps.call import GIVEN_ON, READ_BY_KERNEL, is_read

_NOT_PLAIN: Final = (
    inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR
)
_SPECS_KEPT: Final = 1_000


class Specs(dict[str, AppSpec]):
    """Functions that are no apps, by name, as apps that may run on ``executors``.

    All are forgotten when there are too many, as with a name made up for each call.
    """

    def __init__(self, executors: Any = "all") -> None:
        super().__init__()
        self._executors = executors

    def __missing__(self, name: str) -> AppSpec:
        if len(self) >= _SPECS_KEPT:
            self.clear()
        spec = self[name] = AppSpec(printable(str(name)), executors=self._executors)
        return spec


def name_of(function: Callable[..., Any]) -> str:
    """Return a function's name as it may be printed; a partial has its function's."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", None)
    return printable(name if isinstance(name, str) else type(function).__name__)


def plain_call(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """Return what to submit for the call of a function that is no app.

    Raises:
        TypeError: It is a generator function.
    """
    target = function
    if type(function) is FunctionType:
        if function.__dict__ or function.__code__.co_flags & _NOT_PLAIN:
            target = runnable(name_of(function), function)
        defaults, named = function.__defaults__ or (), function.__kwdefaults__ or {}
        look = named or not ATOMIC.issuperset(map(type, defaults))
        if look and find(defaults, named) is not None:
            args, kwargs = with_defaults(function, args, kwargs)
            target = runnable(name_of(function), without_defaults(function))
    elif not isinstance(function, BuiltinFunctionType | type):
        target = runnable(name_of(function), function)
    return target, args, kwargs


def with_defaults(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Add to a call those defaults of its function in which a task finds something."""
    parameters = list(inspect.signature(function).parameters.values())
    for index, one in enumerate(parameters):
        given = one.kind is not one.KEYWORD_ONLY and index < len(args)
        if given or one.name in kwargs or find((one.default,), {}) is None:
            continue
        if one.kind is not one.POSITIONAL_ONLY:
            kwargs = {**kwargs, one.name: one.default}
            continue
        # Of a parameter without a name for callers, those before it are needed, too.
        before = [p.default for p in parameters[len(args) : index + 1]]
        if one.empty not in before:
            args += tuple(before)
    return args, kwargs


def without_defaults(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that can be pickled, though a future is a default of it.

    Such defaults are ``None`` in it; ``with_defaults`` adds them to each call.
    """
    if not isinstance(function, FunctionType):
        return function

    def kept(value: Any) -> Any:
        return value if find((value,), {}) is None else None

    copy = FunctionType(
        function.__code__, function.__globals__, closure=function.__closure__
    )
    functools.update_wrapper(copy, function)
    del vars(copy)["__wrapped__"]
    copy.__defaults__ = tuple(map(kept, function.__defaults__ or ()))
    named = function.__kwdefaults__ or {}
    copy.__kwdefaults__ = {name: kept(value) for name, value in named.items()}
    return copy


def parameters_of(
    function: Callable[..., Any],
) -> Mapping[str, inspect.Parameter] | None:
    """Return a function's parameters; ``None`` of a C function that does not tell."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None


def read_signature(
    function: Callable[..., Any],
) -> tuple[frozenset[str], dict[str, Any]]:
    """Return which of the kernel's arguments a function takes, and their defaults."""
    parameters = (parameters_of(function) or {}).values()
    accepts = frozenset(p.name for p in parameters) & READ_BY_KERNEL
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        accepts |= GIVEN_ON
    defaults = {
        p.name: p.default
        for p in parameters
        if p.name in READ_BY_KERNEL
        and p.default is not p.empty
        and p.default is not None
        and is_read(p.name, p.default)
        and p.default not in ((), [])
    }
    return accepts, defaults
