"""Which staging plugin serves a URL's scheme.

A plugin is named like the scheme that it serves. One name is special: the plugin called
``any`` is asked about every scheme that no other plugin is named like.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

if TYPE_CHECKING:
    from jackfield.plugins.hooks import Plugin

StagingHook: TypeAlias = Literal[
    "jackfield_stage_in",
    "jackfield_stage_out",
    "jackfield_stat_file",
    "jackfield_list_files",
]

ANY_SCHEME: Final = "any"
"""Name of the entry point for the schemes that have none of their own."""


def serving(
    scheme: str,
    installed: Collection[str],
    load: Callable[[str], Plugin],
    try_to_load: Callable[[str], Plugin | None],
    serves: Callable[[Plugin, str], bool],
) -> list[Plugin]:
    """Load the entry point that serves a scheme; return it in a list, or no plugin.

    Args:
        scheme: The scheme.
        installed: Names of the staging entry points.
        load: Loads the one that is named like the scheme; raises if it is broken.
        try_to_load: Loads ``any``, which nobody has asked for by name: if it is broken,
            this warns and returns ``None``.
        serves: Asks ``any`` whether it serves the scheme at all.

    Raises:
        PluginError: It cannot be used.
    """
    if scheme in installed and scheme != ANY_SCHEME:
        return [load(scheme)]
    if ANY_SCHEME not in installed:
        return []
    plugin = try_to_load(ANY_SCHEME)
    return [plugin] if plugin is not None and serves(plugin, scheme) else []
