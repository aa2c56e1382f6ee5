"""Memo keys: which function was called with what.

``Identity`` puts the rooms of this package together. It lives as long as a kernel and
remembers what functions and classes are; the values of arguments it looks at each
time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final

from jackfield.errors import MemoKeyError
from jackfield.memo.atoms import ATOMS, UnknownValueError, sized
from jackfield.memo.calls import Parameters, parameters_of
from jackfield.memo.effort import is_costly
from jackfield.memo.files import FilesBy, file_identity, file_name, unread_bytes
from jackfield.memo.functions import holdings
from jackfield.memo.known import Known, KnownCode, is_code
from jackfield.memo.labels import type_alone
from jackfield.memo.looking import plain_name
from jackfield.memo.manifests import Manifest
from jackfield.memo.values import Encoder, Policy
from jackfield.memo.watch import MISSING

if TYPE_CHECKING:
    from jackfield.files import File
    from jackfield.memo.graph import Hashers

FunctionHooks = Callable[[], tuple[Callable[[Callable[..., Any]], bytes | None], ...]]

_FORMAT: Final = b"jackfield key 1"
_WRITTEN: Final = frozenset({"outputs", "stdout", "stderr"})
"""Parameters whose files are about to be written: what is in them does not count."""
_NOT_GIVEN: Final = b"-"
_NO_IDENTITY: Final = b"="


@dataclass(frozen=True, slots=True, eq=False)
class FunctionIdentity:
    """What a function is, for memo keys.

    Attributes:
        digest: 32 bytes that change when its code does.
        parts: ``"function module.qualname (file:line)"`` and the like, for all that
            it reaches, to a digest in hexadecimal of what that is itself.
        blind: Sentences on what could not be seen: dynamic code, values that count
            by their type only.
        parameters: What it takes.
        defaults: Parameter to the identity of its default value.
        heads: Name and encoded name of each parameter, where all are positional.
    """

    digest: bytes
    parts: Mapping[str, str]
    blind: tuple[str, ...] = ()
    parameters: Parameters = field(default_factory=Parameters)
    defaults: Mapping[str, bytes] = field(default_factory=dict)
    heads: tuple[tuple[str, bytes], ...] = field(init=False)

    def __post_init__(self) -> None:
        names = self.parameters.names
        plain = names == self.parameters.positional
        heads = tuple((name, ATOMS[str](name)) for name in names) if plain else ()
        object.__setattr__(self, "heads", heads)


class Identity:
    """Makes memo keys; one for each kernel. All methods may be called on any thread.

    Args:
        hashers: Gives the plugins to ask about values of a type.
        function_hooks: Gives the plugins to ask about functions.
        files: What a ``File`` is: its ``"content"``, or its size and time of change
            (``"stat"``).
    """

    def __init__(
        self,
        *,
        hashers: Hashers,
        function_hooks: FunctionHooks,
        files: FilesBy = "content",
    ) -> None:
        file: Callable[[File], bytes] = partial(file_identity, by=files)
        self._unread: Callable[[File], int] = partial(unread_bytes, by=files)
        self._function_hooks: FunctionHooks = function_hooks
        self._known: KnownCode[FunctionIdentity] = KnownCode(hashers, file)
        self._policy: Policy = Policy(self._refer, _refuse, hashers, file)
        self._written: Policy = self._policy._replace(file=file_name)
        self._pinned: Policy = Policy(_by_name, type_alone, hashers, file)

    def function(
        self,
        function: Callable[..., Any],
        *,
        version: str | None = None,
        depends_on: Sequence[Callable[..., Any]] = (),
    ) -> FunctionIdentity:
        """Return what a function is.

        Found out once, and remembered until the function, or something that it uses,
        changes.

        Args:
            function: What an executor would call; an app stands for its function.
            version: If given, stands for the function's code and for all that it
                reaches. Default values and the closure still count, and so does the
                code of a lambda, which has no name that a version could belong to.
            depends_on: More functions that count.

        Raises:
            MemoKeyError: It is not a plain function, and something that it is bound
                to has no identity; or a plugin failed.
        """
        tag, plain = _unwrapped(function)
        others = tuple(self.function(one) for one in depends_on)
        try:
            return self._function(tag, plain, version, others)
        except MemoKeyError:
            raise
        except Exception as error:
            reason = (
                f"looking at what it reaches raised {type(error).__name__}: {error}. "
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
    ) -> tuple[bytes, Manifest]:
        """Return the key of a call, and how to tell what it was made of.

        ``f(1)``, ``f(x=1)`` and ``f()`` with 1 as the default have one key.

        Args:
            app: The app's name, for the error.
            function: What is called.
            args: Positional arguments.
            kwargs: Keyword arguments.
            ignore: Names of parameters that do not count.

        Returns:
            32 bytes; and what gives the manifest: the parts of the function and
            ``"argument x"`` to digests in hexadecimal.

        Raises:
            MemoKeyError: An argument has no identity.
        """
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
        return key, Manifest(function.parts, tuple(encoded))

    def is_costly(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        outputs: Sequence[File] = (),
    ) -> bool:
        """Tell whether ``key`` may take milliseconds, or wait for code of users.

        Or whether it takes as long to look at ``outputs``.
        """
        read = {k: v for k, v in kwargs.items() if k not in _WRITTEN}
        if outputs:
            args = (*args, *outputs)
        return is_costly(args, read, self._policy.hashers, self._unread)

    # -- Arguments

    def _argument(
        self, app: str, function: FunctionIdentity, name: str, value: Any
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
        return b"R" + self._known.look_up(thing).graph(thing).digest

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
        others: tuple[FunctionIdentity, ...],
    ) -> FunctionIdentity:
        if not is_code(plain):
            return _extended(self._bound(plain), tag, others)
        known = self._known.look_up(plain)
        held = self._held(plain) if version is not None else b""
        variant = (tag, version, held, *(other.digest for other in others))
        made = known.made.get(variant)
        if made is None:
            made = _extended(self._plain(plain, known, version, held), tag, others)
            known.made[variant] = made
        return made

    def _plain(
        self,
        function: Any,
        known: Known[FunctionIdentity],
        version: str | None,
        held: bytes,
    ) -> FunctionIdentity:
        parameters = parameters_of(function)
        defaults = self._defaults(parameters)
        name = plain_name(function)
        hooked = self._from_plugin(function, name)
        if hooked is not None:
            parts = {f"function {name}": hooked.hex()}
            return FunctionIdentity(hooked, parts, (), parameters, defaults)
        if version is not None:
            pieces = [b"version", ATOMS[str](name), ATOMS[str](version), held]
            if name.endswith("<lambda>"):
                pieces.append(known.graph(function).digest)
            digest = hashlib.sha256(b"".join(pieces)).digest()
            parts = {f"function {name} (version {version!r})": digest.hex()}
            return FunctionIdentity(digest, parts, (), parameters, defaults)
        graph = known.graph(function)
        return FunctionIdentity(
            graph.digest, graph.parts, graph.blind, parameters, defaults
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

    def _bound(self, function: Any) -> FunctionIdentity:
        """Identify a callable that is a value: a method, a partial, an instance."""
        bound = self.value(_name(function), "what its function is bound to", function)
        digest = hashlib.sha256(b"bound" + bound).digest()
        parameters = parameters_of(function)
        return FunctionIdentity(
            digest,
            self._bound_parts(function, digest),
            (),
            parameters,
            self._defaults(parameters),
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
        return {name: digest.hex(), **self._known.look_up(inner).graph(inner).parts}


def _bound(
    function: FunctionIdentity, args: Sequence[Any], kwargs: Mapping[str, Any]
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
    """Return the user's function behind what the kernel makes of it, and how it runs.

    That a function's result is a command line to run makes another function of it.
    """
    tag = ""
    while type(function).__module__.startswith("jackfield.apps."):
        tag = "bash" if type(function).__name__ == "BashCommand" else tag
        inner = getattr(function, "__wrapped__", None)
        function = function.function if inner is None else inner
    return tag, function


def _extended(
    made: FunctionIdentity, tag: str, others: Sequence[FunctionIdentity]
) -> FunctionIdentity:
    """Add how a function runs, and what else counts, to its identity."""
    if not tag and not others:
        return made
    pieces = [made.digest, ATOMS[str](tag), *(other.digest for other in others)]
    parts = dict(made.parts)
    for other in others:
        parts.update(other.parts)
    blind = dict.fromkeys([*made.blind, *(one for o in others for one in o.blind)])
    digest = hashlib.sha256(b"".join(pieces)).digest()
    return FunctionIdentity(digest, parts, tuple(blind), made.parameters, made.defaults)


def _refuse(value: object, reason: str) -> bytes:
    kind = type(value)
    raise UnknownValueError(f"a {kind.__module__}.{kind.__qualname__}: {reason}")


def _by_name(thing: Any) -> bytes:
    return sized(b"y", plain_name(thing).encode())
