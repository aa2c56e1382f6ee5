"""From a call's arguments to the function's parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from jackfield_memo.introspection import MISSING

_POSITIONAL: Final = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)
_NAMED: Final = (
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
)


class Parameters(NamedTuple):
    """A function's parameters, as its signature tells.

    Attributes:
        names: All that take one argument, in order.
        positional: Those of them that take positional arguments.
        named: Those that take keyword arguments.
        rest: The one that takes further positional arguments, or ``"args"``.
        defaults: Name to default value.
    """

    names: tuple[str, ...] = ()
    positional: tuple[str, ...] = ()
    named: frozenset[str] = frozenset()
    rest: str = "args"
    defaults: Mapping[str, Any] = {}

    def bind(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Iterator[tuple[str, str, Any]]:
        """Give mark, name and value of each argument; every call alike in one order.

        The mark is ``""`` for a parameter, whose value may be ``MISSING``, ``"*"`` for
        further positional arguments and ``"**"`` for further keyword arguments.
        """
        given = dict(zip(self.positional, args, strict=False))
        further = {}
        for name, value in kwargs.items():
            if name in self.named and name not in given:
                given[name] = value
            else:
                further[name] = value
        for name in self.names:
            yield "", name, given.get(name, MISSING)
        if len(args) > len(self.positional):
            yield "*", self.rest, tuple(args[len(self.positional) :])
        for name in sorted(further):
            yield "**", name, further[name]


def parameters_of(function: Callable[..., Any]) -> Parameters:
    """Read a function's signature; of one that has none, nothing is known."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return Parameters()
    found = signature.parameters.values()
    rest = [one.name for one in found if one.kind is one.VAR_POSITIONAL]
    return Parameters(
        tuple(one.name for one in found if one.kind in {*_POSITIONAL, *_NAMED}),
        tuple(one.name for one in found if one.kind in _POSITIONAL),
        frozenset(one.name for one in found if one.kind in _NAMED),
        rest[0] if rest else "args",
        {one.name: one.default for one in found if one.default is not one.empty},
    )
