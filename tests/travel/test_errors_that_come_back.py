"""An exception comes back as it was raised, whatever its ``__init__`` wants."""

from __future__ import annotations

import copyreg
import errno
import json
import threading
from dataclasses import dataclass
from typing import Any, NoReturn, Self

import pytest

import jackfield as jf
from jackfield.errors import JackfieldError, RemoteError
from jackfield_serialize import RemoteTraceback, dumps, loads

LIMIT_S = 60.0


class Formats(Exception):
    def __init__(self, path: str, why: str = "bad") -> None:
        super().__init__(f"cannot read {path}: {why}")


class NamedOnly(Exception):
    def __init__(self, text: str, *, code: int) -> None:
        super().__init__(text)
        self.code = code


class NeverCallsSuper(Exception):
    def __init__(self, code: int, **more: Any) -> None:
        self.code, self.more = code, more

    def __str__(self) -> str:
        return f"{self.code} {self.more}"


class SetsArgs(Exception):
    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.args = ("other", "arguments")


class Slotted(Exception):
    __slots__ = ("left", "right")

    def __init__(self, *, left: int) -> None:
        self.left = left


class MadeByNew(Exception):
    code: int

    def __new__(cls, *, code: int) -> Self:
        made = super().__new__(cls, code)
        made.code = code
        return made

    def __init__(self, *, code: int) -> None:
        pass


class Missing(OSError):
    def __init__(self, path: str) -> None:
        super().__init__(errno.ENOENT, "it is missing", path)
        self.path = path


class Bytes(UnicodeDecodeError):
    def __init__(self, *, position: int) -> None:
        super().__init__("utf-8", b"abc", position, position + 1, "no letter")


class Plugin(ImportError):
    def __init__(self, plugin: str, *, wanted: str) -> None:
        super().__init__(f"no {plugin}", name=plugin, path="/p")
        self.wanted = wanted


class Both(KeyError, AttributeError):
    def __init__(self, *, key: str) -> None:
        super().__init__(key)


class Several(ExceptionGroup[Exception]):
    tag: str

    def __new__(cls, errors: list[Exception], *, tag: str) -> Self:
        made = super().__new__(cls, "several", errors)
        made.tag = tag
        return made

    def __init__(self, errors: list[Exception], *, tag: str) -> None:
        pass


@dataclass(frozen=True)
class Frozen(Exception):
    code: int
    text: str = "text"


@dataclass(kw_only=True)
class Keywords(Exception):
    code: int


class PicklesItself(Exception):
    def __init__(self, left: int, right: int) -> None:
        super().__init__(f"{left} and {right}")
        self.left, self.right = left, right

    def __reduce__(self) -> Any:
        return PicklesItself, (self.left, self.right)


ERRORS: dict[str, Any] = {
    "formats": lambda: Formats("/x"),
    "named only": lambda: NamedOnly("k", code=2),
    "never calls super": lambda: NeverCallsSuper(3, why="x"),
    "sets args": lambda: SetsArgs(1),
    "slotted": lambda: Slotted(left=4),
    "made by new": lambda: MadeByNew(code=5),
    "missing": lambda: Missing("/x"),
    "bytes": lambda: Bytes(position=1),
    "plugin": lambda: Plugin("p", wanted="q"),
    "both": lambda: Both(key="k"),
    "several": lambda: Several([NamedOnly("k", code=6), Missing("/y")], tag="t"),
    "frozen": lambda: Frozen(7),
    "keywords": lambda: Keywords(code=8),
    "pickles itself": lambda: PicklesItself(1, 2),
    "json": lambda: json.JSONDecodeError("bad", "document", 3),
    "two files": lambda: OSError(errno.EXDEV, "across", "/a", None, "/b"),
    "syntax": lambda: SyntaxError("bad", ("file.py", 3, 2, "text", 3, 4)),
    "stop": lambda: StopIteration(9),
    "of jackfield": lambda: jf.TransferError("file:x", "reason", True),
}
FIELDS = (
    "errno", "strerror", "filename", "filename2", "name", "path", "start", "end",
    "object", "reason", "value", "lineno", "text", "msg", "left", "tag", "code",
)  # fmt: skip


def parts(error: BaseException) -> Any:
    """Return everything that makes an exception what it is, to be compared."""
    held = {k: v for k, v in vars(error).items() if not k.startswith("__")}
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    args = error.args if not inner else [repr(error.args)]
    fields = [getattr(error, name, None) for name in FIELDS]
    return (
        type(error),
        str(error),
        repr(error),
        args,
        held,
        fields,
        list(map(parts, inner)),
    )


def raise_it(name: str) -> NoReturn:
    error = ERRORS[name]()
    BaseException.__setattr__(error, "__notes__", ["a note"])
    raise error from NamedOnly("the cause", code=1)


@pytest.mark.parametrize("name", list(ERRORS))
def test_it_is_what_was_raised(name: str) -> None:
    error = ERRORS[name]()
    BaseException.__setattr__(error, "__notes__", ["a note"])

    assert parts(loads(dumps(error))) == parts(error)
    assert loads(dumps(error)).__notes__ == ["a note"]


@pytest.mark.parametrize("name", list(ERRORS))
def test_a_function_that_is_registered_for_all_exceptions_changes_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reduce(error: BaseException) -> Any:
        return RuntimeError, ("of another kind",)

    error = ERRORS[name]()
    for cls in (BaseException, type(error)):
        monkeypatch.setitem(copyreg.dispatch_table, cls, reduce)

    assert parts(loads(dumps(error))) == parts(error)


def test_all_of_them_come_back_from_workers(isolated: Any) -> None:
    with isolated() as kernel:
        futures = {name: kernel.submit(raise_it, name) for name in ERRORS}
        for number, (name, future) in enumerate(futures.items()):
            error = future.exception(LIMIT_S)
            if name == "stop":  # a future raises none, which would only end a loop
                assert isinstance(error, RuntimeError)
                error = error.__cause__

            raised, call = ERRORS[name](), f"raise_it({name!r})"
            notes = ["a note"]
            if isinstance(raised, JackfieldError):  # its message says which call it is
                vars(raised)["call"] = call
            else:
                notes.append(f"In task {number}: {call}")
            assert parts(error) == parts(raised), name
            assert error.__notes__ == notes
            cause = error.__cause__
            assert isinstance(cause, NamedOnly)
            assert (str(cause), cause.code) == ("the cause", 1)
            assert isinstance(cause.__cause__, RemoteTraceback)
            assert "raise_it" in str(cause.__cause__)


def test_they_are_caught_by_their_class(isolated: Any) -> None:
    with isolated() as kernel, pytest.raises(NamedOnly) as info:
        kernel.submit(raise_it, "named only").result(LIMIT_S)
    assert info.value.code == 2


def test_without_a_cause_the_traceback_is_the_cause(isolated: Any) -> None:
    def fails() -> NoReturn:
        raise Formats("/x")

    with isolated() as kernel:
        error = kernel.submit(fails).exception(LIMIT_S)
    assert isinstance(error.__cause__, RemoteTraceback)


def test_a_cause_comes_without_what_cannot_be_pickled(isolated: Any) -> None:
    class Refuses(Exception):
        def __reduce__(self) -> NoReturn:
            raise TypeError("no")

    def fails(cause: type[Exception]) -> NoReturn:
        lock = threading.Lock()
        raise NamedOnly("k", code=3) from cause("locked", lock)

    with isolated() as kernel:
        error = kernel.submit(fails, ValueError).exception(LIMIT_S)
        other = kernel.submit(fails, Refuses).exception(LIMIT_S)

    assert (type(error), error.code) == (NamedOnly, 3)
    assert isinstance(error.__cause__, ValueError)
    assert error.__cause__.args[0] == "locked"
    assert (type(other), other.code) == (NamedOnly, 3)
    assert isinstance(other.__cause__, RemoteError)


def test_errors_travel_as_arguments_and_results_too(isolated: Any) -> None:
    def swap(error: Any) -> Any:
        return {"given": error, "made": [Keywords(code=error.code + 1)]}

    with isolated() as kernel:
        result = kernel.submit(swap, NamedOnly("k", code=1)).result(LIMIT_S)

    assert parts(result["given"]) == parts(NamedOnly("k", code=1))
    assert parts(result["made"][0]) == parts(Keywords(code=2))
