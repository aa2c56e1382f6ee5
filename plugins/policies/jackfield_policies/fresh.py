"""Has apps called anew, whatever results of theirs there are.

For an app that looks at something that can change without its code or its arguments: a
database, a web page. What it returns now takes the place of the earlier result. Where
that is so in every run, the app had better not be cached.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from jackfield import ConfigurationError, TaskView, hookimpl

JACKFIELD_API = ">=1,<2"
JACKFIELD_SHOWN = ("apps",)


class Fresh:
    """Forbids earlier results.

    Args:
        apps: Names of apps, with ``*`` for any characters.

    Raises:
        ConfigurationError: ``apps`` is no list of names.
    """

    def __init__(self, *, apps: Sequence[str] = ()) -> None:
        if not isinstance(apps, list | tuple) or not all(
            isinstance(one, str) and one for one in apps
        ):
            raise ConfigurationError(
                f"plugins.fresh.apps must be a list of names of apps, not {apps!r}."
            )
        self._apps: tuple[str, ...] = tuple(apps)

    @hookimpl
    def jackfield_use_result(self, task: TaskView) -> bool | None:
        """Forbid it for the apps that are named."""
        named = any(fnmatchcase(task.app, pattern) for pattern in self._apps)
        return False if named else None
