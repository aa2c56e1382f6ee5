"""Makes one checked configuration of all the sources that there are."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from jackfield.config import sources
from jackfield.config.check import PYTHON, check_names, checked, spelled
from jackfield.config.found import OFF, VARIABLE, Found, search
from jackfield.config.merge import DEFAULT, Layer, Merged, leaves
from jackfield.config.model import Config, changed_values, field_names, field_values
from jackfield.errors import ConfigurationError

if TYPE_CHECKING:
    from jackfield.config.sources import Profiles

Source: TypeAlias = "Config | str | os.PathLike[str] | Mapping[str, Any] | None"


@dataclass(frozen=True, slots=True)
class Resolved:
    """A configuration, and where each of its values came from.

    Attributes:
        config: The configuration.
        origins: Key as files write it, with dots, to its source: the path of a file,
            ``"environment variable JACKFIELD_RETRIES"``, ``"Python"`` or ``"default"``.
        files: The files that were read, the strongest last.
        looked: Where files were looked for, in order, in words.
    """

    config: Config
    origins: Mapping[str, str]
    files: Sequence[str] = ()
    looked: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What ``set_default_source`` was told, for all kernels of this process."""

    source: Source = None
    profile: str | None = None
    assigned: tuple[Layer, ...] = ()
    plugins: tuple[object, ...] = ()


_chosen = _Chosen()


def set_default_source(
    source: Source = None,
    /,
    *,
    profile: str | None = None,
    assign: Sequence[str] = (),
    plugins: Sequence[object] = (),
) -> None:
    """Choose, from outside, how the kernels of this process are configured.

    For programs that run other people's scripts. Replaces an earlier choice; call
    it without arguments to take the choice back. Call it before any kernel loads.

    Args:
        source: Used wherever a program names none: ``load()``.
        profile: Used for every kernel, above any profile that a program names.
        assign: ``"KEY=VALUE"`` texts, for every kernel, above all other sources.
        plugins: Plugin objects added to those of every kernel.

    Raises:
        ConfigurationError: A text of ``assign`` is not of that form, or names an
            unknown key. Nothing is changed then.
    """
    global _chosen  # noqa: PLW0603  (a process has one command line)
    source, profile = _without_profile(source, profile)
    assigned = tuple(sources.assignments(assign))
    _chosen = _Chosen(source, profile, assigned, tuple(plugins))


def resolve(
    source: Source = None,
    /,
    *,
    profiles: Profiles,
    profile: str | None = None,
    plugins: Sequence[object] = (),
    directory: Path | None = None,
    environ: Mapping[str, str] | None = None,
    **overrides: object,
) -> Resolved:
    """Put a configuration together from all its sources.

    In rising precedence: defaults, the source, a profile, environment variables,
    keyword arguments (fields of ``Config``, whose tables may be partial), and what
    ``set_default_source`` assigns. ``plugins`` are added to those that the source
    gives. ``profiles`` gives the object that a profile's entry point names.

    A source that is a ``Config``, a mapping in the form of ``jackfield.toml``, or the
    path of such a file is complete, and so is the file that ``JACKFIELD_CONFIG`` names.
    With ``None``, or the name of a profile (text with no path separator and no
    ``.toml`` at its end), files are searched, beginning at ``directory``: see
    ``jackfield.config.found.search``.

    Raises:
        ConfigurationError: A file cannot be read, a key is unknown, or a value
            cannot be. It names key and source.
        PluginNotFoundError: No profile has that name; raised by ``profiles``.
    """
    environ = os.environ if environ is None else environ
    source, profile = _without_profile(source, profile)
    source = _chosen.source if source is None else source
    profile = _chosen.profile or profile or environ.get(sources.PROFILE_VARIABLE)

    merged, found = Merged(), _source_layers(source, directory, environ)
    merged.lay(found.layers)
    if profile:
        merged.lay([sources.profile(profile, profiles)])
    merged.lay(sources.environment(environ, merged.values))
    check_names(overrides, field_names(), PYTHON)
    merged.lay([Layer(PYTHON, overrides)])
    merged.lay(_chosen.assigned)
    added = Config(plugins=plugins).plugins  # checked
    config, origins = _finished(merged, [*added, *_chosen.plugins])
    return Resolved(config, origins, found.files, found.looked)


def _without_profile(source: Source, profile: str | None) -> tuple[Source, str | None]:
    """Return a source that names a profile as the profile instead."""
    if not isinstance(source, str) or source.endswith(".toml") or os.sep in source:
        return source, profile
    return None, profile or source


def _source_layers(
    source: Source, directory: Path | None, environ: Mapping[str, str]
) -> Found:
    named = environ.get(VARIABLE, "")
    if source is None and named and named.lower() != OFF:
        source = Path(named)
    match source:
        case None:
            return search(directory, environ)
        case Config():
            return Found([Layer(PYTHON, changed_values(source))])
        case Mapping():
            return Found([sources.document(source, PYTHON)])
        case str() | os.PathLike():
            path = Path(source).expanduser()
            return Found([sources.file(path)], [str(path)])
    raise ConfigurationError(
        f"A configuration is a Config, a table, a profile's name or the path of a "
        f"TOML file, not {type(source).__name__}."
    )


def _finished(
    merged: Merged, plugins: Sequence[object]
) -> tuple[Config, Mapping[str, str]]:
    """Check the merged values; return the configuration, and each key's source."""
    _add_default_plugin(merged.values)
    values = field_values(Config()) | merged.values
    config = Config(**checked(values, merged.origin))
    config = replace(config, plugins=(*config.plugins, *plugins))
    origins = merged.origins
    shown = {spelled(key): origins.get(key, DEFAULT) for key, _ in leaves(config)}
    return config, shown


def _add_default_plugin(values: Mapping[str, Any]) -> None:
    """Add the plugin to a table for the default executor's label that names none.

    So ``[executors.threads] workers = 16`` is enough.
    """
    executors = values.get("executors")
    for label, default in Config().executors.items():
        table = executors.get(label) if isinstance(executors, dict) else None
        if isinstance(table, dict) and isinstance(default, Mapping):
            table.setdefault("plugin", default["plugin"])
