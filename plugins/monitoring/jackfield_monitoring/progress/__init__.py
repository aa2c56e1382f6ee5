"""``jackfield.load(progress=True)``: how a run gets on, while it does.

On a terminal it is some lines below the output, drawn anew four times a second
(``terminal``); in a notebook one output, twice a second (``notebook``); anywhere else a
line in standard error every ten seconds. All say the same (``lines``), which is counted
from what the kernel tells (``counts``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jackfield import hookimpl
from jackfield_monitoring.options import check_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jackfield_monitoring.progress.monitor import Progress

JACKFIELD_API = ">=1,<2"


@hookimpl
def jackfield_create_monitor(
    kind: str, label: str, options: Mapping[str, Any]
) -> Progress | None:
    """Make what shows one kernel's progress.

    Raises:
        ConfigurationError: There are options; it has none.
    """
    if kind != "progress":
        return None
    check_names("progress", label, options)
    from jackfield_monitoring.progress.monitor import Progress

    return Progress()


@hookimpl
def jackfield_check_options(kind: str, name: str, options: Mapping[str, Any]) -> bool:
    """Refuse all options; this is asked about the tables that are for progress.

    Raises:
        ConfigurationError: There are some.
    """
    del kind
    check_names("progress", name, options)
    return True
