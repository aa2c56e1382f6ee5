"""Where futures are looked for in arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any


def _nothing(value: object) -> Sequence[Future[Any]]:
    del value
    return ()


def _as_it_is(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class DependencyResolver:
    """Two functions: one lists the futures in a value, one puts results in.

    Jackfield asks one of the user's own about values that are no builtin containers,
    for it looks into those by itself.
    """

    traverse_to_gather: Callable[[Any], Sequence[Future[Any]]]
    traverse_to_unwrap: Callable[[Any], Any]

    @property
    def is_custom(self) -> bool:
        """Whether it is one of the user's own."""
        return self.traverse_to_gather is not _nothing


SHALLOW_DEPENDENCY_RESOLVER = DependencyResolver(_nothing, _as_it_is)
DEEP_DEPENDENCY_RESOLVER = DependencyResolver(_nothing, _as_it_is)
