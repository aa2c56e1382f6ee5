"""``python_app``, ``bash_app`` and ``join_app``."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from types import FunctionType, MethodType
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Generic,
    NoReturn,
    ParamSpec,
    TypeAlias,
    TypedDict,
    TypeVar,
    Unpack,
    cast,
    overload,
)

from jackfield.errors import ConfigurationError, suggest
from jackfield.executors.coroutines import runnable
from jackfield.futures.mapping import windowed
from jackfield.graph.arguments import find
from jackfield.graph.route import INTERNAL
from jackfield.graph.task import AppSpec, Kind, checked_labels
from jackfield.kernel.load import dfk
from jackfield.steps.call import (
    GIVEN_ON,
    READ_BY_KERNEL,
    checked_priority,
    checked_resources,
    checked_walltime,
    expect,
    is_number,
)
from jackfield.steps.functions import (
    name_of,
    parameters_of,
    read_signature,
    with_defaults,
    without_defaults,
)

if TYPE_CHECKING:
    from jackfield.futures import AppFuture
    from jackfield.kernel.dfk import DataFlowKernel

_Command: TypeAlias = str | Coroutine[Any, Any, str]
P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")


class JoinOptions(TypedDict, total=False):
    """What ``join_app`` can be told of an app. All of it may be left out.

    Attributes:
        data_flow_kernel: The kernel to use instead of the loaded one.
        cache: Whether equal calls share one execution.
        ignore_for_cache: Names of arguments that do not matter for that.
        cache_failures: Whether later calls share a failure, for the rest of the run.
        version: Stands for the function's code in what makes two calls equal: change
            it when the old results shall not be used any more, and only then.
        depends_on: More functions whose code counts, which the function calls in a way
            that cannot be seen in it.
        retries: How often a call is tried again; ``None`` leaves it to the
            configuration, here as below.
        retry_delay: Seconds to wait after the first failure.
        retry_backoff: Factor by which each further wait is longer.
        walltime: Seconds that each attempt may take; a call may say so too.
        priority: Of tasks that wait, those with a higher one begin first; as above.
    """

    data_flow_kernel: DataFlowKernel | None
    cache: bool
    ignore_for_cache: Sequence[str]
    cache_failures: bool
    version: str | None
    depends_on: Sequence[Callable[..., Any]]
    retries: float | None
    retry_delay: float | None
    retry_backoff: float | None
    walltime: float | None
    priority: int | None


class AppOptions(JoinOptions, total=False):
    """What ``python_app`` and ``bash_app`` can be told of an app.

    Attributes:
        executors: Labels of the executors that may run it, or ``"all"``.
        resources: What it needs: amounts, by the names that the executor knows.
    """

    executors: Sequence[str] | str
    resources: Mapping[str, float] | None


_ALL: Final = frozenset(AppOptions.__annotations__)

_MOST_VARIANTS: Final = 100
"""Variants of one app that are kept, one for each value of ``resources=`` in calls."""


class _OfFutures:
    """Stands under a name that futures have and apps have not."""

    def __get__(self, app: object, owner: type) -> NoReturn:
        raise AttributeError(
            f"{app or owner!r} is an app, and no future: call it, and ask the future "
            f"that it returns for .result()."
        )


class App(Generic[P, R_co]):
    """A decorated function: calling it submits a task and returns its future.

    ``app.__wrapped__`` is the function itself, to be called without a kernel. An
    app in a class body is a method as a function is.

    Type checkers know the result's type. They do not check a call's arguments, for any
    of them may be, or hold, a future of what the function takes. What a generic
    function returns depends on them: it is known if none is a future.
    """

    def __init__(
        self, function: Callable[P, Any], kind: Kind, options: Mapping[str, Any]
    ) -> None:
        if not callable(function):
            raise TypeError(
                f"{kind}_app decorates a function, not {function!r}. Its options have "
                f"names: @{kind}_app(retries=3)."
            )
        self.__wrapped__: Callable[..., Any] = function
        self.__name__: str = name_of(function)
        functools.update_wrapper(self, function)
        self._kind: Kind = kind
        self._options: dict[str, Any] = dict(options)
        self._kernel: DataFlowKernel | None = options.get("data_flow_kernel")
        self._spec: AppSpec = _spec(function, kind, options)
        # The function, if defaults of it are, or hold, what a task has to wait for.
        self._waiting: Callable[..., Any] | None = None
        target = function
        parameters = parameters_of(function) or {}
        if find(tuple(one.default for one in parameters.values()), {}) is not None:
            self._waiting, target = function, without_defaults(function)
        self._target: Callable[..., Any] = runnable(self.__name__, target)
        self._ready: bool = kind != "bash" and self._waiting is None
        # Whether a call's ``resources=`` is the kernel's, and no parameter of its own.
        self._takes_resources: bool = kind != "join" and "resources" not in parameters
        self._variants: dict[Any, App[P, R_co]] = {}
        # An app that is a method, got from an object: the app of the class, and the
        # object, which is the first argument of every call.
        self._unbound: App[Any, R_co] | None = None
        self._bound: tuple[Any, ...] = ()

    @overload
    def __call__(
        self: App[Any, Coroutine[Any, Any, T]], /, *args: Any, **kwargs: Any
    ) -> AppFuture[T]: ...
    @overload  # for a generic function, whose result depends on its arguments
    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> AppFuture[R_co]: ...
    @overload
    def __call__(self, /, *args: Any, **kwargs: Any) -> AppFuture[R_co]: ...
    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Submit a call; see ``DataFlowKernel.submit``."""
        return self.submit_to(self._kernel or dfk(), args, kwargs)

    def submit_to(
        self, kernel: DataFlowKernel, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AppFuture[R_co]:
        """Submit a call to a certain kernel."""
        if kwargs and self._takes_resources and kwargs.get("resources") is not None:
            kwargs = dict(kwargs)
            return self._with(kwargs.pop("resources")).submit_to(kernel, args, kwargs)
        args = self._bound + args
        if self._ready:
            return kernel.submit_app(self._spec, self._target, args, kwargs)
        if self._waiting is not None:
            args, kwargs = with_defaults(self._waiting, args, kwargs)
        target = self._target
        if self._kind == "bash":
            app = self._unbound or self
            target = kernel.command(app, target, self._spec.name)
        return kernel.submit_app(self._spec, target, args, kwargs)

    @overload
    def map(
        self: App[Any, Coroutine[Any, Any, T]],
        *iterables: Iterable[Any],
        window: int | None = None,
    ) -> Iterator[T]: ...
    @overload
    def map(
        self, *iterables: Iterable[Any], window: int | None = None
    ) -> Iterator[R_co]: ...
    def map(self, *iterables: Iterable[Any], window: int | None = None) -> Any:
        """Call it for each item, give results in order; see ``DataFlowKernel.map``."""
        return windowed(self, iterables, window)

    def options(self, **changes: Unpack[AppOptions]) -> App[P, R_co]:
        """Return the same app with other options: ``app.options(retries=3)(x)``.

        Raises:
            ConfigurationError: An option is unknown, or its value wrong.
        """
        if self._unbound is not None:
            bound = _bind(self._unbound.options(**changes), *self._bound)
            return cast("App[P, R_co]", bound)
        _check_names(self._kind, changes)
        return App(self.__wrapped__, self._kind, {**self._options, **changes})

    def _with(self, resources: Mapping[str, float]) -> App[P, R_co]:
        """Return the app with what a call asks for, kept for the next such call."""
        checked = checked_resources(self._spec.name, resources)
        key = frozenset(checked.items())
        app = self._variants.get(key)
        if app is None:
            if len(self._variants) >= _MOST_VARIANTS:
                self._variants.clear()
            app = self._variants[key] = self.options(resources=checked)
        return app

    def _is_importable(self) -> bool:
        """Whether another process finds this app by its module and name."""
        found: Any = sys.modules.get(self.__wrapped__.__module__)
        for name in getattr(self.__wrapped__, "__qualname__", "?").split("."):
            found = getattr(found, name, None)
        return found is self and self.__wrapped__.__module__ != "__main__"

    def __get__(self, instance: object, owner: type | None = None) -> App[..., R_co]:
        method = isinstance(self.__wrapped__, FunctionType)
        return _bind(self, instance) if method and instance is not None else self

    def __repr__(self) -> str:
        return f"<{self._kind}_app {self._spec.name}>"

    if not TYPE_CHECKING:
        result = exception = done = cancel = add_done_callback = outputs = _OfFutures()

    __jackfield_app__ = True

    def __jackfield_hash__(self) -> tuple[str, Callable[..., Any]]:
        return self._kind, self.__wrapped__

    def __jackfield_function__(self) -> tuple[str, Callable[..., Any]]:
        return "", self.__wrapped__

    def __reduce__(self) -> Any:
        """Say how to pickle it: as a name, where another process can import that."""
        if self._unbound is not None:
            return _bind, (self._unbound, *self._bound)
        if self._is_importable():
            return self.__wrapped__.__qualname__
        options = {k: v for k, v in self._options.items() if k != "data_flow_kernel"}
        function = self.__wrapped__
        if self._waiting is not None:  # a future cannot be pickled
            function = without_defaults(self._waiting)
        return App, (function, self._kind, options)


def _bind(app: App[Any, R_co], instance: object) -> App[..., R_co]:
    """Return an app as a method of an object."""
    bound: App[..., R_co] = object.__new__(App)
    bound.__dict__.update(app.__dict__)
    bound.__wrapped__ = MethodType(app.__wrapped__, instance)
    bound._unbound, bound._bound, bound._variants = app, (instance,), {}
    return bound


@overload
def python_app(function: Callable[P, R], /) -> App[P, R]: ...
@overload
def python_app(
    **options: Unpack[AppOptions],
) -> Callable[[Callable[P, R]], App[P, R]]: ...
def python_app(
    function: Callable[..., Any] | None = None, /, **options: Unpack[AppOptions]
) -> Any:
    """Make a function an app: its call is a task, run where an executor puts it.

    Used bare or with options: see ``AppOptions``. Futures among a call's arguments, and
    among the defaults of those that it leaves out, are waited for, and the function
    gets their results. A function made with ``async def`` is run to its end, in an
    event loop of its own, where the task runs.

    Raises:
        ConfigurationError: An option is unknown, or its value is wrong.
        TypeError: It is a generator function.
    """
    return _decorate("python", function, options)


@overload
def bash_app(function: Callable[P, _Command], /) -> App[P, int]: ...
@overload
def bash_app(
    **options: Unpack[AppOptions],
) -> Callable[[Callable[P, _Command]], App[P, int]]: ...
def bash_app(
    function: Callable[..., Any] | None = None, /, **options: Unpack[AppOptions]
) -> Any:
    """Make a function that returns a command line an app that runs it in bash.

    The command runs in the directory of the call. The call's ``stdout=`` and
    ``stderr=`` take a path, ``(path, mode)``, a ``File`` or ``AUTO_LOGNAME``; without a
    mode the stream is appended to what the file has. Both may name one file. Given a
    ``File``, ``future.stdout`` is a future of it. The result is 0: any other exit code
    is a ``BashExitFailure``, a missing file of ``outputs=`` is ``MissingOutputs``, and
    at the walltime the command is killed with all that it started. As ever in bash, a
    pipeline succeeds when its last part does, unless it begins ``set -o pipefail``. For
    the options see ``AppOptions``.
    """
    return _decorate("bash", function, options)


@overload
def join_app(function: Callable[P, Any], /) -> App[P, Any]: ...
@overload
def join_app(
    **options: Unpack[JoinOptions],
) -> Callable[[Callable[P, Any]], App[P, Any]]: ...
def join_app(
    function: Callable[..., Any] | None = None, /, **options: Unpack[JoinOptions]
) -> Any:
    """Make a function that calls apps an app that ends with their results.

    The body runs on a thread of the driver and returns a future, or futures in
    lists, dicts and other containers to any depth. The task ends when they have,
    with the same structure holding their results; if one fails, with ``JoinError``.

    For the options see ``JoinOptions``: as the body runs in the driver, there are no
    ``executors`` and no ``resources`` to choose. ``walltime`` and ``retries`` are the
    body's; the tasks that it calls have their own. ``cancel()`` ends the join and
    what waits for it, and leaves these tasks alone, which others may wait for, too.
    ``outputs`` are looked for when these tasks have ended, and may be made by them.
    """
    return _decorate("join", function, options)


def _decorate(
    kind: Kind, function: Callable[..., Any] | None, options: Mapping[str, Any]
) -> Any:
    _check_names(kind, options)
    if function is None:
        return lambda function: App(function, kind, options)
    return App(function, kind, options)


def _check_names(kind: Kind, options: Mapping[str, Any]) -> None:
    """Refuse an option that there is not, or not for this kind of app.

    Raises:
        ConfigurationError: It names the option, the nearest right one, and all.
    """
    known = sorted(JoinOptions.__annotations__ if kind == "join" else _ALL)
    for name in options:
        if kind == "join" and name in _ALL and name not in known:
            raise ConfigurationError(
                f"A join app's body runs in the driver: it takes no {name}=."
            )
        if name not in known:
            raise ConfigurationError(
                f"Apps have no option {name!r}{suggest(name, known)} "
                f"Options: {', '.join(known)}."
            )


def _spec(
    function: Callable[..., Any], kind: Kind, options: Mapping[str, Any]
) -> AppSpec:
    name = name_of(function)
    accepts, defaults = read_signature(function)
    walltime = options.get("walltime")
    if walltime is not None:
        walltime = checked_walltime(name, walltime)
        if kind == "bash":  # the command is killed by the one who started it
            defaults = {**defaults, "walltime": walltime}
            walltime = None
    executors = (INTERNAL,) if kind == "join" else options.get("executors", "all")
    version, functions = options.get("version"), options.get("depends_on", ())
    expect("a text", name, "version", version, fits=isinstance(version, str | None))
    fits = isinstance(functions, list | tuple) and all(map(callable, functions))
    expect("a list of functions", name, "depends_on", functions, fits=fits)
    return AppSpec(
        name,
        kind=kind,
        executors=checked_labels(executors),
        cache=_flag(name, options, "cache"),
        ignore_for_cache=_ignored(name, function, options),
        cache_failures=_flag(name, options, "cache_failures"),
        version=version,
        depends_on=tuple(functions),
        retries=_number(name, options, "retries", 0.0),
        retry_delay=_number(name, options, "retry_delay", 0.0),
        retry_backoff=_number(name, options, "retry_backoff", 1.0),
        walltime=walltime,
        priority=checked_priority(name, options.get("priority")),
        resources=checked_resources(name, options.get("resources")),
        accepts=accepts | GIVEN_ON if kind == "bash" else accepts,
        defaults=defaults,
    )


def _flag(app: str, options: Mapping[str, Any], name: str) -> bool:
    value: bool = options.get(name, False)
    expect("True or False", app, name, value, fits=isinstance(value, bool))
    return value


def _ignored(
    app: str, function: Callable[..., Any], options: Mapping[str, Any]
) -> tuple[str, ...]:
    """Return the arguments that do not count; refuse one that the app does not take."""
    names = options.get("ignore_for_cache") or ()
    fits = isinstance(names, list | tuple | set | frozenset)
    fits = fits and all(isinstance(one, str) for one in names)
    expect("a list of names of arguments", app, "ignore_for_cache", names, fits=fits)
    parameters = parameters_of(function) if names else None
    if parameters is None or any(
        one.kind is one.VAR_KEYWORD for one in parameters.values()
    ):
        return tuple(names)
    for name in names:
        if name not in parameters and name not in READ_BY_KERNEL:
            raise ConfigurationError(
                f"ignore_for_cache= of {app!r} names {name!r}, which is no parameter "
                f"of it{suggest(name, sorted(parameters))}"
            )
    return tuple(names)


def _number(
    app: str, options: Mapping[str, Any], name: str, least: float
) -> float | None:
    value = options.get(name)
    fits = value is None or (is_number(value) and value >= least)
    expect(f"a number from {least:g} up", app, name, value, fits=fits)
    return None if value is None else float(value)
