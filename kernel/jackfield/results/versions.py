"""Versions of one function, told apart so that an executor sends each of them.

An executor with workers elsewhere pickles a function when it first sees the object, and
sends that from then on. But what a function does can change while the object stays:
a global that it uses is set anew. Its calls have another key then, and what runs must
be the changed function, or a result of the old one would be stored under the new key.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

_KEPT: Final = 1_000
"""Versions of functions to remember."""


class FunctionVersion:
    """A function as another object, to be pickled anew; it is unpickled as itself."""

    __slots__ = ("__weakref__", "__wrapped__")

    def __init__(self, function: Callable[..., Any]) -> None:
        self.__wrapped__: Callable[..., Any] = function

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.__wrapped__(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        return _same, (self.__wrapped__,)


def _same(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


class FunctionVersions:
    """Gives each version of a function, by its digest, an object of its own."""

    def __init__(self) -> None:
        self._lock: threading.Lock = threading.Lock()
        # By ``id``, which is nobody else's while the version holds the function.
        self._made: OrderedDict[tuple[int, bytes], FunctionVersion] = OrderedDict()

    def version(
        self, function: Callable[..., Any], digest: bytes
    ) -> Callable[..., Any]:
        """Return what to give to an executor for a function that is this now.

        The first version has an object of its own as well: a call that is not cached
        may have had the function sent earlier, when it did something else.
        """
        made = self._made.get((id(function), digest))
        if made is None:
            with self._lock:
                made = self._made.setdefault(
                    (id(function), digest), FunctionVersion(function)
                )
                if len(self._made) > _KEPT:
                    self._made.popitem(last=False)
        return made
