"""Equal calls of a cached app share one execution, in this run and in later ones.

A key maker, which is a plugin, makes a call's key from what the function is and from
the arguments. The first task with a key leads a *flight*: it is executed. Equal calls
that come meanwhile follow it, and end as it does: with its result or its error.
Results are kept in memory for the run, and for later ones by a keeper, a plugin too
(``jackfield.keeping``). For calls that come later, failures are kept only where the app
says ``cache_failures``, and only in memory.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from jackfield.errors import traceback_of
from jackfield.files import CALLED_IN, File
from jackfield.graph.dependency_errors import name_call
from jackfield.kept import Kept as KeptResult
from jackfield.results.outputs import (
    LARGE,
    Frozen,
    altered,
    is_fixed,
    kept,
    produced,
    returned,
)
from jackfield.states import FINAL, TaskState

if TYPE_CHECKING:
    from jackfield.abc import Work
    from jackfield.errors import CheckpointError
    from jackfield.graph.task import AppSpec, Extras, Task
    from jackfield.keeping import ResultKeeper
    from jackfield.memo_keys import CallKey, FunctionIdentity, KeyMaker
    from jackfield.results.outputs import Kept


_MOST_WARNINGS: Final = 1_000
_CHANGED: Final = "an argument was changed between the call and its execution"


class Actions(NamedTuple):
    """What flights ask of the kernel; nothing waits, and only the last may raise.

    Attributes:
        end: Ends a task: with its final state, an error or ``None``, and its value.
        fail: Ends a task with an error that a retry would only meet again.
        launch: Launches tasks that are ready, and passes over those that are not.
        refuse_circle: Ends a task that follows a join which itself waits for that
            task: neither could ever end. Given the task and the join.
        elsewhere: Runs an action as a task of its own on the internal executor.
        fetch: Does so as soon as a kept result is at hand.
        warn: Warns of results that are not kept.
        forbidden: Asks plugins whether a task is not to use an earlier result. It may
            raise.
    """

    end: Callable[[Task, TaskState, BaseException | None, Any], None]
    fail: Callable[[Task, BaseException], None]
    launch: Callable[[Sequence[Task]], None]
    refuse_circle: Callable[[Task, Task], None]
    elsewhere: Callable[[Callable[[], None]], object]
    fetch: Callable[[KeptResult, Callable[[], None]], object]
    warn: Callable[[str], None]
    forbidden: Callable[[Task], bool]


class Flights:
    """The cached calls of one kernel: those that are executed, and their results.

    All methods may be called on any thread. ``keys`` makes keys. ``keeper`` gives what
    has results of earlier runs, and takes those for later ones.

    Attributes:
        joins_followed: Whether a task has ever followed a join: only then can calls
            wait for each other in a circle.
    """

    def __init__(
        self, keys: KeyMaker, keeper: Callable[[], ResultKeeper], actions: Actions
    ) -> None:
        self._keys: KeyMaker = keys
        self._keeper: Callable[[], ResultKeeper] = keeper
        self._actions: Actions = actions
        self.joins_followed: bool = False
        # Under the lock, by key. A key is in `_results`, or in `_leaders`, or in
        # neither; in both only while outputs that are gone are made again.
        self._lock: threading.Lock = threading.Lock()
        self._leaders: dict[bytes, Task] = {}
        self._followers: dict[bytes, deque[Task]] = {}  # of leaders that have any
        self._results: dict[bytes, Kept] = {}
        self._refused: set[str] = set()
        """Apps that were warned of, as their calls are not cached."""
        self._changed: set[str] = set()
        """Apps that were warned of, as an argument of a call was changed."""

    # -- before a task is executed

    def begin(self, task: Task) -> bool:
        """Look a ready task up; tell whether it has to be executed now.

        Where the arguments are big, or user code has to be asked about them, the
        task is looked up elsewhere, and launched again if it is to be executed.

        Raises:
            MemoKeyError: No key can be made of its function or arguments.
        """
        extras, spec, work = task.extras, task.spec, task.work
        assert extras is not None
        if extras.memo == "miss":  # looked up before: it leads its flight already
            return True
        if work is None:  # cancelled meanwhile
            return False
        keys = self._keys
        function = keys.function(
            work.function, version=spec.version, depends_on=spec.depends_on
        )
        if function.refusal:
            return self._refuse(task, function)
        outputs = _made_here(extras) if extras.outputs or extras.streams else ()
        if keys.is_costly(work.args, work.kwargs, outputs):
            self._actions.elsewhere(
                partial(self._begin_elsewhere, task, work, function)
            )
            return False
        return self._look_up(task, work, function)

    def _refuse(self, task: Task, function: FunctionIdentity) -> bool:
        """Have a task executed with a key that no other has, and not kept."""
        extras = task.extras
        assert extras is not None
        extras.key, extras.looked_up = os.urandom(32), time.time()
        extras.refusal = f"it is not cached, because {function.refusal}"
        extras.keep = False
        app = task.spec.name
        self._warn_once(
            self._refused,
            app,
            f"Calls of {app!r} are not cached, because {function.refusal}. Give "
            f"the app a version=, which then stands for its code, or name in "
            f"depends_on= what it reaches so.",
        )
        return self._lead(task, function)

    def _begin_elsewhere(
        self, task: Task, work: Work, function: FunctionIdentity
    ) -> None:
        try:
            if self._look_up(task, work, function):
                self._actions.launch([task])
        except BaseException as error:
            self._actions.fail(task, error)

    def _look_up(self, task: Task, work: Work, function: FunctionIdentity) -> bool:
        """Find a task's result, or an equal call to follow; else have it executed.

        Threads meet here with equal calls. The lock is taken once: under it, a task
        finds the result, or a leader to follow, or becomes the leader itself. As
        ``_land`` puts the result in and takes the leader out under the same lock,
        nobody comes between, finds neither, and executes the call a second time.
        Making the key and looking at outputs come before the lock, for each call.
        Reading the store comes after it, for the leader alone.
        """
        extras = task.extras
        assert extras is not None
        before = extras.key
        key, extras.manifest = self._key(task, work.args, work.kwargs, function)
        extras.key, extras.looked_up = key, time.time()
        if before not in (None, key):  # an heir, whose function has changed meanwhile
            self._hand_on(task, before)
        missing = ""
        if extras.outputs or extras.streams:
            missing = missing_output(extras)
            kept = self._results.get(key)
            if kept is not None and kept[0] is None:
                extras.refusal = missing or self._altered(extras, kept)
        if self._actions.forbidden(task):
            extras.refusal = "a plugin forbids to use it"
        leader: Task | None = None
        with self._lock:
            kept = self._results.get(key) if not extras.refusal else None
            if kept is None:
                leader = self._leaders.setdefault(key, task)
                if leader.state is TaskState.FAILED and not task.spec.cache_failures:
                    leader = self._leaders[key] = task  # it is not freed yet
                if leader is not task:
                    self._followers.setdefault(key, deque()).append(task)
        if leader is not None and leader is not task:
            if leader.spec.kind == "join":
                self.joins_followed = True
                self._actions.refuse_circle(task, leader)
            return False
        if kept is not None:
            self._end_as_hit(task, kept)
            return False
        try:
            if not extras.refusal and self._load(task, key, missing):
                return False
            return self._lead(task, function)
        except BaseException:
            # The task will fail, and its end frees those that follow it. But if a
            # cancel ended it before it led, that end has freed nobody, and there is no
            # other.
            if task.state in FINAL:
                self.free(task)
            raise

    def _load(self, task: Task, key: bytes, missing: str) -> bool:
        """Look for a leader's result in the store; if it is there, the flight lands."""
        extras = task.extras
        assert extras is not None
        keeper = self._keeper()
        found = keeper.load(task.spec.name, key, self._identify, missing)
        if isinstance(found, str):
            extras.refusal = found
            return False
        result = kept(*found)
        extras.refusal = self._altered(extras, result)
        if extras.refusal:
            return False
        self._land(key, result)
        self._end_with(task, None, returned(found.value))
        return True

    def _identify(self, code: Any) -> bytes:
        """Give the identity of a class or function of the script."""
        return self._keys.function(code).digest

    def _lead(self, task: Task, function: FunctionIdentity) -> bool:
        """Have a task executed that leads its flight, unless it is cancelled.

        A cancel frees the followers of a task that has a key. One that came before
        the key was there has freed nobody: so the state is looked at now, when the
        task has its key and leads. A cancel after this look sees the key.
        """
        assert task.extras is not None
        task.extras.memo = "miss"
        if task.state in FINAL:
            self.free(task)
            return False
        task.extras.identity = function
        return True

    def is_still(
        self, spec: AppSpec, code: bytes, function: Callable[..., Any]
    ) -> bool:
        """Tell whether a function is what it was when a key was made; never raises."""
        try:
            now = self._keys.function(
                function, version=spec.version, depends_on=spec.depends_on
            )
        except Exception:  # it has no identity any more
            return False
        return now.digest == code

    def _warn_once(self, told: set[str], app: str, text: str) -> None:
        """Warn, unless that was ``told`` of the app before."""
        if app not in told and len(told) < _MOST_WARNINGS:
            told.add(app)
            self._actions.warn(text)

    def compare(
        self, task: Task, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        """See to it that nothing is kept of arguments that its key does not stand for.

        The key is made when a task's inputs are there. Then the task may wait long for
        a worker, while the script, or another task on a thread, changes a list among
        the arguments, or a file. The call gets the list as it is then. So on threads
        this is called just before the function, which may change the list itself; and
        elsewhere, where the function has a copy, when the call has ended. The call was
        pickled somewhere in between, and whatever came after that is taken for a change
        too: a result is not kept then although it could be. What was changed and
        changed back in between cannot be seen.
        """
        extras = task.extras
        if extras is None or extras.identity is None or not extras.keep:
            return
        try:
            key, _ = self._key(task, args, kwargs, extras.identity)
        except Exception:  # they have no identity any more
            key = b""
        if key == extras.key:
            return
        extras.keep = False
        extras.refusal = extras.refusal or _CHANGED
        app = task.spec.name
        self._warn_once(
            self._changed,
            app,
            f"A result of {app!r} is not kept: {_CHANGED}. Pass a copy of what the "
            f"script goes on changing.",
        )

    def compare_failed(self, task: Task) -> None:
        """Do what ``compare`` does for a call that has failed for good on a worker.

        Called before it ends. Where a look at its arguments would take long, there is
        none, and equal calls do not share the failure.
        """
        extras, work = task.extras, task.work
        if extras is None or extras.compared or work is None:
            return
        if self._keys.is_costly(work.args, work.kwargs):
            extras.keep = False
        else:
            self.compare(task, work.args, work.kwargs)

    def _altered(self, extras: Extras, kept: Kept) -> str:
        """Say which output is not what the call made; ``""`` if all are."""
        outputs = _made_here(extras)
        return altered(kept[1], outputs, self._keys.file) if outputs else ""

    def _key(
        self,
        task: Task,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        function: FunctionIdentity,
    ) -> CallKey:
        spec = task.spec
        assert task.extras is not None
        ignore = spec.not_in_key
        if task.extras.ignored:
            ignore = ignore.union(task.extras.ignored)
        key, manifest = self._keys.key(spec.name, function, args, kwargs, ignore)
        if place := task.extras.place:
            part = hashlib.sha256(os.fsencode(place)).digest()
            key = hashlib.sha256(b"place" + part + key).digest()
            manifest = partial(_with_place, manifest, part.hex())
        if spec.kind == "join":  # what it returns is joined: another result
            key = hashlib.sha256(b"join" + key).digest()
        return key, manifest

    # -- after it was executed

    def keep_at_once(self, extras: Extras, value: Any) -> bool:
        """Keep a result in memory and return True; or False, if more is to be done.

        Called with the scheduler's role: it neither reads nor writes files.
        """
        if self._keeper().writes or not is_fixed(value) or not extras.keep:
            return False
        if not extras.compared:
            return False
        assert extras.key is not None
        self._land(extras.key, (None, value))
        return True

    def remember(self, task: Task, value: Any) -> None:
        """Keep the result of a task that was executed, and end the task with it.

        The calls that waited for it get it too. In mode ``task_exit`` both happen when
        the result would survive the end of this process.
        """
        extras, work = task.extras, task.work
        assert extras is not None
        if not extras.compared and work is None:
            # The task was ended meanwhile, with the run, and its arguments dropped:
            # nobody can tell any more what the result is of.
            extras.keep = False
        elif not extras.compared and work is not None:

            def compare() -> None:
                self.compare(task, work.args, work.kwargs)
                extras.compared = True
                self.remember(task, value)

            if self._keys.is_costly(work.args, work.kwargs):
                self._actions.elsewhere(compare)
            else:
                compare()
            return
        if issubclass(type(value), KeptResult):
            if not value.at_hand:
                self._actions.fetch(value, partial(self.remember, task, value))
                return
            try:
                value = value.fetch()
            except Exception as error:
                self._actions.fail(task, error)
                return
        if not extras.keep:
            self._saved(task, value, None, None)
            return
        outputs = _made_here(extras)
        if not outputs:
            self._save(task, value, value)
            return
        keys = self._keys

        def save() -> None:
            self._save(task, value, produced(value, outputs, keys.file))

        if keys.is_costly((), {}, outputs):
            self._actions.elsewhere(save)
        else:
            save()

    def _save(self, task: Task, value: Any, result: Any) -> None:
        extras = task.extras
        assert extras is not None
        assert extras.key is not None
        assert extras.manifest is not None
        try:
            data = self._keeper().pack(result, self._identify)
        except BaseException as error:  # a pickler may raise anything
            self._keeper().not_stored(task.spec.name, error)
            self._saved(task, value, None, None)
            return
        saved = partial(self._saved, task, value, kept(result, data))
        app = task.spec.name
        self._keeper().save(app, extras.key, data, extras.manifest, saved)

    def _saved(
        self, task: Task, value: Any, kept: Kept | None, error: CheckpointError | None
    ) -> None:
        """End a task whose result is stored; keep it, unless it cannot be copied."""
        if error is not None:
            self._actions.fail(task, error)
            return
        extras = task.extras
        assert extras is not None
        assert extras.key is not None
        if kept is None:
            self.free(task)
        else:
            self._land(extras.key, kept)
        self._actions.end(task, TaskState.SUCCEEDED, None, value)

    # -- leaders and followers

    def followers(self, task: Task) -> tuple[Task, ...]:
        """Return the calls that wait for the result of ``task``, equal ones."""
        key = task.extras.key if task.extras is not None else None
        with self._lock:
            if key is None or self._leaders.get(key) is not task:
                return ()
            return tuple(self._followers.get(key, ()))

    def leader(self, task: Task) -> Task | None:
        """Return the call for whose result a task may wait, an equal one."""
        key = task.extras.key if task.extras is not None else None
        leader = self._leaders.get(key) if key is not None else None
        return leader if leader is not task else None

    def free(self, task: Task) -> None:
        """End the flight of a task that did not succeed, or have another call lead it.

        If it has failed, those that follow it fail as it did, as far as they would be
        executed under the same conditions: they share one execution. Of others, and
        after a cancel, the first one leads from then on, and the rest follow it.

        A cancel may end the heir at any moment. Before it was chosen: then its state is
        final here. Afterwards: then its own end comes here, waits for the lock, finds
        it leading, and hands the lead on. Either way somebody leads.
        """
        extras = task.extras
        if extras is None or extras.key is None:
            return
        spec, failed = task.spec, task.state is TaskState.FAILED and extras.keep
        if failed and spec.cache_failures and self._leaders.get(extras.key) is task:
            assert task.error is not None
            self._land(extras.key, (task.error, traceback_of(task.error)))
        else:
            # A bash app enforces its walltime itself, and each call may have another.
            late = spec.kind == "bash" and isinstance(task.error, TimeoutError)
            self._hand_on(task, extras.key, share=failed and not late)

    def _hand_on(self, task: Task, key: bytes, *, share: bool = False) -> None:
        """If a task leads, end those that fail with it; have the first other lead."""
        alike: list[Task] = []
        with self._lock:
            if self._leaders.get(key) is not task:
                return
            followers = self._followers.pop(key, deque())
            if share:
                own = _conditions(task)
                alike = [one for one in followers if _conditions(one) == own]
                followers = deque(one for one in followers if _conditions(one) != own)
            while followers and followers[0].state in FINAL:
                followers.popleft()
            heir = followers.popleft() if followers else None
            if heir is not None:
                self._leaders[key], self._followers[key] = heir, followers
            else:
                del self._leaders[key]
        for one in alike:
            self._end_with(one, task.error, None)
        if heir is not None:
            self._actions.launch([heir])

    def _land(self, key: bytes, kept: Kept) -> None:
        """Keep what a call gave, and end those that followed it."""
        with self._lock:
            self._results[key] = kept
            self._leaders.pop(key, None)
            followers = self._followers.pop(key, ())
        for follower in followers:
            self._end_as_hit(follower, kept)

    def _end_as_hit(self, task: Task, kept: Kept) -> None:
        """Give a task what is kept, or its own copy of it."""
        error, result = kept
        if error is not None:
            # One object for all: without the frames of those who have asked before.
            BaseException.with_traceback(error, result)
            self._end_with(task, error, None)
        elif not isinstance(result, Frozen):
            self._end_with(task, None, result)
        elif len(result.data) > LARGE:
            self._actions.elsewhere(partial(self._end_with_copy, task, kept))
        else:
            self._end_with_copy(task, kept)

    def _end_with_copy(self, task: Task, kept: Kept) -> None:
        """Unpickle what is kept for a task; if that fails, have it executed instead.

        It fails where a class of the script is another by now. Then the result is
        forgotten before the task is looked up again, or it would be met again.
        """
        try:
            result = self._keeper().unpack(kept[1].data, self._identify)
        except BaseException:
            assert task.extras is not None
            assert task.extras.key is not None
            with self._lock:
                if self._results.get(task.extras.key) is kept:
                    del self._results[task.extras.key]
            self._actions.launch([task])
        else:
            self._end_with(task, None, returned(result))

    def _end_with(self, task: Task, error: BaseException | None, result: Any) -> None:
        state = TaskState.MEMOIZED if error is None else TaskState.FAILED
        task.need_extras().memo = "hit"
        if error is not None:  # here, and not in the step, which runs no user's code
            name_call(task, error)
        self._actions.end(task, state, error, result)


def _conditions(task: Task) -> tuple[Any, ...]:
    """Return what may decide whether a call fails, and is not in its key."""
    return task.time_limit, task.spec.executors, task.spec.retries, task.spec.resources


def _with_place(manifest: Callable[[], Mapping[str, str]], part: str) -> dict[str, str]:
    return {**manifest(), f"argument {CALLED_IN}": part}


def _made_here(extras: Extras) -> list[File]:
    """Return the local files that a task makes: outputs and named streams.

    A stream with a name of its own in each run is none that a later call asks for.
    """
    files = list(extras.outputs)
    for name, value in extras.streams.items():
        if name not in extras.ignored:
            place = value[0] if isinstance(value, tuple) else value
            files.append(place if isinstance(place, File) else File(place))
    return [file for file in files if not file.remote]


def missing_output(extras: Extras) -> str:
    """Tell which of the files that a task is to make is not there; ``""``: none.

    Remote files are not looked at.
    """
    for file in _made_here(extras):
        if not os.path.exists(file.filepath):  # noqa: PTH110  (a str is at hand)
            return f"outputs are missing: {file.filepath}"
    return ""
