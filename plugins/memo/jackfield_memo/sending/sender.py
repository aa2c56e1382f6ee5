"""Gives each function, as it is now, an object of its own to be sent.

Executors send an object once. So as long as nothing has changed that a function
reaches, it is the same object; then another. Which is found out at each call.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from time import monotonic
from typing import Any, Final, NamedTuple

from jackfield.errors import SerializationError, StaleCodeError
from jackfield.serialize import dump_function
from jackfield_memo.sending import patches
from jackfield_memo.sending.finding import text_digest
from jackfield_memo.sending.imports import roots_of
from jackfield_memo.sending.likeness import likeness
from jackfield_memo.sending.reach import Name, Reach
from jackfield_memo.sending.sent import Sent

log: logging.Logger = logging.getLogger("jackfield.memo")

_KEPT: Final = 1_000
"""Functions to remember."""
_ATTEMPTS: Final = 3
_MOST_TIMES: Final = 20
_TROUBLE_S: Final = 10.0
"""A function that was sent again so often within so many seconds is not compared."""


class _Record(NamedTuple):
    """What was made of a function, and what it was made of.

    Attributes:
        function: The function.
        sent: What is sent for it.
        reach: What it reaches.
        patched: Names that some worker had something else under.
        replaced: Those of them with classes that could not be changed in place.
    """

    function: Callable[..., Any]
    sent: Callable[..., Any]
    reach: Reach
    patched: frozenset[Name] = frozenset()
    replaced: frozenset[Name] = frozenset()


class Sender:
    """Makes what is sent; one for each kernel. May be called on any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # By the function's ``id``, which is nobody else's while the record holds it,
        # and by what the memo key says of it.
        self._records: OrderedDict[tuple[int, bytes], _Record] = OrderedDict()
        # When workers had other code than a function's, the last times.
        self._trouble: dict[int, deque[float]] = {}

    def sent(
        self, app: str, function: Callable[..., Any], code: bytes = b""
    ) -> Callable[..., Any]:
        """Return what to send for a function; see ``KeyMaker.sent``."""
        key = id(function), code
        record = self._records.get(key)
        if record is None or record.reach.watch.changed():
            made = _made(app, function, thorough=bool(code))
            made = _with_patch(made, record, trusts=not self._in_trouble(key))
            record = self._keep(key, made)
        return record.sent

    def stale(self, app: str, sent: Callable[..., Any], error: StaleCodeError) -> None:
        """Have the names that differed sent by value from now on, or give up."""
        with self._lock:
            found = [one for one in self._records.items() if one[1].sent is sent]
        for key, record in found:  # none, if another task has told the same before
            times = self._trouble.setdefault(key[0], deque(maxlen=_MOST_TIMES))
            times.append(monotonic())
            if not self._in_trouble(key):
                again = _made_again(record, error)
            else:
                again = _given_up(record)
            if not getattr(again.sent, "jackfield_keeps", True):
                log.warning(
                    "%s: %s, and cannot be made equal; it is called all the same, and "
                    "its results are not kept", app, error,
                )  # fmt: skip
            self._keep(key, again)

    def _in_trouble(self, key: tuple[int, bytes]) -> bool:
        """Tell whether a function is sent again and again, and still differs."""
        times = self._trouble.get(key[0]) if self._trouble else None
        return (
            times is not None
            and len(times) == _MOST_TIMES
            and times[-1] - times[0] < _TROUBLE_S
            and monotonic() - times[-1] < _TROUBLE_S
        )

    def _keep(self, key: tuple[int, bytes], record: _Record) -> _Record:
        with self._lock:
            self._records[key] = record
            if len(self._records) > _KEPT:
                (oldest, _), _ = self._records.popitem(last=False)
                self._trouble.pop(oldest, None)
        return record


def _made(app: str, function: Callable[..., Any], *, thorough: bool) -> _Record:
    """Look at a function and pickle it; once more if it changes meanwhile."""
    made = _looked_at(app, function, thorough=thorough)
    for _ in range(_ATTEMPTS):
        if not made.reach.watch.changed():
            break
        made = _looked_at(app, function, thorough=thorough)
    return made


def _looked_at(app: str, function: Callable[..., Any], *, thorough: bool) -> _Record:
    reach = Reach()
    try:
        reach.walk(function)
        expected = {
            name: likeness(value, thorough=thorough)
            for name, value in reach.names.items()
        }
        texts = {name: text_digest(name, file) for name, file in reach.texts.items()}
    except Exception:  # an object that cannot even be looked at
        log.warning(
            "%s: what it reaches is not compared in workers", app, exc_info=True
        )
        return _Record(function, function, Reach())
    if not reach.watch and not expected and not texts:
        return _Record(function, function, reach)
    payload: bytes | SerializationError
    try:
        payload = dump_function(app, function)
    except SerializationError as error:
        payload = error
    roots: dict[str, str] = {}
    if expected or texts:
        roots = roots_of({module for module, _ in (*reach.names, *texts.items())})
    sent = Sent(function, payload, expected, texts, roots, thorough=thorough)
    return _Record(function, sent, reach)


def _with_patch(made: _Record, before: _Record | None, *, trusts: bool) -> _Record:
    """Send at once what workers had to be sent before the function changed."""
    if not trusts:
        return _given_up(made)
    if before is None or not before.patched or not isinstance(made.sent, Sent):
        return made
    names = made.reach.names.keys()
    patched = _Record(
        made.function,
        made.sent,
        made.reach,
        before.patched & names,
        before.replaced & names,
    )
    return _patched(patched)


def _made_again(record: _Record, error: StaleCodeError) -> _Record:
    """Return what to send to workers that had something else under some names.

    First classes are changed in place, then they come by value. If that does not help
    either, the worker calls the function as it is there, and the result is not kept.
    """
    names = {name for name in error.names if name in record.reach.names}
    if names & record.replaced or len(names) < len(error.names):
        return _given_up(record)
    replaced = record.replaced | (names & record.patched)
    patched = record.patched | names
    return _patched(record._replace(patched=patched, replaced=replaced))


def _patched(record: _Record) -> _Record:
    sent = record.sent
    assert isinstance(sent, Sent)
    values = {name: record.reach.names[name] for name in record.patched}
    try:
        patch = patches.make(values, record.replaced) if values else b""
    except Exception:  # something in it cannot be pickled
        return _given_up(record)
    return record._replace(sent=sent.again(patch, keeps=True))


def _given_up(record: _Record) -> _Record:
    sent = record.sent
    if isinstance(sent, Sent):
        sent = sent.again(b"", keeps=False)
    return record._replace(sent=sent)
