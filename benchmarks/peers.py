"""The systems that are compared, each behind the same few methods.

The bare executors of ``concurrent.futures`` know no dependencies, and are the limit
that the others are compared with.
"""

from __future__ import annotations

import concurrent.futures as cf
import importlib.util
import multiprocessing as mp
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tasks import noop

NEEDS = {"parsl": "parsl", "loky": "loky", "dask": "distributed", "ray": "ray"}
NEEDS |= {"executorlib": "executorlib"}
# Parsl's own monitoring wants its extra `monitoring`, which brings this.
NEEDS |= {
    f"parsl-{kind}-{kept}": "sqlalchemy"
    for kind in ("threads", "htex")
    for kept in ("monitoring", "resources")
}
"""A system's name, or its beginning, to the module that has to be installed."""


def installed(system: str) -> bool:
    for name in (system, system.partition("-")[0]):
        module = NEEDS.get(name)
        if module is not None and importlib.util.find_spec(module) is None:
            return False
    return True


def place() -> Path:
    """Return the directory that all measurements of one preparation share."""
    return Path(os.environ["BENCH_DIR"])


def fresh() -> str:
    return tempfile.mkdtemp(dir=place())


class Bare:
    """An executor as ``concurrent.futures`` defines it."""

    def __init__(self, executor: cf.Executor) -> None:
        self.executor = executor
        self.submit(noop).result()

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self.executor.submit(function, *args)

    def close(self) -> None:
        self.executor.shutdown()


class Ours:
    """A kernel.

    Args:
        kind: Plugin of its executor.
        workers: Threads or processes of that.
        store: Where results of cached calls are kept.
        plugins: Observers and the like.
        monitors: Monitors by label.
    """

    def __init__(
        self,
        kind: str,
        workers: int,
        *,
        store: str = "memory",
        plugins: Any = (),
        monitors: Any = None,
    ) -> None:
        import jackfield

        start = time.perf_counter()
        if store in ("sqlite", "pickle"):
            store = f"{store}:///{fresh()}/store"
        options: dict[str, Any] = {"monitors": monitors} if monitors else {}
        self.kernel = jackfield.load(
            executors={"x": {"plugin": kind, "workers": workers}},
            run_dir=fresh(),
            checkpoint={"store": store},
            plugins=list(plugins),
            **options,  # earlier versions, which this one is compared with, have none
        )
        self.python_app = jackfield.python_app
        self.apps: dict[Any, Any] = {}
        self.submit(noop).result()
        self.load_ms = (time.perf_counter() - start) * 1e3

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self.kernel.submit(function, *args)

    def submit_cached(self, function: Callable[..., Any], *args: Any) -> Any:
        app = self.apps.get(function)
        if app is None:
            app = self.apps[function] = self.python_app(cache=True)(function)
        return app(*args)

    def hits(self) -> int:
        """Return how many calls were not executed."""
        from jackfield import TaskState

        return self.kernel.task_state_counts[TaskState.MEMOIZED]

    def close(self) -> None:
        self.kernel.cleanup()


def observed(workers: int) -> Ours:
    import jackfield

    class Observer:
        count = 0

        @jackfield.hookimpl
        def jackfield_task_events(self, events: Any) -> None:
            self.count += len(events)

    return Ours("threads", workers, plugins=[Observer()])


def followed(workers: int) -> Ours:
    """Have a plugin told of the run that looks at nothing."""
    import jackfield

    class Follower:
        lost = 0

        @jackfield.hookimpl
        def jackfield_run_events(self, batch: Any) -> None:
            self.lost += batch.lost

    return Ours("threads", workers, plugins=[Follower()])


def recorded(workers: int) -> Ours:
    """Have a plugin read all records of the run."""
    import jackfield

    class Reader:
        count = 0

        @jackfield.hookimpl
        def jackfield_run_events(self, batch: Any) -> None:
            self.count += len(batch.tasks) + len(batch.attempts)

    return Ours("threads", workers, plugins=[Reader()])


class WithHistory(Ours):
    """A kernel whose runs are kept in a database."""

    def __init__(self, kind: str, workers: int, *, resources: bool) -> None:
        monitor = {"plugin": "sqlite", "resources": resources}
        super().__init__(kind, workers, monitors={"db": monitor})

    def settle(self) -> None:
        """Wait until all that has happened is stored."""
        from jackfield_monitoring.store.reader import Store

        ended = self.kernel.task_state_counts
        with Store(self.kernel.run_dir) as store:
            while any(store.counts().get(one, 0) < n for one, n in ended.items()):
                time.sleep(0.05)


def one_at_a_time(workers: int) -> Ours:
    from jackfield_executors.processes import pool

    pool.WINDOW_S = 0.0  # type: ignore[misc]  # no site would want it
    return Ours("processes", workers)


def with_million(scheme: str, workers: int) -> Ours:
    return Ours("threads", workers, store=f"{scheme}:///{place()}/{scheme}")


class Parsl:
    def __init__(
        self,
        kind: str,
        workers: int,
        *,
        checkpoints: bool = False,
        monitoring: bool = False,
        resources: bool = False,
    ) -> None:
        import parsl
        from parsl.config import Config
        from parsl.dataflow.memoization import BasicMemoizer
        from parsl.executors import HighThroughputExecutor, ThreadPoolExecutor
        from parsl.providers import LocalProvider

        executor: Any
        if kind == "threads":
            executor = ThreadPoolExecutor(max_threads=workers, label="t")
        else:
            executor = HighThroughputExecutor(
                label="h",
                max_workers_per_node=workers,
                address="127.0.0.1",
                provider=LocalProvider(init_blocks=1, max_blocks=1),
                encrypted=False,
            )
        self.parsl = parsl
        self.apps: dict[Any, Any] = {}
        directory = fresh()
        parsl.load(
            Config(
                executors=[executor],
                run_dir=directory,
                monitoring=_hub(directory, resources) if monitoring else None,
                initialize_logging=False,
                memoizer=BasicMemoizer(
                    checkpoint_mode="task_exit" if checkpoints else None
                ),
            )
        )
        self.submit(noop).result()

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._app(function, cache=False)(*args)

    def submit_cached(self, function: Callable[..., Any], *args: Any) -> Any:
        return self._app(function, cache=True)(*args)

    def _app(self, function: Callable[..., Any], *, cache: bool) -> Any:
        app = self.apps.get((function, cache))
        if app is None:
            app = self.parsl.python_app(function, cache=cache)
            self.apps[function, cache] = app
        return app

    def close(self) -> None:
        self.parsl.dfk().cleanup()
        self.parsl.clear()


def _hub(directory: str, resources: bool) -> Any:
    from parsl.monitoring import MonitoringHub

    return MonitoringHub(
        logging_endpoint=f"sqlite:///{directory}/monitoring.db",
        resource_monitoring_enabled=resources,
        resource_monitoring_interval=1,
    )


class Dask:
    def __init__(self, kind: str, workers: int) -> None:
        from distributed import Client

        self.client = Client(
            processes=kind == "processes",
            n_workers=workers if kind == "processes" else 1,
            threads_per_worker=1 if kind == "processes" else workers,
            dashboard_address=None,
            local_directory=fresh(),
        )
        self.submit(noop).result()

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        return self.client.submit(function, *args, pure=False)

    def close(self) -> None:
        self.client.close()


class Ray:
    def __init__(self, workers: int) -> None:
        import ray

        self.ray = ray
        self.remote: dict[Any, Any] = {}
        ray.init(
            num_cpus=workers,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
        )
        self.submit(noop).result()

    def submit(self, function: Callable[..., Any], *args: Any) -> Any:
        remote = self.remote.get(function)
        if remote is None:
            remote = self.remote[function] = self.ray.remote(function)
        refs = [arg.ref if isinstance(arg, _Ref) else arg for arg in args]
        return _Ref(self.ray, remote.remote(*refs))

    def close(self) -> None:
        self.ray.shutdown()


class _Ref:
    """A reference of Ray's with the method of a future."""

    __slots__ = ("ray", "ref")

    def __init__(self, ray: Any, ref: Any) -> None:
        self.ray, self.ref = ray, ref

    def result(self) -> Any:
        return self.ray.get(self.ref)


def loky(workers: int) -> Bare:
    from loky import get_reusable_executor

    return Bare(get_reusable_executor(max_workers=workers))


def executorlib(workers: int) -> Bare:
    from executorlib import SingleNodeExecutor

    return Bare(SingleNodeExecutor(max_workers=workers, block_allocation=True))


def process_pool(workers: int) -> Bare:
    return Bare(
        cf.ProcessPoolExecutor(workers, mp_context=mp.get_context("forkserver"))
    )


SYSTEMS: dict[str, Callable[[int], Any]] = {
    "jackfield-threads": partial(Ours, "threads"),
    "jackfield-processes": partial(Ours, "processes"),
    "jackfield-followed": followed,
    "jackfield-observed": observed,
    "jackfield-recorded": recorded,
    "jackfield-history-threads": partial(WithHistory, "threads", resources=False),
    "jackfield-history-processes": partial(WithHistory, "processes", resources=False),
    "jackfield-resources-threads": partial(WithHistory, "threads", resources=True),
    "jackfield-resources-processes": partial(WithHistory, "processes", resources=True),
    "jackfield-one-at-a-time": one_at_a_time,
    "jackfield-sqlite": partial(Ours, "threads", store="sqlite"),
    "jackfield-pickle": partial(Ours, "threads", store="pickle"),
    "jackfield-sqlite-million": partial(with_million, "sqlite"),
    "jackfield-pickle-million": partial(with_million, "pickle"),
    "cf-threads": lambda workers: Bare(cf.ThreadPoolExecutor(workers)),
    "cf-processes": process_pool,
    "loky": loky,
    "parsl-threads": partial(Parsl, "threads"),
    "parsl-htex": partial(Parsl, "htex"),
    "parsl-checkpoints": partial(Parsl, "threads", checkpoints=True),
    "parsl-threads-monitoring": partial(Parsl, "threads", monitoring=True),
    "parsl-htex-monitoring": partial(Parsl, "htex", monitoring=True),
    "parsl-threads-resources": partial(
        Parsl, "threads", monitoring=True, resources=True
    ),
    "parsl-htex-resources": partial(Parsl, "htex", monitoring=True, resources=True),
    "dask-threads": partial(Dask, "threads"),
    "dask-processes": partial(Dask, "processes"),
    "executorlib": executorlib,
    "ray": Ray,
}
