"""Nothing."""

from __future__ import annotations

import os
from collections.abc import Callable

from jackfield_parsl.logconfigs.base import LogConfig


class NoopLogging(LogConfig):
    """Logs nothing."""

    def initialize_logging(
        self, *, log_dir: str | os.PathLike[str], log_name: str
    ) -> Callable[[], None]:
        """Do nothing; return what ends that."""
        del log_dir, log_name
        return lambda: None
