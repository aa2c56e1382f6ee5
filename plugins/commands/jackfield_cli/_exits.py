"""The exit functions of a script, called while its kernels still take tasks."""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final

_LATER: Final = frozenset(
    {"concurrent", "multiprocessing", "logging", "weakref"}
    | {"jackfield", "jackfield_bash", "jackfield_checkpoint", "jackfield_executors"}
    | {"jackfield_staging"}
)
"""Packages whose exit functions are called when the interpreter ends, as always. They
take away what tasks run on, or wait for what the interpreter ends before them."""


class ExitFunctions:
    """Keeps what is registered with ``atexit`` from now on, for ``run``."""

    def __init__(self) -> None:
        self._kept: list[tuple[Callable[..., Any], Callable[[], Any]]] = []
        self._register, self._unregister = atexit.register, atexit.unregister
        atexit.register = self._keep
        atexit.unregister = self._forget

    def run(self) -> None:
        """Call them, the last registered first; what one raises is only shown."""
        while self._kept:
            function, call = self._kept.pop()
            try:
                call()
            except BaseException as error:
                if not isinstance(error, SystemExit):
                    print(f"Exception ignored in {function!r}:", file=sys.stderr)
                    sys.excepthook(type(error), error, error.__traceback__)
        atexit.register, atexit.unregister = self._register, self._unregister

    def _keep(
        self, function: Callable[..., Any], /, *args: Any, **named: Any
    ) -> Callable[..., Any]:
        inner = function.func if isinstance(function, partial) else function
        module = getattr(inner, "__module__", None) or ""
        if module.partition(".")[0] in _LATER:
            return self._register(function, *args, **named)
        self._kept.append((function, partial(function, *args, **named)))
        return function

    def _forget(self, function: Callable[..., Any], /) -> None:
        self._kept = [one for one in self._kept if one[0] != function]
        self._unregister(function)
