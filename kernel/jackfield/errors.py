"""The exceptions that the kernel raises itself.

An exception that a task's function raises is not one of these and is never wrapped: it
comes out of ``future.result()`` as it was raised.

Every class here can be pickled, because it may have to come from another process. So
the facts are attributes, the message is made of them in ``__str__``, and ``args`` holds
the arguments of the constructor.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Final, dataclass_transform

if TYPE_CHECKING:
    from types import TracebackType

# -- Base classes, and helpers for messages and for errors of any class


def printable(text: str, keep: str = "") -> str:
    r"""Return a text that does nothing to a terminal and hides nothing in it.

    Messages hold names and texts that come from servers, files, tasks and other users.
    What is not printable (escape sequences, line ends, marks that turn the direction of
    writing, bytes that are no UTF-8) is written as Python would write it, ``\x1b``,
    except for the characters in ``keep``.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else repr(c)[1:-1] for c in text)


def _as_shown(message: Callable[[Any], str]) -> Callable[[Any], str]:
    """Return a ``__str__`` that escapes the message and says which call has failed."""

    @functools.wraps(message)
    def shown(self: Any) -> str:
        text = printable(message(self), keep="\n\t")
        call = vars(self).get("call")  # not from the class: its base class may be any
        if not call or f"[in {call}]" in text:  # as where it calls ``super().__str__``
            return text
        first, end, rest = text.partition("\n")
        return f"{first} [in {call}]{end}{rest}"

    return shown


class JackfieldError(Exception):
    """Base of every error that Jackfield raises.

    Attributes:
        call: The call of an app that has failed with it, arguments shortened, such as
            ``align('s1.bam', label='s1')``; or ``""``. The message ends with it.
    """

    call: ClassVar[str] = ""

    def __str__(self) -> str:
        return _as_shown(Exception.__str__)(self)

    def __init_subclass__(cls) -> None:
        if "__str__" in vars(cls):
            setattr(cls, "__str__", _as_shown(vars(cls)["__str__"]))  # noqa: B010  (mypy)


@dataclass_transform(eq_default=False)
class _Facts(Exception):  # noqa: N818  (errors have it as their first base)
    """For errors whose arguments are facts that they keep as attributes.

    As in a dataclass, the annotations of a class name its facts, behind those of its
    base class, and a value there is a default. Type checkers know the constructor from
    them. It is not a dataclass, because making two dozen of these takes ``import
    jackfield`` too long.
    """

    _names: ClassVar[tuple[str, ...]] = ()
    _defaults: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        facts = [n for n, kind in cls.__annotations__.items() if "ClassVar" not in kind]
        cls._names = tuple(dict.fromkeys((*cls._names, *facts)))
        cls._defaults = {
            name: getattr(cls, name) for name in cls._names if hasattr(cls, name)
        }
        super().__init_subclass__()

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__()  # `OSError` would take two as an errno and its text
        given = dict(zip(self._names, args, strict=False)) | named
        facts = self._defaults | given
        if len(args) + len(named) > len(given) or facts.keys() != set(self._names):
            raise TypeError(f"{type(self).__name__} takes: {', '.join(self._names)}")
        vars(self).update(facts)
        self.args: tuple[Any, ...] = tuple(facts[name] for name in self._names)


def suggest(name: str, valid: Iterable[str]) -> str:
    """Return the end of a sentence about a name that is wrong.

    It is ``"; did you mean 'nearest'?"`` if a valid name is similar, else ``"."``. Of a
    name that means something elsewhere, as in Parsl, it says what does here: that is in
    the mappings to which entry points of the group ``jackfield.hints`` lead.
    """
    from difflib import get_close_matches
    from importlib.metadata import entry_points

    with suppress(Exception):  # a broken plugin must not hide what is wrong
        hints = [one.load() for one in entry_points(group="jackfield.hints")]
        return f"; {next(filter(None, [one.get(name) for one in hints]))}."
    guess = get_close_matches(name, list(valid), n=1)
    return f"; did you mean {guess[0]!r}?" if guess else "."


_TRACEBACK: Final = vars(BaseException)["__traceback__"]
_CLASS_NAME: Final = vars(type)["__name__"]

LINE_MOST: Final = 2_000
"""Characters of a message that are told in one line."""


def one_line(error: BaseException) -> str:
    """Return class and message of an exception in one printable line; never raises.

    A message may quote megabytes of data: of a long one only the beginning is told.
    """
    try:
        text = str(error).strip().split("\n", 1)[0]
    except BaseException:
        text = "(its __str__ raises)"
    if len(text) > LINE_MOST:
        head = text[:LINE_MOST]
        whole, _, last = head.rpartition(" ")
        # Half a URL might show half a password.
        text = f"{whole if '://' in last else head}..."
    name = class_name(type(error))
    return printable(f"{name}: {text}" if text else name)


def class_name(kind: type) -> str:
    """Return the name of a class as it was written, whatever its metaclass says."""
    name: str = _CLASS_NAME.__get__(kind)
    return name


def traceback_of(error: BaseException) -> TracebackType | None:
    """Return an error's traceback, whatever its class takes that name for."""
    return _TRACEBACK.__get__(error)  # type: ignore[no-any-return]  # it is C's


# -- Of a kernel as a whole: configuration, start and end, plugins


class ConfigurationError(JackfieldError, ValueError):
    """An option is unknown, of the wrong type or out of range."""


class NoDataFlowKernelError(JackfieldError, RuntimeError):
    """An app was called, or ``dfk()`` asked for, before ``load()``."""

    def __str__(self) -> str:
        return (
            "No kernel is loaded, or the one that was has ended: call apps within "
            "`with jackfield.load():`. One made otherwise takes `kernel.submit(app, "
            "...)`. In a task that runs in another process there is none: make it a "
            "join_app, which may call apps, and returns their futures."
        )


class KernelClosedError(JackfieldError, RuntimeError):
    """A kernel that is closed, closing or stopped cannot do what was asked of it."""


class PluginError(JackfieldError):
    """Something is wrong with a plugin."""


class PluginNotFoundError(_Facts, PluginError, LookupError):
    """No installed plugin has the name that was asked for.

    Attributes:
        kind: As in ``jackfield plugins``, such as ``"executor"`` or ``"profile"``.
        name: The name that was asked for.
        installed: The names that would have worked.
    """

    kind: str
    name: str
    installed: tuple[str, ...]

    def __str__(self) -> str:
        names = ", ".join(self.installed) or "none"
        hint = suggest(self.name, self.installed)
        return f"No {self.kind} plugin is named {self.name!r}{hint} Installed: {names}."


class PluginLoadError(_Facts, PluginError, ImportError):
    """A plugin that was asked for cannot be used.

    Attributes:
        plugin: The entry point's name, or the name under which it was registered.
        origin: The distribution and its version, or where the object came from.
        reason: What went wrong, in a sentence.
    """

    plugin: str
    origin: str
    reason: str

    def __str__(self) -> str:
        return f"Plugin {self.plugin!r} ({self.origin}) cannot be used: {self.reason}"


class DuplicatePluginError(_Facts, PluginError):
    """Two distributions offer a plugin of one kind under one name.

    Attributes:
        group: The entry-point group.
        name: The name that both have.
        origins: Both distributions with their versions.
    """

    group: str
    name: str
    origins: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"Two plugins are named {self.name!r} in {self.group}: "
            f"{' and '.join(self.origins)}. Uninstall one of them."
        )


class PluginWarning(UserWarning):
    """An installed plugin cannot be used, and is left out.

    It is an error instead if the plugin was asked for by its name.
    """


# -- Of tasks that cannot run or end, and of the executors that run them


class PropagatedError(_Facts, JackfieldError):
    """A task has failed because others have.

    ``__cause__`` is the exception of the task that failed first.

    Attributes:
        task: The task, as ``"7 (total)"``.
        path: The tasks from the one that failed first to the direct dependency. Of a
            long path only both ends.
        reason: The exception of the one that failed first, in one line.
        failures: Number and exception of each task that it waited for itself and that
            had failed when the error was made. The number of a future that is no task
            of the kernel is ``None``. A copy that comes from another process has none.
    """

    task: str
    path: tuple[str, ...]
    reason: str
    failures: ClassVar[tuple[tuple[int | None, BaseException], ...]] = ()

    @property
    def _failure(self) -> str:
        return f"task {' -> '.join(self.path)} failed with {self.reason}"

    def __reduce__(self) -> Any:
        # An exception of the user's, among the failures, may be one that cannot pickle.
        facts = {name: one for name, one in vars(self).items() if name != "failures"}
        return type(self), self.args, facts


class DependencyError(PropagatedError):
    """A task was not run, because a task it depends on failed or was cancelled.

    It fails with the first that does, and ``failures`` has those that had failed then.
    """

    def __str__(self) -> str:
        return f"Task {self.task} was not run, because {self._failure}"


class JoinError(PropagatedError):
    """A join app failed, because a task failed whose future its body returned.

    It waits for all of these tasks, so that ``failures`` has all that fail.
    """

    def __str__(self) -> str:
        return f"Join {self.task} failed, because {self._failure}"


class CircularWaitError(JackfieldError, ValueError):
    """A task waits for what may never end because of it.

    A join app returned a future that waits for the join app itself, or a task called
    ``result()`` of a task of its own kernel, or the like.
    """


LATE_S: Final = 0.1
"""Seconds by which a task may run longer than its walltime without a word of it."""


class AppTimeout(_Facts, JackfieldError, TimeoutError):  # noqa: N818  (the name Parsl's users catch)
    """A task ran longer than its walltime.

    Attributes:
        task: The app's name.
        walltime: The limit, in seconds.
        ran: How long it ran, in seconds; 0 where it was ended at the limit. On a thread
            it may be much longer: a call into C goes on until it comes back.
    """

    task: str
    walltime: float
    ran: float = 0.0

    def __str__(self) -> str:
        told = f"{self.task} did not end within its walltime of {self.walltime:g} s"
        if self.ran < self.walltime + LATE_S:
            return told
        return f"{told}: it could be stopped after {self.ran:.3g} s only"


class TaskExitError(_Facts, JackfieldError):
    """A task raised ``SystemExit``, ``KeyboardInterrupt`` or the like.

    As it is, that would end a program; here only the task has failed.

    Attributes:
        task: The app's name.
        reason: The exception as its ``repr``.
    """

    task: str
    reason: str

    def __str__(self) -> str:
        return f"{self.task} raised {self.reason}; only the task has ended, not the run"


class ExecutorError(_Facts, JackfieldError):
    """An executor, and not the task, has failed: it raised or reported nonsense.

    Attributes:
        label: The executor's label.
        reason: What went wrong, in a sentence.
    """

    label: str
    reason: str

    def __str__(self) -> str:
        return f"Executor {self.label!r}: {self.reason}"


class ExecutorBrokenError(ExecutorError):
    """An executor is broken for good: no task will ever run there again.

    An executor raises or reports it; the kernel gives it no tasks any more that others
    can run.
    """


class WorkerDiedError(ExecutorError):
    """The worker process that ran a task has died, and the task with it.

    Attributes:
        label: The executor's label.
        reason: What is known of the cause, in a sentence.
        task: The task that it was running, as ``"7 (total)"``.
        exitcode: The process's exit code; minus the number of the signal that has
            killed it; or ``None`` if it is not known.
    """

    task: str
    exitcode: int | None

    def __str__(self) -> str:
        return f"The worker of task {self.task} on {self.label!r} died: {self.reason}"


class WorkerLostError(ExecutorError):
    """Workers on other machines are gone, and tasks with them.

    Whether such a task has run, or goes on running, nobody knows.

    Attributes:
        label: The executor's label.
        reason: What is known of the cause, in a sentence.
        expected: Whether it was to be: the time of the worker's job was over, or there
            were to be fewer. The task runs again, up to three times at no cost.
    """

    expected: bool = False


class ResultLostError(_Facts, JackfieldError):
    """Only a worker had a task's result, and it is gone and cannot be made again.

    Attributes:
        label: The executor's label.
        task: The task that has made it, as ``"7 (total)"``.
        reason: How it got lost, and why it stays so; what to do now.
    """

    label: str
    task: str
    reason: str

    def __str__(self) -> str:
        what = f"the result of task {self.task} is lost: only its worker had it"
        return f"Executor {self.label!r}: {what}: {self.reason}"


class ExecutorLostError(ExecutorError):
    """An executor has no worker any more, and does not wait for one any longer.

    Tasks that it was given may have run. It is used again if workers come.
    """


class EnvironmentMismatchError(ExecutorError):
    """A worker cannot understand what this process sends, so nothing was run there.

    Attributes:
        label: The executor's label.
        reason: What to do about it, in a sentence.
        driver: What this process is: versions of Python and of what pickles.
        worker: The same of the worker.
    """

    driver: str
    worker: str

    def __str__(self) -> str:
        return (
            f"Executor {self.label!r}: this process is {self.driver}; a worker is "
            f"{self.worker}: {self.reason}"
        )


class UnsupportedByExecutorError(_Facts, ConfigurationError):
    """A task needs something that none of the executors it may use can do.

    Attributes:
        task: The app's name.
        reasons: For each executor, a sentence that says why it cannot run the task.
    """

    task: str
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return f"No executor can run {self.task!r}: {' '.join(self.reasons)}"


class FutureInTextWarning(UserWarning):
    """A future was put into an f-string or ``str.format``, which does not wait for it.

    It is warned of once for each line of code.
    """


# -- Of data and commands: pickling, bash apps, files, keys, stored results


class SerializationError(_Facts, JackfieldError, TypeError):
    """An argument, a function or a result cannot be pickled or unpickled.

    Attributes:
        task: The app's name.
        what: What cannot be pickled: ``"argument 'x', at x.lock"``, ``"its result"``.
        reason: What the pickler has raised.
    """

    task: str
    what: str
    reason: str

    def __str__(self) -> str:
        return (
            f"{self.task}: {self.what} cannot cross to or from a worker: {self.reason}"
        )


class StaleCodeError(_Facts, JackfieldError):
    """A worker has other code than the script; the kernel sends the task once more.

    Attributes:
        names: The module and the name of each thing that differs; empty if the worker
            has imported it anew meanwhile.
    """

    names: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        what = ", ".join(".".join(name) for name in self.names) or "nothing any more"
        return f"a worker has other code than the script: {what}"


class RemoteError(_Facts, JackfieldError):
    """Stands for an exception of a task that could not be pickled or unpickled.

    Attributes:
        type_name: The exception's qualified class name.
        message: Its ``str``.
        traceback: The remote traceback as text.
    """

    type_name: str
    message: str
    traceback: str

    def __str__(self) -> str:
        return f"{self.type_name}: {self.message}\n\n{self.traceback}".rstrip()


class BashAppError(JackfieldError):
    """A bash app failed."""


class BashExitFailure(_Facts, BashAppError):  # noqa: N818  (the name Parsl's users catch)
    """A bash app's command has ended with an exit code other than 0.

    Attributes:
        app_name: The app.
        exitcode: The command's exit code. If a signal has killed it, 128 plus the
            number of the signal.
        detail: What is known of it: the signal's name, the last line of its standard
            error, the command in short, the file that holds all of standard error, and
            its end; or ``""``.
        command: The command.
    """

    app_name: str
    exitcode: int
    detail: str = ""
    command: str = ""

    def __str__(self) -> str:
        end = f": {self.detail}" if self.detail else ""
        return f"bash app {self.app_name!r} failed with exit code {self.exitcode}{end}"


class BashAppNoReturn(BashAppError, TypeError):  # noqa: N818  (the name Parsl's users catch)
    """A bash app's function has not returned a command line, which is a ``str``."""


class MissingOutputs(_Facts, BashAppError):  # noqa: N818  (the name Parsl's users catch)
    """An app has ended well, but has not made all files of its ``outputs=``.

    Attributes:
        app_name: The app.
        outputs: The missing paths.
    """

    app_name: str
    outputs: tuple[str, ...]

    def __str__(self) -> str:
        names = ", ".join(map(repr, self.outputs))
        return f"app {self.app_name!r} did not make its outputs: {names}"


class BadStdStreamFile(BashAppError, ValueError):  # noqa: N818  (the name Parsl's users catch)
    """A file given as ``stdout=`` or ``stderr=`` cannot be opened for writing."""


class StagingError(JackfieldError):
    """A file could not be moved to where it was wanted."""


class NoProviderError(_Facts, StagingError, LookupError):
    """No installed plugin moves files of a URL's scheme.

    Attributes:
        scheme: The scheme.
        url: The URL, without credentials.
        installed: The schemes for which there is a plugin.
    """

    scheme: str
    url: str
    installed: tuple[str, ...]

    def __str__(self) -> str:
        names = ", ".join(self.installed) or "none"
        hint = suggest(self.scheme, self.installed)
        return (
            f"No staging plugin serves {self.scheme}: for {self.url}{hint} "
            f"Schemes served: {names}."
        )


class TransferError(_Facts, StagingError, OSError):
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

    url: str
    reason: str
    transient: bool = False
    retry_after: float | None = None

    def __str__(self) -> str:
        return f"{self.url}: {self.reason}"


class RemoteNotFoundError(TransferError, FileNotFoundError):
    """The server has no such file."""


class RemoteForbiddenError(TransferError, PermissionError):
    """The server refuses: the user is unknown there, or may not have the file."""


class RemoteChangedError(TransferError):
    """The remote file was replaced by another version during the transfer.

    This is transient: the next attempt begins anew, with the new version.
    """

    transient: bool = True

    def __str__(self) -> str:
        return f"{self.url}: it changed on the way: {self.reason}"


class TransferCancelledError(TransferError):
    """A transfer was stopped because nobody wants the file any more."""

    reason: str = "the transfer was cancelled"


class MemoKeyError(_Facts, JackfieldError, TypeError):
    """A memo key cannot be made of an argument or a function.

    Attributes:
        task: The app's name.
        what: The argument, with the path to the value within it that is at fault.
        reason: Why it cannot be in a key, and what to do about it.
    """

    task: str
    what: str
    reason: str

    def __str__(self) -> str:
        return f"{self.task}: no memo key for {self.what}: {self.reason}"


class CheckpointError(_Facts, JackfieldError):
    """A checkpoint store cannot be opened, read or written.

    Attributes:
        reason: What went wrong and what to do, in a sentence.
        path: The store's file or directory, or ``""``.
    """

    reason: str
    path: str = ""

    def __str__(self) -> str:
        where = f"Checkpoint store {self.path!r}: " if self.path else ""
        return f"{where}{self.reason}"


class CorruptCheckpointError(CheckpointError):
    """A checkpoint store as a whole is damaged, not only single records of it.

    Nothing in it was changed.
    """


class CheckpointWarning(UserWarning):
    """A stored result, or a store, cannot be used; the function is called instead.

    Attributes:
        logged: Whether it is in the log of its run already.
    """

    logged: bool = False
