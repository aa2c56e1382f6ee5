"""What a function is: its code and what that reaches, wherever it was defined."""

from __future__ import annotations

import ast
import functools
import gc
import importlib
import math
import os
import sys
import threading
import types
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jackfield import python_app
from jackfield.errors import MemoKeyError
from jackfield.memo_keys import with_parts
from jackfield_bash.command import BashCommand
from jackfield_memo.key_maker import PythonKeyMaker
from jackfield_memo.sources import tree_of

if TYPE_CHECKING:
    from types import ModuleType

    Importer = Callable[..., ModuleType]
    Runner = Callable[..., str]

PRINT = """
from jackfield_memo.key_maker import PythonKeyMaker
from jackfield_memo.sources import tree_of
identity = PythonKeyMaker(value_hooks=lambda kind: (), function_hooks=lambda: ())
print(identity.function(f).digest.hex())
"""


def digest(identity: PythonKeyMaker, function: Any, **options: Any) -> str:
    return identity.function(function, **options).digest.hex()


# -- Where there is source, and where there is none


def test_a_script_counts_by_its_source(tmp_path: Path, python: Runner) -> None:
    script = tmp_path / "script.py"
    body = "LIMIT = 1\ndef f(x):\n    return x + LIMIT\n"
    found = []
    for text in (body, "# a comment\n" + body, body.replace("LIMIT = 1", "LIMIT = 2")):
        script.write_text(text + PRINT)
        found.append(python(str(script)))

    assert found[0] == found[1]
    assert found[0] != found[2]


def test_a_function_is_the_same_in_a_script_and_in_a_module(
    tmp_path: Path, python: Runner
) -> None:
    (tmp_path / "script.py").write_text("def f(x):\n    return x + 1\n" + PRINT)

    assert python("script.py") == python("-c", "import script")


def test_a_shell_without_source_counts_by_code(python: Runner) -> None:
    def typed(body: str) -> str:
        return python("-q", "-i", "-", text=f"def f(x):\n    {body}\n\n{PRINT}")

    assert typed("return x + 1") == typed("# why\n    return x + 1")
    assert typed("return x + 1") != typed("return x + 2")
    assert typed("return {1, 'a', x}") == typed("return {1, 'a', x}")


def test_a_cell_of_a_notebook_counts_by_its_source(python: Runner) -> None:
    def cell(body: str, name: str) -> str:
        # As IPython does it: the cell is compiled under a made-up file name, under
        # which linecache finds its lines.
        return python(
            "-c",
            f"import linecache\ntext = {body!r}\n"
            f"lines = text.splitlines(True)\n"
            f"linecache.cache[{name!r}] = (len(text), None, lines, {name!r})\n"
            f"exec(compile(text, {name!r}, 'exec'))\n{PRINT}",
        )

    one = cell(
        "def f(x):\n    if x:\n        pass\n    return x", "/tmp/ipykernel_1/1.py"
    )
    other = cell(
        "def f(x):\n    if (x):\n\n        pass\n    return x  # !", "/tmp/i/2.py"
    )
    third = cell(
        "def f(x):\n    if x:\n        pass\n    return -x", "/tmp/ipykernel_1/1.py"
    )

    assert one == other
    assert one != third


def test_code_without_source_is_the_same_in_every_process(python: Runner) -> None:
    code = (
        "names = {}\n"
        'exec(\'K = 3\\ndef f(x):\\n    "Doc."\\n'
        '    return [v for v in x if v in {1, 2, "a"}], K\', names)\n'
        "f = names['f']\n" + PRINT
    )

    assert python("-c", code, seed="1") == python("-c", code, seed="2")


def test_constants_that_nothing_loads_do_not_count(identity: PythonKeyMaker) -> None:
    def made(text: str) -> Any:
        names: dict[str, Any] = {}
        exec(text, names)
        return names["f"]

    one = made('def f():\n    "Doc."\n    return 1')
    other = made('def f():\n    "Other."\n    return 1')
    used = made('def f():\n    "Doc."\n    return "Doc."')
    used_otherwise = made('def f():\n    "Other."\n    return "Other."')

    assert digest(identity, one) == digest(identity, other)
    assert digest(identity, used) != digest(identity, used_otherwise)


# -- Edited while it runs


def test_a_file_edited_after_its_import_does_not_count(
    identity: PythonKeyMaker, project: Importer
) -> None:
    running = project(app="def f(x):\n    return x + 1\n")
    Path(str(running.__file__)).write_text("def f(x):\n    return x + 2\n")
    late = digest(identity, running.f)
    del sys.modules["app"]
    edited = project(app="def f(x):\n    return x + 2\n")

    assert late != digest(identity, edited.f)


def test_a_comment_added_after_the_import_is_no_matter(
    identity: PythonKeyMaker, project: Importer
) -> None:
    text = "def f(x):\n    return x + 1\n"
    untouched = digest(identity, project(app=text).f)
    del sys.modules["app"]
    running = project(app=text)
    text = "def g():\n    pass\n\ndef f(x):\n    # why\n    return (x + 1)\n"
    Path(str(running.__file__)).write_text(text)

    assert digest(identity, running.f) == untouched


def test_two_functions_that_swapped_places_are_not_confused(
    identity: PythonKeyMaker, project: Importer
) -> None:
    text = "def f(x):\n    return x + {}\n\ndef g(x):\n    return x + {}\n"
    running = project(app=text.format(1, 2))
    Path(str(running.__file__)).write_text(text.format(2, 1))

    assert digest(identity, running.f) != digest(identity, running.g)
    assert digest(identity, running.f) == digest(
        PythonKeyMaker(value_hooks=lambda kind: (), function_hooks=lambda: ()),
        running.f,
    )


def test_a_late_import_that_is_loaded_already_counts_as_it_runs(
    project: Importer,
) -> None:
    def fresh() -> PythonKeyMaker:
        return PythonKeyMaker(value_hooks=lambda kind: (), function_hooks=lambda: ())

    app = "def f():\n    from late import work\n    return work()\n"
    late = (
        "RATE = 1\n"
        "def work():\n    return helper() * RATE\n"
        "def helper():\n    return {}\n"
    )
    running = project(late=late.format(1), app=app)
    never_loaded = digest(fresh(), running.f)
    importlib.import_module("late")
    loaded = digest(fresh(), running.f)
    Path(str(sys.modules["late"].__file__)).write_text(late.format(2))
    edited_later = digest(fresh(), running.f)
    del sys.modules["late"]
    edited = digest(fresh(), running.f)
    sys.modules.pop("late", None)
    vars(importlib.import_module("late"))["RATE"] = 5
    set_otherwise = digest(fresh(), running.f)

    assert never_loaded == loaded == edited_later  # what was loaded goes on
    assert len({loaded, edited, set_otherwise}) == 3


def test_a_late_import_is_read_and_not_imported(
    identity: PythonKeyMaker, project: Importer
) -> None:
    app = project(
        late="raise SystemExit('imported')\n",
        app="def f():\n    import late\n    return late.x\n",
    )

    assert identity.function(app.f).digest
    assert "late" not in sys.modules


# -- Changed while it runs: what is remembered is looked at again


def test_an_identity_is_made_once(identity: PythonKeyMaker) -> None:
    def f(x: int) -> int:
        return x

    assert identity.function(f) is identity.function(f)


@pytest.mark.parametrize(
    "change",
    [
        "app.NUMBER = 2",
        "app.NUMBER = 1.0",
        "app.NONE = 0",
        "app.LIST.append(1)",
        "app.DICT['a']['b'] = 2",
        "app.THING.x = 2",
        "app.Settings.rate = 2",
        "app.f.__defaults__[0].append(1)",
        "app.change(2)",
        "app.len = lambda x: 0",
        "del app.NUMBER",
        "helpers.SHARED = 2",
    ],
)
def test_what_changes_while_it_runs_is_noticed(
    change: str, identity: PythonKeyMaker, project: Importer
) -> None:
    app = project(
        helpers="SHARED = 1\n",
        app="""
import helpers

NUMBER, NONE, LIST, DICT = 1, None, [], {"a": {"b": 1}}

class Settings:
    rate = 1
    def __init__(self):
        self.x = 1

THING = Settings()

def make(n):
    def inner():
        return n
    def change(to):
        nonlocal n
        n = to
    return inner, change

inner, change = make(1)

def f(x=[]):
    return NUMBER, NONE, LIST, DICT, THING, Settings, inner, helpers.SHARED, len(x)
""",
    )
    before = identity.function(app.f)
    assert identity.function(app.f) is before

    exec(change, {"app": app, "helpers": sys.modules["helpers"]})

    assert identity.function(app.f).digest != before.digest


def test_a_reloaded_module_is_noticed(
    identity: PythonKeyMaker, project: Importer
) -> None:
    app = project(
        helpers="def clean(x):\n    return x\n",
        app="import helpers\ndef f(x):\n    return helpers.clean(x)\n",
    )
    before = digest(identity, app.f)
    helpers = sys.modules["helpers"]
    path = Path(str(helpers.__file__))
    path.write_text("def clean(x):\n    return -x\n")
    os.utime(path, (1, 1))
    importlib.reload(helpers)

    assert digest(identity, app.f) != before


def test_a_helper_defined_anew_in_a_shell_is_noticed(python: Runner) -> None:
    code = (
        "def g(x): return 1\n"
        "def f(x): return g(x)\n"
        f"{PRINT}\n"
        "def g(x): return 2\n"
        "print(identity.function(f).digest.hex())"
    )

    one, other = python("-c", code).split()

    assert one != other


def test_a_value_that_was_changed_back_is_as_before(
    identity: PythonKeyMaker, project: Importer
) -> None:
    app = project(app="LIST = [1]\ndef f():\n    return LIST\n")
    before = digest(identity, app.f)
    app.LIST.append(2)
    between = digest(identity, app.f)
    app.LIST.pop()

    assert digest(identity, app.f) == before
    assert between != before


def test_a_big_value_is_looked_at_again_at_each_call(
    identity: PythonKeyMaker, project: Importer
) -> None:
    app = project(app="BIG = list(range(100_000))\ndef f():\n    return BIG\n")
    before = digest(identity, app.f)
    app.BIG.append(1)
    between = digest(identity, app.f)
    app.BIG.pop()

    assert between != before
    assert digest(identity, app.f) == before


def test_a_big_value_that_the_code_changes_is_not_looked_at_again(
    identity: PythonKeyMaker, project: Importer
) -> None:
    app = project(
        app="class Kept:\n    def __init__(self):\n"
        "        self.known, self.rate = dict.fromkeys(range(1_000)), 2\n"
        "    def get(self, x):\n        self.known[x] = x\n"
        "        return self.known[x] * self.rate\n"
        "KEPT = Kept()\nSEEN = list(range(1_000))\n"
        "def f(x):\n    SEEN.append(x)\n    return KEPT.get(x)\n"
    )
    before = digest(identity, app.f)
    app.f(10_000)

    assert digest(identity, app.f) == before
    app.KEPT.rate = 3
    assert digest(identity, app.f) != before


def test_an_identity_keeps_nothing_alive(identity: PythonKeyMaker) -> None:
    def make() -> Callable[[int], int]:
        class Local:
            def method(self) -> Any:
                return recursive

        def recursive(n: int) -> int:
            return n and recursive(n - 1) + bool(Local)

        return recursive

    function = make()
    identity.function(function)
    identity.value("app", "argument 'x'", function)
    gone = weakref.ref(function)
    del function
    gc.collect()

    assert gone() is None


def test_threads_agree_on_a_function(
    identity: PythonKeyMaker, project: Importer
) -> None:
    app = project(
        app="A = {'a': [1]}\ndef g():\n    return A\ndef f():\n    return g()\n"
    )
    together = threading.Barrier(4)
    found: list[str] = []

    def look() -> None:
        together.wait(timeout=120)
        found.append(digest(identity, app.f))

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(found) == 4
    assert len(set(found)) == 1


STATEFUL = {
    "list": """
ran = []
def f(x):
    ran.append(x)
    return x
""",
    "global": """
N = 0
def f(x):
    global N
    N += 1
    return x
""",
    "cache": """
C = {}
def g(x):
    if x not in C:
        C[x] = -x
    return C[x]
def f(x):
    return g(x)
""",
    "closure": """
def make():
    n, ran = 0, []
    def f(x):
        nonlocal n
        n += 1
        ran.append(x)
        return x
    return f
f = make()
""",
    "class": """
class S:
    n = 0
def f(x):
    S.n += 1
    return x
""",
    "instance": """
class Counter:
    def __init__(self):
        self.n = 0
    def count(self):
        self.n += 1
C = Counter()
def f(x):
    C.count()
    return x
""",
    "machinery": """
import functools, queue, threading
Q, E, L = queue.Queue(), threading.Event(), threading.local()
@functools.lru_cache
def g(x):
    return x
def f(x):
    Q.put(x)
    E.set()
    L.x = 1
    return g(x)
""",
    "decorator": """
import ast
import functools
def memo(f):
    seen = {}
    @functools.wraps(f)
    def wrapper(x):
        if x not in seen:
            seen[x] = f(x)
        return seen[x]
    return wrapper
@memo
def f(x):
    return x
""",
    "dispatch": """
import ast
import functools
@functools.singledispatch
def g(x):
    return x
def f(x):
    return g(x)
""",
}


@pytest.mark.parametrize("code", STATEFUL.values(), ids=STATEFUL)
def test_a_function_that_changes_its_own_state_stays_the_same(
    code: str, identity: PythonKeyMaker, project: Importer
) -> None:
    app = project(app=code)
    before = identity.function(app.f)
    app.f(1)

    assert identity.function(app.f) is before


def test_what_was_in_its_own_state_at_first_counts(
    identity: PythonKeyMaker, project: Importer
) -> None:
    found = []
    for depth in (1, 2):
        sys.modules.pop("app", None)
        text = "SET = {{'depth': {}}}\ndef f():\n    SET['runs'] = 1\n    return SET\n"
        found.append(digest(identity, project(app=text.format(depth)).f))

    assert found[0] != found[1]


# -- What functions there are


def test_two_lambdas_on_a_line_differ(identity: PythonKeyMaker) -> None:
    one, other = (lambda x: x + 1), (lambda x: x * 100)

    assert digest(identity, one) != digest(identity, other)


def test_two_closures_of_one_factory_differ(identity: PythonKeyMaker) -> None:
    def factory(by: Any) -> Callable[[int], int]:
        return lambda x: x + int(by)

    assert digest(identity, factory(1)) != digest(identity, factory(2))
    assert digest(identity, factory(1)) == digest(identity, factory(1))
    assert digest(identity, factory(1)) != digest(identity, factory(1.0))


def test_a_command_line_is_not_what_it_prints(identity: PythonKeyMaker) -> None:
    def f() -> str:
        return "echo"

    def g() -> str:
        return "exit 3"

    assert digest(identity, f) != digest(identity, BashCommand(f, "f"))
    assert digest(identity, BashCommand(f, "f")) == digest(
        identity, BashCommand(f, "h")
    )
    assert digest(identity, BashCommand(f, "f")) != digest(
        identity, BashCommand(g, "f")
    )


def test_an_app_is_its_function(identity: PythonKeyMaker) -> None:
    def f(x: int) -> int:
        return x

    assert digest(identity, python_app(f)) == digest(identity, f)


def test_methods_and_partials_count_with_what_they_are_bound_to(
    identity: PythonKeyMaker,
) -> None:
    class Model:
        def __init__(self, rate: float) -> None:
            self.rate = rate

        def run(self, x: float) -> float:
            return x * self.rate

        def __call__(self, x: float) -> float:
            return x

    def f(x: int, y: int) -> int:
        return x + y

    found = [
        digest(identity, one)
        for one in (
            Model(1).run,
            Model(2).run,
            Model(1),
            Model(2),
            functools.partial(f, 1),
            functools.partial(f, 2),
            functools.partial(f, y=1),
            f,
        )
    ]

    assert len(set(found)) == len(found)
    assert digest(identity, Model(1).run) == found[0]
    assert digest(identity, functools.partial(f, 1)) == found[4]


def test_a_method_bound_to_a_lock_is_refused(identity: PythonKeyMaker) -> None:
    with pytest.raises(MemoKeyError, match=r"__enter__: .*bound to.*lock"):
        identity.function(threading.Lock().__enter__)


def test_functions_of_c_count_by_name(identity: PythonKeyMaker) -> None:
    found = [digest(identity, one) for one in (math.sin, math.cos, len, str.upper)]

    assert len(set(found)) == len(found)
    assert digest(identity, math.sin) == found[0]


def test_a_class_counts_with_its_methods(identity: PythonKeyMaker) -> None:
    class Adds:
        def __init__(self, x: int) -> None:
            self.x = x + 1

    first = digest(identity, Adds)

    class Adds:  # type: ignore[no-redef]  # the same name is the point
        def __init__(self, x: int) -> None:
            self.x = x + 2

    assert digest(identity, Adds) != first


# -- By whom it is made


def package(root: Path, version: str, code: str) -> None:
    """Install a package, as pip does."""
    site = root / "site-packages"
    (site / "thirdparty").mkdir(parents=True, exist_ok=True)
    (site / "thirdparty" / "__init__.py").write_text(code)
    for old in site.glob("*.dist-info"):
        (old / "METADATA").unlink()
        old.rmdir()
    info = site / f"thirdparty-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Name: thirdparty\nVersion: {version}\n")


def test_a_package_counts_by_its_version(tmp_path: Path, python: Runner) -> None:
    (tmp_path / "app.py").write_text(
        "import sys\nsys.path.insert(0, 'site-packages')\nimport thirdparty\n"
        "def f(x):\n    return thirdparty.work(x)\n" + PRINT
    )
    found = []
    for version, result in (("1.0", 1), ("1.0", 2), ("1.1", 2)):
        package(tmp_path, version, f"def work(x):\n    return {result}\n")
        found.append(python("-B", "app.py"))

    assert found[0] == found[1]
    assert found[1] != found[2]


def test_a_package_imported_late_counts_by_its_version(
    tmp_path: Path, python: Runner
) -> None:
    (tmp_path / "app.py").write_text(
        "import sys\nsys.path.insert(0, 'site-packages')\n"
        "def f(x):\n    import thirdparty as t\n    return t.work(x)\n"
        + PRINT
        + "assert 'thirdparty' not in sys.modules\n"
    )
    found = []
    for version, result in (("1.0", 1), ("1.0", 2), ("1.1", 2)):
        package(tmp_path, version, f"def work(x):\n    return {result}\n")
        found.append(python("-B", "app.py"))

    assert found[0] == found[1]
    assert found[1] != found[2]


def test_a_decorator_of_a_package_lets_the_function_count(
    tmp_path: Path, python: Runner
) -> None:
    package(
        tmp_path,
        "1.0",
        "def retry(n):\n    def decorate(f):\n        def wrapper(x):\n"
        "            return f(x), n\n        return wrapper\n    return decorate\n",
    )

    def found(n: int, body: str) -> str:
        (tmp_path / "app.py").write_text(
            "import sys\nsys.path.insert(0, 'site-packages')\nimport thirdparty\n"
            f"@thirdparty.retry({n})\ndef f(x):\n    return {body}\n" + PRINT
        )
        return python("-B", "app.py")

    assert len({found(1, "x"), found(2, "x"), found(1, "-x")}) == 3
    assert found(1, "x") == found(1, "(x)")


def test_a_loose_file_among_the_packages_counts_as_the_projects(
    tmp_path: Path, python: Runner
) -> None:
    site = tmp_path / "site-packages"
    site.mkdir()
    (tmp_path / "app.py").write_text(
        "import sys\nsys.path.insert(0, 'site-packages')\nimport loose\n"
        "def f(x):\n    return loose.work(x)\n" + PRINT
    )
    found = []
    for result in (1, 2):
        (site / "loose.py").write_text(f"def work(x):\n    return {result}\n")
        found.append(python("-B", "app.py"))

    assert found[0] != found[1]


# -- By hand


def test_a_version_stands_for_the_code(
    identity: PythonKeyMaker, project: Importer
) -> None:
    text = "def f(x, y={}):\n    return x + {}\n"
    found = []
    for default, number, version in (
        (1, 1, "1"),
        (1, 2, "1"),
        (1, 2, "2"),
        (2, 2, "2"),
    ):
        sys.modules.pop("app", None)
        app = project(app=text.format(default, number))
        found.append(digest(identity, app.f, version=version))

    assert found[0] == found[1]
    assert len(set(found[1:])) == 3


def test_versions_do_not_confuse_functions(identity: PythonKeyMaker) -> None:
    def f() -> int:
        return 1

    def g() -> int:
        return 1

    one, other = (lambda x: x + 1), (lambda x: x * 100)

    assert digest(identity, f, version="1") != digest(identity, g, version="1")
    assert digest(identity, one, version="1") != digest(identity, other, version="1")
    assert digest(identity, f, version="1") != digest(identity, f)


def test_what_is_named_by_hand_counts(
    identity: PythonKeyMaker, project: Importer
) -> None:
    found = []
    for number in (1, 1, 2):
        sys.modules.pop("app", None)
        app = project(
            app="def f(name):\n    return globals()[name]()\n"
            f"def helper():\n    return {number}\n"
        )
        found.append(digest(identity, app.f, depends_on=[app.helper]))
        unseen = digest(identity, app.f)

    assert found[0] == found[1]
    assert found[1] != found[2]
    assert unseen not in found


# -- What cannot be seen


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("def f(x):\n    return eval(x)\n", "app.f (app.py:1) calls eval"),
        ("def f(x):\n    exec(x)\n", "app.f (app.py:1) calls exec"),
        (
            "def f(x, n):\n    return getattr(x, n)\n",
            "app.f (app.py:1) calls getattr with a computed name",
        ),
        (
            "import importlib\ndef f(n):\n    return importlib.import_module(n)\n",
            "app.f (app.py:2) calls import_module",
        ),
        (
            "def g(n):\n    return globals()[n]\ndef f(n):\n    return g(n)\n",
            "app.g (app.py:1) calls globals",
        ),
        (
            "import threading as t\nLOCK = t.Lock()\ndef f():\n    return LOCK\n",
            "app.LOCK (app.py:2) holds a _thread.lock, which counts by its type only",
        ),
        (
            "from importlib import import_module\ndef f(n):\n    import_module(n)\n",
            "app.f (app.py:2) calls import_module",
        ),
        (
            "def f(n):\n    import nowhere_to_be_found\n",
            "app.f (app.py:1) imports nowhere_to_be_found, which is not found here",
        ),
    ],
)
def test_what_cannot_be_seen_is_told(
    code: str,
    told: str,
    identity: PythonKeyMaker,
    project: Importer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = project(app=code)
    monkeypatch.chdir(Path(str(app.__file__)).parent)

    assert identity.function(app.f).blind == (told,)


@pytest.mark.parametrize(
    "code",
    [
        "def f(x):\n    return getattr(x, 'name')\n",
        "def f(x):\n    return sorted(x, key=len)\n",
        "import logging\nLOG = logging.getLogger('a')\ndef f(x):\n    LOG.info(x)\n",
        "import numbers, os\ndef f(x):\n    return os.path.join(x, str(numbers))\n",
        "MISSING = object()\ndef f(x=MISSING):\n    return x is MISSING\n",
    ],
)
def test_what_can_be_seen_is_not_told(
    code: str, identity: PythonKeyMaker, project: Importer
) -> None:
    assert identity.function(project(app=code).f).blind == ()


def test_a_lock_beside_a_setting_does_not_hide_it(
    identity: PythonKeyMaker, project: Importer
) -> None:
    found = []
    for number in (1, 2):
        sys.modules.pop("app", None)
        app = project(
            app="import threading\n"
            f"STATE = {{'lock': threading.Lock(), 'rate': {number}}}\n"
            "def f():\n    return STATE\n"
        )
        found.append(digest(identity, app.f))

    assert found[0] != found[1]


# -- Plugins


def test_a_plugin_may_say_what_a_function_is(project: Importer) -> None:
    def hook(function: Callable[..., Any]) -> bytes | None:
        return b"mine" if function.__name__ == "f" else None

    identity = PythonKeyMaker(
        value_hooks=lambda kind: (), function_hooks=lambda: (hook,)
    )
    app = project(app="def f():\n    return 1\ndef g():\n    return 1\n")
    before = digest(identity, app.f)
    app.f.__code__ = (lambda: 2).__code__

    assert digest(identity, app.f) == before
    assert digest(identity, app.g) != before


def test_a_plugin_that_raises_fails_the_function(identity: PythonKeyMaker) -> None:
    def hook(function: Callable[..., Any]) -> bytes | None:
        raise ValueError("no luck")

    identity = PythonKeyMaker(
        value_hooks=lambda kind: (), function_hooks=lambda: (hook,)
    )

    with pytest.raises(MemoKeyError, match="no luck"):
        identity.function(math.sin)


def test_a_plugin_that_fails_for_a_value_fails_the_function(
    project: Importer,
) -> None:
    def hasher(value: object) -> bytes | None:
        raise ValueError("no luck")

    identity = PythonKeyMaker(
        value_hooks=lambda kind: (with_parts(hasher),), function_hooks=lambda: ()
    )
    app = project(app="class A:\n    pass\nVALUE = A()\ndef f():\n    return VALUE\n")

    with pytest.raises(MemoKeyError, match=r"f: .*no luck.*version="):
        identity.function(app.f)
    assert identity.function(app.f, version="1").digest


# -- Modules


def test_a_module_that_is_handed_on_counts_as_a_whole(
    identity: PythonKeyMaker, project: Importer
) -> None:
    found = []
    for number in (1, 2):
        for name in ("app", "helpers"):
            sys.modules.pop(name, None)
        app = project(
            helpers=f"def work():\n    return {number}\n",
            app="import helpers\ndef f(name):\n    return getattr(helpers, name)()\n",
        )
        found.append(digest(identity, app.f))

    assert found[0] != found[1]


def test_a_module_made_by_hand_counts_by_what_it_has(identity: PythonKeyMaker) -> None:
    one, other = types.ModuleType("made"), types.ModuleType("made")
    one.x, other.x = 1, 2  # type: ignore[attr-defined]  # that is what it has

    assert identity.value("a", "x", one) != identity.value("a", "x", other)


class Garbage:
    """Found by the garbage collector only, which then runs Python code."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        for _ in range(50):
            pass


def test_threads_that_parse_at_once_do_not_disturb_each_other() -> None:
    text = Path(ast.__file__).read_text()
    errors: list[BaseException] = []

    def parse() -> None:
        try:
            for _ in range(20):
                for _ in range(20):
                    Garbage()
                tree_of(text)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=parse) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60.0)

    assert not any(thread.is_alive() for thread in threads)
    assert errors == []
