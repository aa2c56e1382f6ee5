"""The hooks of one plugin, checked: what is registered with pluggy.

Handing plugins to pluggy as they are has three traps. It compares them with ``==`` and
puts them into sets, which goes wrong with an object whose ``__eq__`` does something
else. It checks the arguments of hook functions, but accepts kinds of hooks that cannot
work here. And it passes over a function that is named like a hook and has lost its
decorator. So pluggy never sees a plugin: it sees a ``Hooks`` made of it, which has the
hook functions and nothing else, each of them checked here first.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, Final

import pluggy

from jackfield import hookspecs
from jackfield.errors import PluginLoadError, one_line, suggest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jackfield.plugins.observers import Observer
    from jackfield.plugins.scan import Kind

SPECS: Final[Mapping[str, Callable[..., Any]]] = {
    name: spec
    for name, spec in vars(hookspecs).items()
    if name.startswith("jackfield_")
}
"""Hook name to its specification."""

SCOPED: Final[Mapping[Kind, tuple[str, ...]]] = {
    "configuration": ("jackfield_find_configuration",),
    "log": ("jackfield_open_log",),
    "executor": ("jackfield_create_executor",),
    "walltime": ("jackfield_create_walltime",),
    "shell": ("jackfield_create_command",),
    "staging": (
        "jackfield_stage_in",
        "jackfield_stage_out",
        "jackfield_stat_file",
        "jackfield_list_files",
        "jackfield_serves_scheme",
    ),
    "mover": ("jackfield_create_mover",),
    "keeper": ("jackfield_create_keeper",),
    "checkpoint": ("jackfield_open_checkpoint",),
    "memo": ("jackfield_create_key_maker", "jackfield_hash_value"),
    "stream": ("jackfield_create_stream",),
    "monitor": ("jackfield_create_monitor",),
    "command": ("jackfield_register_commands",),
}
"""Kind of entry point to the hooks by which its plugins are asked about their own name
only: the executor plugin ``a`` never hears of ``plugin = "b"``. Where a kind's plugins
are loaded for an object, the first hook makes it."""

SCOPED_HOOKS: Final = frozenset(
    ("jackfield_check_options", *(hook for hooks in SCOPED.values() for hook in hooks))
)
"""The hooks for which that is so: those, and one that several kinds share."""

_FUNCTIONS: Final = FunctionType | MethodType | staticmethod | classmethod

NOTIFICATIONS: Final = tuple(
    name
    for name, spec in SPECS.items()
    if not spec.jackfield_spec["firstresult"]  # type: ignore[attr-defined]  # pluggy's mark
)
"""The hooks whose results are ignored."""


class Hooks:
    """The hook functions of a plugin, as attributes. Compared by identity.

    Attributes:
        options: Attribute name to what ``hookimpl`` was told there.
    """

    def __init__(
        self,
        functions: Mapping[str, Callable[..., Any]],
        options: Mapping[str, pluggy.HookimplOpts],
    ) -> None:
        self.options: Mapping[str, pluggy.HookimplOpts] = options
        vars(self).update(functions)

    @property
    def names(self) -> tuple[str, ...]:
        """The hooks that are implemented, sorted."""
        return tuple(sorted({_hook(*one) for one in self.options.items()}))


@dataclass(eq=False, repr=False, slots=True)
class Plugin:
    """A registered plugin.

    Attributes:
        name: The entry point's name, or what the program called it.
        origin: Distribution and version, or where the object came from.
        plugin: The object itself.
        hooks: What is registered for it.
        from_program: Whether the program registered it, not an entry point.
        always_asked: Whether its scoped hooks are asked whatever the name. True for
            plugins of the program and for those that belong to no name; an entry point
            of a kind in ``SCOPED`` is asked about its own.
        observers: Notification to this plugin's functions that are told of it.
    """

    name: str
    origin: str
    plugin: object
    hooks: Hooks
    from_program: bool = False
    always_asked: bool = False
    observers: dict[str, tuple[Observer, ...]] = field(default_factory=dict)

    @property
    def problem(self) -> str | None:
        """How it fails, in a sentence, if it does."""
        everyone = (one for group in self.observers.values() for one in group)
        return next((one.problem for one in everyone if one.problem), None)

    def __str__(self) -> str:
        return f"plugin {self.name!r} ({self.origin})"


class HookRegistry(pluggy.PluginManager):
    """pluggy's manager, for ``Hooks``."""

    def __init__(self) -> None:
        super().__init__("jackfield")
        self.add_hookspecs(hookspecs)

    def parse_hookspec_opts(
        self, module_or_class: object, name: str
    ) -> pluggy.HookspecOpts | None:
        """Return the options of a hook; pluggy's way is for modules of others."""
        return getattr(vars(module_or_class)[name], "jackfield_spec", None)

    def parse_hookimpl_opts(
        self, plugin: object, name: str
    ) -> pluggy.HookimplOpts | None:
        """Return the options of one attribute, if it is a hook."""
        if isinstance(plugin, Hooks):
            return plugin.options.get(name)
        return super().parse_hookimpl_opts(plugin, name)

    def find_hooks(self, plugin: object, name: str, origin: str) -> Hooks:
        """Collect and check the hooks of a plugin; nothing is registered yet.

        Raises:
            PluginLoadError: It has none, or one that could not work.
        """
        try:
            options = {
                attribute: found
                for attribute in _attributes(plugin)
                if (found := self.parse_hookimpl_opts(plugin, attribute)) is not None
            }
            functions = {attribute: getattr(plugin, attribute) for attribute in options}
            reason = _what_is_wrong(plugin, options)
        except Exception as error:  # its __dir__ or __getattribute__ may do anything
            reason = f"looking for its hooks raised {one_line(error)}"
            raise PluginLoadError(name, origin, reason) from error
        if reason:
            raise PluginLoadError(name, origin, reason)
        return Hooks(functions, options)

    def add(self, plugin: Plugin, name: str) -> None:
        """Register a plugin's hooks under a name that is free, or leave no trace.

        Raises:
            PluginLoadError: A function has an argument that its hook does not.
        """
        try:
            self.register(plugin.hooks, name)
            self.check_pending()
        except pluggy.PluginValidationError as error:
            if self.has_plugin(name):
                self.unregister(plugin.hooks)
            reason = _wrong_argument(plugin.hooks) or " ".join(str(error).split())
            raise PluginLoadError(plugin.name, plugin.origin, reason) from error

    def free_name(self, wanted: str) -> str:
        """Return a name that nobody has: the wanted one, or with a number behind."""
        name, number = wanted, 1
        while self.has_plugin(name):
            number += 1
            name = f"{wanted}-{number}"
        return name


def _attributes(plugin: object) -> list[str]:
    """Return the attributes that may be hooks; of a module, its functions only."""
    own = vars(plugin) if type(plugin) is ModuleType else None
    return [n for n in dir(plugin) if own is None or isinstance(own.get(n), _FUNCTIONS)]


def _hook(attribute: str, options: pluggy.HookimplOpts) -> str:
    return options.get("specname") or attribute


def _what_is_wrong(
    plugin: object, options: Mapping[str, pluggy.HookimplOpts]
) -> str | None:
    for name in sorted(SPECS.keys() & {*dir(plugin)}):
        if name not in options and inspect.getattr_static(plugin, name, None):
            return f"its {name} is not marked with @jackfield.hookimpl."
    if not options:
        return "it has no function that is marked with @jackfield.hookimpl."
    problems = (_wrong_hook(_hook(*one), one[1]) for one in options.items())
    return next(filter(None, problems), None)


def _wrong_hook(hook: str, options: pluggy.HookimplOpts) -> str | None:
    if hook not in SPECS:
        if options.get("optionalhook"):
            return None
        return f"it implements {hook!r}, which is no hook{suggest(hook, SPECS)}"
    if options.get("hookwrapper"):
        return f"its {hook} is a hookwrapper; write it with wrapper=True."
    if options.get("wrapper") and hook in NOTIFICATIONS:
        return f"its {hook} is a wrapper; plugins are told of this one by one."
    return None


def _wrong_argument(hooks: Hooks) -> str | None:
    """Name the first argument that a function wants and its hook does not give."""
    for attribute, options in hooks.options.items():
        hook = _hook(attribute, options)
        if hook not in SPECS:
            continue
        given = inspect.signature(SPECS[hook]).parameters
        wanted = inspect.signature(getattr(hooks, attribute)).parameters.values()
        for one in wanted:
            if one.name not in given and one.default is one.empty:
                return (
                    f"its {hook} takes {one.name!r}, which this hook does not "
                    f"give{suggest(one.name, given)} It gives: {', '.join(given)}."
                )
    return None


def default_name(plugin: object) -> str:
    """Return what to call a plugin that is given no name."""
    named = plugin if isinstance(plugin, ModuleType | type) else type(plugin)
    return named.__name__


def home(plugin: object) -> str:
    """Return where a plugin of the program comes from, as messages have it."""
    if isinstance(plugin, ModuleType):
        return "registered by the program"
    module = (plugin if isinstance(plugin, type) else type(plugin)).__module__
    return f"registered by the program, from {module}"
