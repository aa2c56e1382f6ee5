"""Gives each function, as it is now, an object of its own to be sent.

Executors send an object once. So as long as nothing has changed that a function
reaches, it is the same object; then another. Which is found out at each call.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from jackfield.errors import SerializationError, StaleCodeError
from jackfield.serialize import dump_function
from jackfield_memo.sending import patches
from jackfield_memo.sending.likeness import likeness
from jackfield_memo.sending.reach import Name, Reach
from jackfield_memo.sending.sent import Sent, text_digest

if TYPE_CHECKING:
    from jackfield_memo.sending.watch import Watch

log: logging.Logger = logging.getLogger("jackfield.memo")

_KEPT: Final = 1_000
"""Functions to remember."""
_ATTEMPTS: Final = 3


class _Record(NamedTuple):
    """What was made of a function, and what it was made of."""

    function: Callable[..., Any]
    sent: Callable[..., Any]
    watch: Watch
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

    def sent(
        self, app: str, function: Callable[..., Any], code: bytes = b""
    ) -> Callable[..., Any]:
        """Return what to send for a function; see ``KeyMaker.sent``."""
        key = id(function), code
        record = self._records.get(key)
        if record is None or record.watch.changed():
            record = self._keep(key, _made(app, function, thorough=bool(code)))
        return record.sent

    def stale(self, app: str, sent: Callable[..., Any], error: StaleCodeError) -> None:
        """Have the names that differed sent by value from now on, or give up."""
        with self._lock:
            found = [one for one in self._records.items() if one[1].sent is sent]
        for key, record in found:  # none, if another task has told the same before
            self._keep(key, _made_again(app, record, error))

    def _keep(self, key: tuple[int, bytes], record: _Record) -> _Record:
        with self._lock:
            self._records[key] = record
            if len(self._records) > _KEPT:
                self._records.popitem(last=False)
        return record


def _made(app: str, function: Callable[..., Any], *, thorough: bool) -> _Record:
    """Look at a function and pickle it; once more if it changes meanwhile."""
    for _ in range(_ATTEMPTS):
        reach = Reach()
        reach.walk(function)
        if not reach.watch and not reach.names and not reach.texts:
            return _Record(function, function, reach.watch, reach)
        expected = {
            name: likeness(value, thorough=thorough)
            for name, value in reach.names.items()
        }
        texts = {name: text_digest(name, file) for name, file in reach.texts.items()}
        payload: bytes | SerializationError
        try:
            payload = dump_function(app, function)
        except SerializationError as error:
            payload = error
        if not reach.watch.changed():
            break
    sent = Sent(function, payload, expected, texts, thorough=thorough)
    return _Record(function, sent, reach.watch, reach)


def _made_again(app: str, record: _Record, error: StaleCodeError) -> _Record:
    """Return what to send to workers that had something else under some names.

    First classes are changed in place, then they come by value. If that does not help
    either, the worker calls the function as it is there, and the result is not kept.
    """
    sent = record.sent
    assert isinstance(sent, Sent)
    names = {name for name in error.names if name in record.reach.names}
    patched = record.patched | names
    replaced = record.replaced | (names & record.patched)
    keeps = not names & record.replaced and len(names) == len(error.names)
    patch = sent.patch
    if keeps and names:
        values = {name: record.reach.names[name] for name in patched}
        try:
            patch = patches.make(values, replaced)
        except Exception:  # something in it cannot be pickled
            keeps = False
    if not keeps:
        log.warning(
            "%s: %s, and cannot be made equal; it is called all the same, and its "
            "results are not kept", app, error,
        )  # fmt: skip
    again = sent.again(patch, keeps=keeps)
    return record._replace(sent=again, patched=patched, replaced=replaced)
