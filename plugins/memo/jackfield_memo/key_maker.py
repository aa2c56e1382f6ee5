"""Memo keys: which function was called with what.

``PythonKeyMaker`` puts the rooms of this package together. It lives as long as a
kernel and remembers what functions and classes are; the values of arguments it looks
at each time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final

from jackfield.errors import MemoKeyError
from jackfield.memo_keys import FunctionIdentity, KeyMaker
from jackfield_memo.atoms import ATOMS, UnknownValueError, sized
from jackfield_memo.code_cache import CodeCache, RememberedCode, is_code
from jackfield_memo.cost import is_costly
from jackfield_memo.files import (
    file_identity,
    path_identity,
    unread_bytes,
    written_identity,
)
from jackfield_memo.functions import holdings
from jackfield_memo.introspection import MISSING, plain_name
from jackfield_memo.labels import type_alone
from jackfield_memo.manifest import CallManifest
from jackfield_memo.parameters import Parameters, parameters_of
from jackfield_memo.policy import Policy
from jackfield_memo.values import Encoder

if TYPE_CHECKING:
    from jackfield.files import File
    from jackfield.memo_keys import CallKey, FilesBy, FunctionHook
    from jackfield_memo.policy import ValueHooks

_FORMAT: Final = b"jackfield key 1"
_WRITTEN: Final = frozenset({"outputs", "stdout", "stderr"})
"""Parameters whose files are about to be written: what is in them does not count."""
_NOT_GIVEN: Final = b"-"
"""Stands for an argument that is not given and has no default value."""
_NO_IDENTITY: Final = b"="
"""Stands for a default value without identity, such as a sentinel."""


class CallableIdentity(FunctionIdentity):
    """What a function is, with what is needed to make keys of its calls.

    Attributes:
        parameters: What it takes.
        defaults: Parameter to the identity of its default value.
        heads: Name and encoded name of each parameter, where all are positional.
    """

    __slots__ = ("defaults", "heads", "parameters")

    def __init__(
        self,
        digest: bytes,
        parts: Mapping[str, str],
        blind: tuple[str, ...],
        parameters: Parameters,
        defaults: Mapping[str, bytes],
        refusal: str = "",
    ) -> None:
        super().__init__(digest, parts, blind, refusal)
        self.parameters: Parameters = parameters
        self.defaults: Mapping[str, bytes] = defaults
        self.heads: tuple[tuple[str, bytes], ...] = ()
        if parameters.names == parameters.positional:
            self.heads = tuple((name, ATOMS[str](name)) for name in parameters.names)


class PythonKeyMaker(KeyMaker):
    """Makes memo keys; one for each kernel. All methods may be called on any thread.

    Args:
        value_hooks: Gives the plugins to ask about values of a type.
        function_hooks: Gives the plugins to ask about functions.
        files: What a ``File`` is: its ``"content"``, or its size and time of change
            (``"stat"``).
    """

    def __init__(
        self,
        *,
        value_hooks: ValueHooks,
        function_hooks: Callable[[], tuple[FunctionHook, ...]],
        files: FilesBy = "content",
    ) -> None:
        self._files: FilesBy = files
        file: Callable[[File], bytes] = partial(file_identity, by=files)
        self._unread: Callable[[File], int] = partial(unread_bytes, by=files)
        self._function_hooks: Callable[[], tuple[FunctionHook, ...]] = function_hooks
        self._code: CodeCache[CallableIdentity] = CodeCache(value_hooks, file)
        # For arguments; for those that name files to be written; and for what a
        # function with a version= holds, where code counts by its name.
        self._policy: Policy = Policy(self._refer, _refuse, value_hooks, file)
        self._written: Policy = self._policy._replace(file=written_identity)
        self._pinned: Policy = Policy(_by_name, type_alone, value_hooks, file)

    def function(
        self,
        function: Callable[..., Any],
        *,
        version: str | None = None,
        depends_on: Sequence[Callable[..., Any]] = (),
    ) -> CallableIdentity:
        """Return what a function is.

        Found out once, and remembered until the function, or something that it uses,
        changes.

        Args:
            function: What an executor would call; an app stands for its function.
            version: If given, stands for the function's code and for all that it
                reaches. Default values and the closure still count, and so does the
                code of a lambda, which has no name that a version could belong to.
            depends_on: More functions that count.

        Returns:
            Its identity, with what ``key`` needs to know of it.

        Raises:
            MemoKeyError: It is not a plain function, and something that it is bound
                to has no identity; or a plugin failed.
        """
        tag, plain = "", function
        if type(function) is not FunctionType:  # the usual one stands for itself
            tag, plain = _unwrapped(function)
        others: tuple[CallableIdentity, ...] = ()
        if depends_on:
            others = tuple(self.function(one) for one in depends_on)
        try:
            return self._function(tag, plain, version, others)
        except MemoKeyError:
            raise
        except Exception as error:
            said = str(error).rstrip(".")
            reason = (
                f"looking at what it reaches raised {type(error).__name__}: {said}. "
                f"Give the app a version=, which then stands for its code."
            )
            raise MemoKeyError(_name(plain), "the function", reason) from error

    def value(self, app: str, what: str, value: object) -> bytes:
        """Return the identity of a value: at most 130 bytes.

        Args:
            app: The app's name, for the error.
            what: What the value is, for the error: ``"argument 'x'"``.
            value: The value.

        Raises:
            MemoKeyError: It has none.
        """
        try:
            return Encoder(self._policy).identity(value)
        except UnknownValueError as error:
            at = f", at {error.place}" if error.path else ""
            raise MemoKeyError(app, f"{what}{at}", error.reason) from error

    def key(
        self,
        app: str,
        function: FunctionIdentity,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        ignore: Collection[str] = (),
    ) -> CallKey:
        """Return the key of a call, and how to tell what it was made of.

        ``f(1)``, ``f(x=1)`` and ``f()`` with 1 as the default have one key.

        Args:
            app: The app's name, for the error.
            function: What is called, as ``function`` gave it.
            args: Positional arguments.
            kwargs: Keyword arguments.
            ignore: Names of parameters that do not count.

        Raises:
            MemoKeyError: An argument has no identity.
        """
        assert isinstance(function, CallableIdentity)
        encoded: list[Any] = []
        pieces = [_FORMAT, function.digest]
        atoms = ATOMS
        for name, label, head, value in _bound(function, args, kwargs):
            if name in ignore:
                continue
            atom = atoms.get(type(value))
            part = atom(value) if atom else self._argument(app, function, name, value)
            encoded += (label, part)
            pieces += (head, part)
        key = hashlib.sha256(b"".join(pieces)).digest()
        return key, CallManifest(function.parts, tuple(encoded))

    def file(self, path: str) -> bytes:
        """Return the identity of a local file; ``b""`` if it cannot be identified."""
        try:
            return path_identity(path, self._files)
        except UnknownValueError:  # it keeps changing, or cannot be read
            return b""

    def is_costly(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        outputs: Sequence[File] = (),
    ) -> bool:
        """Tell whether ``key`` may take milliseconds, or wait for code of users.

        Or whether it takes as long to look at ``outputs``.
        """
        if kwargs:
            kwargs = {k: v for k, v in kwargs.items() if k not in _WRITTEN}
        if outputs:
            args = (*args, *outputs)
        return is_costly(args, kwargs, self._policy.hooks, self._unread)

    # -- Arguments

    def _argument(
        self, app: str, function: CallableIdentity, name: str, value: Any
    ) -> bytes:
        if value is MISSING or value is function.parameters.defaults.get(name, MISSING):
            return function.defaults.get(name, _NOT_GIVEN)
        policy = self._written if name in _WRITTEN else self._policy
        try:
            return Encoder(policy).identity(value)
        except UnknownValueError as error:
            at = f", at {name}{error.place}" if error.path else ""
            raise MemoKeyError(app, f"argument {name!r}{at}", error.reason) from error

    def _refer(self, thing: Any) -> bytes:
        """Encode a function, class or module that an argument contains."""
        return b"R" + self._code.look_up(thing).graph(thing).digest

    def _defaults(self, parameters: Parameters) -> dict[str, bytes]:
        found = {}
        for name, value in parameters.defaults.items():
            try:
                found[name] = Encoder(self._policy).identity(value)
            except UnknownValueError:
                found[name] = _NO_IDENTITY
        return found

    # -- Functions

    def _function(
        self,
        tag: str,
        plain: Any,
        version: str | None,
        others: tuple[CallableIdentity, ...],
    ) -> CallableIdentity:
        if type(plain) is not FunctionType and not is_code(plain):
            return _extended(self._bound(plain), tag, others)
        remembered = self._code.look_up(plain)
        held = self._held(plain) if version is not None else b""
        digests = [other.digest for other in others] if others else ()
        variant = (tag, version, held, *digests)
        made = remembered.made.get(variant)
        if made is None:
            made = _extended(self._plain(plain, remembered, version, held), tag, others)
            remembered.made[variant] = made
        return made

    def _plain(
        self,
        function: Any,
        remembered: RememberedCode[CallableIdentity],
        version: str | None,
        held: bytes,
    ) -> CallableIdentity:
        parameters = parameters_of(function)
        defaults = self._defaults(parameters)
        name = plain_name(function)
        hooked = self._from_plugin(function, name)
        if hooked is not None:
            parts = {f"function {name}": hooked.hex()}
            return CallableIdentity(hooked, parts, (), parameters, defaults)
        if version is not None:
            pieces = [b"version", ATOMS[str](name), ATOMS[str](version), held]
            if name.endswith("<lambda>"):
                pieces.append(remembered.graph(function).digest)
            digest = hashlib.sha256(b"".join(pieces)).digest()
            parts = {f"function {name} (version {version!r})": digest.hex()}
            return CallableIdentity(digest, parts, (), parameters, defaults)
        graph = remembered.graph(function)
        return CallableIdentity(
            graph.digest,
            graph.parts,
            graph.blind,
            parameters,
            defaults,
            graph.refusal,
        )

    def _held(self, function: Any) -> bytes:
        """Encode default values and the closure, for a function with a version."""
        if not isinstance(function, FunctionType):
            return b""
        return Encoder(self._pinned).identity(holdings(function).as_value())

    def _from_plugin(self, function: Any, name: str) -> bytes | None:
        for hook in self._function_hooks():
            try:
                answer = hook(function)
            except Exception as error:
                reason = f"a plugin's jackfield_hash_function raised {error!r}"
                raise MemoKeyError(name, "its function", reason) from error
            if answer is not None:
                return hashlib.sha256(b"hook" + bytes(answer)).digest()
        return None

    def _bound(self, function: Any) -> CallableIdentity:
        """Identify a callable that is a value: a method, a partial, an instance."""
        bound = self.value(_name(function), "what its function is bound to", function)
        digest = hashlib.sha256(b"bound" + bound).digest()
        parameters = parameters_of(function)
        return CallableIdentity(
            digest,
            self._bound_parts(function, digest),
            (),
            parameters,
            self._defaults(parameters),
            self._bound_refusal(function),
        )

    def _bound_parts(self, function: Any, digest: bytes) -> dict[str, str]:
        inner: Any = type(function)
        if isinstance(function, MethodType):
            inner = function.__func__
        elif isinstance(function, partial):
            inner = function.func
        if not is_code(inner):
            return {f"function {type(function).__qualname__}": digest.hex()}
        name = f"function {type(function).__qualname__} of {plain_name(inner)}"
        return {name: digest.hex(), **self._code.look_up(inner).graph(inner).parts}

    def _bound_refusal(self, function: Any) -> str:
        inner = getattr(function, "__func__", getattr(function, "func", None))
        return self._code.look_up(inner).graph(inner).refusal if is_code(inner) else ""


def _bound(
    function: CallableIdentity, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Iterator[tuple[str, str, bytes, Any]]:
    """Give name, label, encoded label and value of each argument, in one order."""
    heads = function.heads
    if not kwargs and len(args) == len(heads):  # the usual call, without a dict
        for (name, head), value in zip(heads, args, strict=True):
            yield name, name, head, value
        return
    text = ATOMS[str]
    for mark, name, value in function.parameters.bind(args, kwargs):
        yield name, mark + name, text(mark + name), value


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__qualname__))


def _unwrapped(function: Any) -> tuple[str, Any]:
    """Return how a user's function runs, and the function.

    The kernel puts callables of its own around it, which say what they stand for. One
    whose result is a command line to run is another function: it has a tag.
    """
    tag = ""
    while (
        stands_for := getattr(type(function), "__jackfield_function__", None)
    ) is not None:
        how, function = stands_for(function)
        tag = how or tag
    return tag, function


def _extended(
    made: CallableIdentity, tag: str, others: Sequence[CallableIdentity]
) -> CallableIdentity:
    """Add how a function runs, and what else counts, to its identity."""
    if not tag and not others:
        return made
    pieces = [made.digest, ATOMS[str](tag), *(other.digest for other in others)]
    parts = dict(made.parts)
    for other in others:
        parts.update(other.parts)
    blind = dict.fromkeys([*made.blind, *(one for o in others for one in o.blind)])
    digest = hashlib.sha256(b"".join(pieces)).digest()
    refusal = next((one.refusal for one in others if one.refusal), "")
    return CallableIdentity(
        digest,
        parts,
        tuple(blind),
        made.parameters,
        made.defaults,
        refusal if others else made.refusal,
    )


def _refuse(value: object, reason: str) -> bytes:
    kind = type(value)
    raise UnknownValueError(f"a {kind.__module__}.{kind.__qualname__}: {reason}")


def _by_name(thing: Any) -> bytes:
    return sized(b"y", plain_name(thing).encode())
