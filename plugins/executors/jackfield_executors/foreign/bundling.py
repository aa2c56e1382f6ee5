"""Which works go to an engine together, and how they are packed.

A bundle is bounded by seconds. How long a call takes is learned for each app, on the
careful side: an estimate jumps to whatever took longer and comes down slowly, and the
number of calls in a bundle doubles only while none of the app's calls is a surprise.
For the results of a bundle come together, so that a call which takes longer than it
ever did keeps those back that ran before it.
"""

from __future__ import annotations

import math
import pickle
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from weakref import WeakKeyDictionary

from jackfield_executors.remote.carrying import pack
from jackfield_executors.remote.functions import is_fixed
from jackfield_serialize import PLAIN, dump_call, dump_function

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future

    from jackfield.abc import Work
    from jackfield_executors.remote.carrying import Limit, Packed
    from jackfield_executors.remote.shipping import Code

MOST: Final = 1_000
"""Works in a bundle, at most."""

BYTES: Final = 8_000_000
"""A bundle whose arguments have grown to so many bytes takes no further work."""

Failed: TypeAlias = "tuple[Work, BaseException]"

DECAY: Final = 0.1
"""How much of the way down to a faster call an estimate goes."""


@dataclass(slots=True, eq=False)
class Bundle:
    """Works that are one task of the engine.

    Attributes:
        token: Different for each bundle of all drivers.
        works: The works, in order.
        future: The engine's; ``None`` while the bundle is on its way there.
        dropped: Works for which somebody is cancelling the future, or has done so.
        packed: What is kept of works that have files.
    """

    token: str
    works: list[Work]
    future: Future[Any] | None = None
    dropped: set[Work] = field(default_factory=set)
    packed: dict[Work, Packed] = field(default_factory=dict)

    @property
    def named(self) -> str:
        """Name the first of its works, for messages."""
        first, others = self.works[0], len(self.works) - 1
        more = f" and {others} that went with it" if others else ""
        return f"the task {first.id} ({first.name}){more}"


class Costs:
    """How long the calls of each app are expected to take.

    Used on one thread.

    Args:
        bundle: The seconds that a bundle may take. An app whose call takes longer, and
            was not expected to, has to earn large bundles anew.
    """

    def __init__(self, bundle: float) -> None:
        self._bundle = bundle
        self._expected: dict[str, float] = {}
        self._streak: dict[str, int] = {}

    def note(self, app: str, seconds: float) -> None:
        """Learn from a call that has ended."""
        before = self._expected.get(app, 0.0)
        down = before + (seconds - before) * DECAY
        self._expected[app] = max(seconds, down)
        surprise = seconds > self._bundle >= before
        self._streak[app] = 0 if surprise else self._streak.get(app, 0) + 1

    def expected(self, app: str) -> float | None:
        """Return how long a call of an app is expected to take. On any thread."""
        return self._expected.get(app)

    def take(self, works: Iterable[Work], most: int) -> list[Work]:
        """Return the first works that fit in a bundle; one, if there is any."""
        taken: list[Work] = []
        room = self._bundle
        for work in works:
            cost = self._expected.get(work.name, math.inf)
            most = min(most, max(1, self._streak.get(work.name, 0)))
            if taken and (cost > room or len(taken) >= most):
                break
            taken.append(work)
            room -= cost
        return taken


class Packer:
    """Pickles bundles. Used on one thread."""

    def __init__(self) -> None:
        # What was pickled before.
        self._dumped: WeakKeyDictionary[Any, bytes] = WeakKeyDictionary()

    def pack(
        self, bundle: Bundle, limit: Limit | None, code: Code | None
    ) -> tuple[bytes, list[Failed], list[Work]]:
        """Pickle a bundle, which keeps the works that are in the pickle.

        Args:
            bundle: What to pickle.
            limit: What may travel of each call's files; ``None`` if they need not.
            code: Modules that go with it.

        Returns:
            The pickle, the works that cannot be pickled with what that raised, and
            the works for which there was no room.
        """
        functions: dict[bytes, int] = {}
        calls: list[tuple[int, str | None, bytes | tuple[Any, ...], bytes]] = []
        packed: list[Work] = []
        failed: list[Failed] = []
        size = 0
        for work in bundle.works:
            if size > BYTES:
                break
            try:
                function = self._dump(work)
                call, parcel = _dump_call(bundle, work, limit)
            except BaseException as error:
                failed.append((work, error))
                continue
            index = functions.setdefault(function, len(functions))
            calls.append((index, work.measure, call, parcel))
            packed.append(work)
            size += len(call) + len(parcel)
        left = bundle.works[len(packed) + len(failed) :]
        bundle.works = packed
        data = code, limit is not None, list(functions), calls
        return pickle.dumps(data, 5), failed, left

    def _dump(self, work: Work) -> bytes:
        """Pickle a work's function; only once, if it is always the same."""
        function = work.function
        if not is_fixed(function):
            return dump_function(work.name, function)
        data = self._dumped.get(function)
        if data is None:
            data = self._dumped[function] = dump_function(work.name, function)
        return data


def _dump_call(
    bundle: Bundle, work: Work, limit: Limit | None
) -> tuple[bytes | tuple[Any, ...], bytes]:
    """Pickle a call, and what is sent of its files.

    One of plain values alone needs no pickler of its own: it goes into the bundle's.
    """
    if limit is None:
        if not work.kwargs and PLAIN.issuperset(map(type, work.args)):
            return tuple(work.args), b""
        return dump_call(work.name, work.function, work.args, work.kwargs), b""
    packed = pack(work, limit)
    call, parcel = packed.call, packed.parcel
    if parcel:
        packed.call = packed.parcel = b""  # they are large, and not needed any more
        bundle.packed[work] = packed
    return call, parcel
