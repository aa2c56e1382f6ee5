"""Sentences for what a worker lacks of the script, where Python's own say too little.

A function of the script travels with the names that its code mentions, and a class
without the keywords of its ``class`` line, which Python does not keep.
"""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING, Final

from jackfield.errors import traceback_of

if TYPE_CHECKING:
    from types import FrameType

_REMAKERS: Final = frozenset({"_make_skeleton_class", "_make_skeleton_enum"})
"""The functions of cloudpickle by which a class is made anew."""


def why_unloadable(error: BaseException) -> str:
    """Return what to add to an error of unpickling, or ``""``."""
    frames = traceback.walk_tb(traceback_of(error))
    if any(frame.f_code.co_name in _REMAKERS for frame, _ in frames):
        return (
            "; a class of the script is made anew in another process, without the "
            "keywords of its class line: put it into a module, which workers import"
        )
    return ""


def note_missing_name(error: Exception) -> None:
    """Add a note to an error of a task, if it has looked up a name of the script."""
    frame: FrameType | None = None
    for one, _ in traceback.walk_tb(traceback_of(error)):
        frame = one
    if frame is None:
        return
    name: object = None
    if isinstance(error, AttributeError):
        is_main = error.obj is not None and error.obj is sys.modules.get("__main__")
        name = error.name if is_main else None
    elif frame.f_globals.get("__name__") != "__main__":
        return
    elif isinstance(error, NameError):
        # In code that is a text. Otherwise the function has the name, or nobody has.
        name = error.name if frame.f_code.co_filename == "<string>" else None
    elif isinstance(error, KeyError) and "globals" in frame.f_code.co_names:
        name = next(iter(error.args), None)
    if isinstance(name, str) and name not in frame.f_globals:
        error.add_note(
            f"A function of the script takes along what its code mentions, and "
            f"{name!r} is looked up by its name: mention it in the function, pass it "
            f"as an argument, or put both into a module, which workers import."
        )
