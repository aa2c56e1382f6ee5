"""Which executor a task goes to."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.abc import Executor, ExecutorContext, Work
from jackfield.errors import UnsupportedByExecutorError
from jackfield_system.works import run_work
from jackfield_testing.kernels import handed_over

LIMIT_S = 60.0


class Inline(Executor):
    """Runs works in ``submit``, and says what it can do."""

    def __init__(self, capabilities: jf.Capabilities | None = None) -> None:
        self.capabilities = capabilities or jf.Capabilities()

    @property
    def workers(self) -> int:
        return 1

    def start(self, context: ExecutorContext) -> None:
        self._report = context.report

    def submit(self, batch: Sequence[Work]) -> None:
        for work in batch:
            self._report([run_work(work)])

    def shutdown(self, *, grace: float | None = None) -> None:
        pass


def where() -> str:
    return threading.current_thread().name


def two_pools(tmp_path: Path, **options: Any) -> jf.DataFlowKernel:
    return jf.load(
        executors={
            "a": ThreadPoolExecutor(1, thread_name_prefix="a"),
            "b": ThreadPoolExecutor(1, thread_name_prefix="b"),
        },
        run_dir=tmp_path,
        **options,
    )


def test_a_label_is_honoured(tmp_path: Path) -> None:
    with two_pools(tmp_path) as kernel:
        names = [kernel.submit(where, executors=[x]).result(LIMIT_S)[0] for x in "abab"]

    assert names == list("abab")


def test_the_least_loaded_is_chosen(tmp_path: Path) -> None:
    gate = threading.Event()
    with two_pools(tmp_path) as kernel:
        blocked = [kernel.submit(gate.wait, LIMIT_S, executors=["a"]) for _ in range(3)]
        handed_over(blocked)
        name = kernel.submit(where).result(LIMIT_S)
        gate.set()
        assert all(future.result(LIMIT_S) for future in blocked)

    assert name.startswith("b")


def test_a_burst_is_spread(tmp_path: Path) -> None:
    gate = threading.Event()

    def wait() -> str:
        gate.wait(LIMIT_S)
        return where()

    with two_pools(tmp_path) as kernel:
        futures = [kernel.submit(wait) for _ in range(100)]
        handed_over(futures)
        gate.set()
        names = [future.result(LIMIT_S)[0] for future in futures]

    assert names.count("a") == 50


def test_a_plugin_may_choose(tmp_path: Path) -> None:
    class Last:
        @jf.hookimpl
        def jackfield_select_executor(
            self, task: jf.TaskView, executors: Mapping[str, int]
        ) -> str | None:
            assert task.executors == tuple(executors) == ("a", "b")
            return "b" if task.app == "where" else None

    with two_pools(tmp_path, plugins=[Last()]) as kernel:
        names = {kernel.submit(where).result(LIMIT_S)[0] for _ in range(10)}

    assert names == {"b"}


def test_a_plugin_that_chooses_what_was_not_offered_fails_the_task(
    tmp_path: Path,
) -> None:
    class Elsewhere:
        @jf.hookimpl
        def jackfield_select_executor(self) -> str:
            return "elsewhere"

    with two_pools(tmp_path, plugins=[Elsewhere()]) as kernel:
        future = kernel.submit(where)

        with pytest.raises(jf.ConfigurationError, match=r"'elsewhere'.*offered: a, b"):
            future.result(LIMIT_S)


def test_a_plugin_that_raises_fails_the_task_only(tmp_path: Path) -> None:
    class Broken:
        @jf.hookimpl
        def jackfield_select_executor(self, task: jf.TaskView) -> None:
            if task.app != "where":
                raise SystemExit("broken")

    with two_pools(tmp_path, plugins=[Broken()]) as kernel:
        broken = [kernel.submit(int) for _ in range(5)]

        assert all("broken" in str(f.exception(LIMIT_S)) for f in broken)
        assert kernel.submit(where).result(LIMIT_S)


def test_an_unknown_label_is_told_with_the_valid_ones(tmp_path: Path) -> None:
    with (
        two_pools(tmp_path) as kernel,
        pytest.raises(jf.ConfigurationError, match=r"'where'.*'c'.*Configured: a, b\."),
    ):
        kernel.submit(where, executors=["c"])


def test_an_unknown_resource_is_told_with_who_knows_which(tmp_path: Path) -> None:
    big = Inline(jf.Capabilities(resources={"memory": 10}))
    app = jf.python_app(resources={"gpu": 1})(where)

    with (
        jf.load(executors={"big": big}, run_dir=tmp_path),
        pytest.raises(UnsupportedByExecutorError, match=r"'big'.*'gpu'.*knows: memory"),
    ):
        app()


def test_more_than_the_largest_worker_has_is_an_error(tmp_path: Path) -> None:
    some = Inline(jf.Capabilities(resources={"gpus": 1}))
    more = Inline(jf.Capabilities(resources={"gpus": 2}))
    app = jf.python_app(where)

    with jf.load(executors={"some": some, "more": more}, run_dir=tmp_path):
        with pytest.raises(
            UnsupportedByExecutorError,
            match="'more': the task asks for 4 gpus; the largest worker has 2",
        ):
            app(resources={"gpus": 4})
        assert app(resources={"gpus": 2}).result(LIMIT_S)


def test_resources_reach_the_executor(tmp_path: Path) -> None:
    seen: list[Any] = []

    class Big(Inline):
        def submit(self, batch: Sequence[Work]) -> None:
            seen.extend(work.resources for work in batch)
            super().submit(batch)

    big = Big(jf.Capabilities(resources={"memory": 10}))
    with jf.load(executors={"big": big}, run_dir=tmp_path):
        jf.python_app(resources={"memory": 10})(where)().result(LIMIT_S)

    assert seen == [{"memory": 10}]


def test_executors_can_be_added_while_it_runs(kernel: jf.DataFlowKernel) -> None:
    @jf.python_app(executors=["late"])
    def run() -> str:
        return where()

    with pytest.raises(jf.ConfigurationError, match="'late'"):
        run()
    kernel.add_executors({"late": ThreadPoolExecutor(1, thread_name_prefix="late")})

    assert run().result(LIMIT_S).startswith("late")
    assert kernel.executors == ("threads", "late")


def test_a_taken_label_is_refused(kernel: jf.DataFlowKernel) -> None:
    with pytest.raises(jf.ConfigurationError, match="'threads' already"):
        kernel.add_executors({"threads": {"plugin": "threads"}})


def test_a_walltime_that_nobody_can_enforce_is_an_error(tmp_path: Path) -> None:
    never = Inline(jf.Capabilities(walltime="none"))
    app = jf.python_app(where)

    with jf.load(executors={"never": never}, run_dir=tmp_path):
        assert app().result(LIMIT_S)
        with pytest.raises(UnsupportedByExecutorError, match="'never' cannot enforce"):
            app(walltime=1)


def test_what_is_asked_for_leads_to_who_can_do_it(tmp_path: Path) -> None:
    plain = ThreadPoolExecutor(1, thread_name_prefix="plain")
    big = Inline(jf.Capabilities(resources={"memory": 10}))
    app = jf.python_app(resources={"memory": 10})(where)

    with jf.load(executors={"plain": plain, "big": big}, run_dir=tmp_path):
        names = {app().result(LIMIT_S) for _ in range(5)}

    assert not any(name.startswith("plain") for name in names)


def test_a_long_chain_of_calls_that_hit_the_memo_ends(
    kernel: jf.DataFlowKernel,
) -> None:
    gate = threading.Event()

    @jf.python_app(cache=True)
    def same(x: object) -> int:
        gate.wait(LIMIT_S)
        return 0

    future: Any = 0
    for _ in range(3_000):
        future = same(future)
    gate.set()

    assert future.result(LIMIT_S) == 0


def test_an_executor_that_runs_in_submit_takes_a_long_chain(tmp_path: Path) -> None:
    with jf.load(executors={"inline": Inline()}, run_dir=tmp_path) as kernel:
        future: Any = 0
        for _ in range(10_000):
            future = kernel.submit(lambda x: x + 1, future)

        assert future.result(LIMIT_S) == 10_000


def test_a_plugin_may_add_an_executor_while_the_kernels_own_one_starts(
    tmp_path: Path,
) -> None:
    class Adds:
        kernel: jf.DataFlowKernel | None = None

        @jf.hookimpl
        def jackfield_create_executor(self, kind: str, label: str) -> None:
            if label == "_internal" and self.kernel is not None:
                self.kernel.add_executors({"more": {"plugin": "threads"}})

    plugin = Adds()
    with jf.load(plugins=[plugin], run_dir=tmp_path) as kernel:
        plugin.kernel = kernel
        pair = kernel.submit(divmod, 7, 2)

        assert pair[0].result(LIMIT_S) == 3
        assert "more" in kernel.executors
