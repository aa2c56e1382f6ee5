"""Functions that were pickled before, by number, so that each is sent once."""

from __future__ import annotations

import itertools
import threading
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from jackfield_serialize import dump_function

if TYPE_CHECKING:
    from collections.abc import Callable

    from jackfield.abc import Work

KEPT: Final = 4_000
"""Pickles of which the number is known; beyond that, the numbers begin anew."""


def is_fixed(function: Callable[..., Any]) -> bool:
    """Whether what a function pickles as is the same at each call.

    So it is for what the kernel gives in a function's place, which is another object
    when the function has changed, and for a function without a closure. What a closure,
    a partial or an object holds may change from call to call.
    """
    if hasattr(type(function), "jackfield_sends"):
        return True
    return isinstance(function, FunctionType) and not function.__closure__


class Functions:
    """Pickles functions, and numbers the pickles. May be used on several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._dumped: WeakKeyDictionary[Any, bytes] = WeakKeyDictionary()
        self._known: dict[bytes, int] = {}

    def dump(self, work: Work) -> tuple[int, bytes]:
        """Return the number of a work's function, and its pickle.

        Raises:
            SerializationError: It cannot be pickled.
        """
        function = work.function
        fixed = is_fixed(function)
        data = self._dumped.get(function) if fixed else None
        if data is None:
            data = dump_function(work.name, function)
            if fixed:
                self._dumped[function] = data
        with self._lock:
            number = self._known.get(data)
            if number is None:
                if len(self._known) >= KEPT:
                    self._known.clear()
                number = self._known[data] = next(self._numbers)
        return number, data
