"""``python_app``, ``bash_app`` and ``join_app``."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import FunctionType, MethodType
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Generic,
    ParamSpec,
    TypeVar,
    cast,
    overload,
)

from jackfield.apps.bash import BashCommand
from jackfield.errors import ConfigurationError
from jackfield.executors.pool import INTERNAL
from jackfield.futures.mapping import windowed
from jackfield.graph.task import AppSpec, Kind, checked_labels
from jackfield.kernel import current
from jackfield.steps.submit import READ_BY_KERNEL, checked_walltime

if TYPE_CHECKING:
    from jackfield.futures import AppFuture
    from jackfield.kernel.dfk import DataFlowKernel

P = ParamSpec("P")
R = TypeVar("R")


class App(Generic[P, R]):
    """A decorated function: calling it submits a task and returns its future.

    ``app.__wrapped__`` is the function itself, to be called without a kernel. An
    app in a class body is a method as a function is.

    Type checkers know the result's type. They do not check a call's arguments, for
    any of them may be, or hold, a future of what the function takes.
    """

    def __init__(
        self, function: Callable[P, Any], kind: Kind, options: Mapping[str, Any]
    ) -> None:
        if not callable(function):
            raise TypeError(f"{kind}_app decorates a function, not {function!r}.")
        self.__wrapped__: Callable[..., Any] = function
        self.__name__: str = _name(function)
        functools.update_wrapper(self, function)
        self._kind: Kind = kind
        self._options: dict[str, Any] = dict(options)
        self._kernel: DataFlowKernel | None = options.get("data_flow_kernel")
        self._spec: AppSpec = _spec(function, kind, options)
        self._target: Callable[..., Any] = function
        if kind == "bash":
            self._target = BashCommand(function, self._spec.name)
        self._unbound: App[Any, R] | None = None  # set in a method of an object
        self._bound: tuple[Any, ...] = ()

    def __call__(self, *args: Any, **kwargs: Any) -> AppFuture[R]:
        """Submit a call; see ``DataFlowKernel.submit``."""
        return self.submit_to(self._kernel or current.dfk(), args, kwargs)

    def submit_to(
        self, kernel: DataFlowKernel, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AppFuture[R]:
        """Submit a call to a certain kernel."""
        return kernel.submit_app(self._spec, self._target, self._bound + args, kwargs)

    def map(self, *iterables: Iterable[Any], window: int | None = None) -> Iterator[R]:
        """Call the app for each item, give results in order.

        See ``DataFlowKernel.map``.
        """
        return windowed(self, iterables, window)

    def options(self, **changes: Any) -> App[P, R]:
        """Return the same app with other options: ``app.options(retries=3)(x)``."""
        if self._unbound is not None:
            bound = _bind(self._unbound.options(**changes), *self._bound)
            return cast("App[P, R]", bound)
        return App(self.__wrapped__, self._kind, {**self._options, **_known(changes)})

    def _is_importable(self) -> bool:
        """Whether another process finds this app by its module and name."""
        found: Any = sys.modules.get(self.__wrapped__.__module__)
        for name in getattr(self.__wrapped__, "__qualname__", "?").split("."):
            found = getattr(found, name, None)
        return found is self and self.__wrapped__.__module__ != "__main__"

    def __get__(self, instance: object, owner: type | None = None) -> App[..., R]:
        method = isinstance(self.__wrapped__, FunctionType)
        return _bind(self, instance) if method and instance is not None else self

    def __repr__(self) -> str:
        return f"<{self._kind}_app {self._spec.name}>"

    def __jackfield_hash__(self) -> tuple[str, Callable[..., Any]]:
        return self._kind, self.__wrapped__

    def __jackfield_function__(self) -> tuple[str, Callable[..., Any]]:
        return "", self.__wrapped__

    def __reduce__(self) -> Any:
        if self._unbound is not None:
            return _bind, (self._unbound, *self._bound)
        if self._is_importable():
            return self.__wrapped__.__qualname__
        options = {k: v for k, v in self._options.items() if k != "data_flow_kernel"}
        return App, (self.__wrapped__, self._kind, options)


def _bind(app: App[Any, R], instance: object) -> App[..., R]:
    """Return an app as a method of an object."""
    bound: App[..., R] = object.__new__(App)
    bound.__dict__.update(app.__dict__)
    bound.__wrapped__ = MethodType(app.__wrapped__, instance)
    bound._unbound, bound._bound = app, (instance,)
    return bound


@overload
def python_app(function: Callable[P, R], /) -> App[P, R]: ...
@overload
def python_app(
    *,
    data_flow_kernel: DataFlowKernel | None = None,
    executors: Sequence[str] | str = "all",
    cache: bool = False,
    ignore_for_cache: Sequence[str] = (),
    cache_failures: bool = False,
    version: str | None = None,
    depends_on: Sequence[Callable[..., Any]] = (),
    retries: float | None = None,
    retry_delay: float | None = None,
    retry_backoff: float | None = None,
    walltime: float | None = None,
    resources: Mapping[str, float] | None = None,
) -> Callable[[Callable[P, R]], App[P, R]]: ...
def python_app(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function an app: its call is a task, run where an executor puts it.

    Used bare or with options. Futures among a call's arguments are waited for, and
    the function gets their results.

    Args:
        function: The function.
        options: ``data_flow_kernel``: the kernel to use instead of the loaded one.
            ``executors``: labels that may run it, or ``"all"``. ``cache``: equal
            calls share one execution; ``ignore_for_cache`` names arguments that do
            not matter for that. ``retries``: how often it is tried again,
            ``retry_delay`` seconds after the first failure, ``retry_backoff`` times
            longer after each further one. ``walltime``: seconds for each attempt;
            a call may say so too. ``resources``: what it needs, by the executor's
            names.

    Raises:
        ConfigurationError: An option is unknown or cannot be.
    """
    return _decorate("python", function, options)


@overload
def bash_app(function: Callable[P, str], /) -> App[P, int]: ...
@overload
def bash_app(
    *,
    data_flow_kernel: DataFlowKernel | None = None,
    executors: Sequence[str] | str = "all",
    cache: bool = False,
    ignore_for_cache: Sequence[str] = (),
    cache_failures: bool = False,
    version: str | None = None,
    depends_on: Sequence[Callable[..., Any]] = (),
    retries: float | None = None,
    retry_delay: float | None = None,
    retry_backoff: float | None = None,
    walltime: float | None = None,
    resources: Mapping[str, float] | None = None,
) -> Callable[[Callable[P, str]], App[P, int]]: ...
def bash_app(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function that returns a command line an app that runs it in bash.

    The call's ``stdout=`` and ``stderr=`` take a path, ``(path, mode)``, a ``File``
    or ``AUTO_LOGNAME``; without a mode the stream is appended to what the file has.
    Given a ``File``, ``future.stdout`` is a future of it. The result is 0: any other
    exit code is a ``BashExitFailure``, a missing file of ``outputs=`` is
    ``MissingOutputs``, and at the walltime the command is killed with all that it
    started. As ever in bash, a pipeline succeeds when its last part does, unless it
    begins ``set -o pipefail``.

    Args:
        function: The function; it returns the command line.
        options: As for ``python_app``.
    """
    return _decorate("bash", function, options)


@overload
def join_app(function: Callable[P, Any], /) -> App[P, Any]: ...
@overload
def join_app(
    *,
    data_flow_kernel: DataFlowKernel | None = None,
    cache: bool = False,
    ignore_for_cache: Sequence[str] = (),
    cache_failures: bool = False,
    version: str | None = None,
    depends_on: Sequence[Callable[..., Any]] = (),
    retries: float | None = None,
    retry_delay: float | None = None,
    retry_backoff: float | None = None,
    walltime: float | None = None,
) -> Callable[[Callable[P, Any]], App[P, Any]]: ...
def join_app(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function that calls apps an app that ends with their results.

    The body runs on a thread of the driver and returns a future, or futures in
    lists, dicts and other containers to any depth. The task ends when they have,
    with the same structure holding their results; if one fails, with ``JoinError``.

    Args:
        function: The function.
        options: As for ``python_app``, without ``executors`` and ``resources``.
    """
    return _decorate("join", function, options)


_OPTIONS: Final = frozenset(
    {
        "cache",
        "cache_failures",
        "data_flow_kernel",
        "depends_on",
        "executors",
        "ignore_for_cache",
        "resources",
        "retries",
        "retry_backoff",
        "retry_delay",
        "version",
        "walltime",
    }
)


def _decorate(
    kind: Kind, function: Callable[..., Any] | None, options: dict[str, Any]
) -> Any:
    _known(options)
    if kind == "join" and ("executors" in options or "resources" in options):
        raise ConfigurationError(
            "A join app's body runs in the driver: it takes no executors= and no "
            "resources=."
        )
    if function is None:
        return lambda function: App(function, kind, options)
    return App(function, kind, options)


def _known(options: dict[str, Any]) -> dict[str, Any]:
    from jackfield.errors import suggest

    for name in options:
        if name not in _OPTIONS:
            raise ConfigurationError(
                f"Apps have no option {name!r}{suggest(name, _OPTIONS)} "
                f"Options: {', '.join(sorted(_OPTIONS))}."
            )
    return options


def _spec(
    function: Callable[..., Any], kind: Kind, options: Mapping[str, Any]
) -> AppSpec:
    name = _name(function)
    accepts, defaults = read_signature(function)
    walltime = options.get("walltime")
    if walltime is not None:
        walltime = checked_walltime(name, walltime)
        if kind == "bash":  # the command is killed by the one who started it
            defaults = {**defaults, "walltime": walltime}
            walltime = None
    executors = (INTERNAL,) if kind == "join" else options.get("executors", "all")
    return AppSpec(
        name,
        kind=kind,
        executors=checked_labels(executors),
        cache=_flag(name, options, "cache"),
        ignore_for_cache=_names(name, options, "ignore_for_cache"),
        cache_failures=bool(options.get("cache_failures", False)),
        version=_version(name, options.get("version")),
        depends_on=_functions(name, options.get("depends_on", ())),
        retries=_number(name, options, "retries", 0.0),
        retry_delay=_number(name, options, "retry_delay", 0.0),
        retry_backoff=_number(name, options, "retry_backoff", 1.0),
        walltime=walltime,
        resources=_resources(name, options.get("resources")),
        accepts=READ_BY_KERNEL if kind == "bash" else accepts,
        defaults=defaults,
    )


def _name(function: Callable[..., Any]) -> str:
    name = getattr(function, "__name__", None)
    return name if isinstance(name, str) else type(function).__name__


def read_signature(
    function: Callable[..., Any],
) -> tuple[frozenset[str], dict[str, Any]]:
    """Return which of the kernel's arguments a function takes, and their defaults."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a C function that does not tell
        return frozenset(), {}
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        accepts = READ_BY_KERNEL
    else:
        accepts = frozenset(p.name for p in parameters) & READ_BY_KERNEL
    defaults = {
        p.name: p.default
        for p in parameters
        if p.name in READ_BY_KERNEL and p.default not in (p.empty, None, (), [])
    }
    return accepts, defaults


def _flag(app: str, options: Mapping[str, Any], name: str) -> bool:
    value = options.get(name, False)
    if not isinstance(value, bool):
        raise ConfigurationError(
            f"{name}= of {app!r} is {value!r}; expected True or False."
        )
    return value


def _names(app: str, options: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = options.get(name) or ()
    if not isinstance(value, list | tuple | set | frozenset) or not all(
        isinstance(one, str) for one in value
    ):
        raise ConfigurationError(
            f"{name}= of {app!r} is {value!r}; expected a list of names of arguments."
        )
    return tuple(value)


def _number(
    app: str, options: Mapping[str, Any], name: str, least: float
) -> float | None:
    value = options.get(name)
    if value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not value >= least:
        raise ConfigurationError(
            f"{name}= of {app!r} is {value!r}; expected a number from {least:g} up."
        )
    return float(value)


def _version(app: str, value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise ConfigurationError(f"version= of {app!r} is {value!r}; expected a text.")


def _functions(app: str, value: Any) -> tuple[Callable[..., Any], ...]:
    if isinstance(value, list | tuple) and all(callable(one) for one in value):
        return tuple(value)
    raise ConfigurationError(
        f"depends_on= of {app!r} is {value!r}; expected a list of functions."
    )


def _resources(app: str, value: Any) -> dict[str, float]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or not all(
        isinstance(amount, int | float) and amount >= 0 for amount in value.values()
    ):
        raise ConfigurationError(
            f"resources= of {app!r} is {value!r}; expected a dict of name to amount."
        )
    return dict(value)
