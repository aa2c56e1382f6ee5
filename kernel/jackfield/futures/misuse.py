"""What is said when a future stands where its result is meant, or is to be ended.

Python would name the type alone: not which future it is, nor what to do now. Truth
and ``==`` are as for any object: ``if future:`` asks whether there is one at all.
"""

from __future__ import annotations

from typing import Any, Final, NoReturn


def _refuse(future: object, *_: object) -> NoReturn:
    item = "; an item of it is future[key]" if hasattr(future, "__getitem__") else ""
    raise TypeError(
        f"{future!r} stands where its result is meant: pass it to an app as an "
        f"argument, or ask for its .result(){item}."
    )


def _refuse_to_end(future: object, *_: object) -> NoReturn:
    raise RuntimeError(f"The kernel alone sets how {future!r} ends.")


# These have a second form, such as ``radd``, for an operand on the right.
_REFLECTED: Final = "add sub mul truediv floordiv mod pow matmul and or xor"
# Without ``iter``, Python would try indices 0, 1, 2, ... and launch tasks for ever.
_OTHERS: Final = "lt gt le ge neg abs int float index len iter contains"
_ENDS: Final = "result exception running_or_notify_cancel"
REFUSED: Final[dict[str, Any]] = {
    **{f"__{r}{name}__": _refuse for name in _REFLECTED.split() for r in ("", "r")},
    **{f"__{name}__": _refuse for name in _OTHERS.split()},
    **{f"set_{name}": _refuse_to_end for name in _ENDS.split()},  # executors' business
    "__bool__": lambda _: True,  # or Python would ask for the length
}
