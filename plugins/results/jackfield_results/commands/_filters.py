"""Which results a ``jackfield memo`` command is about, and how they are shown."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jackfield.abc import CheckpointEntry, CheckpointStore

_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_BYTES: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Filter:
    """What a result must be to be chosen.

    Attributes:
        app: Pattern for the app's name, or ``None``.
        key: What the key begins with, in hexadecimal.
        before: Latest time of creation, in seconds since the epoch, or ``None``.
        after: Earliest one.
        larger: Least size in bytes.
        smaller: Largest one, or ``None``.
    """

    app: str | None
    key: str
    before: float | None
    after: float | None
    larger: int
    smaller: int | None

    @property
    def is_empty(self) -> bool:
        """Whether every result is chosen."""
        return self == Filter(None, "", None, None, 0, None)

    def choose(self, store: CheckpointStore) -> Iterator[CheckpointEntry]:
        """Return the entries of a store that are chosen."""
        return filter(self._fits, store.scan())

    def choose_keys(self, store: CheckpointStore) -> Iterator[bytes]:
        """Return the keys of what is chosen: all there are, if nothing is filtered."""
        if self.is_empty:
            return store.keys()
        return (entry.key for entry in self.choose(store))

    def _fits(self, entry: CheckpointEntry) -> bool:
        return (
            (self.app is None or fnmatchcase(entry.app, self.app))
            and entry.key.hex().startswith(self.key)
            and (self.before is None or entry.created <= self.before)
            and (self.after is None or entry.created >= self.after)
            and self.larger <= entry.size
            and (self.smaller is None or entry.size <= self.smaller)
        )


class _Age(click.ParamType[Any]):
    name = "age"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        number = _parsed(value, _SECONDS)
        if number is None:
            self.fail(f"{value!r} is no age such as 30d, 12h or 90m", param, ctx)
        return number


class _Size(click.ParamType[Any]):
    name = "size"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        number = _parsed(str(value).lower().removesuffix("b"), _BYTES)
        if number is None:
            self.fail(f"{value!r} is no size such as 500, 10k or 2GB", param, ctx)
        return int(number)


def _parsed(value: object, units: dict[str, int]) -> float | None:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]?)", str(value).lower())
    if match is None or match[2] not in units:
        return None
    return float(match[1]) * units[match[2]]


_APP: Final = "Of these apps; * and ? stand for any characters."
_OPTIONS: Final = (
    click.option("--app", metavar="PATTERN", help=_APP),
    click.option("--key", "prefix", metavar="HEX", default="", help="Keys begin so."),
    click.option("--older-than", "older", type=_Age(), help="30d, 12h, 90m, 45s, ..."),
    click.option("--newer-than", "newer", type=_Age(), help="The same."),
    click.option("--larger-than", "larger", type=_Size(), default=0, help="10MB, ..."),
    click.option("--smaller-than", "smaller", type=_Size(), help="The same."),
)


def filters(command: F) -> F:
    """Add the options that choose results; the command gets them as ``wanted``."""

    @wraps(command)
    def filtered(
        app: str | None,
        prefix: str,
        older: float | None,
        newer: float | None,
        larger: int,
        smaller: int | None,
        **others: Any,
    ) -> Any:
        now = time.time()
        before = None if older is None else now - older
        after = None if newer is None else now - newer
        wanted = Filter(app, prefix.lower(), before, after, larger, smaller)
        return command(wanted=wanted, **others)

    with_options: Any = filtered
    for option in reversed(_OPTIONS):
        with_options = option(with_options)
    return with_options  # type: ignore[no-any-return]  # click keeps the type


# -- Showing


def shown_size(size: int) -> str:
    """Return a size as people write it."""
    number = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}" if unit != "B" else f"{size} B"
        number /= 1000
    return f"{number:.4g} TB"


def shown_count(count: int) -> str:
    """Return how many results, in words."""
    return "1 result" if count == 1 else f"{count:,} results"
