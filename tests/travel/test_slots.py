"""Instances of the script's classes with slots go to workers and come back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """\
import abc, concurrent.futures, dataclasses, multiprocessing, typing
import jackfield as jf

class Plain:
    __slots__ = ("value", "unset")
    def __init__(self): self.value = 1
class Mangled:
    __slots__ = ("__value", "__weakref__")
    def __init__(self): self.__value = 2
    value = property(lambda self: self.__value)
class More(Mangled):
    __slots__ = "other"
    def __init__(self): super().__init__(); self.other = 3
class WithDict(More):
    def __init__(self): super().__init__(); self.free = 4
@dataclasses.dataclass(slots=True)
class Record:
    value: int = 5
@dataclasses.dataclass(slots=True, frozen=True)
class Frozen:
    value: int = 6
class Abstract(abc.ABC):
    __slots__ = ("value",)
    @abc.abstractmethod
    def do(self): ...
class Concrete(Abstract):
    __slots__ = ()
    def __init__(self): self.value = 7
    def do(self): ...
T = typing.TypeVar("T")
class Generic(typing.Generic[T]):
    __slots__ = ("value",)
    def __init__(self): self.value = 8
class Table(dict):
    __slots__ = ("value",)
    def __init__(self): super().__init__(a=1); self.value = 9
class Pair(typing.NamedTuple):
    value: int = 10
class Own:
    __slots__ = ("value",)
    def __init__(self): self.value = 11
    def __getstate__(self): return {"v": self.value}
    def __setstate__(self, state): self.value = state["v"]
class Failure(Exception):
    __slots__ = ("value",)
    def __init__(self, value): super().__init__(value); self.value = value

KINDS = (
    Plain, Mangled, More, WithDict, Record, Frozen, Concrete, Generic, Table, Pair, Own
)

def value_of(thing): return thing.value, hasattr(thing, "__dict__")
def same(thing): return thing
def made(kind): return kind()
def fails(): raise Failure(12)

if __name__ == "__main__":
    with jf.load({"executors": {"one": WHERE}}) as kernel:
        for kind in KINDS:
            thing = kind()
            asked = [
                kernel.submit(function, given, cache=cache)
                for function, given in [(same, thing), (made, kind)]
                for cache in (False, True)
            ]
            there = kernel.submit(value_of, thing).result(100)[0]
            for back in [one.result(100) for one in asked]:
                assert type(back) is kind, (kind, back)
                assert value_of(back) == (there, hasattr(thing, "__dict__")), kind
            print(kind.__name__, there)
        error = kernel.submit(fails).exception(100)
        print(type(error) is Failure, error.value)
"""
TOLD = """\
Plain 1
Mangled 2
More 2
WithDict 2
Record 5
Frozen 6
Concrete 7
Generic 8
Table 9
Pair 10
Own 11
True 12
"""
WHERE = {
    "threads": "{'plugin': 'threads', 'workers': 1}",
    "processes": "{'plugin': 'processes', 'workers': 1}",
    "adapted": "concurrent.futures.ProcessPoolExecutor(1, "
    "multiprocessing.get_context('spawn'))",
}


@pytest.mark.parametrize("where", WHERE)
def test_instances_with_slots_are_the_scripts_when_they_are_back(
    where: str, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("WHERE", WHERE[where]))

    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=170,
        check=False,
    )

    assert (done.stdout, done.stderr) == (TOLD, "")
