# mypy: ignore-errors
# The code is as users write it: without types.
"""Functions of all kinds."""

import collections
import functools
import json
import operator
import os.path

import golden_dynamic
import golden_helpers
from golden_helpers import BIG, Base, Color, Derived, Record, clean, logged

import jackfield as jf
from jackfield import File, bash_app, join_app, python_app
from jackfield_bash.command import BashCommand

LIMIT = 10
OPTIONS = {"depth": 2}
square = lambda x: x * x  # noqa: E731
pair = (lambda a: a + 1, lambda a: a + 2)


def simple(x):
    return x


def documented(x: int, y: "str" = "a") -> float:
    """Return something.

    With a long text.
    """
    total: float = 0.0
    return total + x


def helped(x, y=2, *rest, z=3, **more):
    return clean(x) + y + golden_helpers.RATE + LIMIT


def positional(a, b=1, /, c=2, *, d=3):
    return a, b, c, d


def many(x):
    return golden_helpers.TABLE["depth"], BIG[0], OPTIONS, golden_helpers.NAMES, x


def recursive(n):
    return 1 if n < 2 else n * recursive(n - 1)


def mutual(n):
    return golden_helpers.even(n)


def with_class(x):
    return Derived(x).run(), Base.make(), Color.RED.shown(), Record("a")


def nested(x):
    def inner(y):
        return y + LIMIT

    class Local:
        def method(self):
            return clean(x)

    return [inner(one) for one in x], Local


def closing(step, table):
    factor = golden_helpers.RATE

    def closed(x):
        return x * factor + step(x) + table["a"]

    return closed


closed = closing(clean, {"a": 1})
closed_otherwise = closing(square, {"a": 2})


def counting():
    count = 0

    def counted():
        nonlocal count
        count += 1
        return count

    return counted


counted = counting()


@logged
def decorated(x):
    return clean(x)


@functools.lru_cache
def cached(x):
    return clean(x)


@functools.singledispatch
def dispatched(x):
    return clean(x)


def generating(n):
    for i in range(n):
        yield from (i, clean(i))


async def waiting(x):
    async with x as y:
        return await y


def syntax(x):
    try:
        with open(x) as file, open("b"):
            text = f"{file.read()!r:>{LIMIT}} {x=}"
    except (OSError, ValueError) as error:
        raise RuntimeError("no") from error
    finally:
        del x
    if (n := len(text)) > 3 and not n % 2:
        match text.split():
            case [first, *rest] if rest:
                return first
            case {"a": 1, **others}:
                return others
            case Record(name="x") | None:
                return ...
    first, *others = {1, 2}, {**OPTIONS}, [*BIG]
    while n:
        n -= 1
        if n == 4:
            continue
        break
    else:
        n <<= 2
    assert n, "message"
    return (lambda *a, k=LIMIT: a[k:2:-1])(n), -n, ~n, 1j, b"b", 0x10, 1e3, {n: n}


def importing(x):
    import math

    import golden_lazy
    from golden_lazy import Tool

    return golden_lazy.scaled(x), Tool().use(x), math.pi


def importing_module(x):
    import golden_lazy

    return golden_lazy


def importing_all(x):
    from golden_package import thing

    return thing(x)


def of_libraries(x):
    return json.dumps(x), os.path.join("a", x), collections.Counter(x), len(x)


def of_jackfield(x):
    return jf.File(x), File(x)


def own_state(x):
    OPTIONS["seen"] = x
    return golden_helpers.remember(x)


def unbound(x):
    return not_there(x)  # noqa: F821


def attributed(x):
    return x


attributed.setting = {"a": 1}


@python_app
def plain_app(x):
    return clean(x)


@python_app(cache=True, version="7")
def version_app(x, scale=RATE if (RATE := 2) else 1):
    return clean(x)


@bash_app(cache=True)
def bash(x, outputs=(), stdout=None):
    return f"true {x} {LIMIT}"


@join_app(cache=True)
def joining(n):
    return [plain_app(i) for i in range(n)]


def using_apps(x):
    return plain_app(x), bash(x), joining(x)


without_source = {"__name__": "golden_made", "RATE": 3, "clean": clean}
exec(
    "def made(x, y=1):\n"
    "    'text'\n"
    "    return clean(x) + RATE + (lambda z: z + 1)(y)\n"
    "def importing(x):\n"
    "    import golden_lazy\n"
    "    return golden_lazy.FACTOR, getattr(x, x)\n",
    without_source,
)

FUNCTIONS = {
    name: thing
    for name, thing in list(globals().items())
    if callable(thing) and getattr(thing, "__module__", "") == __name__
} | {
    "blind": golden_dynamic.blind,
    "pair 0": pair[0],
    "pair 1": pair[1],
    "made without source": without_source["made"],
    "importing without source": without_source["importing"],
    "partial": functools.partial(clean, 3),
    "partial of partial": functools.partial(functools.partial(closed, 1), k=2),
    "bound method": Derived(3).run,
    "bound class method": Derived.make,
    "static method": Derived.name,
    "method as function": Derived.run,
    "class": Derived,
    "dataclass": Record,
    "enum": Color,
    "callable object": golden_helpers.Called(2),
    "builtin": len,
    "builtin class": dict,
    "C function": json.encoder.c_make_encoder or len,
    "method descriptor": str.upper,
    "bound C method": "abc".join,
    "itemgetter": operator.itemgetter(1),
    "standard library": json.dumps,
    "bash target": BashCommand(bash.__wrapped__, "bash"),
}
