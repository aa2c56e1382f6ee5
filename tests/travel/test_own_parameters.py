"""An app may have parameters of its own with names that the kernel reads."""

from __future__ import annotations

import functools
from concurrent.futures import Future
from typing import Any

import pytest

import jackfield as jf

LIMIT_S = 60.0


@jf.python_app
def own(
    label: Any = None, outputs: Any = None, walltime: Any = None, **more: Any
) -> Any:
    return label, outputs, walltime, more


@jf.python_app
def plain(x: int = 0) -> int:
    return x


def test_values_that_the_kernel_would_not_read_are_the_apps(load: Any) -> None:
    with load():
        found = own(label=["a", plain(1)], outputs=3, walltime="a long time")

        assert found.result(LIMIT_S) == (["a", 1], 3, "a long time", {})
        assert own(outputs={"x": plain(2)}).result(LIMIT_S)[1] == {"x": 2}
        assert own(outputs=[1, plain(2)]).result(LIMIT_S)[1] == [1, 2]
        assert own(outputs="all").result(LIMIT_S)[1] == "all"
        assert own(walltime=0).result(LIMIT_S)[2] == 0


def test_values_that_it_reads_are_for_both(load: Any, tmp_path: Any) -> None:
    (tmp_path / "out").touch()
    with load():
        future = own(label="mine", outputs=[str(tmp_path / "out")], walltime=50.0)
        label, outputs, walltime, _ = future.result(LIMIT_S)

    assert (label, [str(one) for one in outputs]) == ("mine", [str(tmp_path / "out")])
    assert walltime == 50.0


def test_own_defaults_are_the_apps(load: Any) -> None:
    @jf.python_app
    def defaults(label: Any = (1,), outputs: Any = 3, walltime: Any = "long") -> Any:
        return label, outputs, walltime

    with load():
        assert defaults().result(LIMIT_S) == ((1,), 3, "long")


def test_no_name_of_ours_is_in_the_way(load: Any, tmp_path: Any) -> None:
    @jf.python_app
    def named(self: int, args: int, function: int, kernel: int, **kwargs: Any) -> Any:
        return self, args, function, kernel, kwargs

    @jf.bash_app
    def command(self: str, args: str, name: str) -> str:
        return f"echo {self} {args} {name} > {tmp_path}/out"

    with load(retries=1):
        found = named(self=1, args=2, function=3, kernel=4, work=5, walltime=60)
        assert found.result(LIMIT_S) == (1, 2, 3, 4, {"work": 5, "walltime": 60})
        assert command(self="a", args="b", name="c").result(LIMIT_S) == 0
    assert (tmp_path / "out").read_text() == "a b c\n"


@pytest.mark.parametrize("outputs", [3, "all", {"x": 1}], ids=str)
def test_an_app_without_such_a_parameter_is_told(
    kernel: jf.DataFlowKernel, outputs: Any
) -> None:
    with pytest.raises(jf.ConfigurationError, match="outputs= of 'plain' is"):
        plain(outputs=outputs)


def test_a_stream_of_an_own_meaning_is_told(kernel: jf.DataFlowKernel) -> None:
    @jf.python_app
    def shows(stdout: Any = None) -> None: ...

    with pytest.raises(jf.ConfigurationError.__mro__[1], match="another name"):
        shows(stdout=True)


# -- futures as defaults


def test_futures_that_are_defaults_are_waited_for(load: Any) -> None:
    early: Future[int] = Future()
    late: Future[int] = Future()

    @jf.python_app
    def takes(x: Any, y: Any = early, *, z: Any = [late]) -> Any:
        return x, y, z

    @jf.python_app
    def positional(x: Any, y: Any = 5, z: Any = early, /, *rest: Any) -> Any:
        return x, y, z, rest

    with load() as kernel:
        futures = [
            takes(1),
            takes(1, 2, z=3),
            positional(1),
            positional(1, 2, 3, 4),
            kernel.submit(lambda x=late: x),
            kernel.submit(lambda x=late, **_: x, x=7),
        ]
        early.set_result(10)
        late.set_result(20)

        assert [one.result(LIMIT_S) for one in futures] == [
            (1, 10, [20]), (1, 2, 3), (1, 5, 10, ()), (1, 2, 3, (4,)), 20, 7,
        ]  # fmt: skip


def test_futures_that_are_defaults_of_methods(load: Any) -> None:
    ready: Future[int] = Future()
    ready.set_result(3)

    class Has:
        @jf.python_app
        def method(self, x: int, y: Any = ready) -> Any:
            return x + y

    with load():
        assert Has().method(1).result(LIMIT_S) == 4
        assert Has().method(1, y=1).result(LIMIT_S) == 2


# -- names


def test_a_partial_is_named_by_its_function(load: Any) -> None:
    def add(x: int, y: int) -> int:
        return x + y

    app = jf.python_app(functools.partial(functools.partial(add, 1)))
    with load() as kernel:
        assert app(2).result(LIMIT_S) == 3
        future = kernel.submit(functools.partial(add, 1), 3)
        assert future.result(LIMIT_S) == 4
        assert "(add)" in repr(future)
    assert app.__name__ == "add"
    assert "add" in repr(app)


def test_nothing_is_kept_for_each_name_of_a_function(
    kernel: jf.DataFlowKernel,
) -> None:
    from jackfield.steps.functions import Specs

    specs = Specs("all")
    for number in range(5_000):
        assert specs[f"f{number}"].name == f"f{number}"
    assert len(specs) <= 1_000
    assert specs["f1"] is specs["f1"]

    for number in range(1_500):

        def function() -> None: ...

        function.__name__ = f"f{number}"
        kernel.submit(function)
    kernel.wait_for_current_tasks(LIMIT_S)
    assert len(kernel._plain_specs) <= 1_000
