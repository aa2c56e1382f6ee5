"""The table of compiled hooks: one line for each hook that is called often.

A field of ``CompiledHooks`` is all that it takes to have another one. The field is
named like the hook, without ``jackfield_``. Everything else follows from what is known
of the hook anyway: its specification says whether it is asked or told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from jackfield.plugins.compiled import functions
from jackfield.plugins.hooks import NOTIFICATIONS

if TYPE_CHECKING:
    from jackfield.plugins.compiled import HookFunction
    from jackfield.plugins.observers import Observer
    from jackfield.plugins.registrations import Registrations

    Asked: TypeAlias = tuple[HookFunction, ...]
    Told: TypeAlias = tuple[Observer, ...]


class CompiledHooks(NamedTuple):
    """What the registered plugins have to say, ready to be called.

    ``Asked`` fields are functions that take the hook's arguments by position, in the
    order in which they are to be asked. ``Told`` fields are observers, without those
    that have been disabled. Where nobody implements a hook its field is empty, so that
    the kernel can pass it over with one test.

    The record is replaced as a whole when a plugin comes or goes, and never changed: a
    thread that has read it may go on with it, and sees one state of the plugins.
    """

    find_futures: Asked = ()
    stream_path: Asked = ()
    select_executor: Asked = ()
    retry: Asked = ()
    scale: Asked = ()
    credentials: Asked = ()
    hash_function: Asked = ()
    use_result: Asked = ()
    task_events: Told = ()
    transfer_events: Told = ()
    run_events: Told = ()


def compile_hooks(registrations: Registrations) -> CompiledHooks:
    """Fill the table for the plugins that are registered now. Under the lock."""
    made: dict[str, Any] = {
        name: _compiled(registrations, f"jackfield_{name}")
        for name in CompiledHooks._fields
    }
    return CompiledHooks(**made)


def _compiled(registrations: Registrations, hook: str) -> Asked | Told:
    if hook in NOTIFICATIONS:
        observers = registrations.listeners(hook)
        return tuple(one for one in observers if not one.disabled)
    return functions(registrations.compile(hook))
