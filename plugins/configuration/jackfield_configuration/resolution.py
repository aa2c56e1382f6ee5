"""Makes one checked configuration of all the sources that there are."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jackfield import hookimpl
from jackfield.config import Config, Request, Resolved
from jackfield.config.check import PYTHON, checked, spelled
from jackfield.config.model import changed_values, field_values
from jackfield.config.shown import leaves
from jackfield.errors import ConfigurationError
from jackfield_configuration import sources
from jackfield_configuration.found import OFF, VARIABLE, Found, search
from jackfield_configuration.merge import DEFAULT, Layer, Merged

if TYPE_CHECKING:
    from jackfield.config.finding import Source


@hookimpl(trylast=True)
def jackfield_find_configuration(
    request: Request, profiles: Callable[[str], object]
) -> Resolved:
    """Put a configuration together from all its sources.

    In rising precedence: defaults, the source, a profile, environment variables,
    options, and what is assigned from outside. Defaults that come from outside count
    for those fields of which none of the sources before says anything.

    A source that is a ``Config``, a mapping in the form of ``jackfield.toml``, or the
    path of such a file is complete, and so is the file that ``JACKFIELD_CONFIG`` names.
    With none, files are searched: see ``jackfield_configuration.found.search``.

    Raises:
        ConfigurationError: A file cannot be read, a key is unknown, or a value is
            wrong. It names key and source.
        PluginNotFoundError: No profile has that name; raised by ``profiles``.
    """
    environ = request.environ
    profile = request.profile or environ.get(sources.PROFILE_VARIABLE)
    found = _source_layers(request.source, request.directory, environ)
    merged = Merged()
    merged.lay(found.layers)
    if profile:
        merged.lay([sources.profile(profile, profiles)])
    merged.lay(sources.environment(environ, merged.values))
    merged.lay([Layer(PYTHON, request.options)])
    said = set(merged.values)
    defaults = sources.assignments(request.defaults)
    merged.lay([one for one in defaults if said.isdisjoint(one.values)])
    merged.lay(sources.assignments(request.assigned))
    config, origins = _finished(merged, request.plugins)
    return Resolved(config, origins, found.files, found.looked)


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
    from jackfield import DataFlowKernel  # a heavy import, and only this error needs it

    what = f"not {type(source).__name__}."
    if source is Config:
        what = "not its class: write Config()."
    elif isinstance(source, DataFlowKernel):
        what = "not a kernel, which runs already: call its submit(app, ...)."
    raise ConfigurationError(
        f"A configuration is a Config, a table, a profile's name or the path of a "
        f"TOML file, {what}"
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
