"""A configuration as people may see it: key to value, without secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from jackfield.config.check import spelled
from jackfield.config.model import field_values
from jackfield.config.redact import redacted

if TYPE_CHECKING:
    from jackfield.config.model import Config
    from jackfield.config.primitives import Key


def shown(config: Config) -> dict[str, object]:
    """Return each value under its key as files write it, ``"executors.cpu.workers"``.

    What may be a secret is replaced by asterisks.
    """
    return {spelled(key): redacted(key, value) for key, value in leaves(config)}


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
