"""The logger of one kernel. Where its records go says a plugin."""

from __future__ import annotations

import logging
from typing import Final

_NAME: Final = "jackfield.kernel"


class RunLog(logging.Logger):
    """A logger that never raises, whatever its handler or an application's does.

    The kernel logs on threads that must not end by an exception. Records also go to the
    logger ``jackfield``, so that an application may show them. This one is not known to
    ``logging``, which would keep it for ever, even if a program makes ten thousand
    kernels.

    Args:
        handler: What keeps the records of the run, from its level on.
    """

    def __init__(self, handler: logging.Handler) -> None:
        super().__init__(_NAME, handler.level)
        self.parent: logging.Logger | None = logging.getLogger("jackfield")
        self.addHandler(handler)

    def callHandlers(self, record: logging.LogRecord) -> None:  # noqa: N802  (logging's)
        """Hand a record to the run's handler, and to the application if it wants it.

        Python's own loggers ask the level of the first logger only. Here that is the
        level of the run's log, which says nothing of what an application shows.
        """
        for handler in self.handlers:
            handler.handle(record)
        if self.parent and self.parent.isEnabledFor(record.levelno):
            self.parent.handle(record)

    def handle(self, record: logging.LogRecord) -> None:
        """Hand a record on, if nothing filters it out."""
        try:
            super().handle(record)
        except Exception:
            # Prints the exception to standard error, as the standard handlers do.
            logging.Handler().handleError(record)

    def close(self) -> None:
        """Close the run's handler; later records go to the application only."""
        for handler in list(self.handlers):
            self.removeHandler(handler)
            handler.close()
