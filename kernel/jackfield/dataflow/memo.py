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
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from jackfield.dataflow.asking import ask
from jackfield.dataflow.finish import refuse_circle
from jackfield.states import TaskState

if TYPE_CHECKING:
    from jackfield.dataflow.checkpoints import Checkpoints
    from jackfield.dataflow.effects import Effects
    from jackfield.dataflow.engine import Engine
    from jackfield.dataflow.task import Extras, Task
    from jackfield.memo import Identity
    from jackfield.plugins.manager import PluginManager


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

    def __init__(
        self, engine: Engine, checkpoints: Checkpoints, identity: Callable[[], Identity]
    ) -> None:
        self._engine: Engine = engine
        self._identity: Callable[[], Identity] = identity  # made on use
        self._lock: threading.Lock = threading.Lock()
        self._flights: dict[bytes, _Flight] = {}
        self._results: dict[bytes, tuple[BaseException | None, Any]] = {}
        self.checkpoints: Checkpoints = checkpoints
        self.joins_followed: bool = False  # ever: only then can calls wait in a circle

    # -- a task's way

    def begin(self, task: Task) -> bool:
        """Look a ready task up; tell whether it has to be executed.

        Raises:
            MemoKeyError: No key can be made of its function or arguments.
        """
        extras, spec = task.extras, task.spec
        assert extras is not None
        if extras.memo == "miss":  # a retry: it leads its flight already
            return True
        extras.key, extras.manifest = self._key(task)
        flight: _Flight | None = None
        with self._lock:
            known = self._results.get(extras.key)
            if not outputs_exist(extras):
                known = None
            if known is None:
                flight = self._flights.setdefault(extras.key, _Flight(task))
                if flight.leader is not task:
                    flight.followers.append(task)
        if flight is not None and flight.leader is not task:
            if flight.leader.spec.kind == "join":
                self.joins_followed = True
                refuse = partial(refuse_circle, self._engine, task, flight.leader)
                self._engine.control(refuse)
            return False
        if known is None:
            stored = None
            if outputs_exist(extras):
                stored = self.checkpoints.load(spec.name, extras.key)
            if stored is None:
                extras.memo = "miss"
                return True
            known = None, stored[0]
            self._land(extras.key, known)
        self._end_as_hit(task, known)
        return False

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
        assert extras.manifest is not None
        stored = partial(self._stored, extras.key, value, done)
        self.checkpoints.save(task, extras.key, value, extras.manifest, stored)

    def _stored(self, key: bytes, value: Any, done: Callable[[], None]) -> None:
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

    def _key(self, task: Task) -> tuple[bytes, Any]:
        work, spec = task.work, task.spec
        assert work is not None
        assert task.extras is not None
        identity = self._identity()
        function = identity.function(
            work.function, version=spec.version, depends_on=spec.depends_on
        )
        ignore = (*spec.ignore_for_cache, *task.extras.ignored, *_NO_MATTER)
        key, manifest = identity.key(
            spec.name, function, work.args, work.kwargs, ignore
        )
        if spec.kind == "join":  # what it returns is joined: another result
            key = hashlib.sha256(b"join" + key).digest()
        return key, manifest


def outputs_exist(extras: Extras) -> bool:
    """Tell whether the files that a task is to make are there already.

    Remote ones are taken to be: whether they are is for the one who wants them to say.
    """
    return all(file.remote or os.path.exists(file.filepath) for file in extras.outputs)  # noqa: PTH110  (a str is at hand)


def identity_hook(
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
