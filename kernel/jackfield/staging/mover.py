"""The contract with what moves files: what it is given, and what it promises.

A staging provider only moves bytes. What makes transfers of them, with retries,
verification, resumption and a cache, and has tasks that want one file share one
transfer, is the *mover*, which is a plugin too. To the kernel a file is a future that
tasks wait for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn, TypeAlias

from jackfield.errors import KernelClosedError
from jackfield.staging.remote import log as log_of_no_run

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Future
    from contextlib import AbstractContextManager
    from logging import Logger

    from jackfield.files import File
    from jackfield.staging.remote import RemoteInfo

Hook: TypeAlias = Callable[[Any], Any]

Errand: TypeAlias = Literal["stage_in", "stage_out", "verify"]
"""What a task of a mover's does: it moves a file, on an executor that a plugin
``transfers`` makes; or it only looks at a local one, on a thread of the kernel."""


Stage: TypeAlias = Literal[
    "started", "progress", "retrying", "done", "failed", "cancelled"
]


class Progress(NamedTuple):
    """How far a transfer is; see ``jackfield.TransferEvent`` for the fields.

    Attributes:
        delay: With the stage ``"retrying"``: seconds until the next attempt.
    """

    stage: Stage
    attempt: int
    moved: int = 0
    size: int | None = None
    rate: float = 0.0
    verified: str | None = None
    error: BaseException | None = None
    delay: float = 0.0


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


def _start_nothing(errand: Errand, action: Callable[[], File]) -> NoReturn:
    del action
    raise KernelClosedError(f"there is no kernel that could start {errand!r}")


@dataclass(frozen=True, slots=True)
class MoverContext:
    """What a mover gets of its kernel. By its defaults, a mover without one only looks.

    Attributes:
        transfers: The table ``[transfers]``, checked.
        staging: The tables ``[staging.SCHEME]``, checked.
        credentials: The functions to ask what a name stands for
            (``jackfield_credentials``).
        provider: Gives the functions that plugins have for a scheme at this moment.
        directory: Where local copies lie; made by the mover when it is needed.
        start: Submits a task of the kernel's own, which gives a file; on any thread. It
            may call back into the mover, as where the kernel ends.
        cut_short: Set when the run is cut short, before ``stop_all`` is called.
        note: Tells observers of a transfer: its number, the URL without secrets,
            ``"in"`` or ``"out"``, and how far it is.
        log: The run's log.
    """

    transfers: Mapping[str, Any]
    staging: Mapping[str, Mapping[str, Any]]
    credentials: tuple[Callable[[str], Any], ...]
    provider: Callable[[str], Provider]
    directory: Path = Path("files")
    start: Callable[[Errand, Callable[[], File]], Future[File]] = _start_nothing
    cut_short: Event = field(default_factory=Event)
    note: Callable[[int, str, str, Progress], object] = lambda *_: None
    log: Logger = log_of_no_run


class Courier(ABC):
    """Moves the files of one task, in the worker that runs it. It can be pickled."""

    __slots__ = ()

    @abstractmethod
    def moving(self) -> AbstractContextManager[Callable[[File], File]]:
        """Return the context in which the task's function is called.

        On entering it the inputs are brought; it gives what returns the local copy of
        an input or output, and any other file as it is. When the function has returned,
        the outputs are taken away, and what lies on the worker is removed in any case.

        Raises:
            TransferError: A file could not be moved; a staging provider may raise any
                other exception for that.
            MissingOutputs: The function has not made one of its outputs.
        """


class Mover(ABC):
    """Moves the files of one kernel. All methods may be called on any thread.

    Where a method raises ``NoProviderError``, no plugin serves the file's scheme; a
    ``ConfigurationError`` says that it is not allowed, or has wrong options.
    """

    @abstractmethod
    def look(self, file: File) -> RemoteInfo | None:
        """Ask what the other side says of a file, and move nothing; waits for it.

        Returns:
            What it says; ``None`` if the provider cannot look without moving.

        Raises:
            TransferError: It does not tell; a provider's exception may come through
                too. Nothing shows a secret of the URL or of credentials.
        """

    @abstractmethod
    def in_task(self, files: Iterable[File]) -> bool:
        """Tell whether a task with these files is to move them itself, as configured.

        It then does, by ``courier``, and no later method here is called for them.
        """

    @abstractmethod
    def courier(
        self, app: str, inputs: Sequence[File], outputs: Sequence[File]
    ) -> Courier:
        """Return what moves the files of a task, called ``app``, in its worker."""

    @abstractmethod
    def fetch(self, file: File) -> Future[File]:
        """Return the future of a file's local copy, the same for equal files.

        A local file, whose size or digest is declared, is compared and not copied. Each
        call counts as one task that wants the file, until ``release``. What has failed
        is not shared: the next task tries anew.
        """

    @abstractmethod
    def release(self, files: Mapping[File, Future[Any] | None]) -> None:
        """Count a task out that wanted files; cancel the transfers that nobody wants.

        ``files`` has each file with the future that ``fetch`` has returned for it.
        """

    @abstractmethod
    def place_output(self, file: File, task: int) -> File:
        """Return a remote output of a task with the path that the app shall write."""

    @abstractmethod
    def send(self, file: File) -> Future[File]:
        """Start to take an output to its URL; return the future of that.

        One that is a local path is only compared with what its user declares.
        """

    @abstractmethod
    def stop_all(self) -> None:
        """Stop all files that are on their way. Called after ``cut_short`` is set."""
