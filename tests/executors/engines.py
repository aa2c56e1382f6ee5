"""What tests of executors on engines share: a driver to kill, and tasks that wait."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jackfield_testing.executors import tasks
from jackfield_testing.executors.case import until_entered

if TYPE_CHECKING:
    from jackfield.abc import Executor, Work
    from jackfield_testing import Harness

DRIVER = """\
import sys
from pathlib import Path
import jackfield as jf
from jackfield_testing.executors import tasks

@jf.python_app
def block(path):
    tasks.block(path)

if __name__ == "__main__":
    with jf.load(executors={{"far": {table!r}}}):
        block(Path(sys.argv[1])).result()
"""


def driver(table: Mapping[str, Any]) -> str:
    """Return a script that runs a task which never ends; it names a file to be made."""
    return DRIVER.format(table=table)


def made(create: Callable[..., Any], plugin: str, options: dict[str, Any]) -> Executor:
    """Return the executor ``far`` of a plugin, not started."""
    executor: Executor | None = create(plugin, "far", options)
    assert executor is not None
    return executor


def holding(
    harness: Harness, directory: Path, names: Iterable[str]
) -> tuple[tasks.Gate, list[Work]]:
    """Submit tasks that wait at a gate; return when two workers are there."""
    names = list(names)
    gate = tasks.Gate(directory / "gate")
    harness.cleanups.append(gate.open)
    works = harness.submit_each(gate.hold, names)
    until_entered(gate, *names[:2])
    return gate, list(works)
