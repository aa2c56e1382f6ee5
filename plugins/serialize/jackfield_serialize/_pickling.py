"""Pickles single values so that another process of this program can load them.

Two picklers are tried in this order: the standard one, which is the fastest, and
cloudpickle. Both know which functions and classes a worker cannot import. At one of
these the standard pickler, which can only write its name, gives up; cloudpickle pickles
it by value, with its code.
"""

from __future__ import annotations

import pickle
import sys
from collections import ChainMap
from enum import Enum
from functools import cache
from pathlib import Path
from types import CellType, CodeType, FunctionType, MemberDescriptorType, ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, TypeAlias
from weakref import WeakSet

from jackfield_serialize._by_value import ALWAYS, KINDS, remade, sentinel
from jackfield_serialize._errors import reduce_error
from jackfield_serialize._left_behind import with_all
from jackfield_serialize._way_back import with_token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

PROTOCOL: Final = 5

Buffers: TypeAlias = list[pickle.PickleBuffer]

_ATOMS: Final = frozenset({int, float, complex, str, bytes, bool, type(None)})
"""Types of values for which no pickler has to be set up."""
_COPIED_SIZE: Final = 4096
"""Bytes up to which to copy a string costs less than to set up a pickler."""

_SEPARATE_SIZE: Final = 16_384
"""Bytes from which a buffer is kept out of the pickle, to spare a copy."""

_MAIN: Final = frozenset({"__main__", "__mp_main__"})
"""Names of the main script's module, which is another module in a worker."""


def dumps(value: object, buffers: Buffers | None = None) -> bytes:
    """Pickle a value so that a worker, or the driver, can load it.

    Large contiguous buffers that objects offer (NumPy arrays, ``PickleBuffer``) are
    appended to ``buffers``, if that is given, instead of being copied.

    Raises:
        Exception: Whatever the pickler or the value's own methods raise.
    """
    return b"".join(dump_parts(value, buffers))


def loads(data: bytes | bytearray | memoryview, buffers: Iterable[Any] = ()) -> Any:
    """Load what ``dumps`` has pickled; runs code of its classes, which may raise."""
    return pickle.loads(data, buffers=buffers)


def dumps_by_value(function: FunctionType) -> bytes:
    """Pickle a function that no worker finds by its name, with its code.

    That is what the standard pickler would give up at.
    """
    return b"".join(_run_pickler(sending_pickler(), function, None))


def dump_parts(
    value: object,
    buffers: Buffers | None = None,
    fallback: Callable[[], type[pickle.Pickler]] | None = None,
) -> list[bytes]:
    """Pickle like ``dumps``, into pieces to be written one after another.

    What the standard pickler cannot do is left to what ``fallback`` returns, or to
    cloudpickle. A large ``bytes`` object inside the value is a piece as it is, and not
    a copy.
    """
    if type(value) in _ATOMS and (
        not isinstance(value, bytes | str) or len(value) <= _COPIED_SIZE
    ):
        return [pickle.dumps(value, PROTOCOL)]
    try:
        return _run_pickler(_PlainPickler, value, buffers)
    except Exception:
        # Whatever the reason was, cloudpickle may be able to do it.
        if buffers is not None:
            buffers.clear()
        return _run_pickler((fallback or cloud_pickler)(), value, buffers)


def _run_pickler(
    pickler: Callable[..., pickle.Pickler], value: object, buffers: Buffers | None
) -> list[bytes]:
    sink = _Sink()
    keep = None if buffers is None else _keep_large(buffers)
    pickler(sink, PROTOCOL, buffer_callback=keep).dump(value)
    return sink.parts


def _keep_large(buffers: Buffers) -> Callable[[pickle.PickleBuffer], bool]:
    def keep(buffer: pickle.PickleBuffer) -> bool:
        """Take the buffer, or return true to have it copied into the pickle."""
        with memoryview(buffer) as view:
            small = view.nbytes < _SEPARATE_SIZE or not view.contiguous
        if not small:
            buffers.append(buffer)
        return small

    return keep


class _Sink:
    """A file for picklers that keeps each piece that is written."""

    __slots__ = ("parts", "write")

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.write: Callable[[bytes], object] = self.parts.append


class _NotImportableError(Exception):
    """The standard pickler has met what a worker cannot import."""


class _PlainPickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)  # `isinstance` would load a lazy proxy
        if issubclass(kind, BaseException):
            return reduce_error(obj)
        if kind in ALWAYS:
            return KINDS[kind](obj)
        if not worker_can_import(getattr(obj, "__module__", None)):
            raise _NotImportableError
        return with_all(obj) or NotImplemented


def _reduced(obj: Any, known: Mapping[type, Any]) -> Any:
    """Return how to make an object anew whose name a worker cannot import.

    ``None``: what it says of itself will do, or cloudpickle knows its type.

    Raises:
        PicklingError: It says no more than that name.
    """
    kind = type(obj)
    if kind in ALWAYS:
        return KINDS[kind](obj)
    module = getattr(obj, "__module__", None)
    if module is None or worker_can_import(module) or kind in known:
        return None
    if kind in KINDS:
        return KINDS[kind](obj)
    reduced = sentinel(obj) or obj.__reduce_ex__(PROTOCOL)
    if isinstance(reduced, str):
        raise pickle.PicklingError(
            f"a {kind.__qualname__} is pickled by its name, {module}.{reduced}, and no "
            f"worker can import that: put it into a module"
        )
    return reduced


@cache
def cloud_pickler() -> type[pickle.Pickler]:
    import cloudpickle

    theirs: Any = cloudpickle.Pickler.dispatch_table

    def reduce_code(code: CodeType) -> Any:
        # It leaves the file's name out, without which a traceback shows no lines.
        _, args, *_ = theirs[CodeType](code)
        # Some arguments are bytes, which `python -bb` does not let compare with text.
        name = code.co_filename
        names = {"<dynamic-code>": name}
        named = [names.get(one, one) if type(one) is str else one for one in args]
        return _make_code, tuple(named)

    class CloudPickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle is untyped
        dispatch_table: ClassVar[Any] = ChainMap({CodeType: reduce_code}, theirs)
        sends: ClassVar[bool] = False

        def reducer_override(self, obj: Any) -> Any:
            kind = type(obj)
            if kind is CodeType or kind is CellType:
                return NotImplemented
            if kind is FunctionType and obj.__module__ in _REMAKING:
                return NotImplemented  # what things are rebuilt with, by name
            if issubclass(kind, BaseException):
                return reduce_error(obj)
            if issubclass(kind, ModuleType) and "__reduce__" not in vars(kind):
                return theirs[ModuleType](obj)  # a module may have a class of its own
            if kind is FunctionType or issubclass(kind, type):
                _send_by_value(obj.__module__)
                by_value = remade(obj) if "registry" in obj.__dict__ else None
            else:
                by_value = _reduced(obj, self.dispatch_table)
                by_value = with_all(obj) or by_value
            if by_value is not None and getattr(kind, "__jackfield_app__", False):
                return with_token(obj, by_value, sends=self.sends)
            if by_value is not None:
                return by_value
            reduced: Any = super().reducer_override(obj)
            if kind is FunctionType and isinstance(reduced, tuple):
                return with_token(obj, reduced, sends=self.sends)
            if isinstance(obj, type) and isinstance(reduced, tuple) and reduced[5:]:
                if obj not in _received:
                    _own.add(obj)
                function, args, state, _, _, setter = reduced
                args = _with_slots(obj, args)
                state = setter, state, obj.__bases__, _set_on_members(obj)
                reduced = function, args, state, None, None, _set_class_state
            return reduced

    return CloudPickler


@cache
def sending_pickler() -> type[pickle.Pickler]:
    """Return the pickler for calls: what it sends by value knows its way back."""

    class SendingPickler(cloud_pickler()):  # type: ignore[misc]  # as above
        sends: ClassVar[bool] = True

    return SendingPickler


def _with_slots(owner: type, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what makes a class anew, so that its instances have the same layout.

    ``cloudpickle`` makes a class without its slots, whose instances keep all in a
    ``__dict__``. With that state no instance of the script's class, which has none,
    could be made of what comes back.
    """
    if "__slots__" not in vars(owner) or not isinstance(args[3], dict):
        return args
    if NamedTuple in vars(owner).get("__orig_bases__", ()):  # it sees to that itself
        return args
    # What the class has said itself may be an iterator, or names still to be mangled.
    slots = tuple(
        name
        for name, member in vars(owner).items()
        if (isinstance(member, MemberDescriptorType) and member.__objclass__ is owner)
        or name in ("__dict__", "__weakref__")
    )
    return (*args[:3], {**args[3], "__slots__": slots}, *args[4:])


_REMAKING: Final = frozenset(
    {"cloudpickle.cloudpickle", __name__, with_token.__module__}
)
"""Modules whose functions rebuild things when they are unpickled."""


def _make_code(*arguments: Any) -> CodeType:
    """Make a code object; called by unpickling, to which its type has no name."""
    return CodeType(*arguments)


_own: Final[WeakSet[type]] = WeakSet()
"""Classes of this process that it has sent by value."""
_received: Final[WeakSet[type]] = WeakSet()
"""Classes that another process has sent by value."""


def _set_class_state(received: type, state: Any) -> type:
    """Give a class that has come by value its members; called by unpickling.

    A class that this process has sent comes back with the instances of it that a worker
    returns. It stays as it is: the members that come back are copies, with globals of
    their own, and the script goes on with its class.
    """
    if received not in _own:
        setter, members, bases, on_members = state
        if received in _received:
            if received.__bases__ != bases:
                received.__bases__ = bases
            if not issubclass(received, Enum):
                for name in _gone(received, members[0]):
                    delattr(received, name)
        setter(received, members)
        for name, attributes in on_members.items():
            own = vars(vars(received)["_member_map_"][name])
            own.clear()
            own.update(attributes)
        _received.add(received)
    return received


def _set_on_members(owner: type) -> dict[str, dict[str, Any]]:
    """Return what each member of an enumeration has, which ``cloudpickle`` forgets."""
    if not issubclass(owner, Enum):
        return {}
    items = owner.__members__.items()
    return {name: dict(vars(one)) for name, one in items if hasattr(one, "__dict__")}


def _gone(received: type, members: Mapping[str, Any]) -> list[str]:
    """Return the members of a class that came before, and that it has no more."""
    return [
        name
        for name, member in vars(received).items()
        if name not in members
        and not name.startswith(("__", "_abc_"))
        and not isinstance(member, MemberDescriptorType)
    ]


def worker_can_import(module: str | None) -> bool:
    """Tell whether a worker that imports a module gets the same one as we have."""
    if not isinstance(module, str) or module not in sys.modules:
        return True
    return module not in _MAIN and _finds_same_module(module)


def note_shared(name: str) -> None:
    """Note that a top-level module here is from where the other process has it.

    Args:
        name: Its name. Whether the import system finds it there from the present
            directory does not count any more.
    """
    if name not in _shared:
        _shared.add(name)
        _finds_same_module.cache_clear()


_shared: Final[set[str]] = set()
shipped: Final[set[str]] = set()
"""Directories of this process that are copies of those of the other one's modules."""


def note_preloading(time_ns: int) -> None:
    """Note when a process began to import modules from which this one was forked.

    Args:
        time_ns: In nanoseconds since the epoch.
    """
    preloaded.append(time_ns)


preloaded: Final[list[int]] = []
"""When modules were imported from which this process was forked later."""


def _send_by_value(module: str | None) -> None:
    """Have cloudpickle pickle a module's functions by value, if a worker needs that."""
    # Nobody takes this back: a module that cannot be imported now never can be.
    if module is not None and module not in _MAIN and not worker_can_import(module):
        import cloudpickle

        cloudpickle.register_pickle_by_value(sys.modules[module])


@cache
def _finds_same_module(name: str) -> bool:
    """Tell whether the import system finds a loaded module where it was loaded from."""
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names or top in _shared:
        return True
    parent = name.rpartition(".")[0]
    if parent and not worker_can_import(parent):
        return False
    path = getattr(sys.modules.get(parent), "__path__", None) if parent else None
    file = getattr(sys.modules[name], "__file__", None)
    return _same_origin(_find_origin(name, path), file)


def _find_origin(name: str, path: Any) -> str | None:
    """Return a module's file: ``""`` if it has none, ``None`` if it is not found."""
    for finder in sys.meta_path:
        try:
            spec = finder.find_spec(name, path)
        except Exception:  # noqa: S112  (a broken finder is like one that finds nothing)
            continue
        if spec is not None:
            return spec.origin if spec.has_location and spec.origin else ""
    return None


def _same_origin(found: str | None, file: str | None) -> bool:
    if not found or not file:
        return found is not None and not file
    return Path(found).resolve() == Path(file).resolve()
