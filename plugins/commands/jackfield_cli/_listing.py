"""What is installed and registered, as ``jackfield plugins`` shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jackfield.errors import PluginError

if TYPE_CHECKING:
    from jackfield.plugins import PluginManager
    from jackfield.plugins.scan import EntryPoint


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """One plugin.

    Attributes:
        kind: ``"executor"``, ``"staging"``, ``"checkpoint"``, ``"memo"``,
            ``"command"``, ``"plugin"``, ``"profile"``; or ``"registered"`` by the
            program.
        name: Its name in its kind.
        distribution: What installed it; ``""`` for a registered one.
        version: Of that distribution.
        loaded: Whether it is imported and in use.
        hooks: The hooks that it implements; known once it is loaded.
        problem: Why it cannot be used, or how it fails, in a sentence.
        blocked: Whether the problem is only that it was not to be used.
        absent: Whether the problem is only that it lacks an optional package.
    """

    kind: str
    name: str
    distribution: str
    version: str
    loaded: bool
    hooks: tuple[str, ...]
    problem: str | None
    blocked: bool = False
    absent: bool = False


def listing(manager: PluginManager) -> list[PluginInfo]:
    """Describe every entry point and every registered object, importing none."""
    return [_described(manager, one) for one in manager.catalogue.entries()] + [
        PluginInfo("registered", one.name, "", "", True, one.hooks.names, one.problem)
        for one in manager.registered()
    ]


def load_all(manager: PluginManager) -> list[PluginInfo]:
    """Load all that is installed and may be used, and describe it."""
    for entry in manager.catalogue.entries():
        try:
            if entry.kind == "profile":
                manager.profile(entry.name)
            else:
                manager.load(entry.kind, entry.name)
        except PluginError:
            continue  # the listing tells
    return listing(manager)


def _described(manager: PluginManager, entry: EntryPoint) -> PluginInfo:
    refusal = manager.catalogue.selection.refusal(entry)
    plugin = manager.loaded.get(entry)
    return PluginInfo(
        entry.kind,
        entry.name,
        entry.distribution,
        entry.version,
        loaded=plugin is not None,
        hooks=plugin.hooks.names if plugin else (),
        problem=plugin.problem if plugin else refusal or _problem(manager, entry),
        blocked=refusal is not None,
        absent=_lacks_package(manager, entry),
    )


def _problem(manager: PluginManager, entry: EntryPoint) -> str | None:
    known = manager.catalogue.problems.get(entry)
    if known:
        return known.reason
    rivals = " and ".join(
        other.origin
        for other in manager.catalogue.entries(entry.kind)
        if other.name == entry.name and other != entry and not entry.ours
    )
    return f"{rivals} has a plugin of that name too." if rivals else None


def _lacks_package(manager: PluginManager, entry: EntryPoint) -> bool:
    """Tell whether it only lacks a package that one may go without."""
    problem = manager.catalogue.problems.get(entry)
    missing = isinstance(problem and problem.__cause__, ModuleNotFoundError)
    return missing and (entry.ours or bool(entry.extras))
