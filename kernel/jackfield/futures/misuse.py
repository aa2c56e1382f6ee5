"""What is said when a future stands where its result is meant.

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


_TWO: Final = "add sub mul truediv floordiv mod pow matmul and or xor"
# Without ``iter``, Python would try indices 0, 1, 2, ... and launch tasks for ever.
_ONE: Final = "lt gt le ge neg abs int float index len iter contains"
REFUSED: Final[dict[str, Any]] = {
    **{f"__{r}{name}__": _refuse for name in _TWO.split() for r in ("", "r")},
    **{f"__{name}__": _refuse for name in _ONE.split()},
    "__bool__": lambda _: True,  # or Python would ask for the length
}
