"""The kernel's record of a task, and of the app that it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast

from jackfield.errors import ConfigurationError
from jackfield.files import File
from jackfield.futures import AppFuture, KernelFuture, MemoInfo
from jackfield.futures.future import task_of as _record_of
from jackfield.states import TaskState, TaskView

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future
    from contextlib import AbstractContextManager

    from jackfield.abc import CheckpointStore, Work
    from jackfield.futures import DataFuture, MemoStatus
    from jackfield.graph.arguments import Found
    from jackfield.graph.route import ExecutorEntry, Route

Kind: TypeAlias = Literal["python", "bash", "join", "transfer"]
Executors: TypeAlias = Literal["all"] | tuple[str, ...]


_FUTURES: Final = frozenset({AppFuture})
_NO_MATTER: Final = frozenset({"label", "walltime"})
"""Arguments of a call that never change its result."""


def checked_labels(value: object) -> Executors:
    """Return ``executors=`` as the kernel keeps it.

    Raises:
        ConfigurationError: It is neither ``"all"`` nor a label nor a list of them.
    """
    if value == "all":
        return "all"
    if isinstance(value, str) and value:
        return (value,)
    if (
        isinstance(value, list | tuple | set | frozenset)
        and value
        and all(isinstance(label, str) for label in value)
    ):
        return tuple(value)
    raise ConfigurationError(
        f"executors= is {value!r}; expected a label, a list of labels, or 'all'."
    )


class AppSpec:
    """What an app's decorator says: one object for all of the app's tasks.

    Attributes:
        name: The function's name.
        kind: ``"python"``, ``"bash"``, ``"join"``, or ``"transfer"`` for the kernel's
            own moving of files.
        executors: Labels that may run it, or ``"all"``.
        cache: Whether equal calls share one execution.
        not_in_key: Names of arguments that do not matter for that.
        cache_failures: Whether, within a run, an equal call fails as it did.
        version: Stands for the function's code in the memo key, or ``None``.
        depends_on: More functions whose code counts.
        retries: Cost of failures that is allowed; ``None``: the configuration's.
        retry_delay: Seconds before the first retry, or ``None`` likewise.
        retry_backoff: Factor for each further delay, or ``None`` likewise.
        walltime: Seconds for each attempt, or ``None``.
        resources: Resource name to amount.
        accepts: Names of the function's parameters that the kernel also reads,
            such as ``stdout``; those it does not accept are kept from it.
        defaults: Values that the signature gives such parameters.
        special: Whether every task of the app needs ``Extras``.
        route: The executors that fit, as last computed.
    """

    __slots__ = (
        "accepts",
        "cache",
        "cache_failures",
        "defaults",
        "depends_on",
        "executors",
        "kind",
        "name",
        "not_in_key",
        "resources",
        "retries",
        "retry_backoff",
        "retry_delay",
        "route",
        "special",
        "version",
        "walltime",
    )

    def __init__(
        self,
        name: str,
        *,
        kind: Kind = "python",
        executors: Executors = "all",
        cache: bool = False,
        ignore_for_cache: tuple[str, ...] = (),
        cache_failures: bool = False,
        version: str | None = None,
        depends_on: tuple[Callable[..., Any], ...] = (),
        retries: float | None = None,
        retry_delay: float | None = None,
        retry_backoff: float | None = None,
        walltime: float | None = None,
        resources: Mapping[str, float] | None = None,
        accepts: frozenset[str] = frozenset(),
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        self.name: str = name
        self.kind: Kind = kind
        self.executors: Executors = executors
        self.cache: bool = cache
        self.not_in_key: frozenset[str] = _NO_MATTER.union(ignore_for_cache)
        self.cache_failures: bool = cache_failures
        self.version: str | None = version
        self.depends_on: tuple[Callable[..., Any], ...] = depends_on
        self.retries: float | None = retries
        self.retry_delay: float | None = retry_delay
        self.retry_backoff: float | None = retry_backoff
        self.walltime: float | None = walltime
        self.resources: Mapping[str, float] = resources or {}
        self.accepts: frozenset[str] = accepts
        self.defaults: Mapping[str, Any] = defaults or {}
        self.special: bool = bool(
            cache or kind == "join" or walltime is not None or self.defaults
        )
        self.route: Route | None = None


def stream_file(value: Any) -> File | None:
    """Return the file of a ``stdout=`` or ``stderr=`` that was given as a ``File``."""
    if isinstance(value, tuple):
        value = value[0]
    return value if isinstance(value, File) else None


_NO_STREAMS: Final[Mapping[str, Any]] = MappingProxyType({})


class Extras:
    """What only some tasks have: outputs, streams, a memo key, a walltime.

    Attributes:
        label: The user's ``label=``.
        walltime: Seconds for each attempt, or ``None``.
        streams: ``"stdout"`` and ``"stderr"`` as the app gets them.
        outputs: The files that the app is told to make.
        ignored: Names of arguments of this call that the memo key leaves out.
        key: Memo key, once known.
        manifest: Tells what the key was made of.
        memo: ``"hit"``, ``"miss"``, or ``"off"`` before it is looked up.
        looked_up: When it was, in seconds since the epoch.
        refusal: Why a result that there is was not used, or ``""``.
        value: What the function returned, while the task joins or finishes.
        joining: Whether a join app's body has returned.
        forced: Label of the executor that a retry asked for.
        in_task: Whether the task moves its remote files itself.
    """

    __slots__ = (
        "forced",
        "ignored",
        "in_task",
        "joining",
        "key",
        "label",
        "looked_up",
        "manifest",
        "memo",
        "outputs",
        "refusal",
        "streams",
        "value",
        "walltime",
    )

    def __init__(self) -> None:
        self.label: str = ""
        self.walltime: float | None = None
        self.streams: Mapping[str, Any] = _NO_STREAMS
        self.outputs: Sequence[File] = ()
        self.ignored: tuple[str, ...] = ()
        self.key: bytes | None = None
        self.manifest: Callable[[], Mapping[str, str]] | None = None
        self.looked_up: float = 0.0
        self.refusal: str = ""
        self.memo: Literal["hit", "miss", "off"] = "off"
        self.value: Any = None
        self.joining: bool = False
        self.forced: str | None = None
        self.in_task: bool = False

    def files(self) -> list[File]:
        """Return the files that the task makes: outputs, then streams."""
        files = list(self.outputs)
        if self.streams:
            files += filter(None, map(stream_file, self.streams.values()))
        return files

    def remote_outputs(self) -> list[File]:
        """Return those of them that have to be staged out."""
        return [file for file in self.files() if file.local_path is not None]


@dataclass(frozen=True, slots=True, eq=False)
class Home:
    """What a task knows of the kernel that it belongs to: whom to ask for what.

    One for each kernel. Two tasks are of one kernel if they have the same home.

    Attributes:
        caches: Whether the kernel looks cached apps up at all.
        started: When the kernel was made, in seconds since the epoch.
        stores: Gives the checkpoint stores with their URLs, for as long as they are
            read.
        cancel: Cancels a task, given with its future; see ``AppFuture.cancel``.
        lift_item: Gives the future of one item of a future's result.
    """

    caches: bool
    started: float
    stores: Callable[[], AbstractContextManager[list[tuple[str, CheckpointStore]]]]
    cancel: Callable[[Task, AppFuture[Any]], bool]
    lift_item: Callable[[AppFuture[Any], Any], AppFuture[Any]]


class Task:
    """One call of an app.

    The fields are written by whichever thread holds the scheduler's role, or by
    the one that has taken the task out of the ready queue; never by two at once.

    Attributes:
        id: Number in its kernel.
        spec: The app.
        home: Stands for the kernel.
        state: Where the task is.
        work: The attempt that counts; a report of any other is dropped. Holds
            function and arguments until the task ends.
        future: What the user holds; dropped at the end, because the future holds
            the task and a cycle would keep both until the garbage collector comes.
        parents: Tasks that it depends on, where no argument but a future itself is to
            be replaced; empty once it is registered with them.
        found: Otherwise, futures and files among the arguments; dropped once replaced.
        waiting: How many dependencies have not ended.
        dependents: Tasks that wait for this one.
        entry: The executor of the current attempt.
        cost: What failures have cost so far.
        attempt: Number of the current attempt, from 1.
        extras: What only some tasks have.
        data_futures: One for each of ``extras.outputs``, then those of the streams
            that were given as files.
        error: Why it failed, once it has.
        reason: The same in one line, where that takes calling code of users.
    """

    __slots__ = (
        "__weakref__",
        "attempt",
        "cost",
        "data_futures",
        "dependents",
        "entry",
        "error",
        "extras",
        "found",
        "future",
        "home",
        "id",
        "parents",
        "reason",
        "spec",
        "state",
        "waiting",
        "work",
    )

    def __init__(
        self,
        id: int,  # noqa: A002  (the attribute's own name)
        spec: AppSpec,
        home: Home,
        work: Work | None,
    ) -> None:
        self.id: int = id
        self.spec: AppSpec = spec
        self.home: Home = home
        self.state: TaskState = TaskState.WAITING
        self.work: Work | None = work
        self.parents: Sequence[Task] | None = None
        self.found: Found | None = None
        self.waiting: int = 0
        self.dependents: list[Task] | None = None
        self.entry: ExecutorEntry | None = None
        self.cost: float = 0.0
        self.attempt: int = 1
        self.extras: Extras | None = None
        self.data_futures: tuple[DataFuture, ...] = ()
        self.error: BaseException | None = None
        self.reason: str = ""
        self.future: AppFuture[Any] | None = None

    @property
    def title(self) -> str:
        """Number and name, as messages show them: ``7 (total)``."""
        return f"{self.id} ({self.spec.name})"

    # -- what its future asks; see ``TaskOfFuture``

    @property
    def status(self) -> str:
        """Name of the state."""
        return self.state.value

    @property
    def output_futures(self) -> list[DataFuture]:
        """One future for each of ``extras.outputs``."""
        number = len(self.extras.outputs) if self.extras is not None else 0
        return list(self.data_futures[:number])

    def memo_info(self, *, ended: bool, cancelled: bool) -> MemoInfo:
        """Return whether an earlier result is used; see ``MemoInfo``."""
        extras = self.extras
        status: MemoStatus = extras.memo if extras is not None else "off"
        if status == "off" and self.spec.cache and self.home.caches:
            status = "off" if ended else "pending"
        elif status == "hit" and cancelled:  # just before it got the result
            status = "off"
        key = extras.key if extras is not None else None
        return MemoInfo(status, key.hex() if key is not None else None)

    def cancel(self, future: AppFuture[Any]) -> bool:
        """Cancel the task, whose future is ``future``."""
        return self.home.cancel(self, future)

    def item(self, future: AppFuture[Any], key: Any) -> AppFuture[Any]:
        """Return the future of an item of ``future``'s result."""
        return self.home.lift_item(future, key)

    def stream(self, name: Literal["stdout", "stderr"]) -> Any:
        """Return where a standard stream goes, or ``None``; of a file, its future."""
        value = self.extras.streams.get(name) if self.extras is not None else None
        file = stream_file(value)
        for future in self.data_futures:
            if file is not None and future.file_obj is file:
                return future
        return value

    # -- for the steps

    @property
    def time_limit(self) -> float | None:
        """Seconds for each attempt, as the call or the app says; ``None`` for any."""
        return self.spec.walltime if self.extras is None else self.extras.walltime

    def need_extras(self) -> Extras:
        """Return the extras, made now if there are none."""
        if self.extras is None:
            self.extras = Extras()
            self.extras.walltime = self.spec.walltime
        return self.extras

    def view(self, executors: tuple[str, ...] = ()) -> TaskView:
        """Return what hooks may see."""
        extras = self.extras
        return TaskView(
            id=self.id,
            app=self.spec.name,
            label=extras.label if extras else "",
            attempt=self.attempt,
            executors=executors,
            executor=self.entry.label if self.entry else None,
            resources=self.spec.resources,
            key=extras.key if extras else None,
        )

    def forget(self) -> None:
        """Drop what only an unfinished task needs."""
        self.work = None
        self.parents = None
        self.found = None
        self.dependents = None
        self.entry = None
        self.future = None
        if self.extras is not None:
            self.extras.value = None


def task_of(future: KernelFuture[Any]) -> Task:
    """Return the task behind a future."""
    return cast("Task", _record_of(future))


def is_own(future: Future[Any], home: Home) -> bool:
    """Tell whether a future is that of a task of a certain kernel."""
    return isinstance(future, KernelFuture) and task_of(future).home is home


def own_tasks(futures: Iterable[Future[Any]], home: Home) -> dict[Task, None]:
    """Return the distinct tasks of a certain kernel behind futures, in order."""
    tasks = [_record_of(one) for one in futures if isinstance(one, KernelFuture)]
    return dict.fromkeys([task for task in tasks if task.home is home])


def parents_of(values: Sequence[Any], home: Home) -> Sequence[Task] | None:
    """Return the tasks behind values, if all are futures of one kernel's tasks.

    Returns:
        One task for each value; ``None`` if one of them is anything else.
    """
    if not _FUTURES.issuperset(map(type, values)):
        return None
    tasks = [_record_of(future) for future in values]
    for task in tasks:
        if task.home is not home:
            return None
    return tasks
