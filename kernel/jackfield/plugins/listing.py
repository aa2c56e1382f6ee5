"""What is installed and registered, as ``jackfield plugins`` shows it."""

from __future__ import annotations

from dataclasses import dataclass


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
