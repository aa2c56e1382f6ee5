"""Plugins for engines beside the engines' own clients and the plugin ``processes``.

Run it with ``make bench-remote``; it takes some minutes. ``ARGS=ray`` measures one engine
alone. All have two workers on this machine. The systems of an engine take turns; the
medians of the rounds are shown, with the CPU time of the driver and of all processes
for a task, which says more than the clock does on a machine that has much else to do.
Compare them within one run only. The last tables are chains of tasks that hand on much
data.
"""

from __future__ import annotations

import argparse
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from threading import Condition
from typing import Any, NamedTuple

import large
import psutil

import jackfield as jf
from jackfield.abc import Executor, ExecutorContext, Work
from jackfield.plugins import PluginManager
from jackfield_executors.adapter import AdaptedExecutor
from jackfield_executors.foreign.options import Options

WORKERS = 2
LIMIT_S = 300.0
SINGLES = 100
LINKS = 20
THEIRS = "Dask's client"


def noop(*_: object) -> None:
    """Do nothing."""


def millisecond(*_: object) -> None:
    import time

    time.sleep(0.001)


class Ours:
    """An executor of the kernel's kind, driven in the kernel's place."""

    def __init__(self, executor: Executor, directory: str) -> None:
        self.executor = executor
        self.left: set[Work] = set()
        self.changed = Condition()
        self.number = 0
        executor.start(ExecutorContext("bench", Path(directory), self.report))

    def report(self, outcomes: Any) -> None:
        with self.changed:
            for work, error, _ in outcomes:
                assert error is None, error
                self.left.discard(work)
            if not self.left:
                self.changed.notify_all()

    def run(self, function: Callable[..., Any], count: int) -> None:
        works = [
            Work(self.number + n, 1, function.__name__, function, (n,), {})
            for n in range(count)
        ]
        self.number += count
        self.left.update(works)
        self.executor.submit(works)
        with self.changed:
            assert self.changed.wait_for(lambda: not self.left, LIMIT_S)


class Native:
    """An engine's client, used as its documentation shows.

    Args:
        run: Runs a function so many times, and waits for all results.
    """

    def __init__(self, run: Callable[[Callable[..., Any], int], object]) -> None:
        self.run = run


def made(plugin: str, **options: Any) -> Executor:
    executor = PluginManager().create_executor(plugin, "bench", options)
    assert isinstance(executor, Executor)
    return executor


# -- The engines: each gives systems by name, the engine's own client first


@contextmanager
def dask_cluster(workers: int = 1) -> Iterator[Any]:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=WORKERS // workers,
            host="127.0.0.1",
            dashboard_address=":0",
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@contextmanager
def dask() -> Iterator[dict[str, Any]]:
    with dask_cluster() as client:
        yield {
            THEIRS: Native(
                lambda function, count: client.gather(
                    client.map(function, range(count), pure=False)
                )
            ),
            "dask": made("dask", address=client.cluster.scheduler_address),
            "Dask's executor, adapted": AdaptedExecutor(
                Options("bench", client.get_executor())
            ),
        }


@contextmanager
def ray_cluster(cpus: int) -> Iterator[tuple[Any, str]]:
    """Give Ray's module, connected to a cluster, and its address."""
    os.environ.update(
        RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0",
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN=secrets.token_hex(32),
        RAY_USAGE_STATS_ENABLED="0",
    )
    import ray  # it reads these variables now

    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        context = ray.init(
            num_cpus=cpus,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            _temp_dir=directory,
        )
        yield ray, context.address_info["gcs_address"]
        ray.shutdown()


@contextmanager
def ray() -> Iterator[dict[str, Any]]:
    # Each of the two systems gets its own CPUs: an agent keeps those that it has.
    with ray_cluster(2 * WORKERS) as (client, there):

        def run(function: Callable[..., Any], count: int) -> None:
            call = client.remote(function)
            client.get([call.remote(n) for n in range(count)])

        options = {"agents": 1, "agent_options": {"num_cpus": WORKERS}}
        ours = made("ray", address=there, **options)
        yield {"Ray's client": Native(run), "ray": ours}


def htex() -> Any:
    """Return an executor of Parsl's, for both of its systems."""
    from parsl.executors import HighThroughputExecutor
    from parsl.providers import LocalProvider

    return HighThroughputExecutor(
        address="127.0.0.1",
        cores_per_worker=0.01,
        max_workers_per_node=WORKERS,
        provider=LocalProvider(init_blocks=1, max_blocks=1),
    )


@contextmanager
def parsl() -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as directory:
        native = htex()
        native.run_dir = native.provider.script_dir = directory
        path = os.environ["PATH"]
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{path}"
        native.start()
        native.scale_out_facade(1)

        def run(function: Callable[..., Any], count: int) -> None:
            for future in [native.submit(function, {}, n) for n in range(count)]:
                future.result()

        ours = made("parsl", executor="remote:htex")
        yield {"HTEX's client": Native(run), "parsl": ours}
        native.provider.cancel(list(native.blocks_to_job_id.values()))
        native.shutdown()


ENGINES = {"dask": dask, "ray": ray, "parsl": parsl}


def cpu_of_all() -> float:
    """Return the CPU seconds of this process and all below it so far."""
    me = psutil.Process()
    seconds = 0.0
    for process in [me, *me.children(recursive=True)]:
        with suppress(psutil.Error):
            times = process.cpu_times()
            seconds += times.user + times.system
    return seconds


def measure(system: Any, scale: float) -> tuple[float, ...]:
    """Return µs a no-op, a task of 1 ms and a single one, and CPU µs a no-op."""
    many = int((1_000 if isinstance(system, Native) else 20_000) * scale)
    start, cpu, all_cpu = time.perf_counter(), time.process_time(), cpu_of_all()
    system.run(noop, many)
    each = (time.perf_counter() - start) / many
    cpu = (time.process_time() - cpu) / many
    all_cpu = (cpu_of_all() - all_cpu) / many
    some = int((500 if isinstance(system, Native) else 2_000) * scale)
    start = time.perf_counter()
    system.run(millisecond, some)
    short = (time.perf_counter() - start) / some
    singles = []
    for _ in range(int(SINGLES * scale)):
        start = time.perf_counter()
        system.run(noop, 1)
        singles.append(time.perf_counter() - start)
    single = statistics.median(singles)
    return tuple(1e6 * figure for figure in (each, short, single, cpu, all_cpu))


def compare(engine: str, options: Any) -> None:
    """Measure an engine's systems in turn, again and again; print a table."""
    with tempfile.TemporaryDirectory() as directory, ENGINES[engine]() as systems:
        systems["processes"] = made("processes", workers=WORKERS)
        for name, one in systems.items():
            if isinstance(one, Executor):
                systems[name] = Ours(one, directory)
        samples: dict[str, list[Any]] = {name: [] for name in systems}
        for system in systems.values():
            system.run(noop, 100)
        for _ in range(options.rounds):
            for name, system in systems.items():
                samples[name].append(measure(system, 0.1 if options.quick else 1.0))
        for system in systems.values():
            if isinstance(system, Ours):
                system.executor.shutdown(grace=0)
    print(
        f"\n| {engine}, µs | no-op | 1 ms | latency p50 | driver's CPU | CPU of all |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for name, rounds in samples.items():
        columns = zip(*rounds, strict=True)
        figures = [f"{statistics.median(column):,.0f}" for column in columns]
        print(f"| {name} |", " | ".join(figures), "|", flush=True)


# -- Large results


class Chain(NamedTuple):
    """A chain of tasks: the first one's function, that of the others, what is made."""

    first: Callable[[int], Any]
    following: Callable[[Any], Any]
    size: int


def zeros(size: int) -> bytes:
    return bytes(size)


def more_zeros(data: bytes) -> bytes:
    return bytes(len(data))


KINDS = {
    "50 MB of bytes that nobody reads": Chain(zeros, more_zeros, 50_000_000),
    "an array of 50 MB": Chain(large.ones, large.plus_one, large.LARGE),
    "a dict of 300,000 entries": Chain(large.entries, large.copied, large.ENTRIES),
}


def dask_chain(client: Any, chain: Chain) -> None:
    future = client.submit(chain.first, chain.size, pure=False)
    for _ in range(LINKS):
        future = client.submit(chain.following, future, pure=False)
    assert client.submit(len, future, pure=False).result() == chain.size


def ray_chain(ray: Any, chain: Chain) -> None:
    first, following = map(ray.remote, chain[:2])
    future = first.remote(chain.size)
    for _ in range(LINKS):
        future = following.remote(future)
    assert ray.get(ray.remote(large.size).remote(future)) == chain.size


def our_chain(kernel: Any, chain: Chain) -> None:
    future = kernel.submit(chain.first, chain.size)
    for _ in range(LINKS):
        future = kernel.submit(chain.following, future)
    assert kernel.submit(len, future).result() == chain.size


# What a link of a chain takes: an engine's own, ours on it, on processes. Ours is also
# measured with two agents, of one worker each.


def dask_chains(options: Any) -> None:
    with dask_cluster(1) as client, dask_cluster(2) as spread:
        tables = {
            f"`dask`, {number}": {"plugin": "dask", "address": address(one)}
            for number, one in (("an agent", client), ("two agents", spread))
        }
        compare_chain(THEIRS, partial(dask_chain, client), tables, options)


def ray_chains(options: Any) -> None:
    with ray_cluster(3 * WORKERS) as (ray, there):
        tables = {
            f"`ray`, {number}": {
                "plugin": "ray", "address": there, "agents": agents,
                "agent_options": {"num_cpus": WORKERS // agents},
            }
            for number, agents in (("an agent", 1), ("two agents", 2))
        }  # fmt: skip
        compare_chain("Ray's client", partial(ray_chain, ray), tables, options)


def address(client: Any) -> str:
    return str(client.cluster.scheduler_address)


def compare_chain(
    theirs: str,
    native: Callable[[Chain], None],
    tables: dict[str, Any],
    options: Any,
) -> None:
    """Measure in turns, and print tables, with the processor time of all."""
    samples: dict[str, dict[str, list[tuple[float, float]]]] = {}
    processes = {"`processes`": {"plugin": "processes", "workers": WORKERS}}

    def note(name: str, run: Callable[[Chain], None]) -> None:
        for kind, chain in KINDS.items():
            run(chain)
            figures = timed(partial(run, chain))
            samples.setdefault(kind, {}).setdefault(name, []).append(figures)

    with tempfile.TemporaryDirectory() as directory:
        for _ in range(options.rounds):
            note(theirs, native)
            for name, table in {**tables, **processes}.items():
                with jf.load(run_dir=directory, executors={"far": table}) as kernel:
                    kernel.submit(len, "").result()
                    note(name, partial(our_chain, kernel))
    for kind, systems in samples.items():
        print(f"\n| a chain of {kind} | ms a link | beside | CPU, all |")
        print("| --- | --- | --- | --- |")
        medians = {
            name: [
                1e3 / LINKS * statistics.median(one)
                for one in zip(*rounds, strict=True)
            ]
            for name, rounds in systems.items()
        }
        for name, (took, cpu) in medians.items():
            beside = took / medians[theirs][0]
            print(f"| {name} | {took:,.1f} | {beside:.1f} x | {cpu:,.1f} |", flush=True)


def timed(run: Callable[[], None]) -> tuple[float, float]:
    """Return the seconds that something takes, and the processor's of all processes."""
    start, cpu = time.perf_counter(), cpu_of_all()
    run()
    return time.perf_counter() - start, cpu_of_all() - cpu


CHAINS = {"dask-chain": dask_chains, "ray-chain": ray_chains}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engines", nargs="*", choices=[*ENGINES, *CHAINS])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a tenth of the tasks")
    options = parser.parse_args()
    for engine in options.engines or [*ENGINES, *CHAINS]:
        if engine in CHAINS:
            CHAINS[engine](options)
        else:
            compare(engine, options)


if __name__ == "__main__":
    main()
