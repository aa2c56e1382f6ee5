"""Pins the versions of functions from outside: by a table of the configuration.

``version=`` of an app does the same in the code. Here it is for those who run a script
and do not own it, or who are about to work on a function for a while and know that its
results will stay what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePath
from types import FunctionType
from typing import Any

from jackfield import ConfigurationError, hookimpl

JACKFIELD_API = ">=1,<2"


class Pinned:
    """Answers with a version where the table has one for a function.

    Args:
        versions: Full name of a function (``lab.steps.align``; ``__main__.align`` in
            the script itself) to its version. Unquoted, the dots of a name make tables
            of tables in TOML, which mean the same.

    Raises:
        ConfigurationError: A version is neither text nor a number.
    """

    def __init__(self, /, **versions: Any) -> None:
        self._versions: dict[str, str] = {}
        tables: list[tuple[str, Any]] = list(versions.items())
        while tables:
            name, value = tables.pop()
            if isinstance(value, Mapping):
                tables += [(f"{name}.{inner}", one) for inner, one in value.items()]
            elif isinstance(value, str | int | float) and not isinstance(value, bool):
                self._versions[name] = str(value)
            else:
                raise ConfigurationError(
                    f"plugins.pinned.{name} must be a version, not {value!r}."
                )

    @hookimpl
    def jackfield_hash_function(self, function: Callable[..., Any]) -> bytes | None:
        """Give name and version of a function that is pinned.

        Default values and arguments still count; the kernel sees to them.

        Raises:
            ConfigurationError: The function holds values of a scope around it, as one
                does that a decorator has made. Two functions of one name may then
                differ by these values, and would be taken for each other.
        """
        name = f"{function.__module__}.{function.__qualname__}"
        version = self._versions.get(name)
        if version is None or not isinstance(function, FunctionType):
            return None
        if function.__closure__:
            raise ConfigurationError(
                f"plugins.pinned cannot pin {name}: it holds values of a scope around "
                f"it. Remove it from the table, and give the app a version=."
            )
        # Scripts all have the module __main__: what tells them apart is the file's
        # name.
        script = PurePath(function.__code__.co_filename).name
        place = script if function.__module__ == "__main__" else ""
        return repr((name, place, version)).encode()
