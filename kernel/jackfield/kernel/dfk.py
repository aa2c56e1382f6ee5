"""``DataFlowKernel``: the public face of a kernel."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import FunctionType, TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, overload
from weakref import WeakKeyDictionary

from jackfield.abc import Command
from jackfield.errors import ConfigurationError, KernelClosedError, printable, suggest
from jackfield.futures.mapping import windowed
from jackfield.graph.task import AppSpec, checked_labels
from jackfield.kernel.compose import Parts
from jackfield.kernel.log import RunLog
from jackfield.kernel.rundir import make_run_dir, unmake_run_dir
from jackfield.kernel.shutdown import Shutdown, end_first_at_exit
from jackfield.kernel.telling import INTERRUPTED
from jackfield.plugins.manager import PluginManager
from jackfield.states import Summary, TaskState  # noqa: TC001  (so that ``get_type_hints`` finds them)
from jackfield.steps.call import READ_BY_KERNEL, checked_resources
from jackfield.steps.functions import Specs, name_of, plain_call, read_signature

if TYPE_CHECKING:
    import concurrent.futures

    from jackfield.abc import Executor, Work
    from jackfield.config import Config
    from jackfield.futures import AppFuture
    from jackfield.graph.task import Executors

R = TypeVar("R")


class SubmitsItself(Protocol[R]):
    """An app, as far as the kernel knows it.

    Apps are built upon the kernel, so the kernel cannot import their class. It knows
    them by the attribute ``__jackfield_app__``.
    """

    __jackfield_app__: bool

    def submit_to(
        self, kernel: DataFlowKernel, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> AppFuture[R]:
        """Submit a call to a given kernel."""
        ...


class DataFlowKernel:
    """Runs tasks as soon as all that they depend on has ended.

    Most scripts call ``jackfield.load`` and use decorated apps, instead of making one.
    All methods may be called on any thread.

    Args:
        config: The configuration; without one, the defaults.
        files: What it was read from, to be named in the log.
        finder: The plugins that found it, so that they need not be looked for again.

    Raises:
        ConfigurationError: Something in the configuration is wrong.
        PluginError: A plugin that it names is missing or broken.
        ExecutorError: An executor does not start; those that did are stopped.

    Attributes:
        submit_app: Submits one call of an app: ``(spec, function, args, kwargs)``. For
            the decorators.
    """

    def __init__(
        self,
        config: Config | None = None,
        *,
        files: Iterable[str] = (),
        finder: PluginManager | None = None,
    ) -> None:
        from jackfield.config import Config

        config = Config() if config is None else config
        if not isinstance(config, Config):
            raise ConfigurationError(
                f"DataFlowKernel takes a Config, not {type(config).__name__}; tables, "
                f"names and paths are for jackfield.load."
            )
        self._config: Config = config
        self._manager: PluginManager = (finder or PluginManager()).configured(config)
        self._plain_specs: Specs = Specs()
        self._commands: WeakKeyDictionary[object, Command] = WeakKeyDictionary()
        self._starting: threading.Lock = threading.Lock()
        self._run_dir: Path = make_run_dir(
            Path(config.run_dir), shared=config.shared_run_dir
        )
        with ExitStack() as undo:  # the last first, should the kernel not start
            undo.callback(unmake_run_dir, self._run_dir)
            where = self._run_dir, config.log_level
            opened = self._manager.usual("log", (logging.Handler,), *where)
            self._log: RunLog = RunLog(opened)
            undo.callback(self._log.close)
            self._manager.log = self._log
            self._manager.load_general()
            self._manager.add_monitors(config.monitors)
            self._parts: Parts = Parts(config, self._manager, self._run_dir, self._log)
            self.submit_app: Callable[
                [AppSpec, Callable[..., Any], tuple[Any, ...], dict[str, Any]],
                AppFuture[Any],
            ] = self._parts.submitter.submit
            self._shutdown: Shutdown = Shutdown(self, self._parts)
            undo.callback(self._shutdown.abort)
            self._start()
            self._log.info("Configuration files: %s", ", ".join(files) or "none")
            undo.pop_all()  # it has started: nothing is undone

    def _start(self) -> None:
        parts, schemes = self._parts, self._manager.installed("staging")
        for scheme in self._config.staging:
            if not self._manager.serves(scheme):
                raise ConfigurationError(
                    f"staging.{scheme} is for no scheme of an installed plugin"
                    f"{suggest(scheme, schemes)}"
                )
        self._observe()  # before executors have workers to tell of
        parts.pool.add(self._config.executors)
        parts.scheduler.start()
        self._shutdown.watch()
        self._log.info("Kernel started; executors: %s", ", ".join(self.executors))
        self._manager.notify("jackfield_kernel_started", kernel=self)

    def _observe(self) -> None:
        with self._starting:
            self._parts.observe()

    def command(self, app: object, function: Callable[..., Any], name: str) -> Command:
        """Return what runs a bash app's command lines, made at the app's first call.

        For the decorators. Raises what ``PluginManager.usual`` does.
        """
        made = self._commands.get(app)
        if made is None:
            made = self._manager.usual("shell", (Command,), function, name)
            self._commands[app] = made
        return made

    # -- facts

    @property
    def config(self) -> Config:
        """The configuration that the kernel was made with."""
        return self._config

    def settings(self) -> Mapping[str, object]:
        """Return the configuration: key as files write it to value, without secrets."""
        from jackfield.config.shown import shown

        return shown(self._config, self._manager.shown_options)

    @property
    def run_dir(self) -> Path:
        """The run's own directory."""
        return self._run_dir

    @property
    def executors(self) -> tuple[str, ...]:
        """Labels of the executors."""
        return tuple(self._parts.pool.labels)

    @property
    def closed(self) -> bool:
        """Whether the kernel has stopped taking tasks."""
        return self._parts.closing.reason is not None

    @property
    def task_state_counts(self) -> Mapping[TaskState, int]:
        """How many tasks are in each state, or have ended in it; see ``Summary``."""
        return self._parts.summary().counts

    def summary(self) -> Summary:
        """Return what has become of the tasks so far."""
        return self._parts.summary()

    # -- tasks

    @property
    def tasks(self) -> Mapping[int, AppFuture[Any]]:
        """The tasks that have not ended: number to future, in the order of submission.

        It is a copy, made each time. A plugin or a task that asks may miss tasks that
        were submitted a moment ago.
        """
        return self._parts.in_turn(self._parts.unended)

    @overload
    def submit(
        self,
        func: SubmitsItself[R],
        /,
        *args: Any,
        executors: Executors | list[str] = "all",
        cache: bool = False,
        resources: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> AppFuture[R]: ...
    @overload
    def submit(
        self,
        func: Callable[..., R],
        /,
        *args: Any,
        executors: Executors | list[str] = "all",
        cache: bool = False,
        resources: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> AppFuture[R]: ...
    def submit(
        self,
        func: Any,
        /,
        *args: Any,
        executors: Executors | list[str] = "all",
        cache: bool = False,
        resources: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> AppFuture[Any]:
        """Run ``func(*args, **kwargs)`` when the futures among the arguments are done.

        Args:
            func: A function, or an app, which keeps its options.
            args: Positional arguments.
            executors: Labels of executors that may run it, or ``"all"``.
            cache: Whether equal calls share one execution and its result.
            resources: What it needs: amounts, by the names that the executor knows.
            kwargs: Keyword arguments for the function; ``label``, ``walltime``,
                ``outputs``, ``stdout`` and ``stderr`` mean what they do for apps.

        Returns:
            The task's future.

        Raises:
            KernelClosedError: The kernel takes no more tasks.
            ConfigurationError: An executor is unknown or cannot do what is asked.
        """
        if type(func) is FunctionType:
            name = func.__name__
        elif hasattr(type(func), "__jackfield_app__"):
            app: Any = func
            changes: dict[str, Any] = {"cache": True} if cache else {}
            if executors != "all":
                changes["executors"] = executors
            if resources is not None:
                changes["resources"] = resources
            if changes:
                app = app.options(**changes)
            future: AppFuture[Any] = app.submit_to(self, args, kwargs)
            return future
        else:
            name = getattr(func, "__name__", None) or name_of(func)
        target, args, kwargs = plain_call(func, args, kwargs)
        read = kwargs and not READ_BY_KERNEL.isdisjoint(kwargs)
        if executors != "all" or cache or read or resources:
            spec = AppSpec(
                printable(str(name)),
                executors=checked_labels(executors),
                cache=cache,
                resources=checked_resources(name, resources),
                accepts=read_signature(func)[0],
            )
            return self.submit_app(spec, target, args, kwargs)
        return self.submit_app(self._plain_specs[name], target, args, kwargs)

    @overload
    def map(
        self,
        func: SubmitsItself[R],
        /,
        *iterables: Iterable[Any],
        window: int | None = None,
    ) -> Iterator[R]: ...
    @overload
    def map(
        self,
        func: Callable[..., R],
        /,
        *iterables: Iterable[Any],
        window: int | None = None,
    ) -> Iterator[R]: ...
    def map(
        self, func: Any, /, *iterables: Iterable[Any], window: int | None = None
    ) -> Iterator[Any]:
        """Submit a call for each item and give the results in order.

        Args:
            func: A function or an app.
            iterables: As for the built-in ``map``; the shortest ends it.
            window: How many calls may be submitted whose results were not fetched yet.
                With it, a generator of a million items needs the memory of a few.
                ``None`` submits everything at the first ``next``.

        Raises:
            BaseException: The error of a task, when its result is fetched; the calls
                that were submitted after it are cancelled. Or what an iterable has
                raised, when the results of all calls before it are given.
            TypeError: There is no iterable, or ``window`` is no whole number.
        """
        return windowed(lambda *items: self.submit(func, *items), iterables, window)

    def wait_for_callbacks(self, begun: Callable[[], bool]) -> None:
        """Wait for done-callbacks to return; ``begun`` tells if the last was called."""
        self._parts.callbacks.flush(begun)

    def runs(self, work: Work) -> bool:
        """Tell whether a work is that of a task of this kernel."""
        return self._parts.home.task_of_work(work) is not None

    # -- waiting and ending

    def wait_for_current_tasks(self, timeout: float | None = None) -> None:
        """Wait until every task submitted so far has ended, however it ends.

        Args:
            timeout: Seconds; ``None`` waits for ever.

        Raises:
            TimeoutError: Some have not ended in time.
            RuntimeError: The caller is itself a task, which would wait for itself.
        """
        if self._parts.must_not_wait():
            raise RuntimeError("A task cannot wait for all tasks: it is one of them.")
        if not self._shutdown.ended.is_set():
            self._parts.wait_for_tasks(timeout)

    def checkpoint(self) -> None:
        """Write the results of cached apps to the checkpoint store, and wait for it.

        Afterwards the results of all tasks that have ended survive the death of this
        process. In mode ``"manual"`` this is the only time at which they are written.

        Raises:
            CheckpointError: They cannot be written, or are kept in memory only.
            KernelClosedError: The kernel has ended.
        """
        keeper = self._parts.keeper
        if keeper.ended:
            raise KernelClosedError("cannot checkpoint: the kernel has ended")
        if keeper.made is not None:  # else nothing was looked up: there is no result
            keeper.made.flush()

    def add_executors(
        self,
        executors: Mapping[
            str, Mapping[str, Any] | Executor | concurrent.futures.Executor
        ],
    ) -> None:
        """Start more executors. Tasks that may run on any can use them at once.

        Args:
            executors: Each label with a table or an executor, as in the configuration.

        Raises:
            KernelClosedError: The kernel takes no more tasks.
            ConfigurationError: A label is taken, or a table is wrong.
            ExecutorError: An executor does not start; then none of them is added.
        """
        from jackfield.config import checked

        if self.closed:
            raise KernelClosedError(
                f"cannot add executors: {self._parts.closing.reason}"
            )
        self._parts.pool.add(checked({"executors": executors})["executors"])
        end_first_at_exit()

    def register(self, plugin: object, name: str | None = None) -> str:
        """Register a plugin object; return its name.

        Its hooks are called from now on; it is not told of the start any more.

        Args:
            plugin: A module, or an object that is no class, with hooks.
            name: What messages call it; by default the module's or the class's name.

        Raises:
            PluginError: It is none, or its name is taken.
        """
        registered = self._manager.register(plugin, name)
        try:
            self._observe()
        except BaseException:
            self._manager.unregister(plugin)
            raise
        return registered

    def unregister(self, plugin: object) -> None:
        """Take out the very object that was registered, before a new version of it.

        Calls of its hooks that have begun go on.

        Raises:
            PluginError: It is not registered.
        """
        self._manager.unregister(plugin)

    def cleanup(self, *, wait: bool = True) -> None:
        """End the kernel. May be called in any state, on any thread, and repeatedly.

        A call that comes while another one is at work waits for that. A thread of the
        kernel or of a task cannot wait for itself: there the end goes on in the
        background, and this returns at once.

        Args:
            wait: Whether to let every task end first. Otherwise tasks that have not
                begun are cancelled, and those that run get ``exit_grace`` seconds and
                are then stopped, if their executor can do that.
        """
        self._shutdown.cleanup(wait=wait)

    def tell_no_failures(self) -> None:
        """Leave it to the caller to tell, at the end, of failures nobody asked for."""
        self._shutdown.tells = False

    def __enter__(self) -> Self:
        if self.closed:
            raise KernelClosedError(f"{self!r} has ended: use another jackfield.load()")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        del error, traceback
        if self._config.exit_mode == "skip" and kind is None:
            return
        wait = kind is None and self._config.exit_mode == "wait"
        self._shutdown.cleanup(wait=wait, why=_why(kind))

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<DataFlowKernel {self._run_dir} {state}: {', '.join(self.executors)}>"

    def __reduce__(self) -> Any:
        raise TypeError("A DataFlowKernel cannot be pickled: it lives in the driver.")


def _why(kind: type[BaseException] | None) -> str:
    """Return why a ``with`` block ends early, in words; ``""`` if it does not."""
    if kind is None:
        return ""
    interrupted = issubclass(kind, KeyboardInterrupt)
    return INTERRUPTED if interrupted else f"the block ends by {kind.__name__}"
