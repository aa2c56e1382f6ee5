"""Works that wait, those of higher priority first, and equal ones in order.

Most works have no priority, and none of this is to cost them anything. So works of each
priority are in a *level* of their own, a plain queue; those of priority 0 in one that
is always there, and that callers may use as it is. A heap has the other priorities, and
says which level comes first: what a work costs grows with the logarithm of their
number.

Nothing here is locked: callers have a lock.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from jackfield.abc import Work

L = TypeVar("L", bound="deque[Any] | OrderedDict[Any, None]")

FEW: Final = 32
"""So many empty queues are no burden."""


class Levels(Generic[L]):
    """A queue for each priority.

    Attributes:
        plain: That of priority 0.
    """

    def __init__(self, make: Callable[[], L]) -> None:
        self.plain: L = make()
        self._make = make
        self._others: dict[int, L] = {}
        self._heap: list[int] = []  # the priorities of `_others`, negative

    def of(self, priority: int) -> L:
        """Return the queue of a priority, to put something in."""
        if not priority:
            return self.plain
        level = self._others.get(priority)
        if level is None:
            level = self._others[priority] = self._make()
            heapq.heappush(self._heap, -priority)
        return level

    def first(self) -> L:
        """Return the first queue that has something; an empty one if none has."""
        heap = self._heap
        while heap:
            level = self._others[-heap[0]]
            if level:
                return self.plain if heap[0] > 0 and self.plain else level
            del self._others[-heapq.heappop(heap)]
        return self.plain

    def in_order(self) -> Iterator[L]:
        """Give the queues, that of the highest priority first. None must be put in.

        Each takes the logarithm of how many were given before: of a heap, what comes
        next is one of the children of those that have been.
        """
        heap, plain = self._heap, self.plain
        coming = [(heap[0], 0)] if heap else []
        while coming:
            key, at = heapq.heappop(coming)
            if key > 0 and plain:
                yield plain
                plain = self._make()
            yield self._others[-key]
            for child in range(2 * at + 1, min(2 * at + 3, len(heap))):
                heapq.heappush(coming, (heap[child], child))
        yield plain

    def drop_empty(self) -> None:
        """Forget the priorities of which there is nothing."""
        self._others = {key: level for key, level in self._others.items() if level}
        self._heap = [-key for key in self._others]
        heapq.heapify(self._heap)

    def clear(self) -> None:
        """Forget everything."""
        self.plain.clear()
        self._others.clear()
        self._heap.clear()


class Line(Levels["deque[Work]"]):
    """Works that are taken from the front alone.

    Attributes:
        ranked: How many of them have a priority.
    """

    def __init__(self) -> None:
        super().__init__(deque)
        self.ranked: int = 0

    def __bool__(self) -> bool:
        return bool(self.plain or self.ranked)

    def __len__(self) -> int:
        return len(self.plain) + self.ranked

    def __iter__(self) -> Iterator[Work]:
        for level in self.in_order():
            yield from level

    def append(self, work: Work) -> None:
        """Put a work behind all others of its priority."""
        self.of(work.priority).append(work)
        self.ranked += work.priority != 0

    def appendleft(self, work: Work) -> None:
        """Put a work before all others of its priority."""
        self.of(work.priority).appendleft(work)
        self.ranked += work.priority != 0

    def popleft(self) -> Work:
        """Take the first work out; there is one."""
        level = self.first()
        self.ranked -= level is not self.plain
        return level.popleft()

    def clear(self) -> None:
        """Forget all works."""
        super().clear()
        self.ranked = 0


class Ranked(Levels["OrderedDict[Work, None]"]):
    """Works any of which may be taken out."""

    def __init__(self) -> None:
        super().__init__(OrderedDict)
        self._ranked = 0  # how many have a priority

    def __bool__(self) -> bool:
        return bool(self.plain or self._ranked)

    def __len__(self) -> int:
        return len(self.plain) + self._ranked

    def __iter__(self) -> Iterator[Work]:
        self.first()  # drops empty ones before it, as they are left by ``discard``
        for level in self.in_order():
            yield from level

    def __contains__(self, work: Work) -> bool:
        if not work.priority:
            return work in self.plain
        return work in self._others.get(work.priority, ())

    def extend(self, works: Sequence[Work]) -> None:
        """Put works behind all others of their priorities."""
        if not any([work.priority for work in works]):  # noqa: C419  (a list is faster)
            self.plain.update(dict.fromkeys(works))
            return
        for work in works:
            self.of(work.priority)[work] = None
            self._ranked += work.priority != 0

    def put_first(self, work: Work) -> None:
        """Put a work before all others of its priority; it is not there."""
        level = self.of(work.priority)
        level[work] = None
        level.move_to_end(work, last=False)
        self._ranked += work.priority != 0

    def discard(self, work: Work) -> bool:
        """Take a work out, if it is there; return whether it was."""
        if work not in self:
            return False
        del self.of(work.priority)[work]
        self._ranked -= work.priority != 0
        if len(self._heap) > 2 * self._ranked + FEW:
            self.drop_empty()  # at least half of them, so this pays
        return True

    def clear(self) -> None:
        """Forget all works."""
        super().clear()
        self._ranked = 0


def in_turn(work: Work) -> tuple[int, int]:
    """Return what works of several queues are sorted by: priority, then age."""
    return -work.priority, work.id


def merged(*queues: Iterable[Work]) -> Iterator[Work]:
    """Give the works of several queues in one order."""
    return heapq.merge(*queues, key=in_turn)
