"""What is installed and registered, as ``jackfield plugins`` shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jackfield.plugins.hooks import Plugin
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
    """

    kind: str
    name: str
    distribution: str
    version: str
    loaded: bool
    hooks: tuple[str, ...]
    problem: str | None
    blocked: bool = False


def describe_entry(
    entry: EntryPoint, plugin: Plugin | None, refusal: str | None, problem: str | None
) -> PluginInfo:
    """Describe an entry point, and the plugin made of it if there is one.

    Args:
        entry: The entry point.
        plugin: What is registered of it, if it is loaded.
        refusal: Why it was not to be used, if so.
        problem: What else is wrong with it, if anything.
    """
    return PluginInfo(
        entry.kind,
        entry.name,
        entry.distribution,
        entry.version,
        loaded=plugin is not None,
        hooks=plugin.hooks.names if plugin else (),
        problem=plugin.problem if plugin else refusal or problem,
        blocked=refusal is not None,
    )


def describe_registered(plugin: Plugin) -> PluginInfo:
    """Describe a plugin that the program has registered."""
    return PluginInfo(
        "registered", plugin.name, "", "", True, plugin.hooks.names, plugin.problem
    )
