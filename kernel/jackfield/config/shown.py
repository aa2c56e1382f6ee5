"""A configuration as people may see it: key to value, without secrets."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from jackfield.config.check import is_kernels_own, spelled
from jackfield.config.model import field_values
from jackfield.messages import redacted

if TYPE_CHECKING:
    from jackfield.config.model import Config
    from jackfield.config.primitives import Key

Configured: TypeAlias = Literal[
    "executor", "monitor", "optional", "staging", "checkpoint"
]
"""Kinds of plugins that have options."""

Declared: TypeAlias = Callable[[Configured, str], Collection[str]]
"""Gives which options of a plugin, named by kind and name, may be shown."""


def shown(config: Config, declared: Declared) -> dict[str, object]:
    """Return each value under its key as files write it, ``"executors.cpu.workers"``.

    What may be a secret is replaced by asterisks.
    """
    options = cache(declared)  # several keys are of one plugin

    def is_shown(key: Key) -> bool:
        return is_kernels_own(key) or _is_declared(config, key, options)

    return {
        spelled(key): redacted(key, value, is_shown) for key, value in leaves(config)
    }


def _is_declared(config: Config, key: Key, declared: Declared) -> bool:
    """Tell whether an option's own plugin says that its value may be shown."""
    tables: Any = getattr(config, key[0])
    match key:
        case ("executors", label, *option):
            names = declared("executor", tables[label]["plugin"])
        case ("monitors", label, *option):
            names = declared("monitor", tables[label]["plugin"])
        case ("use_plugins", name, *option):
            names = declared("optional", name)
        case ("staging", scheme, "hosts", _, *option) | ("staging", scheme, *option):
            names = declared("staging", scheme)
        case ("checkpoint", *option):
            scheme = tables["store"].partition(":")[0]
            names = declared("checkpoint", scheme.lower())
        case _:
            return False
    return ".".join(option) in names


def leaves(config: Config) -> Iterator[tuple[Key, object]]:
    """Give each value of a configuration with its key as files write it.

    Tables are taken apart, unless empty. Plugin objects, which no file can have,
    appear only if there are any.
    """
    for name, value in field_values(config).items():
        if name in {"monitors", "plugins", "use_plugins"} and not value:
            continue
        yield from flat((name,), value)


def flat(key: Key, value: object) -> Iterator[tuple[Key, object]]:
    """Give the values in a table, which is at ``key``, with their keys."""
    if not isinstance(value, Mapping) or not value:
        yield key, value
        return
    for name, inner in value.items():
        yield from flat((*key, name), inner)
