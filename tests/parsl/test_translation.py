"""What configurations of Parsl's become, and what is refused."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import jackfield as jf
import jackfield_parsl as parsl
from jackfield_executors.dask import jackfield_check_options
from jackfield_parsl import executors, providers
from jackfield_parsl.concurrent import ParslPoolExecutor
from jackfield_parsl.data_provider.http import HTTPInTaskStaging
from jackfield_parsl.data_provider.staging import Staging
from jackfield_parsl.dataflow.dependency_resolvers import DependencyResolver
from jackfield_parsl.dataflow.memoization import BasicMemoizer, Memoizer
from jackfield_testing.kernels import handed_over

if TYPE_CHECKING:
    from jackfield_parsl.dataflow.taskrecord import TaskRecord

pytestmark = pytest.mark.xdist_group("engines")

LIMIT_S = 60.0
DOCS = Path(__file__).parents[2] / "docs/coming-from-parsl.md"
NODE = {"cores_per_node": 8, "mem_per_node": 16}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@parsl.python_app
def same(x: Any) -> Any:
    return x


def test_the_documents_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    found = re.search(
        r"^```python\n(.*?)^```", DOCS.read_text(), re.MULTILINE | re.DOTALL
    )
    assert found is not None

    exec(compile(found[1], str(DOCS), "exec"), {"__name__": "example"})

    assert capsys.readouterr().out == "4\n"


def test_every_option_of_a_configuration_goes_somewhere() -> None:
    config = parsl.Config(
        executors=[parsl.ThreadPoolExecutor(label="t", max_threads=3)],
        memoizer=BasicMemoizer(checkpoint_mode="task_exit", checkpoint_files=[]),
        exit_mode="wait",
        internal_tasks_max_threads=4,
        retries=2,
        run_dir="elsewhere",
        monitoring=parsl.MonitoringHub(resource_monitoring_enabled=False),
        usage_tracking=1,
        initialize_logging=False,
    ).as_jackfield()

    assert config.executors == {"t": {"plugin": "threads", "workers": 3}}
    assert config.checkpoint == {
        "store": "sqlite:///{run_dir}/checkpoint/results.db",
        "mode": "task_exit",
    }
    assert (config.exit_mode, config.internal_threads, config.retries) == ("wait", 4, 2)
    assert (config.run_dir, config.dependencies) == ("elsewhere", "shallow")
    assert config.monitors == {"parsl": {"plugin": "sqlite", "resources": False}}
    assert config.use_plugins == {"usage": {}}
    assert config.log_level == "OFF"


def test_staging_in_the_task_is_a_table() -> None:
    threads = parsl.ThreadPoolExecutor(storage_access=[HTTPInTaskStaging()])

    staging = parsl.Config(executors=[threads]).as_jackfield().staging

    assert staging == {"http": {"in_task": True}, "https": {"in_task": True}}


@pytest.mark.parametrize(
    ("provider", "cluster", "options"),
    [
        (
            providers.SlurmProvider(
                "batch",
                "lab",
                max_blocks=2,
                nodes_per_block=3,
                walltime="01:00:00",
                scheduler_options="#SBATCH --mail-type=END\n",
                worker_init="module load python\n",
                **NODE,
            ),
            "slurm",
            {
                "queue": "batch",
                "account": "lab",
                "walltime": "01:00:00",
                "job_cpu": 8,
                "job_extra_directives": ["--mail-type=END", "--exclusive"],
                "job_script_prologue": ["module load python"],
            },
        ),
        (
            providers.PBSProProvider(
                queue="q", cpus_per_node=8, mem_per_node=16, select_options="gpus=1"
            ),
            "pbs",
            {
                "queue": "q",
                "walltime": "00:20:00",
                "resource_spec": "select=1:ncpus=8:mem=16gb:gpus=1",
            },
        ),
        (
            providers.TorqueProvider(queue="q", scheduler_options="#PBS -m e", **NODE),
            "pbs",
            {
                "queue": "q",
                "walltime": "00:20:00",
                "resource_spec": "nodes=1:ppn=8,mem=16gb",
                "job_extra_directives": ["-m e"],
            },
        ),
        (
            providers.LSFProvider(project="p", **NODE),
            "lsf",
            {"project": "p", "ncpus": 8},
        ),
        (providers.GridEngineProvider(queue="q", **NODE), "sge", {"queue": "q"}),
        (
            providers.CondorProvider(cores_per_slot=8, mem_per_slot=16),
            "htcondor",
            {"disk": "16 GiB"},
        ),
    ],
    ids=lambda one: type(one).__name__ if not isinstance(one, str | dict) else "",
)
def test_a_provider_is_a_cluster_of_dask(
    provider: Any, cluster: str, options: dict[str, Any]
) -> None:
    executor = parsl.HighThroughputExecutor(provider=provider, cores_per_worker=2)

    table = executor.as_jackfield()

    assert table.pop("plugin") == "dask"
    assert table["cluster"] == cluster
    nodes = 3 if cluster == "slurm" else 1
    blocks = {"least": 0, "most": 2 if cluster == "slurm" else 1, "init": 1}
    assert {name: table[name] for name in blocks} == {
        name: number * nodes for name, number in blocks.items()
    }
    told = table["cluster_options"]
    expected = {"cores": 4, "processes": 1, "memory": "16 GiB", **options}
    if cluster != "htcondor":
        expected.setdefault("walltime", "00:10:00")
    assert told == expected
    assert jackfield_check_options("cpu", table)


@pytest.mark.parametrize(
    ("provider", "cluster"),
    [
        (providers.SlurmProvider("q"), "SLURM"),
        (providers.PBSProProvider(cpus_per_node=3), "PBS"),
        (providers.TorqueProvider(), "PBS"),
        (providers.LSFProvider(), "LSF"),
        (providers.GridEngineProvider(), "SGE"),
    ],
    ids=lambda one: "" if isinstance(one, str) else type(one).__name__,
)
def test_jobs_ask_for_no_memory_that_a_provider_does_not_name(
    provider: Any, cluster: str
) -> None:
    jobqueue = pytest.importorskip("dask_jobqueue")
    executor = parsl.HighThroughputExecutor(max_workers_per_node=3, provider=provider)

    options = executor.as_jackfield()["cluster_options"]
    job = getattr(jobqueue, f"{cluster}Cluster").job_cls("tls://x:1", "x", **options)
    script = job.job_script()

    assert "--nthreads 3" in script
    assert "--memory-limit 0" in script
    header = script[: script.index("distributed")]
    assert not re.search(r"mem|-M ", header), header


@pytest.mark.parametrize(
    ("strategy", "ours"),
    [(None, "none"), ("simple", "simple"), ("htex_auto_scale", "expected")],
)
def test_a_strategy_is_one_of_ours(strategy: str | None, ours: str) -> None:
    provider = providers.SlurmProvider(min_blocks=1, max_blocks=4, **NODE)
    fixed = providers.SlurmProvider(min_blocks=2, max_blocks=2, **NODE)
    config = parsl.Config(
        executors=[
            parsl.HighThroughputExecutor(label="cpu", provider=provider),
            parsl.HighThroughputExecutor(label="fixed", provider=fixed),
        ],
        strategy=strategy,
        max_idletime=30,
    ).as_jackfield()

    assert config.use_plugins == {"scaling": {"strategy": ours, "idle": 30.0}}
    assert config.scale_period == 5
    tables: Any = config.executors
    assert (tables["cpu"]["least"], tables["cpu"]["most"]) == (1, 4)
    assert tables["fixed"]["jobs"] == 2
    assert "most" not in tables["fixed"]


def test_a_local_provider_is_processes() -> None:
    executor = parsl.HighThroughputExecutor(
        max_workers_per_node=1, provider=providers.LocalProvider(max_blocks=4)
    )

    assert executor.as_jackfield() == {"plugin": "processes", "workers": 1}


class OwnMemoizer(BasicMemoizer):
    pass


class OwnStaging(Staging):
    pass


def htex(**options: Any) -> Callable[[], Any]:
    return lambda: parsl.HighThroughputExecutor(**options).as_jackfield()


def config(**options: Any) -> Callable[[], Any]:
    return lambda: parsl.Config(**options).as_jackfield()


@pytest.mark.parametrize(
    ("make", "instead"),
    [
        (config(memoizer=OwnMemoizer()), "jackfield_hash_value"),
        (
            config(memoizer=BasicMemoizer(checkpoint_files=["runinfo/000/checkpoint"])),
            "tasks.pkl",
        ),
        (
            config(executors=[parsl.ThreadPoolExecutor(storage_access=[OwnStaging()])]),
            "jackfield_stage_in",
        ),
        (
            config(monitoring=parsl.MonitoringHub(logging_endpoint="sqlite:///x")),
            "jackfield export",
        ),
        (htex(cpu_affinity="block"), "leave it out"),
        (htex(available_accelerators=2), "CUDA_VISIBLE_DEVICES"),
        (htex(mem_per_worker=4), "max_workers_per_node"),
        (htex(provider=providers.CondorProvider()), "say both"),
        (
            htex(provider=providers.SlurmProvider("q"), cores_per_worker=2),
            "say cores_per_node",
        ),
        (htex(provider=providers.KubernetesProvider()), "Dask cluster"),
        (htex(provider=providers.LocalProvider(worker_init="x")), "initializer"),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_what_cannot_be_is_refused_with_what_to_do(
    make: Callable[[], Any], instead: str
) -> None:
    with pytest.raises(jf.ConfigurationError, match=instead):
        make()


def test_executors_that_are_missing_are_refused_with_what_to_do() -> None:
    for name in ("WorkQueueExecutor", "FluxExecutor", "MPIExecutor"):
        with pytest.raises(jf.JackfieldError, match=f"no {name}: "):
            getattr(executors, name)(label="x")
    with pytest.raises(TypeError, match="did you mean 'partition'"):
        providers.SlurmProvider(partitions="x")
    with pytest.raises(TypeError, match="BasicMemoizer"):
        parsl.Config(checkpoint_mode="manual")
    with pytest.raises(TypeError, match="no option 'max_workers'"):
        parsl.HighThroughputExecutor(max_workers=1)
    assert parsl.HighThroughputExecutor(worker_debug=True).as_jackfield()
    assert issubclass(BasicMemoizer, Memoizer)


def test_a_resolver_of_ones_own_is_asked() -> None:
    class Box:
        def __init__(self, held: Future[int]) -> None:
            self.held = held

    resolver = DependencyResolver(
        lambda value: [value.held] if isinstance(value, Box) else [],
        lambda value: value.held.result() + 1,
    )
    held: Future[int] = Future()

    with parsl.load(parsl.Config(dependency_resolver=resolver, exit_mode="wait")):
        future = same(Box(held))
        assert not future.done()
        held.set_result(1)
        assert future.result(LIMIT_S) == 2


def test_a_retry_handler_sees_what_parsls_does() -> None:
    records: list[TaskRecord] = []

    def handler(error: Exception, record: TaskRecord) -> float:
        records.append(record)
        return 0.5

    @parsl.python_app
    def fail() -> None:
        raise ValueError("no")

    with parsl.load(parsl.Config(retries=1, retry_handler=handler)):
        assert isinstance(fail().exception(LIMIT_S), ValueError)

    assert [one["fail_count"] for one in records] == [1, 2, 3]
    assert records[2]["fail_cost"] == 1.0
    assert records[2]["fail_history"] == ["ValueError: no"] * 2
    with pytest.raises(KeyError, match="no live records"):
        records[0]["args"]


def test_the_lowest_priority_begins_first_and_what_has_none_last() -> None:
    gate, held = threading.Event(), threading.Event()

    @parsl.python_app
    def hold() -> None:
        held.set()
        assert gate.wait(LIMIT_S)

    @parsl.python_app
    def begun(parsl_resource_specification: Any = None) -> float:
        return time.monotonic()

    @parsl.python_app
    def early(priority: str, parsl_resource_specification: Any = {"priority": -1}):  # type: ignore[no-untyped-def]  # a user's
        return time.monotonic(), priority

    ranks = [9, None, 1, 10, 1, 1.5, -3, None, 10**6, np.int64(7)]
    with parsl.load(parsl.Config(executors=[parsl.ThreadPoolExecutor(max_threads=1)])):
        hold()
        assert held.wait(LIMIT_S)
        asks = [{} if rank is None else {"priority": rank} for rank in ranks]
        futures = [begun(parsl_resource_specification=one) for one in asks]
        by_default = early(priority="its own")
        handed_over([*futures, by_default])
        gate.set()
        times = [future.result(LIMIT_S) for future in futures]
        at, own = by_default.result(LIMIT_S)

    order = sorted(range(len(ranks)), key=lambda n: times[n])
    assert [ranks[n] for n in order] == [-3, 1, 1, 1.5, 7, 9, 10, 10**6, None, None]
    assert order == sorted(order, key=lambda n: (ranks[n] is None, ranks[n] or 0))
    assert times[6] < at < times[2]
    assert own == "its own"


def test_what_jackfield_alone_reads_in_a_call_is_the_functions() -> None:
    @parsl.python_app(cache=True)  # type: ignore[untyped-decorator]  # as Parsl's
    def given(x: int, **others: Any) -> tuple[int, Any]:
        return x, others

    @parsl.bash_app
    def told(stdout: str = "", **others: Any) -> str:
        return f"echo {others['priority']} {others['resources']}"

    own = {"priority": "first", "resources": "none"}
    with parsl.load():
        assert given(1, **own).result(LIMIT_S) == (1, own)
        assert given(1, priority=2).result(LIMIT_S) == (1, {"priority": 2})
        assert given(1, priority=3).result(LIMIT_S) == (1, {"priority": 3})
        told(stdout="told.txt", **own).result(LIMIT_S)
        with pytest.raises(TypeError, match="unexpected keyword argument 'priority'"):
            same(1, priority=2).result(LIMIT_S)

    assert Path("told.txt").read_text() == "first none\n"


@pytest.mark.parametrize("wrong", ["high", math.inf, math.nan, [1]])
def test_a_priority_that_is_no_number_is_refused(wrong: Any) -> None:
    with parsl.load(), pytest.raises(jf.ConfigurationError, match="lowest begins"):
        same(1, parsl_resource_specification={"priority": wrong})


def test_results_of_an_earlier_run_are_found() -> None:
    @parsl.python_app(cache=True)  # type: ignore[untyped-decorator]  # as Parsl's
    def draw(x: int) -> float:
        import random

        return random.random() + x

    found = set()
    for _ in range(2):
        memoizer = BasicMemoizer(checkpoint_mode="task_exit")
        with parsl.load(parsl.Config(memoizer=memoizer)):
            found.add(draw(1).result(LIMIT_S))
    assert len(found) == 1


def test_monitoring_keeps_the_history_of_the_run() -> None:
    with parsl.load(parsl.Config(monitoring=parsl.MonitoringHub())) as kernel:
        assert same(1).result(LIMIT_S) == 1
        run_dir = Path(kernel.run_dir)
    assert list(run_dir.glob("*.db"))


def test_an_executor_of_a_kernel_is_one_of_concurrent_futures() -> None:
    with ParslPoolExecutor(parsl.Config()) as pool:
        assert list(pool.map(abs, [-1, -2])) == [1, 2]
