"""Equal calls of a cached app share one execution.

Within a run, a function is identified by the function object, and an argument by
its pickle with the pickler's memo off, so that equal pickles mean equal values; two
equal values with different pickles cost a repeated execution, never a wrong
result. Plugins may give better identities (``jackfield_hash_function``,
``jackfield_hash_value``). Results go to and come from a checkpoint store only where
a plugin identifies the function, because a function object is nothing that a later
run could compare.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import pickle
import threading
import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from jackfield.abc import CheckpointRecord, CheckpointStore
from jackfield.dataflow.asking import ask
from jackfield.dataflow.finish import refuse_circle
from jackfield.errors import MemoKeyError
from jackfield.files import File
from jackfield.states import TaskState

if TYPE_CHECKING:
    from jackfield.dataflow.effects import Effects
    from jackfield.dataflow.engine import Engine
    from jackfield.dataflow.task import Task


class _Flight:
    """A cached call that is being executed, and the equal calls that wait."""

    __slots__ = ("followers", "leader")

    def __init__(self, leader: Task) -> None:
        self.leader: Task = leader
        self.followers: list[Task] = []


class Memo:
    """The results of one kernel's cached apps, by key."""

    def __init__(self, engine: Engine, store: CheckpointStore | None) -> None:
        self._engine: Engine = engine
        self._store: CheckpointStore | None = store
        self._lock: threading.Lock = threading.Lock()
        self._flights: dict[bytes, _Flight] = {}
        self._results: dict[bytes, Any] = {}
        self._functions: weakref.WeakKeyDictionary[Any, bytes] = (
            weakref.WeakKeyDictionary()
        )
        self._lasting: set[bytes] = set()
        self._tickets: itertools.count[int] = itertools.count()
        self.joins_followed: bool = False  # ever: only then can calls wait in a circle

    # -- a task's way

    def begin(self, task: Task) -> bool:
        """Look a ready task up; tell whether it has to be executed.

        Raises:
            MemoKeyError: No key can be made of its function or arguments.
        """
        extras = task.extras
        assert extras is not None
        if extras.key is not None:  # a retry: it leads its flight already
            return True
        key = self._key(task)
        with self._lock:
            hit = key in self._results
            flight = None if hit else self._flights.get(key)
            if flight is not None:
                flight.followers.append(task)
            elif not hit:
                self._flights[key] = _Flight(task)
                extras.key = key
        if flight is not None:
            if flight.leader.spec.kind == "join":
                self.joins_followed = True
                refuse = partial(refuse_circle, self._engine, task, flight.leader)
                self._engine.control(refuse)
            return False
        if hit:
            self._end_as_hit(task, self._results[key])
            return False
        stored = self._load(key)
        if stored is not None:
            self._keep(key, stored[0])
            self._end_as_hit(task, stored[0])
            return False
        return True

    def remember(self, task: Task, value: Any) -> None:
        """Keep a result and give it to the calls that waited for it."""
        extras = task.extras
        assert extras is not None
        assert extras.key is not None
        try:  # what can be had from here is in the store
            if self._store is not None and extras.key in self._lasting:
                data = pickle.dumps(value, protocol=5)
                record = CheckpointRecord(extras.key, data, task.spec.name, time.time())
                self._store.put_many([record])
        finally:
            self._keep(extras.key, value)

    def free(self, task: Task) -> None:
        """Let those that waited for a task that failed be executed themselves."""
        extras = task.extras
        if extras is None or extras.key is None:
            return
        with self._lock:
            flight = self._flights.get(extras.key)
            if flight is None or flight.leader is not task:
                return
            del self._flights[extras.key]
        if flight.followers:
            self._engine.control(partial(_launch_again, flight.followers))

    def followers(self, task: Task) -> tuple[Task, ...]:
        """Return the calls that wait for the result of ``task``, equal ones."""
        if task.extras is None or task.extras.key is None:
            return ()
        with self._lock:
            flight = self._flights.get(task.extras.key)
            if flight is None or flight.leader is not task:
                return ()
            return tuple(flight.followers)

    def close(self) -> None:
        """Close the store."""
        if self._store is not None:
            self._store.close()

    def _keep(self, key: bytes, value: Any) -> None:
        with self._lock:
            self._results[key] = value
            flight = self._flights.pop(key, None)
        for follower in flight.followers if flight is not None else ():
            self._end_as_hit(follower, value)

    def _end_as_hit(self, task: Task, value: Any) -> None:
        def end(effects: Effects) -> None:
            self._engine.end(task, TaskState.MEMOIZED, None, value, effects)

        self._engine.control(end)

    def _load(self, key: bytes) -> tuple[Any] | None:
        if self._store is None or key not in self._lasting:
            return None
        try:
            record = self._store.get(key)
            return None if record is None else (pickle.loads(record.value),)
        except Exception:
            self._engine.log.exception("A stored result cannot be read; a miss")
            return None

    # -- keys

    def _key(self, task: Task) -> bytes:
        work, spec = task.work, task.spec
        assert work is not None
        function, lasting = self._function_identity(work.function)
        digest = hashlib.blake2b(function, digest_size=32)
        for place, value in enumerate(work.args):
            self._feed(digest, task, f"argument {place + 1}", value)
        for name in sorted(work.kwargs):
            if name not in spec.ignore_for_cache:
                self._feed(digest, task, f"argument {name!r}", work.kwargs[name])
        key = digest.digest()
        if lasting:
            self._lasting.add(key)
        return key

    def _function_identity(self, function: Callable[..., Any]) -> tuple[bytes, bool]:
        manager = self._engine.manager
        answer = ask(manager, manager.hash_function, _checked, function)
        if answer is not None:
            return answer, True
        with self._lock:
            if function not in self._functions:
                ticket = next(self._tickets)
                self._functions[function] = f"{os.getpid()}:{ticket}".encode()
            return self._functions[function], False

    def _feed(self, digest: Any, task: Task, what: str, value: Any) -> None:
        buffer = io.BytesIO()
        try:
            _ValuePickler(buffer, self._engine).dump(value)
        except Exception as error:
            raise MemoKeyError(
                task.spec.name,
                what,
                f"{error}. Name it in ignore_for_cache, or give its type an identity "
                f"with a plugin's jackfield_hash_value.",
            ) from error
        data = buffer.getbuffer()
        digest.update(f"{what}:{len(data)}:".encode())
        digest.update(data)


class _ValuePickler(pickle.Pickler):
    """Writes a value's identity: its pickle, except where a rule says otherwise."""

    def __init__(self, buffer: io.BytesIO, engine: Engine) -> None:
        super().__init__(buffer, protocol=5)
        self.fast = True  # no memo: shared and equal parts are written alike
        self._engine: Engine = engine

    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, File):
            return ("file", obj.url, obj.sha256, obj.size, _stat(obj))
        if isinstance(obj, set | frozenset):
            return (type(obj).__qualname__, sorted(self._digest(item) for item in obj))
        manager = self._engine.manager
        answer = ask(manager, manager.value_hashers(type(obj)), _checked, obj)
        return None if answer is None else ("hash", type(obj).__qualname__, answer)

    def _digest(self, value: Any) -> bytes:
        buffer = io.BytesIO()
        _ValuePickler(buffer, self._engine).dump(value)
        return hashlib.blake2b(buffer.getbuffer(), digest_size=16).digest()


def _checked(answer: Any) -> bytes:
    if not isinstance(answer, bytes):
        raise TypeError(f"a plugin answered {type(answer).__name__}, not bytes")
    return answer


def _stat(file: File) -> tuple[int, int] | None:
    try:
        status = os.stat(file.filepath)  # noqa: PTH116  (a str is at hand)
    except (OSError, ValueError):
        return None
    return status.st_size, status.st_mtime_ns


def _launch_again(followers: list[Task], effects: Effects) -> None:
    effects.ready.extend(task for task in followers if task.state is TaskState.READY)
