"""The key maker of a kernel: what makes keys is imported with the first cached call.

Runs without cached calls only have functions sent to workers, which takes less.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jackfield.memo_keys import KeyMaker

if TYPE_CHECKING:
    from jackfield.errors import StaleCodeError
    from jackfield.files import File
    from jackfield.memo_keys import CallKey, FunctionIdentity
    from jackfield_memo.key_maker import PythonKeyMaker
    from jackfield_memo.sending.sender import Sender


class KeyMakerOnUse(KeyMaker):
    """Has one object make keys and another what is sent, each made when needed.

    Args:
        make: Makes what makes keys.
    """

    def __init__(self, make: Callable[[], PythonKeyMaker]) -> None:
        self._make: Callable[[], PythonKeyMaker] = make
        self._making = threading.Lock()
        self._keys: PythonKeyMaker | None = None
        self._sender: Sender | None = None

    def _maker(self) -> PythonKeyMaker:
        keys = self._keys
        if keys is None:
            with self._making:
                keys = self._keys = self._keys or self._make()
            for name in ("function", "is_costly", "key", "file"):
                setattr(self, name, getattr(keys, name))  # asked without a detour now
        return keys

    def function(
        self,
        function: Callable[..., Any],
        *,
        version: str | None = None,
        depends_on: Sequence[Callable[..., Any]] = (),
    ) -> FunctionIdentity:
        """Return what a function is."""
        maker = self._maker()
        return maker.function(function, version=version, depends_on=depends_on)

    def value(self, app: str, what: str, value: object) -> bytes:
        """Return the identity of a value; see ``PythonKeyMaker.value``."""
        return self._maker().value(app, what, value)

    def is_costly(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        outputs: Sequence[File] = (),
    ) -> bool:
        """Tell whether ``key`` may take milliseconds, or wait for code of users."""
        return self._maker().is_costly(args, kwargs, outputs)

    def key(
        self,
        app: str,
        function: FunctionIdentity,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        ignore: Collection[str] = (),
    ) -> CallKey:
        """Return the key of a call, and what it was made of."""
        return self._maker().key(app, function, args, kwargs, ignore)

    def file(self, path: str) -> bytes:
        """Return the identity of a local file that a call has made, as it is now."""
        return self._maker().file(path)

    def sent(
        self,
        app: str,
        function: Callable[..., Any],
        code: bytes = b"",
        values: Sequence[Any] = (),
    ) -> Callable[..., Any]:
        """Return what to give to an executor whose workers are other processes."""
        return (self._sender or self._make_sender()).sent(app, function, code, values)

    def stale(
        self, app: str, function: Callable[..., Any], error: StaleCodeError
    ) -> None:
        """Learn that a worker had other code than what was sent."""
        (self._sender or self._make_sender()).stale(app, function, error)

    def _make_sender(self) -> Sender:
        from jackfield_memo.sending.sender import Sender

        with self._making:
            self._sender = self._sender or Sender()
        return self._sender
