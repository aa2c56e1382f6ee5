"""The names in compiled code: which globals it loads, what it imports, all others."""

from __future__ import annotations

import dis
from types import CodeType
from typing import Final, NamedTuple

_DYNAMIC: Final = frozenset({"eval", "exec", "globals", "__globals__", "f_globals"})
_COMPUTING: Final = frozenset(
    {"vars", "__dict__", "getattr", "attrgetter", "__getattribute__"}
    | {"hasattr", "dir", "getmembers"}
)
_IMPORTING: Final = frozenset({"__import__", "import_module"})

_EXTENDED: Final = dis.opmap["EXTENDED_ARG"]
_LOAD_GLOBAL: Final = dis.opmap["LOAD_GLOBAL"]
_LOAD_NAME: Final = frozenset(
    dis.opmap[name]
    for name in ("LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
    if name in dis.opmap
)
_IMPORT_NAME: Final = dis.opmap["IMPORT_NAME"]
_IMPORT_FROM: Final = dis.opmap["IMPORT_FROM"]


class CodeNames(NamedTuple):
    """The names in a code object and in those inside it.

    Attributes:
        globals: Names that are looked up in the module, then among the built-ins.
        imports: Names of modules that are imported when it runs, as they stand there.
        all: All names, those of attributes included.
        dynamic: Whether it may reach names of its module that are not written in it.
        computing: Whether it may reach such names of a module that it refers to.
        importing: Whether it may import modules by computed names.
        taken: Modules with the names that it imports from them, as they stand there.
        texts: What it may look modules up by, or import: its texts that may be names.
    """

    globals: frozenset[str]
    imports: frozenset[str]
    all: frozenset[str]
    dynamic: bool
    computing: bool
    importing: bool
    texts: frozenset[str]
    taken: frozenset[tuple[str, tuple[str, ...]]]


_known: Final[dict[CodeType, CodeNames]] = {}
_KEPT: Final = 10_000


def names_of(code: CodeType) -> CodeNames:
    """Return the names in code; found out once."""
    found = _known.get(code)
    if found is None:
        if len(_known) > _KEPT:
            _known.clear()
        found = _known[code] = _find(code)
    return found


def _find(code: CodeType) -> CodeNames:
    loaded: set[str] = set()
    imported: set[str] = set()
    texts: set[str] = set()
    taken: set[tuple[str, tuple[str, ...]]] = set()
    everything = set(code.co_names)
    if everything:
        _scan(code, loaded, imported, taken)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            inner = names_of(constant)
            loaded |= inner.globals
            imported |= inner.imports
            everything |= inner.all
            texts |= inner.texts
            taken |= inner.taken
        elif isinstance(constant, str) and all(
            part.isidentifier() for part in constant.split(".")
        ):
            texts.add(constant)
    return CodeNames(
        frozenset(loaded),
        frozenset(imported),
        frozenset(everything),
        bool(everything & _DYNAMIC),
        bool(everything & (_DYNAMIC | _COMPUTING)),
        bool(everything & _IMPORTING),
        frozenset(texts),
        frozenset(taken),
    )


def _scan(
    code: CodeType,
    loaded: set[str],
    imported: set[str],
    taken: set[tuple[str, tuple[str, ...]]],
) -> None:
    names = code.co_names
    raw = code.co_code
    extended = 0
    module = ""
    for place in range(0, len(raw), 2):
        operation, argument = raw[place], raw[place + 1] | extended
        extended = 0
        if operation == _EXTENDED:
            extended = argument << 8
        elif operation == _LOAD_GLOBAL:  # its lowest bit says how it is called
            loaded.add(names[argument >> 1])
        elif operation in _LOAD_NAME:
            loaded.add(names[argument])
        elif operation == _IMPORT_NAME:
            imported.add(names[argument])
            module = names[argument]
        elif operation == _IMPORT_FROM:
            taken.add((module, (names[argument],)))
