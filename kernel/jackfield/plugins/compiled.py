"""Hooks as tuples of plain functions, for calls too frequent for pluggy.

A call through pluggy takes 1 to 2 microseconds, even when nobody implements the hook.
That is too much for what is asked for every task. So a hook is *compiled*: whenever a
plugin comes or goes, its implementations are put into a tuple of functions, to be
called one after the other. The tuple is empty if there are none.

All functions of a tuple take the same arguments, by position and in the order of the
specification. An implementation that names all of them in that order is put in as it
is. One that leaves some out is put into a function that picks what it wants, which
costs 0.1 microseconds a call, and 0.3 if it wants one alone or has defaults.

The order is pluggy's: first those marked ``tryfirst``, then the others, then those
marked ``trylast``, and of each the last registered first. One rule is added: among
these equals, what the program registered comes before what is installed, because it is
nearer to the user.

If one of the implementations is a wrapper, the others run inside it, and only pluggy
knows how. The hook then becomes a tuple with one function, which calls pluggy.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

from jackfield.errors import JackfieldError, PluginLoadError, one_line
from jackfield.futures.locks import is_interrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pluggy import HookImpl

    from jackfield.plugins.hooks import HookRegistry, Hooks, Plugin

    HookFunction: TypeAlias = Callable[..., Any]

T = TypeVar("T")


class Compiled(NamedTuple):
    """One function of a compiled hook.

    Attributes:
        function: Takes the specification's arguments by position.
        hook: The hook's name.
        plugins: Whose it is: one, or all of those that pluggy calls together.
    """

    function: HookFunction
    hook: str
    plugins: tuple[Plugin, ...]

    def __str__(self) -> str:
        whose = ", ".join(map(str, self.plugins))
        return f"{whose}, hook {self.hook}"

    def failure(self, reason: str) -> PluginLoadError:
        """Make the error that blames it."""
        names = ", ".join(plugin.name for plugin in self.plugins)
        origins = ", ".join(plugin.origin for plugin in self.plugins)
        return PluginLoadError(names, origins, reason)


def compile_hook(
    registry: HookRegistry, hook: str, plugins: Sequence[Plugin]
) -> tuple[Compiled, ...]:
    """Compile a hook for some of the registered plugins."""
    caller = getattr(registry.hook, hook)
    names: tuple[str, ...] = (*caller.spec.argnames, *caller.spec.kwargnames)
    owners = {plugin.hooks: plugin for plugin in plugins}
    found = [one for one in reversed(caller.get_hookimpls()) if one.plugin in owners]
    if any(one.wrapper for one in found):
        whole = _left_to_pluggy(registry, hook, names, set(owners))
        return (Compiled(whole, hook, tuple(owners[one.plugin] for one in found)),)
    found.sort(key=lambda one: not owners[one.plugin].from_program)
    found.sort(key=lambda one: one.trylast - one.tryfirst)  # stable: this comes first
    return tuple(
        Compiled(_positional(one, names), hook, (owners[one.plugin],)) for one in found
    )


def _positional(implementation: HookImpl, names: tuple[str, ...]) -> HookFunction:
    """Return a function that takes all arguments of a hook, in order.

    It passes on those that the implementation names. The implementation may have more,
    with defaults, for arguments that the hook gets in a later version of Jackfield:
    these are left at their defaults.
    """
    function = implementation.function
    required = implementation.argnames
    optional = [name for name in implementation.kwargnames if name in names]
    if (*required, *implementation.kwargnames) == names:
        return function
    places = [names.index(name) for name in required]
    more = [(name, names.index(name)) for name in optional]
    if len(places) > 1 and not more:
        pick = itemgetter(*places)
        return lambda *arguments: function(*pick(arguments))

    def call(*arguments: object) -> object:
        given = {name: arguments[place] for name, place in more}
        return function(*[arguments[place] for place in places], **given)

    return call


def _left_to_pluggy(
    registry: HookRegistry, hook: str, names: tuple[str, ...], chosen: set[Hooks]
) -> HookFunction:
    others = registry.get_plugins() - chosen
    caller = registry.subset_hook_caller(hook, others)
    return lambda *arguments: caller(**dict(zip(names, arguments, strict=False)))


def functions(compiled: Sequence[Compiled]) -> tuple[HookFunction, ...]:
    """Return the functions alone, as they are called per task."""
    return tuple(one.function for one in compiled)


def first_answer(
    compiled: Sequence[Compiled], types: tuple[type[T], ...], arguments: Sequence[Any]
) -> T | None:
    """Ask one after the other, and return the first answer that is not ``None``.

    Raises:
        JackfieldError: As a plugin raised it, with a note that names the plugin.
        PluginLoadError: A plugin raised anything else, or answered with an object
            of another type.
    """
    for one in compiled:
        answer = _ask(one, arguments)
        if answer is None:
            continue
        if not isinstance(answer, types):
            wanted = " or ".join(f"{kind.__module__}.{kind.__name__}" for kind in types)
            reason = f"its {one.hook} gave a {type(answer).__name__}, not a {wanted}."
            raise one.failure(reason)
        return answer
    return None


def _ask(compiled: Compiled, arguments: Sequence[Any]) -> Any:
    try:
        return compiled.function(*arguments)
    except JackfieldError as error:
        error.add_note(f"Raised by {compiled}.")
        raise
    except BaseException as error:
        if is_interrupt(error):
            raise
        reason = f"its {compiled.hook} raised {one_line(error)}"
        raise compiled.failure(reason) from error
