"""Monitors: made for the tables of a configuration, registered, told of the run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import jackfield as jf
from jackfield.config import Config, Resolved, make_request
from jackfield.errors import PluginNotFoundError
from jackfield_cli._check import _Check
from jackfield_configuration.resolution import jackfield_find_configuration

if TYPE_CHECKING:
    from jackfield.events import Batch

LIMIT_S = 60.0


def resolve(source: Any, environ: dict[str, str]) -> Resolved:
    return jackfield_find_configuration(
        make_request(source, environ=environ), no_profiles
    )


class Counter:
    """Follows a run."""

    def __init__(self, label: str, options: Mapping[str, Any]) -> None:
        self.label = label
        self.options = dict(options)
        self.told: list[str] = []
        self.ended: set[int] = set()

    @jf.hookimpl
    def jackfield_kernel_started(self, kernel: jf.DataFlowKernel) -> None:
        self.told.append(f"started with {', '.join(kernel.executors)}")

    @jf.hookimpl
    def jackfield_run_events(self, batch: Batch) -> None:
        self.ended |= {one.task for one in batch.tasks if one.ended is not None}

    @jf.hookimpl
    def jackfield_kernel_closing(self, kernel: jf.DataFlowKernel) -> None:
        self.told.append(f"closing after {len(self.ended)} tasks")


class Maker:
    """The plugin that makes them."""

    def __init__(self) -> None:
        self.made: list[Counter] = []

    @jf.hookimpl
    def jackfield_create_monitor(
        self, kind: str, label: str, options: Mapping[str, Any]
    ) -> Counter | None:
        if kind != "counter":
            return None
        if "bad" in options:
            raise jf.ConfigurationError(f"monitors.{label} has no option 'bad'.")
        self.made.append(Counter(label, options))
        return self.made[-1]


def no_profiles(name: str) -> object:
    raise AssertionError(name)


def test_two_monitors_of_one_kind_follow_a_run(tmp_path: Path) -> None:
    maker = Maker()
    monitors = {
        "one": {"plugin": "counter", "resources": True},
        "two": {"plugin": "counter", "complete": True, "size": 3},
    }
    with jf.load(plugins=[maker], run_dir=tmp_path, monitors=monitors) as kernel:
        assert [kernel.submit(abs, -n).result(LIMIT_S) for n in range(3)] == [0, 1, 2]

    assert [one.label for one in maker.made] == ["one", "two"]
    assert [one.options for one in maker.made] == [{}, {"size": 3}]
    for one in maker.made:
        assert one.told == ["started with threads", "closing after 3 tasks"]


def test_a_monitor_that_is_not_installed_names_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(
        PluginNotFoundError, match="No monitor plugin is named 'nosuch'"
    ):
        jf.load(run_dir=tmp_path, monitors={"db": {"plugin": "nosuch"}})
    assert list(tmp_path.iterdir()) == []


def test_a_monitor_refuses_its_options(tmp_path: Path) -> None:
    monitors = {"db": {"plugin": "counter", "bad": 1}}
    with pytest.raises(jf.ConfigurationError, match="no option 'bad'"):
        jf.load(plugins=[Maker()], run_dir=tmp_path, monitors=monitors)


def test_monitors_are_checked_without_a_run() -> None:
    monitors = {"db": {"plugin": "nosuch", "resources": True}}
    resolved = resolve(Config(monitors=monitors), environ={})
    (problem,) = _Check(resolved).problems()
    assert "No monitor plugin is named 'nosuch'" in problem
    assert problem.startswith("monitors.db (from Python): ")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (3, "must be a table, not int"),
        ({}, "has no plugin"),
        ({"plugin": 3}, "must be the name of a monitor"),
        ({"plugin": "a", "resources": "yes"}, "must be true or false"),
        ({"plugin": "a", "complete": 1}, "must be true or false"),
    ],
)
def test_what_is_no_monitor_is_refused(table: Any, message: str) -> None:
    with pytest.raises(jf.ConfigurationError, match=message) as caught:
        Config(monitors={"db": table})
    assert "monitors.db" in str(caught.value)


def test_a_file_and_the_environment_name_monitors() -> None:
    resolved = resolve(
        {"monitors": {"db": {"plugin": "sqlite", "path": "a.db"}}},
        environ={
            "JACKFIELD_MONITORS__DB__RESOURCES": "true",
            "JACKFIELD_MONITORS__NEW__PLUGIN": "counter",
        },
    )
    assert resolved.config.monitors == {
        "db": {"plugin": "sqlite", "path": "a.db", "resources": True},
        "new": {"plugin": "counter"},
    }
    assert resolved.origins["monitors.db.plugin"] == "Python"


def test_another_kind_of_monitor_takes_over_no_options() -> None:
    resolved = resolve(
        {"monitors": {"db": {"plugin": "sqlite", "path": "a.db"}}},
        environ={"JACKFIELD_MONITORS__DB__PLUGIN": "counter"},
    )
    assert resolved.config.monitors == {"db": {"plugin": "counter"}}
