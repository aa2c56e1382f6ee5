"""From a call to a task in the inbox. Runs on the caller's thread.

Only the last step, one ``append``, makes the task known to the kernel; an exception
or a Ctrl-C before it leaves nothing behind.
"""

from __future__ import annotations

import itertools
import operator
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from jackfield.abc import Work, this_thread
from jackfield.clock import monotonic
from jackfield.errors import KernelClosedError
from jackfield.futures import AppFuture, DataFuture
from jackfield.graph.arguments import ATOMIC, candidates, find, may_hold
from jackfield.graph.route import INTERNAL
from jackfield.graph.task import AppSpec, Extras, Task, is_own, parents_of
from jackfield.steps.call import READ_BY_KERNEL
from jackfield.steps.part import Part

if TYPE_CHECKING:
    from jackfield.executors.pool import ExecutorPool
    from jackfield.graph.arguments import Found, Opener
    from jackfield.graph.observation import Observation
    from jackfield.graph.state import Closing
    from jackfield.graph.task import Home
    from jackfield.staging.mover import Mover
    from jackfield.steps.call import CallReader
    from jackfield.steps.foreign import ForeignFutures
    from jackfield.steps.in_task import InTask
    from jackfield.steps.throttle import Throttle
    from jackfield.stream import EventStream

_NO_KWARGS: Final[dict[str, Any]] = {}
"""One for all tasks that wait, instead of one for each."""

_GET_ITEM: Final = AppSpec("getitem", executors=(INTERNAL,))


class Submitter:
    """Makes a task of a call and hands it to the dispatcher.

    While ``limit`` tasks (``max_pending``; ``None`` for no limit) are unfinished, the
    throttle holds the caller up. ``observation`` tells observers who submits what.
    """

    def __init__(
        self,
        *,
        home: Home,
        post: Callable[[Any], None],
        closing: Closing,
        pool: ExecutorPool,
        reader: CallReader,
        limit: int | None,
        throttle: Throttle,
        dependencies: Dependencies,
        observation: Observation,
    ) -> None:
        self._observation = observation
        self._home = home
        self._post = post
        self._closing = closing
        self._pool = pool
        self._reader = reader
        self._limit = limit
        self._throttle = throttle
        self._dependencies = dependencies
        self._ids: itertools.count[int] = itertools.count()
        # Numbers of calls that were refused. The next calls get them.
        self._unused: deque[int] = deque()
        self._ranked: bool = False  # whether any call has had a priority

    def submit(
        self,
        spec: AppSpec,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> AppFuture[Any]:
        """Submit one call.

        Raises:
            KernelClosedError: The kernel takes no more tasks.
            ConfigurationError: An executor that is asked for is unknown or cannot do
                what is asked for; or an argument that the kernel reads is bad.
            NoProviderError: No plugin serves the scheme of a remote file.
        """
        if self._closing.reason is not None and spec.kind != "transfer":
            reason = self._closing.reason
            raise KernelClosedError(f"cannot submit {spec.name!r}: {reason}")
        task_id = self._number() if self._unused else next(self._ids)
        extras: Extras | None = None
        parents: Sequence[Task] | None = None
        found: Found | None = None
        try:
            if spec.special or (kwargs and not READ_BY_KERNEL.isdisjoint(kwargs)):
                extras, kwargs = self._reader.read(spec, task_id, kwargs)
            walltime = spec.walltime if extras is None else extras.walltime
            if (
                walltime != spec.walltime
                or spec.route is None
                or spec.route.version is not self._pool.version
            ):
                self._pool.route(spec, walltime)
            if kwargs or not ATOMIC.issuperset(map(type, args)):
                awaited = kwargs
                if extras is not None and extras.outputs:  # these are yet to be made
                    awaited = {k: kwargs[k] for k in kwargs if k != "outputs"}
                parents, found = self._dependencies.find(args, awaited)
            if self._limit is not None and spec.kind != "transfer":
                self._throttle.wait(self._limit)
        except BaseException:  # there is no such task
            self._unused.append(task_id)
            raise
        kwargs = kwargs or _NO_KWARGS
        work = Work(task_id, 1, spec.name, function, args, kwargs, None, spec.resources)
        task = Task(task_id, spec, self._home, work)
        task.parents = parents
        future = task.future = AppFuture(task)
        if extras is not None:
            self._add_extras(task, future, extras)
        if self._ranked:  # by default it is that of the task that makes the call
            said = None if extras is None else extras.priority
            caller = this_thread.work if said is None else None
            work.priority = caller.priority if caller is not None else said or 0
        runs = self._observation.runs
        if runs is not None:
            self._note_submission(task, runs)
        if found is None:
            self._post(task)
        else:
            self._dependencies.post_waiting(task, future, found)
        return future

    # The functions below do what only few tasks need. They are called for those alone,
    # so that a plain task pays nothing for it.

    def _add_extras(self, task: Task, future: AppFuture[Any], extras: Extras) -> None:
        """Give a task what the kernel has read from its call."""
        task.extras = extras
        if extras.priority:
            self._ranked = True
        if extras.outputs or extras.streams:
            task.data_futures = self._dependencies.data_futures(task, future, extras)

    def _note_submission(self, task: Task, stream: EventStream) -> None:
        """Note for observers when a task is submitted, and by which task, if by one.

        Where they are to miss nothing, this waits until they have room for it.
        """
        if self._observation.complete and task.spec.kind != "transfer":
            self._throttle.wait_for_observers(stream)
        task.noted = monotonic()
        caller = this_thread.work
        parent = None if caller is None else self._home.task_of_work(caller)
        if parent is not None:
            task.note_parent(parent)

    def _number(self) -> int:
        try:
            return self._unused.popleft()
        except IndexError:  # another thread has taken it
            return next(self._ids)

    def submit_internal(
        self, spec: AppSpec, action: Callable[[], Any]
    ) -> AppFuture[Any]:
        """Submit a task of the kernel's own."""
        return self.submit(spec, action, (), {})

    def lift_item(self, future: AppFuture[Any], key: Any) -> AppFuture[Any]:
        """Return the future of one item of a future's result."""
        return self.submit(_GET_ITEM, operator.getitem, (future, key), {})


class Dependencies(Part):
    """Finds what a task waits for.

    With ``deep``, futures are looked for in containers; with ``copies``, ``file:`` URLs
    are staged like those of other schemes. Remote files are staged in by ``transfers``,
    unless ``in_task`` says that the task does that itself. ``opener`` returns what asks
    plugins for the futures in values of other classes; ``None`` if none can tell.
    """

    home: Home
    deep: bool
    copies: bool
    post: Callable[[Any], None]
    foreign: ForeignFutures
    transfers: Callable[[], Mover]
    in_task: InTask
    opener: Callable[[], Opener | None]

    def find(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Sequence[Task] | None, Found | None]:
        """Return what arguments hold to wait for: the usual shape, or any other."""
        values = candidates(args, kwargs)
        if not values:
            return None, None
        parents = parents_of(values, self.home)
        if parents is not None:
            return parents, None
        opener = self.opener()
        if opener is None:  # else a plugin may know of more in them
            values = may_hold(values)
            parents = parents_of(values, self.home)
            if parents is not None:
                return parents or None, None
        return None, find(
            args, kwargs, deep=self.deep, copies=self.copies, opener=opener
        )

    def data_futures(
        self, task: Task, future: AppFuture[Any], extras: Extras
    ) -> tuple[DataFuture, ...]:
        """Return a future for each file that a task makes."""
        made = extras.files()
        remote = extras.remote_outputs()
        if remote and self.in_task.decide(task, remote):
            # The copies of these are elsewhere.
            made = [one.cleancopy() if one in remote else one for one in made]
        return tuple([DataFuture(task, future, file) for file in made])

    def post_waiting(self, task: Task, future: AppFuture[Any], found: Found) -> None:
        """Post a task that waits for what was found."""
        if found.files:
            for file in self.in_task.left(task, found.files):
                fetched = self.transfers().fetch(file)
                found.files[file] = fetched
                found.futures[fetched] = None
        foreign = [one for one in found.futures if not is_own(one, self.home)]
        task.found = found
        task.waiting = len(foreign)
        try:
            self.post(task)
            self.foreign.watch(task, foreign)
        except BaseException:  # else it would wait for what nobody watches
            self.home.cancel(task, future)
            raise
