"""Functions that are no longer what they were when an executor first sent them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

_KEPT: Final = 1_000
"""Versions of functions to remember."""


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


class Versions:
    """Gives each version of a function, by its digest, an object of its own."""

    def __init__(self) -> None:
        self._lock: threading.Lock = threading.Lock()
        # By id, which is the function's own while it is held.
        self._known: OrderedDict[tuple[int, bytes], Renewed] = OrderedDict()

    def version(
        self, function: Callable[..., Any], digest: bytes
    ) -> Callable[..., Any]:
        """Return what to give to an executor for a function that is this now.

        Also the first version has one: calls that are not cached may have had the
        function sent earlier, as something else.
        """
        renewed = self._known.get((id(function), digest))
        if renewed is None:
            with self._lock:
                renewed = self._known.setdefault(
                    (id(function), digest), Renewed(function)
                )
                if len(self._known) > _KEPT:
                    self._known.popitem(last=False)
        return renewed
