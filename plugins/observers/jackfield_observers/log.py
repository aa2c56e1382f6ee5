"""The log of a run: the file ``jackfield.log``, and warnings on the console."""

from __future__ import annotations

import contextlib
import logging
import sys
import warnings
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, ClassVar, Final

from jackfield.errors import CheckpointWarning, PluginWarning, printable
from jackfield.hookspecs import hookimpl
from jackfield.messages import hide_secrets, say
from jackfield_system.own_files import open_no_link

if TYPE_CHECKING:
    from pathlib import Path

JACKFIELD_API = ">=1,<2"

_ALL: Final = "jackfield"
"""Name of the logger that has the records of the kernels and of the plugins."""

_KERNEL: Final = "jackfield.kernel"
"""Name of the kernels' own records."""

_MOST_SAID: Final = 1000
"""Different texts on the console; what comes later is in the log alone."""


@hookimpl(trylast=True)
def jackfield_open_log(run_dir: Path, level: str) -> logging.Handler:
    """Open the file of a run, and have warnings printed from now on."""
    everything = logging.getLogger(_ALL)
    if not everything.handlers:
        everything.addHandler(_Console(logging.WARNING))
    if level == "OFF":
        return logging.NullHandler()
    file = _LogFile(run_dir / "jackfield.log", level)
    file.setFormatter(_Harmless("%(asctime)s %(levelname)s %(threadName)s %(message)s"))
    everything.addHandler(file.of_plugins)
    _log_warnings()
    return file


class _LogFile(logging.FileHandler):
    """A file that is not written through a symbolic link.

    A run neither fails nor says the same again and again because the disk is full.
    """

    failed: bool = False

    def __init__(self, path: Path, level: str) -> None:
        super().__init__(path, encoding="utf-8", delay=True)
        self.setLevel(level)
        self.of_plugins: logging.Handler = _OfPlugins(self)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's)
        error = sys.exception()
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self.failed:
            self.failed = True
            say(f"{self.baseFilename} cannot be written: {error.strerror}.")

    def close(self) -> None:
        logging.getLogger(_ALL).removeHandler(self.of_plugins)
        with contextlib.suppress(OSError):
            super().close()

    def _open(self) -> TextIOWrapper:
        file = open(self.baseFilename, "ab", opener=open_no_link)  # noqa: SIM115  (the handler closes it)
        return TextIOWrapper(file, encoding=self.encoding, errors=self.errors)


class _Harmless(logging.Formatter):
    """Writes each record in one line, without secrets, and commands no terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's)
        record.message = printable(hide_secrets(record.message))
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802  (logging's)
        return printable(hide_secrets(super().formatException(ei)), keep="\n")


class _OfPlugins(logging.Handler):
    """Writes what plugins log, under names that begin with ``jackfield.``, to a run."""

    def __init__(self, file: logging.Handler) -> None:
        super().__init__(file.level)
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

    def show_and_log(message: Warning | str, *args: Any, **kwargs: Any) -> None:
        ours = isinstance(message, PluginWarning | CheckpointWarning)
        if ours and not getattr(message, "logged", False):
            log = logging.getLogger("jackfield.warnings")
            log.warning("%s", message, extra={"warned": True})
        show(message, *args, **kwargs)

    vars(show_and_log)["jackfield"] = True
    warnings.showwarning = show_and_log
