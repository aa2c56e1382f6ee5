"""Which packages functions need, found without running any of their code.

The fork server imports these once, so that not every worker has to. Only packages that
are installed count, and the standard library. A module of the project may make at its
import what each worker needs for itself (a random generator, a connection, a lock), so
workers import those by themselves; here it is only read what they import in their turn.
"""

from __future__ import annotations

import dis
import functools
import importlib.util
import sys
from pathlib import PurePath
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SITE: Final = frozenset({"site-packages", "dist-packages"})
_OURS: Final = "jackfield"
"""How the names of our own packages begin, which may be installed from a checkout."""
_CONSTANTS: Final = frozenset({"LOAD_CONST", "LOAD_SMALL_INT"})


def needed(functions: Iterable[Any]) -> list[str]:
    """Return the modules of packages that workers import to call functions.

    Those that the functions' modules import, that their code names, and that they
    import in their bodies. Nothing is imported for that, and what cannot be looked at
    is left out: a worker will import it.
    """
    search = _Search()
    for function in functions:
        search.function(function)
        while search.waiting:
            search.function(search.waiting.pop())
    return list(search.found)


class _Search:
    """What was found so far, in order, and what has been looked at."""

    def __init__(self) -> None:
        self.found: dict[str, None] = {}
        self.waiting: list[Any] = []
        self._modules: set[str] = set()
        self._functions: set[int] = set()

    def function(self, thing: Any) -> None:
        """Look at something that is called, and at all that it wraps."""
        while thing is not None and id(thing) not in self._functions:
            self._functions.add(id(thing))
            try:
                if isinstance(thing, FunctionType):
                    self._code_of(thing)
                else:
                    self._module(type(thing).__module__)
                thing = _wrapped(thing)
            except Exception:  # whatever an object of users makes of such a look
                return

    def _code_of(self, function: FunctionType) -> None:
        self._module(function.__module__)
        if _is_package(function.__module__):
            return
        for code in _codes(function.__code__):
            for name in code.co_names:
                if name in function.__globals__:
                    self._value(function.__globals__[name])
            for name in _imports(code, function.__globals__.get("__package__")):
                top = name.partition(".")[0]
                if name in sys.modules or _is_package(top):
                    self._module(name)
        for cell in function.__closure__ or ():
            try:
                self._value(cell.cell_contents)
            except ValueError:  # it is empty
                continue

    def _value(self, value: Any) -> None:
        if isinstance(value, ModuleType):
            self._module(value.__name__)
        elif isinstance(value, FunctionType):
            self.waiting.append(value)
        elif isinstance(value, type):
            self._module(value.__module__)
            if not _is_package(value.__module__):
                members = vars(value).values()
                self.waiting += [one for one in members if type(one) is FunctionType]
        else:
            self._module(type(value).__module__)

    def _module(self, name: str | None) -> None:
        """Note a module of a package; of the project's, note what they import."""
        waiting = [name]
        while waiting:
            name = waiting.pop()
            if not isinstance(name, str) or name in self._modules:
                continue
            self._modules.add(name)
            if name in {"__main__", "__mp_main__", "builtins"}:
                continue
            if _is_package(name):
                self.found[name] = None
            elif name in sys.modules:
                waiting += reversed(list(_imports_of(name)))


def _wrapped(thing: Any) -> Any:
    if isinstance(thing, functools.partial):
        return thing.func
    if isinstance(thing, MethodType):
        return thing.__func__
    return getattr(thing, "__wrapped__", None)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _imports_of(name: str) -> Iterator[str]:
    """Yield what a module that is loaded here imports when it is itself imported.

    A module may name more than it has imported, for type checkers and for the case
    that something else is missing. So only what is loaded counts.
    """
    spec = sys.modules[name].__spec__
    loader: Any = spec and spec.loader
    try:
        code = loader.get_code(name)
    except Exception:  # a compiled module, or one that was made by hand
        return
    if isinstance(code, CodeType) and spec is not None:
        yield from filter(sys.modules.__contains__, _imports(code, spec.parent))


def _imports(code: CodeType, package: str | None) -> Iterator[str]:
    """Yield the modules that code imports itself, and what may be modules in them."""
    constants: list[Any] = [None, None]
    for instruction in dis.get_instructions(code):
        if instruction.opname in _CONSTANTS:
            constants = [constants[-1], instruction.argval]
        elif instruction.opname == "IMPORT_NAME":
            level, names = constants
            base = instruction.argval
            if isinstance(level, int) and level > 0:
                try:
                    base = importlib.util.resolve_name("." * level + base, package)
                except ImportError:
                    continue
            yield base
            for name in names if isinstance(names, tuple) else ():
                if f"{base}.{name}" in sys.modules:
                    yield f"{base}.{name}"


def _is_package(name: str | None) -> bool:
    """Tell whether a module is of the standard library or of an installed package."""
    return name is not None and _is_installed(name.partition(".")[0])


@functools.cache
def _is_installed(top: str) -> bool:
    if top in sys.stdlib_module_names or top.startswith(_OURS):
        return True
    module = sys.modules.get(top)
    try:
        spec = module.__spec__ if module else importlib.util.find_spec(top)
    except Exception:  # no module of that name, or a finder that fails
        return False
    if spec is None:
        return False
    places = [spec.origin] if spec.has_location else []
    places += spec.submodule_search_locations or []
    return any(place and _SITE.intersection(PurePath(place).parts) for place in places)
