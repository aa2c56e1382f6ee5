"""Optional plugins: used where the configuration names them, with its options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.errors import (
    ConfigurationError,
    PluginLoadError,
    PluginNotFoundError,
)
from jackfield.plugins import PluginManager

Install = Callable[..., None]

ENTRY = "[jackfield.optional]\nlab = lab:Lab\n"
LAB = """
    import jackfield as jf

    class Lab:
        def __init__(self, *, level: int = 1, place: str = "here") -> None:
            if level < 0:
                raise jf.ConfigurationError("plugins.lab.level is below 0.")
            self.level, self.place = level, place

        @jf.hookimpl
        def jackfield_retry(self):
            return jf.Retry(delay=self.level)
"""


def retry_delays(manager: PluginManager) -> list[Any]:
    return [hook(None, None, 1).delay for hook in manager.hooks.retry]


def using(table: dict[str, Any], **options: Any) -> PluginManager:
    manager = PluginManager(use={"lab": table}, **options)
    manager.load_general()
    return manager


def test_an_optional_plugin_is_not_used_unless_it_is_named(install: Install) -> None:
    install("lab-tools", ENTRY, lab="1 / 0")
    manager = PluginManager()

    manager.load_general()

    assert manager.hooks.retry == ()


def test_an_empty_table_is_enough(install: Install) -> None:
    install("lab-tools", ENTRY, lab=LAB)

    assert retry_delays(using({})) == [1]


def test_the_table_has_the_arguments_of_the_class(install: Install) -> None:
    install("lab-tools", ENTRY, lab=LAB)

    assert retry_delays(using({"level": 7})) == [7]


def test_it_is_loaded_once(install: Install) -> None:
    install("lab-tools", ENTRY, lab=LAB)
    manager = using({"level": 7})

    manager.load_general()

    assert retry_delays(manager) == [7]


def test_an_unknown_option_is_named_with_the_nearest(install: Install) -> None:
    install("lab-tools", ENTRY, lab=LAB)

    with pytest.raises(ConfigurationError) as caught:
        using({"levle": 7})

    assert str(caught.value) == (
        "plugins.lab has no option 'levle'; did you mean 'level'? "
        "Options: level, place."
    )


def test_a_class_may_take_any_options(install: Install) -> None:
    taking = LAB.replace('place: str = "here"', "**rest: int").replace(
        "self.level, self.place = level, place", 'self.level = rest["x y"]'
    )
    install("lab-tools", ENTRY, lab=taking)

    assert retry_delays(using({"x y": 5})) == [5]


def test_a_module_takes_no_options(install: Install) -> None:
    module = """
        import jackfield as jf

        @jf.hookimpl
        def jackfield_retry():
            return jf.Retry(delay=3)
    """
    install("lab-tools", "[jackfield.optional]\nlab = lab\n", lab=module)

    assert retry_delays(using({})) == [3]
    with pytest.raises(ConfigurationError, match=r"no option 'x'\. Options: none\."):
        using({"x": 1})


def test_a_value_that_the_plugin_refuses_is_told_with_its_name(
    install: Install,
) -> None:
    install("lab-tools", ENTRY, lab=LAB)

    with pytest.raises(ConfigurationError, match="below 0") as caught:
        using({"level": -1})

    assert caught.value.__notes__ == ["Raised by plugin 'lab' (lab-tools 1.0)."]


def test_a_name_that_is_not_installed_gets_a_suggestion(install: Install) -> None:
    install("lab-tools", ENTRY, lab=LAB)
    manager = PluginManager(use={"labb": {}})

    with pytest.raises(PluginNotFoundError, match=r"'labb'; did you mean 'lab'\?"):
        manager.load_general()


def test_a_broken_one_is_an_error_because_it_was_asked_for(install: Install) -> None:
    install("lab-tools", ENTRY, lab="1 / 0")

    with pytest.raises(PluginLoadError, match="ZeroDivisionError"):
        using({})


def test_blocking_switches_it_off(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("lab-tools", ENTRY, lab=LAB)

    assert using({}, block=["lab"]).hooks.retry == ()
    monkeypatch.setenv("JACKFIELD_PLUGINS", "-lab")
    assert using({}).hooks.retry == ()


def test_a_list_of_what_loads_unasked_does_not_concern_it(install: Install) -> None:
    install("lab-tools", ENTRY, lab=LAB)

    assert retry_delays(using({}, allow=())) == [1]


def test_it_is_asked_before_what_loads_unasked(install: Install) -> None:
    install("lab-tools", ENTRY, lab=LAB)
    general = LAB.replace("level: int = 1", "level: int = 2")
    install(
        "a-site", "[jackfield.plugins]\nsite = site_plugin:Lab\n", site_plugin=general
    )

    assert retry_delays(using({})) == [1, 2]


def test_a_kernel_uses_what_its_configuration_names(
    install: Install, tmp_path: Path
) -> None:
    install("lab-tools", ENTRY, lab=LAB)
    tries: list[int] = []

    @jf.python_app(retries=1)
    def once_wrong() -> int:
        tries.append(1)
        if len(tries) == 1:
            raise ValueError("too early")
        return len(tries)

    table = {"run_dir": str(tmp_path / "runs"), "plugins": {"lab": {"level": 0}}}
    with jf.load(table) as kernel:
        assert kernel.config.use_plugins == {"lab": {"level": 0}}
        assert once_wrong().result(60) == 2


def test_a_kernel_does_not_start_with_a_misspelt_option(
    install: Install, tmp_path: Path
) -> None:
    install("lab-tools", ENTRY, lab=LAB)
    table = {"run_dir": str(tmp_path / "runs"), "plugins": {"lab": {"levl": 1}}}

    with pytest.raises(ConfigurationError, match="did you mean 'level'"):
        jf.load(table)
