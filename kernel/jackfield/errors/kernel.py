"""Errors of a kernel as a whole: configuration, start and end, plugins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jackfield.errors.base import JackfieldError, suggest

if TYPE_CHECKING:
    from collections.abc import Iterable


class ConfigurationError(JackfieldError, ValueError):
    """An option is unknown, of the wrong type or out of range."""


class NoDataFlowKernelError(JackfieldError, RuntimeError):
    """An app was called, or ``dfk()`` asked for, before ``load()``."""

    def __str__(self) -> str:
        """Say what to do first."""
        return "No kernel is loaded: call jackfield.load() first, or use `with`."


class KernelClosedError(JackfieldError, RuntimeError):
    """A task was submitted to a kernel that is closed, closing or stopped."""


class PluginError(JackfieldError):
    """Something is wrong with a plugin."""


class PluginNotFoundError(PluginError, LookupError):
    """No installed plugin has the name that was asked for.

    Attributes:
        kind: ``"executor"``, ``"staging"``, ``"checkpoint"``, ``"memo"`` or
            ``"profile"``.
        name: The name that was asked for.
        installed: The names that would have worked, sorted.
    """

    def __init__(self, kind: str, name: str, installed: Iterable[str]) -> None:
        self.kind: str = kind
        self.name: str = name
        self.installed: tuple[str, ...] = tuple(sorted(installed))
        super().__init__(kind, name, self.installed)

    def __str__(self) -> str:
        """Name the nearest plugin and all that are installed."""
        names = ", ".join(self.installed) or "none"
        hint = suggest(self.name, self.installed)
        return f"No {self.kind} plugin is named {self.name!r}{hint} Installed: {names}."


class PluginLoadError(PluginError, ImportError):
    """A plugin that was asked for cannot be used.

    Attributes:
        plugin: The entry point's name, or the name under which it was registered.
        origin: The distribution and its version, or where the object came from.
        reason: What went wrong, in a sentence.
    """

    def __init__(self, plugin: str, origin: str, reason: str) -> None:
        self.plugin: str = plugin
        self.origin: str = origin
        self.reason: str = reason
        super().__init__(plugin, origin, reason)

    def __str__(self) -> str:
        """Name plugin, distribution and cause."""
        return f"Plugin {self.plugin!r} ({self.origin}) cannot be used: {self.reason}"


class DuplicatePluginError(PluginError):
    """Two distributions offer a plugin of one kind under one name.

    Attributes:
        group: The entry-point group.
        name: The name that both have.
        origins: Both distributions with their versions.
    """

    def __init__(self, group: str, name: str, origins: Iterable[str]) -> None:
        self.group: str = group
        self.name: str = name
        self.origins: tuple[str, ...] = tuple(origins)
        super().__init__(group, name, self.origins)

    def __str__(self) -> str:
        """Name both distributions, and say what to do."""
        return (
            f"Two plugins are named {self.name!r} in {self.group}: "
            f"{' and '.join(self.origins)}. Uninstall one of them."
        )


class PluginWarning(UserWarning):
    """An installed plugin cannot be used, and is left out.

    It is an error instead if the plugin was asked for by its name.
    """
