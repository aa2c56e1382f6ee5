"""Laying sources over each other, and remembering where each value came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from jackfield.errors import ConfigurationError

if TYPE_CHECKING:
    from jackfield.config.primitives import Key

DEFAULT: Final = "default"
"""The source of what nobody has set."""


class Layer(NamedTuple):
    """What one source sets.

    Attributes:
        source: Its name, for messages and ``config show``.
        values: Names of ``Config`` fields to values; tables may be partial.
    """

    source: str
    values: Mapping[str, Any]


class Merged:
    """Layers laid over each other, the later above the earlier.

    Tables merge key by key; any other value replaces the one below it. There are two
    exceptions: the table of an executor or a monitor that names another plugin than the
    one below it takes over none of the other's options, and neither does a
    ``checkpoint`` table with a store of another kind (``mode`` and ``period`` excepted,
    which are the kernel's). These options belong to a plugin that is not used any more,
    and mean nothing to the new.

    Attributes:
        values: Names of ``Config`` fields to values: only what a layer has set.
        origins: The source of each value and of each empty table, by key.
    """

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.origins: dict[Key, str] = {}

    def lay(self, layers: Iterable[Layer]) -> None:
        """Lay layers above all earlier ones."""
        for layer in layers:
            self._lay(self.values, layer.values, (), layer.source)

    def origin(self, key: Key) -> str:
        """Return the source of a key, or of the value whose key is most like it."""
        for length in range(len(key), 0, -1):
            for other, source in reversed(self.origins.items()):
                if other[:length] == key[:length]:
                    return source
        return DEFAULT

    def _lay(
        self, below: dict[str, Any], above: Mapping[str, Any], key: Key, source: str
    ) -> None:
        for name, value in above.items():
            here = (*key, name)
            if isinstance(value, Mapping):
                table = self._table(below, here, value, source)
                self._lay(table, value, here, source)
            else:
                self._forget(here)
                below[name] = value
                self.origins[here] = source

    def _table(
        self, below: dict[str, Any], key: Key, above: Mapping[str, Any], source: str
    ) -> dict[str, Any]:
        """Return the table at ``key`` that ``above`` goes into."""
        old = below.get(key[-1])
        if not isinstance(old, dict):
            _check_replaceable(key, old, above, source)
            self._forget(key)
            old = below[key[-1]] = {}
        for name in _outdated(key, old, above):
            del old[name]
            self._forget((*key, name))
        if not old and not above:
            self.origins[key] = source
        elif above:
            self.origins.pop(key, None)  # no longer empty: its values have origins
        return old

    def _forget(self, key: Key) -> None:
        for other in [one for one in self.origins if one[: len(key)] == key]:
            del self.origins[other]


def _outdated(
    key: Key, old: Mapping[str, Any], above: Mapping[str, Any]
) -> Iterable[str]:
    """Return the names in ``old`` that mean nothing under what ``above`` chooses."""
    match key:
        case ("executors" | "monitors", _) if _differs(old, above, "plugin"):
            return list(old)
        case ("checkpoint",) if _differs(old, above, "store"):
            return [name for name in old if name not in {"mode", "period"}]
    return ()


def _differs(old: Mapping[str, Any], above: Mapping[str, Any], name: str) -> bool:
    """Whether both name a plugin, and not the same (of a URL its scheme counts)."""
    if name not in old or name not in above:
        return False
    return _scheme(old[name]) != _scheme(above[name])


def _scheme(value: object) -> object:
    return value.partition("://")[0] if isinstance(value, str) else value


def _check_replaceable(
    key: Key, old: object, above: Mapping[str, Any], source: str
) -> None:
    """Refuse to set options of an executor that exists already."""
    if len(key) == 2 and key[0] == "executors" and old and "plugin" not in above:
        raise ConfigurationError(
            f"{'.'.join(key)} is an executor object, given in Python: {source} cannot "
            f"set its options; replace it by a table with a plugin."
        )
