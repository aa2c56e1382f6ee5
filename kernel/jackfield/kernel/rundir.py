"""The directory of one run: its number and its log file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from jackfield.errors import ConfigurationError, suggest

_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "OFF")


def make_run_dir(parent: Path) -> Path:
    """Make the next numbered directory: ``000``, ``001``, ... Safe between processes.

    Raises:
        ConfigurationError: It cannot be made; names the path.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        number = max(
            (int(p.name) for p in parent.iterdir() if p.name.isdecimal()), default=-1
        )
        while True:
            number += 1
            path = parent / f"{number:03}"
            try:
                path.mkdir()
            except FileExistsError:
                continue
            return path.absolute()
    except OSError as error:
        raise ConfigurationError(
            f"The run directory cannot be made in {str(parent)!r} (run_dir): {error}"
        ) from error


class _Log(logging.Logger):
    """A logger for the kernel's threads: a handler that raises is told of and left."""

    def handle(self, record: logging.LogRecord) -> None:
        try:
            super().handle(record)
        except Exception:
            logging.Handler().handleError(record)  # as the standard handlers do


def open_log(run_dir: Path, level: str) -> logging.Logger:
    """Return the logger of one kernel, which writes ``jackfield.log``.

    Records also go to the logger ``jackfield``, so that an application may show
    them. The logger itself is not registered, or ten thousand kernels would leave
    ten thousand loggers.
    """
    name = level.upper()
    if name not in _LEVELS:
        raise ConfigurationError(
            f"log_level is {level!r}{suggest(name, _LEVELS)} "
            f"Levels: {', '.join(_LEVELS)}."
        )
    log = _Log("jackfield.kernel")
    log.parent = logging.getLogger("jackfield")
    if not log.parent.handlers:
        log.parent.addHandler(logging.NullHandler())  # a library is silent by default
    if name != "OFF":
        handler = logging.FileHandler(
            run_dir / "jackfield.log", encoding="utf-8", delay=True
        )
        handler.setFormatter(
            logging.Formatter("%(asctime)s %(levelname)s %(threadName)s %(message)s")
        )
        log.addHandler(handler)
        log.setLevel(name)
    return log


def close_log(log: logging.Logger) -> None:
    """Close the run's log file; later records go to the application only."""
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()
