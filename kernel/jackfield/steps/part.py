"""The base of the parts of a kernel."""

from __future__ import annotations

from typing import Any, dataclass_transform


@dataclass_transform(eq_default=False)
class Part:
    """A part of a kernel, made of what it uses.

    What that is, the annotations of its class say, in the order in which it is given.
    Type checkers know the constructor from them, as that of a dataclass. It is none,
    because making one takes 0.2 ms, and each start of a kernel makes a dozen.
    """

    def __init__(self, *uses: Any, **named: Any) -> None:
        # One by one: Python finds attributes faster that are set so than those which
        # come by ``__dict__``.
        by_place = zip(type(self).__annotations__, uses)  # noqa: B905  (the rest is named)
        for name, use in (*by_place, *named.items()):
            setattr(self, name, use)
