"""The public face of a kernel."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, overload

from jackfield.apps.decorators import App, read_signature
from jackfield.errors import KernelClosedError
from jackfield.executors.pool import ExecutorPool
from jackfield.futures.callbacks import CallbackRunner
from jackfield.futures.mapping import windowed
from jackfield.graph.effects import Barrier
from jackfield.graph.events import EventStream
from jackfield.graph.task import AppSpec, checked_labels
from jackfield.kernel import shutdown
from jackfield.kernel.own_executors import own_executors
from jackfield.kernel.rundir import make_run_dir, open_log
from jackfield.kernel.summary import Summary
from jackfield.plugins.manager import PluginManager
from jackfield.results.checkpoints import Checkpoints
from jackfield.states import TaskState
from jackfield.steps.engine import Engine
from jackfield.steps.submit import READ_BY_KERNEL, submit

if TYPE_CHECKING:
    import concurrent.futures

    from jackfield.abc import Executor
    from jackfield.config import Config
    from jackfield.futures import AppFuture
    from jackfield.graph.task import Executors

P = ParamSpec("P")
R = TypeVar("R")


class DataFlowKernel:
    """Runs tasks when what they depend on is there.

    Most scripts use ``jackfield.load`` and decorated apps instead of making one.
    All methods may be called on any thread.

    Args:
        config: The configuration; without one, the defaults.
        manager: Plugins; without, a manager is made from the configuration.

    Raises:
        ConfigurationError: Something in the configuration cannot be.
        PluginError: A plugin that it names is missing or broken.
        ExecutorError: An executor does not start; those that did are stopped.
    """

    def __init__(
        self, config: Config | None = None, *, manager: PluginManager | None = None
    ) -> None:
        if config is None:
            from jackfield.config import Config

            config = Config()
        self._config: Config = config
        self._manager: PluginManager = manager or _manager(config)
        self._started: float = time.monotonic()
        self._wall: float = time.time()
        self._pid: int = os.getpid()
        self._plain_specs: dict[str, AppSpec] = {}
        self._starting: threading.Lock = threading.Lock()
        self._closer: dict[str, int] = {}
        self._ended: threading.Event = threading.Event()
        self._run_dir: Path = make_run_dir(Path(config.run_dir))
        self._log = open_log(self._run_dir, config.log_level)
        self._manager.log = self._log
        self._engine: Engine = Engine(config, self._manager, self._run_dir, self._log)
        try:
            self._start()
        except BaseException:
            shutdown.abort(self)
            raise

    def _start(self) -> None:
        engine, config = self._engine, self._config
        self._manager.load_general()
        engine.callbacks = CallbackRunner()
        engine.checkpoints = Checkpoints(
            config.checkpoint,
            self._manager.open_checkpoint,
            self._run_dir.parent,
            self._log,
            engine.scheduler.gathering,
            engine.stop_run,
        )
        engine.pool = ExecutorPool(
            self._manager,
            self._run_dir,
            engine.report,
            own_executors(config),
            self._log,
        )
        engine.pool.add(config.executors)
        self._observe()
        engine.scheduler.start()
        shutdown.watch(self)
        self._log.info("Kernel started; executors: %s", ", ".join(self.executors))
        self._manager.notify("jackfield_kernel_started", kernel=self)

    def _observe(self) -> None:
        """Start the event stream, once there is somebody to observe it."""
        with self._starting:
            engine, manager = self._engine, self._manager
            stream = engine.events or engine.transfer_events
            if stream is None and (manager.observers or manager.transfer_observers):
                stream = EventStream(manager.deliver_events, self._log)
                stream.start()
            if manager.observers:
                engine.events = stream
            if manager.transfer_observers:
                engine.transfer_events = stream

    # -- facts

    @property
    def config(self) -> Config:
        """The configuration that the kernel was made with."""
        return self._config

    @property
    def run_dir(self) -> Path:
        """The run's own directory."""
        return self._run_dir

    @property
    def executors(self) -> tuple[str, ...]:
        """Labels of the executors."""
        return tuple(self._engine.pool.labels)

    @property
    def closed(self) -> bool:
        """Whether the kernel has stopped taking tasks."""
        return self._engine.closed is not None

    @property
    def task_state_counts(self) -> Mapping[TaskState, int]:
        """How many tasks are, or ended, in each state."""
        counts = dict.fromkeys(TaskState, 0)
        counts.update(self._engine.counts)
        for task in list(self._engine.live.values()):
            counts[task.state] += 1
        return MappingProxyType(counts)

    def summary(self) -> Summary:
        """Return what became of the tasks so far."""
        engine = self._engine
        return Summary(
            counts=self.task_state_counts,
            failures=tuple(engine.failures),
            failed=engine.counts[TaskState.FAILED],
            elapsed=time.monotonic() - self._started,
            run_dir=self._run_dir,
        )

    # -- tasks

    @overload
    def submit(
        self,
        func: App[..., R],
        /,
        *args: Any,
        executors: Executors | list[str] = "all",
        cache: bool = False,
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
        **kwargs: Any,
    ) -> AppFuture[R]: ...
    def submit(
        self,
        func: Callable[..., Any],
        /,
        *args: Any,
        executors: Executors | list[str] = "all",
        cache: bool = False,
        **kwargs: Any,
    ) -> AppFuture[Any]:
        """Run ``func(*args, **kwargs)`` when the futures among the arguments are done.

        Args:
            func: A function, or an app, which keeps its options.
            args: Positional arguments.
            executors: Labels of executors that may run it, or ``"all"``.
            cache: Whether an equal call may share its result.
            kwargs: Keyword arguments for the function; ``label``, ``walltime``,
                ``outputs``, ``stdout`` and ``stderr`` mean what they do for apps.

        Returns:
            The task's future.

        Raises:
            KernelClosedError: The kernel takes no more tasks.
            ConfigurationError: An executor is unknown or cannot do what is asked.
        """
        if isinstance(func, App):
            changes: dict[str, Any] = {"cache": True} if cache else {}
            if executors != "all":
                changes["executors"] = executors
            app = func.options(**changes) if changes else func
            return app.submit_to(self, args, kwargs)
        name = getattr(func, "__name__", None) or type(func).__name__
        if executors != "all" or cache or not READ_BY_KERNEL.isdisjoint(kwargs):
            spec = AppSpec(
                name,
                executors=checked_labels(executors),
                cache=cache,
                accepts=read_signature(func)[0],
            )
            return submit(self._engine, spec, func, args, kwargs)
        plain = self._plain_specs.get(name)
        if plain is None:
            plain = self._plain_specs[name] = AppSpec(name)
        return submit(self._engine, plain, func, args, kwargs)

    def submit_app(
        self,
        spec: AppSpec,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> AppFuture[Any]:
        """Submit one call of an app; used by the decorators."""
        return submit(self._engine, spec, function, args, kwargs)

    @overload
    def map(
        self,
        func: App[..., R],
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
        self,
        func: Callable[..., Any],
        /,
        *iterables: Iterable[Any],
        window: int | None = None,
    ) -> Iterator[Any]:
        """Submit a call for each item and give the results in order.

        Args:
            func: A function or an app.
            iterables: As for the built-in ``map``; the shortest ends it.
            window: Calls that may be unfinished or unfetched at a time: with it, a
                generator of a million items needs the memory of a few. ``None``
                submits everything at the first ``next``.

        Raises:
            BaseException: When a result is fetched whose task failed, its error;
                what was submitted beyond it is cancelled.
        """
        return windowed(lambda *items: self.submit(func, *items), iterables, window)

    # -- waiting and ending

    def wait_for_current_tasks(self, timeout: float | None = None) -> None:
        """Wait until every task submitted so far has ended, however it ends.

        Args:
            timeout: Seconds; ``None`` waits for ever.

        Raises:
            TimeoutError: Some have not ended in time.
            RuntimeError: The caller is itself a task, which would wait for itself.
        """
        engine = self._engine
        if engine.serves():
            raise RuntimeError("A task cannot wait for all tasks: it is one of them.")
        if self._ended.is_set():
            return
        barrier = Barrier()
        engine.scheduler.post(partial(engine.set_barrier, barrier))
        down = False
        try:
            down = barrier.down.wait(timeout)
        finally:
            if not down:
                engine.scheduler.post(partial(engine.drop_barrier, barrier))
        if not down:
            number = len(barrier.left)
            raise TimeoutError(f"{number} tasks did not end within {timeout} s")

    def checkpoint(self) -> None:
        """Write the results of cached apps that are not written yet, and wait for it.

        What ended tasks gave then survives the death of this process. In mode
        ``"manual"`` nothing else writes.

        Raises:
            CheckpointError: They cannot be written, or are kept in memory only.
            KernelClosedError: The kernel has ended.
        """
        self._engine.checkpoints.checkpoint()

    def add_executors(
        self,
        executors: Mapping[
            str, Mapping[str, Any] | Executor | concurrent.futures.Executor
        ],
    ) -> None:
        """Start more executors; tasks that may run anywhere use them at once.

        Args:
            executors: Label to table or executor, as in the configuration.
        """
        from jackfield.config import checked_executors

        if self.closed:
            raise KernelClosedError(f"cannot add executors: {self._engine.closed}")
        self._engine.pool.add(checked_executors(executors))

    def register(self, plugin: object, name: str | None = None) -> str:
        """Register a plugin object; return its name."""
        registered = self._manager.register(plugin, name)
        self._observe()
        return registered

    def cleanup(self, *, wait: bool = True) -> None:
        """End the kernel: once, from any state, on any thread.

        On a thread of the kernel or of a task it only starts, and goes on in the
        background, because it could not wait for itself.

        Args:
            wait: Whether to let every task end first. Otherwise what has not begun
                is cancelled, and what runs gets ``exit_grace`` seconds, then is
                stopped where the executor can.
        """
        shutdown.cleanup(self, wait=wait)

    def __enter__(self) -> Self:
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
        self.cleanup(wait=kind is None and self._config.exit_mode == "wait")

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open"
        return f"<DataFlowKernel {self._run_dir} {state}: {', '.join(self.executors)}>"

    def __reduce__(self) -> Any:
        raise TypeError("A DataFlowKernel cannot be pickled: it lives in the driver.")


def _manager(config: Config) -> PluginManager:
    return PluginManager(
        config.plugins, allow=config.allow_plugins, block=config.block_plugins
    )
