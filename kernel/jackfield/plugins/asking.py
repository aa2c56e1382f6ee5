"""Asking plugins for what has to be checked before it is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from jackfield.plugins.manager import PluginManager

T = TypeVar("T")


def ask(
    manager: PluginManager,
    hooks: Sequence[Callable[..., Any]],
    check: Callable[[Any], T],
    *arguments: Any,
) -> T | None:
    """Return the first answer that is not ``None``, as ``check`` gives it back.

    An exception, of a hook or of ``check``, gets a note that names the plugin.
    """
    from jackfield.plugins.compiled import ask_first  # not for `import jackfield`

    for hook in hooks:
        answer = ask_first((hook,), arguments, manager.describe)
        if answer is not None:
            try:
                return check(answer)
            except Exception as error:
                error.add_note(f"Answered by {manager.describe(hook)}.")
                raise
    return None
