"""The side of the worker: our own ``processes`` pool, inside a worker of an engine.

The engine starts an agent, carries bytes to it and back, and tells when it is gone.
What becomes of a task is what the pool does on one machine already: results come one by
one, a walltime and a cancel kill, and a task that dies takes no other one with it.

Nothing of a user is unpickled in the agent's own process. A call stays bytes until it
is in a process of the pool, and so does its outcome until it is back in the driver.

An agent that does not see the driver's disk has a directory of its own: with the
project's modules (``shipping``), and with one directory for each call that has files
(``parcels``). If it is killed, the next agent of that machine removes the directory,
or the driver at its end, if it is there. What tasks print and log goes home among the
results.
"""

from __future__ import annotations

import logging
import os
import pickle
import shutil
import sys
import tempfile
import threading
from collections import deque
from functools import partial
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from jackfield.abc import ExecutorContext, Work
from jackfield.errors import TransferError, WorkerLostError
from jackfield_executors import measured
from jackfield_executors.each_its_own import all_failed
from jackfield_executors.measured import Ran
from jackfield_executors.processes.executor import ProcessExecutor
from jackfield_executors.processes.holding import Later
from jackfield_executors.processes.kept import PackedResult
from jackfield_executors.processes.options import parse_options
from jackfield_executors.processes.shared import GONE
from jackfield_executors.remote.awake import Awake
from jackfield_executors.remote.fingerprint import fingerprint
from jackfield_executors.remote.parcels import Returned, run_parcel
from jackfield_executors.remote.places import Home, is_seen, told
from jackfield_executors.remote.shelf import (
    LACKING,
    LARGE,
    STAYS,
    Shelf,
    at_hand,
    pack_apart,
    pack_to_send,
    parts_of,
    size_of,
    to_send,
)
from jackfield_executors.remote.shipping import unpack, use
from jackfield_executors.shares import CORES, NOTHING
from jackfield_serialize import Packed, pack_error, run_packed
from jackfield_system.held_directories import HeldDirectory, sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jackfield.abc import Outcome
    from jackfield.events import Running
    from jackfield_executors.remote.shipping import Code

log: logging.Logger = logging.getLogger("jackfield.executors.remote")

LEASE_S: Final = 30.0
"""Seconds without a word of the driver's after which an agent takes it for dead, unless
``Agent.held`` knows better."""

ALIVE: Final = -1
"""In the place of a message's number: there is no message. The driver lives, but has
asked for nothing for a while, because it has to do with results."""

WATCHED: Final = -2
"""In the same place: somebody looks at what runs, and will for ``WATCHED_S``."""

WATCHED_S: Final = 12.0
"""Seconds for which an agent tells what runs, each second if that has changed."""

GATHER_S: Final = 0.002
"""Seconds that an answer waits for more results, if there are more calls to run."""

ANSWER: Final = 64_000_000
"""Bytes of results in an answer after which the others come with the next one."""

MOST_PRINTED: Final = 1_000_000
"""Characters of what tasks print and log that wait for a question of the driver's. What
comes beyond that is dropped, and counted."""

PRINTED: Final = -1
"""In the place of a token: the result is what tasks have printed and logged meanwhile,
as an outcome ``("printed", [(stream, text or record)])``."""

HOME: Final = -2
"""In the same place: the result is one that was kept here, which the driver wants, as
an outcome ``("home", number, [pickle, *buffers])``; ``None`` in the place of the list
if it is not here."""

RUNS: Final = -3
"""In the same place: what runs here, as an outcome ``("runs", [Running], ahead)``, with
``measured.ahead()``. It is only told while somebody looks; see ``WATCHED``."""

END: Final = -1
"""In the place of a call to be cancelled: the pool is to end, and what tasks have
printed to be sent. The last result then has the outcome ``("silent",)``."""

Result: TypeAlias = tuple[int, float, Packed, Ran | None, Returned | None]
"""A call's token, the seconds that it took (0 if it did not end), its outcome, when and
where it ran if that is known, and its files if it has any."""

Answer: TypeAlias = tuple[int, int, list[Result]]
"""The number of the next message that the agent waits for, the number of the first of
these results, and the results."""


LACKS: Final = "what the task was to get is not on its worker any more"

WRITTEN_S: Final = 0.005
"""Seconds between two looks whether a result is written for which somebody waits."""

CODE: Final = "code"
LOGGED: Final = "log"


class Printed:
    """What tasks have printed and logged, up to a limit. Used under a lock."""

    def __init__(self) -> None:
        self._texts: list[tuple[str, str | bytes]] = []
        self._size = 0
        self._dropped = 0

    def __bool__(self) -> bool:
        return bool(self._texts)

    def add(self, stream: str, data: str | bytes) -> None:
        """Keep a text of a stream, or a log record."""
        if self._size > MOST_PRINTED:
            self._dropped += len(data)
            return
        self._size += len(data)
        self._texts.append((stream, data))

    def as_result(self) -> Result:
        """Return what there is, and begin anew."""
        texts, dropped = self._texts, self._dropped
        if dropped:
            came = f"[{dropped} characters came too fast, and are not shown]\n"
            texts.append(("stderr", came))
        self._texts, self._size, self._dropped = [], 0, 0
        return PRINTED, 0.0, ("printed", texts), None, None


class AgentEndedError(Exception):
    """The agent has ended, and with it what it was given."""


class Agent:
    """Runs calls for one driver. Its methods may be called on several threads.

    ``post`` tells why messages and results have numbers. ``_order`` guards what
    messages change; a thread that holds it may wait for ``_ready``, which guards the
    results, but not the other way round. The pool decides between an outcome and a
    cancel: it reports a work, or answers that it is cancelled.

    Args:
        label: The driver's executor, for messages.
        expected: The driver's fingerprint. An agent that has another starts nothing.
        workers: How many calls run at once.
        home: Where the driver is.
        resources: What it has of what works ask for, beyond a core for each of these.
    """

    def __init__(
        self,
        label: str,
        expected: str,
        workers: int,
        home: Home,
        resources: Mapping[str, float] = NOTHING,
    ) -> None:
        self._label = label
        self._workers = workers
        self._sees = is_seen(home)
        self._printed = Printed()
        self._fits = fingerprint() == expected
        self._ready = threading.Condition()
        self._results: deque[Result] = deque()
        self._first = 0  # the number of the first of these
        self._sizes: dict[int, int] = {}  # of the large ones, by number
        self._shelf = Shelf()  # under the same lock
        self._order = threading.Lock()
        self._next = 0  # the number of the message that is to be handled next
        self._early: dict[int, bytes] = {}  # messages that have overtaken others
        self._works: dict[int, Work] = {}
        self._tokens: dict[Work, int] = {}
        self._functions: dict[int, Callable[..., Any]] = {}
        self._made: HeldDirectory | None = None  # once something needed it
        self._code = ("", "")  # where modules were unpacked, and their digest
        self._no_code: TransferError | None = None  # why they were not
        self._awake = Awake()
        self._asked = 0.0  # when the driver was last heard, on that clock
        self._watched = 0.0  # until when somebody looks at what runs, on that clock
        self._told: list[Running] = []  # of what runs, by the thread that does
        # What waits until results have been written, and what comes then, under
        # ``_ready``; see ``_when_written``.
        self._unwritten: list[tuple[PackedResult, Callable[[], None]]] = []
        self._stopped = threading.Event()
        self._pool: ProcessExecutor | None = None
        if self._fits:
            options = {
                "workers": workers,
                "resources": {CORES: float(workers), **resources},
                "initializer": enter,
                "initargs": (home, self._sees),
            }
            add = self._add_printed
            self._pool = ProcessExecutor(
                parse_options(label, options), add, partial(add, LOGGED)
            )
            here = Path(tempfile.gettempdir())
            self._pool.start(ExecutorContext(label, here, self._report))
            for target, name in ((self._keep, "lease"), (sweep, "sweep")):
                name = f"jackfield-{label}-{name}"  # noqa: PLW2901  (in whole)
                threading.Thread(target=target, name=name, daemon=True).start()

    def hello(self) -> str:
        """Return what this process is, and whether it sees the driver's disk."""
        return told(fingerprint(), sees=self._sees)

    def put(self, number: int, data: bytes) -> None:
        """Take a message, which may have come before, or before its turn.

        One with the number ``ALIVE`` only shows that the driver lives, and one with
        ``WATCHED`` that somebody looks.
        """
        self._asked = self._awake.seconds
        if number == WATCHED:
            self._watched = self._asked + WATCHED_S
        with self._order:
            if number >= self._next:
                self._early[number] = data
            while (data := self._early.pop(self._next, b"")) != b"":
                self._next += 1
                self._handle(*pickle.loads(data))

    def _handle(
        self,
        code: Code | None,
        functions: dict[int, bytes],
        calls: list[Any],
        cancelled: int | None,
        wanted: Sequence[int],
        forgotten: Sequence[int],
    ) -> None:
        """Do what a message says; ``_order`` is held.

        Args:
            code: Modules to keep.
            functions: Functions to keep, by number.
            calls: Calls to run.
            cancelled: The call to stop, ``END``, or ``None``.
            wanted: Results that are kept here, and are to be sent.
            forgotten: Results that nobody will name again.
        """
        assert self._pool is not None
        if wanted or forgotten:
            self._look_after_kept(wanted, forgotten)
        if code is not None:
            self._unpack(*code)
        for number, function in functions.items():
            # One object for all its calls: so the pool sends it once, too.
            self._functions[number] = partial(run_timed, function)
        batch = self._works_of(calls)
        try:
            if batch and self._no_code is None:
                self._pool.submit(batch)
        except Exception as error:
            self._report(all_failed(batch, error))
        if self._no_code is not None:
            self._report(all_failed(batch, self._no_code))
        if cancelled == END:
            name = f"jackfield-{self._label}-end"
            threading.Thread(target=self._end_pool, name=name, daemon=True).start()
        elif cancelled is not None:
            unwanted = self._works.get(cancelled)
            if unwanted is not None and self._pool.cancel(unwanted):
                self._works.pop(cancelled, None)
                self._tokens.pop(unwanted, None)

    def _works_of(self, calls: Sequence[Any]) -> list[Work]:
        """Make works of calls; report those that cannot run. ``_order`` is held."""
        batch: list[Work] = []
        lacking: list[Work] = []
        for (
            token,
            task,
            attempt,
            name,
            number,
            walltime,
            resources,
            priority,
            measure,
            call,
            parcel,
            takes,
            keep,
        ) in calls:
            timed = self._functions[number]
            files = None
            if parcel:
                files = parcel, self._place_of(token)
            taken: dict[int, PackedResult] | None = {}
            if takes:
                with self._ready:
                    taken = self._shelf.find(takes)
            args = call, self._code, files, taken, keep
            work = Work(task, attempt, name, timed, args, {}, walltime, resources)
            work.measure, work.priority = measure, priority
            self._works[token] = work
            self._tokens[work] = token
            if taken is None:  # the driver's book does not let that happen
                lacking.append(work)
                continue
            work.kept = tuple(taken.values())
            batch.append(work)
        if lacking:
            self._report(
                [
                    (one, WorkerLostError(self._label, LACKS, True), None)
                    for one in lacking
                ]
            )
        return batch

    def _look_after_kept(self, wanted: Sequence[int], forgotten: Sequence[int]) -> None:
        """Send results home that are kept here, and forget some."""
        with self._ready:
            for number in wanted:
                result = self._shelf.get(number)
                send = partial(self._send_home, number, result)
                if result is None or result.written() is not None:
                    send()
                else:
                    self._when_written(result, send)
            self._shelf.forget(forgotten)
            self._ready.notify_all()

    def _send_home(self, number: int, result: PackedResult | None) -> None:
        """Send a result, or that it is not here. ``_ready`` is held."""
        there = result is not None and result.written()
        parts = parts_of(result) if result is not None and there else None
        self._add_result(HOME, 0.0, ("home", number, parts))

    def _when_written(self, result: PackedResult, then: Callable[[], None]) -> None:
        """Do something when a result is written, or lost. ``_ready`` is held.

        It is waited for without that lock: who writes it may take long.
        """
        result.ask()
        self._unwritten.append((result, then))
        if len(self._unwritten) == 1:
            name = f"jackfield-{self._label}-written"
            threading.Thread(target=self._see_written, name=name, daemon=True).start()

    def _see_written(self) -> None:
        """Look what has been written, until nothing is waited for."""
        while not self._stopped.wait(WRITTEN_S):
            with self._ready:
                waiting, self._unwritten = self._unwritten, []
                for result, then in waiting:
                    if result.written() is None:
                        self._unwritten.append((result, then))
                    else:
                        then()
                        self._ready.notify_all()
                if not self._unwritten:
                    return

    def _directory(self) -> Path:
        """Return the agent's own directory; made when it is needed. As ``_handle``."""
        if self._made is None:
            self._made = HeldDirectory(self._label)
        return self._made.path

    def _place_of(self, token: int) -> str:
        """Return where a call's directory is to be; the call fails if it cannot be."""
        try:
            return str(self._directory() / str(token))
        except OSError as error:
            log.warning("There is no place for files: %s", error)
            return f"{tempfile.gettempdir()}/jackfield-could-not-be-made/{token}"

    def _unpack(self, digest: str, data: bytes) -> None:
        """Have the project's modules here; calls fail until that has worked."""
        self._no_code = None
        try:
            directory = self._directory() / CODE
            unpack(data, directory)
            self._code = str(directory), digest
        except Exception as error:
            reason = f"modules cannot be unpacked on a worker: {error}"
            self._no_code = TransferError("the project", reason)

    def take(self, patience: float, seen: int) -> Answer:
        """Return results as soon as there are any, or none after so many seconds.

        Args:
            patience: Seconds.
            seen: Results with lower numbers have been seen, and are not kept any more.

        Raises:
            AgentEndedError: After ``stop``.
        """
        with self._ready:
            # A question shows that the driver lives, and not the answer to one: this
            # process may have been stopped since.
            self._asked = self._awake.seconds
            while self._results and self._first < seen:
                self._results.popleft()
                self._sizes.pop(self._first, None)
                self._first += 1
            self._ready.wait_for(
                lambda: self._results or self._printed or self._stopped.is_set(),
                patience,
            )
            # With more in store, none of its workers waits for this answer.
            self._ready.wait_for(lambda: len(self._works) <= self._workers, GATHER_S)
            if self._stopped.is_set():
                raise AgentEndedError("this agent has ended")
            if self._printed:
                self._results.append(self._printed.as_result())
            results = list(islice(self._results, self._in_an_answer()))
            return self._next, self._first, results

    def _in_an_answer(self) -> int | None:
        """Return how many results go with the next answer. ``_ready`` is held."""
        total = 0
        for number, size in self._sizes.items():
            total += size
            if total > ANSWER:
                return number - self._first + 1
        return None

    def _add_result(
        self,
        token: int,
        seconds: float,
        packed: Packed,
        ran: Ran | None = None,
        returned: Returned | None = None,
    ) -> None:
        """Keep a result for the next ``take``. ``_ready`` is held."""
        size = size_of(packed)
        if size:
            self._sizes[self._first + len(self._results)] = size
        self._results.append((token, seconds, packed, ran, returned))

    def stop(self) -> None:
        """Kill what runs, and wait until all processes have ended."""
        with self._ready:
            self._stopped.set()
            self._ready.notify_all()  # somebody may wait for results
        if self._pool is not None:
            self._pool.shutdown(grace=0)
        with self._order:
            if self._made is not None:
                self._made.remove()

    def _end_pool(self) -> None:
        """End the pool, which waits for what is left in its workers' pipes."""
        assert self._pool is not None
        self._pool.shutdown(grace=0)
        with self._ready:
            if self._printed:
                self._results.append(self._printed.as_result())
            self._results.append((PRINTED, 0.0, ("silent",), None, None))
            self._ready.notify_all()

    def _report(self, outcomes: Sequence[Outcome]) -> None:
        """Keep outcomes for the next ``take``. On the pool's thread, mostly."""
        with self._ready:
            for work, error, value in outcomes:
                token = self._tokens.pop(work, None)
                if token is None:
                    continue
                self._works.pop(token, None)
                if work.args[2] is not None:
                    shutil.rmtree(work.args[2][1], ignore_errors=True)
                ran = None if work.ran is None else measured.to_send(work.ran)
                outcome = self._outcome(token, error, value)
                if outcome is None:
                    self._when_written(
                        value, partial(self._send_late, token, value, ran)
                    )
                    continue
                seconds, packed, returned = outcome
                if packed[0] == LACKING:
                    self._tell_lost(work.args[3])
                    packed = pack_error(WorkerLostError(self._label, LACKS, True))
                self._add_result(token, seconds, packed, ran, returned)
            self._ready.notify_all()

    def _send_late(self, token: int, value: PackedResult, ran: Ran | None) -> None:
        """Send a result for which there was no room here. ``_ready`` is held."""
        if value.written():
            seconds, packed, returned = self._opened(value)
        else:
            reason = "the process that had a task's result has died"
            error = WorkerLostError(self._label, reason, True)
            seconds, packed, returned = 0.0, pack_error(error), None
        self._add_result(token, seconds, packed, ran, returned)

    def _tell_lost(self, taken: Mapping[int, PackedResult]) -> None:
        """Tell that results are lost which a call was to get. ``_ready`` is held.

        It comes before the end of the call, so that the driver has them made again
        before it hears of that.
        """
        for number, result in taken.items():
            if result.written() is not True:
                self._shelf.forget([number])
                self._add_result(HOME, 0.0, ("home", number, None))

    def _outcome(
        self, token: int, error: BaseException | None, value: Any
    ) -> tuple[float, Packed, Returned | None] | None:
        """Return what the driver is told of a call. ``_ready`` is held.

        ``None``: a result that cannot stay, and is not written yet.
        """
        if error is not None:
            return 0.0, pack_error(error), None
        if not isinstance(value, PackedResult):
            seconds, packed, returned = value
            return seconds, to_send(packed), returned
        try:
            seconds, packed, returned = value.glance()
        except OSError as failure:
            return 0.0, pack_error(failure), None
        if packed[0] == LARGE and self._shelf.put(token, value):
            return seconds, (STAYS, value.size), returned
        return None if value.written() is None else self._opened(value)

    def _opened(self, value: PackedResult) -> tuple[float, Packed, Returned | None]:
        """Return a result to be sent."""
        try:
            seconds, packed, returned = value.look()
        except OSError as failure:
            return 0.0, pack_error(failure), None
        return seconds, to_send(packed), returned

    def _add_printed(self, stream: str, data: str | bytes) -> None:
        """Keep what tasks print and log for the next ``take``. On the pool's thread."""
        with self._ready:
            self._printed.add(stream, data)
            self._ready.notify_all()

    def _keep(self) -> None:
        """End when nothing has been heard of the driver for too long."""
        while not self._stopped.wait(period := min(1.0, LEASE_S / 10)):
            self._awake.tick(period)
            if self._awake.seconds < self._watched:
                self._tell_what_runs()
            else:
                self._told = []
            if self._awake.seconds - self._asked <= LEASE_S:
                continue
            if self.held():
                self._asked = self._awake.seconds
            else:
                log.warning("The driver is gone; its tasks are ended")
                self.stop()

    def _tell_what_runs(self) -> None:
        """Tell the driver what runs here, if that is not what it was told last."""
        assert self._pool is not None
        runs = self._pool.running()
        if runs != self._told:
            self._told = runs
            told = "runs", [tuple(one) for one in runs], measured.ahead()
            with self._ready:
                self._add_result(RUNS, 0.0, told)
                self._ready.notify_all()

    def held(self) -> bool:
        """Whether the engine knows that the driver lives, though it is not heard.

        A driver says nothing while one of its threads keeps the interpreter, as to
        unpickle something huge does, or some function in C. Called on a thread of the
        agent's own.
        """
        return False


def run_timed(
    function: bytes,
    call: bytes,
    code: tuple[str, str],
    files: tuple[bytes, str] | None,
    taken: Mapping[int, Any],
    keep: bool,
) -> tuple[float, Packed, Returned | None] | Later:
    """Run a call in a process of the pool; return how long it took, too.

    A result that may stay is ``Later``, for it can be made again.

    Args:
        function: See ``run_packed``, as for ``call``.
        call: The arguments.
        code: The directory of modules that were shipped, and their digest.
        files: The call's parcel, and the directory to make for it.
        taken: The kept results that the arguments name; see ``at_hand``.
        keep: Whether the result may stay with the agent.
    """
    start = perf_counter()
    if code[0]:
        use(*code)
    if any(one is GONE for one in taken.values()):
        return 0.0, (LACKING,), None
    with at_hand(taken):
        pack = pack_apart if keep else pack_to_send
        packed, returned = _run(function, call, files, pack)
    ended = perf_counter() - start, packed, returned
    return Later(ended) if packed[0] == LARGE and returned is None else ended


def _run(
    function: bytes,
    call: bytes,
    files: tuple[bytes, str] | None,
    pack: Callable[[object], Packed],
) -> tuple[Packed, Returned | None]:
    if files is None:
        return run_packed(function, call, pack=pack), None
    parcel, directory = files
    Path(directory).mkdir(0o700)
    return run_parcel(function, call, parcel, directory)


def enter(home: Home, sees: bool) -> None:
    """Go where the script is, and find its modules. The first call in each process."""
    for logger, level in home[4].items():
        logging.getLogger(logger).setLevel(level)
    directory, path = home[:2]
    if not sees or directory is None:
        return
    sys.path += [entry for entry in path if entry not in sys.path]
    if Path(directory).is_dir():
        os.chdir(directory)
