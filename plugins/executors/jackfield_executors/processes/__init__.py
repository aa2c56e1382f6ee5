"""Run tasks in processes of this resources. Plugin name: ``processes``.

Right for Python code that computes: each worker is a process of its own, which
can crash, be stopped and be replaced without harm to the others. Arguments and
results are pickled. Options and guarantees: ``docs/executors-processes.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jackfield.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jackfield.abc import Executor


@hookimpl
def jackfield_create_executor(
    kind: str, label: str, options: Mapping[str, Any]
) -> Executor | None:
    """Make a process executor; its code is imported only now."""
    if kind != "processes":
        return None
    from jackfield_executors.processes.executor import ProcessExecutor
    from jackfield_executors.processes.options import parse_options

    return ProcessExecutor(parse_options(label, options))
