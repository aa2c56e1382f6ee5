"""What the kernel asks its plugins, and tells them."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar, get_args

from jackfield.abc import CheckpointStore, Executor
from jackfield.errors import (
    ConfigurationError,
    PluginError,
    PluginLoadError,
    PluginNotFoundError,
    one_line,
)
from jackfield.messages import hide_secrets
from jackfield.plugins.collection import PluginCollection
from jackfield.plugins.compiled import first_answer, functions
from jackfield.plugins.hooks import SCOPED
from jackfield.plugins.loader import declaration, load_object
from jackfield.plugins.observers import tell_all, tell_events
from jackfield.plugins.scan import GROUPS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jackfield.config.finding import Request, Resolved
    from jackfield.events import Batch
    from jackfield.plugins.compiled import HookFunction
    from jackfield.plugins.hooks import Plugin
    from jackfield.plugins.scan import Kind
    from jackfield.staging.mover import Provider
    from jackfield.states import TaskEvent, TransferEvent
    from jackfield.stream import EventStream, StreamContext

T = TypeVar("T")

USUAL: Final[Mapping[Kind, str]] = {
    "keeper": "signed",
    "log": "plain",
    "mover": "files",
    "shell": "bash",
    "stream": "records",
    "walltime": "soft",
}
"""Which entry point of a kind does what no plugin that is asked first does."""

_EXECUTORS: Final[tuple[type[Executor | concurrent.futures.Executor], ...]] = (
    Executor,
    concurrent.futures.Executor,
)

StagingHook: TypeAlias = Literal[
    "jackfield_stage_in",
    "jackfield_stage_out",
    "jackfield_stat_file",
    "jackfield_list_files",
]

SHOWN: Final = "JACKFIELD_SHOWN"
"""Attribute of a plugin, or of its module: the options whose values are no secrets."""

ANY_SCHEME: Final = "any"
"""A staging plugin of this name is asked about every scheme after which no staging
plugin is named."""


def monitor_options(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plugin's options in a table ``[monitors.LABEL]``, not the kernel's."""
    of_kernel = {"plugin", "resources", "complete"}
    return {name: value for name, value in table.items() if name not in of_kernel}


class PluginManager(PluginCollection):
    """The plugins of one kernel, and the questions that the kernel has for them.

    There are three ways to ask. What is asked once is a method here, such as
    ``create_executor``. What is asked for each task or failure is in ``hooks``, ready
    to be called. What depends on a URL's scheme or a value's type is looked up by
    ``staging``, ``provider`` and ``value_hashers``, which remember it.
    """

    def _registered(self) -> None:
        self._staging: dict[tuple[str, str], tuple[HookFunction, ...]] = {}
        self._hashers: dict[str, tuple[HookFunction, ...]] = {}
        self._providers: dict[str, Provider] = {}
        super()._registered()

    # -- Asking

    def ask(
        self, hooks: Sequence[HookFunction], check: Callable[[Any], T], *arguments: Any
    ) -> T | None:
        """Return the first answer that is not ``None``, as ``check`` gives it back.

        An exception, of a hook or of ``check``, gets a note that names the plugin.
        """
        for hook in hooks:
            done = "Raised"
            try:
                answer = hook(*arguments)
                if answer is not None:
                    done = "Answered"
                    return check(answer)
            except BaseException as error:
                error.add_note(f"{done} by {self.describe(hook)}.")
                raise
        return None

    def find_configuration(self, request: Request | None = None) -> Resolved:
        """Ask for a configuration: plugins that are registered, then all installed.

        Without a request it is that of a program which says nothing. Where no plugin is
        installed, or all are blocked, what is given in Python counts.

        Raises:
            ConfigurationError: Something in the configuration is wrong, or nobody finds
                what the request names.
            PluginError: A plugin that finds configurations, or a profile, is broken.
        """
        from jackfield.config.finding import Resolved, given, make_request

        request = request or make_request()
        usable = self.catalogue.usable("configuration")
        named = [self.load("configuration", one.name) for one in usable]
        hooks = self._registrations.compile("jackfield_find_configuration", named)
        found = first_answer(hooks, (Resolved,), (request, self.profile))
        if found is not None:
            return found
        config = given(request)
        if config is None:
            raise ConfigurationError(
                "No plugin of the group jackfield.configuration finds files, tables "
                "and profiles: install or unblock one, or give a Config."
            )
        return Resolved(config)

    def create_executor(
        self, kind: str, label: str, options: Mapping[str, Any]
    ) -> Executor | concurrent.futures.Executor:
        """Ask for an executor: plugins that are registered, then the one of that name.

        Raises:
            PluginNotFoundError: No plugin answers, and none of that name is installed.
            JackfieldError: The plugin cannot be used, or gave something else; or what
                its hook raised, such as a ``ConfigurationError`` for an option.
        """
        return self.provide("executor", kind, _EXECUTORS, (kind, label, options))

    def open_checkpoint(self, url: str, options: Mapping[str, Any]) -> CheckpointStore:
        """Ask for a store: plugins that are registered, then that of the URL's scheme.

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
                f"The checkpoint store {hide_secrets(url)!r} names no plugin; write "
                f"a URL such as 'sqlite:///results.db'."
            ) from error

    def usual(self, kind: Kind, types: tuple[type[T], ...], *arguments: Any) -> T:
        """Ask plugins that are registered, then the one in ``USUAL``.

        Raises:
            PluginError: Nobody answers, and that one is blocked, missing or broken.
            JackfieldError: Whatever of our own the plugin's hook has raised.
        """
        return self.provide(kind, USUAL[kind], types, arguments)

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
        hook = SCOPED[kind][0]
        named: list[Plugin] = []
        problem: PluginError | None = None
        try:
            named.append(self.load(kind, name))
        except PluginError as error:
            problem = error
        compiled = self._registrations.compile(hook, named)
        answer = first_answer(compiled, types, arguments)
        if answer is not None:
            return answer
        if problem is not None:
            raise problem
        reason = f"its {hook} answers None for its own name."
        raise PluginLoadError(name, named[0].origin, reason)

    def check_options(
        self, kind: Kind, plugin: str, name: str, options: Mapping[str, Any]
    ) -> bool:
        """Have a plugin check the options for a name; tell whether it has a check.

        Raises:
            ConfigurationError: An option is unknown or has a wrong value.
            PluginError: There is no such plugin, or it cannot be used.
        """
        staging = kind == "staging"
        found = self._serving(name) if staging else [self.load(kind, plugin)]
        hooks = self._registrations.compile("jackfield_check_options", found)
        return bool(first_answer(hooks, (bool,), (kind, name, options)))

    def shown_options(self, kind: Kind, name: str) -> Sequence[str]:
        """Return which options of a plugin may be shown: its ``JACKFIELD_SHOWN``.

        Nobody knows which plugin will answer for a name that no entry point has. So
        what counts there is what all declare that may. Never raises: of a plugin that
        cannot be used no option is shown.
        """
        said: list[Any] = []
        if name not in self.installed(kind):
            hooks = {*SCOPED.get(kind, ())}
            able = [one for one in self.registered() if hooks & {*one.hooks.names}]
            said = [getattr(one.plugin, SHOWN, None) for one in able]
            name = ANY_SCHEME if kind == "staging" else name
        try:
            if name in self.installed(kind):
                entry = self.catalogue.pick(kind, name)
                said.append(declaration(load_object(entry), entry, SHOWN))
        except PluginError:
            return ()
        # A text alone would be a collection too: of letters.
        kinds = (list, tuple, AbstractSet)
        lists = [one if isinstance(one, kinds) else () for one in said]
        first, *others = lists or [()]
        return [name for name in first if all(name in other for other in others)]

    # -- Files and memo keys

    def provider(self, scheme: str) -> Provider:
        """Return the functions of plugins that move the bytes of a scheme.

        Raises:
            PluginError: The entry point cannot be used.
        """
        # Another tuple shows that a plugin has come or gone since this was kept.
        known = self._providers.get(scheme)
        if known and known.stage_in is self.staging(scheme, "jackfield_stage_in"):
            return known
        from jackfield.staging.mover import Provider  # few runs need it

        names: tuple[StagingHook, ...] = get_args(StagingHook)
        hooks = {name: self.staging(scheme, name) for name in names}
        # The plugin that is named ``any`` serves other schemes, and none of that name.
        served = tuple(one for one in self.installed("staging") if one != ANY_SCHEME)
        known = self._providers[scheme] = Provider(
            hooks["jackfield_stage_in"],
            hooks["jackfield_stage_out"],
            hooks["jackfield_stat_file"],
            hooks["jackfield_list_files"],
            {one: self.describe(one) for found in hooks.values() for one in found},
            served,
        )
        return known

    def create_stream(self, around: StreamContext) -> EventStream:
        """Ask for what tells observers, as ``usual`` does.

        Raises:
            PluginError: As there; it says which observers need it.
        """
        from jackfield.stream import EventStream  # a run without observers needs none

        try:
            return self.usual("stream", (EventStream,), around)
        except PluginError as error:
            hooks = self.hooks
            told = (*hooks.run_events, *hooks.task_events, *hooks.transfer_events)
            reason = (
                f"{one_line(error).rstrip('.')}. It is needed to tell "
                f"{', '.join(one.who for one in told)}: install or unblock it, or "
                f"register a plugin with jackfield_create_stream."
            )
            group = f"group {GROUPS['stream']}"
            raise PluginLoadError(USUAL["stream"], group, reason) from error

    def serves(self, scheme: str) -> bool:
        """Tell whether some plugin may move the files of a scheme."""
        hooks: tuple[StagingHook, ...] = get_args(StagingHook)
        known = scheme in self.installed("staging")
        return known or any(self.staging(scheme, hook) for hook in hooks)

    def staging(
        self, scheme: str, hook: StagingHook
    ) -> tuple[Callable[[Any], Any], ...]:
        """Return the hook functions to ask about URLs of a scheme, in order.

        The program's plugins come first, then the entry point named like the scheme
        or else ``any``, loaded now.

        Raises:
            PluginError: The entry point cannot be used.
        """
        known = self._staging.get((scheme, hook))
        if known is not None:
            return known
        named = self._serving(scheme)
        # Compiled and kept under one lock. If another thread could register a plugin
        # between the two, it would clear the cache first, and then what was compiled
        # without that plugin would go into the cache and stay there.
        with self._registrations.lock:
            known = functions(self._registrations.compile(hook, named))
            self._staging[scheme, hook] = known
        return known

    def _serving(self, scheme: str) -> list[Plugin]:
        """Load the entry point that serves a scheme; return it in a list, or none.

        Nobody has asked for ``any`` by name, so if it is broken there is only a
        warning.
        """
        installed = self.installed("staging")
        if scheme in installed and scheme != ANY_SCHEME:
            return [self.load("staging", scheme)]
        if ANY_SCHEME not in installed:
            return []
        plugin = self._load_unasked("staging", ANY_SCHEME)
        if plugin is None:
            return []
        asked = self._registrations.compile_of(plugin, "jackfield_serves_scheme")
        return [] if first_answer(asked, (bool,), (scheme,)) is False else [plugin]

    def value_hashers(
        self, value_type: type
    ) -> tuple[Callable[[object], bytes | None], ...]:
        """Return the hook functions to ask for the identity of a type's values.

        The program's plugins come first, then the entry point of the group
        ``jackfield.memo`` that is named like the root module of the type, loaded now.
        If that one is broken there is a warning, and the others are asked.

        Raises:
            PluginError: It is broken, and the list of allowed plugins names it.
        """
        root = str(value_type.__module__).partition(".")[0]
        known = self._hashers.get(root)
        if known is not None:
            return known
        usable = any(entry.name == root for entry in self.catalogue.usable("memo"))
        plugin = self._load_unasked("memo", root) if usable else None
        named = [plugin] if plugin else []
        with self._registrations.lock:  # for the same reason as in `staging`
            compiled = self._registrations.compile("jackfield_hash_value", named)
            known = self._hashers[root] = functions(compiled)
        return known

    # -- Telling

    def add_monitors(self, tables: Mapping[str, Mapping[str, Any]]) -> None:
        """Have the monitors of a configuration made, and register them.

        Raises:
            PluginNotFoundError: No plugin answers, and none of that name is installed.
            JackfieldError: The plugin cannot be used; or what its hook raised, such as
                a ``ConfigurationError`` for an option.
        """
        for label, table in tables.items():
            kind, options = table["plugin"], monitor_options(table)
            arguments = (kind, label, options)
            made = self.provide("monitor", kind, (object,), arguments)
            self.register(made, f"monitors.{label}")

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
        self,
        tasks: Sequence[TaskEvent],
        transfers: Sequence[TransferEvent] = (),
        batch: Batch | None = None,
    ) -> None:
        """Tell observers, on one thread only; drop those that fail again and again."""
        told = [tell_events(self.hooks.task_events, self.log, tasks)]
        told += [tell_events(self.hooks.transfer_events, self.log, transfers)]
        told += [tell_events(self.hooks.run_events, self.log, batch)]
        if not all(told):
            with self._registrations.lock:
                self._registered()
