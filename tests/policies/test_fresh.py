"""``[plugins.fresh]``: apps that are called whatever results there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import jackfield as jf

LIMIT_S = 60.0


@jf.python_app(cache=True, ignore_for_cache=["notes"])
def fetch(x: int, notes: Path) -> int:
    with notes.open("a") as file:
        file.write("called ")
    return x


@jf.python_app(cache=True, ignore_for_cache=["notes"])
def parse(x: int, notes: Path) -> int:
    with notes.open("a") as file:
        file.write("called ")
    return 2 * x


def test_an_app_that_is_named_is_called_although_it_has_a_result(
    tmp_path: Path,
) -> None:
    notes = {fetch: tmp_path / "fetch", parse: tmp_path / "parse"}
    for table in ({}, {"fresh": {"apps": ["fe*"]}}, {}):
        tables: Any = {"fresh": table} if "apps" in table else table
        config = jf.Config(
            executors={"threads": {"plugin": "threads"}},
            run_dir=tmp_path / "runs",
            use_plugins=tables,
        )
        with jf.DataFlowKernel(config) as kernel:
            for app, path in notes.items():
                future = app.submit_to(kernel, (1, path), {})
                assert future.result(LIMIT_S) in (1, 2)

    assert notes[fetch].read_text() == "called called "
    assert notes[parse].read_text() == "called "


@pytest.mark.parametrize("apps", ["fetch", [1], [""]])
def test_apps_are_a_list_of_names(apps: Any) -> None:
    from jackfield_policies.fresh import Fresh

    with pytest.raises(jf.ConfigurationError, match="apps"):
        Fresh(apps=apps)


class AnewForTwo:
    """Forbids results by what a call shows of its arguments."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    @jf.hookimpl
    def jackfield_use_result(self, task: jf.TaskView) -> bool | None:
        self.calls.append(task.call)
        return False if task.call.startswith("fetch(2, ") else None


def test_a_plugin_that_forbids_a_result_sees_the_call(tmp_path: Path) -> None:
    notes, plugin = tmp_path / "notes", AnewForTwo()
    with jf.load(run_dir=tmp_path / "runs", plugins=[plugin]):
        one = fetch(1, notes)
        found = [fetch(x, notes).result(LIMIT_S) for x in (1, one, 2, 2)]

    assert found == [1, 1, 2, 2]
    assert notes.read_text() == "called called called "
    assert [call[:9] for call in plugin.calls[:1]] == ["fetch(1, "]
    assert [call[:9] for call in plugin.calls[3:]] == ["fetch(2, "] * 2
