"""The plugins that are in use, wherever they came from."""

from __future__ import annotations

from threading import RLock
from typing import TYPE_CHECKING

from jackfield.errors import PluginLoadError, PluginNotFoundError
from jackfield.plugins.compiled import compile_hook
from jackfield.plugins.hooks import (
    NOTIFICATIONS,
    SCOPED_HOOKS,
    HookRegistry,
    Hooks,
    Plugin,
    default_name,
    home,
)
from jackfield.plugins.loader import check_api
from jackfield.plugins.observers import Observer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from jackfield.plugins.compiled import Compiled, HookFunction


class Registrations:
    """Registered plugins. Every method may be called on any thread.

    ``changed`` is called under the lock whenever a plugin has come or gone.

    Attributes:
        lock: Held while a plugin comes or goes. Reentrant, so that a caller who holds
            it may call every method here, and nothing changes between two calls.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self.lock: AbstractContextManager[bool] = RLock()
        self._changed: Callable[[], None] = changed
        self._registry = HookRegistry()
        self._plugins: list[Plugin] = []
        # By the ``id`` of a function, which the value keeps alive: for ``describe``.
        self._owners: dict[int, Compiled] = {}

    def register(self, plugin: object, name: str | None) -> str:
        """Register an object of the program, and return its name.

        Raises:
            PluginLoadError: It cannot be a plugin, or its name is taken.
        """
        wanted, origin = name or default_name(plugin), home(plugin)
        if isinstance(plugin, type):
            reason = "it is a class; register an instance of it."
            raise PluginLoadError(wanted, origin, reason)
        check_api(wanted, origin, getattr(plugin, "JACKFIELD_API", None))
        hooks = self.find_hooks(plugin, wanted, origin)
        with self.lock:
            known = self.known(plugin)
            if known:
                known.from_program = True
                self.ask_always(known)
                return known.name
            if name and self._registry.has_plugin(name):
                raise PluginLoadError(name, origin, "its name is taken.")
            free = name or self._registry.free_name(wanted)
            self.add(Plugin(free, origin, plugin, hooks, True, True), free)
            return free

    def find_hooks(self, plugin: object, name: str, origin: str) -> Hooks:
        """Collect and check the hooks of an object; see ``HookRegistry``."""
        return self._registry.find_hooks(plugin, name, origin)

    def known(self, plugin: object) -> Plugin | None:
        """Return the registration of an object, found by identity."""
        return next((one for one in self.all() if one.plugin is plugin), None)

    def add(self, plugin: Plugin, registered_as: str) -> None:
        """Register a plugin under a name of pluggy's that is free. Under the lock.

        Raises:
            PluginLoadError: One of its hooks has an unknown argument.
        """
        self._registry.add(plugin, registered_as)
        for hook in NOTIFICATIONS:
            told = compile_hook(self._registry, hook, [plugin])
            plugin.observers[hook] = tuple(
                Observer(one.function, str(one)) for one in told
            )
        self._plugins.append(plugin)
        self._changed()

    def ask_always(self, plugin: Plugin) -> None:
        """Have a plugin's scoped hooks asked whatever the name. Under the lock."""
        plugin.always_asked = True
        self._changed()

    def remove(self, plugin: object) -> Plugin:
        """Take an object out, and return what its registration was.

        Raises:
            PluginNotFoundError: It is not registered.
        """
        with self.lock:
            known = self.known(plugin)
            if known is None:
                names = tuple([one.name for one in self._plugins])
                this = f"{default_name(plugin)} at {id(plugin):#x}"
                raise PluginNotFoundError("registered", this, names)
            self._registry.unregister(known.hooks)
            self._plugins.remove(known)
            for key in [i for i, one in self._owners.items() if known in one.plugins]:
                del self._owners[key]
            self._changed()
            return known

    def all(self) -> list[Plugin]:
        """Return all plugins in the order of their registration."""
        with self.lock:
            return list(self._plugins)

    def listeners(self, hook: str) -> tuple[Observer, ...]:
        """Return the implementations of a notification."""
        with self.lock:
            told = [plugin.observers[hook] for plugin in self._plugins]
        return tuple(one for observers in told for one in observers)

    def compile(self, hook: str, named: Sequence[Plugin] = ()) -> tuple[Compiled, ...]:
        """Compile a hook that answers.

        Of entry points that are asked about their own name only, just those in
        ``named`` are asked: nobody, where there is none yet.
        """
        with self.lock:
            asked = [
                one
                for one in self._plugins
                if one.always_asked or one in named or hook not in SCOPED_HOOKS
            ]
            compiled = compile_hook(self._registry, hook, asked)
            self._owners.update((id(one.function), one) for one in compiled)
        return compiled

    def compile_of(self, plugin: Plugin, hook: str) -> tuple[Compiled, ...]:
        """Compile a hook for one plugin, where the question is for nobody else."""
        with self.lock:
            return compile_hook(self._registry, hook, [plugin])

    def describe(self, function: HookFunction) -> str:
        """Say whose a function is that came from ``compile``."""
        compiled = self._owners.get(id(function))
        return str(compiled) if compiled else f"hook function {function!r}"
