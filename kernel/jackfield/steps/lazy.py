"""Parts that are made when they are first needed, because most runs do without."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Lazy(Generic[T]):
    """Gives a part, made at the first call. May be called on any thread.

    Attributes:
        made: The part, or ``None`` while nobody has needed it.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._making: threading.Lock = threading.Lock()
        self.made: T | None = None

    def __call__(self) -> T:
        """Return the part."""
        made = self.made
        if made is None:
            with self._making:
                made = self.made
                if made is None:  # else another thread has made it meanwhile
                    made = self.made = self._make()
        return made
