"""Code that is no plain function counts, in the text and when it is replaced later."""

from __future__ import annotations

import enum
import functools
import sys
import types
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

import jackfield as jf
from jackfield_memo.key_maker import PythonKeyMaker

if TYPE_CHECKING:
    from types import ModuleType

    Importer = Callable[..., ModuleType]
    Runner = Callable[..., str]

HEAD = """
import dataclasses, enum, functools, threading
class Plain:
    def __init__(self, function):
        self.function = function
        self.lock = threading.Lock()
    def __get__(self, one, owner):
        return self.function(one)
class Slotted:
    __slots__ = ("function", "name")
    def __init__(self, function):
        self.function = function
    def __get__(self, one, owner):
        return functools.partial(self.function, one)
class Refusing(Plain):
    def __reduce_ex__(self, protocol):
        raise TypeError("not me")
def stamp(**attributes):
    def set_on(function):
        vars(function).update(attributes)
        return function
    return set_on
"""

MEMBERS = {
    "lru_cache": "@functools.lru_cache\n    def m(self): return {}",
    "cache on a special method": "@functools.cache\n    def __len__(self): return {}",
    "cached_property": "@functools.cached_property\n    def m(self): return {}",
    "partialmethod": "def n(self, x): return x\n    m = functools.partialmethod(n, {})",
    "special partialmethod": (
        "def n(self, x): return x\n    __call__ = functools.partialmethod(n, {})"
    ),
    "singledispatchmethod": (
        "@functools.singledispatchmethod\n    def m(self, x): return 0\n"
        "    @m.register\n    def _(self, x: int): return {}"
    ),
    "own descriptor": "@Plain\n    def m(self): return {}",
    "own descriptor with slots": "@Slotted\n    def m(self): return {}",
    "special descriptor": "@Slotted\n    def __call__(self): return {}",
    "descriptor that is not pickled": "@Refusing\n    def m(self): return {}",
    "special data": "__units__ = {}",
    "special data in a list": "__priorities__ = [1, {}]",
    "__hash__": "__hash__ = lambda self: {}",
    "__match_args__": "__match_args__ = ('a', 'b')[:{}]",
    "attribute of a method": "@stamp(k={})\n    def m(self): return self.m.k",
    "attribute of a cached method": (
        "@stamp(k={})\n    @functools.lru_cache\n    def m(self): return self.m.k"
    ),
    "class method": "@classmethod\n    @functools.cache\n    def m(cls): return {}",
    "setter": "@property\n    def m(self): return 1\n"
    "    @m.setter\n    def m(self, value): self.x = {}",
    "class inside": "class Meta:\n        __order__ = {}",
}


def of_texts(project: Importer, text: str, *values: object) -> list[str]:
    """Return the digests of ``f`` in a module with each of the values put in."""
    found = []
    for value in values:
        sys.modules.pop("app", None)
        maker = PythonKeyMaker(value_hooks=lambda _: (), function_hooks=lambda: ())
        made = project(app=HEAD + text.replace("{}", str(value)))
        found.append(maker.function(made.f).digest.hex())
    return found


@pytest.mark.parametrize("member", MEMBERS.values(), ids=MEMBERS)
@pytest.mark.parametrize("base", ["class C:", "class C(dict):"])
def test_an_edit_of_any_member_of_a_class_counts(
    member: str, base: str, project: Importer
) -> None:
    text = f"{base}\n    {member}\ndef f(x):\n    return C()\n"
    one, same, other = of_texts(project, text, 1, 1, 2)

    assert one == same
    assert one != other


ENUMS = {
    "method": "def m(self): return {}",
    "cached_property": "@functools.cached_property\n    def m(self): return {}",
    "cached method": "@functools.cache\n    def m(self): return {}",
    "partialmethod": "def n(self, x): return x\n    m = functools.partialmethod(n, {})",
    "enum.property": "@enum.property\n    def m(self): return {}",
    "own descriptor": "@Plain\n    def m(self): return {}",
    "non-member": "RATES = enum.nonmember([{}])",
    "special data": "__units__ = {}",
    "special method": "@functools.cache\n    def __call__(self): return {}",
    "__init__": "def __init__(self, value): self.rate = value * {}",
    "__new__": "def __new__(cls, value):\n        one = object.__new__(cls)\n"
    "        one._value_ = value\n        one.rate = {}\n        return one",
}


@pytest.mark.parametrize("member", ENUMS.values(), ids=ENUMS)
def test_everything_in_an_enumeration_counts(member: str, project: Importer) -> None:
    text = (
        f"class C(enum.Enum):\n    A = 1\n    {member}\ndef f(x):\n    return C.A.m\n"
    )
    one, same, other = of_texts(project, text, 1, 1, 2)

    assert one == same
    assert one != other


def test_the_boundary_of_a_flag_counts(project: Importer) -> None:
    text = "class C(enum.Flag, boundary=enum.{}):\n    A = 1\ndef f():\n    return C\n"
    strict, same, keep = of_texts(project, text, "STRICT", "STRICT", "KEEP")

    assert strict == same
    assert strict != keep


def test_what_an_enumeration_keeps_by_itself_does_not_count(
    identity: PythonKeyMaker,
) -> None:
    class Unit(enum.Flag):
        M = 1
        KM = 2

        @functools.cached_property
        def slow(self) -> str:
            return self.name or ""

    def f() -> Any:
        return Unit.M

    before = identity.function(f).digest
    assert (Unit.M | Unit.KM).slow
    assert Unit.M.slow

    assert identity.function(f).digest == before


# -- Replaced while the program runs

SESSION = """
import dataclasses, functools
class Base:
    rate = 1
    __scale__ = 1
    def run(self, x):
        return x
    @property
    def half(self):
        return 1
    @staticmethod
    def still(x):
        return x
    @functools.lru_cache
    def kept(self):
        return 1
class Model(Base):
    pass
class Meta(type):
    def made(cls):
        return 1
class Of(metaclass=Meta):
    pass
def helper(x, by=1, *, also=1):
    return x
helper.setting = {"depth": 1}
def wrapped(x):
    return x
cached = functools.lru_cache(wrapped)
def f(x):
    return Model().run(x), helper(x), cached(x), Of.made()
"""


def replaced_run(app: Any) -> None:
    app.Model.run = lambda self, x: x + 1


def deleted_again(app: Any) -> None:
    app.Model.run = lambda self, x: x + 1
    del app.Base.run


def in_the_base(app: Any) -> None:
    app.Base.run = lambda self, x: x + 1


def a_property(app: Any) -> None:
    app.Base.half = property(lambda self: 2)


def a_static_method(app: Any) -> None:
    app.Base.still = staticmethod(lambda x: -x)


def a_cached_method(app: Any) -> None:
    app.Base.kept = functools.lru_cache(lambda self: 2)


def data(app: Any) -> None:
    app.Base.rate = 1.0


def special_data(app: Any) -> None:
    app.Base.__scale__ = 2


def a_new_special_method(app: Any) -> None:
    app.Model.__eq__ = lambda self, other: True


def bases(app: Any) -> None:
    class Other(app.Base):  # type: ignore[misc]  # a class that is only known now
        rate = 3

    app.Model.__bases__ = (Other,)


def the_metaclass(app: Any) -> None:
    app.Meta.made = lambda cls: 2


def code(app: Any) -> None:
    app.helper.__code__ = (lambda x, by=1, *, also=1: -x).__code__


def code_of_a_method(app: Any) -> None:
    app.Base.run.__code__ = (lambda self, x: -x).__code__


def defaults(app: Any) -> None:
    app.helper.__defaults__ = (2,)


def keyword_defaults(app: Any) -> None:
    app.helper.__kwdefaults__ = {"also": 2}


def keyword_defaults_in_place(app: Any) -> None:
    app.helper.__kwdefaults__["also"] = 2


def an_attribute(app: Any) -> None:
    app.helper.setting = 3


def an_attribute_in_place(app: Any) -> None:
    app.helper.setting["depth"] = 2


def a_new_attribute(app: Any) -> None:
    app.helper.more = 1


def an_attribute_of_a_wrapper(app: Any) -> None:
    app.cached.limit = 1


def what_is_wrapped(app: Any) -> None:
    app.wrapped.__code__ = (lambda x: -x).__code__


def a_function_of_the_module(app: Any) -> None:
    app.helper = lambda x, by=1, *, also=1: x


@pytest.mark.parametrize(
    "change",
    [
        replaced_run,
        deleted_again,
        in_the_base,
        a_property,
        a_static_method,
        a_cached_method,
        data,
        special_data,
        a_new_special_method,
        bases,
        the_metaclass,
        code,
        code_of_a_method,
        defaults,
        keyword_defaults,
        keyword_defaults_in_place,
        an_attribute,
        an_attribute_in_place,
        a_new_attribute,
        an_attribute_of_a_wrapper,
        what_is_wrapped,
        a_function_of_the_module,
    ],
)
@pytest.mark.parametrize("where", ["module", "main"])
def test_what_is_replaced_at_run_time_counts(
    change: Callable[[Any], None],
    where: str,
    identity: PythonKeyMaker,
    project: Importer,
) -> None:
    app: Any = project(app=SESSION)
    if where == "main":  # as in a notebook: no module has these names
        app = types.SimpleNamespace()
        exec(compile(SESSION, "<cell>", "exec"), vars(app))
    before = identity.function(app.f)
    assert identity.function(app.f) is before
    an_argument = identity.value("f", "x", app.Model()).hex()
    change(app)

    assert identity.function(app.f).digest != before.digest
    if change.__name__ in {"replaced_run", "in_the_base", "a_property", "data"}:
        assert identity.value("f", "x", app.Model()).hex() != an_argument


def test_what_was_replaced_and_put_back_is_what_it_was(
    identity: PythonKeyMaker, project: Importer
) -> None:
    app: Any = project(app=SESSION)
    before = identity.function(app.f).digest
    was = app.Base.run
    app.Base.run = lambda self, x: 3
    identity.function(app.f)
    app.Base.run = was

    assert identity.function(app.f).digest == before


GENERATED = """
import dataclasses
@dataclasses.dataclass(order=True)
class Point:
    x: int = 1
    y: list = dataclasses.field(default_factory=list)
    z: int = dataclasses.field(default=2, kw_only=True)
def f():
    return Point(), Point() < Point()
"""


def by_defaults(method: Any) -> None:
    method.__defaults__ = (7, method.__defaults__[1])


def by_keyword_defaults(method: Any) -> None:
    method.__kwdefaults__ = {"z": 7}


def by_code(method: Any) -> None:
    method.__code__ = (lambda self, *args, **more: 7).__code__


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("__init__", by_defaults),
        ("__init__", by_keyword_defaults),
        ("__lt__", by_code),
        ("__repr__", by_code),
    ],
)
def test_what_a_dataclass_has_made_counts_once_it_is_changed(
    identity: PythonKeyMaker,
    project: Importer,
    name: str,
    change: Callable[[Any], None],
) -> None:
    app: Any = project(app=GENERATED)
    before = identity.function(app.f).digest
    assert identity.function(app.f).digest == before
    method = getattr(app.Point, name)
    change(getattr(method, "__wrapped__", method))

    assert identity.function(app.f).digest != before


SETTINGS = """
import dataclasses, json
class Settings:
    rate = 1
    def __init__(self):
        self.depth, self.hits, self.tables = 1, 0, {"a": 1}
    def load(self, depth):
        self.depth = depth
    def update(self, **more):
        self.tables.update(more)
    def read(self):
        self.hits += 1
        return self.depth
    def __setitem__(self, name, value):
        setattr(self, name, value)
    def __getitem__(self, name):
        return self.tables[name]
    @property
    def size(self):
        return self.depth
    @size.setter
    def size(self, value):
        self.depth = value
    @classmethod
    def configure(cls, rate):
        cls.rate = rate
    @staticmethod
    def tune(rate):
        Settings.rate = rate
class Small:
    __slots__ = ("depth",)
    def __init__(self):
        self.depth = 1
    def load(self, depth):
        self.depth = depth
settings, small, held = Settings(), Small(), {"of": Settings()}
level = 1
def set_level(value):
    global level
    level = value
def f(x):
    json.loads("1")
    found = {}
    found.update(a=1)
    return x, settings.read(), small.depth, settings.rate, held, settings["a"], level
"""


def by_a_slot(app: Any) -> None:
    app.small.load(2)


def by_a_method(app: Any) -> None:
    app.settings.load(2)


def by_update(app: Any) -> None:
    app.settings.update(a=2)


def by_item(app: Any) -> None:
    app.settings["depth"] = 2


def by_property(app: Any) -> None:
    app.settings.size = 2


def by_class_method(app: Any) -> None:
    app.Settings.configure(2)


def by_static_method(app: Any) -> None:
    app.Settings.tune(2)


def by_assignment(app: Any) -> None:
    app.settings.depth = 2


def inside_a_container(app: Any) -> None:
    app.held["of"].load(2)


def by_a_function_that_is_not_used(app: Any) -> None:
    app.set_level(2)


@pytest.mark.parametrize(
    "change",
    [
        by_a_slot,
        by_a_method,
        by_update,
        by_item,
        by_property,
        by_class_method,
        by_static_method,
        by_assignment,
        inside_a_container,
        by_a_function_that_is_not_used,
    ],
)
def test_settings_that_the_app_does_not_set_are_looked_at_again(
    change: Callable[[Any], None], identity: PythonKeyMaker, project: Importer
) -> None:
    app: Any = project(app=SETTINGS)
    before = identity.function(app.f)
    app.f(1)  # which counts its reads
    assert identity.function(app.f) is before
    change(app)

    assert identity.function(app.f).digest != before.digest


def test_an_app_sees_what_is_set_between_its_calls() -> None:
    class Options:
        def __init__(self) -> None:
            self.rate = 1

        def use(self, rate: int) -> None:
            self.rate = rate

    class Model:
        def predict(self, x: int) -> int:
            return x + 1

    options = Options()

    @jf.python_app(cache=True)
    def scaled(x: int) -> int:
        return x * options.rate

    @jf.python_app(cache=True)
    def predicted(model: Model, x: int) -> int:
        return model.predict(x)

    with jf.load({"checkpoint": {"store": "memory"}}):
        found = [scaled(5).result(60), predicted(Model(), 1).result(60)]
        options.use(100)
        Model.predict = lambda self, x: x + 1000  # type: ignore[method-assign]  # as a script would
        found += [scaled(5).result(60), predicted(Model(), 1).result(60)]
        again = scaled(5)
        found.append(again.result(60))

    assert found == [5, 2, 500, 1001, 500]
    assert again.memo.status == "hit"


def test_threads_that_look_while_methods_are_replaced_never_see_a_mixture(
    identity: PythonKeyMaker, project: Importer
) -> None:
    app: Any = project(app=SESSION)
    plain = app.Base.run
    other = vars(types.SimpleNamespace(run=lambda self, x: x + 1))["run"]
    allowed = set()
    for one in (plain, other):
        app.Base.run = one
        allowed.add(identity.function(app.f).digest)

    def look(_: int) -> bytes:
        return identity.function(app.f).digest

    def change(turn: int) -> None:
        app.Base.run = (plain, other)[turn % 2]

    with ThreadPoolExecutor(4) as pool:
        looks = [pool.submit(look, turn) for turn in range(100)]
        list(pool.map(change, range(100)))
        found = {one.result(60) for one in looks}

    assert found <= allowed
    app.Base.run = plain
    last = identity.function(app.f).digest
    app.Base.run = other
    assert identity.function(app.f).digest != last
