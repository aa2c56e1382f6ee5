"""Asking for what makes memo keys, and giving it the hooks that others implement."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from jackfield.errors import PluginLoadError, PluginNotFoundError
from jackfield.memo_keys import KeyMaker, with_parts
from jackfield.plugins.scan import GROUPS

if TYPE_CHECKING:
    from jackfield.memo_keys import FilesBy, FunctionHook, ValueHook
    from jackfield.plugins.compiled import HookFunction
    from jackfield.plugins.manager import PluginManager

KEY_MAKER: Final = "python"
"""Name of the entry point of the group ``jackfield.memo`` that makes keys, unless a
plugin that is asked first does. The others of the group are named like packages."""

_WHAT_NOW: Final = (
    "Cached apps need it to make memo keys. Install or unblock it, register a plugin "
    "with jackfield_create_key_maker, or configure app_cache = false."
)


def create_key_maker(manager: PluginManager, files: FilesBy = "content") -> KeyMaker:
    """Ask for a key maker: the program's plugins, then the one named ``python``.

    ``files`` says what a ``File`` counts by.

    Raises:
        PluginLoadError: Nobody answers, and the plugin is blocked, missing or broken;
            or a plugin's hook raised, or gave something else.
        JackfieldError: Whatever of our own the hook raised.
    """

    @cache
    def function_hook(hook: HookFunction) -> FunctionHook:
        return lambda thing: manager.ask((hook,), _identity, thing)

    @cache
    def value_hook(hook: HookFunction) -> ValueHook:
        return with_parts(lambda thing: manager.ask((hook,), _identity, thing))

    def value_hooks(kind: type) -> tuple[ValueHook, ...]:
        return tuple(map(value_hook, manager.value_hashers(kind)))

    def function_hooks() -> tuple[FunctionHook, ...]:
        return tuple(map(function_hook, manager.hooks.hash_function))

    arguments = (value_hooks, function_hooks, files)
    try:
        return manager.provide("memo", KEY_MAKER, (KeyMaker,), arguments)
    except PluginNotFoundError as error:
        reason = f"it is not installed. {_WHAT_NOW}"
        origin = f"group {GROUPS['memo']}"
        raise PluginLoadError(KEY_MAKER, origin, reason) from error
    except PluginLoadError as error:
        if error.plugin != KEY_MAKER:
            raise
        reason = f"{error.reason.rstrip('.')}. {_WHAT_NOW}"
        raise PluginLoadError(error.plugin, error.origin, reason) from error


def _identity(answer: object) -> bytes:
    if isinstance(answer, bytes):
        return answer
    kind = type(answer).__name__
    raise TypeError(f"a plugin gave {kind} as an identity; expected bytes")
