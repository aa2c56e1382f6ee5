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
from jackfield_executors.checking import (
    AGENTS_SHOWN,
    DISKS,
    FROM_0,
    FROM_1,
    SECONDS,
    Option,
    checked_options,
    need_package,
    takes,
)
from jackfield_executors.elastic import Bounds, bounds_of

if TYPE_CHECKING:
    from jackfield.abc import Executor


def _names(value: Any) -> bool:
    return isinstance(value, str) and all(value.partition(":"))


_OPTIONS: Final[Mapping[str, Option]] = {
    "executor": Option(None, takes(_names, "a text such as 'module:object'")),
    "blocks": Option(None, FROM_1),
    "least": Option(0, FROM_0),
    "most": Option(1, FROM_1),
    "init": Option(0, FROM_0),
    "bundle": Option(0.05, SECONDS),
    "patience": Option(60.0, SECONDS),
    **DISKS,
}

JACKFIELD_SHOWN = (
    "executor",
    "blocks",
    "bundle",
    *AGENTS_SHOWN,
)


@hookimpl
def jackfield_create_executor(
    kind: str, label: str, options: Mapping[str, Any]
) -> Executor | None:
    """Make the executor for a configuration's table with ``plugin = "parsl"``."""
    if kind != "parsl":
        return None
    checked = _checked(label, options)
    from jackfield_executors.parsl.executor import ParslExecutor

    return ParslExecutor(label, checked, _bounds(label, options))


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
    checked = checked_options("parsl", label, options, _OPTIONS)
    if "executor" not in options:
        raise ConfigurationError(
            f"Executor {label!r}: the plugin 'parsl' needs the option executor, which "
            f"names a HighThroughputExecutor as 'module:object'."
        )
    _bounds(label, options)
    need_package("parsl", label)
    return checked


def _bounds(label: str, options: Mapping[str, Any]) -> Bounds:
    """Return how many blocks there may be; equal numbers if that does not change."""
    return bounds_of(label, options, fixed="blocks", most=1)
