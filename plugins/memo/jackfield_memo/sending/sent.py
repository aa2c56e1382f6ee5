"""What is pickled in a function's place, and what compares it in the worker.

In the driver it is made for one state of the function. In a worker it is compared when
it is loaded, before the arguments of any call: they belong to the modules that are
imported then. It is compared again only if the worker's modules have changed since.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from jackfield.errors import SerializationError, StaleCodeError
from jackfield_memo.sending import imports
from jackfield_memo.sending.finding import found, text_digest
from jackfield_memo.sending.likeness import Likenesses, likeness
from jackfield_serialize import load_function


class Sent:
    """A function as it was when it was sent; in the driver.

    Attributes:
        jackfield_sends: The function.
        jackfield_keeps: Whether its results may be kept: false where workers call it
            though they could not be made equal.
        compares: Whether workers compare anything.
        expected: What each name stands for, or ``None`` if that is not compared.
        texts: Digests of the texts of modules that are not imported in the driver.
        patch: Names by value, for a worker that has something else: pickles that are
            loaded one by one.
        roots: Top-level packages and modules with the directories that they are in.
        thorough: See ``likeness``.
        payload: The function, pickled; or the error why it cannot be.
    """

    __slots__ = (
        "__weakref__",
        "__wrapped__",
        "compares",
        "expected",
        "jackfield_keeps",
        "jackfield_sends",
        "patch",
        "payload",
        "roots",
        "texts",
        "thorough",
    )

    def __init__(
        self,
        function: Callable[..., Any],
        payload: bytes | SerializationError,
        expected: Likenesses,
        texts: Mapping[str, bytes],
        roots: Mapping[str, str],
        *,
        thorough: bool,
        patch: Sequence[bytes] = (),
        keeps: bool = True,
        compares: bool = True,
    ) -> None:
        self.__wrapped__: Callable[..., Any] = function
        self.jackfield_sends: Callable[..., Any] = function
        self.jackfield_keeps: bool = keeps
        self.payload: bytes | SerializationError = payload
        self.expected: Likenesses = expected
        self.texts: Mapping[str, bytes] = texts
        self.roots: Mapping[str, str] = roots
        self.thorough: bool = thorough
        self.patch: Sequence[bytes] = patch
        self.compares: bool = compares

    def again(self, patch: Sequence[bytes], blind: Collection[tuple[str, str]]) -> Sent:
        """Return another object for the same, with a patch.

        Args:
            patch: Names by value.
            blind: Names that cannot be made equal. They are not compared any more, and
                if there are any, results are not kept.
        """
        expected, texts = self.expected, self.texts
        if blind:
            expected = {k: v for k, v in expected.items() if k not in blind}
            texts = {k: v for k, v in texts.items() if (k, "") not in blind}
        return Sent(
            self.jackfield_sends,
            self.payload,
            expected,
            texts,
            self.roots,
            thorough=self.thorough,
            patch=patch,
            keeps=self.jackfield_keeps and not blind,
        )

    def given_up(self) -> Sent:
        """Return another object for the same, that is not compared at all."""
        return Sent(
            self.jackfield_sends,
            self.payload,
            self.expected,
            self.texts,
            self.roots,
            thorough=self.thorough,
            keeps=False,
            compares=False,
        )

    @property
    def jackfield_pickled(self) -> bytes | None:
        """The function, pickled, if a worker has to do no more than load it."""
        plain = not (self.expected or self.texts or self.roots)
        return self.payload if plain and isinstance(self.payload, bytes) else None

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function, where it is not pickled after all."""
        return self.jackfield_sends(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        if isinstance(self.payload, SerializationError):
            raise self.payload
        if not (self.expected or self.texts) or not self.compares:
            return _load, (self.payload, dict(self.roots))
        expected, texts = dict(self.expected), dict(self.texts)
        compared = expected, texts, dict(self.roots)
        return Received, (self.payload, *compared, self.thorough, tuple(self.patch))


_changes: Final = [0]
"""How often modules of this process have been made anew, or been patched."""
_one_at_a_time: Final = threading.RLock()
"""Held while modules are compared and changed. A foreign executor may have threads."""


def _load(payload: bytes, roots: Mapping[str, str]) -> Callable[..., Any]:
    """Load a function that is not compared, from where the script has its module."""
    with _one_at_a_time:
        if imports.follow(roots):
            _changes[0] += 1
        return load_function(payload)


class Received:
    """A function that has come to a worker."""

    __slots__ = (
        "_changes",
        "_expected",
        "_function",
        "_patch",
        "_payload",
        "_roots",
        "_stale",
        "_texts",
        "_thorough",
    )

    def __init__(
        self,
        payload: bytes,
        expected: Likenesses,
        texts: Mapping[str, bytes],
        roots: Mapping[str, str],
        thorough: bool,
        patch: Sequence[bytes],
    ) -> None:
        self._payload = payload
        self._expected = expected
        self._texts = texts
        self._roots = roots
        self._thorough = thorough
        self._patch = patch
        self._function: Callable[..., Any] | None = None
        self._changes = -1
        self._stale: StaleCodeError | None = None
        try:
            self._make_ready()
        except StaleCodeError as error:  # an outcome of calls
            self._stale = error

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function, if the code here is what it was sent with.

        Raises:
            StaleCodeError: It is not; or it had to be imported anew just now, and the
                arguments belong to what was imported before.
        """
        if self._changes != _changes[0]:
            if self._stale is not None:
                raise StaleCodeError(self._stale.names)
            if self._make_ready():
                raise StaleCodeError(())
        assert self._function is not None
        return self._function(*args, **kwargs)

    def _make_ready(self) -> bool:
        """Make this worker's modules equal; tell whether they were imported anew."""
        with _one_at_a_time:
            anew = imports.follow(self._roots)
            if anew:
                _changes[0] += 1
            differing = self._differing()
            if differing and imports.edited():
                imports.forget_modules()
                imports.follow(self._roots)
                _changes[0] += 1
                anew = True
                differing = self._differing()
            if differing and self._patch:
                from jackfield_memo.sending.patches import (  # seldom needed
                    apply,
                    forget_computed,
                )

                apply(self._patch, self._expected, thorough=self._thorough)
                forget_computed(properties=self._thorough)
                _changes[0] += 1
                differing = self._differing()
            if differing:
                raise StaleCodeError(tuple(differing))
            if self._function is None or self._changes != _changes[0]:
                self._function = load_function(self._payload)
            self._changes = _changes[0]
            return anew

    def _differing(self) -> list[tuple[str, str]]:
        differing = [
            name
            for name, expected in self._expected.items()
            if likeness(found(*name), thorough=self._thorough) != expected
        ]
        for module, digest in self._texts.items():
            loaded = module in sys.modules and imports.edited()
            if loaded or text_digest(module) != digest:
                differing.append((module, ""))
        return differing
