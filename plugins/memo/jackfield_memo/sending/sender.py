"""Gives each function, as it is now, an object of its own to be sent.

Executors send an object once. So as long as nothing has changed that a function
reaches, it is the same object; then another. Which is found out at each call.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from time import monotonic
from types import FunctionType
from typing import Any, Final, NamedTuple, TypeAlias

from jackfield.errors import SerializationError, StaleCodeError
from jackfield_memo.asking import is_pythons
from jackfield_memo.introspection import MISSING
from jackfield_memo.sending import patches
from jackfield_memo.sending.brought import brought
from jackfield_memo.sending.finding import found, text_digest
from jackfield_memo.sending.imports import roots_of
from jackfield_memo.sending.likeness import likeness
from jackfield_memo.sending.reach import Name, Reach
from jackfield_memo.sending.sent import Sent
from jackfield_memo.sending.watch import Own, Watch, holds_atoms
from jackfield_serialize import dump_function

log: logging.Logger = logging.getLogger("jackfield.memo")

_KEPT: Final = 1_000
"""Functions to remember."""
_CODES_KEPT: Final = 100
"""Code objects to remember of which several functions are made."""
_ATTEMPTS: Final = 3
_MOST_TIMES: Final = 20
_TROUBLE_S: Final = 10.0
"""A function that was sent again so often within so many seconds is not compared."""


_Key: TypeAlias = tuple[Any, ...]
"""Of what was sent: function, the memo key's digest of it, and what was brought."""


class _Looked(NamedTuple):
    """What was seen of a function, or of the code that several functions have.

    Attributes:
        reach: What it reaches.
        expected: What each name stands for.
        texts: Digests of the texts of modules that are not imported.
        roots: Top-level packages and modules with the directories that they are in.
        blind: Names of which it cannot be told what they stand for.
        trouble: Why, or why it cannot be told what else is reached.
        carried: How many names had been sent by value then.
    """

    reach: Reach
    expected: Mapping[Name, bytes]
    texts: Mapping[str, bytes]
    roots: Mapping[str, str]
    blind: frozenset[Name]
    trouble: Exception | None
    carried: int


class _Record(NamedTuple):
    """What was made of a function, and what it was made of.

    Attributes:
        function: The function.
        sent: What is sent for it.
        looked: What was seen of it.
        watch: Tells whether all is still so.
        patched: Names that some worker had something else under.
        replaced: Those of them with classes that could not be changed in place.
        apart: Those of them that are sent one by one.
        blind: Names that cannot be compared, or not be made equal in workers.
    """

    function: Callable[..., Any]
    sent: Callable[..., Any]
    looked: _Looked
    watch: Watch | Own
    patched: frozenset[Name] = frozenset()
    replaced: frozenset[Name] = frozenset()
    apart: frozenset[Name] = frozenset()
    blind: frozenset[Name] = frozenset()


class Sender:
    """Makes what is sent; one for each kernel. May be called on any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # The key of a record is the function's ``id``, what the memo key says of the
        # function, and the ``id``s of the classes and functions that the arguments
        # bring. While the record holds all of these, their ``id``s are nobody else's.
        self._records: OrderedDict[_Key, _Record] = OrderedDict()
        # What code reaches of which many functions are made. By the ``id`` of the code
        # and of its module's names, which the functions that are held here hold.
        self._codes: dict[tuple[Any, ...], tuple[FunctionType, _Looked]] = {}
        # When workers had other code than a function's, the last times.
        self._trouble: dict[int, deque[float]] = {}
        # All names that were sent by value: workers may still have them.
        self._carried: set[Name] = set()
        # What was told of which app.
        self._told: set[tuple[str, str]] = set()

    def sent(
        self,
        app: str,
        function: Callable[..., Any],
        code: bytes = b"",
        values: Sequence[Any] = (),
    ) -> Callable[..., Any]:
        """Return what to send for a function; see ``KeyMaker.sent``."""
        things = brought(values) if values else ()
        key = id(function), code, *map(id, things)
        record = self._records.get(key)
        if record is None or record.watch.changed() or self._misses(record):
            made = self._made(app, function, things, record, thorough=bool(code))
            if record is not None:
                made = _with_patch(made, record)
            if self._trouble and self._in_trouble(key):
                made = _given_up(made)
            trouble = made.looked.trouble
            if trouble is not None and (record is None or not record.looked.trouble):
                log.warning(
                    "%s: what it reaches is not compared in workers, and its results "
                    "are not kept", app, exc_info=trouble,
                )  # fmt: skip
            record = self._keep(key, made)
        return record.sent

    def _misses(self, record: _Record) -> bool:
        """Tell whether workers may have got a name since that it does not know of."""
        looked = record.looked
        if looked.carried == len(self._carried):
            return False
        return any(
            home in looked.reach.live and (home, path) not in looked.reach.names
            for home, path in self._carried
        )

    def stale(self, app: str, sent: Callable[..., Any], error: StaleCodeError) -> None:
        """Have the names that differed sent by value from now on, or give up."""
        with self._lock:
            these = [one for one in self._records.items() if one[1].sent is sent]
        for key, record in these:  # none, if another task has told the same before
            times = self._trouble.setdefault(key[0], deque(maxlen=_MOST_TIMES))
            times.append(monotonic())
            if not self._in_trouble(key):
                again = _made_again(record, error)
                others = again.blind - record.blind
                names = [name for name in error.names if name in others]
                self._tell(app, StaleCodeError(tuple(names or sorted(others))))
            else:
                again = _given_up(record)
                self._tell(app, error)
            self._keep(key, again)

    def _tell(self, app: str, error: StaleCodeError) -> None:
        """Tell once which names cannot be made equal."""
        if error.names and (app, str(error)) not in self._told:
            self._told.add((app, str(error)))
            log.warning(
                "%s: %s, and cannot be made equal; it is called all the same, and "
                "its results are not kept", app, error,
            )  # fmt: skip

    def _in_trouble(self, key: _Key) -> bool:
        """Tell whether a function is sent again and again, and still differs."""
        times = self._trouble.get(key[0])
        return (
            times is not None
            and len(times) == _MOST_TIMES
            and times[-1] - times[0] < _TROUBLE_S
            and monotonic() - times[-1] < _TROUBLE_S
        )

    def _keep(self, key: _Key, record: _Record) -> _Record:
        with self._lock:
            if record.patched:  # read without the lock
                self._carried = self._carried | record.patched
            self._records[key] = record
            if len(self._records) > _KEPT:
                oldest, _ = self._records.popitem(last=False)
                self._trouble.pop(oldest[0], None)
        return record

    def _made(
        self,
        app: str,
        function: Callable[..., Any],
        things: Sequence[type | FunctionType],
        before: _Record | None,
        *,
        thorough: bool,
    ) -> _Record:
        """Look at a function and pickle it; once more if it changes meanwhile."""
        gone = before.looked.reach.names.keys() if before is not None else frozenset()
        attempts = 0
        while True:
            watch, looked = self._looked(function, things, gone, thorough=thorough)
            made = _pickled(app, function, watch, looked, thorough=thorough)
            attempts += 1
            if attempts == _ATTEMPTS or not watch.changed():
                return made

    def _looked(
        self,
        function: Callable[..., Any],
        things: Sequence[type | FunctionType],
        gone: AbstractSet[Name],
        *,
        thorough: bool,
    ) -> tuple[Watch | Own, _Looked]:
        """Look at a function. What its code reaches is found once for all of its like.

        That is so for functions that are made anew again and again, and hold nothing
        else than numbers and texts.
        """
        carried = self._carried
        plain = type(function) is FunctionType and holds_atoms(function)
        if things or not plain:
            looked = _look(
                function, carried, gone, things, thorough=thorough, alone=False
            )
            return looked.reach.watch, looked
        assert isinstance(function, FunctionType)
        place = id(function.__code__), id(function.__globals__), function.__qualname__
        known = self._codes.get((*place, thorough))
        if known is not None:
            like, looked = known
            same = like.__code__ is function.__code__ and looked.carried == len(carried)
            if same and not looked.reach.watch.changed() and not looked.trouble:
                return Own(function, looked.reach.watch), looked
            gone = gone | looked.reach.names.keys()
        looked = _look(function, carried, gone, thorough=thorough, alone=True)
        with self._lock:
            if len(self._codes) >= _CODES_KEPT:
                self._codes.clear()
            self._codes[*place, thorough] = function, looked
        return Own(function, looked.reach.watch), looked


def _look(
    function: Callable[..., Any],
    carried: AbstractSet[Name],
    gone: AbstractSet[Name],
    things: Sequence[type | FunctionType] = (),
    *,
    thorough: bool,
    alone: bool,
) -> _Looked:
    """Look at what a function reaches.

    Args:
        function: The function.
        carried: Names that were sent, which workers may have.
        gone: Names that it has reached before. Where they are not here any more, as of
            those that were sent, they are to go.
        things: What a call's arguments bring.
        thorough: See ``likeness``.
        alone: Whether to look at its code only, and not at what it holds.
    """
    reach = Reach()
    number = len(carried)
    trouble: Exception | None = None
    if alone:
        reach.walk_code(function)  # type: ignore[arg-type]  # a function, as the caller says
    else:
        reach.walk(function)
    for thing in things:
        reach.bring(thing)
    for name in (carried | gone) - reach.names.keys():
        value = found(*name) if name[0] in {*reach.live, "builtins"} else None
        if value is MISSING or (name[0] == "builtins" and is_pythons(name[1], value)):
            reach.names[name] = value  # what was sent is to go from workers
    expected: dict[Name, bytes] = {}
    blind: set[Name] = set()
    for name, value in reach.names.items():
        try:
            expected[name] = likeness(value, thorough=thorough)
        except Exception as error:  # an object that cannot even be looked at
            trouble = error
            blind.add(name)
    texts = {name: text_digest(name, file) for name, file in reach.texts.items()}
    roots: dict[str, str] = {}
    if expected or texts:
        roots = roots_of({module for module, _ in (*reach.names, *texts.items())})
    trouble = reach.trouble or trouble
    if trouble is not None:
        reach.watch.never_same()
    return _Looked(reach, expected, texts, roots, frozenset(blind), trouble, number)


def _pickled(
    app: str,
    function: Callable[..., Any],
    watch: Watch | Own,
    looked: _Looked,
    *,
    thorough: bool,
) -> _Record:
    if not watch and not looked.expected and not looked.texts:
        return _Record(function, function, looked, watch)
    payload: bytes | SerializationError
    try:
        payload = dump_function(app, function)
    except SerializationError as error:
        payload = error
    sent = Sent(
        function,
        payload,
        looked.expected,
        looked.texts,
        looked.roots,
        thorough=thorough,
        keeps=looked.trouble is None,
    )
    return _Record(function, sent, looked, watch, blind=looked.blind)


def _with_patch(made: _Record, before: _Record) -> _Record:
    """Send at once what workers had to be sent before the function changed.

    A name in which workers could not be made equal is compared again if it is bound to
    something else now.
    """
    was, now = before.looked.expected, made.looked.expected
    blind = {name for name in before.blind if was.get(name) == now.get(name)}
    blind |= {name for name in before.blind if name[1] == ""}
    names = made.looked.reach.names.keys()
    if not (before.patched & names or blind) or not isinstance(made.sent, Sent):
        return made
    return _patched(
        made._replace(
            patched=before.patched & names,
            replaced=before.replaced & names,
            apart=before.apart & names,
            blind=made.blind | blind,
        )
    )


def _made_again(record: _Record, error: StaleCodeError) -> _Record:
    """Return what to send to workers that had something else under some names.

    First classes are changed in place, then they come by value, then each name by
    itself. If that does not help either, the worker calls the function with what it has
    under these names, and the result is not kept; all other names are still compared.
    """
    known = record.looked.reach.names
    names = {name for name in error.names if name in known}
    classes = {name for name in names if isinstance(known[name], type)}
    blind = record.blind | (set(error.names) - names) | (names & record.apart)
    apart = record.apart | (names & record.replaced)
    apart |= (names & record.patched) - classes
    replaced = record.replaced | (classes & record.patched)
    patched = (record.patched | names) - blind
    return _patched(
        record._replace(patched=patched, replaced=replaced, apart=apart, blind=blind)
    )


def _patched(record: _Record) -> _Record:
    sent = record.sent
    assert isinstance(sent, Sent)
    names = record.looked.reach.names
    values = {name: names[name] for name in record.patched}
    patch, failed = patches.make(values, record.replaced, apart=bool(record.apart))
    blind = record.blind | failed
    return record._replace(
        sent=sent.again(patch, blind), patched=record.patched - failed, blind=blind
    )


def _given_up(record: _Record) -> _Record:
    sent = record.sent
    if isinstance(sent, Sent):
        sent = sent.given_up()
    return record._replace(sent=sent)
