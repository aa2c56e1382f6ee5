"""Makes the directory of a run, and opens the log in it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from jackfield.errors import ConfigurationError, suggest

_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "OFF")


def make_run_dir(parent: Path) -> Path:
    """Make the next directory in ``parent``: ``000``, ``001``, ...

    Several processes may do so at the same time: each gets another number.

    Raises:
        ConfigurationError: It cannot be made.
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
            except FileExistsError:  # another process has just taken the number
                continue
            return path.absolute()
    except OSError as error:
        raise ConfigurationError(
            f"The run directory cannot be made in {str(parent)!r} (run_dir): {error}"
        ) from error


class _Log(logging.Logger):
    """A logger that never raises, whatever the handlers of an application do.

    The kernel logs on threads that must not end by an exception.
    """

    def handle(self, record: logging.LogRecord) -> None:
        try:
            super().handle(record)
        except Exception:
            # Prints the exception to standard error, as the standard handlers do.
            logging.Handler().handleError(record)


def open_log(run_dir: Path, level: str) -> logging.Logger:
    """Return the logger of one kernel, which writes ``jackfield.log``.

    Records also go to the logger ``jackfield``, so that an application may show them.
    The logger is not registered with ``logging``, which would keep it for ever, even if
    a program makes ten thousand kernels.

    Args:
        run_dir: The run's directory.
        level: Name of the level; ``"OFF"`` for no file.

    Raises:
        ConfigurationError: There is no such level.
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
        # Without any handler, Python would print warnings to standard error. A library
        # leaves that to the application.
        log.parent.addHandler(logging.NullHandler())
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
