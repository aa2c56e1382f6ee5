"""Modules that the fork server imports: once, and only those that bear a fork."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jackfield_executors.processes import family
from jackfield_executors.processes.needs import needed
from jackfield_testing.footprint import WAIT_S

if TYPE_CHECKING:
    from tests.executors.processes.conftest import Open

Write = Callable[..., str]

STARTS_A_THREAD = """
import threading, time
threading.Thread(target=time.sleep, args=(1e6,), daemon=True).start()
"""
STARTS_A_PROCESS = """
import subprocess, sys
one = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1e6)"])
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write modules that everybody can import, and forget them after the test."""
    monkeypatch.syspath_prepend(str(tmp_path))
    written = []

    def write_one(name: str, text: str) -> str:
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        importlib.invalidate_caches()
        written.append(name)
        return name

    yield write_one
    for name in written:
        sys.modules.pop(name, None)


def pid() -> int:
    return os.getpid()


def parent() -> int:
    return os.getppid()


def pid_after_import(name: str) -> int:
    importlib.import_module(name)
    return os.getpid()


def has(name: str) -> bool:
    return name in sys.modules


def parent_of_parent() -> int:
    process = family.read(os.getppid())
    assert process is not None
    return process.parent


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def counting(write: Write, tmp_path: Path, name: str = "counted") -> Path:
    """Write a module that notes who imports it; return where."""
    log = tmp_path / "imports"
    log.touch()
    write(
        name,
        f"""
        import os
        with open({str(log)!r}, "a") as file:
            file.write(f"{{os.getpid()}}\\n")
        """,
    )
    return log


def test_a_module_is_imported_once_for_all_workers(
    open_executor: Open, write: Write, tmp_path: Path
) -> None:
    log = counting(write, tmp_path)
    pool = open_executor(preload=["counted"], max_tasks_per_worker=1)

    pids = {pool.call(pid_after_import, "counted") for _ in range(4)}
    pool.error(pool.submit(die))

    assert pool.call(has, "counted")
    assert len(pids) == 4
    assert len(log.read_text().split()) == 1
    assert not pids & set(map(int, log.read_text().split()))


@pytest.mark.parametrize("module", ["jackfield_memo.sending.sent", "wave"])
def test_a_child_tries_imports_out_unless_the_modules_are_jackfields(
    open_executor: Open, module: str
) -> None:
    pool = open_executor(preload=[module])

    assert pool.call(has, module)
    assert (pool.call(parent_of_parent) == os.getpid()) is (module != "wave")


EVERY_MODULE = """
import importlib.util, pkgutil
from jackfield_executors.processes.preload import import_all
from jackfield_executors.processes.requests import RAISES
from jackfield_serialize.origins import OURS

for package in sorted(OURS):
    places = importlib.util.find_spec(package).submodule_search_locations
    below = [one.name for one in pkgutil.walk_packages(places, f"{package}.")]
    assert below or len(OURS) < 3, package
    for name in [package, *below]:
        if not name.endswith(".__main__"):
            trouble = import_all([name], lambda said: None)
            if trouble and not trouble.startswith(f"{RAISES} ModuleNotFoundError"):
                print(name, trouble)
print("all")
"""


def test_all_modules_of_jackfield_bear_a_fork() -> None:
    done = subprocess.run(
        [sys.executable, "-c", EVERY_MODULE],
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )

    assert done.stdout == "all\n", done.stderr


def test_with_an_empty_list_nothing_is_imported(open_executor: Open) -> None:
    pool = open_executor(preload=[])

    assert not pool.call(has, "wave")


def uses_wave() -> bool:
    before = "wave" in sys.modules
    import wave

    return before and bool(wave)


def test_what_the_first_functions_import_is_there(open_executor: Open) -> None:
    assert open_executor().call(uses_wave)


def test_an_initializer_comes_before_what_is_imported_unasked(
    open_executor: Open,
) -> None:
    assert not open_executor(initializer=pid).call(uses_wave)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (STARTS_A_THREAD, "threads"),
        ("raise ValueError('no')", "ValueError: no"),
        ("import os; os._exit(3)", "ends the process"),
        ("import os; os.kill(os.getpid(), 11)", "ends the process"),
        ("import socket; pair = socket.socketpair()", "cannot share"),
        ("import signal; signal.signal(signal.SIGTERM, print)", "signals"),
        (STARTS_A_PROCESS, "processes"),
        ("raise SystemExit(2)", "SystemExit: 2"),
    ],
)
def test_what_does_not_bear_a_fork_is_left_to_each_worker(
    open_executor: Open,
    write: Write,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    text: str,
    why: str,
) -> None:
    log = counting(write, tmp_path)
    write("unfit", text)
    write("behind", "")
    pool = open_executor(preload=["counted", "unfit", "behind"])

    with caplog.at_level(logging.WARNING, "jackfield.executors.processes"):
        assert pool.call(has, "counted")

    assert not pool.call(has, "unfit")
    assert not pool.call(has, "behind")
    (record,) = [one for one in caplog.records if "'unfit'" in one.getMessage()]
    assert why in record.getMessage()
    # Once in the process that met the other, and once in its successor.
    assert len(log.read_text().split()) == 2


def test_an_import_that_fails_unasked_fails_its_task_alone(
    open_executor: Open, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    write("failing", "raise ValueError('no such thing')")
    pool = open_executor()

    error = pool.error(pool.submit(pid_after_import, "failing"))

    assert isinstance(error, ValueError)
    assert str(error) == "no such thing"
    assert pool.call(pid)
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


def test_what_an_import_prints_and_logs_arrives(
    open_executor: Open,
    write: Write,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    wait_until: Callable[[Callable[[], object]], None],
) -> None:
    write(
        "talking",
        """
        import logging, os, sys
        print("hello from the import")
        print("and an error", file=sys.stderr)
        os.system("echo and from a program")
        logging.getLogger("talking").warning("a record")
        late = sys.stdout
        def speak():
            print("later", file=late, flush=True)
        """,
    )
    module = importlib.import_module("talking")
    capsys.readouterr()
    pool = open_executor(preload=["talking"])
    out = err = ""

    pool.call(module.speak)

    def all_there() -> bool:
        nonlocal out, err
        more = capsys.readouterr()
        out += more.out
        err += more.err
        messages = [record.getMessage() for record in caplog.records]
        return "later" in out and "a record" in messages and "error" in err

    wait_until(all_there)
    assert out.count("hello from the import") == 1
    assert "and from a program" in out


def test_an_import_that_hangs_does_not_hang_the_end(
    open_executor: Open,
    write: Write,
    tmp_path: Path,
    no_leaks: None,
    wait_until: Callable[[Callable[[], object]], None],
    is_alive: Callable[[int], bool],
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    write(
        "hanging",
        f"""
        import os, time
        with open({str(fifo)!r}, "w") as file:
            file.write(str(os.getpid()))
        time.sleep(1e6)
        """,
    )
    pool = open_executor(preload=["hanging"])
    pool.submit(pid)
    importer = int(fifo.read_text())

    pool.executor.shutdown(grace=0)

    wait_until(lambda: not is_alive(importer))


def test_a_walltime_counts_from_the_task_and_not_from_the_import(
    open_executor: Open, write: Write
) -> None:
    write("slow", "import time; time.sleep(3.5)")
    pool = open_executor(preload=["slow"])

    assert pool.value(pool.submit(pid, walltime=3.0))  # more than a busy machine takes


@pytest.mark.parametrize("above", [0, 1])
def test_a_killed_fork_server_is_replaced(
    open_executor: Open,
    write: Write,
    tmp_path: Path,
    wait_until: Callable[[Callable[[], object]], None],
    is_alive: Callable[[int], bool],
    above: int,
) -> None:
    log = counting(write, tmp_path)
    pool = open_executor(preload=["counted"])
    server = pool.call(parent)
    if above:  # the process that waits for the end of the fork server
        stat = Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()
        server = int(stat[1])
    assert server != os.getpid()

    old = pool.call(pid)

    os.kill(server, signal.SIGKILL)
    wait_until(lambda: not is_alive(old))
    pool.wait(pool.submit(pid))

    assert pool.call(has, "counted")
    assert len(log.read_text().split()) == 2


def draw() -> tuple[int, float]:
    import random

    import numpy as np

    return os.getpid(), float(np.random.rand()) + random.random() * 1e-9


def seeded_draw() -> float:
    import seeded  # type: ignore[import-not-found]  # the test writes it

    return float(seeded.np.random.rand())


def test_workers_draw_other_random_numbers(open_executor: Open) -> None:
    pytest.importorskip("numpy")
    pool = open_executor(max_tasks_per_worker=1)

    drawn = [pool.call(draw) for _ in range(4)]

    assert len({one for one, _ in drawn}) == 4
    assert len({one for _, one in drawn}) == 4


def test_what_a_module_seeds_stays_seeded(open_executor: Open, write: Write) -> None:
    pytest.importorskip("numpy")
    write("seeded", "import numpy as np; np.random.seed(7)")
    pool = open_executor(preload=["seeded"], max_tasks_per_worker=1)

    assert len({pool.call(seeded_draw) for _ in range(3)}) == 1


def test_a_preloaded_module_that_is_edited_is_followed(
    write: Write, tmp_path: Path
) -> None:
    import jackfield as jf

    write("edited", "RATE = 1\ndef rate():\n    return RATE\n")
    module: Any = importlib.import_module("edited")
    options = {"plugin": "processes", "workers": 1, "preload": ["edited"]}
    executors = {"cpu": {**options, "max_tasks_per_worker": 1}}

    with jf.load(run_dir=tmp_path / "runs", executors=executors) as kernel:
        assert kernel.submit(module.rate).result() == 1
        module.RATE = 2
        assert kernel.submit(module.rate).result() == 2
        write("edited", "RATE = 3\ndef rate():\n    return RATE * 10\n")
        module = importlib.reload(module)
        assert kernel.submit(module.rate).result() == 30


def test_what_functions_need_is_found_without_running_it(write: Write) -> None:
    write(
        "inner",
        """
        from typing import TYPE_CHECKING
        import wave
        from xml import dom
        import xml.dom.minidom
        if TYPE_CHECKING:
            import turtledemo
        class Tool:
            def work(self):
                import chunker_that_nobody_has
                import plistlib
        """,
    )
    write(
        "outer",
        """
        import inner, colorsys
        from inner import Tool
        def uses(x):
            import json.tool
            return Tool().work()
        """,
    )
    outer: Any = importlib.import_module("outer")

    found = needed([outer.uses])

    assert {"colorsys", "wave", "xml.dom", "xml.dom.minidom", "json.tool"} <= {*found}
    assert "plistlib" in found
    assert not {"inner", "outer", "turtledemo", "chunker_that_nobody_has"} & {*found}


def test_what_cannot_be_looked_at_is_left_to_workers() -> None:
    class Odd:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

        def __call__(self) -> None: ...

    assert needed([Odd(), len, None]) is not None


def test_a_bad_option_is_told(open_executor: Open) -> None:
    from jackfield.errors import ConfigurationError

    for bad in ("numpy", [1], ["no such"], [""], {"a": 1}):
        with pytest.raises(ConfigurationError, match="'preload' must be a list of mod"):
            open_executor(preload=bad)
