"""Apps: decorated functions, their options, and the arguments that the kernel reads."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import inspect
import itertools
import pickle
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.errors import AppTimeout, BadStdStreamFile
from jackfield_serialize import dumps, loads

LIMIT_S = 60.0


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """An event that tasks wait for; set at the end, so that none is left."""
    event = threading.Event()
    yield event
    event.set()


@jf.python_app
def double(x: int, *, plus: int = 0) -> int:
    """Return twice the number."""
    return 2 * x + plus


@jf.python_app(retries=3)
def with_options(x: int) -> int:
    return x


class Account:
    """Has apps for methods."""

    def __init__(self, balance: int) -> None:
        self.balance = balance

    @jf.python_app
    def with_interest(self, percent: int) -> int:
        return self.balance * (100 + percent) // 100

    @jf.python_app
    @staticmethod
    def of_nobody(x: int) -> int:
        return x


# -- calling


def test_a_bare_app_returns_a_future(kernel: jf.DataFlowKernel) -> None:
    assert double(4).result(LIMIT_S) == 8
    assert double(4, plus=1).result(LIMIT_S) == 9


def test_an_app_with_options_returns_a_future(kernel: jf.DataFlowKernel) -> None:
    assert with_options(4).result(LIMIT_S) == 4


def test_apps_take_futures(kernel: jf.DataFlowKernel) -> None:
    assert double(double(1), plus=double(10)).result(LIMIT_S) == 24


def test_an_app_looks_like_its_function() -> None:
    assert double.__name__ == "double"
    assert double.__doc__ == "Return twice the number."
    assert double.__module__ == __name__
    assert str(inspect.signature(double)) == "(x: 'int', *, plus: 'int' = 0) -> 'int'"
    assert repr(double) == "<python_app double>"


def test_the_function_itself_can_be_called_without_a_kernel() -> None:
    assert double.__wrapped__(4) == 8


def test_an_app_without_a_kernel_says_what_to_do() -> None:
    with pytest.raises(jf.NoDataFlowKernelError, match=r"jackfield\.load\(\)"):
        double(1)


def test_an_app_may_have_its_own_kernel(kernel: jf.DataFlowKernel) -> None:
    with jf.DataFlowKernel(jf.Config(run_dir="others")) as other:

        @jf.python_app(data_flow_kernel=other)
        def identity(x: int) -> int:
            return x

        identity(1).result(LIMIT_S)

        assert sum(other.task_state_counts.values()) == 1
        assert sum(kernel.task_state_counts.values()) == 0


def test_wrong_arguments_fail_the_task(kernel: jf.DataFlowKernel) -> None:
    with pytest.raises(TypeError, match="unexpected"):
        double(1, wrong=2).result(LIMIT_S)


@pytest.mark.parametrize("decorate", [jf.python_app, jf.bash_app, jf.join_app])
def test_only_functions_are_decorated(decorate: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=r"decorates a function, not 3"):
        decorate(3)


def test_any_callable_can_be_an_app(kernel: jf.DataFlowKernel) -> None:
    class Adder:
        def __call__(self, x: int) -> int:
            return x + 1

    assert jf.python_app(Adder())(1).result(LIMIT_S) == 2
    assert jf.python_app(functools.partial(pow, 2))(3).result(LIMIT_S) == 8
    assert jf.python_app(len)([1, 2]).result(LIMIT_S) == 2


# -- methods


def test_a_method_can_be_an_app(kernel: jf.DataFlowKernel) -> None:
    account = Account(100)

    assert account.with_interest(5).result(LIMIT_S) == 105
    assert Account.with_interest(account, 6).result(LIMIT_S) == 106
    assert account.of_nobody(7).result(LIMIT_S) == 7


def test_a_method_is_mapped_for_its_object(kernel: jf.DataFlowKernel) -> None:
    account = Account(100)

    assert list(account.with_interest.map([1, 2])) == [101, 102]


def test_a_method_gets_options_for_its_object(kernel: jf.DataFlowKernel) -> None:
    account = Account(100)

    assert account.with_interest.options(retries=1)(5).result(LIMIT_S) == 105
    assert list(account.with_interest.options(retries=1).map([5])) == [105]


def test_a_method_looks_like_its_function() -> None:
    method = Account(1).with_interest

    assert method.__name__ == "with_interest"
    assert str(inspect.signature(method)) == "(percent: 'int') -> 'int'"


# -- map


def test_map_gives_results_in_order(kernel: jf.DataFlowKernel) -> None:
    assert list(double.map([3, 1, 2])) == [6, 2, 4]
    assert list(jf.python_app(pow).map([2, 3], [3, 2])) == [8, 9]
    assert list(double.map([])) == []


def test_map_submits_nothing_before_the_first_result_is_asked_for(
    kernel: jf.DataFlowKernel,
) -> None:
    double.map([1, 2, 3])

    assert sum(kernel.task_state_counts.values()) == 0


def test_a_window_limits_how_far_map_runs_ahead(kernel: jf.DataFlowKernel) -> None:
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for number in itertools.count():
            taken.append(number)
            yield number

    results = double.map(numbers(), window=3)

    assert [next(results) for _ in range(5)] == [0, 2, 4, 6, 8]
    assert len(taken) <= 5 + 3
    results.close()  # type: ignore[attr-defined]  # it is a generator


def test_a_window_is_at_least_1(kernel: jf.DataFlowKernel) -> None:
    with pytest.raises(ValueError, match="window"):
        list(double.map([1], window=0))


@pytest.mark.parametrize("window", ["3", 2.5, True, [1]])
def test_a_window_that_is_no_whole_number_is_refused_at_once(
    kernel: jf.DataFlowKernel, window: Any
) -> None:
    with pytest.raises(TypeError, match=re.escape(f"window= is {window!r}")):
        double.map([1], window=window)


def test_a_map_of_nothing_is_refused_at_once(kernel: jf.DataFlowKernel) -> None:
    with pytest.raises(TypeError, match="at least one iterable"):
        double.map()
    with pytest.raises(TypeError, match="at least one iterable"):
        kernel.map(abs)
    with pytest.raises(TypeError, match=r"support iteration|not iterable"):
        kernel.map(abs, 3)  # type: ignore[call-overload]  # this is what is refused


@pytest.mark.parametrize("window", [None, 1, 2, 5, 100])
def test_map_gives_what_was_ready_before_its_generator_failed(
    kernel: jf.DataFlowKernel, window: int | None
) -> None:
    def numbers() -> Iterator[int]:
        yield from range(5)
        raise OSError("the list ends here")

    got: list[int] = []
    results = double.map(numbers(), window=window)
    with pytest.raises(OSError, match="ends here"):
        got.extend(results)

    assert list(got) == [0, 2, 4, 6, 8]


def test_map_gives_what_it_has_where_the_kernel_takes_no_more(
    kernel: jf.DataFlowKernel,
) -> None:
    def numbers() -> Iterator[int]:
        yield from range(3)
        kernel.cleanup()
        yield 3

    got: list[int] = []
    results = kernel.map(double, numbers())
    with pytest.raises(jf.KernelClosedError):
        got.extend(results)

    assert got == [0, 2, 4]


def test_an_error_in_map_cancels_what_is_ahead(
    kernel: jf.DataFlowKernel, gate: threading.Event
) -> None:
    blocked = kernel.submit(gate.wait, LIMIT_S)

    @jf.python_app
    def divide(x: int, after: object) -> float:
        return 1 / x

    waits: list[object] = [None, None, *[blocked] * 8]
    with pytest.raises(ZeroDivisionError):
        list(divide.map([1, 0, *range(1, 9)], waits))
    gate.set()
    kernel.wait_for_current_tasks(LIMIT_S)

    assert kernel.task_state_counts[jf.TaskState.CANCELLED] == 8


def test_leaving_a_map_early_cancels_what_is_ahead(
    kernel: jf.DataFlowKernel, gate: threading.Event
) -> None:
    blocked = kernel.submit(gate.wait, LIMIT_S)
    after: list[object] = [None, blocked, blocked]
    for _ in jf.python_app(lambda x: x).map(after):
        break
    gate.set()
    kernel.wait_for_current_tasks(LIMIT_S)

    assert kernel.task_state_counts[jf.TaskState.CANCELLED] == 2


def test_a_kernel_maps_functions_and_apps(kernel: jf.DataFlowKernel) -> None:
    assert list(kernel.map(abs, [-1, 2], window=1)) == [1, 2]
    assert list(kernel.map(double, [1, 2])) == [2, 4]


# -- options


def test_options_make_another_app(kernel: jf.DataFlowKernel) -> None:
    tries: list[int] = []

    @jf.python_app
    def flaky() -> int:
        tries.append(1)
        if len(tries) < 3:
            raise ValueError("too early")
        return len(tries)

    assert flaky.options(retries=2)().result(LIMIT_S) == 3
    assert flaky.__name__ == flaky.options(retries=2).__name__
    tries.clear()
    with pytest.raises(ValueError, match="too early"):
        flaky().result(LIMIT_S)


def test_options_keep_those_that_are_not_changed() -> None:
    changed = with_options.options(walltime=1)

    assert changed.options(walltime=2).__reduce__()[1][2] == {
        "retries": 3,
        "walltime": 2,
    }


def test_an_unknown_option_is_named_with_the_nearest() -> None:
    with pytest.raises(
        jf.ConfigurationError, match=r"'retrys'; did you mean 'retries'"
    ):
        jf.python_app(retrys=3)  # type: ignore[call-overload]  # that is the point
    with pytest.raises(jf.ConfigurationError, match=r"'walltim'; did you mean"):
        double.options(walltim=3)  # type: ignore[call-arg]  # likewise


@pytest.mark.parametrize("name", ["executors", "resources"])
def test_a_join_app_has_no_choice_of_where_its_body_runs(name: str) -> None:
    options: dict[str, Any] = {name: None}

    with pytest.raises(jf.ConfigurationError, match=rf"it takes no {name}="):
        jf.join_app(**options)
    with pytest.raises(jf.ConfigurationError, match=rf"it takes no {name}="):
        jf.join_app(list).options(**options)


def test_a_join_app_is_not_offered_what_it_cannot_have() -> None:
    options: dict[str, Any] = {"executor": "cpu"}

    with pytest.raises(jf.ConfigurationError, match=r"'executor'\. Options: cache,"):
        jf.join_app(**options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"walltime": 0}, "walltime= of 'f' is 0"),
        ({"walltime": -1.5}, "walltime= of 'f' is -1.5"),
        ({"walltime": "10"}, "walltime= of 'f' is '10'"),
        ({"walltime": True}, "walltime= of 'f' is True"),
        ({"walltime": float("nan")}, "walltime= of 'f' is nan"),
        ({"walltime": 10**400}, r"walltime= of 'f' is 1000.*\.\.\.0.*; expected"),
        ({"retries": 10**400}, "retries= of 'f' is 1000"),
        ({"retries": -1}, "retries= of 'f' is -1"),
        ({"retries": "3"}, "retries= of 'f' is '3'"),
        ({"retry_delay": -1}, "retry_delay= of 'f' is -1"),
        ({"retry_backoff": 0.5}, "retry_backoff= of 'f' is 0.5"),
        ({"resources": "gpu"}, "resources= of 'f' is 'gpu'"),
        ({"resources": {"gpu": "one"}}, "resources= of 'f' is {'gpu': 'one'}"),
        ({"resources": {"gpu": -1}}, "resources= of 'f' is {'gpu': -1}"),
        ({"resources": {"gpu": True}}, "resources= of 'f' is {'gpu': True}"),
        ({"resources": {"gpu": 10**400}}, "resources= of 'f' is {'gpu': 1000"),
        ({"executors": 3}, "executors= is 3"),
        ({"executors": []}, r"executors= is \[\]"),
        ({"executors": ["a", 1]}, r"executors= is \['a', 1\]"),
        ({"ignore_for_cache": "name"}, "ignore_for_cache= of 'f' is 'name'"),
        ({"ignore_for_cache": [1]}, r"ignore_for_cache= of 'f' is \[1\]"),
        ({"cache": "no"}, "cache= of 'f' is 'no'"),
        ({"cache_failures": 1}, "cache_failures= of 'f' is 1"),
    ],
    ids=str,
)
def test_a_bad_option_is_told_where_the_app_is_made(
    options: dict[str, Any], words: str
) -> None:
    def f() -> None: ...

    with pytest.raises(jf.ConfigurationError, match=words):
        jf.python_app(**options)(f)


def test_a_join_app_chooses_no_executor() -> None:
    with pytest.raises(jf.ConfigurationError, match="runs in the driver"):
        jf.join_app(executors=["threads"])  # type: ignore[call-overload]  # that is the point


# -- pickling


def test_an_app_of_a_module_is_pickled_by_name(kernel: jf.DataFlowKernel) -> None:
    assert pickle.loads(pickle.dumps(double)) is double

    method = pickle.loads(pickle.dumps(Account(100).with_interest))
    assert method(5).result(LIMIT_S) == 105


def test_an_app_made_in_a_function_is_pickled_by_value(
    kernel: jf.DataFlowKernel,
) -> None:
    factor = 3

    @jf.python_app(retries=1)
    def times(x: int) -> int:
        return factor * x

    copy = loads(dumps(times))

    assert copy is not times
    assert copy(2).result(LIMIT_S) == 6


# -- arguments that the kernel reads


def test_a_label_is_for_the_kernel_and_for_functions_that_take_it(
    kernel: jf.DataFlowKernel,
) -> None:
    labels: list[str] = []

    class Observer:
        @jf.hookimpl
        def jackfield_select_executor(self, task: jf.TaskView) -> None:
            labels.append(task.label)

    kernel.register(Observer())

    @jf.python_app
    def takes(label: str) -> str:
        return label

    @jf.python_app
    def takes_all(**names: Any) -> dict[str, Any]:
        return names

    assert double(1, label="mine").result(LIMIT_S) == 2
    assert takes(label="yours").result(LIMIT_S) == "yours"
    assert takes_all(label="ours", x=1).result(LIMIT_S) == {"label": "ours", "x": 1}
    assert labels == ["mine", "yours", "ours"]


def test_a_function_that_the_kernel_is_given_gets_what_it_takes(
    kernel: jf.DataFlowKernel,
) -> None:
    def takes(label: str, walltime: float) -> tuple[str, float]:
        return label, walltime

    assert kernel.submit(takes, label="l", walltime=5).result(LIMIT_S) == ("l", 5)
    assert kernel.submit(int, label="l").result(LIMIT_S) == 0


def test_an_app_that_the_kernel_is_given_is_run_as_that_app(
    kernel: jf.DataFlowKernel,
) -> None:
    tries: list[int] = []

    @jf.python_app(retries=1)
    def flaky(x: int) -> int:
        tries.append(x)
        if len(tries) == 1:
            raise ValueError
        return x

    assert kernel.submit(flaky, 5).result(LIMIT_S) == 5
    assert tries == [5, 5]
    assert kernel.submit(Account(100).with_interest, 5).result(LIMIT_S) == 105


def test_outputs_are_given_as_files_to_a_function_that_takes_them(
    kernel: jf.DataFlowKernel,
) -> None:
    @jf.python_app
    def write(outputs: Any = ()) -> list[str]:
        for file in outputs:
            Path(file).write_text("text")
        return [type(file).__name__ for file in outputs]

    future = write(outputs=["a.txt", Path("b.txt"), jf.File("c.txt")])

    assert future.result(LIMIT_S) == ["File"] * 3
    names = [data.result(LIMIT_S).filename for data in future.outputs]
    assert names == ["a.txt", "b.txt", "c.txt"]


def test_outputs_of_a_function_that_does_not_take_them_are_looked_for(
    kernel: jf.DataFlowKernel,
) -> None:
    Path("there.txt").touch()

    assert double(1, outputs=["there.txt"]).result(LIMIT_S) == 2
    with pytest.raises(jf.MissingOutputs, match=r"'double'.*missing.txt'"):
        double(1, outputs=["missing.txt"]).result(LIMIT_S)


def test_an_output_must_be_a_file(kernel: jf.DataFlowKernel) -> None:
    with pytest.raises(TypeError, match="path or a URL, not 3"):
        double(1, outputs=[3])
    assert sum(kernel.task_state_counts.values()) == 0


def test_a_task_without_outputs_has_none(kernel: jf.DataFlowKernel) -> None:
    assert double(1).outputs == []


def test_streams_are_for_functions_that_take_them(kernel: jf.DataFlowKernel) -> None:
    @jf.python_app
    def prints(stdout: Any = None) -> str:
        Path(stdout).write_text("out")
        return str(stdout)

    future = prints(stdout=jf.AUTO_LOGNAME)

    assert future.result(LIMIT_S) == future.stdout
    assert Path(future.stdout).read_text() == "out"
    with pytest.raises(jf.ConfigurationError, match=r"'double'.*not captured"):
        double(1, stdout="out.txt")


def test_a_stream_may_be_a_default_of_the_function(kernel: jf.DataFlowKernel) -> None:
    @jf.python_app
    def prints(stdout: Any = jf.AUTO_LOGNAME) -> str:
        return str(stdout)

    future = prints()

    assert "task_logs" in future.result(LIMIT_S)
    assert future.stdout == future.result(LIMIT_S)


@pytest.mark.parametrize(
    "stream",
    [3, ("a", "w", "x"), ("a", 1), (None, "w"), "a\0b", ("a\ud800b", "w")],
    ids=ascii,
)
def test_a_bad_stream_is_told_at_the_call(
    kernel: jf.DataFlowKernel, stream: object
) -> None:
    @jf.python_app
    def prints(stdout: Any = None) -> None: ...

    with pytest.raises(BadStdStreamFile, match="expected a path"):
        prints(stdout=stream)


def test_a_bad_walltime_of_a_call_is_told_at_the_call(
    kernel: jf.DataFlowKernel,
) -> None:
    with pytest.raises(jf.ConfigurationError, match="walltime= of 'double' is 'long'"):
        double(1, walltime="long")


def test_a_walltime_of_a_call_is_kept(
    kernel: jf.DataFlowKernel, gate: threading.Event
) -> None:
    @jf.python_app
    def busy() -> None:
        while not gate.is_set():
            time.sleep(0.001)

    with pytest.raises(AppTimeout):
        busy(walltime=0.05).result(LIMIT_S)


# -- as a concurrent.futures.Executor


def test_a_library_may_use_a_kernel_as_its_executor(kernel: jf.DataFlowKernel) -> None:
    with jf.KernelExecutor(kernel) as executor:
        futures = [executor.submit(pow, 2, n) for n in range(5)]
        done, left = concurrent.futures.wait(futures, LIMIT_S)

    assert (done, left) == (set(futures), set())
    assert [future.result() for future in futures] == [1, 2, 4, 8, 16]


def test_an_executor_gives_every_argument_to_the_function(
    kernel: jf.DataFlowKernel,
) -> None:
    def takes(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    def label(label: str) -> str:
        return label

    takes_one: Callable[..., int] = abs
    given: dict[str, Any] = {
        "label": 1, "walltime": "soon", "outputs": 3, "stdout": 4, "stderr": 5,
        "executors": 6, "cache": 7, "fn": 8, "inputs": [kernel.submit(int)],
    }  # fmt: skip
    with jf.KernelExecutor(kernel) as executor:
        assert executor.submit(takes, 1, **given).result(LIMIT_S) == (
            (1,),
            {**given, "inputs": [0]},
        )
        assert executor.submit(label, label="x").result(LIMIT_S) == "x"
        with pytest.raises(TypeError, match="no keyword arguments"):
            executor.submit(takes_one, 1, label="x").result(LIMIT_S)


def test_an_executor_maps(kernel: jf.DataFlowKernel) -> None:
    with jf.KernelExecutor(kernel) as executor:
        assert list(executor.map(pow, [2, 3], [3, 2], chunksize=10)) == [8, 9]


def test_asyncio_runs_functions_in_an_executor(kernel: jf.DataFlowKernel) -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(executor, pow, 2, 5)

    with jf.KernelExecutor(kernel) as executor:
        assert asyncio.run(main()) == 32


def test_an_executor_ends_without_ending_the_kernel(
    kernel: jf.DataFlowKernel,
) -> None:
    executor = jf.KernelExecutor(kernel)
    executor.shutdown()

    with pytest.raises(RuntimeError, match="cannot schedule new futures"):
        executor.submit(int)
    assert kernel.submit(int).result(LIMIT_S) == 0


def test_leaving_an_executor_waits_for_its_calls(
    kernel: jf.DataFlowKernel, gate: threading.Event
) -> None:
    with jf.KernelExecutor(kernel) as executor:
        futures = [executor.submit(gate.wait, LIMIT_S) for _ in range(3)]
        threading.Timer(0.05, gate.set).start()

    assert all(future.done() for future in futures)


def test_an_executor_cancels_what_has_not_begun(
    kernel: jf.DataFlowKernel, gate: threading.Event
) -> None:
    executor = jf.KernelExecutor(kernel)
    began = threading.Event()

    def run() -> None:
        began.set()
        gate.wait(LIMIT_S)

    running = executor.submit(run)
    waiting = executor.submit(lambda _: None, running)
    assert began.wait(LIMIT_S)
    executor.shutdown(wait=False, cancel_futures=True)
    gate.set()

    assert waiting.cancelled()
    running.result(LIMIT_S)


def test_an_executor_keeps_to_its_labels(kernel: jf.DataFlowKernel) -> None:
    kernel.add_executors({"other": {"plugin": "threads", "workers": 1}})
    with jf.KernelExecutor(kernel, executors=["other"]) as executor:
        name = executor.submit(lambda: threading.current_thread().name)

    assert "other" in name.result(LIMIT_S)


def test_an_executors_end_comes_after_the_done_callbacks(
    kernel: jf.DataFlowKernel,
) -> None:
    called: list[int] = []

    def slowly(number: int) -> None:
        threading.Event().wait(0.002)
        called.append(number)

    for number in range(20):
        with jf.KernelExecutor(kernel) as executor:
            for add in range(3):
                future = executor.submit(pow, number, 2)
                future.add_done_callback(lambda _, n=number + add: slowly(n))  # type: ignore[misc]  # a default binds it
        assert len(called) == 3 * (number + 1)


def test_a_done_callback_may_end_its_executor(kernel: jf.DataFlowKernel) -> None:
    ended = threading.Event()

    def end(_: object) -> None:
        executor.shutdown()
        ended.set()

    executor = jf.KernelExecutor(kernel)
    executor.submit(abs, -1).add_done_callback(end)

    assert ended.wait(LIMIT_S)


@pytest.mark.parametrize("form", ["config", "mapping"])
def test_an_executor_may_own_its_kernel(tmp_path: Path, form: str) -> None:
    options: dict[str, Any] = {"run_dir": tmp_path / "own"}
    given: Any = jf.Config(**options) if form == "config" else options

    with jf.KernelExecutor(given) as executor:
        assert list(executor.map(abs, [-1, -2])) == [1, 2]
        with pytest.raises(jf.NoDataFlowKernelError):
            jf.dfk()

    log = tmp_path / "own" / "000" / "jackfield.log"
    assert "Kernel ended" in log.read_text()


def test_a_kernel_of_an_executors_own_ends_in_the_background(tmp_path: Path) -> None:
    gate = threading.Event()
    executor = jf.KernelExecutor({"run_dir": tmp_path / "own"})
    future = executor.submit(gate.wait, LIMIT_S)

    executor.shutdown(wait=False)
    with pytest.raises(jf.KernelClosedError):
        executor.submit(abs, -1)
    gate.set()

    assert future.result(LIMIT_S) is True
    for thread in threading.enumerate():
        if thread.name == "jackfield-executor-end":
            thread.join(LIMIT_S)
    log = tmp_path / "own" / "000" / "jackfield.log"
    assert "Kernel ended" in log.read_text()


@pytest.mark.parametrize("given", [None, 4, jf.DataFlowKernel, threading, ["x"]])
def test_an_executor_of_anything_else_is_refused_where_it_is_made(given: Any) -> None:
    with pytest.raises(TypeError, match="KernelExecutor takes a kernel, or a config"):
        jf.KernelExecutor(given)


def test_an_executor_of_an_unknown_label_is_refused_where_it_is_made(
    kernel: jf.DataFlowKernel,
) -> None:
    with pytest.raises(jf.ConfigurationError, match=r"'thread'.*threads"):
        jf.KernelExecutor(kernel, executors=["thread"])


# -- Outputs that are no files --------------------------------------------------------


@pytest.mark.parametrize("plugin", ["threads", "processes"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_an_output_that_is_no_file_is_an_error(
    tmp_path: Path, plugin: str, kind: str
) -> None:
    @jf.python_app
    def make(outputs: Any = ()) -> None:
        import os

        path = Path(outputs[0])
        if kind == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to("/dev/zero")

    with jf.load(executors={"x": {"plugin": plugin}}, run_dir=tmp_path / "r"):
        future = make(outputs=[jf.File(tmp_path / "o")])

        with pytest.raises(jf.MissingOutputs, match=r"/o \(a named pipe, socket or"):
            future.result(LIMIT_S)
        assert isinstance(future.outputs[0].exception(LIMIT_S), jf.MissingOutputs)
