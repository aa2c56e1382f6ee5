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
from typing import TYPE_CHECKING, Any, NamedTuple

from jackfield.memo.produced import altered, produced, returned
from jackfield.memo.renewed import Versions
from jackfield.plugins.asking import ask
from jackfield.states import FINAL, TaskState

if TYPE_CHECKING:
    from jackfield.abc import Work
    from jackfield.errors import CheckpointError
    from jackfield.files import File
    from jackfield.graph.task import Extras, Task
    from jackfield.memo import FunctionIdentity, Identity
    from jackfield.memo.files import FilesBy
    from jackfield.memo.manifests import Manifest
    from jackfield.plugins.manager import PluginManager
    from jackfield.results.checkpoints import Checkpoints, Known


class Actions(NamedTuple):
    end: Any
    fail: Any
    launch: Any
    refuse_circle: Any
    elsewhere: Any


class Flights:
    """The results of one kernel's cached apps, by key.

    A cached call that is being executed leads a flight; equal calls follow it.
    """

    def __init__(
        self, create_key_maker: Any, checkpoints: Checkpoints, actions: Actions
    ) -> None:
        self._actions = actions
        self._identity: Callable[[], Identity] = cache(create_key_maker)
        self._lock: threading.Lock = threading.Lock()
        self._leaders: dict[bytes, Task] = {}
        self._followers: dict[bytes, list[Task]] = {}  # of leaders that have any
        self._results: dict[bytes, Known] = {}
        self._files: FilesBy = "content"
        self._versions: Versions = Versions()
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
        if identity.is_costly(work.args, work.kwargs, _made_here(extras)):
            action = partial(self._begin_elsewhere, task, work, function)
            self._actions.elsewhere(action)
            return False
        return self._look_up(task, work, function)

    def _begin_elsewhere(
        self, task: Task, work: Work, function: FunctionIdentity
    ) -> None:
        try:
            execute = self._look_up(task, work, function)
        except BaseException as error:
            self._actions.fail(task, error)
        else:
            if execute:
                self._actions.launch([task])

    def _look_up(self, task: Task, work: Work, function: FunctionIdentity) -> bool:
        """Find a task's result, or an equal call to follow; else have it executed."""
        extras = task.extras
        assert extras is not None
        key, extras.manifest = self._key(task, work, function)
        extras.key, extras.looked_up = key, time.time()
        missing = missing_output(extras)
        leader: Task | None = None
        known = self._results.get(key)
        if known is not None and known[0] is None:
            extras.refusal = missing or self._altered(extras, known)
        with self._lock:
            known = self._results.get(key) if not extras.refusal else None
            if known is None:
                leader = self._leaders.setdefault(key, task)
                if leader is not task:
                    self._followers.setdefault(key, []).append(task)
        if leader is not None and leader is not task:
            self._follow(task, leader)
            return False
        if known is None and not extras.refusal:
            known, extras.refusal = self.checkpoints.load(task.spec.name, key, missing)
            if known is not None:
                extras.refusal = self._altered(extras, known)
                known = None if extras.refusal else known
            if known is not None:
                self._land(key, known)
        if known is not None:
            self._end_as_hit(task, known)
            return False
        extras.memo = "miss"
        if task.state in FINAL:  # cancelled before anybody could know that it leads
            self.free(task)
            return False
        work.function = self._versions.version(work.function, function.digest)
        return True

    def _altered(self, extras: Extras, known: Known) -> str:
        """Say which output is not what the call made; ``""`` if all are."""
        outputs = _made_here(extras)
        return altered(known[1], outputs, self._files) if outputs else ""

    def _follow(self, task: Task, leader: Task) -> None:
        if leader.spec.kind == "join":
            self.joins_followed = True
            self._actions.refuse_circle(task, leader)

    def keep_at_once(self, extras: Extras, value: Any) -> bool:
        """Keep a result if that is all that is to be done with it; tell whether it was.

        Called with the scheduler's role.
        """
        if self.checkpoints.writes:
            return False
        assert extras.key is not None
        self._land(extras.key, (None, value))
        return True

    def remember(self, task: Task, value: Any) -> None:
        """Keep the result of a task that was executed, and end the task with it.

        The calls that waited for it get it too. In mode ``task_exit`` that is when
        the result would survive the end of this process.
        """
        extras = task.extras
        assert extras is not None
        outputs = _made_here(extras)
        if not outputs:
            self._save(task, value, value)
            return

        def save() -> None:
            self._save(task, value, produced(value, outputs, self._files))

        if self._identity().is_costly((), {}, outputs):
            self._actions.elsewhere(save)
        else:
            save()

    def _save(self, task: Task, value: Any, kept: Any) -> None:
        extras = task.extras
        assert extras is not None
        assert extras.key is not None
        assert extras.manifest is not None
        if not self.checkpoints.writes:
            self._stored(task, value, kept, None)
            return
        stored = partial(self._stored, task, value, kept)
        self.checkpoints.save(task, extras.key, kept, extras.manifest, stored)

    def _stored(
        self, task: Task, value: Any, kept: Any, error: CheckpointError | None
    ) -> None:
        if error is not None:
            self._actions.fail(task, error)
            return
        extras = task.extras
        assert extras is not None
        assert extras.key is not None
        self._land(extras.key, (None, kept))
        self._actions.end(task, TaskState.SUCCEEDED, None, value)

    def followers(self, task: Task) -> tuple[Task, ...]:
        """Return the calls that wait for the result of ``task``, equal ones."""
        if task.extras is None or task.extras.key is None:
            return ()
        with self._lock:
            if self._leaders.get(task.extras.key) is not task:
                return ()
            return tuple(self._followers.get(task.extras.key, ()))

    def free(self, task: Task) -> None:
        """Let those that waited for a task that failed be executed themselves.

        Where the app caches failures, they fail as it did.
        """
        extras = task.extras
        if extras is None or extras.key is None:
            return
        with self._lock:
            if self._leaders.get(extras.key) is not task:
                return
            keep = task.spec.cache_failures and task.state is TaskState.FAILED
            followers: list[Task] = []
            if not keep:
                del self._leaders[extras.key]
                followers = self._followers.pop(extras.key, followers)
        if keep:
            self._land(extras.key, (task.error, None))
        elif followers:
            self._actions.launch(followers)

    def _land(self, key: bytes, known: Known) -> None:
        """Keep what a call gave, and end those that followed it."""
        with self._lock:
            self._results[key] = known
            self._leaders.pop(key, None)
            followers = self._followers.pop(key, ())
        for follower in followers:
            self._end_as_hit(follower, known)

    def _end_as_hit(self, task: Task, known: Known) -> None:
        error, kept = known
        value = returned(kept)
        state = TaskState.MEMOIZED if error is None else TaskState.FAILED
        if task.extras is not None:
            task.extras.memo = "hit"
        self._actions.end(task, state, error, value)

    def _key(
        self, task: Task, work: Work, function: FunctionIdentity
    ) -> tuple[bytes, Manifest]:
        spec = task.spec
        assert task.extras is not None
        ignore = spec.not_in_key
        if task.extras.ignored:
            ignore = ignore.union(task.extras.ignored)
        key, manifest = self._identity().key(
            spec.name, function, work.args, work.kwargs, ignore
        )
        if spec.kind == "join":  # what it returns is joined: another result
            key = hashlib.sha256(b"join" + key).digest()
        return key, manifest


def _made_here(extras: Extras) -> list[File]:
    """Return the local files that a task makes."""
    return [file for file in extras.outputs if not file.remote]


def missing_output(extras: Extras) -> str:
    """Tell which of the files that a task is to make is not there; ``""``: none.

    Remote ones are taken to be: whether they are is for the one who wants them to say.
    """
    for file in extras.outputs:
        if not file.remote and not os.path.exists(file.filepath):  # noqa: PTH110  (a str is at hand)
            return f"outputs are missing: {file.filepath}"
    return ""


def make_identity(manager, table) -> Identity:
    from jackfield.memo import Identity

    checked = cache(partial(_hook, manager))
    return Identity(
        hashers=lambda kind: tuple(map(checked, manager.value_hashers(kind))),
        function_hooks=lambda: tuple(map(checked, manager.hooks.hash_function)),
        files=table.get("files", "content"),
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
