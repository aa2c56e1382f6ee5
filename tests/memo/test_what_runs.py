"""What was hashed is what runs: workers have the code that the script has.

Over threads, processes, and a pool of another library; cached calls and others. Where
the script has changed something, or a file was edited, a call in a worker gives what
the call gives in the script.
"""

from __future__ import annotations

import concurrent.futures
import importlib
import logging
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from importlib.util import cache_from_source
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import jackfield as jf
from jackfield_memo.sending.reach import Reach
from jackfield_memo.sending.sender import Sender

LIMIT_S = 60.0

LIBRARY = """
import array
import enum
import functools
import io
import threading
RATE = 2
BIG = list(range(20_000))
TABLE = {"a": [1, 2]}
def helper(x):
    return x * RATE
def calc(x):
    return helper(x) + 1
def table(x):
    return x + sum(TABLE["a"])
def big(x):
    return x + BIG[0]
@functools.lru_cache
def kept(x):
    return x + 1
def through(x):
    return kept(x)
@functools.lru_cache
def kept_rate():
    return RATE
class Meter:
    @functools.cached_property
    def rate(self):
        return RATE
METER = Meter()
VIEW = memoryview(bytearray(2))
class Settings:
    def __init__(self):
        self.parts = list(range(200))
    def __getstate__(self):
        return dict(vars(self))
SETTINGS = Settings()
class Box:
    size = 3
    def area(self, x):
        return x * self.size
def boxed(x):
    return Box().area(x)
def box(size):
    box = Box()
    box.size = size
    return box
def taken(box, x):
    return isinstance(box, Box), box.area(x)
def late(x):
    from {name}_late import work
    return work(x)
class Holder:
    def __init__(self):
        self.lock, self.number = threading.Lock(), 1
HELD = Holder()
def holds(x):
    return x + HELD.number
def beside(x):
    return (x + HELD.number) * RATE
class Kind(enum.Enum):
    A = 1
def kind(x):
    return Kind.A.value + x
ERROR = ValueError(1)
def failed(x):
    return ERROR.args[0] + x
ARRAY = array.array("d", [1.0]) * 200_000
def summed(x):
    return ARRAY[100_000] + x
BUFFER = io.BytesIO(b"ab")
def read(x):
    return len(BUFFER.getvalue()) + x
def shadowed(x):
    return sum([x, 1])
"""
LATE = "RATE = 5\ndef work(x):\n    return x * RATE\n"
LATE_APP = "def work_late(x):\n    from .late import work\n    return work(x)\n"
KINDS = ("threads", "processes", "adapter")


@pytest.fixture(params=KINDS)
def kernel(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[jf.DataFlowKernel]:
    """Give a kernel with one worker, a thread or a process."""
    table: dict[str, Any] = {"plugin": request.param, "workers": 1}
    if request.param == "adapter":
        context = multiprocessing.get_context("forkserver")
        pool = concurrent.futures.ProcessPoolExecutor(1, context)
        table = {"plugin": "adapter", "executor": pool}
    config = {"run_dir": str(tmp_path / "runs"), "executors": {"x": table}}
    with jf.load(config) as loaded:
        yield loaded


@pytest.fixture
def library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[ModuleType]:
    """Give an imported module with a name that no other test has."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    name = f"library_{abs(hash(request.node.nodeid))}"
    (tmp_path / f"{name}.py").write_text(LIBRARY.replace("{name}", name))
    (tmp_path / f"{name}_late.py").write_text(LATE)
    importlib.invalidate_caches()
    yield importlib.import_module(name)
    for one in (name, f"{name}_late"):
        sys.modules.pop(one, None)


def edit(module: ModuleType, old: str, new: str, *, late: bool = False) -> None:
    """Change the text of a module on disk.

    What the script loads anew is edited as if a second had passed since: otherwise
    Python takes a compiled file of the old text for that of the new one.
    """
    path = Path(str(module.__file__))
    if late:
        path = path.with_name(f"{module.__name__}_late.py")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    if not late:
        Path(cache_from_source(str(path))).unlink(missing_ok=True)


def results(function: Callable[..., Any], *args: Any) -> set[Any]:
    """Return what calls give: cached, not cached, and in the script."""
    cached = jf.python_app(cache=True)(function)(*args).result(LIMIT_S)
    plain = jf.python_app(function)(*args).result(LIMIT_S)
    return {cached, plain, function(*args)}


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize(
    ("change", "name", "was", "ought"),
    [
        ("m.RATE = 100", "calc", 21, 1001),
        ("m.helper = lambda x: x - 1", "calc", 21, 10),
        ("m.helper.__code__ = (lambda x: x + 5).__code__", "calc", 21, 16),
        ("m.calc.__code__ = (lambda x: x + 5).__code__", "calc", 21, 15),
        ("m.TABLE['a'].append(7)", "table", 13, 20),
        ("m.TABLE = {'a': [9]}", "table", 13, 19),
        ("m.BIG = [5] * 20_000", "big", 10, 15),
        ("m.Box.size = 4", "boxed", 30, 40),
        ("m.Box.area = lambda self, x: x + 1", "boxed", 30, 11),
        ("m.kept = lambda x: x + 9", "through", 11, 19),
        ("m.sum = lambda xs: -1", "shadowed", 11, -1),
        ("m.Kind.A._value_ = 5", "kind", 11, 15),
        ("m.ERROR.args = (7,)", "failed", 11, 17),
        ("m.ARRAY[100_000] = 9", "summed", 11, 19),
        ("m.BUFFER.write(b'abcd')", "read", 12, 14),
    ],
)
def test_what_the_script_sets_in_a_module_is_what_runs(
    change: str, name: str, was: int, ought: int, library: ModuleType
) -> None:
    function = getattr(library, name)
    assert results(function, 10) == {was}

    exec(change, {"m": library})

    cached = jf.python_app(cache=True)(function)(10).result(LIMIT_S)
    assert cached == ought
    if name != "big":  # large constants count for cached calls only
        assert results(function, 10) == {ought}


@pytest.mark.usefixtures("kernel")
def test_a_name_that_comes_and_goes_is_what_runs(library: ModuleType) -> None:
    m: Any = library

    def has(x: int) -> Any:
        return hasattr(m, "extra"), "extra" in dir(m), x

    def gets(x: int) -> Any:
        try:
            return m.extra * x
        except AttributeError:
            return None

    assert results(gets, 1) == {None}
    assert results(has, 1) == {(False, False, 1)}
    m.extra = 5
    assert results(gets, 1) == {5}
    assert results(has, 1) == {(True, True, 1)}
    del m.extra
    assert results(gets, 2) == {None}
    assert results(has, 2) == {(False, False, 2)}


@pytest.mark.usefixtures("kernel")
def test_what_workers_have_kept_is_computed_anew(library: ModuleType) -> None:
    m: Any = library

    def kept(x: int) -> Any:
        return m.kept_rate() * x, m.METER.rate * x

    assert results(kept, 1) == {(2, 2)}
    m.RATE = 7
    m.kept_rate.cache_clear()
    del m.METER.rate
    assert results(kept, 1) == {(7, 7)}


@pytest.mark.usefixtures("kernel")
def test_a_value_that_cannot_be_digested_hides_no_other(library: ModuleType) -> None:
    m: Any = library
    m.VIEW[0] = 1

    def one(name: str) -> Any:
        return getattr(m, name)

    assert results(one, "RATE") == {2}
    m.RATE = 8
    assert results(one, "RATE") == {8}

    def first(x: int) -> Any:
        return m.RATE * x + int(m.SETTINGS.parts[0])

    assert results(first, 1) == {8}
    m.RATE = 9
    assert results(first, 1) == {9}
    m.SETTINGS.parts[0] = 100
    assert results(first, 1) == {109}


def test_what_cannot_be_looked_at_is_told_and_not_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Wicked(list[int]):
        def __iter__(self) -> Iterator[int]:
            raise RuntimeError("no")

    wicked = Wicked([1])

    def function() -> int:
        return len(wicked)

    sender = Sender()
    with caplog.at_level(logging.WARNING, logger="jackfield.memo"):
        sent: Any = [sender.sent("app", function, b"code") for _ in range(2)]

    assert [one.jackfield_keeps for one in sent] == [False, False]
    assert [one() for one in sent] == [1, 1]
    assert caplog.text.count("its results are not kept") == 1


@pytest.mark.usefixtures("kernel")
def test_a_module_that_is_loaded_anew_is_what_runs(library: ModuleType) -> None:
    assert results(library.calc, 10) == {21}
    for rate in (3, 4, 5):
        edit(library, f"RATE = {rate - 1}", f"RATE = {rate}")
        importlib.reload(library)

        assert results(library.calc, 10) == {10 * rate + 1}


@pytest.mark.usefixtures("kernel")
def test_a_module_edited_meanwhile_goes_on_as_it_was_imported(
    library: ModuleType,
) -> None:
    edit(library, "RATE = 2", "RATE = 7")
    edit(library, "return helper(x) + 1", "return helper(x) + 1000")

    assert results(library.calc, 10) == {21}


def area_of(box: Any, x: int) -> Any:
    """Name nothing of the library: what has code comes with the argument."""
    return box.area(x)


def areas_of(holder: Any, x: int) -> Any:
    return holder["boxes"][0].area(x)


def called(function: Callable[..., Any], x: int) -> Any:
    return function(x)


@pytest.mark.usefixtures("kernel")
@pytest.mark.parametrize(
    ("change", "size"),
    [
        ("m.Box.size = 4", 4),
        ("def area(self, x): return x * 5\nm.Box.area = area", 5),
        ("m.Box.area.__code__ = (lambda self, x: x * 6).__code__", 6),
        ("edit(m, 'size = 3', 'size = 7'); importlib.reload(m)", 7),
    ],
)
def test_what_only_an_argument_brings_runs_as_the_script_has_it(
    library: ModuleType, change: str, size: int
) -> None:
    for expected in (3, size):
        box = library.Box()
        assert results(area_of, box, 10) == {10 * expected}
        assert results(areas_of, {"boxes": [box]}, 10) == {10 * expected}
        assert results(called, box.area, 10) == {10 * expected}
        assert results(called, library.boxed, 10) == {10 * expected}
        if expected == 3:
            exec(change, {"m": library, "edit": edit, "importlib": importlib})


@pytest.mark.usefixtures("kernel")
def test_calls_of_one_function_with_arguments_of_several_classes(
    library: ModuleType,
) -> None:
    library.Box.size = 4
    library.Settings.area = lambda self, x: x + 1
    app = jf.python_app(area_of)

    futures = [
        app(one, 10) for _ in range(10) for one in (library.Box(), library.Settings())
    ]

    assert [one.result(LIMIT_S) for one in futures] == [40, 11] * 10


@pytest.mark.usefixtures("kernel")
def test_arguments_are_of_the_class_that_the_function_knows(
    library: ModuleType,
) -> None:
    for size in (3, 4, 5):
        if size > 3:
            edit(library, f"size = {size - 1}", f"size = {size}")
            importlib.reload(library)

        assert results(library.taken, library.Box(), 10) == {(True, 10 * size)}


@pytest.mark.usefixtures("kernel")
def test_an_edited_module_that_the_function_imports_is_what_runs(
    library: ModuleType,
) -> None:
    late = f"{library.__name__}_late"
    for rate in (5, 6, 77):
        if rate > 5:
            edit(
                library, f"RATE = {5 if rate == 6 else 6}", f"RATE = {rate}", late=True
            )
        sys.modules.pop(late, None)
        cached = jf.python_app(cache=True)(library.late)(10).result(LIMIT_S)
        sys.modules.pop(late, None)
        plain = jf.python_app(library.late)(10).result(LIMIT_S)

        assert (cached, plain) == (10 * rate, 10 * rate)


@pytest.mark.usefixtures("kernel")
def test_three_changes_of_a_global_give_three_values() -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    exec("def f(x):\n    return x * GLOBAL", names)
    found = []
    for value in (1, 2, 3):
        names["GLOBAL"] = value
        found.append(jf.python_app(names["f"])(10).result(LIMIT_S))

    assert found == [10, 20, 30]


@pytest.mark.usefixtures("kernel")
def test_a_class_of_the_script_is_what_it_is_at_each_call() -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(
        "class Base:\n    def size(self):\n        return 1\n"
        "class Box(Base):\n    def size(self):\n        return 2\n"
        "def f():\n    return Box().size()\n",
        names,
    )
    app = jf.python_app(names["f"])
    found = [app().result(LIMIT_S)]
    names["Box"].size = lambda self: 3
    found.append(app().result(LIMIT_S))
    del names["Box"].size
    found.append(app().result(LIMIT_S))

    assert found == [2, 3, 1]


@pytest.mark.usefixtures("kernel")
def test_another_directory_does_not_lead_to_another_module(
    library: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoy = tmp_path / "decoy"
    decoy.mkdir()
    (decoy / f"{library.__name__}.py").write_text("def calc(x):\n    return -1\n")
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.chdir(decoy)

    assert results(library.calc, 10) == {21}


@pytest.mark.parametrize("cached", [True, False])
def test_a_worker_that_begins_in_another_directory_is_no_other_code(
    cached: bool,
    library: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What it finds there under the module's name is not what it has imported."""
    decoy = tmp_path / "decoy"
    decoy.mkdir()
    (decoy / f"{library.__name__}.py").write_text("def calc(x):\n    return -1\n")
    config = {
        "run_dir": str(tmp_path / "runs"),
        "executors": {"x": {"plugin": "processes", "max_tasks_per_worker": 1}},
    }
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.chdir(tmp_path)
    app = jf.python_app(cache=cached)(library.calc)
    with caplog.at_level(logging.WARNING, "jackfield.memo"), jf.load(config):
        assert app(1).result(LIMIT_S) == 3
        monkeypatch.chdir(decoy)
        edit(library, "RATE = 2", "RATE = 7")

        assert app(10).result(LIMIT_S) == 21
        box = jf.python_app(cache=cached)(library.box)(1).result(LIMIT_S)
        assert type(box) is library.Box

    assert [one for one in caplog.records if one.name == "jackfield.memo"] == []


@pytest.mark.parametrize("cached", [True, False])
def test_a_worker_imports_anew_what_the_script_has(
    cached: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It does not import what the present directory has under the same name."""
    name = f"package_{cached}"
    texts = {"__init__": "", "app": LATE_APP, "late": LATE}
    for directory in (tmp_path / name, tmp_path / "decoy" / name):
        directory.mkdir(parents=True)
        for one, text in texts.items():
            (directory / f"{one}.py").write_text(text)
        texts = dict.fromkeys(texts, "")
    config = {"run_dir": str(tmp_path), "executors": {"x": {"plugin": "processes"}}}
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(f"{name}.app")
    app = jf.python_app(cache=cached)(module.work_late)
    with caplog.at_level(logging.WARNING, "jackfield.memo"), jf.load(config):
        assert app(1).result(LIMIT_S) == 5
        monkeypatch.chdir(tmp_path / "decoy")
        (tmp_path / name / "late.py").write_text(LATE.replace("5", "6"))

        assert app(10).result(LIMIT_S) == 60

    for one in ("", ".app", ".late"):
        sys.modules.pop(f"{name}{one}", None)
    assert [one for one in caplog.records if one.name == "jackfield.memo"] == []


def test_a_wrong_result_does_not_wait_for_the_next_run(
    library: ModuleType, tmp_path: Path
) -> None:
    config = {
        "run_dir": str(tmp_path / "runs"),
        "executors": {"x": {"plugin": "processes", "max_tasks_per_worker": 1}},
        "checkpoint": {"store": f"sqlite:///{tmp_path / 'store.db'}"},
    }
    app = jf.python_app(cache=True)(library.calc)
    with jf.load(config):
        app(1).result(LIMIT_S)
        edit(library, "RATE = 2", "RATE = 333")
        assert app(10).result(LIMIT_S) == 21
    edit(library, "RATE = 333", "RATE = 2")
    importlib.reload(library)

    with jf.load({**config, "executors": {"x": {"plugin": "threads"}}}):
        again = jf.python_app(cache=True)(library.calc)(10)
        assert again.result(LIMIT_S) == 21
        assert again.memo.status == "hit"


def test_what_changes_before_the_function_runs_is_not_kept(
    library: ModuleType, tmp_path: Path
) -> None:
    """The key is made when the task is launched; then the script sets something."""
    config = {"run_dir": str(tmp_path), "executors": {"x": {"plugin": "threads"}}}
    begin, go = tmp_path / "begin", tmp_path / "go"
    os.mkfifo(begin)
    os.mkfifo(go)
    library.waits = waits  # type: ignore[attr-defined]  # a module's own
    exec(
        "def slow(x, begin, go):\n    waits(begin, go)\n    return x * RATE\n",
        vars(library),
    )
    app = jf.python_app(cache=True, ignore_for_cache=["begin", "go"])(library.slow)
    with jf.load(config):
        future = app(10, str(begin), str(go))
        begin.read_bytes()
        library.RATE = 5  # type: ignore[attr-defined]  # a module's own
        go.write_bytes(b".")
        assert future.result(LIMIT_S) == 50
        library.RATE = 2  # type: ignore[attr-defined]  # a module's own
        again = app(10, str(begin), str(go))
        begin.read_bytes()
        go.write_bytes(b".")
        assert again.result(LIMIT_S) == 20
        assert again.memo.status == "miss"


def waits(begin: str, go: str) -> None:
    """Tell that it runs, and wait until it may go on."""
    Path(begin).write_bytes(b".")
    Path(go).read_bytes()


@pytest.mark.parametrize("cached", [True, False])
def test_what_cannot_be_made_equal_is_told_and_not_kept(
    cached: bool,
    library: ModuleType,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = {"run_dir": str(tmp_path), "executors": {"x": {"plugin": "processes"}}}
    library.HELD.number = 5
    app = jf.python_app(cache=cached)(library.holds)
    with caplog.at_level(logging.WARNING, "jackfield.memo"), jf.load(config):
        assert app(1).result(LIMIT_S) == 2  # as the worker has it
        again = app(1)
        assert again.result(LIMIT_S) == 2
        assert again.memo.status != "hit"

    assert_told_of_held(caplog, "holds", library.__name__)


@pytest.mark.parametrize("cached", [True, False])
def test_what_cannot_be_made_equal_keeps_nothing_else_from_it(
    cached: bool,
    library: ModuleType,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = {"run_dir": str(tmp_path), "executors": {"x": {"plugin": "processes"}}}
    app = jf.python_app(cache=cached)(library.beside)
    with caplog.at_level(logging.WARNING, "jackfield.memo"), jf.load(config):
        assert app(1).result(LIMIT_S) == 4
        library.HELD.number = 5
        found = []
        for rate in (7, 8):
            library.RATE = rate  # type: ignore[attr-defined]  # a module's own
            found.append(app(1).result(LIMIT_S))
            again = app(1)
            assert again.result(LIMIT_S) == found[-1]
            assert again.memo.status != "hit"

    assert found == [14, 16]
    assert_told_of_held(caplog, "beside", library.__name__)


def test_what_a_worker_cannot_load_keeps_nothing_else_from_it(
    library: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    m: Any = library
    exec(
        "import os\n"
        "def only_in(pid, number):\n"
        "    assert os.getpid() == pid\n"
        "    return Picky(number)\n"
        "class Picky:\n"
        "    def __init__(self, number): self.number = number\n"
        "    def __reduce__(self): return only_in, (os.getpid(), self.number)\n",
        vars(m),
    )
    m.TABLE["a"] = m.Picky(5)

    def both(x: int) -> Any:
        return getattr(m.TABLE["a"], "number", None), m.RATE * x

    config = {"run_dir": str(tmp_path), "executors": {"x": {"plugin": "processes"}}}
    app = jf.python_app(both)
    with caplog.at_level(logging.WARNING, "jackfield.memo"), jf.load(config):
        m.RATE = 9
        assert app(1).result(LIMIT_S) == (None, 9)

    assert f"{library.__name__}.TABLE, and cannot be made equal" in caplog.text


def assert_told_of_held(
    caplog: pytest.LogCaptureFixture, app: str, module: str
) -> None:
    told = [one.getMessage() for one in caplog.records if one.name == "jackfield.memo"]
    assert len(told) == 1
    assert told[0].startswith(
        f"{app}: a worker has other code than the script: {module}.HELD, "
        f"and cannot be made equal"
    )


def makes() -> Callable[[], Any]:
    """Return a function that reaches less than this one."""
    if not LIMIT_S:
        results(len)
    return lambda: LIMIT_S


def looks() -> list[str]:
    return [name for name, module in sys.modules.items() if module is None]


def looks_at_home(name: str) -> Any:
    return vars(sys.modules[__name__])[name]


def test_a_function_leads_to_nothing_that_only_its_maker_reaches() -> None:
    reach = Reach()
    reach.walk(makes())

    assert reach.names == {(__name__, "LIMIT_S"): LIMIT_S}


def test_a_look_into_sys_modules_leads_to_no_module() -> None:
    reach = Reach()
    reach.walk(looks)

    assert reach.names == {(__name__, "looks"): looks, (__name__, "sys"): sys}


def test_a_look_at_its_own_module_leads_to_all_of_that() -> None:
    reach = Reach()
    reach.walk(looks_at_home)

    assert {(__name__, "LIMIT_S"), (__name__, "makes")} <= reach.names.keys()
