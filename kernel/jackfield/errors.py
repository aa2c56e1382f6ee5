"""Everything the kernel raises on its own account.

An exception raised by a task's function is never wrapped: it comes out of
``future.result()`` as it was raised. Every class here survives pickling, because
it may have to cross a process boundary: the facts are attributes, the message is
made of them in ``__str__``, and ``args`` holds what the constructor takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class JackfieldError(Exception):
    """Base of every error that Jackfield raises."""


def suggest(name: str, valid: Iterable[str]) -> str:
    """Return a sentence end that offers the nearest valid name, or a full stop."""
    from difflib import get_close_matches

    guess = get_close_matches(name, list(valid), n=1)
    return f"; did you mean {guess[0]!r}?" if guess else "."


# -- Configuration and life of a kernel


class ConfigurationError(JackfieldError, ValueError):
    """An option is unknown, of the wrong type or out of range."""


class NoDataFlowKernelError(JackfieldError, RuntimeError):
    """An app was called, or ``dfk()`` asked for, before ``load()``."""

    def __str__(self) -> str:
        """Say what to do first."""
        return "No kernel is loaded: call jackfield.load() first, or use `with`."


class KernelClosedError(JackfieldError, RuntimeError):
    """A task was submitted to a kernel that is closed, closing or stopped."""


# -- Plugins


class PluginError(JackfieldError):
    """Something is wrong with a plugin."""


class PluginNotFoundError(PluginError, LookupError):
    """No installed plugin answers to a name.

    Attributes:
        kind: ``"executor"``, ``"staging"``, ``"checkpoint"`` or ``"profile"``.
        name: The name that was asked for.
        installed: The names that would have worked, sorted.
    """

    def __init__(self, kind: str, name: str, installed: Iterable[str]) -> None:
        self.kind: str = kind
        self.name: str = name
        self.installed: tuple[str, ...] = tuple(sorted(installed))
        super().__init__(kind, name, self.installed)

    def __str__(self) -> str:
        """Name the nearest plugin and all that are installed."""
        names = ", ".join(self.installed) or "none"
        hint = suggest(self.name, self.installed)
        return f"No {self.kind} plugin is named {self.name!r}{hint} Installed: {names}."


class PluginLoadError(PluginError, ImportError):
    """A plugin that was asked for cannot be used.

    Attributes:
        plugin: The entry point's name, or the name it was registered under.
        origin: Distribution and version, or where the object came from.
        reason: What went wrong, in a sentence.
    """

    def __init__(self, plugin: str, origin: str, reason: str) -> None:
        self.plugin: str = plugin
        self.origin: str = origin
        self.reason: str = reason
        super().__init__(plugin, origin, reason)

    def __str__(self) -> str:
        """Name plugin, distribution and cause."""
        return f"Plugin {self.plugin!r} ({self.origin}) cannot be used: {self.reason}"


class DuplicatePluginError(PluginError):
    """Two distributions offer a plugin of one kind under one name.

    Attributes:
        group: The entry-point group.
        name: The name that both claim.
        origins: Both distributions with their versions.
    """

    def __init__(self, group: str, name: str, origins: Iterable[str]) -> None:
        self.group: str = group
        self.name: str = name
        self.origins: tuple[str, ...] = tuple(origins)
        super().__init__(group, name, self.origins)

    def __str__(self) -> str:
        """Name both distributions and the way out."""
        return (
            f"Two plugins are named {self.name!r} in {self.group}: "
            f"{' and '.join(self.origins)}. Uninstall one of them."
        )


class PluginWarning(UserWarning):
    """An installed plugin cannot be used; nobody asked for it by name."""


# -- Tasks


class DependencyError(JackfieldError):
    """A task was not run, because a task it depends on failed or was cancelled.

    ``__cause__`` is the first failure: the exception of the task at the root.

    Attributes:
        task: The task that was not run, as ``"7 (total)"``.
        path: The tasks from the one that failed first to the direct dependency;
            of a long path, its two ends.
        reason: The root's exception in one line.
    """

    def __init__(self, task: str, path: tuple[str, ...], reason: str) -> None:
        self.task: str = task
        self.path: tuple[str, ...] = path
        self.reason: str = reason
        super().__init__(task, path, reason)

    def __str__(self) -> str:
        """Tell the way from the first failure to this task."""
        way = " -> ".join(self.path)
        return (
            f"Task {self.task} was not run, because task {way} failed with "
            f"{self.reason}"
        )


class JoinError(DependencyError):
    """A join app's body returned futures, and one of them failed."""

    def __str__(self) -> str:
        """Tell which of the joined tasks failed."""
        way = " -> ".join(self.path)
        return f"Join {self.task} failed, because task {way} failed with {self.reason}"


class CircularWaitError(JackfieldError, ValueError):
    """A join app returned a future that waits for the join app itself."""


class AppTimeout(JackfieldError, TimeoutError):  # noqa: N818  (the name Parsl's users catch)
    """A task ran longer than its walltime.

    Attributes:
        task: The app's name.
        walltime: The limit, in seconds.
    """

    def __init__(self, task: str, walltime: float) -> None:
        self.task: str = task
        self.walltime: float = walltime
        super().__init__(task, walltime)

    def __str__(self) -> str:
        """Name the app and its limit."""
        return f"{self.task} did not end within its walltime of {self.walltime:g} s"


class TaskExitError(JackfieldError):
    """A task raised what would end a program: SystemExit, KeyboardInterrupt, ...

    Attributes:
        task: The app's name.
        reason: The exception as its ``repr``.
    """

    def __init__(self, task: str, reason: str) -> None:
        self.task: str = task
        self.reason: str = reason
        super().__init__(task, reason)

    def __str__(self) -> str:
        """Say what was raised where."""
        return f"{self.task} raised {self.reason}; only the task has ended, not the run"


class ExecutorError(JackfieldError):
    """An executor did not do its part: it raised, or never answered.

    Attributes:
        label: The executor's label.
        reason: What went wrong, in a sentence.
    """

    def __init__(self, label: str, reason: str) -> None:
        self.label: str = label
        self.reason: str = reason
        super().__init__(label, reason)

    def __str__(self) -> str:
        """Name the executor."""
        return f"Executor {self.label!r}: {self.reason}"


class UnsupportedByExecutorError(ConfigurationError):
    """A task asks for what no executor that it may use can give.

    Attributes:
        task: The app's name.
        reasons: One sentence an executor.
    """

    def __init__(self, task: str, reasons: Iterable[str]) -> None:
        self.task: str = task
        self.reasons: tuple[str, ...] = tuple(reasons)
        super().__init__(task, self.reasons)

    def __str__(self) -> str:
        """Say what is missing, executor by executor."""
        return f"No executor can run {self.task!r}: {' '.join(self.reasons)}"


class WorkerDiedError(ExecutorError):
    """The process that ran a task ended before the task did.

    Attributes:
        label: The executor's label.
        task: The task that it was running, as ``"7 (total)"``.
        exitcode: As ``multiprocessing`` has it: minus the signal's number, the
            exit status, or ``None`` where unknown.
        reason: What is known of the cause.
    """

    def __init__(
        self, label: str, task: str, exitcode: int | None, reason: str
    ) -> None:
        super().__init__(label, reason)
        self.task: str = task
        self.exitcode: int | None = exitcode
        self.args = (label, task, exitcode, reason)

    def __str__(self) -> str:
        """Name task, executor and cause."""
        return f"The worker of task {self.task} on {self.label!r} died: {self.reason}"


# -- Serialization


class SerializationError(JackfieldError, TypeError):
    """An argument, a function or a result cannot be pickled or unpickled.

    Attributes:
        task: The app's name.
        what: Where the trouble is: ``"argument 'x', at x.lock"``, ``"its result"``.
        reason: The pickler's own words.
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
    """Stands for an exception of a task that could not be brought back itself.

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


# -- Bash apps


class BashAppError(JackfieldError):
    """A bash app failed."""


class BashExitFailure(BashAppError):  # noqa: N818  (the name Parsl's users catch)
    """A bash app's command ended with another code than 0.

    Attributes:
        app_name: The app.
        exitcode: The command's exit code; above 128, a signal's number plus 128.
        detail: The end of its standard error, or where to look.
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
    """A bash app's function returned something else than a command line."""


class MissingOutputs(BashAppError):  # noqa: N818  (the name Parsl's users catch)
    """An app ended well, but files that it declared as outputs are not there.

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
    """A value for ``stdout=`` or ``stderr=`` is none that can be opened."""


# -- Staging, memo, checkpoints


class StagingError(JackfieldError):
    """A file could not be brought where it was wanted."""


class NoProviderError(StagingError, LookupError):
    """No plugin serves a URL's scheme.

    Attributes:
        scheme: The scheme.
        url: The URL, without credentials.
        installed: The schemes that are served, sorted.
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
    """A transfer failed, or brought something else than was asked for.

    Attributes:
        url: The URL, without credentials.
        reason: What went wrong, in a sentence.
    """

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url: str = url
        self.reason: str = reason

    def __str__(self) -> str:
        """Name URL and cause."""
        return f"{self.url}: {self.reason}"


class MemoKeyError(JackfieldError, TypeError):
    """A memo key cannot be made of an argument or a function.

    Attributes:
        task: The app's name.
        what: The argument, with the path to the value.
        reason: Why, and how to teach it.
    """

    def __init__(self, task: str, what: str, reason: str) -> None:
        self.task: str = task
        self.what: str = what
        self.reason: str = reason
        super().__init__(task, what, reason)

    def __str__(self) -> str:
        """Name app, argument and the way out."""
        return f"{self.task}: no memo key for {self.what}: {self.reason}"


class CheckpointError(JackfieldError):
    """A checkpoint store cannot be opened, read or written."""
