"""JSON objects in a file of the run's directory, one a line."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

from jackfield_parsl.logconfigs.base import LogConfig


class _AsJSON(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        told = {
            "created": record.created,
            "name": record.name,
            "levelname": record.levelname,
            "msg": record.msg,
            "formatted": record.getMessage(),
        }
        extra = {k: str(v) for k, v in vars(record).items() if k.startswith("parsl.")}
        return json.dumps(told | extra, default=str)


class JSONLogging(LogConfig):
    """Writes ``parsl.jsonlog``."""

    def __init__(self, *, level: int = logging.DEBUG) -> None:
        super().__init__()
        self.level = level

    def initialize_logging(
        self, *, log_dir: str | os.PathLike[str], log_name: str
    ) -> Callable[[], None]:
        """Begin to log; return what ends it."""
        root = logging.getLogger()
        handler = logging.FileHandler(Path(log_dir, f"{log_name}.jsonlog"))
        handler.setFormatter(_AsJSON())
        root.setLevel(min(root.level or self.level, self.level))
        root.addHandler(handler)

        def end() -> None:
            root.removeHandler(handler)
            handler.close()

        return end
