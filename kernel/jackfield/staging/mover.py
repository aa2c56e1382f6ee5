"""The contract with what moves files: what it is given, and what it promises.

A staging provider only moves bytes. What makes a transfer of them, with retries,
verification, resumption and a cache, is the *mover*, which is a plugin too. The kernel
knows which file is wanted, and by which tasks; see ``jackfield.transfers``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from jackfield.errors import NoProviderError
from jackfield.files import redact
from jackfield.staging.progress import OnProgress, ignore_progress

if TYPE_CHECKING:
    from pathlib import Path

    from jackfield.files import File
    from jackfield.staging.remote import Stop

Hook: TypeAlias = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Provider:
    """The functions of plugins that move the bytes of a scheme.

    Of each kind, a compiled hook, there may be several; they are asked in order until
    one answers.

    Attributes:
        names: Each function with the name that messages give its plugin.
        served: All schemes for which a plugin is installed, for messages.
    """

    stage_in: tuple[Hook, ...] = ()
    stage_out: tuple[Hook, ...] = ()
    stat: tuple[Hook, ...] = ()
    list: tuple[Hook, ...] = ()
    names: Mapping[Hook, str] | None = None
    served: tuple[str, ...] = ()

    def unserved(self, url: str) -> NoProviderError:
        """Return the error that no plugin serves a URL."""
        shown = redact(url)
        return NoProviderError(shown.partition("://")[0], shown, self.served)


class Site(ABC):
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

        When it returns, the file is complete and verified, under a name that
        ``safe_name`` makes of its own. If it raises, nothing is left under that name.

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


class Mover(ABC):
    """Moves the files of one kernel. May be used on any thread, without a lock."""

    @abstractmethod
    def site(self, scheme: str, host: str, provider: Provider) -> Site:
        """Return the site of a scheme and host; the host may have a port but no user.

        Called once for each, and again when the plugins of the scheme have changed.

        Raises:
            ConfigurationError: What is configured for it cannot be.
        """

    @abstractmethod
    def verify(self, file: File) -> File:
        """Compare a local file with what its user declares; return it.

        Raises:
            FileNotFoundError: There is no such file.
            TransferError: It has another size or digest.
        """
