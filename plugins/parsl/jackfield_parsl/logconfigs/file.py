"""Lines in a file of the run's directory."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from jackfield_parsl.log_utils import DEFAULT_FORMAT, set_file_logger
from jackfield_parsl.logconfigs.base import LogConfig


class FileLogging(LogConfig):
    """Writes ``parsl.log``."""

    def __init__(
        self, *, format_string: str = DEFAULT_FORMAT, level: int = logging.DEBUG
    ) -> None:
        super().__init__()
        self.format_string: str = format_string
        self.level: int = level

    def initialize_logging(
        self, *, log_dir: str | os.PathLike[str], log_name: str
    ) -> Callable[[], None]:
        """Begin to log; return what ends it."""
        path = Path(log_dir, f"{log_name}.log")
        return set_file_logger(path, level=self.level, format_string=self.format_string)
