"""What a function or a class is made of, besides what it refers to by name.

A function: its code, its default values, the values that its closure holds, its
attributes. A class: its bases, its methods and attributes, the fields it declares.
"""

from __future__ import annotations

import ast
import builtins
import enum
import inspect
import types
import weakref
from collections.abc import Iterator, Mapping
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any, Final, NamedTuple

from jackfield_memo.introspection import MISSING, wrapped_by
from jackfield_memo.references import (
    Chain,
    Import,
    changed_chains,
    computes_attributes,
    global_chains,
    imports_in_code,
    imports_in_tree,
    name_chains,
)
from jackfield_memo.sources import Text, find_source
from jackfield_memo.syntax import code_form, function_form, private_names

_NEVER_READ_ANNOTATIONS: Final = frozenset(
    {"abc", "builtins", "contextlib", "enum", "functools", "jackfield", "typing"}
)
"""Top-level modules whose decorators do not look at annotations."""
_ACCESSORS: Final = frozenset({"getter", "setter", "deleter"})

_FIELDS: Final = frozenset(
    {
        "__slots__",
        "__dataclass_fields__",
        "__dataclass_params__",
        "__attrs_attrs__",
        "__attrs_props__",
        "__pydantic_fields__",
    }
)
"""Attributes in which classes keep what they declare. Other names with two
underscores are Python's or a library's own, made from the rest, and count only if
they are functions."""
_MACHINERY: Final = frozenset({"_abc_impl", "_is_protocol", "_is_runtime_protocol"})


class Code(NamedTuple):
    """A function's code.

    Attributes:
        form: Its digest.
        chains: The globals that it uses, in order.
        imports: What it imports when it runs, in order.
        computes_attributes: Whether it may get attributes by computed names.
        changes: What it changes itself, in order.
        changes_self: Whether its first argument is among that.
    """

    form: bytes
    chains: tuple[Chain, ...]
    imports: tuple[Import, ...]
    computes_attributes: bool
    changes: tuple[Chain, ...] = ()
    changes_self: bool = False


_read: Final[dict[int, tuple[weakref.ref[CodeType], Code]]] = {}
"""What has been read of code objects that are alive, by ``id``. An entry counts only if
its reference still leads to the code object: an ``id`` is given again to another."""


def code_of(function: FunctionType, hold: list[Text]) -> Code:
    """Read a function's code: its syntax tree, or the code object without source.

    Args:
        function: The function; the code of each is read once.
        hold: Takes the source that it was found in. As long as the caller holds that
            list, a source is not parsed again for another function in it.
    """
    code = function.__code__
    place = id(code)
    known = _read.get(place)
    if known is not None and known[0]() is code:
        return known[1]
    made = _read_code(function, hold)
    reference = weakref.ref(code, lambda _: _read.pop(place, None))
    _read[place] = reference, made
    return made


def _read_code(function: FunctionType, hold: list[Text]) -> Code:
    code = function.__code__
    chains = tuple(sorted(global_chains(code)))
    source = find_source(code, function.__globals__)
    if source is None:
        imports = imports_in_code(code)
        computes = ("getattr",) in chains
        return Code(code_form(code), chains, tuple(sorted(imports)), computes)
    text, node = source
    hold.append(text)
    read = any(
        _reads_annotations(decorator, function.__globals__)
        for decorator in getattr(node, "decorator_list", ())
    )
    form = function_form(node, annotations=read) + repr(private_names(code)).encode()
    body = [node.body] if isinstance(node, ast.Lambda) else node.body
    imports = imports_in_tree(body)
    changes = tuple(sorted(changed_chains(body)))
    return Code(
        form,
        chains,
        tuple(sorted(imports)),
        computes_attributes([node]),
        changes,
        any(code.co_varnames[:1] == chain[:1] for chain in changes),
    )


def _reads_annotations(decorator: ast.expr, module: Mapping[str, Any]) -> bool:
    """Tell whether a decorator may look at the annotations of what it decorates.

    It may not if it is from a module of which that is known. If it cannot be found, or
    is computed, it may.
    """
    if isinstance(decorator, ast.Call):
        decorator = decorator.func
    chain = max(name_chains([decorator]), default=())
    if chain and chain[-1] in _ACCESSORS:
        return False
    value = module.get(chain[0], vars(builtins).get(chain[0])) if chain else None
    for attribute in chain[1:]:
        if not isinstance(value, ModuleType):
            return True
        value = vars(value).get(attribute)
    home = getattr(value, "__module__", None)
    if not isinstance(home, str):
        return True
    return home.partition(".")[0] not in _NEVER_READ_ANNOTATIONS


class Holdings(NamedTuple):
    """The values that a function holds.

    Attributes:
        defaults: Of positional parameters, or ``None``.
        keyword_defaults: Of keyword parameters, or ``None``.
        closure: Variable to its value; ``MISSING`` for an empty cell.
        attributes: What was set on the function, ``__wrapped__`` among it.
    """

    defaults: tuple[Any, ...] | None
    keyword_defaults: dict[str, Any] | None
    closure: dict[str, Any]
    attributes: dict[str, Any]

    def __bool__(self) -> bool:
        return any(self[:])

    def as_value(self) -> tuple[Any, ...]:
        """Return it all as one value, for an encoder."""
        closure = {
            name: () if value is MISSING else (value,)
            for name, value in self.closure.items()
        }
        return self.defaults, self.keyword_defaults, closure, self.attributes

    def given(self) -> Iterator[Any]:
        """Give the values that others may change in place."""
        yield from self.defaults or ()
        yield from (self.keyword_defaults or {}).values()
        yield from self.closure.values()


def holdings(function: FunctionType) -> Holdings:
    """Return the values that a function holds now."""
    names = function.__code__.co_freevars
    cells = map(_content, function.__closure__ or ())
    closure = dict(zip(names, cells, strict=True))
    attributes = {
        name: value
        for name, value in vars(function).items()
        if name not in {"__signature__", "__type_params__"}
    }
    return Holdings(function.__defaults__, function.__kwdefaults__, closure, attributes)


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING


_MAKERS: Final = frozenset(
    {"__init__", "__new__", "__post_init__", "__setstate__", "__set_name__"}
)
"""Methods that make an instance, and so do not change what it is."""


class Members(NamedTuple):
    """What a class is made of.

    Attributes:
        bases: Its bases, and its metaclass.
        members: Name to method or attribute.
        annotations: Name to annotation, in the order of the class.
    """

    bases: tuple[type, ...]
    members: dict[str, Any]
    annotations: tuple[tuple[str, Any], ...]

    def data(self) -> Iterator[tuple[str, Any]]:
        """Give the attributes that are no methods."""
        for name, value in self.members.items():
            if name not in _FIELDS and not _is_code(value):
                yield name, value

    def methods(self) -> Iterator[FunctionType]:
        """Give the methods that work with an instance that is made."""
        for name, member in self.members.items():
            function = getattr(member, "__func__", member)
            if isinstance(function, FunctionType) and name not in _MAKERS:
                yield function


def members(owner: type) -> Members:
    """Return what a class is made of now."""
    if issubclass(owner, enum.Enum):
        found = _enum_members(owner)
    else:
        found = {k: v for k, v in vars(owner).items() if _counts(k, v)}
    try:
        annotations = tuple(inspect.get_annotations(owner).items())
    except Exception:  # from Python 3.14 on they are evaluated here
        annotations = ()
    return Members((*owner.__bases__, type(owner)), found, annotations)


def _enum_members(owner: type[enum.Enum]) -> dict[str, Any]:
    found = {
        name: value
        for name, value in vars(owner).items()
        if name not in owner.__members__
        and isinstance(value, FunctionType | property | classmethod | staticmethod)
    }
    return found | {name: one._value_ for name, one in owner.__members__.items()}


def _is_code(value: Any) -> bool:
    return callable(value) or hasattr(value, "__get__")


def _is_generated(function: FunctionType) -> bool:
    """Tell whether ``dataclasses`` or attrs have made a method, from the fields.

    What attrs makes has numbers in it that differ from process to process.
    """
    code = getattr(wrapped_by(function) or function, "__code__", function.__code__)
    return code.co_qualname.startswith("__create_fn__.") or code.co_filename.startswith(
        "<attrs generated"
    )


def _counts(name: str, value: Any) -> bool:
    if name in _FIELDS:
        return True
    if isinstance(value, FunctionType):
        return not _is_generated(value)
    if isinstance(value, types.MemberDescriptorType | types.GetSetDescriptorType):
        return False
    if name in _MACHINERY:
        return False
    special = name.startswith("__") and name.endswith("__")
    return not special or isinstance(value, classmethod | staticmethod | property)
