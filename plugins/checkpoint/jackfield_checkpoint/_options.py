"""Where a store is and how it is to behave: its URL and its table, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NoReturn, TypeAlias, get_args

from jackfield.errors import ConfigurationError, suggest
from jackfield.files import NO_NAME, redact

Sync: TypeAlias = Literal["process", "power"]
Trust: TypeAlias = Literal["owner", "signed", "any"]
Journal: TypeAlias = Literal["auto", "wal", "rollback"]

COMMON: Final = ("sync", "read_only", "trust", "shared", "busy_timeout")


@dataclass(frozen=True, slots=True)
class Options:
    """What a store was configured to be.

    Attributes:
        path: The database or the log's directory, absolute: a later change of the
            current directory moves nothing.
        sync: What records survive: the death of the process, or a loss of power.
        read_only: Whether nothing may be created or changed.
        trust: ``"signed"`` and ``"owner"`` refuse files that somebody else could
            have written; ``"any"`` asks nothing.
        shared: Whether files may belong to, and be written by, others of the group.
        busy_timeout: Seconds to wait for another process that is writing.
        journal: How SQLite keeps a transaction whole.
    """

    path: Path
    sync: Sync = "process"
    read_only: bool = False
    trust: Trust = "signed"
    shared: bool = False
    busy_timeout: float = 30.0
    journal: Journal = "auto"


def parse(
    url: str, table: Mapping[str, Any], names: tuple[str, ...] = COMMON
) -> Options:
    """Check a URL such as ``sqlite:///results.db`` and its options.

    Args:
        url: The scheme, three slashes, and a path as the system takes it, so that an
            absolute one has four.
        table: The options.
        names: The options that this store knows.

    Raises:
        ConfigurationError: The URL has no path, or an option is wrong.
    """
    for name, value in table.items():
        if name not in names:
            meant = suggest(name, names)
            _refuse(
                url,
                f"it has no option {name!r}{meant} Its options: {', '.join(names)}.",
            )
        if not _CHECKS[name][0](value):
            _refuse(url, f"option {name!r} must be {_CHECKS[name][1]}, not {value!r}.")
    options = Options(_path(url), **table)
    if options.shared and options.trust != "signed":
        _refuse(url, "shared = true is safe only with trust = 'signed'.")
    return options


def _refuse(url: str, why: str) -> NoReturn:
    raise ConfigurationError(f"Checkpoint store {redact(url)!r}: {why}")


def _path(url: str) -> Path:
    scheme, _, rest = url.partition(":")
    if not rest.startswith("///") or not rest[3:].strip("/"):
        example = f"{scheme}:///results (relative) or {scheme}:////data/results"
        _refuse(url, f"the URL must have the form {example}.")
    if "?" in rest:
        _refuse(url, "the path may not hold '?'; options go into the table.")
    if NO_NAME.search(rest):
        _refuse(url, "the path may hold no NUL and no surrogate.")
    try:
        return Path(rest[3:]).expanduser().absolute()
    except RuntimeError as error:
        raise ConfigurationError(
            f"Checkpoint store {url!r} names the home of an unknown user."
        ) from error


def _one_of(kind: Any) -> tuple[Callable[[Any], bool], str]:
    choices = get_args(kind)
    return lambda value: value in choices, " or ".join(map(repr, choices))


def _is_seconds(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 <= value <= 86_400


_FLAG: Final = (lambda value: isinstance(value, bool), "true or false")

_CHECKS: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "sync": _one_of(Sync),
    "read_only": _FLAG,
    "trust": _one_of(Trust),
    "shared": _FLAG,
    "busy_timeout": (_is_seconds, "a number of seconds, at most a day"),
    "journal": _one_of(Journal),
}
