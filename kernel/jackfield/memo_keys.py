"""The contract of what makes memo keys, and the help for plugins that teach types.

Two calls with one key are the same call: the second gets the result of the first. The
kernel asks for keys, stores results under them and tells people why two keys differ.
What a function and a value *are* is the business of a ``KeyMaker``, which a plugin
makes (``jackfield_create_key_maker``).
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from jackfield.errors import StaleCodeError
    from jackfield.files import File

FilesBy: TypeAlias = Literal["content", "stat"]
"""What a ``File`` counts by: its content, or its size and time of change."""

Manifest: TypeAlias = Callable[[], Mapping[str, str]]
"""Tells what a key was made of; called only when somebody wants to know, or when a
result is stored.

It gives a digest in hexadecimal for each part. A part is named by its kind, its full
name, and in brackets where it was found or which version of it counts; of several with
one name, all but the first have ``" #2"``, ``" #3"`` behind::

    function helpers.clean (helpers.py:23)
    global helpers.RATE (helpers.py:3)
    function fit (version '2')
    package numpy 2.4.6
    Python 3.11
    argument x

``explain`` compares the manifests of two calls: parts by their names and digests; of
``package`` and ``Python`` the version is told, of the others the place is not compared.
Parts named ``argument ...`` are the call's own, all others are the function's.
"""

CallKey: TypeAlias = tuple[bytes, Manifest]
"""The key of a call, and what it was made of. A key has 32 bytes and is the same for
equal calls in every process of one minor version of Python, with any hash seed."""

IdentifyPart: TypeAlias = Callable[[object], bytes]
"""Gives the identity of a part of the value that a plugin is asked about."""

ValueHook: TypeAlias = Callable[[object, IdentifyPart], bytes | None]
"""A plugin's ``jackfield_hash_value``: called with a value and with what identifies
its parts. ``None``: the value is not the plugin's. An exception names the plugin."""

FunctionHook: TypeAlias = Callable[[Callable[..., Any]], bytes | None]
"""A plugin's ``jackfield_hash_function``; otherwise as ``ValueHook``."""


@dataclass(slots=True, eq=False)
class FunctionIdentity:
    """What a function is. Makers may derive their own class from it.

    Attributes:
        digest: 32 bytes that change when what the function returns may change.
        parts: The function's share of the manifest: see ``Manifest``.
        blind: Sentences on what could not be seen: dynamic code, values that count
            by their type only.
        refusal: Why its calls are not to be cached, because it cannot be told what they
            reach: ``"f (app.py:3) imports modules by computed names"``; or ``""``. The
            kernel executes them, keeps no result, and warns once.
    """

    digest: bytes
    parts: Mapping[str, str]
    blind: tuple[str, ...] = ()
    refusal: str = ""


class KeyMaker(ABC):
    """Makes the memo keys of one kernel. All methods may be called on any thread."""

    @abstractmethod
    def function(
        self,
        function: Callable[..., Any],
        *,
        version: str | None = None,
        depends_on: Sequence[Callable[..., Any]] = (),
    ) -> FunctionIdentity:
        """Return what a function is; called for each cached call.

        Args:
            function: What an executor would call. It may stand for a user's function:
                see ``StandsForFunction``.
            version: The app's ``version=``, or ``None``: if given, it stands for the
                function's code and for all that the code reaches.
            depends_on: More functions that count, the app's ``depends_on=``.

        Raises:
            MemoKeyError: It has no identity. The task fails with this.
        """

    @abstractmethod
    def is_costly(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        outputs: Sequence[File] = (),
    ) -> bool:
        """Tell whether ``key`` may take milliseconds, or wait for code of users.

        Or whether ``file`` may, for the files ``outputs``. The kernel then calls it
        on a thread that no other task waits for. This method itself takes
        microseconds, and never raises.
        """

    @abstractmethod
    def key(
        self,
        app: str,
        function: FunctionIdentity,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        ignore: Collection[str] = (),
    ) -> CallKey:
        """Return the key of a call, and what it was made of.

        Args:
            app: The app's name, for the error.
            function: What is called, as ``function`` of this maker gave it.
            args: Positional arguments.
            kwargs: Keyword arguments.
            ignore: Names of parameters that do not count.

        Raises:
            MemoKeyError: An argument has no identity. The task fails with this.
        """

    @abstractmethod
    def file(self, path: str) -> bytes:
        """Return the identity of a local file that a call has made, as it is now.

        With a result the kernel keeps those of the call's outputs; the result is used
        again while they are the same. Called after ``is_costly`` said where.

        Returns:
            Bytes that change when the file does; or ``b""`` for a file that cannot be
            identified, which never counts as the same.
        """

    def sent(
        self,
        app: str,
        function: Callable[..., Any],
        code: bytes = b"",
        values: Sequence[Any] = (),
    ) -> Callable[..., Any]:
        """Return what to give to an executor whose workers are other processes.

        Asked for each call, cached or not. It is the function, or a callable that is
        pickled as what the function is now: another object whenever something that the
        function uses has changed, since executors send an object once. In the worker it
        raises ``StaleCodeError`` before the function is called, where the code there is
        other code than here. Of a cached call ``code`` is the function's digest. What
        the call's arguments, ``values``, bring along of classes and functions counts.

        Of such a callable, the attribute ``jackfield_sends`` is the function, and
        ``jackfield_keeps`` tells whether its results may be kept: they may not where a
        worker cannot be made equal and calls the function all the same.
        """
        del app, code, values
        return function

    def stale(
        self, app: str, function: Callable[..., Any], error: StaleCodeError
    ) -> None:
        """Learn that a worker had other code than ``function``, which ``sent`` gave.

        The kernel asks ``sent`` again then, and submits the task once more.
        """
        del app, function, error


class StandsForFunction(Protocol):
    """A callable of the kernel's own that stands for a user's function.

    An app and the command of a bash app are such. Its key is that of the user's
    function, but for how it runs.
    """

    @abstractmethod
    def __jackfield_function__(self) -> tuple[str, Callable[..., Any]]:
        """Return how it runs the function, and the function.

        The first is ``"bash"`` where the function's result is a command line that is
        run, and ``""`` where it is the result.
        """


# -- For plugins that are asked about values

_asking: Final = threading.local()
"""``identify``: what gives the identity of a part, while a plugin is asked."""


def part_identity(value: object) -> bytes:
    """Return the identity of a part of the value that is being identified.

    For implementations of ``jackfield_hash_value`` whose values contain others, such
    as an array of objects. To be called on the thread that asked for the value.

    Raises:
        RuntimeError: No value is being identified on this thread.
    """
    identify: IdentifyPart | None = getattr(_asking, "identify", None)
    if identify is None:
        raise RuntimeError("part_identity() works inside jackfield_hash_value only.")
    return identify(value)


def with_parts(hook: Callable[[object], bytes | None]) -> ValueHook:
    """Return a plugin's ``jackfield_hash_value`` in which ``part_identity`` works."""

    def ask(value: object, identify: IdentifyPart) -> bytes | None:
        before = getattr(_asking, "identify", None)  # this value may be a part itself
        _asking.identify = identify
        try:
            return hook(value)
        finally:
            _asking.identify = before

    return ask
