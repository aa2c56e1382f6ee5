"""Results of calls that made files: a hit only while the files are what they were.

Otherwise another call that wrote the same path, or an editor, would be taken for the
call that is not executed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jackfield.memo.atoms import UnknownValueError
from jackfield.memo.files import FilesBy, path_identity

if TYPE_CHECKING:
    from jackfield.files import File


@dataclass(frozen=True, slots=True)
class Produced:
    """What a call gave.

    Attributes:
        value: What its function returned.
        outputs: Path of each local file that it made to that file's identity.
    """

    value: Any
    outputs: Mapping[str, bytes]


def produced(value: Any, outputs: Sequence[File], by: FilesBy) -> Any:
    """Return what to keep of a call that made these local files, just now."""
    if not outputs:
        return value
    return Produced(value, {one.filepath: _identity(one, by) for one in outputs})


def returned(kept: Any) -> Any:
    """Return what the function returned, of what was kept."""
    return kept.value if isinstance(kept, Produced) else kept


def altered(kept: Any, outputs: Sequence[File], by: FilesBy) -> str:
    """Say which of the local files is not what the call made; ``""``: none."""
    made = kept.outputs if isinstance(kept, Produced) else {}
    for file in outputs:
        known = made.get(file.filepath, b"")
        if not known or known != _identity(file, by):
            return f"an output is not what the call made: {file.filepath}"
    return ""


def _identity(file: File, by: FilesBy) -> bytes:
    try:
        return path_identity(file.filepath, by)
    except UnknownValueError:  # it keeps changing, or cannot be read: never a hit
        return b""
