"""Parts that are made when they are first needed, because most runs do without."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from jackfield.errors import KernelClosedError

T = TypeVar("T")


class Lazy(Generic[T]):
    """Gives a part, made at the first call. May be called on any thread.

    Attributes:
        made: The part, or ``None`` while nobody has needed it.
        ended: Whether it is made no more.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._making: threading.Lock = threading.Lock()
        self.made: T | None = None
        self.ended: bool = False

    def __call__(self) -> T:
        """Return the part.

        Raises:
            KernelClosedError: It was never made, and ``end`` was called.
        """
        made = self.made
        if made is None:
            with self._making:
                made = self.made
                if made is None:  # else another thread has made it meanwhile
                    if self.ended:
                        raise KernelClosedError("the kernel has ended")
                    made = self.made = self._make()
        return made

    def end(self) -> T | None:
        """Make the part no more; return it if it was made, after waiting for that."""
        with self._making:
            self.ended = True
            return self.made
