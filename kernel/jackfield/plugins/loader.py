"""Make a plugin of an entry point.

Nothing is registered here. Whatever goes wrong becomes a ``PluginLoadError`` that
names plugin, distribution and cause. So a plugin whose import raises, be it a
``SystemExit``, ends neither the program nor the loading of other plugins.
"""

from __future__ import annotations

import operator
import re
import sys
from typing import TYPE_CHECKING, Any, Final

from jackfield.errors import ConfigurationError, PluginLoadError, one_line, suggest
from jackfield.futures.locks import is_interrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from jackfield.plugins.scan import EntryPoint

API_VERSION: Final = "1.0"
"""Version of the hooks and of ``jackfield.abc``. The minor number counts additions."""

_CLAUSE: Final = r"\s*(>=|<=|==|!=|>|<)\s*(\d+)(?:\.(\d+))?\s*"
_COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}


def load_object(entry: EntryPoint) -> object:
    """Import what an entry point names, and check the API version it asks for.

    Raises:
        PluginLoadError: It cannot be had, or is made for another Jackfield.
    """
    try:
        found = entry.resolve()
        required = declaration(found, entry, "JACKFIELD_API")
    except BaseException as error:
        if is_interrupt(error):
            raise
        # If an interrupt strikes in a ``__set_name__``, Python 3.11 raises an error of
        # its own that has the interrupt as its cause.
        if error.__cause__ is not None and is_interrupt(error.__cause__):
            raise error.__cause__ from None
        raise _not_imported(entry, error) from error
    check_api(entry.name, entry.origin, required)
    return found


def declaration(found: object, entry: EntryPoint, name: str) -> Any:
    """Return what a plugin says of itself: its attribute, or else its module's."""
    of_module = getattr(sys.modules.get(entry.module), name, None)
    return getattr(found, name, of_module)


def load_plugin(entry: EntryPoint, options: Mapping[str, Any] | None = None) -> object:
    """Load an entry point's object; of a class, make an instance.

    The class of an optional plugin is called with ``options``, the table that the
    configuration has for it; for other plugins they are ``None``.

    Raises:
        PluginLoadError: As ``load_object``, or the class cannot be called.
        ConfigurationError: The class has no such option, or refuses a value.
    """
    found = load_object(entry)
    if options:
        check_options(entry.name, found, options)
    if not isinstance(found, type):
        return found
    try:
        return found(**(options or {}))
    except BaseException as error:
        if is_interrupt(error):
            raise
        if options and isinstance(error, ConfigurationError):
            error.add_note(f"Raised by plugin {entry.name!r} ({entry.origin}).")
            raise
        reason = f"making an instance of {entry.value} raised {one_line(error)}"
        raise PluginLoadError(entry.name, entry.origin, reason) from error


def _not_imported(entry: EntryPoint, error: BaseException) -> PluginLoadError:
    reason = f"importing {entry.value} raised {one_line(error)}"
    if isinstance(error, ModuleNotFoundError) and entry.ours and not entry.extras:
        reason = f"it needs {error.name}, which is not installed"
    if isinstance(error, ImportError) and entry.extras:
        wanted = f"{entry.distribution}[{entry.extras}]"
        reason += f". It needs an extra: pip install '{wanted}'"
    return PluginLoadError(entry.name, entry.origin, reason)


# -- The options


def check_options(name: str, plugin: object, options: Iterable[str]) -> None:
    """Refuse an option that a plugin's class does not take as an argument.

    Raises:
        ConfigurationError: It names the option, the nearest right one, and all.
    """
    import inspect

    known: list[str] = []
    if isinstance(plugin, type):
        parameters = inspect.signature(plugin).parameters.values()
        if any(one.kind is one.VAR_KEYWORD for one in parameters):
            return
        known = [one.name for one in parameters]
    for option in options:
        if option not in known:
            raise ConfigurationError(
                f"plugins.{name} has no option {option!r}{suggest(option, known)} "
                f"Options: {', '.join(known) or 'none'}."
            )


# -- The API version


def check_api(name: str, origin: str, required: object) -> None:
    """Refuse a plugin whose ``JACKFIELD_API`` excludes this Jackfield's.

    Raises:
        PluginLoadError: It excludes it, or is no range of versions.
    """
    if required is None:
        return
    try:
        if accepts(required, API_VERSION):
            return
    except ValueError as error:
        raise PluginLoadError(name, origin, str(error)) from error
    reason = f"it needs plugin API {required}, and this Jackfield has {API_VERSION}."
    raise PluginLoadError(name, origin, reason)


def accepts(required: object, version: str) -> bool:
    """Tell whether a version is in a range such as ``">=1,<2"``.

    A clause is one of ``>= <= > < == !=`` before a major or a major.minor number;
    a minor number left out is 0.

    Raises:
        ValueError: ``required`` is no range of versions.
    """
    clauses = required.split(",") if isinstance(required, str) else [""]
    matches = [re.fullmatch(_CLAUSE, clause) for clause in clauses]
    have = tuple(map(int, version.split(".")))
    result = True
    for match in matches:
        if match is None:
            raise ValueError(
                f"its JACKFIELD_API is {required!r}; write a range such as '>=1,<2'."
            )
        comparison, major, minor = match.groups()
        result &= _COMPARE[comparison](have, (int(major), int(minor or 0)))
    return result
