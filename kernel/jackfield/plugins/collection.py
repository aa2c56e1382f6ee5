"""The plugins that one kernel has: which there are, and how they come and go."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any, Self

from jackfield.errors import (
    PluginError,
    PluginLoadError,
    PluginNotFoundError,
    PluginWarning,
    suggest,
)
from jackfield.plugins.catalogue import Catalogue
from jackfield.plugins.hooks import SCOPED, Plugin
from jackfield.plugins.loader import load_object
from jackfield.plugins.registrations import Registrations
from jackfield.plugins.selection import read_selection
from jackfield.plugins.table import CompiledHooks, compile_hooks

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from jackfield.config import Config
    from jackfield.plugins.compiled import HookFunction
    from jackfield.plugins.observers import Observer
    from jackfield.plugins.scan import EntryPoint, Kind


class PluginCollection:
    """Finds, loads, registers and lists plugins.

    Nothing is imported before it is asked for, except by ``load_general``. Methods may
    be called on any thread. No plugin's code is called under a lock of this class.

    A plugin that cannot be used is quarantined. Where it was asked for by name that is
    an error; where it was not, a ``PluginWarning``. A Python warning and not a line in
    the log, because it is about the environment and not about one run: it is seen on
    the terminal although the log is silent there, it is shown once a process however
    many kernels the process makes, and whoever wants to be strict makes it an error
    (``-W error::...``).

    Attributes:
        hooks: The compiled hooks. Replaced, never changed, when a plugin comes or goes.
        log: Where observers' failures are told; the kernel puts its own log here.
        catalogue: What is installed.
        loaded: What of it is registered.

    Args:
        plugins: Objects or modules to register, as by ``register``.
        allow: Names of the only plugins that load unasked, or ``None`` for all.
        block: Names of installed plugins not to use. The environment variable
            ``JACKFIELD_PLUGINS`` is read here; docs/hooks.md has its grammar.
        use: Optional plugins that the configuration names, to their options.
        found: What is installed, if that has been looked for already.
    """

    def __init__(
        self,
        plugins: Sequence[object] = (),
        *,
        allow: Collection[str] | None = None,
        block: Collection[str] = (),
        use: Mapping[str, Mapping[str, Any]] | None = None,
        found: tuple[EntryPoint, ...] | None = None,
    ) -> None:
        self.log: logging.Logger = logging.getLogger("jackfield.plugins")
        self.catalogue: Catalogue = Catalogue(read_selection(allow, block), found)
        self._registrations = Registrations(self._registered)
        self._use: Mapping[str, Mapping[str, Any]] = use or {}
        self.loaded: dict[EntryPoint, Plugin] = {}
        self._registered()
        for plugin in plugins:
            self.register(plugin)

    def _registered(self) -> None:
        """Follow a change of who is registered. Under the registrations' lock."""
        self.hooks: CompiledHooks = compile_hooks(self._registrations)

    def configured(self, config: Config) -> Self:
        """Return the plugins of a kernel with this configuration, looking for none."""
        return type(self)(
            config.plugins,
            allow=config.allow_plugins,
            block=config.block_plugins,
            use=config.use_plugins,
            found=self.catalogue.entries(),
        )

    # -- Registering

    def register(self, plugin: object, name: str | None = None) -> str:
        """Register a plugin of the program: a module, or an object with hooks.

        It counts from the next call of a hook on. Registered again, it keeps its name.
        ``plugin`` is not a class: its methods would lack their ``self``. Messages call
        it ``name``: by default the module's or the class's, with a number behind where
        that is taken. Returns the name.

        Raises:
            PluginLoadError: It has no hooks, one that does not exist or has an
                unknown argument; or its name is taken.
        """
        return self._registrations.register(plugin, name)

    def unregister(self, plugin: object) -> None:
        """Take a plugin out. Calls of its hooks that have begun go on.

        Raises:
            PluginNotFoundError: It is not registered.
        """
        with self._registrations.lock:
            gone = self._registrations.remove(plugin)
            for entry in [one for one, its in self.loaded.items() if its is gone]:
                del self.loaded[entry]

    def describe(self, function: HookFunction) -> str:
        """Say whose a hook's function is: ``plugin 'lab' (lab-tools 1.2), hook x``."""
        return self._registrations.describe(function)

    def listeners(self, hook: str) -> tuple[Observer, ...]:
        """Return who implements a notification, in the order of registration."""
        return self._registrations.listeners(hook)

    # -- Loading

    def load_general(self) -> None:
        """Load what belongs to no executor, store, scheme or type.

        That is the group ``jackfield.plugins``, and of the group ``jackfield.optional``
        what the configuration names, unless it is blocked. A second call loads nothing
        new.

        Raises:
            PluginNotFoundError: A list of allowed plugins, or a table of options, names
                one that is not installed.
            PluginError: One that is named cannot be used.
            ConfigurationError: An optional plugin refuses its options.
        """
        installed = self.catalogue.names()
        for name in sorted(self.catalogue.selection.allow or ()):
            if name not in installed:
                raise PluginNotFoundError("installed", name, installed)
        for name in sorted(self.catalogue.selection.block - {*installed}):
            message = f"A blocked plugin, {name!r}, is not installed"
            message += suggest(name, installed)
            warnings.warn(message, PluginWarning, stacklevel=2)
        for entry in self.catalogue.usable("plugin"):
            self._load_unasked(entry.kind, entry.name)
        for name, options in self._use.items():
            if name not in self.catalogue.selection.block:
                self.load("optional", name, options)

    def profile(self, name: str) -> object:
        """Import what a profile's entry point names, and return it as it is.

        Raises:
            PluginError: As for ``load``.
        """
        entry = self.catalogue.pick("profile", name)
        with self.catalogue.quarantine(entry):
            return load_object(entry)

    def load(
        self, kind: Kind, name: str, options: Mapping[str, Any] | None = None
    ) -> Plugin:
        """Import and register one entry point, if it is not yet.

        ``options`` are for an optional plugin: what its class is to be called with.

        Raises:
            PluginNotFoundError: None of this name is installed.
            DuplicatePluginError: Two distributions offer it.
            PluginLoadError: It is blocked, or it was quarantined now or earlier.
            ConfigurationError: It refuses its options.
        """
        entry = self.catalogue.pick(kind, name)
        plugin = self.loaded.get(entry)
        if plugin is not None:
            return plugin
        with self.catalogue.quarantine(entry):
            return self._enter(entry, self.catalogue.plugin_of(entry, options))

    def _enter(self, entry: EntryPoint, found: object) -> Plugin:
        """Register what an entry point gave, unless another thread was first."""
        registered = self._registrations
        hooks = registered.find_hooks(found, entry.name, entry.origin)
        required = SCOPED.get(entry.kind)
        if required and not set(required) & set(hooks.names):
            reason = f"it does not implement {' or '.join(required)}."
            raise PluginLoadError(entry.name, entry.origin, reason)
        with registered.lock:
            plugin = self.loaded.get(entry) or registered.known(found)
            if plugin is None:
                plugin = Plugin(entry.name, entry.origin, found, hooks)
                registered.add(plugin, f"{entry.kind}:{entry.name}")
            if entry.kind not in SCOPED:
                registered.ask_always(plugin)
            return self.loaded.setdefault(entry, plugin)

    def _load_unasked(self, kind: Kind, name: str) -> Plugin | None:
        """Load one that nobody asked for by name; warn if it is broken."""
        try:
            return self.load(kind, name)
        except PluginError as error:
            if name in (self.catalogue.selection.allow or ()):
                raise
            message = f"{str(error).rstrip('.')}. The run goes on without it."
            warnings.warn(message, PluginWarning, stacklevel=2)
            return None

    # -- What there is

    def installed(self, kind: Kind) -> tuple[str, ...]:
        """Return the names of a kind's entry points, sorted; nothing is imported."""
        return self.catalogue.names(kind)

    def registered(self) -> list[Plugin]:
        """Return what the program has registered."""
        return [one for one in self._registrations.all() if one.from_program]
