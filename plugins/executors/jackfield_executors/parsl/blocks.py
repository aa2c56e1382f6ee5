"""The blocks of an executor of Parsl's, which are jobs: as many as are wanted.

Parsl's own scaling is a part of its DataFlowKernel, and takes workers away from running
tasks unless it is told for how long they have to be idle. Here a block that is to go is
*held* first: the interchange gives its managers nothing more. When it tells that they
are held and have no task left, their job is ended. So no task is lost by that, but for
one case: a block that nobody has heard of yet is ended at once, and may come just then.

*A block is over before it had a worker.* That is a failed start. After ``MOST_FAILED``
in a row, no more are asked for.
"""

from __future__ import annotations

import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from jackfield.clock import monotonic
from jackfield_executors.jobqueue import squeue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

LOOK_S: Final = 5.0
"""Seconds between two looks at the jobs; a provider may ask for more."""

WHY_S: Final = 5.0
"""Seconds between two questions why blocks are not there yet."""

MOST_FAILED: Final = 3
"""When so many blocks in a row have ended without a worker, no more are asked for."""

START_S: Final = 5.0
"""Seconds that a block is expected to take to start, until one has shown it."""


class Told(NamedTuple):
    """What the driver is told of workers and blocks.

    Attributes:
        workers: How many there are now.
        size: How many a block has, as far as it is known.
        pending: Blocks that are on their way.
        why: Why they are not there, in a sentence; empty if none is missing.
        start_s: Seconds that the last block took to have a worker.
    """

    workers: int
    size: int
    pending: int
    why: str
    start_s: float


class Blocks:
    """Keeps as many blocks up as are wanted. ``step`` is for one thread at a time.

    Attributes:
        wanted: How many there are to be; set on any thread.
        failed: How many in a row had no worker.
        living: Those that are not over, with when they were asked for.
    """

    def __init__(self, htex: Any, wanted: int) -> None:
        self.wanted: int = wanted
        self.failed: int = 0
        self.living: dict[str, float] = {}
        self._htex = htex
        self._size = max(1, int(htex.workers_per_node) * htex.provider.nodes_per_block)
        self._start_s = START_S
        self._seen: set[str] = set()  # they have, or had, a worker
        self._going: set[str] = set()  # they are held, and end when they have no task
        self._over: set[str] = set()
        self._refused = False  # one was not taken, since the last look
        self._looked = monotonic()
        self._asked_why = -WHY_S
        self._reasons: Mapping[str, str] = {}

    def begin(self, count: int) -> None:
        """Ask for blocks. The next look sees those that are refused as failed."""
        begun = self._htex.scale_out_facade(count)
        self.living |= dict.fromkeys(begun, monotonic())
        self._refused = len(begun) < count

    def step(self, managers: Sequence[Mapping[str, Any]]) -> Told:
        """Look at the blocks; ask for some, and end some.

        Args:
            managers: What the interchange tells of those that are connected.
        """
        active: set[str] = set()  # among those that are to go
        tasks: dict[str, int] = {}
        workers: dict[str, int] = {}
        for one in managers:
            block = one["block_id"]
            tasks[block] = tasks.get(block, 0) + one["tasks"]
            workers[block] = workers.get(block, 0) + one["worker_count"]
            if block not in self._seen:
                self._seen.add(block)
                self.failed = 0
                self._start_s = monotonic() - self.living.get(block, monotonic())
            if block in self._going and one["active"]:  # it has come since
                active.add(block)
                self._hold(one["manager"])
        # Those of whom this was told were held before: no task can come to them.
        self._end(b for b in self._going if not tasks.get(b) and b not in active)
        looked = self._look_at_jobs()
        staying = [block for block in self.living if block not in self._going]
        missing = self.wanted - len(staying)
        if missing > 0 and self.failed < MOST_FAILED and not self._refused:
            if not self.failed:
                self.begin(missing)
            elif looked:  # one at a time, as a trial
                self.begin(1)
        elif missing < 0:
            self._let_go(sorted(staying, key=lambda b: tasks.get(b, -1))[:-missing])
        self._size = max([self._size, *workers.values()])
        pending = self._pending()
        if pending and monotonic() - self._asked_why > WHY_S:
            self._asked_why = monotonic()
            self._reasons = self._ask_why(pending)
        return Told(
            # A manager that was killed is told of until its heartbeat is missed; the
            # job that it was in may be known to have ended long before.
            sum(
                one["worker_count"]
                for one in managers
                if one["active"] and one["block_id"] not in self._over
            ),
            self._size,
            len(pending),
            self._why(pending),
            self._start_s,
        )

    def jobs(self) -> list[Any]:
        """Return the jobs that are not known to be over."""
        known = list(self._htex.blocks_to_job_id.items())
        return [job for block, job in known if block not in self._over]

    def _look_at_jobs(self) -> bool:
        """See which blocks have ended, if that is due; tell whether it was."""
        provider = self._htex.provider
        wait = max(LOOK_S, provider.status_polling_interval or 0)
        if monotonic() - self._looked < wait:
            return False
        self._looked, self._refused = monotonic(), False
        for block, status in self._htex.status().items():
            if not status.terminal or block in self._over:
                continue
            self._forget(block)
            if block not in self._seen:
                self.failed += 1
                no_more = "; no more blocks" * (self.failed >= MOST_FAILED)
                print(f"Block {block} has had no worker{no_more}", flush=True)  # noqa: T201  (into the log)
        return True

    def _forget(self, block: str) -> None:
        self._over.add(block)
        self._going.discard(block)
        self.living.pop(block, None)

    def _let_go(self, blocks: Iterable[str]) -> None:
        """End blocks that have no worker yet; the others when they have no task."""
        self._going.update(blocks)
        self._end(block for block in self._going if block not in self._seen)

    def _hold(self, manager: str) -> None:
        """Have the interchange give a manager nothing more."""
        self._htex._hold_manager(manager)

    def _end(self, blocks: Iterable[str]) -> None:
        """End the jobs of blocks."""
        ending = list(blocks)
        if ending:
            known = self._htex.blocks_to_job_id
            self._htex.provider.cancel([known[one] for one in ending if one in known])
        for block in ending:
            self._forget(block)

    # -- why there are not more

    def _pending(self) -> list[str]:
        """Return the blocks that are on their way."""
        return [b for b in self.living if b not in self._seen | self._going]

    def _why(self, pending: Sequence[str]) -> str:
        if not pending:
            return ""
        minutes = int((monotonic() - min(self.living[one] for one in pending)) / 60)
        blocks = "one block is" if len(pending) == 1 else f"{len(pending)} blocks are"
        long = f" for {minutes} min" * bool(minutes)
        reasons = [self._reasons[one] for one in pending if self._reasons.get(one)]
        because = f": {reasons[0]}" if reasons else ""
        return f"{blocks} on the way{long}{because}"

    def _ask_why(self, pending: Sequence[str]) -> Mapping[str, str]:
        """Return what is known of blocks that are on their way, by block."""
        known = self._htex.blocks_to_job_id
        told: Mapping[str, tuple[str, str]] = {}
        if type(self._htex.provider).__name__ == "SlurmProvider":
            with suppress(OSError, subprocess.SubprocessError):
                told = squeue()
        reasons = {}
        for block in pending:
            job, status = known.get(block), self._htex.status_facade.get(block)
            state, reason = told.get(str(job), ("", ""))
            if not state and status is not None:
                state, reason = status.state.name, status.message or ""
            if state:
                because = f" ({reason})" if reason else ""
                reasons[block] = f"job {job} is {state.lower()}{because}"
        return reasons
