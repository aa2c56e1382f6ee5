"""What a function or a class is made of, besides what it refers to by name.

A function: its code, its default values, the values that its closure holds, its
attributes. A class: its bases, its methods and attributes, the fields it declares.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
import enum
import functools
import inspect
import types
import weakref
from collections.abc import Iterator, Mapping
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any, Final, NamedTuple

from jackfield_memo.dynamic import Dynamic, dynamic_in_code, dynamic_in_tree
from jackfield_memo.introspection import (
    MISSING,
    class_name,
    further_of,
    home_of,
    wrapped_by,
)
from jackfield_memo.policy import Unordered
from jackfield_memo.references import (
    Chain,
    Import,
    changed_chains,
    changed_in_code,
    computes_attributes,
    global_chains,
    imports_in_code,
    imports_in_tree,
    name_chains,
    touched_chains,
)
from jackfield_memo.sources import Text, find_source
from jackfield_memo.syntax import code_form, function_form, private_names
from jackfield_serialize.origins import origin_by_name

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
"""Attributes in which classes keep what they declare."""
_MACHINERY: Final = frozenset(
    {
        "_abc_impl",
        "_is_protocol",
        "_is_runtime_protocol",
        "__abstractmethods__",
        "__annotate__",
        "__annotate_func__",
        "__annotations__",
        "__annotations_cache__",
        "__class_vars__",
        "__computed_fields__",
        "__dict__",
        "__doc__",
        "__final__",
        "__firstlineno__",
        "__module__",
        "__mutable_keys__",
        "__non_callable_proto_members__",
        "__optional_keys__",
        "__parameters__",
        "__private_attributes__",
        "__protocol_attrs__",
        "__qualname__",
        "__readonly_keys__",
        "__required_keys__",
        "__signature__",
        "__slotnames__",
        "__static_attributes__",
        "__type_params__",
        "__weakref__",
    }
)
"""What Python and well-known libraries add to a class of their own accord, made from
the rest of it. Methods that are called so count all the same."""
_LIBRARIES: Final = ("__attrs_", "__pydantic_")
"""What else libraries add begins so."""
_ENUM_MACHINERY: Final = frozenset(
    {
        "_all_bits_",
        "_boundary_",
        "_flag_mask_",
        "_hashable_values_",
        "_inverted_",
        "_member_map_",
        "_member_names_",
        "_member_type_",
        "_new_member_",
        "_singles_mask_",
        "_unhashable_values_",
        "_unhashable_values_map_",
        "_use_args_",
        "_value2member_map_",
        "_value_repr_",
        "__new_member__",
    }
)
"""What ``enum`` adds to a class, made from the rest of it; methods count."""


class Code(NamedTuple):
    """A function's code.

    Attributes:
        form: Its digest.
        chains: The globals that it uses, in order.
        imports: What it imports when it runs, in order.
        computes_attributes: Whether it may get attributes by computed names.
        changes: What it changes itself, in order.
        touched: What it reads, and the methods that it calls, in order.
        dynamic: What it reaches by names that are not written in it.
    """

    form: bytes
    chains: tuple[Chain, ...]
    imports: tuple[Import, ...]
    computes_attributes: bool
    changes: tuple[Chain, ...] = ()
    touched: tuple[Chain, ...] = ()
    dynamic: Dynamic = Dynamic()


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
        changes = tuple(sorted(changed_in_code(code)))
        form = code_form(code)
        dynamic = dynamic_in_code(code, function.__globals__)
        return Code(
            form, chains, tuple(sorted(imports)), computes, changes, chains, dynamic
        )
    text, node = source
    hold.append(text)
    read = any(
        _reads_annotations(decorator, function.__globals__)
        for decorator in getattr(node, "decorator_list", ())
    )
    form = function_form(node, annotations=read) + repr(private_names(code)).encode()
    body = [node.body] if isinstance(node, ast.Lambda) else node.body
    imports = imports_in_tree(body)
    return Code(
        form,
        chains,
        tuple(sorted(imports)),
        computes_attributes([node]),
        tuple(sorted(changed_chains(body))),
        tuple(sorted(touched_chains(body))),
        dynamic_in_tree(body, function.__globals__),
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
        keywords = self.keyword_defaults
        return (
            self.defaults,
            None if keywords is None else Unordered(keywords),
            Unordered(closure),
            Unordered(self.attributes),
        )

    def given(self) -> Iterator[Any]:
        """Give the values that others may change in place."""
        yield from self.defaults or ()
        if self.keyword_defaults:
            yield self.keyword_defaults
        yield from self.closure.values()
        yield from self.attributes.values()


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


_FIXED_MEMBERS: Final = (
    FunctionType,
    type,
    property,
    classmethod,
    staticmethod,
    functools.cached_property,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.BuiltinFunctionType,
)
"""Members that do not change in place, or are looked at by themselves."""


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

    def data(self) -> Iterator[Any]:
        """Give the attributes that may change in place; those of an Enum's members not.

        See ``further_of`` for these.
        """
        for name, value in self.members.items():
            if (
                name not in _FIELDS
                and name[-1:] != "."
                and not isinstance(value, _FIXED_MEMBERS)
            ):
                yield value

    def methods(self) -> Iterator[tuple[str, FunctionType]]:
        """Give the methods with their names."""
        for name, member in self.members.items():
            function = getattr(member, "__func__", member)
            if isinstance(function, FunctionType):
                yield name, function


def members(owner: type) -> Members:
    """Return what a class is made of now."""
    if issubclass(owner, enum.Enum):
        found = _enum_members(owner)
    else:
        found = {k: v for k, v in vars(owner).items() if _counts(owner, k, v)}
    try:
        annotations = tuple(inspect.get_annotations(owner).items())
    except Exception:  # from Python 3.14 on they are evaluated here
        annotations = ()
    return Members((*owner.__bases__, type(owner)), found, annotations)


def _enum_members(owner: type[enum.Enum]) -> dict[str, Any]:
    found = {
        name: value
        for name, value in vars(owner).items()
        if name not in owner.__members__ and _counts_in_enum(owner, name, value)
    }
    if not _in_natural_order(owner):
        found["."] = tuple(owner.__members__)
    for name, one in owner.__members__.items():
        found[name] = one._value_
        further = further_of(one)
        if further:  # set by __init__, or by somebody later
            found[f"{name}."] = further
    return found


def _in_natural_order(owner: type[enum.Enum]) -> bool:
    """Tell whether members come in the order of their values, as they mostly do."""
    try:
        values = [one._value_ for one in owner.__members__.values()]
        ranks = [(type(value).__name__, value) for value in values]
        return ranks == sorted(ranks)
    except Exception:  # values that have no order
        return list(owner.__members__) == sorted(owner.__members__)


def _counts_in_enum(owner: type, name: str, value: Any) -> bool:
    if isinstance(value, FunctionType | property | classmethod | staticmethod):
        return True
    if name == "_boundary_":
        return value is not getattr(owner.__base__, name, None)
    if isinstance(value, _C_METHODS) and _is_special(name):  # the mixed-in type's
        return False
    return name not in _ENUM_MACHINERY and _counts(owner, name, value)


def is_generated(function: FunctionType) -> bool:
    """Tell whether ``dataclasses`` or attrs have made a method, from the fields.

    What attrs makes has numbers in it that differ from process to process.
    """
    code = getattr(wrapped_by(function) or function, "__code__", function.__code__)
    return code.co_qualname.startswith("__create_fn__.") or code.co_filename.startswith(
        "<attrs generated"
    )


def is_as_made(owner: type, function: FunctionType) -> bool:
    """Tell whether the defaults of a generated method are still those of the fields."""
    code = function.__code__
    positional = code.co_varnames[: code.co_argcount]
    given = dict(
        zip(reversed(positional), reversed(function.__defaults__ or ()), strict=False)
    )
    given |= function.__kwdefaults__ or {}
    known: dict[str, Any] = {}
    # A field whose value is made by a function has a mark for a default.
    made: set[str] = set()
    fields: Any = vars(owner).get("__dataclass_fields__", {})
    for one in fields.values():
        known[one.name] = one.default
        if one.default_factory is not dataclasses.MISSING:
            made.add(one.name)
    for one in vars(owner).get("__attrs_attrs__", ()):
        name = getattr(one, "alias", None) or one.name.lstrip("_")
        known[name] = one.default
        if class_name(type(one.default)).endswith(".Factory"):
            made.add(name)
    return not known or all(
        name in made or value is known.get(name) for name, value in given.items()
    )


def _counts(owner: type, name: str, value: Any) -> bool:
    if name in _FIELDS:
        return True
    if isinstance(value, FunctionType):
        return not is_generated(value) or not is_as_made(owner, value)
    if isinstance(value, types.MemberDescriptorType | types.GetSetDescriptorType):
        return False
    if not _is_special(name):
        return name not in _MACHINERY
    if isinstance(value, classmethod | staticmethod | property):
        return True
    if name in _MACHINERY or name.startswith(_LIBRARIES):
        return False
    return not _is_implied(owner, name, value)


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


_C_METHODS: Final = (
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.BuiltinFunctionType,
)


def _is_implied(owner: type, name: str, value: Any) -> bool:
    """Tell whether an attribute with a special name follows from the others.

    So do ``__hash__ = None`` beside an ``__eq__``, the ``__match_args__`` of classes
    that declare fields, and what a type of C has; and what is an object of a package,
    which keeps it there.
    """
    names = vars(owner)
    if name == "__hash__" and value is None:
        return "__eq__" in names
    if name == "__match_args__":
        return value in (names.get("_fields"), _match_args(names))
    if isinstance(value, _C_METHODS):
        home = getattr(value, "__objclass__", getattr(value, "__self__", None))
        return home is owner
    return origin_by_name(home_of(type(value))).kind == "package"


def _match_args(names: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what ``dataclasses`` and attrs make ``__match_args__`` of."""
    fields: Any = names.get("__attrs_attrs__", ())
    if "__dataclass_fields__" in names:
        fields = names["__dataclass_fields__"].values()
    return tuple(
        one.name
        for one in fields
        if one.init
        and one.kw_only is not True
        and repr(getattr(one, "_field_type", "")) != "_FIELD_CLASSVAR"
    )
