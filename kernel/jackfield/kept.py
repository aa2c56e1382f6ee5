"""The contract of results that stay where they were made: see ``jackfield.abc``."""

from __future__ import annotations

from typing import Any


class Kept:
    """A result that is not in the script's objects yet: it stays where it was made.

    An executor may report one as the value of a work, instead of the value. It stays
    as it is until somebody reads it: ``result()`` of the task's future, a task on
    another executor, the memo. A work that goes to the same executor gets the ``Kept``
    itself, in place of the value that its function is to be called with.

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
