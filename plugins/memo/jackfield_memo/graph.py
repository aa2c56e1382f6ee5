"""One function's whole code: everything of the project's that it can reach by name.

A node is a function, a class, a value that is bound to a name of a module, a module,
or a package. The graph is walked from its root, breadth first, and what a node refers
to is taken in the order of names. So the nodes get the same numbers in every process. A
reference is written as the number of its node, so that functions may refer to each
other in circles. The digest of all nodes in order is the identity.

Besides, each node has a digest of its own, without what it refers to: comparing
those of two identities shows which functions have changed.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import partial
from types import FunctionType, ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from jackfield_memo import static, static_running
from jackfield_memo.asking import (
    NOTHING,
    Asks,
    derived_from,
    readable,
    registered,
    text_of,
)
from jackfield_memo.atoms import sized
from jackfield_memo.dynamic import COMPUTED_IMPORT, Dynamic, dynamic_in_tree
from jackfield_memo.files import compiled_version
from jackfield_memo.functions import (
    Code,
    code_of,
    holdings,
    is_generated,
    members,
)
from jackfield_memo.introspection import (
    class_name,
    further_of,
    home_of,
    made_here,
    plain_name,
    wrapped_by,
)
from jackfield_memo.labels import (
    class_label,
    free_label,
    function_label,
    global_label,
    shown,
    type_alone,
)
from jackfield_memo.late_state import held_otherwise
from jackfield_memo.names import DYNAMIC, PYTHONS, UNBOUND, Names
from jackfield_memo.opaque import HANDLES
from jackfield_memo.own_changes import OwnChanges
from jackfield_memo.policy import Policy, Unordered
from jackfield_memo.references import Chain, computes_attributes, name_chains
from jackfield_memo.snapshot import Snapshot
from jackfield_memo.sources import tree_of
from jackfield_memo.static import StaticModule, StaticModules, Target
from jackfield_memo.values import Encoder
from jackfield_serialize.origins import (
    Origin,
    origin,
    origin_by_name,
    origin_of_module,
)

if TYPE_CHECKING:
    from jackfield.files import File
    from jackfield_memo.policy import ValueHooks
    from jackfield_memo.sources import Text

_HEADER: Final = repr(("jackfield code", 1, sys.version_info[:2], __debug__)).encode()
_PYTHON: Final = (
    f"Python {sys.version_info[0]}.{sys.version_info[1]}{'' if __debug__ else ' -O'}"
)


class Graph(NamedTuple):
    """All that a function or a class reaches.

    Attributes:
        digest: Identity of the whole: 32 bytes.
        parts: Label to the digest, in hexadecimal, of what each node is itself; and
            Python, which counts for all.
        blind: What could not be seen, or only in part.
        refusal: Why it cannot be told what is reached, or ``""``.
        snapshot: Tells whether all is still so.
    """

    digest: bytes
    parts: Mapping[str, str]
    blind: tuple[str, ...]
    snapshot: Snapshot
    refusal: str = ""


_MAKING: Final = frozenset({"__init__", "__new__", "__prepare__"})
"""Methods of a metaclass that run where a class is defined."""
_Described = tuple[Any, list[bytes]]
"""What a node is itself, as a value, and its references."""


class GraphBuilder:
    """Walks from one root; for one thread, once."""

    def __init__(
        self,
        hooks: ValueHooks,
        file: Callable[[File], bytes],
        asks: Asks = NOTHING,
    ) -> None:
        self._again: Callable[[Asks], GraphBuilder] = partial(GraphBuilder, hooks, file)
        # What the code asks about code: counted, and found on this walk.
        self._counted: Asks = asks
        self._asks: Asks = asks
        self._numbers: dict[Any, int] = {}
        self._nodes: list[tuple[str, Callable[[], _Described]]] = []
        # What has a number by its ``id``: held, so that the ``id`` stays its own.
        self._kept: list[object] = []
        self._blind: dict[str, None] = {}
        self._refusal: str = ""
        self._label: str = ""
        # Attributes that functions take of something.
        self._used: set[str] = set()
        self._codes: dict[int, Code] = {}
        self._texts: list[Text] = []
        self._ranking: set[int] = set()
        self._static: StaticModules = StaticModules()
        # Three ways to encode what is met in a value and is code. By its name, or for a
        # function by its code: for what a node is alone. As a reference, which makes
        # it a node: for the whole. By its ``id``: to see whether it is the same still.
        self._alone: Policy = Policy(self._name, type_alone, hooks, file, ordered=True)
        self._linked: Policy = Policy(
            self.refer, self._unknown, hooks, file, self._rank, ordered=True
        )
        here: Policy = Policy(_id, _id_too, hooks, file, ordered=True)
        self._snapshot: Snapshot = Snapshot(lambda value: Encoder(here).identity(value))
        self._own_changes: OwnChanges = OwnChanges(self._snapshot, self._code)
        self._names: Names = Names(
            self._snapshot, self.refer, self._data, self._outside, self._calls
        )

    def build(self, root: Any) -> Graph:
        """Walk from a function, a class or a C function."""
        digest = hashlib.sha256(_HEADER + self.refer(root))
        if any(self._counted):
            digest.update(repr(tuple(self._counted)).encode())
        parts: dict[str, str] = {}
        for label, describe in self._nodes:  # which grows meanwhile
            self._label = label.partition(" ")[2]
            own, references = describe()
            content = _encoded(self._linked, own)
            digest.update(hashlib.sha256(content).digest())
            digest.update(hashlib.sha256(b"".join(references)).digest())
            alone = hashlib.sha256(_encoded(self._alone, own)).hexdigest()
            parts[free_label(label, parts)] = alone
        if self._asks != self._counted:
            return self._again(self._asks).build(root)
        digest.update(self._static_names())
        parts[_PYTHON] = hashlib.sha256(_HEADER).hexdigest()
        self._own_changes.leave_out(all_run=isinstance(root, type))
        blind = tuple(self._blind)
        return Graph(digest.digest(), parts, blind, self._snapshot, self._refusal)

    # -- References

    def refer(self, thing: Any) -> bytes:
        """Return what stands for a function, a class or a module; make it a node."""
        if isinstance(thing, FunctionType):
            return self._function(thing)
        if isinstance(thing, type):
            return self._class(thing)
        if isinstance(thing, ModuleType):
            return self._module(thing)
        return self._c_function(thing)

    def _node(
        self, key: Any, thing: object, label: str, describe: Callable[[], _Described]
    ) -> bytes:
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._nodes)
            self._nodes.append((label, describe))
            self._kept.append(thing)
        return b"@%d;" % number

    def _function(self, function: FunctionType) -> bytes:
        module = function.__globals__.get("__name__") or ""
        whose = origin(module, function.__globals__.get("__file__"))
        code = function.__code__
        name = f"{module}.{code.co_qualname}"
        if whose.kind == "project":
            label = function_label(function, name)
            describe = partial(self._describe_function, function)
            return self._node(id(function), function, label, describe)
        if "<locals>" in code.co_qualname:  # a decorator's wrapper, say
            describe = partial(self._describe_outer, function, whose, name)
            return self._node(id(function), function, f"function {name}", describe)
        return self._outside(whose, name)

    def _class(self, owner: type) -> bytes:
        name = class_name(owner)
        whose = origin_by_name(home_of(owner))
        if whose.kind != "project" and not made_here(owner):
            return self._outside(whose, name) + self._further(owner, whose)
        describe = partial(self._describe_class, owner)
        return self._node(id(owner), owner, class_label(owner), describe)

    def _further(self, owner: type, whose: Origin) -> bytes:
        """Refer to classes that stand for another, or are derived from it."""
        found: list[type] = []
        if "_abc_impl" in vars(owner):
            self._snapshot.registrations()
            found += registered(owner)
        if self._counted.subclasses and whose.kind != "python":
            self._snapshot.subclasses(owner)
            found += derived_from(owner)
        return b"".join(map(self.refer, found))

    def _module(self, module: ModuleType) -> bytes:
        whose = origin_of_module(module)
        if whose.kind != "project":
            return self._outside(whose, module.__name__)
        describe = partial(self._describe_module, module)
        label = f"module {module.__name__} (as a whole)"
        return self._node(id(module), module, label, describe)

    def _c_function(self, function: Any) -> bytes:
        name = plain_name(function)
        module = name.removesuffix(f".{function.__qualname__}")
        whose = origin_by_name(module)
        if whose.kind != "project":
            return self._outside(whose, name)
        version = compiled_version(module)
        label = f"function {name}"
        return self._node(("c", name), None, label, lambda: ((name, version), []))

    def _outside(self, whose: Origin, name: str) -> bytes:
        return self._package(whose) + sized(b"y", name.encode())

    def _package(self, whose: Origin) -> bytes:
        """Refer to a package's version; Python's own is in every digest."""
        version = whose.version
        if whose.kind == "python":
            return PYTHONS
        label = f"package {version}"
        return self._node(("package", version), None, label, lambda: (version, []))

    # -- Nodes

    def _describe_function(self, function: FunctionType) -> _Described:
        self._snapshot.function(function)
        code = self._code(function)
        held = holdings(function)
        for value in held.given():
            self._snapshot.content(value)
        for place, value in enumerate(held.closure.values()):
            self._snapshot.cell(function, place, value)
        self._own_changes.described(function, held.closure)
        if code.computes_attributes:
            self._calls("getattr with a computed name")
        names = function.__globals__
        references = [self._names.resolve(function, names, one) for one in code.chains]
        package = _package_of(names)
        for one in code.imports:
            references += self._imported(self._static.resolve(one, package))
        if code.dynamic:
            references += self._reached(function, names, code.dynamic)
        self._asks = self._asks.and_of(function.__code__, code.touched)
        self._used.update(part for chain in code.touched for part in chain[1:])
        own: tuple[Any, ...] = ("function", code.form, held.as_value())
        if self._counted.texts:
            self._snapshot.readable(function)
            own += text_of(function)
        elif self._counted.names:
            self._snapshot.readable(function)
            own += readable(function)[2:]
        return own, references

    def _reached(
        self,
        owner: FunctionType | StaticModule,
        names: Mapping[str, Any],
        dynamic: Dynamic,
    ) -> list[bytes]:
        """Refer to all that code may reach by names that are not written in it."""
        found: list[bytes] = []
        if dynamic.namespace and isinstance(owner, FunctionType):
            public = _public(names)
            self._snapshot.public(owner, public)
            found += [self._names.resolve(owner, names, (name,)) for name in public]
        for name in dynamic.modules:
            self._snapshot.module(name)
            module = sys.modules.get(name)
            found.append(UNBOUND if module is None else self._module(module))
        unknown = dynamic.unknown
        for written in dynamic.packages:
            package = written or _package_of(names)
            inside = self._static.inside(package)
            unknown = unknown if inside else COMPUTED_IMPORT
            found += self._imported(inside)
        if unknown and not self._refusal:
            self._refusal = f"{self._label} {unknown}"
        return found

    def _describe_outer(
        self, function: FunctionType, whose: Origin, name: str
    ) -> _Described:
        """Describe a function that code from outside has made: by what it holds."""
        self._snapshot.function(function)
        held = holdings(function)
        for place, value in enumerate(held.closure.values()):
            self._snapshot.cell(function, place, value)
            if type(value) is dict:  # the functions of a ``singledispatch``, say
                self._snapshot.content(value)
        return (name, held.as_value()), [self._package(whose)]

    def _describe_class(self, owner: type) -> _Described:
        self._snapshot.members(owner)
        for value in vars(owner).values():  # these count once somebody changes them
            if isinstance(value, FunctionType) and is_generated(value):
                self._snapshot.function(value)
                inner = wrapped_by(value)
                if isinstance(inner, FunctionType):
                    self._snapshot.function(inner)
        found = members(owner)
        for value in found.data():
            self._snapshot.content(value)
            if hasattr(type(value), "__get__"):
                self._own_changes.descriptor(value)
        if issubclass(owner, Enum):
            for one in owner.__members__.values():
                further = SimpleNamespace(**further_of(one))
                self._snapshot.content(further, one)
        for name, method in found.methods():
            making = issubclass(owner, type) and name in _MAKING
            runs_as = "__init_subclass__" if making else name
            self._own_changes.is_method(runs_as, method)
        made_of = Unordered(found.members)
        own: tuple[Any, ...]
        own = (class_name(owner), found.bases, made_of, found.annotations)
        if self._counted.texts:
            self._snapshot.readable(owner)
            own += readable(owner)
        module = sys.modules.get(home_of(owner))
        others = self._further(owner, origin_by_name(home_of(owner)))
        references = [others] if others else []
        if module is None:
            return own, references
        whose = origin_of_module(module)
        if whose.kind != "project":  # made by a package, for this program
            return own, [*references, self._package(whose)]
        names = vars(module)
        return own, references + [
            self._names.resolve(module, names, chain)
            for _, text in found.annotations
            for chain in sorted(_names_in(text))
            if chain[0] in names
        ]

    def _describe_module(self, module: ModuleType) -> _Described:
        names = _public(vars(module))
        self._snapshot.public(module, names)
        references = [
            self._names.resolve(module, vars(module), (name,)) for name in names
        ]
        return names, references

    def _describe_static(self, module: StaticModule, name: str) -> _Described:
        statements = module.statements(name)
        dynamic = []
        if computes_attributes(statements):
            dynamic.append("getattr with a computed name")
        dynamic += [
            chain[-1]
            for chain in sorted(name_chains(statements))
            if chain[-1] in DYNAMIC.values() and chain[-1] not in module.bindings
        ]
        for one in dynamic:
            self._calls(one)
        further = dynamic_in_tree(statements, {})
        static_running.remember(module, name, self._snapshot)
        otherwise = static_running.running_otherwise(module, name, self._rank)
        otherwise += self._held_otherwise(module, name)
        otherwise += static.data_identities(module, name)
        references = self._imported(
            self._static.references(module, name, dynamic=bool(dynamic))
        )
        if further:
            package = {"__package__": module.package}
            references += self._reached(module, package, further)
        self._asks = static.asks(module, name, self._asks)
        form = static.form(module, name)
        if self._counted.texts:
            form += static.whole_text(module)
        elif self._counted.names:
            form += name.encode()  # those within stand in the form
        return ("static", form, otherwise), references

    def _held_otherwise(self, module: StaticModule, name: str) -> list[bytes]:
        """Return what names of a module hold besides what its text has made."""
        if name == static.EFFECTS:
            return []
        used = self._used | module.attributes
        found = []
        for one in module.bindings if name == static.WHOLE else (name,):
            held = held_otherwise(
                module,
                one,
                sys.modules.get(module.name),
                lambda value: self._own_changes.of_itself(value, used),
                self._rank,
            )
            found += [one.encode(), *held] if held else []
        return found

    def _static_names(self) -> bytes:
        """Return what names of modules, by which imports came, stand for besides."""
        found = [
            one
            for module, name in sorted(self._static.passed, key=_by_names)
            for one in static_running.bound_otherwise(
                module, name, self._snapshot, self._rank
            )
        ]
        return b"".join(found)

    def _code(self, function: FunctionType) -> Code:
        code = self._codes.get(id(function))
        if code is None:
            code = self._codes[id(function)] = code_of(function, self._texts)
            self._kept.append(function)
        return code

    # -- Names

    def _data(self, namespace: Mapping[str, Any], name: str, value: Any) -> bytes:
        self._snapshot.content(value)
        label = global_label(namespace, name)
        key = "data", id(namespace), name
        return self._node(key, namespace, label, lambda: (value, []))

    def _imported(self, targets: Iterable[Target]) -> list[bytes]:
        return [self._target(target) for target in targets]

    def _target(self, target: Target) -> bytes:
        whose, module, name = target
        if whose.kind != "project":
            return self._outside(whose, name)
        if module is None:
            self._snapshot.without_module(name, static.is_found)
            self._note(f"{self._label} imports {name}, which is not found here")
            return UNBOUND
        label = f"module {module.name} (as a whole)"
        if name != static.WHOLE:
            place = f"({shown(module.file)}:{module.line(name)})"
            label = f"{module.kind(name)} {module.name}.{name or '<import>'} {place}"
        key = "static", module.name, name
        describe = partial(self._describe_static, module, name)
        return self._node(key, module, label, describe)

    # -- What cannot be seen

    def _note(self, sentence: str) -> None:
        self._blind[sentence] = None

    def _calls(self, dynamic: str) -> None:
        self._note(f"{self._label} calls {dynamic}")

    def _unknown(self, value: object, reason: str) -> bytes:
        """Let a value without identity count by its type; it is no argument."""
        del reason
        if type(value) is not object:
            name = class_name(type(value))
            if _is_foreign_code(value) and not self._refusal:
                self._refusal = f"{self._label} reaches a {name}, whose code is unknown"
            self._note(f"{self._label} holds a {name}, which counts by its type only")
        return type_alone(value, "")

    # -- Encodings that do not depend on the graph

    def _rank(self, value: object) -> bytes:
        return Encoder(self._alone).identity(value)

    def _name(self, thing: Any) -> bytes:
        """Refer to code by name, to the project's functions by what they are."""
        if not isinstance(thing, FunctionType):
            return sized(b"y", plain_name(thing).encode())
        if id(thing) in self._ranking:
            return b"^"
        self._ranking.add(id(thing))
        try:
            held = self._rank(holdings(thing).as_value())
        finally:
            self._ranking.discard(id(thing))
        return sized(b"y", self._code(thing).form + held)


def _encoded(policy: Policy, value: object) -> bytes:
    return Encoder(policy).identity(value)


def _id(thing: object) -> bytes:
    """Refer to code by what it is in this process, for comparison in it."""
    return b"y%d;" % id(thing)


def _id_too(value: object, reason: str) -> bytes:
    del reason
    return _id(value)


def _is_foreign_code(value: object) -> bool:
    """Tell whether a value without identity may run code that nobody sees.

    An object that can be called and is a package's: ``numpy.frompyfunc`` makes such.
    """
    home = home_of(type(value))
    outside = home.partition(".")[0] in HANDLES
    return callable(value) and not outside and origin_by_name(home).kind != "project"


def _public(names: Mapping[str, Any]) -> list[str]:
    return [name for name in sorted(names) if not name.startswith("__")]


def _by_names(passed: tuple[StaticModule, str]) -> tuple[str, str]:
    return passed[0].name, passed[1]


def _package_of(module: Mapping[str, Any]) -> str:
    package = module.get("__package__")
    return package if isinstance(package, str) else ""


def _names_in(text: object) -> set[Chain]:
    """Return the names in an annotation that is a text, as many are."""
    if not isinstance(text, str):
        return set()
    try:
        return name_chains([tree_of(text, "eval")])
    except (SyntaxError, ValueError):
        return set()
