"""The kernel's record of a task, and of the app that it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias, cast

from jackfield.abc import this_thread
from jackfield.errors import CircularWaitError, ConfigurationError
from jackfield.files import CALLED_IN, File
from jackfield.futures import AppFuture, KernelFuture, MemoInfo
from jackfield.futures.future import task_of as _record_of
from jackfield.graph.route import INTERNAL
from jackfield.messages import cut
from jackfield.states import TaskState, TaskView

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future

    from jackfield.abc import Work
    from jackfield.futures import DataFuture, MemoStatus
    from jackfield.graph.arguments import Found
    from jackfield.graph.route import ExecutorEntry, Route
    from jackfield.keeping import ResultKeeper
    from jackfield.memo_keys import FunctionIdentity

Kind: TypeAlias = Literal["python", "bash", "join", "transfer"]
Executors: TypeAlias = Literal["all"] | tuple[str, ...]


_FUTURES: Final = frozenset({AppFuture})
_SPECIAL: Final = frozenset({"bash", "join"})
_NO_MATTER: Final = frozenset({"label", "walltime", CALLED_IN})
"""Arguments of a call that never change its result."""


def checked_labels(value: object) -> Executors:
    """Check a value of ``executors=``; return ``"all"`` or a tuple of labels.

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


@dataclass(eq=False, repr=False)
class AppSpec:
    """The options of an app: one object for all of its tasks.

    Attributes:
        name: The function's name.
        kind: ``"python"``, ``"bash"`` or ``"join"``; or ``"transfer"`` for tasks of the
            kernel's own, which move files.
        executors: Labels of the executors that may run it, or ``"all"``.
        cache: Whether equal calls share one execution.
        ignore_for_cache: Goes into ``not_in_key``.
        not_in_key: Names of arguments in which calls may differ and still be equal.
        cache_failures: Whether a call fails at once if, in this run, an equal one has.
        version: Takes the place of the function's code in the memo key, or ``None``.
        depends_on: Further functions whose code is in the memo key.
        retries: How much failures may cost together, each 1 unless a plugin says
            otherwise. ``None`` for the configuration's number, as in the next two.
        retry_delay: Seconds before the first retry.
        retry_backoff: By which factor each further delay is longer.
        walltime: Seconds for each attempt, or ``None``.
        priority: Tasks with a higher one begin first; ``None`` if it says nothing.
        resources: Resource name to amount.
        accepts: Names of those arguments that the kernel reads itself, such as
            ``stdout``, that the function takes too. It does not get the others.
        defaults: The defaults that its signature gives to such parameters.
        special: Whether every task of the app needs ``Extras``.
        told_kind: What records have as ``kind``: that, or ``"internal"`` for what only
            runs on the kernel's own executor.
        route: The executors that can run it, as they were found the last time.
    """

    name: str
    kind: Kind = "python"
    executors: Executors = "all"
    cache: bool = False
    ignore_for_cache: InitVar[tuple[str, ...]] = ()
    cache_failures: bool = False
    version: str | None = None
    depends_on: tuple[Callable[..., Any], ...] = ()
    retries: float | None = None
    retry_delay: float | None = None
    retry_backoff: float | None = None
    walltime: float | None = None
    priority: int | None = None
    resources: Mapping[str, float] = field(default_factory=dict)
    accepts: frozenset[str] = frozenset()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    not_in_key: frozenset[str] = field(init=False)
    special: bool = field(init=False)
    told_kind: str = field(init=False)
    route: Route | None = None

    def __post_init__(self, ignore_for_cache: tuple[str, ...]) -> None:
        self.name = cut(self.name, 200)  # it may be generated
        self.not_in_key = _NO_MATTER.union(ignore_for_cache)
        limited = self.walltime is not None or self.priority is not None
        self.special = (
            self.cache or self.kind in _SPECIAL or limited or bool(self.defaults)
        )
        own = self.executors == (INTERNAL,) and self.kind != "join"
        self.told_kind = "internal" if own else self.kind


def stream_file(value: Any) -> File | None:
    """Return the file of a ``stdout=`` or ``stderr=`` that was given as a ``File``."""
    if isinstance(value, tuple):
        value = value[0]
    return value if isinstance(value, File) else None


@dataclass(eq=False, repr=False, slots=True)
class Extras:
    """What only some tasks need: outputs, streams, a memo key, a walltime.

    Most tasks have none of this, and a task without it is smaller and faster.

    Attributes:
        label: The user's ``label=``.
        walltime: Seconds for each attempt, or ``None``.
        priority: As the call or the app says, or ``None``. What counts is the work's.
        streams: The values of ``stdout=`` and ``stderr=``, as the app gets them.
        outputs: The files that the app is to make.
        ignored: Names of arguments of this call that are not in the memo key.
        place: The directory of a cached call that makes files there; see ``_place``.
        key: The memo key, once it is known.
        manifest: Returns what the key was made of.
        memo: ``"hit"`` or ``"miss"`` once a result was looked up; ``"off"`` before.
        looked_up: When that was, in seconds since the epoch.
        refusal: Why a result was found but not used, or ``""``.
        value: What the function has returned, while the task joins or finishes.
        joining: Whether the body of a join app has returned.
        inner: The tasks that it waits for while it joins.
        blamed: The first of them that has failed.
        forced: Label of the executor that a retry has asked for, or ``None``.
        avoided: Labels of executors that have failed while they had the task.
        in_task: Whether the task moves its remote files itself.
        identity: What its function was when its memo key was made.
        compared: Whether its arguments are those of its key, as far as anybody can tell
            now. They are not where a worker was sent some that can be changed.
        keep: Whether its result may be kept: it is one of the code and of the arguments
            in the key.
        errors: Its earlier failures, each in one line.
        resent: How often it was sent again because a worker had other code.
        outlived: How often its worker was lost as expected.
    """

    label: str = ""
    walltime: float | None = None
    priority: int | None = None
    streams: Mapping[str, Any] = field(default_factory=dict)
    outputs: Sequence[File] = ()
    ignored: tuple[str, ...] = ()
    place: str = ""
    key: bytes | None = None
    manifest: Callable[[], Mapping[str, str]] | None = None
    looked_up: float = 0.0
    refusal: str = ""
    memo: Literal["hit", "miss", "off"] = "off"
    value: Any = None
    joining: bool = False
    inner: Iterable[Task] = ()
    blamed: Task | None = None
    forced: str | None = None
    avoided: frozenset[str] = frozenset()
    in_task: bool = False
    identity: FunctionIdentity | None = None
    compared: bool = True
    keep: bool = True
    errors: tuple[str, ...] = ()
    resent: int = 0
    outlived: int = 0

    @property
    def code(self) -> bytes:
        """The digest of ``identity``, or ``b""``."""
        return self.identity.digest if self.identity is not None else b""

    def files(self) -> list[File]:
        """Return the files that the task makes: outputs, then those of streams."""
        files = list(self.outputs)
        if self.streams:
            files += filter(None, map(stream_file, self.streams.values()))
        return files

    def remote_outputs(self) -> list[File]:
        """Return those of them that have to be staged out."""
        placed = [file for file in self.files() if file.local_path is not None]
        return [file for file in placed if not file.relative]


class Home(NamedTuple):
    """What a task knows of the kernel that it belongs to.

    There is one for each kernel, so two tasks are of one kernel if they have the same.

    Attributes:
        live: The tasks of the kernel that are registered and have not ended.
        caches: Whether the kernel looks up results of cached apps at all.
        keeper: Returns what keeps results for later runs, once something needed it.
        seen: Numbers of failed tasks; see ``Tally``.
        cancel: Cancels a task, given with its future; see ``AppFuture.cancel``.
        lift_item: Returns the future of one item of a future's result.
    """

    live: Mapping[int, Task]
    caches: bool
    keeper: Callable[[], ResultKeeper | None]
    seen: set[int]
    cancel: Callable[[Task, AppFuture[Any]], bool]
    lift_item: Callable[[AppFuture[Any], Any], AppFuture[Any]]

    def task_of_work(self, work: Work) -> Task | None:
        """Return the task of this kernel of which a work is the present attempt."""
        task = self.live.get(work.id)
        return task if task is not None and task.work is work else None


class Task:
    """One call of an app.

    The fields are written by the thread that holds the scheduler's role. From when the
    task is ``READY`` until it is ``SUBMITTED``, they belong to the one thread that
    launches it.

    Attributes:
        id: Number in its kernel.
        spec: The app.
        home: The kernel, as far as the task needs it.
        state: Where the task is.
        work: The current attempt, with the function and its arguments; a report of any
            other attempt is dropped. ``None`` when the task has ended.
        future: What the user holds. ``None`` when the task has ended: the future holds
            the task, and the two would keep each other alive until the garbage
            collector comes.
        parents: The tasks that it depends on, if all of them are behind arguments that
            are futures themselves; see ``arguments.put_in``. Empty once it is
            registered with them, and ``None`` where ``found`` is used or nothing is to
            be replaced.
        found: Futures and files at any depth of the arguments, in all other cases;
            ``None`` when they are replaced.
        waiting: How many dependencies have not ended.
        dependents: The tasks that wait for this one.
        entry: The executor of the current attempt.
        cost: What failures have cost so far; see ``AppSpec.retries``.
        attempt: Number of the current attempt, from 1.
        extras: What only some tasks need.
        data_futures: One for each of ``extras.outputs``, then one for each stream that
            was given as a ``File``.
        error: Why it has failed.
        reason: The same in one line, with the call, or ``""``. It is made early where
            ``str`` of the error would call code of users.
        noted: When it was submitted; and, if there is any, by which task, and what it
            depends on, by number. Only set if a plugin observes the run, as the next
            one is.
        launched: When its attempt was handed over; with when that was reported, if the
            task goes on after it; ``None`` between two attempts.
    """

    __slots__ = (
        "__weakref__",
        "_call",  # the call as text; only set where the task has failed
        "_first",  # the task because of whose failure it was not run, by number
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
        "launched",
        "noted",
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
        self.noted: float | tuple[float, int | None, tuple[int, ...]]
        self.launched: float | tuple[float, float] | None

    @property
    def title(self) -> str:
        """Number and name, as messages show them: ``7 (total)``."""
        return f"{self.id} ({self.spec.name})"

    # -- what its future asks; see ``TaskOfFuture``

    @property
    def app(self) -> str:
        """Name of the app's function."""
        return self.spec.name

    def call_text(self) -> str:
        """Return the call, arguments shortened; ``""`` where there is none to show.

        That is so for a call with no label and nothing but futures, for a task of the
        kernel's own, and for one that has ended, unless it has failed.
        """
        kept: str | None = getattr(self, "_call", None)
        work, extras = self.work, self.extras
        if kept is not None or work is None or self.spec.kind == "transfer":
            return kept or ""
        label = extras.label if extras is not None else ""
        given = {*map(type, work.args), *map(type, work.kwargs.values())}
        if given <= _FUTURES and not label:
            return ""
        return self.call_of(work)

    def call_of(self, work: Work) -> str:
        """Return the call of a work of this task, which may have ended."""
        if self.spec.kind == "transfer":
            return self.call_text()
        from jackfield.graph.calls import shown_call  # only failures need it

        label = "" if self.extras is None else self.extras.label
        return shown_call(self.spec.name, work.function, work.args, work.kwargs, label)

    def see(self) -> None:
        """Note that somebody has got the error with which it has failed."""
        self.home.seen.add(self.first_failed)
        for number, _ in getattr(self.error, "failures", ()):
            if number is not None:
                self.home.seen.add(number)

    @property
    def first_failed(self) -> int:
        """Number of the task that failed first: its own, or one that it depends on."""
        first: int = getattr(self, "_first", self.id)
        return first

    def blame(self, other: Task) -> None:
        """Note that it cannot run because of another one."""
        self._first: int = other.first_failed

    def keep_call(self) -> str:
        """Return ``call_text``, and remember it for when the arguments are gone."""
        self._call: str = self.call_text()
        return self._call

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
        elif status == "hit" and cancelled:  # cancelled before it got the result
            status = "off"
        key = extras.key if extras is not None else None
        return MemoInfo(status, key.hex() if key is not None else None)

    def cancel(self, future: AppFuture[Any]) -> bool:
        """Cancel the task, whose future is ``future``."""
        return self.home.cancel(self, future)

    def refuse_wait(self) -> None:
        """Raise if this thread runs a task of the same kernel.

        Raises:
            CircularWaitError: It does.
        """
        work = this_thread.work
        task = self.home.task_of_work(work) if work is not None else None
        if task is not None:
            raise CircularWaitError(
                f"Task {task.title} waits for task {self.title} of the same kernel. It "
                f"would hold its worker until that ends, and as soon as all workers "
                f"are held so, nothing could end. Make it a join_app that returns the "
                f"future, or give it the future as an argument."
            )

    def item(self, future: AppFuture[Any], key: Any) -> AppFuture[Any]:
        """Return the future of an item of ``future``'s result."""
        return self.home.lift_item(future, key)

    def stream(self, name: Literal["stdout", "stderr"]) -> Any:
        """Return where a standard stream goes; if to a ``File``, its future."""
        value = self.extras.streams.get(name) if self.extras is not None else None
        file = stream_file(value)
        for future in self.data_futures:
            if file is not None and future.file_obj is file:
                return future
        return value

    # -- for observers

    def noted_facts(self) -> tuple[float, int | None, tuple[int, ...]]:
        """Return ``noted``; of a task that is older than its observers, hardly any."""
        noted: float | tuple[float, int | None, tuple[int, ...]]
        noted = getattr(self, "noted", 0.0)
        return noted if isinstance(noted, tuple) else (noted, None, ())

    def note_parent(self, parent: Task) -> None:
        """Note that it was submitted because of another task."""
        submitted, _, depends_on = self.noted_facts()
        self.noted = submitted, parent.id, depends_on

    def launched_at(self) -> tuple[float, float | None] | None:
        """Return when the present attempt was launched, and reported if it was."""
        launched: float | tuple[float, float] | None = getattr(self, "launched", None)
        if launched is None or isinstance(launched, tuple):
            return launched
        return launched, None

    # -- for the steps

    @property
    def time_limit(self) -> float | None:
        """Seconds for each attempt, from the call or the app; ``None`` for no limit."""
        return self.spec.walltime if self.extras is None else self.extras.walltime

    def need_extras(self) -> Extras:
        """Return the extras, made now if there are none."""
        if self.extras is None:
            self.extras = Extras(walltime=self.spec.walltime)
        return self.extras

    def dependencies(self) -> Iterable[Task]:
        """Return the tasks of its kernel that it waits for now, and maybe some more."""
        if self.state is TaskState.JOINING and self.extras is not None:
            return self.extras.inner
        return self.inputs() if self.state is TaskState.WAITING else ()

    def inputs(self) -> Iterable[Task]:
        """Return the tasks of its kernel behind its arguments, as they came."""
        work = self.work
        if work is None:
            return ()
        if self.found is not None:
            return own_tasks(self.found.futures, self.home)
        if self.parents is None:
            return ()
        values = (*work.args, *work.kwargs.values())
        return own_tasks([one for one in values if type(one) in _FUTURES], self.home)

    def view(
        self, executors: tuple[str, ...] = (), *, with_call: bool = False
    ) -> TaskView:
        """Return what hooks may see; ``executors`` are the labels of those that fit."""
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
            cost=self.cost,
            errors=extras.errors if extras else (),
            call=self.call_text() if with_call else "",
            priority=self.work.priority if self.work else 0,
        )

    def forget(self) -> None:
        """Drop what a task that has ended does not need any more."""
        self.work = None
        self.parents = None
        self.found = None
        self.dependents = None
        self.entry = None
        self.future = None
        if self.extras is not None:
            self.extras.value = None
            self.extras.inner = ()
            self.extras.blamed = None


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
    """Return the task of each value; ``None`` if one is no future of the kernel."""
    if not _FUTURES.issuperset(map(type, values)):
        return None
    tasks = [_record_of(future) for future in values]
    for task in tasks:
        if task.home is not home:
            return None
    return tasks
