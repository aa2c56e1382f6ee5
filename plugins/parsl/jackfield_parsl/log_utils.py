"""Loggers that scripts ask for."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import TextIO

DEFAULT_FORMAT = (
    "%(created)f %(asctime)s %(processName)s-%(process)d %(threadName)s-%(thread)d "
    "%(name)s:%(lineno)d %(funcName)s [%(levelname)s] %(message)s"
)


def _added(
    handler: logging.Handler, name: str, level: int, format_string: str
) -> Callable[[], None]:
    """Add a handler to a logger and to Jackfield's.

    Returns:
        What removes it, and sets the loggers' levels as they were.
    """
    handler.setLevel(level)
    handler.setFormatter(logging.Formatter(format_string))
    loggers = [logging.getLogger(one) for one in sorted({name, "jackfield"})]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(min(logger.level or level, level))
        logger.addHandler(handler)

    def remove() -> None:
        for logger, earlier in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(earlier)
        handler.close()

    return remove


def set_stream_logger(
    name: str = "parsl",
    level: int = logging.DEBUG,
    format_string: str = DEFAULT_FORMAT,
    stream: TextIO | None = None,
) -> Callable[[], None]:
    """Log to standard error, or to a stream."""
    return _added(logging.StreamHandler(stream), name, level, format_string)


def set_file_logger(
    filename: str | os.PathLike[str],
    name: str = "parsl",
    level: int = logging.DEBUG,
    format_string: str = DEFAULT_FORMAT,
) -> Callable[[], None]:
    """Log to a file."""
    return _added(logging.FileHandler(filename), name, level, format_string)
