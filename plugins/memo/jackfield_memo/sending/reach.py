"""Walks from a function to every name of the project's modules that it may use.

Names are read off compiled code, more of them than are used rather than fewer: of a
module that a function refers to, all names count that stand in the function. What
belongs to packages and to Python is not walked into.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType, MethodType, ModuleType
from typing import Any

from jackfield_memo.atoms import ATOMS
from jackfield_memo.introspection import MISSING, home_of, wrapped_by
from jackfield_memo.origins import origin_by_name
from jackfield_memo.sending.likeness import is_large, is_live_in
from jackfield_memo.sending.names import CodeNames, names_of
from jackfield_memo.sending.watch import Watch, parts_in
from jackfield_memo.sending.whose import is_project, is_project_name

Name = tuple[str, str]
"""A module, and a name in it or the way to something: ``("shapes", "Box.area")``."""


class Reach:
    """What one function reaches; for one thread, once.

    Attributes:
        names: What each name stands for, of modules that workers import.
        texts: Modules that it may import, and that are not imported here, with their
            files.
        watch: Tells whether all is still so.
    """

    def __init__(self) -> None:
        self.names: dict[Name, Any] = {}
        self.texts: dict[str, str] = {}
        self.watch: Watch = Watch()
        self._seen: set[int] = set()
        self._kept: list[Any] = []
        self._waiting: list[tuple[Any, CodeNames | None]] = []
        self._modules: set[tuple[int, CodeNames | None]] = set()

    def walk(self, root: Callable[..., Any]) -> None:
        """Walk from what is to be called."""
        self._waiting.append((root, None))
        while self._waiting:
            self._visit(*self._waiting.pop())

    def _follow(self, value: Any, names: CodeNames | None = None) -> None:
        if type(value) not in ATOMS:
            self._waiting.append((value, names))

    def _visit(self, value: Any, names: CodeNames | None) -> None:
        kind = type(value)  # and not ``isinstance``, which wakes lazy proxies
        if issubclass(kind, ModuleType):
            self._module(value, names)
            return
        if id(value) in self._seen:
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
        if live:
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
        whole = names is None or names.computing
        for name in _public(namespace) if whole else names.all if names else ():
            if name in namespace:
                self._held(self._name(namespace, name, live=live), names)
            elif live and f"{module.__name__}.{name}" in sys.modules:
                self._follow(sys.modules[f"{module.__name__}.{name}"], names)
        if not whole and "__getattr__" in namespace:
            self._follow(self._name(namespace, "__getattr__", live=live))

    # -- Functions and classes

    def _function(self, function: FunctionType) -> None:
        namespace = function.__globals__
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
        home = namespace.get("__name__") or ""
        if not is_project(home, namespace.get("__file__")):
            return
        live = is_live_in(namespace)
        names = names_of(function.__code__)
        if live:
            self._at_home(function.__qualname__, namespace)
        for name in names.globals:
            value = self._name(namespace, name, live=live)
            self._held(value, names)
        if names.dynamic and live:
            self._module(sys.modules[home], names)
        self._imports(names, namespace)

    def _at_home(self, path: str, namespace: Mapping[str, Any]) -> None:
        """Note the name under which a function or class stands in its module."""
        top = path.partition(".")[0]
        if top in namespace and "<" not in top:
            value = self._name(namespace, top, live=True)
            self._follow(value)

    def _class(self, owner: type) -> None:
        home = home_of(owner)
        if not is_project_name(home):
            return
        self.watch.members(owner)
        for member in (*vars(owner).values(), *owner.__bases__, type(owner)):
            self._held(member)
        module = sys.modules.get(home)
        if module is not None and is_live_in(vars(module)):
            self._at_home(owner.__qualname__, vars(module))
            path = owner.__qualname__
            if "." in path and "<" not in path:
                self.names.setdefault((home, path), owner)

    # -- Values

    def _held(self, value: Any, names: CodeNames | None = None) -> None:
        """Follow what something holds, and watch what may change in it."""
        kind = type(value)
        if kind in ATOMS:
            return
        if kind is not FunctionType and kind is not ModuleType:
            self.watch.content(value)
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
            parts = (wrapped_by(value),)
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
        if names.importing:
            root = (namespace.get("__name__") or "").partition(".")[0]
            for name in list(sys.modules):
                if name.partition(".")[0] == root:
                    self._loaded(name, None)

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
