"""The plugin that makes memo keys of Python's functions and values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jackfield import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from jackfield.memo_keys import FilesBy, FunctionHook, KeyMaker, ValueHook
    from jackfield_memo.key_maker import PythonKeyMaker

JACKFIELD_API = ">=1,<2"


@hookimpl
def jackfield_create_key_maker(
    value_hooks: Callable[[type], tuple[ValueHook, ...]],
    function_hooks: Callable[[], tuple[FunctionHook, ...]],
    files: FilesBy,
) -> KeyMaker:
    """Make what decides as ``docs/memo-identity.md`` tells."""
    from jackfield_memo.on_use import KeyMakerOnUse  # not for `plugins --check`

    def make() -> PythonKeyMaker:
        from jackfield_memo.key_maker import PythonKeyMaker

        return PythonKeyMaker(
            value_hooks=value_hooks, function_hooks=function_hooks, files=files
        )

    return KeyMakerOnUse(make)
