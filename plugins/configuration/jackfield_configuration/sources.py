"""The sources: files, profiles, environment variables, the command line."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, runtime_checkable

from jackfield.config.check import COMMAND_LINE, check_names, unknown
from jackfield.config.model import KEYS, Config, changed_values
from jackfield.config.transfers import HOSTS
from jackfield.errors import ConfigurationError
from jackfield_configuration.merge import Layer
from jackfield_system.credentials import CREDENTIALS_PREFIX

if TYPE_CHECKING:
    from jackfield.config.primitives import Key

PREFIX: Final = "JACKFIELD_"
PROFILE_VARIABLE: Final = "JACKFIELD_PROFILE"
RESERVED: Final = frozenset(
    {
        PROFILE_VARIABLE,
        "JACKFIELD_CONFIG",
        "JACKFIELD_PLUGINS",
        "JACKFIELD_USAGE",
        "JACKFIELD_CHECKPOINT_KEY_FILE",
    }
)
"""Variables that set no configuration key. Nor do those that hold credentials, which
begin with ``CREDENTIALS_PREFIX``."""

_SERVICE: Final = (
    r"_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_[A-Z]+(_[A-Z]+)?)?|NAME|ENV_\w+)$"
)
"""Variables that Kubernetes and Docker set for a service of the name ``jackfield``."""

FILE_NAME: Final = "jackfield.toml"

Profiles: TypeAlias = Callable[[str], object]
"""Returns what is behind a profile's name; ``profile`` says what that may be."""


@runtime_checkable
class _Readable(Protocol):
    """What a profile has in common with the files of ``importlib.resources``."""

    def read_text(self, encoding: str | None = None) -> str: ...


# -- Documents ----------------------------------------------------------------------


def document(table: Any, source: str) -> Layer:
    """Return what a table in the form of ``jackfield.toml`` sets.

    Raises:
        ConfigurationError: It is no table, or has unknown keys.
    """
    if not isinstance(table, Mapping):
        raise ConfigurationError(f"{source} is a {type(table).__name__}, no table.")
    check_names(table, KEYS, source)
    values = dict(table)
    section = values.get("plugins")
    if isinstance(section, Mapping):
        del values["plugins"]
        values |= _plugin_fields(section)
    return Layer(source, values)


def _plugin_fields(section: Mapping[str, Any]) -> dict[str, Any]:
    options = dict(section)
    fields = {
        f"{name}_plugins": options.pop(name)
        for name in ("allow", "block")
        if name in options
    }
    return fields | ({"use_plugins": options} if options else {})


def file(path: Path) -> Layer:
    """Return what a TOML file sets; of ``pyproject.toml``, its own table.

    Raises:
        ConfigurationError: It cannot be read, is not TOML, or has unknown keys.
    """
    layer = parsed(path, read(path)[0])
    if layer is None:
        raise ConfigurationError(f"{path} has no table [tool.jackfield].")
    return layer


def parsed(path: Path, text: str) -> Layer | None:
    """Return what a file of this text sets, if it is a file of ours."""
    if path.name != "pyproject.toml":
        return document(_parse(text, str(path)), str(path))
    if "jackfield" not in text:
        return None  # other projects' files need not even be valid
    table = _parse(text, str(path)).get("tool")
    if isinstance(table, dict) and "jackfield" in table:
        return document(table["jackfield"], f"[tool.jackfield] in {path}")
    return None


def read(path: Path) -> tuple[str, os.stat_result]:
    """Return a file's text, and whose the file is that was read."""
    try:
        with path.open(encoding="utf-8-sig") as stream:
            return stream.read(), os.fstat(stream.fileno())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"{path} cannot be read: {reason}.") from error


def _parse(text: str, source: str) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{source} is not valid TOML: {error}.") from error


# -- Profiles -----------------------------------------------------------------------


def profile(name: str, profiles: Profiles) -> Layer:
    """Return what a profile sets.

    What ``profiles`` gives may be a ``Config``, of which counts what differs from the
    defaults; a mapping in the form of ``jackfield.toml``; a resource or path to such a
    file; or a function that returns one of these.

    Raises:
        ConfigurationError: The function raised, or the profile is something else.
    """
    source = f"profile {name!r}{_provider(name)}"
    found = profiles(name)
    if callable(found):
        try:
            found = found()
        except Exception as error:
            raise ConfigurationError(f"{source} cannot be made: {error!r}.") from error
    match found:
        case Config():
            return Layer(source, changed_values(found))
        case Mapping():
            return document(found, source)
        case str() | os.PathLike():
            return document(_parse(read(Path(found))[0], source), source)
        case _Readable():
            text = found.read_text(encoding="utf-8-sig")
            return document(_parse(text, source), source)
    raise ConfigurationError(
        f"{source} is of type {type(found).__name__}; it must be a Config, a table, "
        f"a TOML file, or a function that returns one of these."
    )


def _provider(name: str) -> str:
    from jackfield.plugins.scan import find_entry_points

    for entry in find_entry_points():
        if entry.kind == "profile" and entry.name == name:
            return f" from {entry.origin}"
    return ""


# -- Environment --------------------------------------------------------------------


def environment(
    environ: Mapping[str, str], below: Mapping[str, Any]
) -> Iterator[Layer]:
    """Give what each ``JACKFIELD_`` variable sets. One that is empty sets nothing.

    ``below`` has the values of all weaker sources. A variable is in capitals and has no
    hyphens, so its parts are compared with the names in there: ``CPU`` means ``cpu`` or
    ``Cpu``, ``MY_CPU`` means ``my-cpu`` too. In tables that only their plugin or the
    user understands, such as ``env``, names are as they are and values are text.
    """
    names = (name for name in environ if name.startswith(PREFIX) and environ[name])
    for name in sorted(names, key=_choices_first):
        source = f"environment variable {name}"
        if not _is_ours(name, source):
            continue
        key = _present(_variable_key(name, source), below, source)
        text = environ[name]
        yield Layer(source, _nested(key, text if _inner(key) else _value(key, text)))


def _is_ours(name: str, source: str) -> bool:
    """Tell whether a variable is to set a key. If it looks like nothing, it is told."""
    if name in RESERVED or name.startswith(CREDENTIALS_PREFIX):
        return False
    head = name.removeprefix(PREFIX).lower()
    if not head or "__" in head or head in KEYS:
        return True
    text, service = unknown(head, KEYS, source), re.search(_SERVICE, name)
    if not service and text.endswith("no configuration key."):
        warnings.warn(text, UserWarning, stacklevel=2)
        return False
    return not service


def _choices_first(name: str) -> tuple[bool, str]:
    """Sort variables that choose a plugin before the others.

    A choice drops the options that are there for another plugin. So it has to come
    before the variables that set options of the new one.
    """
    return not name.endswith(("__PLUGIN", "__STORE")), name


def _variable_key(name: str, source: str) -> Key:
    parts = name.removeprefix(PREFIX).split("__")
    head = parts[0].lower()
    if head not in KEYS or not all(parts):
        raise ConfigurationError(
            f"{unknown(head, KEYS, source)} Two underscores separate the parts of a "
            f"key, as in {PREFIX}EXECUTORS__CPU__WORKERS."
        )
    return _field_key((head, *parts[1:]))


def _field_key(key: Key) -> Key:
    """Return the key of a ``Config`` field for a key as files write it."""
    match key:
        case ("plugins", str(name)) if name.lower() in {"allow", "block"}:
            return (f"{name.lower()}_plugins",)
        case ("plugins", _, *_):
            return ("use_plugins", *key[1:])
    return key


def _present(key: Key, below: Mapping[str, Any], source: str) -> Key:
    """Return the key with each part as it is written in ``below``."""
    found = [key[0]]
    table = below.get(key[0])
    for part in key[1:]:
        if _inner((*found, part)):
            return (*found, *key[len(found) :])
        names = list(table) if isinstance(table, Mapping) else []
        same = [name for name in names if _folded(name) == _folded(part)]
        if len(same) > 1:
            both = " or ".join(map(repr, same))
            raise ConfigurationError(f"{source} can mean {both}; rename one of them.")
        host = found[0] == "staging" and found[2:] == [HOSTS]
        found.append(same[0] if same else part if host else part.lower())
        table = table.get(found[-1]) if isinstance(table, Mapping) else None
    return tuple(found)


def _inner(key: Key) -> bool:
    """Tell whether a key is inside an option, where only its plugin knows the names."""
    depth = 2 if key[0] in {"checkpoint", "transfers"} else 3
    return len(key) > (5 if key[0] == "staging" and key[2:3] == (HOSTS,) else depth)


def _folded(name: object) -> str:
    return str(name).lower().replace("-", "_")


# -- Command line -------------------------------------------------------------------


def assignments(texts: Sequence[str]) -> Iterator[Layer]:
    """Give what each ``KEY=VALUE`` sets; the key is written as in TOML, with dots.

    Raises:
        ConfigurationError: A text is no assignment, or its key is unknown.
    """
    for text in texts:
        name, mark, value = text.partition("=")
        key = _dotted(name) if mark else ()
        if not key:
            raise ConfigurationError(f"{name!r}... is not of the form KEY=VALUE.")
        field = _field_key(key)
        given = _value(field, value)
        if _inner(field) and not isinstance(given, str):
            given = value
        yield Layer(COMMAND_LINE, _nested(field, given))


def _dotted(text: str) -> Key:
    """Return the parts of a dotted key; none if it is not one."""
    table: object = _toml(f"{text} = 0")
    key: list[str] = []
    while isinstance(table, dict) and len(table) == 1:
        name, table = next(iter(table.items()))
        key.append(name)
    return tuple(key) if table == 0 else ()


# -- Values written as text ---------------------------------------------------------


def _value(key: Key, text: str) -> object:
    """Return the value that a text stands for at a key."""
    if _is_text(key):
        return text
    value = _scalar(text)
    if _is_names(key) and not isinstance(value, list):
        return [name.strip() for name in text.split(",") if name.strip()]
    return value


def _is_text(key: Key) -> bool:
    """Whether a key holds text, so that ``2024`` is not a number there."""
    match key:
        case ("run_dir" | "log_level" | "dependencies" | "exit_mode",):
            return True
        case ("checkpoint", "store" | "mode" | "period"):
            return True
        case ("executors" | "monitors", _, "plugin"):
            return True
    return False


def _is_names(key: Key) -> bool:
    """Whether a key holds a list of names."""
    return key in {("allow_plugins",), ("block_plugins",)}


def _scalar(text: str) -> object:
    """Read a TOML value, else a JSON one, else take the text itself."""
    import json
    from datetime import date, time

    table = _toml(f"value = {text}")
    if set(table) == {"value"} and not isinstance(table["value"], date | time):
        return table["value"]  # a time of day is more often meant as text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _toml(text: str) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}


def _nested(key: Key, value: object) -> dict[str, Any]:
    for part in reversed(key):
        value = {part: value}
    assert isinstance(value, dict)
    return value
