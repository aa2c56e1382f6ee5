"""The site of a host: what moves the files of one scheme and host, and how.

The mover asks it for one file at a time. Whoever writes a mover with sites of another
kind derives them from ``HostSite``; ``shared`` has the rest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from jackfield.staging.mover import Progress, Provider

if TYPE_CHECKING:
    from pathlib import Path

    from jackfield.files import File
    from jackfield.staging.remote import RemoteInfo, Stop

OnProgress: TypeAlias = Callable[[Progress], object]
"""Called on the thread that moves the file; for ``"progress"``, on the monitor's."""


def ignore_progress(progress: Progress) -> None:
    """Do nothing; an ``OnProgress`` for callers that need none."""
    del progress


class HostSite(ABC):
    """Where the files of one scheme and host are, who moves them, and how.

    It can be pickled, because workers that do not see the driver's files get it and
    move files themselves. Its methods may be called on any thread, on many at once.
    """

    @property
    @abstractmethod
    def provider(self) -> Provider:
        """Who moves its bytes."""

    @property
    @abstractmethod
    def connections(self) -> int:
        """How many of its files may be moved at the same time: at least 1."""

    @property
    @abstractmethod
    def in_task(self) -> bool:
        """Whether tasks are to move their files themselves, as configured."""

    @abstractmethod
    def stage_in(
        self,
        file: File,
        directory: Path,
        stop: Stop,
        on_progress: OnProgress = ignore_progress,
    ) -> File:
        """Bring a file, or the directory or pattern that its URL means.

        When it returns, the file is complete and verified, under a safe name that is
        made of its own. If it raises, nothing is left under that name.

        Args:
            file: Its ``size`` and ``sha256``, if declared, must be those that arrive.
            directory: Where to put it: one that is there, is closed to other users,
                and is this transfer's alone.
            stop: Ends the transfer from another thread.
            on_progress: Is told how far it is.

        Returns:
            The file with its local path, and with how it was verified.

        Raises:
            TransferCancelledError: It was stopped.
            TransferError: It could not be moved; a provider's exception may come
                through too. Nothing shows a secret of the URL or of credentials.
        """

    @abstractmethod
    def stage_out(
        self, file: File, stop: Stop, on_progress: OnProgress = ignore_progress
    ) -> File:
        """Take the file or directory at ``file``'s local path to its URL.

        See ``stage_in`` for the arguments and errors. At no moment do others see half
        a file there, as far as the provider keeps its own promise of that.
        """

    @abstractmethod
    def look(self, file: File, stop: Stop) -> RemoteInfo | None:
        """Ask what the other side says of a file, and move nothing.

        See ``stage_in`` for the arguments and errors.

        Returns:
            What it says; ``None`` if the provider cannot look without moving.
        """
