from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest

import jackfield as jf
from jackfield.errors import PluginLoadError, PluginNotFoundError
from jackfield.plugins import PluginManager
from jackfield_cli._listing import listing


class Retrier:
    @jf.hookimpl
    def jackfield_retry(self, task: Any) -> None: ...


@dataclass
class Counter:
    """A plugin whose instances are equal and cannot be hashed."""

    seen: int = 0

    @jf.hookimpl
    def jackfield_task_events(self, events: Any) -> None:
        self.seen += len(events)


def make_module() -> ModuleType:
    module = ModuleType("lab_hooks")

    @jf.hookimpl
    def jackfield_retry(task: Any) -> None: ...

    vars(module)["jackfield_retry"] = jackfield_retry
    return module


def names(manager: PluginManager) -> list[str]:
    return [one.name for one in listing(manager) if one.kind == "registered"]


def test_an_object_counts_at_once_and_no_longer_when_taken_out() -> None:
    manager = PluginManager()
    plugin = Retrier()

    manager.register(plugin)
    assert len(manager.hooks.retry) == 1

    manager.unregister(plugin)
    assert not manager.hooks.retry
    assert names(manager) == []


def test_a_module_is_called_by_its_name() -> None:
    assert PluginManager().register(make_module()) == "lab_hooks"


def test_a_second_instance_gets_a_number() -> None:
    manager = PluginManager([Retrier(), Retrier()])

    assert names(manager) == ["Retrier", "Retrier-2"]


def test_an_object_is_registered_once() -> None:
    manager = PluginManager()
    plugin = Retrier()

    assert manager.register(plugin, "mine") == "mine"
    assert manager.register(plugin) == "mine"

    assert len(manager.hooks.retry) == 1


def test_a_name_that_is_taken_is_refused() -> None:
    manager = PluginManager()
    manager.register(Retrier(), "mine")

    with pytest.raises(PluginLoadError, match=r"'mine'.*its name is taken"):
        manager.register(Retrier(), "mine")


def test_a_class_is_refused() -> None:
    with pytest.raises(PluginLoadError, match=r"'Retrier'.*register an instance of it"):
        PluginManager().register(Retrier)


def test_what_has_no_hooks_is_refused() -> None:
    with pytest.raises(PluginLoadError, match="no function that is marked"):
        PluginManager([object()])


def test_a_misspelt_hook_is_refused_with_its_plugin() -> None:
    class Watch:
        @jf.hookimpl
        def jackfield_task_event(self, events: Any) -> None: ...

    with pytest.raises(PluginLoadError) as caught:
        PluginManager([Watch()])

    assert "Plugin 'Watch' (registered by the program, from" in str(caught.value)
    assert "did you mean 'jackfield_task_events'?" in str(caught.value)


def test_a_wrong_argument_is_refused_with_plugin_and_hook() -> None:
    class Watch:
        @jf.hookimpl
        def jackfield_task_events(self, event: Any) -> None: ...

    with pytest.raises(PluginLoadError) as caught:
        PluginManager().register(Watch(), "watch")

    assert "'watch'" in str(caught.value)
    assert "its jackfield_task_events takes 'event'" in str(caught.value)
    assert "did you mean 'events'?" in str(caught.value)


def test_an_object_for_another_api_is_refused() -> None:
    plugin = Retrier()
    vars(plugin)["JACKFIELD_API"] = ">=2"

    with pytest.raises(PluginLoadError, match=r"API >=2, and this Jackfield has 1\.0"):
        PluginManager([plugin])


def test_equal_plugins_are_told_apart() -> None:
    one, two = Counter(), Counter()
    manager = PluginManager([one, two])

    manager.unregister(one)
    manager.deliver_events([])

    assert len(manager.hooks.task_events) == 1


def test_what_is_not_registered_cannot_be_taken_out() -> None:
    manager = PluginManager([Retrier()])

    with pytest.raises(
        PluginNotFoundError, match=r"'Retrier at 0x.*Installed: Retrier"
    ):
        manager.unregister(Retrier())


def test_a_plugin_that_is_taken_out_is_let_go() -> None:
    manager = PluginManager()
    plugin = Retrier()
    manager.register(plugin)
    manager.unregister(plugin)
    gone = weakref.ref(plugin)

    del plugin
    gc.collect()

    assert gone() is None


def test_static_and_class_methods_are_hooks() -> None:
    class Lab:
        @jf.hookimpl
        @staticmethod
        def jackfield_retry(task: Any) -> str:
            return f"static {task}"

        @classmethod
        @jf.hookimpl
        def jackfield_hash_function(cls, function: Any) -> str:
            return f"{cls.__name__} {function}"

    manager = PluginManager([Lab()])

    assert manager.hooks.retry[0](1, 2, 3) == "static 1"
    assert manager.hooks.hash_function[0](4) == "Lab 4"


def test_properties_are_not_evaluated() -> None:
    class Lab(Retrier):
        @property
        def connection(self) -> None:
            raise AssertionError("a property was evaluated")

    assert PluginManager().register(Lab()) == "Lab"


def test_the_listing_has_registered_plugins_with_their_hooks() -> None:
    (one,) = (
        one for one in listing(PluginManager([Retrier()])) if one.kind == "registered"
    )

    assert (one.name, one.loaded, one.hooks) == ("Retrier", True, ("jackfield_retry",))
    assert one.problem is None
