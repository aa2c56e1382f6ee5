"""Walks from a function to every name of the project's modules that it may use.

Names are read off compiled code, more of them than are used rather than fewer: of a
module that a function refers to, all names count that stand in the function. What
belongs to packages and to Python is not walked into.
"""

from __future__ import annotations

import builtins
import functools
import operator
import sys
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType, MethodType, ModuleType
from typing import Any, Final

from jackfield_memo.asking import (
    asks_subclasses,
    asks_texts,
    derived_from,
    is_plain,
    is_pythons,
    registered,
    says,
)
from jackfield_memo.atoms import ATOMS
from jackfield_memo.code_names import CodeNames, names_of
from jackfield_memo.introspection import (
    MISSING,
    class_name,
    compared_by,
    home_of,
    wrapped_by,
)
from jackfield_memo.objects import set_on_wrapper
from jackfield_memo.sending.finding import found
from jackfield_memo.sending.likeness import is_large, is_live_in
from jackfield_memo.sending.watch import Watch, parts_in
from jackfield_serialize.origins import is_project_name, origin, origin_by_name

_GETTERS: Final = (operator.attrgetter, operator.methodcaller)
Name = tuple[str, str]
"""A module, and a name in it or the way to something: ``("shapes", "Box.area")``."""


class Reach:
    """What one function reaches; for one thread, once.

    Attributes:
        names: What each name stands for, of modules that workers import.
        texts: Modules that it may import, and that are not imported here, with their
            files.
        live: Modules that workers import, of which it may use something.
        watch: Tells whether all is still so.
        trouble: What an object raised that could not be looked at, if one did.
    """

    def __init__(self) -> None:
        self.names: dict[Name, Any] = {}
        self.texts: dict[str, str] = {}
        self.live: set[str] = set()
        self.watch: Watch = Watch()
        self.trouble: Exception | None = None
        self._subclasses: bool = False
        self._texts: bool = False
        self._alone: FunctionType | None = None
        self._seen: set[int] = set()
        self._kept: list[Any] = []
        self._waiting: list[tuple[Any, CodeNames | None]] = []
        self._modules: set[tuple[int, CodeNames | None]] = set()

    def walk(self, root: Callable[..., Any]) -> None:
        """Walk from what is to be called."""
        self._waiting.append((root, None))
        self._walk()

    def bring(self, thing: type | FunctionType) -> None:
        """Walk from a class or function that an argument brings."""
        module = sys.modules.get(home_of(thing))  # type: ignore[arg-type]  # has one, too
        if module is not None and is_live_in(vars(module)):
            self._at_home(thing.__qualname__, vars(module))
        self.walk(thing)

    def walk_code(self, function: FunctionType) -> None:
        """Walk from a function's code, as if the function held nothing."""
        self._seen.add(id(function))
        self._kept.append(function)
        self._alone = function
        self._code(function)
        self._walk()

    def _walk(self) -> None:
        while self._waiting:
            try:
                self._visit(*self._waiting.pop())
            except Exception as error:
                self.trouble = error

    def _follow(self, value: Any, names: CodeNames | None = None) -> None:
        if type(value) not in ATOMS:
            self._waiting.append((value, names))

    def _visit(self, value: Any, names: CodeNames | None) -> None:
        kind = type(value)  # and not ``isinstance``, which wakes lazy proxies
        if issubclass(kind, ModuleType):
            self._module(value, names)
            return
        if id(value) in self._seen:
            if id(value) == id(self._alone):
                self._alone = None  # a name leads to it, so what it holds counts
                self.watch.function(value)
            return
        self._seen.add(id(value))
        self._kept.append(value)  # or its id might become another's
        if kind is FunctionType:
            self._function(value)
        elif issubclass(kind, type):
            self._class(value)
        else:
            self._object(value)

    # -- Names

    def _name(self, namespace: Mapping[str, Any], name: str, *, live: bool) -> Any:
        """Note what a name is bound to, and return it."""
        value = namespace.get(name, MISSING)
        self.watch.name(namespace, name, value)
        if live and value is not sys.modules:  # which is each process's own
            self.names.setdefault((namespace["__name__"], name), value)
        return value

    def _module(self, module: ModuleType, names: CodeNames | None) -> None:
        """Note the names of a module that stand in code, or all."""
        key = id(module), names
        if key in self._modules or not is_project_name(module.__name__):
            return
        self._modules.add(key)
        namespace = vars(module)
        live = is_live_in(namespace)
        if type(module) is not ModuleType:  # its properties are the module's attributes
            self._follow(type(module))
        whole = names is None or names.computing
        if live:
            self.live.add(module.__name__)
        if whole:
            self.watch.whole(namespace)
        elif names:
            self.watch.absent(namespace, names.all - namespace.keys())
        for name in _public(namespace) if whole else names.all if names else ():
            if name in namespace:
                self._held(self._name(namespace, name, live=live), names)
            elif live and f"{module.__name__}.{name}" in sys.modules:
                self._follow(sys.modules[f"{module.__name__}.{name}"], names)
        if not whole and "__getattr__" in namespace:
            self._follow(self._name(namespace, "__getattr__", live=live))

    # -- Functions and classes

    def _function(self, function: FunctionType) -> None:
        for cell in function.__closure__ or ():
            try:
                self._held(cell.cell_contents)
            except ValueError:
                continue
        for value in (*(function.__defaults__ or ()), *function.__dict__.values()):
            self._held(value)
        for value in (function.__kwdefaults__ or {}).values():
            self._held(value)
        self.watch.function(function)
        if self._texts:
            self._readable(function)
        self._code(function)

    def _code(self, function: FunctionType) -> None:
        namespace = function.__globals__
        home = namespace.get("__name__") or ""
        if origin(home, namespace.get("__file__")).kind != "project":
            return
        live = is_live_in(namespace)
        names = names_of(function.__code__)
        if live:
            self._at_home(function.__qualname__, namespace)
        if any(type(namespace.get(name)) in _GETTERS for name in names.globals):
            names = names._replace(computing=True)
        for name in names.globals:
            value = self._name(namespace, name, live=live)
            self._held(self._builtin(name) if value is MISSING else value, names)
        if asks_subclasses(function.__code__) and not self._subclasses:
            self._subclasses = True
            for one in [one for one in self._kept if isinstance(one, type)]:
                self._derived(one)
        if asks_texts(function.__code__) and not self._texts:
            self._texts = True
            for one in self._kept:
                if isinstance(one, type | FunctionType):
                    self._readable(one)
        for written, taken in names.taken:
            self._taken(written, taken, namespace.get("__package__") or "")
        if names.dynamic and live:
            self._module(sys.modules[home], names)
        self._imports(names, namespace)

    def _readable(self, thing: FunctionType | type) -> None:
        """Note what a function or class of the project says of itself.

        Each is a name of its own, beside that of the function or class.
        """
        home, path = thing.__module__, thing.__qualname__
        if not isinstance(home, str) or not is_project_name(home):
            return
        self.watch.readable(thing)
        if isinstance(thing, type) and not is_plain(thing):
            return
        if is_live_in(vars(sys.modules[home])) and found(home, path) is thing:
            for name, said in says(thing).items():
                self.names.setdefault((home, f"{path}.{name}"), said)

    def _builtin(self, name: str) -> Any:
        """Note what somebody has set among the built-in names."""
        value = vars(builtins).get(name, MISSING)
        self.watch.name(vars(builtins), name, value)
        if value is MISSING or is_pythons(name, value):
            return MISSING
        self.names.setdefault(("builtins", name), value)
        return value

    def _taken(self, written: str, names: tuple[str, ...], package: str) -> None:
        """Note names that are imported from a module and are not there."""
        above = package
        while written not in sys.modules and above:
            name = f"{above}.{written}" if written else above
            if name in sys.modules:
                written = name
                break
            above = above.rpartition(".")[0]
        module = sys.modules.get(written)
        if module is None or not is_project_name(written):
            return
        namespace = vars(module)
        for name in names:
            inner = f"{written}.{name}" in sys.modules
            if name not in namespace and not inner and is_live_in(namespace):
                self._name(namespace, name, live=True)

    def _at_home(self, path: str, namespace: Mapping[str, Any]) -> None:
        """Note the name under which a function or class stands in its module.

        What a function has made in itself is not found by that function's name, and
        does not lead to all that the function may reach.
        """
        top = path.partition(".")[0]
        if top in namespace and "<" not in path:
            value = self._name(namespace, top, live=True)
            self._follow(value)

    def _class(self, owner: type) -> None:
        home = home_of(owner)
        if not is_project_name(home):
            return
        self.watch.members(owner)
        if self._texts:
            self._readable(owner)
        for member in (*vars(owner).values(), *owner.__bases__, type(owner)):
            self._held(member)
        if "_abc_impl" in vars(owner):
            self.watch.registrations()
            for one in registered(owner):
                self._follow(one)
        if self._subclasses:
            self._derived(owner)
        module = sys.modules.get(home)
        if module is not None and is_live_in(vars(module)):
            self._at_home(owner.__qualname__, vars(module))
            path = owner.__qualname__
            if "." in path and "<" not in path:
                self.names.setdefault((home, path), owner)

    def _derived(self, owner: type) -> None:
        """Follow the classes that are derived from one, where code asks for them."""
        if not is_project_name(home_of(owner)):
            return
        self.watch.subclasses(owner)
        found = derived_from(owner)
        for one in found:
            self._follow(one)
        module = sys.modules.get(home_of(owner))
        if found and not (module is not None and is_live_in(vars(module))):
            self.trouble = LookupError(
                f"workers do not know which classes are derived from "
                f"{class_name(owner)}, which is sent by value"
            )

    # -- Values

    def _held(self, value: Any, names: CodeNames | None = None) -> None:
        """Follow what something holds, and watch what may change in it."""
        kind = type(value)
        if kind in ATOMS or value is sys.modules:
            return
        if kind is not FunctionType and kind is not ModuleType:
            try:
                self.watch.content(value)
            except Exception as error:
                self.trouble = error
        self._follow(value, names)

    def _object(self, value: Any) -> None:
        """Follow what is in a container, a wrapper, or an object of the project."""
        if is_large(value):
            return
        kind = type(value)
        if issubclass(kind, functools.partial):
            parts: Iterable[Any] = (value.func, *value.args, *value.keywords.values())
        elif kind is MethodType:
            parts = (value.__func__, value.__self__)
        elif issubclass(kind, property):
            parts = (value.fget, value.fset, value.fdel)
        elif issubclass(kind, staticmethod | classmethod):
            parts = (value.__func__,)
        elif callable(value) and wrapped_by(value) is not None:
            parts = (wrapped_by(value), *set_on_wrapper(value).values())
            self._follow(kind)
        elif (compares := compared_by(value)) is not None:
            parts = (compares,)
        else:
            home = home_of(kind)
            root = home.partition(".")[0]
            if origin_by_name(home).kind == "package" and root != "jackfield":
                return
            parts = parts_in(value)
            self._follow(kind)
        for part in parts:
            self._held(part)

    # -- Imports inside functions

    def _imports(self, names: CodeNames, namespace: Mapping[str, Any]) -> None:
        package = namespace.get("__package__") or ""
        for written in names.imports:
            self._import(written, package, names)
        looks_up = "modules" in names.all and (
            "sys" in names.all or any(namespace.get(n) is sys for n in names.globals)
        )
        held = (namespace.get(name) for name in names.globals)
        if names.importing or looks_up or any(one is sys.modules for one in held):
            # What is imported by a computed name is looked for in the package, as for
            # the memo key; what is looked up by one is what the worker has imported.
            # Many look their own module up, which is no computed name.
            home = namespace.get("__name__")
            inside = f"{package or home}."
            for name in list(sys.modules):
                near = names.importing and f"{name}.".startswith(inside)
                near = near or (name == home and "__name__" in names.all)
                if near or name in names.texts:
                    self._loaded(name, None)
            for written in names.texts:
                self._import(written, package, names)

    def _import(self, written: str, package: str, names: CodeNames) -> None:
        """Follow ``import written``, which may be relative to a package above."""
        found = [written] if written and self._known(written) else []
        above = package
        while above and not found:
            name = f"{above}.{written}" if written else above
            found += [name] if self._known(name) else []
            above = above.rpartition(".")[0]
        for name in found:
            for inner in (name, *(f"{name}.{one}" for one in names.all)):
                self._loaded(inner, names)
            above = name.rpartition(".")[0]
            while above:
                self._loaded(above, names)
                above = above.rpartition(".")[0]

    def _known(self, name: str) -> bool:
        """Tell whether there is such a module; note its text if it is not loaded."""
        module = sys.modules.get(name)
        self.watch.name(sys.modules, name, module if module is not None else MISSING)
        if module is not None:
            return True
        if name.partition(".")[0] in sys.stdlib_module_names:
            return False
        from jackfield_memo.static import StaticModules  # few functions need it

        modules = StaticModules()
        waiting, found = [name], False
        while waiting:
            inner = waiting.pop()
            if inner in self.texts or inner in sys.modules:
                continue
            text = modules.load(inner)
            if text is not None and text.file:
                found = found or inner == name
                self.texts[inner] = text.file
                self.watch.file(text.file)
                waiting += text.imported()
        return found

    def _loaded(self, name: str, names: CodeNames | None) -> None:
        module = sys.modules.get(name)
        if module is not None:
            self._module(module, names)


def _public(namespace: Mapping[str, Any]) -> list[str]:
    return [name for name in namespace if not name.startswith("__")]
