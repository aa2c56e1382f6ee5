"""What is installed: the entry points, which of them may be used, which are broken.

An entry point that could not be loaded is in quarantine: the next one who asks for it
gets the same error at once, instead of a second try at an import that has failed.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any

from jackfield.errors import (
    DuplicatePluginError,
    PluginLoadError,
    PluginNotFoundError,
    PluginWarning,
)
from jackfield.plugins.loader import load_plugin
from jackfield.plugins.scan import GROUPS, EntryPoint, Kind, find_entry_points

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jackfield.plugins.selection import Selection


class Catalogue:
    """Entry points under a selection. Every method may be called on any thread.

    ``found`` are the entry points, if they have been looked for already.

    Attributes:
        selection: Which of them may be used.
        problems: Those that turned out to be unusable, and why.
    """

    def __init__(
        self, selection: Selection, found: tuple[EntryPoint, ...] | None = None
    ) -> None:
        self.selection: Selection = selection
        self.problems: dict[EntryPoint, PluginLoadError] = {}
        self._found: tuple[EntryPoint, ...] | None = found
        self._objects: dict[tuple[str, str], object] = {}
        self._lock = Lock()

    def entries(self, kind: Kind | None = None) -> tuple[EntryPoint, ...]:
        """Return the entry points of a kind or of all, sorted; scans once."""
        found = self._found
        if found is None:
            found = self._found = find_entry_points()
        if kind is None:
            return found
        return tuple(entry for entry in found if entry.kind == kind)

    def names(self, kind: Kind | None = None) -> tuple[str, ...]:
        """Return the names of a kind or of all, sorted."""
        return tuple(sorted({entry.name for entry in self.entries(kind)}))

    def usable(self, kind: Kind) -> tuple[EntryPoint, ...]:
        """Return a kind's entry points that nothing blocks."""
        return tuple(
            entry for entry in self.entries(kind) if not self.selection.refusal(entry)
        )

    def pick(self, kind: Kind, name: str) -> EntryPoint:
        """Return the one entry point of a name; our own takes it from all others.

        Raises:
            PluginNotFoundError: There is none.
            PluginLoadError: It is blocked.
            DuplicatePluginError: There are several of others.
        """
        found = [entry for entry in self.entries(kind) if entry.name == name]
        if not found:
            raise PluginNotFoundError(kind, name, self.names(kind))
        for own in [entry for entry in found if entry.ours][:1]:
            for other in [entry for entry in found if not entry.ours]:
                text = f"{other.origin} offers {kind} {name!r} too. Our own is used."
                warnings.warn(text, PluginWarning, stacklevel=2)
            found = [own]
        refusal = self.selection.refusal(found[0])
        if refusal:
            raise PluginLoadError(name, found[0].origin, refusal)
        if len(found) > 1:
            origins = tuple([entry.origin for entry in found])
            raise DuplicatePluginError(GROUPS[kind], name, origins)
        return found[0]

    def plugin_of(
        self, entry: EntryPoint, options: Mapping[str, Any] | None = None
    ) -> object:
        """Import an entry point's object; of a class, an instance.

        Entry points of a distribution that name the same class share its instance,
        unless it has options. Raises what ``load_plugin`` does.
        """
        if options is not None:
            return load_plugin(entry, options)
        place = (entry.origin, entry.value)
        with self._lock:
            known = self._objects.get(place)
        if known is None:
            made = load_plugin(entry)  # outside the lock: it runs the plugin's code
            with self._lock:
                known = self._objects.setdefault(place, made)
        return known

    @contextmanager
    def quarantine(self, entry: EntryPoint) -> Iterator[None]:
        """Remember a failure to load an entry point; after one, fail at once.

        Raises:
            PluginLoadError: What was wrong earlier.
        """
        earlier = self.problems.get(entry)
        if earlier:
            raise PluginLoadError(*earlier.args) from earlier.__cause__
        try:
            yield
        except PluginLoadError as error:
            self.problems[entry] = error
            raise
