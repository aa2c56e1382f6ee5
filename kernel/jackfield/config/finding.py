"""What is asked of whoever finds a configuration, and what comes back.

Files, profiles and the environment are a plugin's business: see the hook
``jackfield_find_configuration``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

from jackfield.config.check import COMMAND_LINE, PYTHON, check_names
from jackfield.config.model import KEYS, Config, field_names
from jackfield.errors import ConfigurationError

Source: TypeAlias = "Config | str | os.PathLike[str] | Mapping[str, Any] | None"
"""What a program may name as its configuration: see ``jackfield.load``."""


_ASSIGNMENT: Final = r"\s*([\w-]+)\s*(?:\.[^=\n]+)?="


class Request(NamedTuple):
    """What is known of a configuration before it is found.

    Attributes:
        source: What the program named, or ``None``; a profile's name is in ``profile``.
        profile: The profile that the program or the command line named, or ``None``.
        options: Fields of ``Config`` that the program gave one by one, names checked.
            Tables may be partial.
        assigned: ``"KEY=VALUE"`` texts of a command line; the first part of each key
            is one.
        defaults: Texts of the same form, each for where no other source says anything
            of the key's first name; what is assigned is laid above them.
        plugins: Plugin objects to add to those of the configuration.
        directory: Where a search for files begins. ``None``: where the script is.
        environ: The environment variables that count.
    """

    source: Source = None
    profile: str | None = None
    options: Mapping[str, Any] = MappingProxyType({})
    assigned: Sequence[str] = ()
    defaults: Sequence[str] = ()
    plugins: Sequence[object] = ()
    directory: Path | None = None
    environ: Mapping[str, str] = os.environ


class Resolved(NamedTuple):
    """A configuration, and where each of its values came from.

    Attributes:
        config: The configuration.
        origins: Key as files write it, with dots, to its source: the path of a file,
            ``"environment variable JACKFIELD_RETRIES"``, ``"Python"`` or ``"default"``.
        files: The files that were read, the strongest last.
        looked: Where files were looked for, in order, in words.
    """

    config: Config
    origins: Mapping[str, str] = MappingProxyType({})
    files: Sequence[str] = ()
    looked: Sequence[str] = ()


_chosen = Request()


def set_default_source(
    source: Source = None,
    /,
    *,
    profile: str | None = None,
    assign: Sequence[str] = (),
    defaults: Sequence[str] = (),
    plugins: Sequence[object] = (),
) -> None:
    """Choose, from outside, how the kernels of this process are configured.

    For programs that run other people's scripts. Replaces an earlier choice; call
    it without arguments to take the choice back. Call it before any kernel loads.

    Args:
        source: Used wherever a program names none: ``load()``.
        profile: Used for every kernel, above any profile that a program names.
        assign: ``"KEY=VALUE"`` texts, for every kernel, above all other sources.
        defaults: Texts of the same form, each for kernels for which no other source
            says anything of the key's first name.
        plugins: Plugin objects added to those of every kernel.

    Raises:
        ConfigurationError: A text of ``assign`` or ``defaults`` is not of that form,
            or names an unknown key. Nothing is changed then.
    """
    global _chosen  # noqa: PLW0603  (a process has one command line)
    for text in (*assign, *defaults):
        match = re.match(_ASSIGNMENT, text)
        if match is None:
            name = text.partition("=")[0]
            raise ConfigurationError(f"{name!r}... is not of the form KEY=VALUE.")
        check_names([match[1]], KEYS, COMMAND_LINE)
    source, profile = _without_profile(source, profile)
    texts = tuple(assign), tuple(defaults)
    _chosen = Request(source, profile, {}, *texts, plugins=tuple(plugins))


def make_request(
    source: Source = None,
    /,
    *,
    profile: str | None = None,
    plugins: Sequence[object] = (),
    directory: Path | None = None,
    environ: Mapping[str, str] | None = None,
    **options: Any,
) -> Request:
    """Put together what a program and ``set_default_source`` say.

    Raises:
        ConfigurationError: One of ``options`` is no field of ``Config``, or one of
            ``plugins`` cannot be one.
    """
    check_names(options, field_names(), PYTHON)
    source, profile = _without_profile(source, profile)
    return _chosen._replace(
        source=_chosen.source if source is None else source,
        profile=_chosen.profile or profile,
        options=options,
        plugins=(*Config(plugins=plugins).plugins, *_chosen.plugins),
        directory=directory,
        environ=os.environ if environ is None else environ,
    )


def given(request: Request) -> Config | None:
    """Return the configuration of a request that nothing has to be found for.

    That is one that a program gives in Python, or the defaults. ``None``: it names a
    file, a profile or a table, or a command line sets values.
    """
    source = Config() if request.source is None else request.source
    outside = request.profile or request.assigned or request.defaults
    if not isinstance(source, Config) or outside:
        return None
    added = (*source.plugins, *request.plugins)
    return replace(source, **request.options, plugins=added)


def _without_profile(source: Source, profile: str | None) -> tuple[Source, str | None]:
    """Return a source that names a profile as the profile instead."""
    if not isinstance(source, str) or source.endswith(".toml") or os.sep in source:
        return source, profile
    return None, profile or source
