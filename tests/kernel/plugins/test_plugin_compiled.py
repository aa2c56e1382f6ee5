from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from types import SimpleNamespace
from typing import Any

import pytest

import jackfield as jf
from jackfield import hookspecs
from jackfield.plugins import PluginManager
from jackfield.plugins.table import CompiledHooks

Install = Callable[..., None]


def ask(functions: tuple[Callable[..., Any], ...], *arguments: object) -> list[Any]:
    return [function(*arguments) for function in functions]


def test_nobody_is_an_empty_tuple() -> None:
    manager = PluginManager()

    assert manager.hooks.select_executor == manager.hooks.retry == ()
    assert manager.hooks.hash_function == manager.value_hashers(int) == ()
    assert manager.hooks.task_events == ()


def test_each_argument_reaches_its_place() -> None:
    class All:
        @jf.hookimpl
        def jackfield_retry(self, task: Any, error: Any, attempt: Any) -> Any:
            return task, error, attempt

    class Turned:
        @jf.hookimpl
        def jackfield_retry(self, attempt: Any, task: Any) -> Any:
            return attempt, task

    class One:
        @jf.hookimpl
        def jackfield_retry(self, error: Any) -> Any:
            return error

    class Nothing:
        @jf.hookimpl
        def jackfield_retry(self) -> Any:
            return "nothing"

    manager = PluginManager([Nothing(), One(), Turned(), All()])

    assert ask(manager.hooks.retry, "t", "e", 1) == [
        ("t", "e", 1),
        (1, "t"),
        "e",
        "nothing",
    ]


def test_arguments_with_a_default_get_the_value_if_the_hook_has_them() -> None:
    class Careful:
        @jf.hookimpl
        def jackfield_retry(
            self, task: Any, of_tomorrow: str = "default", attempt: int = 0
        ) -> Any:
            return task, of_tomorrow, attempt

    class Plain:
        @jf.hookimpl
        def jackfield_retry(
            self, task: Any, error: Any = None, attempt: int = 0
        ) -> Any:
            return task, error, attempt

    manager = PluginManager([Plain(), Careful()])

    assert ask(manager.hooks.retry, "t", "e", 1) == [("t", "default", 1), ("t", "e", 1)]


def test_a_function_that_takes_all_is_not_wrapped() -> None:
    class All:
        @jf.hookimpl
        def jackfield_select_executor(self, task: Any, executors: Any) -> None: ...

    plugin = All()

    assert PluginManager([plugin]).hooks.select_executor == (
        plugin.jackfield_select_executor,
    )


class Tagged:
    def __init__(self, tag: str) -> None:
        self.tag = tag

    @jf.hookimpl
    def jackfield_hash_function(self) -> str:
        return self.tag


class First(Tagged):
    @jf.hookimpl(tryfirst=True)
    def jackfield_hash_function(self) -> str:
        return self.tag


class Last(Tagged):
    @jf.hookimpl(trylast=True)
    def jackfield_hash_function(self) -> str:
        return self.tag


def test_the_last_registered_comes_first_but_for_those_that_say_otherwise() -> None:
    manager = PluginManager(
        [First("first"), Tagged("a"), Last("last"), Tagged("b"), Last("very last")]
    )

    assert ask(manager.hooks.hash_function, None) == [
        "first",
        "b",
        "a",
        "last",
        "very last",
    ]


def test_the_program_comes_before_what_is_installed(install: Install) -> None:
    install(
        "lab-tools",
        "[jackfield.plugins]\nlab = lab\n",
        lab="""
            import jackfield as jf

            @jf.hookimpl
            def jackfield_hash_function():
                return "installed"
        """,
    )
    manager = PluginManager([Tagged("program"), Last("at last")])

    manager.load_general()

    assert ask(manager.hooks.hash_function, None) == ["program", "installed", "at last"]


def test_a_wrapper_sees_the_answer_of_the_others() -> None:
    class Loud:
        @jf.hookimpl(wrapper=True)
        def jackfield_hash_function(self) -> Generator[None, str, str]:
            answer = yield
            return answer.upper()

    manager = PluginManager([Tagged("a"), Loud(), Tagged("b")])

    assert ask(manager.hooks.hash_function, None) == ["B"]
    description = manager.describe(manager.hooks.hash_function[0])
    assert all(name in description for name in ("Loud", "Tagged", "Tagged-2"))


def test_a_wrapper_does_not_reach_plugins_of_other_names(install: Install) -> None:
    install(
        "lab-tools",
        "[jackfield.staging]\ngopher = lab_ftp\nirods = lab_irods\n",
        lab_ftp="""
            import jackfield as jf

            @jf.hookimpl
            def jackfield_stage_in(transfer):
                return "gopher"
        """,
        lab_irods="""
            import jackfield as jf

            @jf.hookimpl
            def jackfield_stage_in(transfer):
                return "irods"
        """,
    )

    class Log:
        @jf.hookimpl(wrapper=True)
        def jackfield_stage_in(self) -> Generator[None, str, str]:
            return f"logged {(yield)}"

    manager = PluginManager([Log()])

    assert ask(manager.staging("irods", "jackfield_stage_in"), None) == ["logged irods"]
    assert ask(manager.staging("gopher", "jackfield_stage_in"), None) == [
        "logged gopher"
    ]


def test_one_plugin_may_implement_a_hook_twice() -> None:
    class Twice:
        @jf.hookimpl(specname="jackfield_hash_function")
        def one(self) -> str:
            return "one"

        @jf.hookimpl(specname="jackfield_hash_function")
        def two(self) -> str:
            return "two"

    manager = PluginManager([Twice()])

    assert sorted(ask(manager.hooks.hash_function, None)) == ["one", "two"]


def test_a_function_is_described_by_plugin_and_hook(install: Install) -> None:
    install(
        "lab-tools",
        "[jackfield.plugins]\nlab = lab\n",
        lab="""
            import jackfield as jf

            @jf.hookimpl
            def jackfield_retry(error): ...
        """,
        version="1.2",
    )
    manager = PluginManager([Tagged("x")])
    manager.load_general()

    (retry,), (tagged,) = manager.hooks.retry, manager.hooks.hash_function

    assert (
        manager.describe(retry) == "plugin 'lab' (lab-tools 1.2), hook jackfield_retry"
    )
    assert "plugin 'Tagged' (registered by the program" in manager.describe(tagged)


def test_a_function_is_still_described_after_a_change() -> None:
    manager = PluginManager([Tagged("x")])
    (function,) = manager.hooks.hash_function

    manager.register(Tagged("y"))

    assert "'Tagged'" in manager.describe(function)


def test_a_stranger_is_described_too() -> None:
    assert "test_a_stranger" in PluginManager().describe(
        test_a_stranger_is_described_too
    )


def test_tuples_are_replaced_and_never_changed() -> None:
    plugin = Tagged("x")
    manager = PluginManager([plugin])
    before = manager.hooks.hash_function

    manager.unregister(plugin)

    assert ask(before, None) == ["x"]


@pytest.mark.parametrize("hook", ["jackfield_stage_in", "jackfield_hash_value"])
def test_hooks_of_an_executor_plugin_about_other_things_are_not_asked(
    install: Install, hook: str
) -> None:
    install(
        "lab-tools",
        "[jackfield.executors]\nlab = lab\n",
        lab=f"""
            import jackfield as jf

            @jf.hookimpl
            def jackfield_create_executor(kind): ...

            @jf.hookimpl
            def jackfield_retry(): ...

            @jf.hookimpl
            def {hook}(): ...
        """,
    )
    manager = PluginManager()

    manager.load("executor", "lab")

    assert len(manager.hooks.retry) == 1
    assert (
        manager.value_hashers(int)
        == manager.staging("gopher", "jackfield_stage_in")
        == ()
    )


@pytest.mark.parametrize("name", CompiledHooks._fields)
def test_each_line_of_the_table_is_a_hook(name: str) -> None:
    hook = f"jackfield_{name}"
    assert inspect.isfunction(getattr(hookspecs, hook))
    plugin = SimpleNamespace(**{hook: jf.hookimpl(lambda: None)})

    compiled = getattr(PluginManager([plugin]).hooks, name)

    assert len(compiled) == 1
