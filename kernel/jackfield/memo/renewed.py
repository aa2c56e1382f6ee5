"""Functions that are no longer what they were when an executor first sent them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

_KEPT: Final = 1_000
"""Functions, and versions of one, to remember."""


class Renewed:
    """A function under another object's identity, so that it is pickled once more.

    Executors may pickle a function when they first see it, and send that from then
    on. When a global that it uses has changed, its calls have another key; then the
    code that runs must be the changed one, too. Unpickled, it is the function itself.
    """

    __slots__ = ("__weakref__", "__wrapped__")

    def __init__(self, function: Callable[..., Any]) -> None:
        self.__wrapped__: Callable[..., Any] = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.__wrapped__(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return _same, (self.__wrapped__,)


def _same(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


class _Known:
    """A function, what it was at first, and what stands for it since it is another."""

    __slots__ = ("digest", "function", "later")

    def __init__(self, function: Callable[..., Any], digest: bytes) -> None:
        self.function: Callable[..., Any] = function
        self.digest: bytes = digest
        self.later: dict[bytes, Renewed] = {}


class Versions:
    """Gives each version of a function, by its digest, an object of its own."""

    def __init__(self) -> None:
        self._lock: threading.Lock = threading.Lock()
        self._known: OrderedDict[int, _Known] = OrderedDict()  # by id: held, so unique

    def version(
        self, function: Callable[..., Any], digest: bytes
    ) -> Callable[..., Any]:
        """Return what to give to an executor for a function that is this now."""
        known = self._known.get(id(function))
        if known is not None and known.digest == digest:
            return function
        with self._lock:
            if known is None:
                self._known[id(function)] = _Known(function, digest)
                if len(self._known) > _KEPT:
                    self._known.popitem(last=False)
                return function
            if len(known.later) > _KEPT:
                known.later.clear()
            return known.later.setdefault(digest, Renewed(function))
