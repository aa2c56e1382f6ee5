"""Makes the directory of a run, and opens the log in it."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import warnings
from io import TextIOWrapper
from pathlib import Path
from typing import Any, ClassVar, Final

from jackfield.config.found import doubt, here
from jackfield.errors import (
    CheckpointWarning,
    ConfigurationError,
    PluginWarning,
    printable,
    suggest,
)
from jackfield.files import open_no_link
from jackfield.kernel.telling import say

_KERNEL: Final = "jackfield.kernel"
"""Name of the kernel's own records."""

_LOGS_ITSELF: Final = "jackfield/results/checkpoints.py"
"""It logs what it warns of, for where warnings are off."""

_MOST_SAID: Final = 1000
"""Different texts on the console; what comes later is in the log alone."""

_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "OFF")


def make_run_dir(parent: Path, *, shared: bool = False) -> Path:
    """Make the next directory in ``parent``: ``000``, ``001``, ...

    Several processes may do so at the same time: each gets another number. Others can
    reach nothing in it, unless ``shared``: then the umask says what they can.

    Raises:
        ConfigurationError: It cannot be made, or others could replace it.
    """
    try:
        parent = (parent if parent.is_absolute() else here() / parent).resolve()
        parent.mkdir(mode=0o777 if shared else 0o755, parents=True, exist_ok=True)
        if not shared:
            _check_parent(parent)
        number = max(
            (int(p.name) for p in parent.iterdir() if p.name.isdecimal()), default=-1
        )
        while True:
            number += 1
            path = parent / f"{number:03}"
            try:
                path.mkdir(mode=0o777 if shared else 0o700)
            except FileExistsError:  # another process has just taken the number
                continue
            return path
    except OSError as error:
        raise ConfigurationError(
            f"The run directory cannot be made in {str(parent)!r} (run_dir): "
            f"{error.strerror}. Name a place that you may write to, in run_dir or "
            f"JACKFIELD_RUN_DIR."
        ) from error


def _check_parent(parent: Path) -> None:
    """Refuse a directory in which others could put another run in this one's place.

    Where the sticky bit is set, as in ``/tmp``, only its owner could.
    """
    status, why = parent.stat(), doubt(parent)
    sticky = status.st_mode & stat.S_ISVTX and status.st_uid in (os.geteuid(), 0)
    if why and not sticky:
        raise ConfigurationError(
            f"No run directory is made in {str(parent)!r} (run_dir), because {why}. "
            f"Name one of your own in run_dir or JACKFIELD_RUN_DIR, or close it to "
            f"them (chmod go-w). Where others are meant to: shared_run_dir = true."
        )


def unmake_run_dir(run_dir: Path) -> None:
    """Remove the directory of a run that could not start, if nothing is in it."""
    with contextlib.suppress(OSError):
        run_dir.rmdir()


class _LogFile(logging.FileHandler):
    """A file that is not written through a symbolic link."""

    def _open(self) -> TextIOWrapper:
        file = open(self.baseFilename, "ab", opener=open_no_link)  # noqa: SIM115  (the handler closes it)
        return TextIOWrapper(file, encoding=self.encoding, errors=self.errors)


class _Printable(logging.Formatter):
    """Writes each record in one line, and nothing that commands a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's)
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802  (logging's)
        return printable(super().formatException(ei), keep="\n")


class _OfPlugins(logging.Handler):
    """Writes what plugins log, under names that begin with ``jackfield.``, to a run."""

    def __init__(self, file: logging.Handler, level: str) -> None:
        super().__init__(level)
        self.file: logging.Handler = file

    def emit(self, record: logging.LogRecord) -> None:
        if record.name != _KERNEL:
            self.file.handle(record)


class _Console(logging.Handler):
    """Prints the warnings of plugins, and those of the kernel that are to be seen.

    It does so where the application takes no log records at all; what else the kernel
    logs is for the run's log. What is said again and again is printed once.
    """

    said: ClassVar[set[str]] = set()

    def emit(self, record: logging.LogRecord) -> None:
        told = getattr(record, "told", False)  # once for each run, by the kernel
        own = record.name == _KERNEL and not told
        if own or getattr(record, "warned", False) or logging.getLogger().handlers:
            return
        text = record.getMessage()
        if told or (text not in self.said and len(self.said) < _MOST_SAID):
            self.said.add(text)
            say(printable(text))


def _log_warnings() -> None:
    """Have Python's warnings of ours in the logs of the runs too, from now on."""
    show = warnings.showwarning
    if getattr(show, "jackfield", False):
        return

    def show_and_log(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        ours = issubclass(category, PluginWarning | CheckpointWarning)
        if ours and not filename.endswith(_LOGS_ITSELF):
            log = logging.getLogger("jackfield.warnings")
            log.warning("%s", message, extra={"warned": True})
        show(message, category, filename, *args, **kwargs)

    vars(show_and_log)["jackfield"] = True
    warnings.showwarning = show_and_log


class _Log(logging.Logger):
    """A logger that never raises, whatever the handlers of an application do.

    The kernel logs on threads that must not end by an exception.
    """

    def callHandlers(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's)
        """Hand a record to the run's file, and to the application if it wants it.

        Python's own loggers ask the level of the first logger only. Here that is the
        level of the run's file, which says nothing of what an application shows.
        """
        for handler in self.handlers:
            handler.handle(record)
        if self.parent and self.parent.isEnabledFor(record.levelno):
            self.parent.handle(record)

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
    log = _Log(_KERNEL)
    log.parent = logging.getLogger("jackfield")
    if not log.parent.handlers:
        log.parent.addHandler(_Console(logging.WARNING))
    if name != "OFF":
        handler = _LogFile(run_dir / "jackfield.log", encoding="utf-8", delay=True)
        handler.setFormatter(
            _Printable("%(asctime)s %(levelname)s %(threadName)s %(message)s")
        )
        log.addHandler(handler)
        log.parent.addHandler(_OfPlugins(handler, name))
        _log_warnings()
        log.setLevel(name)
    return log


def close_log(log: logging.Logger) -> None:
    """Close the run's log file; later records go to the application only."""
    for other in list(log.parent.handlers if log.parent is not None else ()):
        if isinstance(other, _OfPlugins) and other.file in log.handlers:
            log.parent.removeHandler(other)  # type: ignore[union-attr]  # looked at above
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()
