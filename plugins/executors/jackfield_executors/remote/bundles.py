"""Runs several calls as one task of an engine: the side of the worker.

An engine takes a millisecond or two for a task, whatever the task does. So calls that
are short travel together. What goes in and what comes out is made of built-in types, so
that the engine's own pickling meets no object of a user.
"""

from __future__ import annotations

import atexit
import pickle
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from jackfield_executors.measured import Ran, run_measured
from jackfield_executors.remote.fingerprint import fingerprint
from jackfield_executors.remote.parcels import Returned, run_parcel
from jackfield_executors.remote.places import finds
from jackfield_executors.remote.shipping import unpack, use
from jackfield_executors.surroundings import Visit
from jackfield_serialize import Packed, pack_plainly
from jackfield_system.held_directories import HeldDirectory, sweep_once

if TYPE_CHECKING:
    from collections.abc import Callable

    from jackfield_executors.remote.shipping import Code

Outcome: TypeAlias = tuple[Packed, Ran | None, Returned | None]
"""A call's outcome, when and where it ran if that was asked for, and its files."""

Answer: TypeAlias = tuple[str, str, bytes]
"""The worker's fingerprint; ``"files"`` or ``"code"`` if it lacks these, and has run
nothing; and, pickled, the outcomes of the first calls and how many seconds each took.
There are fewer outcomes than calls if time was up.

They are pickled because engines have slower picklers, which look into each item: for a
thousand outcomes Parsl's, which is in Python, took ten times as long as the calls.
"""


_NOTHING: Final = pickle.dumps(([], []), 5)


def run_bundle(
    token: str,
    expected: str,
    home: tuple[str | None, str, str],
    limit: float,
    data: bytes,
) -> Answer:
    """Run calls one after another, and stop before the next one when time is up.

    Args:
        token: Different for each bundle. Some engines take equal calls for one call,
            run it once and give its result to both.
        expected: The driver's fingerprint. If this process has another, nothing is
            unpickled, and no call runs.
        home: The driver's directory, in which the calls run if this process sees the
            driver's disk; its token file and the secret in it (see ``places``).
        limit: Seconds after which no call begins any more. The first one always does.
        data: The pickled modules that are needed, if any; whether the calls have their
            files with them; functions; and calls. Each call is the index of its
            function, its ``Work.measure``, its arguments and its parcel; function and
            arguments come from ``jackfield_serialize``, but for arguments that are
            plain (``PLAIN``) and stand there as a tuple.
    """
    del token
    mine = fingerprint()
    outcomes: list[Outcome] = []
    costs: list[float] = []
    if mine != expected:
        return mine, "", b""
    code, carried, functions, calls = pickle.loads(data)
    directory, *seen = home
    if not carried and not finds(*seen):
        return mine, "files", _NOTHING
    if code is not None and not _has_code(home[2], code):
        return mine, "code", _NOTHING
    visit = Visit(None if carried else directory)
    start = before = perf_counter()
    for index, measure, call, parcel in calls:
        run = partial(_run, visit, functions[index], call, parcel)
        outcomes.append(_measured(measure, run))
        now = perf_counter()
        costs.append(now - before)
        before = now
        if now - start > limit:
            break
    visit.leave()
    return mine, "", pickle.dumps((outcomes, costs), 5)


def _run(
    visit: Visit, function: bytes, call: bytes | tuple[Any, ...], parcel: bytes
) -> tuple[Packed, Returned | None]:
    if isinstance(call, tuple) or not parcel:  # that is pickled which comes with files
        return visit.run(function, call, pack_plainly), None
    sweep_once()
    with HeldDirectory("call") as directory:
        return run_parcel(function, call, parcel, str(directory), visit.run)


def _measured(
    measure: str | None, run: Callable[[], tuple[Packed, Returned | None]]
) -> Outcome:
    if not measure:
        packed, returned = run()
        return packed, None, returned
    (packed, returned), ran = run_measured(measure, run)
    return packed, ran, returned


_codes: Final[dict[str, tuple[str, str]]] = {}
"""Where modules were unpacked in this process, and their digest, by driver."""


def _has_code(driver: str, code: Code) -> bool:
    """Have a driver's modules in this process; false if they have to be sent."""
    digest, data = code
    if not digest:
        return True
    directory, present = _codes.get(driver, ("", ""))
    if present != digest:
        if not data:
            return False
        if not directory:
            sweep_once()
            made = HeldDirectory("code")
            atexit.register(made.remove)
            directory = str(made.path)
        unpack(data, Path(directory))
        _codes[driver] = directory, digest
    use(directory, digest)
    return True
