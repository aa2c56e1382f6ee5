"""Errors of data and commands: pickling, bash apps, files, keys, stored results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jackfield.errors.base import JackfieldError, suggest

if TYPE_CHECKING:
    from collections.abc import Iterable


class SerializationError(JackfieldError, TypeError):
    """An argument, a function or a result cannot be pickled or unpickled.

    Attributes:
        task: The app's name.
        what: What cannot be pickled: ``"argument 'x', at x.lock"``, ``"its result"``.
        reason: What the pickler has raised.
    """

    def __init__(self, task: str, what: str, reason: str) -> None:
        self.task: str = task
        self.what: str = what
        self.reason: str = reason
        super().__init__(task, what, reason)

    def __str__(self) -> str:
        """Name the app and the place."""
        return (
            f"{self.task}: {self.what} cannot cross to or from a worker: {self.reason}"
        )


class RemoteError(JackfieldError):
    """Stands for an exception of a task that could not be pickled or unpickled.

    Attributes:
        type_name: The exception's qualified class name.
        message: Its ``str``.
        traceback: The remote traceback as text.
    """

    def __init__(self, type_name: str, message: str, traceback: str) -> None:
        self.type_name: str = type_name
        self.message: str = message
        self.traceback: str = traceback
        super().__init__(type_name, message, traceback)

    def __str__(self) -> str:
        """Show name, message and the remote traceback."""
        return f"{self.type_name}: {self.message}\n\n{self.traceback}".rstrip()


class BashAppError(JackfieldError):
    """A bash app failed."""


class BashExitFailure(BashAppError):  # noqa: N818  (the name Parsl's users catch)
    """A bash app's command has ended with an exit code other than 0.

    Attributes:
        app_name: The app.
        exitcode: The command's exit code. If a signal has killed it, 128 plus the
            number of the signal.
        detail: The end of its standard error, with the file that holds all of it; or
            the name of the signal; or ``""``.
    """

    def __init__(self, app_name: str, exitcode: int, detail: str = "") -> None:
        self.app_name: str = app_name
        self.exitcode: int = exitcode
        self.detail: str = detail
        super().__init__(app_name, exitcode, detail)

    def __str__(self) -> str:
        """Name app and code, and show what the command said."""
        end = f": {self.detail}" if self.detail else ""
        return f"bash app {self.app_name!r} failed with exit code {self.exitcode}{end}"


class BashAppNoReturn(BashAppError, TypeError):  # noqa: N818  (the name Parsl's users catch)
    """A bash app's function has not returned a command line, which is a ``str``."""


class MissingOutputs(BashAppError):  # noqa: N818  (the name Parsl's users catch)
    """An app has ended well, but has not made all files of its ``outputs=``.

    Attributes:
        app_name: The app.
        outputs: The missing paths.
    """

    def __init__(self, app_name: str, outputs: Iterable[str]) -> None:
        self.app_name: str = app_name
        self.outputs: tuple[str, ...] = tuple(outputs)
        super().__init__(app_name, self.outputs)

    def __str__(self) -> str:
        """Name the files."""
        names = ", ".join(repr(path) for path in self.outputs)
        return f"app {self.app_name!r} did not make its outputs: {names}"


class BadStdStreamFile(BashAppError, ValueError):  # noqa: N818  (the name Parsl's users catch)
    """A file given as ``stdout=`` or ``stderr=`` cannot be opened for writing."""


class StagingError(JackfieldError):
    """A file could not be moved to where it was wanted."""


class NoProviderError(StagingError, LookupError):
    """No installed plugin moves files of a URL's scheme.

    Attributes:
        scheme: The scheme.
        url: The URL, without credentials.
        installed: The schemes for which there is a plugin, sorted.
    """

    def __init__(self, scheme: str, url: str, installed: Iterable[str]) -> None:
        self.scheme: str = scheme
        self.url: str = url
        self.installed: tuple[str, ...] = tuple(sorted(installed))
        super().__init__(scheme, url, self.installed)

    def __str__(self) -> str:
        """Name the scheme and those that are served."""
        names = ", ".join(self.installed) or "none"
        hint = suggest(self.scheme, self.installed)
        return (
            f"No staging plugin serves {self.scheme}: for {self.url}{hint} "
            f"Schemes served: {names}."
        )


class TransferError(StagingError, OSError):
    """A transfer has failed, or what has arrived is not what was asked for.

    Staging providers raise it too.

    Attributes:
        url: The URL, without credentials.
        reason: What went wrong, in a sentence.
        transient: Whether the same transfer may succeed a moment later. If so, the
            kernel tries again. Of other exceptions that a provider raises, it takes
            broken connections and timeouts as transient.
        retry_after: Seconds after which the server wants to be asked again, if it has
            said so.
    """

    def __init__(
        self,
        url: str,
        reason: str,
        transient: bool = False,
        retry_after: float | None = None,
    ) -> None:
        # Without arguments: ``OSError`` would take two as an errno and its text.
        super().__init__()
        self.args: tuple[Any, ...] = (url, reason, transient, retry_after)
        self.url: str = url
        self.reason: str = reason
        self.transient: bool = transient
        self.retry_after: float | None = retry_after

    def __str__(self) -> str:
        """Name URL and cause."""
        return f"{self.url}: {self.reason}"


class RemoteNotFoundError(TransferError, FileNotFoundError):
    """The server has no such file."""


class RemoteForbiddenError(TransferError, PermissionError):
    """The server refuses: the user is unknown there, or may not have the file."""


class RemoteChangedError(TransferError):
    """The remote file was replaced by another version during the transfer.

    This is transient: the next attempt begins anew, with the new version.
    """

    def __init__(
        self,
        url: str,
        reason: str,
        transient: bool = True,
        retry_after: float | None = None,
    ) -> None:
        sentence = f"it changed on the way: {reason}"
        super().__init__(url, sentence, transient, retry_after)
        self.args: tuple[Any, ...] = (url, reason, transient, retry_after)


class TransferCancelledError(TransferError):
    """A transfer was stopped because nobody wants the file any more."""

    def __init__(self, url: str) -> None:
        super().__init__(url, "the transfer was cancelled")
        self.args: tuple[Any, ...] = (url,)


class MemoKeyError(JackfieldError, TypeError):
    """A memo key cannot be made of an argument or a function.

    Attributes:
        task: The app's name.
        what: The argument, with the path to the value within it that is at fault.
        reason: Why it cannot be in a key, and what to do about it.
    """

    def __init__(self, task: str, what: str, reason: str) -> None:
        self.task: str = task
        self.what: str = what
        self.reason: str = reason
        super().__init__(task, what, reason)

    def __str__(self) -> str:
        """Name app and argument, and say what to do."""
        return f"{self.task}: no memo key for {self.what}: {self.reason}"


class CheckpointError(JackfieldError):
    """A checkpoint store cannot be opened, read or written.

    Attributes:
        reason: What went wrong and what to do, in a sentence.
        path: The store's file or directory, or ``""``.
    """

    def __init__(self, reason: str, path: str = "") -> None:
        self.reason: str = reason
        self.path: str = path
        super().__init__(reason, path)

    def __str__(self) -> str:
        """Name the store."""
        where = f"Checkpoint store {self.path!r}: " if self.path else ""
        return f"{where}{self.reason}"


class CorruptCheckpointError(CheckpointError):
    """A checkpoint store as a whole is damaged, not only single records of it.

    Nothing in it was changed.
    """


class CheckpointWarning(UserWarning):
    """A stored result, or a store, cannot be used; the function is called instead."""
