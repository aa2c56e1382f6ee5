"""What is kept of a call, and the files it made: a hit only while those are unchanged.

A result of a call that made files is of use only while the files are what the call
made. Otherwise another call that wrote the same path, or an editor, would be taken for
the call that is not executed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from jackfield.files import File

Kept: TypeAlias = "tuple[BaseException | None, Any]"
"""What is kept of a call: ``(None, result)``, or of one that failed ``(error, its
traceback)``. The result is what the function returned, if nobody can change that, or a
``Frozen``."""

IdentifyFile: TypeAlias = Callable[[str], bytes]
"""Gives the identity of a local file: see ``KeyMaker.file``."""


LARGE: Final = 1 << 20
"""What has more bytes is unpickled on a thread that no other task waits for."""

_ATOMS: Final = frozenset({int, float, str, bytes, bool, type(None), complex})
_NAMED: Final = frozenset(
    {
        ("datetime", "date"),
        ("datetime", "datetime"),
        ("datetime", "time"),
        ("datetime", "timedelta"),
        ("decimal", "Decimal"),
        ("builtins", "range"),
        ("builtins", "ellipsis"),
    }
)
"""More types whose values nobody can change, by name: imported only if used."""
_FEW: Final = 16


class Frozen(NamedTuple):
    """A result that is kept as bytes.

    Attributes:
        data: It, pickled.
        outputs: Name, as given, of each local file that the call made to its identity.
    """

    data: bytes | memoryview
    outputs: Mapping[str, bytes]


def is_fixed(value: Any) -> bool:
    """Tell whether a value is small and unchangeable, so that it need not be copied."""
    kind = type(value)
    if kind in _ATOMS:
        return True
    if kind is tuple or kind is frozenset:
        return len(value) <= _FEW and all(map(is_fixed, value))
    return (kind.__module__, kind.__name__) in _NAMED


@dataclass(frozen=True, slots=True)
class Produced:
    """What a call gave that made files. Stored in place of what it returned.

    Attributes:
        value: What its function returned.
        outputs: Name, as given, of each local file that it made to its identity.
    """

    value: Any
    outputs: Mapping[str, bytes]


def produced(value: Any, outputs: Sequence[File], identify: IdentifyFile) -> Produced:
    """Return what to keep of a call that made these local files, just now."""
    return Produced(value, {one.url: identify(one.filepath) for one in outputs})


def returned(result: Any) -> Any:
    """Return what the function returned, of a result that was kept."""
    return result.value if isinstance(result, Produced) else result


def kept(result: Any, data: bytes | memoryview) -> Kept:
    """Return what to keep of a call: its result, or that pickled if it can change."""
    if is_fixed(result):
        return None, result
    outputs = result.outputs if isinstance(result, Produced) else {}
    return None, Frozen(data, outputs)


def altered(result: Any, outputs: Sequence[File], identify: IdentifyFile) -> str:
    """Say which of the local files is not what the call made; ``""``: none."""
    made = result.outputs if isinstance(result, Produced | Frozen) else {}
    for file in outputs:
        then = made.get(file.url, b"")
        if not then or then != identify(file.filepath):
            return f"an output is not what the call made: {file.filepath}"
    return ""
