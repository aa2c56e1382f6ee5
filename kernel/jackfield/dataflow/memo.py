"""Equal calls of a cached app share one execution, in this run and in later ones.

A call's key is made of what the function is and of its arguments (``jackfield.memo``).
The first task with a key leads a *flight*; equal calls that come meanwhile follow it
and get its result. Results are kept in memory for the run, and in the checkpoint store
for later ones (``checkpoints``). Failures are kept only where the app says
``cache_failures``, and only in memory.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

from jackfield.dataflow.asking import ask
from jackfield.dataflow.executors import INTERNAL
from jackfield.dataflow.finish import refuse_circle
from jackfield.dataflow.launch import fail
from jackfield.dataflow.task import AppSpec, Lookup
from jackfield.states import FINAL, TaskState

if TYPE_CHECKING:
    from jackfield.abc import Work
    from jackfield.dataflow.checkpoints import Checkpoints
    from jackfield.dataflow.effects import Effects
    from jackfield.dataflow.engine import Engine
    from jackfield.dataflow.task import Extras, Task
    from jackfield.errors import CheckpointError
    from jackfield.memo import FunctionIdentity, Identity
    from jackfield.memo.keys import Manifest
    from jackfield.plugins.manager import PluginManager


LOOK_UP: Final = AppSpec("memo_look_up", kind="transfer", executors=(INTERNAL,))
"""Making the key of a call whose arguments would hold the kernel's threads up."""

_NO_MATTER: Final = ("label", "walltime")
"""Arguments of a call that never change its result."""


class _Flight:
    """A cached call that is being executed, and the equal calls that wait."""

    __slots__ = ("followers", "leader")

    def __init__(self, leader: Task) -> None:
        self.leader: Task = leader
        self.followers: list[Task] = []


class Memo:
    """The results of one kernel's cached apps, by key."""

    def __init__(self, engine: Engine, checkpoints: Checkpoints) -> None:
        self._engine: Engine = engine
        self._identity: Callable[[], Identity] = cache(partial(_identity, engine))
        self._lock: threading.Lock = threading.Lock()
        self._flights: dict[bytes, _Flight] = {}
        self._results: dict[bytes, tuple[BaseException | None, Any]] = {}
        self.checkpoints: Checkpoints = checkpoints
        self.joins_followed: bool = False  # ever: only then can calls wait in a circle

    # -- a task's way

    def begin(self, task: Task) -> bool:
        """Look a ready task up; tell whether it has to be executed now.

        Where the arguments are big, or user code has to be asked about them, the
        task is looked up on the internal executor, and launched again if need be.

        Raises:
            MemoKeyError: No key can be made of its function or arguments.
        """
        extras, spec, work = task.extras, task.spec, task.work
        assert extras is not None
        if extras.memo == "miss":  # looked up before: it leads its flight already
            return True
        if work is None:  # cancelled meanwhile
            return False
        identity = self._identity()
        function = identity.function(
            work.function, version=spec.version, depends_on=spec.depends_on
        )
        if identity.is_costly(work.args, work.kwargs):
            action = partial(self._begin_elsewhere, task, work, function)
            self._engine.submit_internal(LOOK_UP, action)
            return False
        return self._look_up(task, work, function)

    def _begin_elsewhere(
        self, task: Task, work: Work, function: FunctionIdentity
    ) -> None:
        try:
            execute = self._look_up(task, work, function)
        except BaseException as error:
            fail(self._engine, task, error)
        else:
            if execute:
                self._engine.control(partial(_launch_again, [task]))

    def _look_up(self, task: Task, work: Work, function: FunctionIdentity) -> bool:
        """Find a task's result, or an equal call to follow; else have it executed."""
        extras = task.extras
        assert extras is not None
        key, manifest = self._key(task, work, function)
        lookup = extras.lookup = Lookup(manifest, time.time())
        extras.key = key
        missing = missing_output(extras)
        flight: _Flight | None = None
        with self._lock:
            known = self._results.get(key)
            if known is not None and missing:
                lookup.refusal = missing
                known = None
            if known is None:
                flight = self._flights.setdefault(key, _Flight(task))
                if flight.leader is not task:
                    flight.followers.append(task)
        if flight is not None and flight.leader is not task:
            self._follow(task, flight.leader)
            return False
        if known is None and not lookup.refusal:
            known, lookup.refusal = self.checkpoints.load(task.spec.name, key, missing)
            if known is not None:
                self._land(key, known)
        if known is not None:
            self._end_as_hit(task, known)
            return False
        extras.memo = "miss"
        if task.state in FINAL:  # cancelled before anybody could know that it leads
            self.free(task)
            return False
        return True

    def _follow(self, task: Task, leader: Task) -> None:
        if leader.spec.kind == "join":
            self.joins_followed = True
            self._engine.control(partial(refuse_circle, self._engine, task, leader))

    def remember(self, task: Task, value: Any, done: Callable[[], None]) -> None:
        """Keep a result, give it to the calls that waited for it, and store it.

        Args:
            task: The task that was executed.
            value: Its result.
            done: Called when the task may end: in mode ``task_exit``, once its
                result would survive the end of this process.
        """
        extras = task.extras
        assert extras is not None
        assert extras.key is not None
        assert extras.lookup is not None
        stored = partial(self._stored, task, extras.key, value, done)
        self.checkpoints.save(task, extras.key, value, extras.lookup.manifest, stored)

    def _stored(
        self,
        task: Task,
        key: bytes,
        value: Any,
        done: Callable[[], None],
        error: CheckpointError | None,
    ) -> None:
        if error is not None:
            fail(self._engine, task, error)
            return
        self._land(key, (None, value))
        done()

    def followers(self, task: Task) -> tuple[Task, ...]:
        """Return the calls that wait for the result of ``task``, equal ones."""
        if task.extras is None or task.extras.key is None:
            return ()
        with self._lock:
            flight = self._flights.get(task.extras.key)
            if flight is None or flight.leader is not task:
                return ()
            return tuple(flight.followers)

    def free(self, task: Task) -> None:
        """Let those that waited for a task that failed be executed themselves.

        Where the app caches failures, they fail as it did.
        """
        extras = task.extras
        if extras is None or extras.key is None:
            return
        with self._lock:
            flight = self._flights.get(extras.key)
            if flight is None or flight.leader is not task:
                return
            keep = task.spec.cache_failures and task.state is TaskState.FAILED
            if not keep:
                del self._flights[extras.key]
        if keep:
            self._land(extras.key, (task.error, None))
            return
        if flight.followers:
            self._engine.control(partial(_launch_again, flight.followers))

    def _land(self, key: bytes, known: tuple[BaseException | None, Any]) -> None:
        """Keep what a call gave, and end those that followed it."""
        with self._lock:
            self._results[key] = known
            flight = self._flights.pop(key, None)
        for follower in flight.followers if flight is not None else ():
            self._end_as_hit(follower, known)

    def _end_as_hit(self, task: Task, known: tuple[BaseException | None, Any]) -> None:
        error, value = known
        state = TaskState.MEMOIZED if error is None else TaskState.FAILED
        if task.extras is not None:
            task.extras.memo = "hit"

        def end(effects: Effects) -> None:
            self._engine.end(task, state, error, value, effects)

        self._engine.control(end)

    def _key(
        self, task: Task, work: Work, function: FunctionIdentity
    ) -> tuple[bytes, Manifest]:
        spec = task.spec
        assert task.extras is not None
        ignore = (*spec.ignore_for_cache, *task.extras.ignored, *_NO_MATTER)
        key, manifest = self._identity().key(
            spec.name, function, work.args, work.kwargs, ignore
        )
        if spec.kind == "join":  # what it returns is joined: another result
            key = hashlib.sha256(b"join" + key).digest()
        return key, manifest


def missing_output(extras: Extras) -> str:
    """Tell which of the files that a task is to make is not there; ``""``: none.

    Remote ones are taken to be: whether they are is for the one who wants them to say.
    """
    for file in extras.outputs:
        if not file.remote and not os.path.exists(file.filepath):  # noqa: PTH110  (a str is at hand)
            return f"outputs are missing: {file.filepath}"
    return ""


def _identity(engine: Engine) -> Identity:
    from jackfield.memo import Identity

    manager = engine.manager
    checked = cache(partial(_hook, manager))
    return Identity(
        hashers=lambda kind: tuple(map(checked, manager.value_hashers(kind))),
        function_hooks=lambda: tuple(map(checked, manager.hash_function)),
        files=engine.config.checkpoint.get("files", "content"),
    )


def _hook(
    manager: PluginManager, hook: Callable[[Any], object]
) -> Callable[[Any], bytes | None]:
    """Return a hook for identities that checks its answers and names its plugin."""
    return partial(ask, manager, (hook,), _checked)


def _checked(answer: object) -> bytes:
    if not isinstance(answer, bytes):
        kind = type(answer).__name__
        raise TypeError(f"a plugin gave {kind} as an identity; expected bytes")
    return answer


def _launch_again(followers: list[Task], effects: Effects) -> None:
    effects.ready.extend(task for task in followers if task.state is TaskState.READY)
