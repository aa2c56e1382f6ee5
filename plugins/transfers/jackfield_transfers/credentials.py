"""Credentials by name: the configuration has the name, never the secret."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from jackfield.errors import ConfigurationError, suggest
from jackfield_system.credentials import CREDENTIALS_PREFIX, credential_variables
from jackfield_system.own_files import user_directory

DEFAULT_FILE: Final = "credentials.toml"
"""Name of the file in the user's configuration directory for Jackfield."""


class Credentials:
    """Looks credentials up: it asks plugins, then the environment, then a file.

    It is pickled without what it has found, so that no secret leaves the process; a
    worker looks up where it is.

    ``hooks`` are compiled ``jackfield_credentials``; no ``file`` means the usual place.
    """

    def __init__(
        self, hooks: tuple[Callable[[str], Any], ...] = (), file: str | None = None
    ) -> None:
        self._hooks: tuple[Callable[[str], Any], ...] = hooks
        self._file: str | None = file
        self._known: dict[str, Mapping[str, str]] = {"": {}}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._hooks, self._file)

    def get(self, name: str) -> Mapping[str, str]:
        """Return the credentials of a name; for ``""``, an empty mapping.

        Raises:
            ConfigurationError: Nobody knows the name, or the file is not private.
        """
        found = self._known.get(name)
        if found is None:
            found = self._known[name] = Secret(self._look_up(name))
        return found

    def _look_up(self, name: str) -> Mapping[str, str]:
        for hook in self._hooks:
            answer = hook(name)
            if answer is not None:
                return _checked(name, answer)
        found = _from_environment(name)
        if found:
            return found
        path = self._path()
        tables = _from_file(path)
        if name in tables:
            return _checked(name, tables[name])
        raise ConfigurationError(
            f"credentials = {name!r}: nobody knows them{suggest(name, tables)} Set "
            f"{_variable(name)}_USER, ..._PASSWORD (or _KEY, _SECRET, _TOKEN), or add "
            f"a table [{name}] to {str(path)!r}."
        )

    def _path(self) -> Path:
        if self._file:
            return Path(self._file).expanduser()
        return user_directory() / DEFAULT_FILE


class Secret(dict[str, str]):
    """Credentials as a dict that shows its keys but never its values."""

    def __repr__(self) -> str:
        """Show the keys."""
        return f"<credentials: {', '.join(sorted(self))}>"

    __str__ = __repr__


def _variable(name: str) -> str:
    return CREDENTIALS_PREFIX + "".join(c if c.isalnum() else "_" for c in name).upper()


def _from_environment(name: str) -> dict[str, str]:
    start = f"{_variable(name)}_"
    return {
        key.removeprefix(start).lower(): value
        for key, value in credential_variables().items()
        if key.startswith(start)
    }


def _from_file(path: Path) -> Mapping[str, Any]:
    import tomllib

    try:
        with path.open("rb") as stream:
            status = os.fstat(stream.fileno())
            if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
                raise ConfigurationError(
                    f"The credentials in {str(path)!r} are not private: the file must "
                    f"be yours and closed to others (chmod 600)."
                )
            return tomllib.load(stream)
    except FileNotFoundError:
        return {}
    except tomllib.TOMLDecodeError as error:
        # The parser's text may quote a line with a secret, so only the place in the
        # file is taken from it, and it does not become the cause.
        reason = f"The credentials in {str(path)!r} are no TOML"
        place = str(error).rpartition("(at ")[2].rstrip(")")
        raise ConfigurationError(f"{reason}: see {place}.") from None


def _checked(name: str, table: object) -> dict[str, str]:
    if not isinstance(table, Mapping) or not all(
        isinstance(part, str) for pair in table.items() for part in pair
    ):
        raise ConfigurationError(
            f"Credentials {name!r} must be a table of texts, such as user and password."
        )
    return dict(table)
