"""The page of our optional plugins: complete, and its examples start kernels."""

from __future__ import annotations

import inspect
import re
import tomllib
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

from jackfield import hookspecs
from jackfield.plugins import PluginManager
from jackfield_cli._listing import load_all

TEXT = (Path(__file__).parents[2] / "docs/policies.md").read_text("utf-8")
OURS = {one.name: one for one in entry_points(group="jackfield.optional")}


def section(name: str) -> str:
    return TEXT.partition(f"\n## {name}\n")[2].partition("\n## ")[0]


def example(name: str) -> dict[str, Any]:
    found = re.search(r"^```toml\n(.*?)^```", section(name), re.MULTILINE | re.DOTALL)
    assert found
    tables: dict[str, Any] = tomllib.loads(found[1])["plugins"]
    return tables


def test_each_optional_plugin_has_its_section_and_no_other() -> None:
    assert re.findall(r"^## (\w+)$", TEXT, re.MULTILINE) == sorted(OURS)
    for name in OURS:
        assert f"| [`{name}`](#{name}) |" in TEXT


@pytest.mark.parametrize("name", sorted(OURS))
def test_its_example_is_accepted(name: str) -> None:
    tables = example(name)

    assert list(tables) == [name]
    PluginManager(use=tables).load_general()


@pytest.mark.parametrize("name", sorted(OURS))
def test_each_option_is_told_with_its_default(name: str) -> None:
    plugin = OURS[name].load()
    parameters = inspect.signature(plugin).parameters if inspect.isclass(plugin) else {}
    for option in parameters.values():
        if option.kind is option.VAR_KEYWORD:
            continue
        told = rf"`{option.name}`|^{option.name} = "
        assert re.search(told, section(name), re.MULTILINE)
        if isinstance(option.default, float):
            assert str(option.default) in section(name)


def test_each_hook_has_an_implementer_among_ours() -> None:
    hooks = {name for name in vars(hookspecs) if name.startswith("jackfield_")}
    ours = [one for one in load_all(PluginManager()) if one.distribution == "jackfield"]

    implemented = {hook for plugin in ours for hook in plugin.hooks}

    # What a monitor is told, the objects implement that are made for a configuration.
    made = {"jackfield_create_monitor", "jackfield_run_events"}
    # So do those that jackfield_parsl makes of options of Parsl's.
    made |= {"jackfield_find_futures", "jackfield_stream_path"}
    assert hooks - implemented <= made
    assert implemented <= hooks
