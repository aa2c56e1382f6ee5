# mypy: ignore-errors
# The code is as users write it: without types.
"""What the golden functions use: helpers, constants, classes, apps."""

import dataclasses
import enum
import functools
from collections import namedtuple

RATE = 3
NAMES = ["a", "b"]
TABLE = {"depth": 2, "nested": {"x": (1, 2.5)}}
BIG = list(range(1000))
SEEN = []


def clean(x):
    """Do something that a docstring tells."""
    return x * RATE


def even(n):
    return n == 0 or odd(n - 1)


def odd(n):
    return n != 0 and even(n - 1)


def remember(x):
    SEEN.append(x)
    return len(SEEN)


def logged(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


class Color(enum.Enum):
    RED = 1
    BLUE = "blue"

    def shown(self):
        return self.name.lower()


class Access(enum.Flag):
    READ = 1
    WRITE = 2


Point = namedtuple("Point", "x y")


class Base:
    kind = "base"

    def __init__(self, value):
        self.value = value

    def run(self):
        return self.value + RATE

    @property
    def double(self):
        return 2 * self.value

    @classmethod
    def make(cls):
        return cls(1)

    @staticmethod
    def name():
        return "base"


class Derived(Base):
    items = ("a", "b")

    def run(self):
        return super().run() + self.__hidden()

    def __hidden(self):
        return clean(1)

    @functools.cached_property
    def slow(self):
        return self.value


@dataclasses.dataclass
class Record:
    name: str
    size: int = 0
    tags: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    x: float
    y: "Base | None" = None


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a, b):
        self.a = a
        self.b = b


class Stated:
    def __init__(self, x):
        self.x = x
        self.cache = object()

    def __getstate__(self):
        return {"x": self.x}


class Taught:
    def __init__(self, url):
        self.url = url
        self.socket = object()

    def __jackfield_hash__(self):
        return ("url", self.url)


class Called:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, x):
        return clean(x) * self.factor


class Names(dict):
    pass


class Group(set):
    pass
