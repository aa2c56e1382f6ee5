"""What ``jackfield doctor`` has a worker tell of itself. Workers import this module."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Final

COMPARED: Final = ("python", "jackfield", "cloudpickle")
"""Facts in which a worker has to be like the driver."""


def facts(pause: float = 0.0) -> dict[str, str]:
    """Return facts of the process that this runs in.

    Args:
        pause: Seconds to stay, so that calls made together go to several workers.
    """
    time.sleep(pause)
    return {
        "python": platform.python_version(),
        "jackfield": _version("jackfield"),
        "cloudpickle": _version("cloudpickle"),
        "host": platform.node(),
        "process": str(os.getpid()),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
