"""Ctrl-C, SIGTERM, the interpreter's end and forks, in programs of their own."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

Start = Callable[[str], Any]
Run = Callable[[str], Any]

LIMIT_S = 60.0

APPS = """
gate = threading.Event()

@jf.python_app
def endless():
    while True:
        gate.wait(0.05)

@jf.python_app
def identity(value):
    return value

@jf.python_app
def begin():
    say("begun")
    while True:
        gate.wait(0.05)
"""


CHAINED = "During handling of the above exception, another exception occurred:"


def assert_one_interrupt(end: Any) -> None:
    """Expect the interrupt's traceback at the end, and nothing else.

    Where the interrupt reaches an ``except`` clause, which may be one of the
    interpreter's own (an import looks into a cache that way), Python prints the caught
    error before it, as what was being handled.
    """
    assert end.code == -signal.SIGINT, end
    tracebacks = end.err.count("Traceback (most recent call last)")
    assert tracebacks == 1 + end.err.count(CHAINED), end.err
    assert end.err.rstrip().endswith("KeyboardInterrupt"), end.err
    assert end.err.count("KeyboardInterrupt") == 1, end.err


# -- Ctrl-C ---------------------------------------------------------------------------


def test_ctrl_c_during_a_burst_of_submits_ends_the_program(start: Start) -> None:
    program = start(
        APPS
        + """
with load():
    say("ready")
    while True:
        identity(identity(1))
"""
    )
    program.wait_for("ready")
    program.signal()

    assert_one_interrupt(program.end())


def test_ctrl_c_while_waiting_for_a_result_ends_the_program(start: Start) -> None:
    program = start(
        APPS
        + """
with load():
    queued = [endless() for _ in range(20)]
    begin_last = identity(queued[0])
    say("ready")
    begin_last.result()
"""
    )
    program.wait_for("ready")
    program.signal()

    assert_one_interrupt(program.end())


def test_ctrl_c_while_leaving_waits_cancels_what_has_not_begun(start: Start) -> None:
    program = start(
        APPS
        + """
submitted = threading.Event()

@jf.python_app
def begin_late():
    submitted.wait()
    say("begun")
    while True:
        gate.wait(0.05)

try:
    with load():
        running = begin_late()
        waiting = identity(running)
        submitted.set()
except KeyboardInterrupt:
    say("waiting", waiting.cancelled(), "running", running.done())
    raise
"""
    )
    program.wait_for("begun")
    program.signal()
    end = program.end()

    assert_one_interrupt(end)
    assert "waiting True running True" in end.out


SLOW_TO_END = """
from jackfield.abc import Executor

class Slow(Executor):
    workers = 1

    def __init__(self):
        self.begun, self.over = threading.Event(), threading.Event()

    def start(self, context):
        pass

    def submit(self, batch):
        self.begun.set()

    def shutdown(self, *, grace=None):
        say("shutdown", grace)
        if grace:
            self.over.wait(grace)
        self.over.set()

"""


def test_a_second_ctrl_c_leaves_at_once(start: Start) -> None:
    program = start(
        SLOW_TO_END
        + """
slow = Slow()
with load(executors={"slow": slow}, exit_grace=600.0) as kernel:
    kernel.submit(abs, 1)
    slow.begun.wait()
    say("begun")
"""
    )
    program.wait_for("begun")
    program.signal()
    program.wait_for("shutdown 600.0")
    program.signal()
    end = program.end()

    assert end.out[-1] == "shutdown 0.0", end
    assert end.code == -signal.SIGINT


def test_futures_have_ended_after_a_second_ctrl_c_too(start: Start) -> None:
    program = start(
        SLOW_TO_END
        + """
slow = Slow()
try:
    with load(executors={"slow": slow}, exit_grace=600.0) as kernel:
        futures = [kernel.submit(abs, 1)]
        futures.append(kernel.submit(abs, futures[0]))
        slow.begun.wait()
        say("begun")
except KeyboardInterrupt:
    say(*[future.cancelled() for future in futures])
"""
    )
    program.wait_for("begun")
    program.signal()
    program.wait_for("shutdown 600.0")
    program.signal()

    assert program.end().out[-1] == "True True"


def workers_of(program: Any) -> list[Any]:
    return list(psutil.Process(program.process.pid).children(recursive=True))


def assert_gone(processes: list[Any]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=LIMIT_S)
    assert not alive


SPIN = """
import os
import pathlib
import time

def spin(seconds):
    pathlib.Path(f"begun-{os.getpid()}").touch()
    time.sleep(seconds)
"""


@pytest.fixture
def spinning(start: Start, tmp_path: Path) -> Callable[[float], Any]:
    """Start a program whose two worker processes run a task for ten minutes."""

    def spinning(grace: float) -> Any:
        (tmp_path / "spin.py").write_text(SPIN)
        program = start(
            f"""
from spin import spin
executors = {{"cpu": {{"plugin": "processes", "workers": 2}}}}
with load(executors=executors, exit_grace={grace}) as kernel:
    futures = [kernel.submit(spin, 600) for _ in range(6)]
    say("submitted")
"""
        )
        program.wait_for("submitted")
        deadline = time.monotonic() + LIMIT_S
        while len(list(tmp_path.glob("begun-*"))) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return program

    return spinning


def test_ctrl_c_ends_worker_processes_and_they_say_nothing(
    spinning: Callable[[float], Any],
) -> None:
    program = spinning(0.3)
    workers = workers_of(program)
    program.signal()

    assert_one_interrupt(program.end())
    assert len(workers) >= 2
    assert_gone(workers)


def test_more_of_ctrl_c_ends_worker_processes_at_once(
    spinning: Callable[[float], Any],
) -> None:
    program = spinning(600.0)
    workers = workers_of(program)
    while program.process.poll() is None:  # nobody says when the grace begins
        program.signal()
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.process.wait(0.3)
    end = program.end()

    assert end.code == -signal.SIGINT, end
    assert_gone(workers)


PROGRAM_OF_ROUNDS = """
import random
from concurrent.futures import CancelledError, Future
from jackfield import RemoteInfo

class Provider:
    @jf.hookimpl
    def jackfield_stage_in(self, transfer):
        transfer.path.write_bytes(b"x")
        return RemoteInfo()

def work(kernel, dice, until):
    recent = []
    while time.monotonic() < until:
        match dice.randrange(8):
            case 0:
                recent.append(identity(1))
            case 1 if recent:
                recent.append(identity(recent[-1]))
            case 2:
                foreign = Future()
                foreign.set_result(1)  # first: nothing may wait for it in vain
                recent.append(identity([foreign]))
            case 3:
                recent.append(identity(jf.File(f"mem://host/{dice.randrange(9)}")))
            case 4 if recent:
                dice.choice(recent).cancel()
            case 5 if recent:
                recent[-1].exception() if not recent[-1].cancelled() else None
            case 6:
                kernel.wait_for_current_tasks()
            case 7:
                list(kernel.map(abs, range(3)))
        del recent[:-20]

with load(plugins=[Provider()], log_level="OFF") as kernel:
    for number in range(ROUNDS):
        faulthandler.dump_traceback_later(50, exit=True)
        try:
            say("ready")
            try:
                work(kernel, random.Random(number), time.monotonic() + 5)
            except CancelledError:
                pass
            time.sleep(5)
        except KeyboardInterrupt:
            pass
        assert kernel.submit(abs, -3).result(50) == 3
        kernel.wait_for_current_tasks(50)
        assert not kernel._parts.live, kernel._parts.live
say("usable to the end")
"""


def test_a_kernel_is_usable_after_ctrl_c_at_any_moment(start: Start) -> None:
    rounds, dice = 40, random.Random(7)
    program = start(APPS + f"ROUNDS = {rounds}\n" + PROGRAM_OF_ROUNDS)

    for _ in range(rounds):
        program.wait_for("ready")
        time.sleep(dice.uniform(0.0, 0.05))
        program.signal()
    end = program.end()

    assert end.out[-1] == "usable to the end", end.err
    assert end.code == 0


@pytest.mark.parametrize("seed", range(6))
def test_ctrl_c_at_a_random_moment_ends_the_program(start: Start, seed: int) -> None:
    program = start(
        APPS
        + """
say("ready")
with load():
    futures = [identity(number) for number in range(200)]
    endless()
    for future in futures[:100]:
        futures.append(identity(future))
    futures[-1].result()
    say("leaving")
"""
    )
    program.wait_for("ready")
    time.sleep(random.Random(seed).uniform(0.0, 0.12))
    program.signal()

    end = program.end()
    # It may strike in a callback of the import system's own, while ``load`` imports.
    # What is raised there the interpreter prints, and forgets.
    if "Exception ignored in: <function _get_module_lock" in end.err:
        pytest.skip("the interpreter has lost the interrupt")
    assert_one_interrupt(end)


# -- SIGTERM --------------------------------------------------------------------------


def test_sigterm_ends_a_run_like_ctrl_c_with_143(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        """
import jackfield as jf
import time

@jf.python_app
def endless():
    print("begun", flush=True)
    while True:
        time.sleep(0.05)

with jf.load(exit_grace=0.3):
    endless().result()
"""
    )
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from jackfield_cli import main; main()",
            "run",
            "script.py",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.terminate()
        _, err = process.communicate(timeout=LIMIT_S)
    finally:
        process.kill()
        process.communicate()

    assert process.returncode == 143, err
    assert "1 cancelled" in err


# -- The interpreter's end ------------------------------------------------------------


def test_a_program_may_end_with_unfinished_tasks_and_is_told_so(run: Run) -> None:
    end = run(
        APPS
        + """
load()
first = endless()
for _ in range(10):
    endless()
identity(first)
"""
    )

    assert end.code == 120
    assert "the program ends with 12 unfinished tasks" in end.err
    assert "with jackfield.load()" in end.err
    assert "Traceback" not in end.err


def test_a_program_that_has_waited_ends_silently(run: Run) -> None:
    end = run(
        APPS
        + """
load()
identity(1).result()
"""
    )

    assert end == (0, [], "")


def test_the_exit_code_of_a_program_stays_its_own(run: Run) -> None:
    end = run(
        APPS
        + """
load()
endless()
sys.exit(7)
"""
    )

    assert end.code == 7


def test_sys_exit_inside_with_cancels_and_keeps_the_code(run: Run) -> None:
    end = run(
        APPS
        + """
with load():
    identity(endless())
    sys.exit(7)
"""
    )

    assert end == (7, [], "")


def test_callbacks_are_called_at_the_interpreters_end(run: Run) -> None:
    end = run(
        APPS
        + """
load()
identity(endless()).add_done_callback(lambda future: say("called"))
"""
    )

    assert end.out == ["called"]
    assert end.code == 120


def test_a_closed_standard_error_does_not_keep_the_end(run: Run) -> None:
    end = run(
        APPS
        + """
import atexit
load()
endless()
atexit.register(lambda: sys.stderr.close())
atexit.register(lambda: say("closing"))
"""
    )

    assert end == (120, ["closing"], "")


def test_a_daemon_thread_that_submits_does_not_keep_the_program(run: Run) -> None:
    end = run(
        APPS
        + """
load(max_pending=1000)

def submit():
    try:
        while True:
            identity(1)
    except jf.KernelClosedError:
        pass

threading.Thread(target=submit, daemon=True).start()
identity(1).result()
"""
    )

    assert end.code in {0, 120}  # 120 if there was an unfinished task in that moment
    assert "Traceback" not in end.err


# -- Forks ----------------------------------------------------------------------------


FORK = (
    APPS
    + """
def child(action):
    pid = os.fork()
    if pid == 0:
        try:
            action()
            code = 0
        except BaseException as error:
            say("child:", type(error).__name__, error)
            code = 1
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

"""
)


def test_futures_fail_in_a_fork_and_the_parent_goes_on(run: Run) -> None:
    end = run(
        FORK
        + """
def look():
    for future in futures:
        error = future.exception(50)
        assert isinstance(error, jf.KernelClosedError), error
    say(error)

with load() as kernel:
    futures = [endless()]
    while not futures[0].task_status() == "submitted":
        time.sleep(0.001)
    futures += [identity(futures[0]) for _ in range(100)]
    say(child(look))
    say(identity(4).result())
    kernel.cleanup(wait=False)
"""
    )

    text = next(line for line in end.out if "this is a fork" in line)
    assert "belongs to process" in text
    assert end.out[-2:] == ["0", "4"], end


def test_a_kernel_in_a_fork_is_inert_whenever_the_fork_comes(run: Run) -> None:
    end = run(
        FORK
        + """
def use():
    for future in futures:
        future.exception(50)
    try:
        kernel.submit(abs, 1)
    except jf.KernelClosedError:
        pass
    else:
        raise AssertionError("submitted in a fork")
    kernel.wait_for_current_tasks(5)
    kernel.cleanup()
    assert not futures[0].cancel()
    try:
        jf.dfk()
    except jf.NoDataFlowKernelError:
        pass
    else:
        raise AssertionError("loaded in a fork")

with load() as kernel:
    codes = []
    for number in range(30):
        futures = [identity(item) for item in range(100)]
        codes.append(child(use))
    assert [future.result(50) for future in futures] == list(range(100))
say(*set(codes))
"""
    )

    assert end.out == ["0"], end


def test_a_fork_may_load_a_kernel_of_its_own(run: Run) -> None:
    end = run(
        FORK
        + """
def own():
    with load():
        say(identity(5).result(50))

with load():
    endless_one = endless()
    child(own)
    jf.dfk().cleanup(wait=False)
"""
    )

    assert end.out == ["5"], end


def test_a_fork_that_leaves_the_with_block_ends_nothing_of_its_parent(run: Run) -> None:
    end = run(
        APPS
        + """
with load() as kernel:
    futures = [identity(number) for number in range(50)]
    faulthandler.cancel_dump_traceback_later()  # hangs a forked child at its exit
    warnings.simplefilter("ignore")  # newer Pythons warn of fork beside threads
    pid = os.fork()
    if pid:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
        say(identity(6).result(50))
if not pid:
    sys.exit(3)
"""
    )

    assert end == (0, ["6"], "")


def test_a_fork_leaves_workers_and_store_to_its_parent(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "slow.py").write_text(
        "import time\ndef slow(value):\n    time.sleep(0.01)\n    return value\n"
    )
    end = run(
        """
from slow import slow
executors = {"cpu": {"plugin": "processes", "workers": 2}}
store = {"store": f"sqlite:///{os.getcwd()}/results.db"}
with load(executors=executors, checkpoint=store) as kernel:
    futures = [kernel.submit(slow, number, cache=True) for number in range(20)]
    futures[0].result(50)
    faulthandler.cancel_dump_traceback_later()  # hangs a forked child at its exit
    warnings.simplefilter("ignore")  # newer Pythons warn of fork beside threads
    pid = os.fork()
    if pid:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
        say(*[future.result(50) for future in futures])
if not pid:
    sys.exit(3)
"""
    )

    assert end == (0, [" ".join(map(str, range(20)))], "")


def test_ctrl_c_while_the_end_waits_for_a_stuck_plugin_leaves_no_future_pending(
    start: Start,
) -> None:
    program = start(
        APPS
        + """
class Stuck:
    @jf.hookimpl
    def jackfield_select_executor(self, task, executors):
        if task.app == "identity":
            gate.wait()

executors = {"a": {"plugin": "threads"}, "b": {"plugin": "threads"}}
futures = []
try:
    with load(plugins=[Stuck()], executors=executors, exit_grace=2.0) as kernel:
        futures = [identity(1), identity(futures)]
        while kernel._parts.scheduler._idle is not None:
            time.sleep(0.01)
        say("leaving")
        raise ValueError
except (ValueError, KeyboardInterrupt):
    say([future.done() for future in futures])
gate.set()
"""
    )
    program.wait_for("leaving")
    time.sleep(0.5)
    program.signal()

    end = program.end()

    assert "[True, True]" in end.out, end


# -- what Ctrl-C says -----------------------------------------------------------------


WAITS = """
begun = threading.Event()

@jf.python_app
def waits(gene, label=None):
    begun.set()
    while True:
        gate.wait(0.05)

@jf.python_app(cache=True)
def kept(value):
    return value
"""


@pytest.mark.parametrize("place", ["in the block", "while leaving it"])
def test_ctrl_c_says_what_is_waited_for_how_long_and_what_a_second_one_does(
    start: Start, place: str
) -> None:
    program = start(
        APPS
        + WAITS
        + f"""
with load():
    kept(1).result()
    running = waits("BRCA2", label="lung")
    rest = [identity(running) for _ in range(6)]
    begun.wait()
    say("begun")
    if {place == "in the block"}:
        running.result()
"""
    )
    program.wait_for("begun")
    program.signal()
    end = program.end()

    assert_one_interrupt(end)
    said = end.err.partition("Traceback")[0].splitlines()
    assert said[0].startswith("jackfield: interrupted with 7 unfinished tasks: ")
    assert "those that run get 0.3 s (exit_grace), the others are cancelled." in said[0]
    assert said[1] == "  Waiting for 1 (waits('BRCA2', label='lung')) on 'threads'"
    assert said[2] == "  Press Ctrl-C again to wait no longer."
    assert said[3].startswith("  Results of cached apps are kept in sqlite:///")
    assert "leaves thread" in said[4]  # it cannot be stopped
    assert len(said) == 5


@pytest.mark.parametrize(
    "checkpoint",
    ['{"store": "memory"}', '{"store": "sqlite:///x.db", "mode": "manual"}'],
)
def test_ctrl_c_promises_no_result_that_is_not_kept(
    start: Start, checkpoint: str
) -> None:
    program = start(
        APPS
        + WAITS
        + f"""
with load(checkpoint={checkpoint}):
    kept(1).result()
    begin().result()
"""
    )
    program.wait_for("begun")
    program.signal()

    assert "Results of cached apps" not in program.end().err


def test_ctrl_c_says_nothing_where_nothing_is_unfinished(start: Start) -> None:
    program = start(
        APPS
        + """
with load():
    identity(1).result()
    say("ready")
    gate.wait()
"""
    )
    program.wait_for("ready")
    program.signal()

    assert "jackfield:" not in program.end().err


def test_an_exception_that_leaves_the_block_says_what_is_waited_for(run: Run) -> None:
    end = run(
        APPS
        + """
with load():
    begin()
    while dfk_counts()[jf.TaskState.SUBMITTED] == 0:
        pass
    raise KeyError("mine")
""".replace("dfk_counts()", "jf.dfk().task_state_counts")
    )

    assert "jackfield: the block ends by KeyError with 1 unfinished task: " in end.err
    assert "Waiting for 0 (begin) on 'threads'" in end.err
    assert "Press Ctrl-C to wait no longer." in end.err  # it is the first one
