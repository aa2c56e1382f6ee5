"""The hooks' page: complete, exact, and its examples are plugins that load."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

from jackfield import hookspecs
from jackfield.plugins import API_VERSION, PluginManager
from jackfield.plugins.scan import GROUPS
from jackfield_cli._listing import listing

TEXT = (Path(__file__).parents[2] / "docs/hooks.md").read_text("utf-8")
HOOKS = [name for name in vars(hookspecs) if name.startswith("jackfield_")]


def heading(name: str) -> str:
    parameters = inspect.signature(getattr(hookspecs, name)).parameters
    return f"## {name}({', '.join(parameters)})\n"


def section(name: str) -> str:
    return TEXT.partition(heading(name))[2].partition("\n## ")[0]


def first_example(text: str) -> str:
    found = re.search(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def hooks_of(source: str) -> tuple[str, ...]:
    """Register an example as a plugin; return the hooks that it implements."""
    module = ModuleType("example")
    exec(compile(source, "docs/hooks.md", "exec"), vars(module))
    manager = PluginManager([module])
    (hooks,) = (one.hooks for one in listing(manager) if one.kind == "registered")
    return hooks


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_has_a_heading_with_its_arguments(name: str) -> None:
    assert heading(name) in TEXT


@pytest.mark.parametrize("name", HOOKS)
def test_every_argument_is_explained(name: str) -> None:
    for parameter in inspect.signature(getattr(hookspecs, name)).parameters:
        assert f"\n- `{parameter}`: " in section(name)


@pytest.mark.parametrize("name", HOOKS)
def test_every_example_is_a_plugin_with_that_hook(name: str) -> None:
    assert hooks_of(first_example(section(name))) == (name,)


def test_the_first_example_is_a_plugin() -> None:
    assert hooks_of(first_example(TEXT)) == ("jackfield_retry",)


def test_there_is_no_heading_of_a_hook_that_is_gone() -> None:
    assert re.findall(r"^## (jackfield_\w+)", TEXT, re.MULTILINE) == HOOKS


@pytest.mark.parametrize("group", GROUPS.values())
def test_every_group_is_told(group: str) -> None:
    assert f"| `{group}` |" in TEXT


def test_the_version_is_told() -> None:
    assert f"The present version is {API_VERSION}." in TEXT
