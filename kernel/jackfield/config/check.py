"""What each configuration key may hold, and what to say when it holds something else.

There is one function for each key, written by hand. A message has to name the key down
to the executor's label, the place where the value came from, and the nearest valid
name; and values may be live objects, such as executors. The validation libraries take
25 to 55 ms to import, and their messages say less.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor as FuturesExecutor
from typing import Any, Final, Literal, TypeAlias, get_args

from jackfield.abc import Executor
from jackfield.config.primitives import (
    Check,
    Key,
    Wrong,
    directory,
    flag,
    integer,
    names,
    number,
    objects,
    one_of,
    refuse,
    refuse_type,
    table,
    tables,
)
from jackfield.config.transfers import RULES, staging_tables, transfers_table
from jackfield.errors import ConfigurationError, suggest

Dependencies: TypeAlias = Literal["deep", "shallow"]
ExitMode: TypeAlias = Literal["wait", "cancel", "skip"]
CheckpointMode: TypeAlias = Literal["task_exit", "periodic", "dfk_exit", "manual"]
OnFailure: TypeAlias = Literal["warn", "stop"]
LogLevel: TypeAlias = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "OFF"]

PYTHON: Final = "Python"
"""What messages name as the source of a value that the program gives in Python."""

COMMAND_LINE: Final = "command line"
"""What messages name as the source of a value from the command line."""

DEFAULT_PERIOD: Final = "00:30:00"
"""Hours, minutes and seconds between two periodic checkpoints."""

KEEPERS_OWN: Final = frozenset(
    {"store", "read", "mode", "period", "on_failure", "key_file", "files"}
)
"""Keys of the ``[checkpoint]`` table that no store gets to see."""

SPELLED: Final[Mapping[str, Key]] = {
    "allow_plugins": ("plugins", "allow"),
    "block_plugins": ("plugins", "block"),
    "use_plugins": ("plugins",),
}
"""Fields of ``Config`` that files and the environment write in another way."""


def checked(
    values: Mapping[str, object], origin: Callable[[Key], str] = lambda _: PYTHON
) -> dict[str, Any]:
    """Check the values of fields of a ``Config``; ``origin`` gives a key's source.

    Returns the fields as they are kept: tables and sequences copied, ``~`` in
    ``run_dir`` expanded, names of levels in capitals, checkpoint defaults filled in.

    Raises:
        ConfigurationError: A value is of the wrong type or out of range. It names
            the key, the source and what would have been right.
    """
    try:
        return {name: _CHECKS[name]((name,), value) for name, value in values.items()}
    except Wrong as wrong:
        source = origin(wrong.key)
        raise ConfigurationError(
            f"{spelled(wrong.key, source)} (from {source}) {wrong.verdict}"
        ) from wrong.__cause__


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
    return f"{name!r} (from {source}) is no configuration key{suggest(name, valid)}"


def spelled(key: Key, source: str = "") -> str:
    """Return a key as the source writes it, with dots."""
    head, *rest = key
    if source == PYTHON:
        return ".".join(key)
    return ".".join((*SPELLED.get(head, (head,)), *rest))


def is_kernels_own(key: Key) -> bool:
    """Tell whether an option is no plugin's own: its value is no secret."""
    match key:
        case (_,) | ("transfers", _) | (("executors" | "monitors"), _, "plugin"):
            return True
        case ("checkpoint", name):
            return name in KEEPERS_OWN
        case ("staging", _, name) | ("staging", _, "hosts", _, name):
            return name in RULES
    return False


# -- Tables -------------------------------------------------------------------------


def _executors(key: Key, value: Any) -> object:
    if not isinstance(value, Mapping):
        example = "{'cpu': {'plugin': 'processes'}}"
        refuse_type(key, f"a table of labels, such as {example}", value)
    executors = table(key, value)
    for label in executors:
        if label == "all":
            verdict = "cannot have this label: it stands for all executors."
            raise Wrong((*key, label), verdict)
        if not label or label.startswith("_"):
            verdict = f"cannot have the label {label!r}: empty or with '_' first."
            raise Wrong((*key, label), verdict)
    return {label: _executor((*key, label), one) for label, one in executors.items()}


def _executor(key: Key, value: Any) -> object:
    if isinstance(value, Executor | FuturesExecutor):
        return value
    if not isinstance(value, Mapping):
        if key[-1] == "plugin":
            raise Wrong(key, "lacks the executor's label: write [executors.LABEL].")
        refuse_type(key, "a table with a plugin, or in Python an executor", value)
    return _naming_plugin(key, value, "an executor plugin")


def _naming_plugin(key: Key, value: Any, what: str) -> dict[str, Any]:
    options = table(key, value)
    if "plugin" not in options:
        raise Wrong(key, f"has no plugin{_typo('plugin', options)}")
    if not isinstance(options["plugin"], str) or not options["plugin"]:
        refuse((*key, "plugin"), f"the name of {what}", options["plugin"])
    return options


def _monitors(key: Key, value: Any) -> object:
    monitors = {}
    for label, one in table(key, value).items():
        here = (*key, label)
        options = monitors[label] = _naming_plugin(here, one, "a monitor")
        for name in options.keys() & {"resources", "complete"}:
            flag((*here, name), options[name])
    return monitors


def _typo(name: str, given: Iterable[str]) -> str:
    """End the sentence that something has no ``name``.

    If one of the given names looks like a slip of it, the end says so; otherwise it
    says what to add.
    """
    for other in given:
        if suggest(other, [name]) != ".":
            return f"; did you mean {name!r} by {other!r}?"
    return f": add {name} = ..."


def _checkpoint(key: Key, value: Any) -> object:
    options = table(key, value)
    if not options:
        return options
    if options.get("read"):
        options.setdefault("store", "memory")
    store, mode = options.get("store"), options.setdefault("mode", "task_exit")
    if "store" not in options:  # the usual one is meant, unless the name is a slip
        if (typo := _typo("store", options)).startswith(";"):
            raise Wrong(key, f"has no store{typo}")
    elif not isinstance(store, str) or not store:
        say = refuse if store == "" else refuse_type
        say((*key, "store"), "a URL such as 'sqlite:///results.db'", store)
    one_of(get_args(CheckpointMode))((*key, "mode"), mode)
    if "on_failure" in options:
        one_of(get_args(OnFailure))((*key, "on_failure"), options["on_failure"])
    if mode == "periodic" or "period" in options:
        period = options.get("period", DEFAULT_PERIOD)
        options["period"] = _period((*key, "period"), period)
    return options


def _period(key: Key, value: Any) -> str:
    from datetime import time

    text = value.isoformat("seconds") if isinstance(value, time) else value
    fits = isinstance(text, str) and re.fullmatch(r"\d{1,6}:[0-5]\d:[0-5]\d", text)
    if not fits or not text.strip("0:"):
        refuse(key, "hours, minutes and seconds such as '00:30:00'", value)
    return str(text)


def _use_plugins(key: Key, value: Any) -> object:
    for name, options in table(key, value).items():
        if not isinstance(options, Mapping):
            hint = suggest(name, ["allow", "block"])
            raise Wrong(
                (*key, name),
                f"must be a table with the options of an optional plugin, not "
                f"{type(options).__name__}{hint}",
            )
    return tables(key, value)


_CHECKS: Final[Mapping[str, Check]] = {
    "executors": _executors,
    "run_dir": directory,
    "shared_run_dir": flag,
    "retries": number(0),
    "retry_delay": number(0),
    "retry_backoff": number(1),
    "retry_max_delay": number(0),
    "max_pending": integer(1, none=True),
    "lazy_errors": flag,
    "app_cache": flag,
    "dependencies": one_of(get_args(Dependencies)),
    "exit_mode": one_of(get_args(ExitMode)),
    "exit_grace": number(0),
    "internal_threads": integer(1),
    "scale_period": number(0.01),
    "checkpoint": _checkpoint,
    "staging": staging_tables,
    "transfers": transfers_table,
    "monitors": _monitors,
    "plugins": objects,
    "allow_plugins": names(none=True),
    "block_plugins": names(),
    "use_plugins": _use_plugins,
    "log_level": one_of(get_args(LogLevel), str.upper),
}
