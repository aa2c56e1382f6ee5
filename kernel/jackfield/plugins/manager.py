"""The plugins of one kernel."""

from __future__ import annotations

import concurrent.futures
import logging
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from jackfield.abc import CheckpointStore, Executor
from jackfield.errors import (
    ConfigurationError,
    PluginError,
    PluginLoadError,
    PluginNotFoundError,
    PluginWarning,
)
from jackfield.plugins.catalogue import Catalogue
from jackfield.plugins.compiled import first_answer, functions
from jackfield.plugins.hooks import PROVIDERS, SCOPED, Plugin
from jackfield.plugins.listing import describe_registered
from jackfield.plugins.observers import Observer, tell_all, tell_events
from jackfield.plugins.registrations import Registrations
from jackfield.plugins.schemes import serving
from jackfield.plugins.selection import read_selection

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from jackfield.plugins.compiled import Compiled, HookFunction
    from jackfield.plugins.listing import PluginInfo
    from jackfield.plugins.scan import EntryPoint, Kind
    from jackfield.plugins.schemes import StagingHook
    from jackfield.states import TaskEvent, TransferEvent

T = TypeVar("T")

_EXECUTORS: Final[tuple[type[Executor | concurrent.futures.Executor], ...]] = (
    Executor,
    concurrent.futures.Executor,
)


class PluginManager:
    """Finds, loads and asks the plugins of one kernel.

    Nothing is imported before it is asked for, except by ``load_general``. Methods may
    be called on any thread. No plugin's code is called under a lock of this class.

    A plugin that cannot be used is quarantined: an error where it was asked for by
    name, else a ``PluginWarning``. A Python warning and not a line in the log, as it
    concerns the environment and not the run: it is seen on the terminal although
    the log is silent there, once a process however many kernels it makes, and who
    is strict turns it into an error (``-W error::...``).

    The compiled hooks are tuples of functions that take the hook's arguments by
    position. They are replaced, never changed, whenever a plugin comes or goes.

    Attributes:
        select_executor: Compiled ``jackfield_select_executor``.
        retry: Compiled ``jackfield_retry``.
        hash_value: Compiled ``jackfield_hash_value``, without the entry points of
            the group ``jackfield.memo``, which ``value_hashers`` adds.
        hash_function: Compiled ``jackfield_hash_function``.
        credentials: Compiled ``jackfield_credentials``.
        observers: Who is told of tasks' events; not those that are disabled.
        transfer_observers: Who is told of transfers' events, likewise.
        log: Where observers' failures are told; the kernel puts its own log here.

    Args:
        plugins: Objects or modules to register, as by ``register``.
        allow: Names of the only plugins that load unasked, or ``None`` for all.
        block: Names of installed plugins not to use. The environment variable
            ``JACKFIELD_PLUGINS`` is read here; ``selection`` has its grammar.
    """

    def __init__(
        self,
        plugins: Sequence[object] = (),
        *,
        allow: Collection[str] | None = None,
        block: Collection[str] = (),
    ) -> None:
        self._catalogue = Catalogue(read_selection(allow, block))
        self._registrations = Registrations(self._recompile)
        self._loaded: dict[EntryPoint, Plugin] = {}
        self.log: logging.Logger = logging.getLogger("jackfield.plugins")
        self._staging: dict[tuple[str, str], tuple[HookFunction, ...]] = {}
        self._hashers: dict[str, tuple[HookFunction, ...]] = {}
        self.select_executor: tuple[HookFunction, ...] = ()
        self.retry: tuple[HookFunction, ...] = ()
        self.hash_value: tuple[HookFunction, ...] = ()
        self.hash_function: tuple[HookFunction, ...] = ()
        self.credentials: tuple[HookFunction, ...] = ()
        self.observers: tuple[Observer, ...] = ()
        self.transfer_observers: tuple[Observer, ...] = ()
        for plugin in plugins:
            self.register(plugin)

    # -- Registering

    def register(self, plugin: object, name: str | None = None) -> str:
        """Register a plugin of the program: a module, or an object with hooks.

        It counts from the next call of a hook on. Registered again, it keeps its name.

        Args:
            plugin: Not a class: its methods would lack their ``self``.
            name: What messages call it; by default the module's or the class's
                name, with a number behind where that is taken.

        Returns:
            Its name.

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
            for entry in [one for one, its in self._loaded.items() if its is gone]:
                del self._loaded[entry]

    def describe(self, function: HookFunction) -> str:
        """Say whose a function of a compiled hook is, for messages.

        As in ``plugin 'lab' (lab-tools 1.2), hook jackfield_retry``.
        """
        return self._registrations.describe(function)

    # -- Loading

    def load_general(self) -> None:
        """Load the group ``jackfield.plugins``. A second call loads nothing new.

        Raises:
            PluginNotFoundError: A list of allowed plugins has a name that is not
                installed.
            PluginError: One that is listed cannot be used.
        """
        installed = self._catalogue.names()
        for name in sorted(self._catalogue.selection.allow or ()):
            if name not in installed:
                raise PluginNotFoundError("installed", name, installed)
        for entry in self._catalogue.usable("plugin"):
            self._load_unasked(entry.kind, entry.name)

    def profile(self, name: str) -> object:
        """Import what a profile's entry point names, and return it as it is.

        Raises:
            PluginError: As for ``load``.
        """
        entry = self._catalogue.pick("profile", name)
        with self._catalogue.quarantine(entry):
            return self._catalogue.profile_of(entry)

    def load(self, kind: Kind, name: str) -> Plugin:
        """Import and register one entry point, if it is not yet.

        Raises:
            PluginNotFoundError: None of this name is installed.
            DuplicatePluginError: Two distributions offer it.
            PluginLoadError: It is blocked, or it was quarantined now or earlier.
        """
        entry = self._catalogue.pick(kind, name)
        plugin = self._loaded.get(entry)
        if plugin is not None:
            return plugin
        with self._catalogue.quarantine(entry):
            return self._enter(entry, self._catalogue.plugin_of(entry))

    def _enter(self, entry: EntryPoint, found: object) -> Plugin:
        """Register what an entry point gave, unless another thread was first."""
        registered = self._registrations
        hooks = registered.find_hooks(found, entry.name, entry.origin)
        required = SCOPED.get(entry.kind)
        if required and not set(required) & set(hooks.names):
            reason = f"it does not implement {' or '.join(required)}."
            raise PluginLoadError(entry.name, entry.origin, reason)
        with registered.lock:
            plugin = self._loaded.get(entry) or registered.known(found)
            if plugin is None:
                plugin = Plugin(entry.name, entry.origin, found, hooks)
                registered.add(plugin, f"{entry.kind}:{entry.name}")
            if entry.kind == "plugin":
                registered.open(plugin)
            return self._loaded.setdefault(entry, plugin)

    def _load_unasked(self, kind: Kind, name: str) -> Plugin | None:
        try:
            return self.load(kind, name)
        except PluginError as error:
            if self._catalogue.selection.asks_for(name):
                raise
            message = f"{str(error).rstrip('.')}. The run goes on without it."
            warnings.warn(message, PluginWarning, stacklevel=2)
            return None

    # -- What there is

    def installed(self, kind: Kind) -> tuple[str, ...]:
        """Return the names of a kind's entry points, sorted; nothing is imported."""
        return self._catalogue.names(kind)

    def plugins(self) -> list[PluginInfo]:
        """Describe every entry point and every registered object, importing none."""
        registered = (one for one in self._registrations.all() if one.from_program)
        return [
            *self._catalogue.listing(self._loaded),
            *map(describe_registered, registered),
        ]

    def load_all(self) -> list[PluginInfo]:
        """Load all that is installed and may be used, and return ``plugins()``."""
        for entry in self._catalogue.entries():
            try:
                if entry.kind == "profile":
                    self.profile(entry.name)
                else:
                    self.load(entry.kind, entry.name)
            except PluginError:
                continue  # the listing tells
        return self.plugins()

    # -- Asking for an object

    def create_executor(
        self, kind: str, label: str, options: Mapping[str, Any]
    ) -> Executor | concurrent.futures.Executor:
        """Ask for an executor: the program's plugins, then the one of that name.

        Raises:
            PluginNotFoundError: No plugin answers, and none of that name is
                installed.
            PluginError: It cannot be used, its hook raised, or it gave something
                else.
            JackfieldError: Whatever of our own the hook raised, such as a
                ``ConfigurationError`` for an option.
        """
        return self.provide("executor", kind, _EXECUTORS, (kind, label, options))

    def open_checkpoint(self, url: str, options: Mapping[str, Any]) -> CheckpointStore:
        """Ask for a store: the program's plugins, then the one of the URL's scheme.

        Raises:
            ConfigurationError: The URL has no scheme, and no plugin answers.
            JackfieldError: As for ``create_executor``.
        """
        scheme, colon, _ = url.partition(":")
        types = (CheckpointStore,)
        try:
            return self.provide("checkpoint", scheme.lower(), types, (url, options))
        except PluginNotFoundError as error:
            if colon:
                raise
            raise ConfigurationError(
                f"The checkpoint store {url!r} names no plugin; write a URL such as "
                f"'sqlite:///results.db'."
            ) from error

    def provide(
        self,
        kind: Kind,
        name: str,
        types: tuple[type[T], ...],
        arguments: tuple[Any, ...],
    ) -> T:
        """Return the first answer to a kind's hook, which must be of one of ``types``.

        That the named plugin is missing or broken matters only if no other answers.
        """
        hook = PROVIDERS[kind]
        named: list[Plugin] = []
        problem: PluginError | None = None
        try:
            named.append(self.load(kind, name))
        except PluginError as error:
            problem = error
        answer = first_answer(self._compile_scoped(hook, named), types, arguments)
        if answer is not None:
            return answer
        if problem is not None:
            raise problem
        reason = f"its {hook} answers None for its own name."
        raise PluginLoadError(name, named[0].origin, reason)

    # -- Files and memo keys

    def staging(
        self, scheme: str, hook: StagingHook
    ) -> tuple[Callable[[Any], Any], ...]:
        """Return whom to ask about URLs of a scheme, in order; nobody: ``()``.

        The program's plugins come first, then the entry point named like the scheme
        or else ``any``, loaded now.

        Raises:
            PluginError: The entry point cannot be used.
        """
        known = self._staging.get((scheme, hook))
        if known is not None:
            return known
        loads = (partial(self.load, "staging"), partial(self._load_unasked, "staging"))
        named = serving(scheme, self.installed("staging"), *loads)
        with self._registrations.lock:  # or a change could be missed by the cache
            known = functions(self._compile_scoped(hook, named))
            self._staging[scheme, hook] = known
        return known

    def value_hashers(
        self, value_type: type
    ) -> tuple[Callable[[object], bytes | None], ...]:
        """Return whom to ask for the identity of a type's values: often ``()``.

        The program's plugins (``hash_value``), then the entry point of the group
        ``jackfield.memo`` that is named like the root module of the type, loaded now.
        A broken one is warned of.

        Raises:
            PluginError: It cannot be used, and a list of allowed plugins names it.
        """
        root = str(value_type.__module__).partition(".")[0]
        known = self._hashers.get(root)
        if known is not None:
            return known
        usable = any(entry.name == root for entry in self._catalogue.usable("memo"))
        plugin = self._load_unasked("memo", root) if usable else None
        with self._registrations.lock:  # or a change could be missed by the cache
            named = [plugin] if plugin else []
            known = functions(self._compile_scoped("jackfield_hash_value", named))
            self._hashers[root] = known
        return known

    # -- Telling

    def notify(
        self,
        hook: Literal["jackfield_kernel_started", "jackfield_kernel_closing"],
        **arguments: object,
    ) -> None:
        """Tell every plugin; failures are logged and counted.

        Raises:
            KeyboardInterrupt: The user's, on the main thread, after all are told.
        """
        tell_all(self.listeners(hook), self.log, *arguments.values())

    def deliver_events(
        self, tasks: Sequence[TaskEvent], transfers: Sequence[TransferEvent] = ()
    ) -> None:
        """Tell the observers of events, and drop those that fail again and again.

        Called on one thread only.
        """
        told = [tell_events(self.observers, self.log, tasks)]
        told += [tell_events(self.transfer_observers, self.log, transfers)]
        if not all(told):
            with self._registrations.lock:
                self._recompile()

    def listeners(self, hook: str) -> tuple[Observer, ...]:
        """Return who implements a notification, in the order of registration."""
        return self._registrations.listeners(hook)

    # -- Compiling

    def _recompile(self) -> None:
        """Replace what depends on who is registered. Under the lock."""
        self._staging.clear()
        self._hashers.clear()
        self.select_executor = functions(self._compile("jackfield_select_executor"))
        self.retry = functions(self._compile("jackfield_retry"))
        self.hash_function = functions(self._compile("jackfield_hash_function"))
        self.hash_value = functions(self._compile_scoped("jackfield_hash_value", ()))
        events = self.listeners("jackfield_task_events")
        self.observers = tuple(one for one in events if not one.disabled)
        moves = self.listeners("jackfield_transfer_events")
        self.transfer_observers = tuple(one for one in moves if not one.disabled)
        self.credentials = functions(self._compile("jackfield_credentials"))

    def _compile(self, hook: str) -> tuple[Compiled, ...]:
        return self._registrations.compile(hook, self._registrations.all())

    def _compile_scoped(
        self, hook: str, named: Sequence[Plugin]
    ) -> tuple[Compiled, ...]:
        """Compile for the plugins that are asked for every name, and for ``named``."""
        everyone = self._registrations.all()
        asked = [one for one in everyone if one.everywhere or one in named]
        return self._registrations.compile(hook, asked)
