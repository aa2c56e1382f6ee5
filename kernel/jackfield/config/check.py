"""What each configuration key may hold, and what to say when it holds something else.

One function a key, by hand: a message has to name the key down to the executor's
label, where the value came from, and the nearest valid name, and live objects have
to pass. The validation libraries cost 25 to 55 ms to import and tell less.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor as FuturesExecutor
from datetime import time
from pathlib import Path
from typing import Any, Final, Literal, NoReturn, TypeAlias, get_args

from jackfield.abc import Executor
from jackfield.errors import ConfigurationError, suggest

Key: TypeAlias = tuple[str, ...]
"""A key as its parts, beginning with the name of a ``Config`` field."""

Check: TypeAlias = Callable[[Key, Any], object]
"""Takes a key and its value; returns the value to keep, or raises ``_Wrong``."""

Dependencies: TypeAlias = Literal["deep", "shallow"]
ExitMode: TypeAlias = Literal["wait", "cancel", "skip"]
CheckpointMode: TypeAlias = Literal["task_exit", "periodic", "dfk_exit", "manual"]
LogLevel: TypeAlias = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "OFF"]

PYTHON: Final = "Python"
"""The source of what a program gives itself."""

DEFAULT_PERIOD: Final = "00:30:00"
"""Hours, minutes and seconds between two periodic checkpoints."""

SPELLED: Final[Mapping[str, Key]] = {
    "allow_plugins": ("plugins", "allow"),
    "block_plugins": ("plugins", "block"),
    "plugin_options": ("plugins",),
}
"""Fields of ``Config`` that files and the environment write in another way."""

_ELSEWHERE: Final[Mapping[str, str]] = {
    "allow_plugins": "write plugins.allow",
    "block_plugins": "write plugins.block",
    "plugin_options": "write a table [plugins.NAME]",
    "checkpoint_files": "results are kept in checkpoint.store",
    "checkpoint_mode": "write checkpoint.mode",
    "checkpoint_period": "write checkpoint.period",
    "data_management_max_threads": "write internal_threads",
    "dependency_resolver": "write dependencies, 'deep' or 'shallow'",
    "initialize_logging": "write log_level, 'OFF' for none",
    "internal_tasks_max_threads": "write internal_threads",
    "memoizer": "write checkpoint.store",
    "monitoring": "events go to plugins, by the hook jackfield_task_events",
    "retry_handler": "it is a plugin's hook, jackfield_retry",
}
"""Names that are right somewhere else (in ``Config``, in Parsl), and what to do."""

_DATA: Final = (str, bytes, int, float, Mapping, type(None))
"""Types of values that are no plugins."""


class _Wrong(Exception):  # noqa: N818  (never leaves this module)
    """A value that cannot be: its key and the rest of the sentence."""

    def __init__(self, key: Key, verdict: str) -> None:
        super().__init__(key, verdict)
        self.key: Key = key
        self.verdict: str = verdict


def checked(
    values: Mapping[str, object], origin: Callable[[Key], str] = lambda _: PYTHON
) -> dict[str, Any]:
    """Check the values of all fields of a ``Config``.

    Args:
        values: Fields by name.
        origin: Where the value of a key comes from, for messages.

    Returns:
        The fields as they are kept: tables and sequences copied, ``~`` in
        ``run_dir`` expanded, names of levels in capitals, checkpoint defaults
        filled in.

    Raises:
        ConfigurationError: A value is of the wrong type or out of range. It names
            the key, the source and what would have been right.
    """
    try:
        return {name: _CHECKS[name]((name,), value) for name, value in values.items()}
    except _Wrong as wrong:
        source = origin(wrong.key)
        raise ConfigurationError(
            f"{spelled(wrong.key, source)} (from {source}) {wrong.verdict}"
        ) from wrong.__cause__


def checked_executors(executors: Mapping[str, Any]) -> dict[str, Any]:
    """Check executors that a program adds, as those of a configuration are.

    Raises:
        ConfigurationError: A label or a table cannot be.
    """
    kept: dict[str, Any] = checked({"executors": executors})["executors"]
    return kept


def check_names(names: Iterable[str], valid: Sequence[str], source: str) -> None:
    """Refuse a name that is no key.

    Raises:
        ConfigurationError: It names the key, its source, and the nearest valid one.
    """
    for name in names:
        if name not in valid:
            raise ConfigurationError(unknown(name, valid, source))


def unknown(name: str, valid: Iterable[str], source: str) -> str:
    """Return the sentence for a name that is no key."""
    advice = _ELSEWHERE.get(name)
    end = f"; {advice}." if advice else suggest(name, valid)
    return f"{name!r} (from {source}) is no configuration key{end}"


def spelled(key: Key, source: str = "") -> str:
    """Return a key as the source writes it, with dots."""
    head, *rest = key
    if source == PYTHON:
        return ".".join(key)
    return ".".join((*SPELLED.get(head, (head,)), *rest))


def is_text(key: Key) -> bool:
    """Whether a key holds text, so that ``2024`` is not a number there."""
    match key:
        case ("run_dir" | "log_level" | "dependencies" | "exit_mode",):
            return True
        case ("checkpoint", "store" | "mode" | "period"):
            return True
        case ("executors", _, "plugin"):
            return True
    return False


def is_names(key: Key) -> bool:
    """Whether a key holds a list of names."""
    return key in {("allow_plugins",), ("block_plugins",)}


# -- Plain values -------------------------------------------------------------------


def _refuse(key: Key, expected: str, value: object) -> NoReturn:
    raise _Wrong(key, f"must be {expected}, not {value!r}.")


def _refuse_type(key: Key, expected: str, value: object) -> NoReturn:
    """Refuse without showing the value, which may hold a secret."""
    raise _Wrong(key, f"must be {expected}, not {type(value).__name__}.")


def _number(least: float) -> Check:
    def check(key: Key, value: Any) -> object:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        if not fits or not least <= value < math.inf:  # NaN is neither
            _refuse(key, f"a number of at least {least:g}", value)
        return value

    return check


def _integer(least: int, *, none: bool = False) -> Check:
    def check(key: Key, value: Any) -> object:
        if none and value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            _refuse(key, f"an integer of at least {least}", value)
        return value

    return check


def _flag(key: Key, value: Any) -> object:
    if not isinstance(value, bool):
        _refuse(key, "true or false", value)
    return value


def _one_of(choices: tuple[str, ...], fold: Callable[[str], str] = str) -> Check:
    names = f"{', '.join(map(repr, choices[:-1]))} or {choices[-1]!r}"

    def check(key: Key, value: Any) -> object:
        if not isinstance(value, str):
            _refuse(key, names, value)
        if fold(value) not in choices:
            hint = suggest(fold(value), choices)
            raise _Wrong(key, f"must be {names}, not {value!r}{hint}")
        return fold(value)

    return check


def _directory(key: Key, value: Any) -> object:
    if not isinstance(value, str | Path) or not str(value):
        _refuse(key, "a path", value)
    if not str(value).startswith("~"):
        return value
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        raise _Wrong(key, f"names the home of an unknown user: {value!r}.") from error


def _names(*, none: bool = False) -> Check:
    def check(key: Key, value: Any) -> object:
        if none and value is None:
            return None
        fits = isinstance(value, list | tuple)
        if not fits or not all(isinstance(name, str) and name for name in value):
            _refuse(key, "a list of names", value)
        return tuple(value)

    return check


def _objects(key: Key, value: Any) -> object:
    fits = isinstance(value, list | tuple)
    if not fits or any(isinstance(one, _DATA) for one in value):
        _refuse(key, "a table, or in Python a list of objects or modules", value)
    return tuple(value)


# -- Tables -------------------------------------------------------------------------


def _table(key: Key, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        _refuse_type(key, "a table", value)
    for name in value:
        if not isinstance(name, str):
            _refuse(key, "a table whose names are text", name)
    return dict(value)


def _tables(key: Key, value: Any) -> dict[str, Any]:
    return {
        name: _table((*key, name), options)
        for name, options in _table(key, value).items()
    }


def _executors(key: Key, value: Any) -> object:
    if not isinstance(value, Mapping):
        example = "{'cpu': {'plugin': 'processes'}}"
        _refuse_type(key, f"a table of labels, such as {example}", value)
    executors = _table(key, value)
    for label in executors:
        _check_label((*key, label), label)
    return {label: _executor((*key, label), one) for label, one in executors.items()}


def _check_label(key: Key, label: str) -> None:
    if label == "all":
        raise _Wrong(key, "cannot have this label: it stands for all executors.")
    if not label or label.startswith("_"):
        raise _Wrong(key, f"cannot have the label {label!r}: empty or with '_' first.")


def _executor(key: Key, value: Any) -> object:
    if isinstance(value, Executor | FuturesExecutor):
        return value
    if not isinstance(value, Mapping):
        _refuse_type(key, "a table with a plugin, or in Python an executor", value)
    options = _table(key, value)
    if "plugin" not in options:
        raise _Wrong(key, f"has no plugin{_typo('plugin', options)}")
    if not isinstance(options["plugin"], str) or not options["plugin"]:
        _refuse((*key, "plugin"), "the name of an executor plugin", options["plugin"])
    return options


def _typo(name: str, given: Iterable[str]) -> str:
    """Return a sentence end that offers ``name`` for the nearest given one."""
    for other in given:
        if suggest(other, [name]) != ".":
            return f"; did you mean {name!r} by {other!r}?"
    return f": add {name} = ..."


def _checkpoint(key: Key, value: Any) -> object:
    options = _table(key, value)
    if not options:
        return options
    if "store" not in options:
        raise _Wrong(key, f"has no store{_typo('store', options)}")
    store, mode = options["store"], options.setdefault("mode", "task_exit")
    if not isinstance(store, str) or not store:
        _refuse_type((*key, "store"), "a URL such as 'sqlite:///results.db'", store)
    _one_of(get_args(CheckpointMode))((*key, "mode"), mode)
    if mode == "periodic" or "period" in options:
        period = options.get("period", DEFAULT_PERIOD)
        options["period"] = _period((*key, "period"), period)
    return options


def _period(key: Key, value: Any) -> str:
    text = value.isoformat("seconds") if isinstance(value, time) else value
    fits = isinstance(text, str) and re.fullmatch(r"\d+:[0-5]\d:[0-5]\d", text)
    if not fits or not text.strip("0:"):
        _refuse(key, "hours, minutes and seconds such as '00:30:00'", value)
    return str(text)


def _staging(key: Key, value: Any) -> object:
    tables = _tables(key, value)
    for scheme in tables:
        if not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme):
            _refuse((*key, scheme), "a URL scheme in lower case", scheme)
    return tables


_CHECKS: Final[Mapping[str, Check]] = {
    "executors": _executors,
    "run_dir": _directory,
    "retries": _number(0),
    "retry_delay": _number(0),
    "retry_backoff": _number(1),
    "retry_max_delay": _number(0),
    "max_pending": _integer(1, none=True),
    "lazy_errors": _flag,
    "app_cache": _flag,
    "dependencies": _one_of(get_args(Dependencies)),
    "exit_mode": _one_of(get_args(ExitMode)),
    "exit_grace": _number(0),
    "internal_threads": _integer(1),
    "checkpoint": _checkpoint,
    "staging": _staging,
    "plugins": _objects,
    "allow_plugins": _names(none=True),
    "block_plugins": _names(),
    "plugin_options": _tables,
    "log_level": _one_of(get_args(LogLevel), str.upper),
}
