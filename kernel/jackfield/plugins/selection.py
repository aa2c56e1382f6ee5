"""Which installed plugins may be used.

``[plugins] allow`` and ``block``, ``JACKFIELD_PLUGINS`` and ``--no-plugin`` say it;
docs/hooks.md has the grammar of the variable, and what its words mean. Blocks from all
places count together; the variable's list of allowed plugins takes the place of the
configuration's.

Three groups load without being asked for: ``jackfield.configuration``, when a
configuration has to be found, ``jackfield.plugins``, when a kernel starts, and
``jackfield.memo``, when the first memo key is made or a value of such a type turns up.
All others are asked for, and only a block keeps them out. To ask for one that is
blocked is an error, but for an optional one, without which a run can do.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

    from jackfield.plugins.scan import EntryPoint, Kind

VARIABLE: Final = "JACKFIELD_PLUGINS"
UNASKED: Final[frozenset[Kind]] = frozenset({"configuration", "memo", "plugin"})
"""Kinds that load without being named in a configuration."""


class Selection(NamedTuple):
    """What the lists say, put together.

    Attributes:
        allow: The only names that load unasked, or ``None`` for all.
        block: Names that are not used at all.
        variable_block: Those of them that the environment blocks.
    """

    allow: frozenset[str] | None
    block: frozenset[str]
    variable_block: frozenset[str]

    def refusal(self, entry: EntryPoint) -> str | None:
        """Say in a sentence why an entry point may not be used, or ``None``."""
        if entry.name in self.variable_block:
            return f"it is blocked, by {VARIABLE} or --no-plugin."
        if entry.name in self.block:
            return "it is blocked, by the configuration's [plugins] block."
        if self.allow is None or entry.kind not in UNASKED:
            return None
        if entry.name in self.allow or entry.ours:
            return None
        return "it is not among the plugins that are allowed."


def read_selection(
    allow: Collection[str] | None = None, block: Collection[str] = ()
) -> Selection:
    """Put the configuration's lists and the environment's together."""
    configured = None if allow is None else frozenset(allow)
    words = _words(os.environ.get(VARIABLE))
    if words is None:
        return Selection(configured, frozenset(block), frozenset())
    listed = {word for word in words if not word.startswith("-")}
    blocked = frozenset(word[1:].strip() for word in words - listed) - {"*"}
    narrowed = bool(listed) or not words or "-*" in words
    return Selection(
        frozenset(listed) if narrowed else configured,
        frozenset(block) | blocked,
        blocked,
    )


def _words(value: str | None) -> set[str] | None:
    if value is None:
        return None
    return {word for word in map(str.strip, value.split(",")) if word}


def blocking(value: str | None, names: Collection[str]) -> str:
    """Return what ``VARIABLE``, now ``value``, has to be to block ``names`` as well."""
    words = _words(value)
    # Empty, it allows nothing; with words that only block, it would allow the others.
    start = ["-*"] if words is not None and not words else sorted(words or ())
    return ",".join([*start, *(f"-{name}" for name in names)])
