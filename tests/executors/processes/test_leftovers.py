"""No task on ``processes`` is hit by what an earlier one has left in its worker."""

from __future__ import annotations

import contextvars
import decimal
import faulthandler
import gc
import importlib
import locale
import logging
import os
import random
import resource
import signal
import socket
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

import jackfield as jf

LIMIT_S = 60.0
VARIABLE: contextvars.ContextVar[int] = contextvars.ContextVar("number", default=0)


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[jf.DataFlowKernel]:
    executors = {"one": {"plugin": "processes", "workers": 1}}
    with jf.load({"executors": executors, "run_dir": tmp_path / "runs"}) as loaded:
        yield loaded


# -- What a task does, and what the next one looks at ----------------------------------


def handle_signals() -> None:
    signal.signal(signal.SIGUSR2, print)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def handlers() -> list[str]:
    numbers = (signal.SIGUSR2, signal.SIGCHLD, signal.SIGINT)
    return [str(signal.getsignal(one)).partition(" at ")[0] for one in numbers]


def block_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})


def blocked() -> list[int]:
    return sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ())))


def set_timers() -> None:
    signal.alarm(600)
    signal.setitimer(signal.ITIMER_PROF, 600)


def timers() -> list[Any]:
    return [signal.getitimer(signal.ITIMER_REAL), signal.getitimer(signal.ITIMER_PROF)]


def limit_recursion() -> None:
    sys.setrecursionlimit(4321)
    sys.setswitchinterval(0.5)
    sys.set_int_max_str_digits(700)


def recursion() -> list[Any]:
    return [sys.getrecursionlimit(), sys.getswitchinterval(), int("7" * 800)]


def hurry_sockets() -> None:
    socket.setdefaulttimeout(0.125)


def raise_warnings() -> None:
    warnings.simplefilter("error")
    warnings.showwarning = lambda *_: None


def warned() -> str:
    with warnings.catch_warnings(record=True):
        warnings.warn("a harmless word", RuntimeWarning, stacklevel=1)
    return warnings.showwarning.__name__


def set_locale() -> None:
    known = {"C", "POSIX", "C.UTF-8"} - {locale.setlocale(locale.LC_ALL)}
    locale.setlocale(locale.LC_ALL, min(known))


def current_locale() -> str:
    return locale.setlocale(locale.LC_ALL)


def round_early() -> None:
    decimal.getcontext().prec = 2
    decimal.setcontext(decimal.Context(prec=3, rounding=decimal.ROUND_UP))


def third() -> str:
    return str(decimal.Decimal(1) / 3)


def set_variable() -> None:
    VARIABLE.set(7)


def silence_faults() -> None:
    faulthandler.disable()
    faulthandler.dump_traceback_later(600, exit=True)


def limit_descriptors() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (150, hard))


def descriptors() -> Any:
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def draw() -> float:
    return random.random()


def replace_hooks() -> None:
    sys.excepthook = sys.unraisablehook = threading.excepthook = print
    sys.displayhook = print


def hooks() -> list[str]:
    owned = [sys.excepthook, sys.unraisablehook, threading.excepthook, sys.displayhook]
    return [one.__name__ for one in owned]


def change_path() -> None:
    sys.path = ["/nowhere"]
    sys.argv = ["another"]


def path() -> list[Any]:
    return [sys.path, sys.argv]


def change_much() -> None:
    raise_warnings()
    change_path()
    seed_and_limit()


def much() -> list[Any]:
    return [warned(), path(), descriptors()]


def seed_and_limit() -> None:
    random.seed(1)
    limit_descriptors()


def replace_environ() -> None:
    os.environ = {"only": "this"}  # type: ignore[assignment]  # wrong on purpose


def home() -> str | None:
    return os.environ.get("HOME")


def set_zone() -> None:
    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()


def zone() -> Any:
    return time.tzname


def trace() -> None:
    sys.settrace(lambda *_: None)
    sys.setprofile(lambda *_: None)


def traced() -> Any:
    return sys.gettrace(), sys.getprofile()


def stop_collecting() -> None:
    gc.disable()
    gc.set_threshold(7)


def collecting() -> Any:
    return gc.isenabled(), gc.get_threshold()


def move_temporaries() -> None:
    tempfile.tempdir = "/nowhere"


def be_pinned() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def pinned() -> Any:
    return os.sched_getaffinity(0)


def replace_streams() -> None:
    sys.stdout = sys.stderr = StringIO()


def close_streams() -> None:
    sys.stdout.close()
    sys.stderr.close()


def close_descriptors() -> None:
    os.close(0)
    os.close(1)
    os.close(2)


def redirect_descriptors() -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def streams() -> list[Any]:
    print("printed", flush=True)
    print("printed", file=sys.stderr, flush=True)
    known = [os.fstat(number).st_mode for number in (0, 1, 2)]
    return [*known, type(sys.stdout), type(sys.stderr)]


CHANGES: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "handlers of signals": (handle_signals, handlers),
    "blocked signals": (block_signals, blocked),
    "timers": (set_timers, timers),
    "limits of the interpreter": (limit_recursion, recursion),
    "timeout of sockets": (hurry_sockets, socket.getdefaulttimeout),
    "warnings": (raise_warnings, warned),
    "locale": (set_locale, current_locale),
    "decimal context": (round_early, third),
    "context variables": (set_variable, VARIABLE.get),
    "faulthandler": (silence_faults, faulthandler.is_enabled),
    "limits of resources": (limit_descriptors, descriptors),
    "hooks": (replace_hooks, hooks),
    "sys.path and sys.argv": (change_path, path),
    "many things at once": (change_much, much),
    "os.environ": (replace_environ, home),
    "time zone": (set_zone, zone),
    "tracing": (trace, traced),
    "garbage collection": (stop_collecting, collecting),
    "temporary directory": (move_temporaries, tempfile.gettempdir),
    "replaced streams": (replace_streams, streams),
    "closed streams": (close_streams, streams),
    "closed descriptors": (close_descriptors, streams),
    "redirected descriptors": (redirect_descriptors, streams),
}
if hasattr(os, "sched_setaffinity"):
    CHANGES["processors"] = (be_pinned, pinned)


@pytest.mark.parametrize("what", CHANGES)
def test_the_next_task_does_not_find_it(kernel: jf.DataFlowKernel, what: str) -> None:
    change, _ = CHANGES[what]
    before = kernel.submit(_look, what).result(LIMIT_S)
    for _ in range(2):
        kernel.submit(change).result(LIMIT_S)
        assert kernel.submit(_look, what).result(LIMIT_S) == before
    together: list[Any] = [
        kernel.submit(one) for _ in range(20) for one in (change, lambda: _look(what))
    ]
    assert [one.result(LIMIT_S) for one in together[1::2]] == [before] * 20
    assert kernel.submit(os.getpid).result(LIMIT_S) == before[1]


def _look(what: str) -> tuple[Any, int]:
    return CHANGES[what][1](), os.getpid()


def test_a_timer_that_a_task_has_left_ends_no_worker(
    kernel: jf.DataFlowKernel, tmp_path: Path
) -> None:
    def leave_a_timer() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.3)

    def work_longer() -> str:
        time.sleep(0.6)
        return "done"

    pid = kernel.submit(os.getpid).result(LIMIT_S)
    kernel.submit(leave_a_timer)
    longer = kernel.submit(work_longer)

    assert longer.result(LIMIT_S) == "done"
    assert kernel.submit(os.getpid).result(LIMIT_S) == pid


def test_random_numbers_go_on_as_if_no_task_had_seeded_them(
    kernel: jf.DataFlowKernel,
) -> None:
    def seeded() -> float:
        random.seed(1)
        return random.random()

    numbers = []
    for _ in range(3):
        kernel.submit(seeded).result(LIMIT_S)
        numbers.append(kernel.submit(draw).result(LIMIT_S))

    assert len({*numbers, random.Random(1).random()}) == 4


def test_numpys_too(kernel: jf.DataFlowKernel) -> None:
    numpy = pytest.importorskip("numpy")

    def seeded() -> None:
        numpy.random.seed(1)

    def drawn() -> float:
        return float(numpy.random.random())

    numbers = []
    for _ in range(3):
        kernel.submit(seeded).result(LIMIT_S)
        numbers.append(kernel.submit(drawn).result(LIMIT_S))

    first = float(numpy.random.RandomState(1).random_sample())
    assert len({*numbers, first}) == 4


def test_a_worker_of_which_something_cannot_be_put_back_is_replaced(
    kernel: jf.DataFlowKernel,
) -> None:
    def give_up_descriptors() -> int:
        resource.setrlimit(resource.RLIMIT_NOFILE, (190, 190))
        for number in range(200, 210):  # also for root, who may raise limits again
            try:
                os.close(number)
            except OSError:
                continue
        os.close(1)
        return os.getpid()

    before = kernel.submit(descriptors).result(LIMIT_S)
    spoilt = kernel.submit(give_up_descriptors)
    after = [kernel.submit(lambda: (os.getpid(), descriptors())) for _ in range(30)]

    found = [one.result(LIMIT_S) for one in after]
    assert all(pid != spoilt.result(LIMIT_S) for pid, _ in found)
    assert {limits for _, limits in found} == {before}


def test_what_an_initializer_sets_stays(tmp_path: Path) -> None:
    def initialize() -> None:
        sys.setrecursionlimit(3456)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        decimal.getcontext().prec = 5
        random.seed(3)
        socket.setdefaulttimeout(30.0)

    def change() -> None:
        sys.setrecursionlimit(2000)
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        decimal.getcontext().prec = 2
        socket.setdefaulttimeout(1.0)

    def look() -> Any:
        handler = signal.getsignal(signal.SIGUSR1)
        return sys.getrecursionlimit(), handler, third(), socket.getdefaulttimeout()

    one = {"plugin": "processes", "workers": 1, "initializer": initialize}
    with jf.load({"executors": {"one": one}, "run_dir": tmp_path}) as kernel:
        drawn = kernel.submit(draw).result(LIMIT_S)
        kernel.submit(change).result(LIMIT_S)
        found = kernel.submit(look).result(LIMIT_S)

    assert found == (3456, signal.SIG_IGN, "0.33333", 30.0)
    assert drawn == random.Random(3).random()


MODULE = """
import signal, sys, warnings
signal.signal(signal.SIGUSR2, signal.SIG_IGN)
sys.path.append("/added")
warnings.filterwarnings("ignore", message="of the module")

def look():
    messages = [one[1].pattern for one in warnings.filters if one[1]]
    return "/added" in sys.path, "of the module" in messages
"""


@pytest.mark.parametrize("when", ["with the function", "within the task"])
def test_what_modules_set_at_their_import_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    (tmp_path / "sets_at_import.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)

    def within() -> Any:
        module = importlib.import_module("sets_at_import")
        warnings.simplefilter("error")
        return module.look()

    executors = {"one": {"plugin": "processes", "workers": 1}}
    config = {"executors": executors, "run_dir": tmp_path / "runs"}
    with jf.load(config) as kernel:
        function: Any = within
        if when == "with the function":
            function = importlib.import_module("sets_at_import").look
        for _ in range(3):
            assert kernel.submit(function).result(LIMIT_S) == (True, True)
        assert kernel.submit(warned).result(LIMIT_S) == "showwarning"


def test_log_records_still_come(kernel: jf.DataFlowKernel) -> None:
    came: SimpleQueue[str] = SimpleQueue()
    handler = logging.Handler()
    handler.emit = lambda record: came.put(record.getMessage())  # type: ignore[method-assign]  # of this one
    logger = logging.getLogger("spoken")

    def speak() -> None:
        logging.getLogger("spoken").error("after all that")

    kernel.submit(close_descriptors).result(LIMIT_S)
    logger.addHandler(handler)
    try:
        kernel.submit(speak).result(LIMIT_S)
        assert came.get(timeout=LIMIT_S) == "after all that"
    finally:
        logger.removeHandler(handler)
