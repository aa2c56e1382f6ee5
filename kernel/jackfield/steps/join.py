"""Tasks that wait once more after their function has returned.

A join app's body returns futures, and any app may have files to stage out: the task
ends when these have. All of it runs with the scheduler's role.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jackfield.errors import CircularWaitError
from jackfield.graph import transitions
from jackfield.graph.dependency_errors import name_call
from jackfield.graph.task import Task, is_own, own_tasks
from jackfield.states import FINAL, TaskState
from jackfield.steps.part import Part

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future

    from jackfield.graph.observation import Observation
    from jackfield.graph.task import Home
    from jackfield.graph.transitions import Effects
    from jackfield.results.flights import Flights
    from jackfield.steps.ends import Ends
    from jackfield.steps.foreign import ForeignFutures
    from jackfield.steps.lazy import Lazy


class Joins(Part):
    """Has tasks wait for inner futures, and finds joins that wait for themselves.

    Futures that are no tasks of this kernel are watched by ``foreign``. ``memo`` gives
    the flights, made on first use: they know which calls follow which. ``observation``
    tells observers who joins.
    """

    live: dict[int, Task]
    home: Home
    ends: Ends
    foreign: ForeignFutures
    memo: Lazy[Flights]
    observation: Observation

    def join(
        self, task: Task, value: Any, inner: list[Future[Any]], effects: Effects
    ) -> None:
        """Have a task, whose function returned ``value``, wait for inner futures."""
        if task.state in FINAL or task.extras is None:
            return
        own = own_tasks(inner, self.home)
        blocked = transitions.waits_for(task, own, dependencies=Task.dependencies)
        if blocked is not None:
            error = CircularWaitError(
                f"Join {task.title} returned a future of task {blocked.title}, which "
                f"waits for the join itself: neither could ever end."
            )
            name_call(task, error)
            self.ends.end(task, TaskState.FAILED, error, None, effects)
            return
        foreign = [future for future in inner if not is_own(future, self.home)]
        task.state = TaskState.JOINING
        task.extras.value = value
        task.waiting = len(foreign)  # ``add`` counts our own tasks besides
        task.extras.inner = own
        if self.observation.tasks is not None:
            self.observation.tasks.note((task,))
        followed = self.memo.made is not None and self.memo.made.joins_followed
        risky = followed and self._waits_for(task, own) is not None
        failed = task.extras.blamed = transitions.add(self.live, task, own)
        if risky:
            self._refuse_circles_through(task, effects)
        if failed is not None and (task.waiting == 0 or not task.extras.joining):
            self.ends.fail_dependents(failed, [task], effects)
        elif task.waiting == 0:
            effects.joined.append(task)
        elif foreign:
            effects.rest.append((self.foreign.watch, task, foreign))

    def _waits_for(self, task: Task, targets: Iterable[Task]) -> Task | None:
        """Do as ``transitions.waits_for``; equal calls wait for each other too."""
        flights = self.memo()

        def dependencies(one: Task) -> Iterable[Task]:
            leader = flights.leader(one)
            return one.dependencies() if leader is None else (leader,)

        return transitions.waits_for(task, targets, flights.followers, dependencies)

    def _refuse_circles_through(self, task: Task, effects: Effects) -> None:
        followers = self.memo().followers
        for leader in list(transitions.downstream(task, followers)):
            for follower in followers(leader):
                self.refuse_circle(follower, leader, effects)

    def refuse_circle(self, task: Task, leader: Task, effects: Effects) -> None:
        """End a follower if its leader is a join that waits for this follower.

        ``task`` is ended and not ``leader``. If the join were ended instead, ``task``
        would run in its place, return a future of itself, and be in a circle again.
        """
        if task.state in FINAL:
            return
        if self._waits_for(task, [leader]) is not None:
            error = CircularWaitError(
                f"Task {task.title} is the same call as join {leader.title}, which "
                f"waits for it: neither could ever end."
            )
            name_call(task, error)
            self.ends.end(task, TaskState.FAILED, error, None, effects)
