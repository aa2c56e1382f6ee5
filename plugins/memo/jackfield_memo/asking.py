"""What code asks about other code: its text, its names, which classes there are.

Comments, documentation, names of functions and line numbers do not count as long as
nobody reads them. Where code that is reached may, they count, of all that is reached:
then the result may depend on them. So it is with the classes that are derived from one.
"""

from __future__ import annotations

import linecache
from abc import get_cache_token
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from types import BuiltinFunctionType, CodeType, FunctionType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from jackfield_memo.atoms import ATOMS
from jackfield_memo.code_names import names_of
from jackfield_memo.introspection import class_name, home_of
from jackfield_serialize.origins import origin_by_name

if TYPE_CHECKING:
    from jackfield_memo.references import Chain

_TEXTS: Final = frozenset(
    {"__annotations__", "__code__", "__doc__", "__type_params__", "currentframe"}
    | {"extract_stack", "extract_tb", "f_code", "f_lineno", "findsource", "format_exc"}
    | {"format_exception", "format_stack", "format_tb", "get_annotations"}
    | {"get_instructions", "get_type_hints", "getclosurevars", "getcomments", "getdoc"}
    | {"getframeinfo", "getfullargspec", "getlines", "getsource", "getsourcefile"}
    | {"getsourcelines", "signature", "tb_lineno", "_getframe"}
)
"""Names by which code reads texts of code, or where in them it stands."""
_NAMES: Final = frozenset({"__name__", "__qualname__"})
_SUBCLASSES: Final = "__subclasses__"
_PLACE: Final = " at 0x"
"""In a ``repr`` that is another one in each process."""
_CONSTANTS: Final = frozenset(
    {"__debug__", "__doc__", "__loader__", "__name__", "__package__", "__spec__"}
)
_ALIASES: Final = {"EnvironmentError": OSError, "IOError": OSError}


class Asks(NamedTuple):
    """What code asks about the code that is reached.

    Attributes:
        texts: Whether for texts and places.
        names: Whether for names of functions.
        subclasses: Whether for the classes that are derived from one.
    """

    texts: bool = False
    names: bool = False
    subclasses: bool = False

    def and_of(self, code: CodeType, chains: Iterable[Chain]) -> Asks:
        """Add what a function asks."""
        return self._and(names_of(code).all, chains)

    def and_of_chains(self, chains: Iterable[Chain]) -> Asks:
        """Add what a text asks."""
        chains = list(chains)
        return self._and({name for chain in chains for name in chain}, chains)

    def _and(self, used: AbstractSet[str], chains: Iterable[Chain]) -> Asks:
        named = used & _NAMES and any(
            len(chain) > 1 and chain[-1] in _NAMES and chain[-2] != "__class__"
            for chain in chains
        )
        texts = self.texts or not used.isdisjoint(_TEXTS)
        if not texts:
            texts = any(name.startswith("co_") for name in used)
        return Asks(
            texts, self.names or bool(named), self.subclasses or _SUBCLASSES in used
        )


NOTHING: Final = Asks()


def asks_subclasses(code: CodeType) -> bool:
    """Tell whether code asks for the classes that are derived from one."""
    return _SUBCLASSES in names_of(code).all


def asks_texts(code: CodeType) -> bool:
    """Tell whether code reads what other code says of itself."""
    return not names_of(code).all.isdisjoint(_TEXTS)


def text_of(function: FunctionType) -> tuple[Any, ...]:
    """Return what can be read about a function: the whole text of its file as well."""
    code = function.__code__
    try:
        lines = linecache.getlines(code.co_filename, function.__globals__)
    except Exception:
        lines = []
    return (*readable(function), code.co_filename, code.co_firstlineno, "".join(lines))


def readable(thing: FunctionType | type) -> tuple[Any, ...]:
    """Return what a function or class says of itself."""
    said = says(thing)
    notes, doc = said["__annotations__"], said["__doc__"]
    noted = [f"{key}: {_shown(value)}" for key, value in notes.items()]
    return doc, noted, thing.__module__, thing.__qualname__, thing.__name__


def says(thing: FunctionType | type) -> dict[str, Any]:
    """Return the documentation and the annotations of a function or class."""
    if isinstance(thing, FunctionType):
        doc, notes = thing.__doc__, thing.__annotations__
    else:  # not what its base says, and not what its metaclass is asked by
        own: Any = vars(thing)
        doc, notes = own.get("__doc__"), own.get("__annotations__")
    known = isinstance(doc, str) and _PLACE not in doc
    return {
        "__doc__": doc if known else None,
        "__annotations__": notes if isinstance(notes, dict) else {},
    }


def is_plain(owner: type) -> bool:
    """Tell whether what a class says of itself is what its text says."""
    return type(owner) is type or "__total__" in vars(owner)


def _shown(value: object) -> str:
    if isinstance(value, type):
        return class_name(value)
    try:
        text = value if isinstance(value, str) else repr(value)
    except Exception:
        text = _PLACE
    return type(value).__qualname__ if _PLACE in text else text


def derived_from(owner: type) -> list[type]:
    """Return the classes that are derived from one, in Python's order."""
    return type.__subclasses__(owner)


def registered(owner: type) -> list[type]:
    """Return the project's classes that were registered with an abstract one."""
    if "_abc_impl" not in vars(owner):
        return []
    from _abc import _get_dump  # type: ignore[import-not-found]  # CPython's own

    found = [reference() for reference in _get_dump(owner)[0]]
    ours = [one for one in found if one is not None and _is_ours(one)]
    return sorted(ours, key=class_name)


def _is_ours(owner: type) -> bool:
    return origin_by_name(home_of(owner)).kind == "project"


def registrations() -> object:
    """Return what is another object's equal after each ``register`` of an ABC."""
    return get_cache_token()


def is_pythons(name: str, value: object) -> bool:
    """Tell whether a built-in name stands for what Python has under it."""
    kind = type(value)
    if isinstance(value, type):
        known = value is _ALIASES.get(name) or value.__name__ == name
        return known and value.__module__ == "builtins"
    if isinstance(value, BuiltinFunctionType):
        return value.__name__ == name and value.__module__ in {"builtins", "io", "_io"}
    if kind in ATOMS and kind not in {str, int, float, bytes, complex}:
        return name in {"None", "True", "False", "Ellipsis", "NotImplemented"} | (
            _CONSTANTS
        )
    return name in _CONSTANTS or kind.__module__ == "_sitebuiltins"
