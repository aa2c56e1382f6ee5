"""Run tasks on a ``HighThroughputExecutor`` of Parsl's. Plugin name: ``parsl``.

It is as a site has configured it, with its provider and its launcher, but without
Parsl's DataFlowKernel. Tasks go there in bundles, through the adapter.
``docs/executors-parsl.md`` has the options.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from jackfield.errors import ConfigurationError
from jackfield.hookspecs import hookimpl
from jackfield_executors.remote.checking import (
    FROM_1,
    SECONDS,
    Takes,
    checked_options,
    need_package,
)
from jackfield_executors.remote.disk_options import OPTIONS

if TYPE_CHECKING:
    from jackfield.abc import Executor

_DEFAULTS: Final[Mapping[str, Any]] = {
    "executor": None,
    "blocks": None,
    "bundle": 0.05,
    "patience": 60.0,
    **OPTIONS,
}


def _names(value: Any) -> bool:
    return isinstance(value, str) and all(value.partition(":"))


_TAKES: Final[Mapping[str, Takes]] = {
    "executor": (_names, "a text such as 'module:object'"),
    "blocks": FROM_1,
    "bundle": SECONDS,
    "patience": SECONDS,
}


@hookimpl
def jackfield_create_executor(
    kind: str, label: str, options: Mapping[str, Any]
) -> Executor | None:
    """Make the executor for a configuration's table with ``plugin = "parsl"``."""
    if kind != "parsl":
        return None
    checked = _checked(label, options)
    from jackfield_executors.parsl.executor import ParslExecutor

    return ParslExecutor(label, checked)


@hookimpl
def jackfield_check_options(name: str, options: Mapping[str, Any]) -> bool:
    """Check an executor's table, and whether the package that it needs is there."""
    _checked(name, options)
    return True


def _checked(label: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with their defaults.

    Raises:
        ConfigurationError: Names the executor, the option and what it takes.
    """
    checked = checked_options("parsl", label, options, _DEFAULTS, _TAKES)
    if "executor" not in options:
        raise ConfigurationError(
            f"Executor {label!r}: the plugin 'parsl' needs the option executor, which "
            f"names a HighThroughputExecutor as 'module:object'."
        )
    need_package("parsl", label)
    return checked
