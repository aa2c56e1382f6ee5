"""What the arguments of a call bring along that has code: classes and functions.

They are pickled by their names where workers can import them, and are the worker's own
there. So their code is compared like that of names which the called function reaches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from functools import partial
from itertools import islice
from types import FunctionType, MethodType
from typing import Any, Final

from jackfield_memo.atoms import ATOMS
from jackfield_memo.introspection import home_of
from jackfield_serialize.origins import is_project_name

_MOST: Final = 200
"""Objects that are looked at of a call."""
_MOST_ITEMS: Final = 50
"""Of these, so many in one container: its items are mostly of few kinds."""
_ROWS: Final = frozenset({list, tuple, set, frozenset, deque})


def brought(values: Iterable[Any]) -> tuple[type | FunctionType, ...]:
    """Return the project's classes and functions in arguments, in a set order."""
    found: dict[int, type | FunctionType] = {}
    waiting, seen = deque(values), set[int]()
    while waiting and len(seen) < _MOST:
        value = waiting.popleft()
        kind = type(value)  # and not ``isinstance``, which wakes lazy proxies
        if kind in ATOMS or id(value) in seen:
            continue
        seen.add(id(value))
        if kind in _ROWS:
            waiting.extend(islice(value, _MOST_ITEMS))
        elif kind is dict:
            for pair in islice(value.items(), _MOST_ITEMS):
                waiting.extend(pair)
        elif kind is MethodType:
            waiting += (value.__func__, value.__self__)
        elif kind is partial:
            waiting += (value.func, value.args, value.keywords)
        else:
            code = kind is FunctionType or issubclass(kind, type)
            thing = value if code else kind
            if not is_project_name(home_of(thing)):
                continue
            found[id(thing)] = thing
            if not code:
                waiting.extend(islice(_attributes(value).values(), _MOST_ITEMS))
    return tuple(found[one] for one in sorted(found))


def _attributes(value: Any) -> dict[str, Any]:
    try:
        own = object.__getattribute__(value, "__dict__")
    except Exception:  # it has slots, or a property of its own
        return {}
    return own if type(own) is dict else {}
