"""The contract of results that stay where they were made: see ``jackfield.abc``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

SHALLOW: Final = frozenset({list, tuple, dict})
"""Types of arguments whose items may be ``Kept``."""


class Kept:
    """A result that is not in the script's objects yet: it stays where it was made.

    An executor may report one as the value of a work, instead of the value. It stays
    as it is until somebody reads it: ``result()`` of the task's future, a task on
    another executor, the memo. A work that goes to the same executor gets the ``Kept``
    itself, in place of the value that its function is to be called with.

    The task has ended well, and that stays so: if what kept its result is gone, the
    executor makes the value again, by another run of the work, and who needs it waits.
    Only if that fails, too, it is an error.

    It is no abstract base class, because the kernel asks of many values whether they
    are one, and that question takes an abstract class several times as long.

    Attributes:
        executor: Label of the executor that has reported it.
        size: How many bytes it takes, about.
    """

    __slots__ = ("executor", "size")

    def __init__(self, executor: str, size: int) -> None:
        self.executor: str = executor
        self.size: int = size

    @property
    def at_hand(self) -> bool:
        """Whether ``fetch`` waits for nobody; true for good once it has ended.

        Where it is false, the kernel calls ``fetch`` on a thread that has the time.
        """
        return True

    def fetch(self) -> Any:
        """Return the value, the same object at each call.

        Called on any thread, a user's too, and on several at once.

        Raises:
            Exception: The value cannot be had. It names the task that has made it, and
                each call raises it.
        """
        raise NotImplementedError

    def __repr__(self) -> str:
        """Tell the size, and where it is."""
        return f"<{self.size:,} bytes kept by {self.executor!r}>"


class NotAtHandError(Exception):
    """Somebody would have to wait for a value, its argument, who has no time."""


def read(kept: Kept) -> Any:
    """Return a value that is at hand; raises what ``fetch`` does, too."""
    if not kept.at_hand:
        raise NotAtHandError(kept)
    return kept.fetch()


def with_each(
    args: tuple[Any, ...], kwargs: Mapping[str, Any], put: Callable[[Kept], Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return arguments with ``put`` of it in the place of each ``Kept``."""
    done: dict[int, Any] = {}  # a list that occurs twice stays one list

    def changed(value: Any) -> Any:
        kind = type(value)
        if issubclass(kind, Kept):
            return put(value)
        if kind not in SHALLOW or id(value) in done:
            return done.get(id(value), value)
        items = value.values() if kind is dict else value
        if not any(issubclass(one, Kept) for one in set(map(type, items))):
            return value
        new = [put(one) if issubclass(type(one), Kept) else one for one in items]
        done[id(value)] = kind(zip(value, new, strict=True) if kind is dict else new)
        return done[id(value)]

    values = tuple([changed(value) for value in args])
    return values, {name: changed(value) for name, value in kwargs.items()}
