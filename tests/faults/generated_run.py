"""A run that ``test_generated_endings`` has made up: its tasks, and how it ends.

It is a program: ``generated_run.py PLAN``, where the plan is JSON. It says ``ready``
when all is submitted, and then does what the plan calls for, or waits for what the test
does to it. If it lives on after its run, it tells in a line of JSON what is left of it.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jackfield as jf

TAG = "GENERATED_RUN"
"""The environment variable by which all processes of a run are found."""

LIMIT_S = 60.0
ENDLESS_S = 600

COMMANDS = {
    "sleep": "sleep 600",
    "children": "sleep 600 & sleep 600 & wait",
    "group": "bash -m -c 'sleep 600 & wait'",
    "timeout": "timeout 700 sleep 600",
    "session": "setsid sleep 600 & wait",
    "daemon": "(setsid nohup sleep 600 >/dev/null 2>&1 &); sleep 600",
    "stubborn": "trap '' TERM INT HUP; sleep 600; sleep 600",
    "loop": "while true; do sleep 0.05; done",
    "pipe": "yes | (sleep 600; cat >/dev/null)",
    "fifo": "mkfifo $$.fifo; cat $$.fifo",
    "left": "sleep 600 >/dev/null 2>&1 & echo started >/dev/null",
    "left_session": "setsid sleep 600 >/dev/null 2>&1 & true",
    "fails": "sleep 600 >/dev/null 2>&1 & exit 3",
    "dies": "kill -9 $$",
    "short": "sleep 0.05",
}


@jf.bash_app
def command(name: str, *_: Any) -> str:
    return COMMANDS[name]


@jf.python_app
def sleeps(*_: Any) -> None:
    time.sleep(ENDLESS_S)


@jf.python_app
def spins(*_: Any) -> None:
    while True:
        time.sleep(0.01)


@jf.python_app
def returns(*_: Any) -> int:
    return 1


@jf.python_app
def raises(*_: Any) -> None:
    raise ValueError("raised")


@jf.python_app
def forks(*_: Any) -> None:
    if os.fork() == 0:
        time.sleep(ENDLESS_S)
        os._exit(0)
    time.sleep(ENDLESS_S)


@jf.python_app
def forks_away(*_: Any) -> None:
    """Leave a grandchild in a session of its own, which has nobody."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.execvp("sleep", ["sleep", "600"])
        os._exit(0)
    time.sleep(ENDLESS_S)


@jf.python_app
def starts(*_: Any) -> None:
    subprocess.Popen(["sleep", "600"])
    subprocess.Popen(["sleep", "600"], process_group=0)
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    time.sleep(ENDLESS_S)


@jf.python_app
def fills_a_pipe(*_: Any) -> None:
    write = os.pipe()[1]
    while True:
        os.write(write, b"x" * 65536)


@jf.python_app
def exits(*_: Any) -> None:
    os._exit(3)


@jf.python_app
def killed(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@jf.join_app
def joins(name: str, *_: Any) -> Any:
    return [call(name) for _ in range(2)]


@jf.join_app
def body_sleeps(*_: Any) -> Any:
    time.sleep(1.0)
    return returns()


FUNCTIONS: dict[str, Callable[..., jf.AppFuture[Any]]] = {
    one.__name__: one
    for one in (
        *(sleeps, spins, returns, raises, forks, forks_away, starts),
        *(fills_a_pipe, exits, killed, body_sleeps),
    )
}

LIMITED: dict[str, Any] = {}
"""Options of all calls."""


def call(name: str, *parents: Any) -> jf.AppFuture[Any]:
    """Call what a plan names, after its parents."""
    if name.startswith("join:"):
        return joins(name.removeprefix("join:"), *parents)
    if name in COMMANDS:
        return command(name, *parents, **LIMITED)
    return FUNCTIONS[name](*parents, **(LIMITED if name != "body_sleeps" else {}))


def submit(tasks: list[Any]) -> list[jf.AppFuture[Any]]:
    """Submit the tasks of a plan: ``[name, numbers of those that it waits for]``."""
    futures: list[jf.AppFuture[Any]] = []
    for name, parents in tasks:
        futures.append(call(name, *(futures[number] for number in parents)))
    return futures


def others(tag: str) -> list[str]:
    """Return the processes of a run but this one, with their command lines."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and int(path.name) != os.getpid():
            with contextlib.suppress(OSError):
                environ = (path / "environ").read_bytes()
                if f"{TAG}={tag}\0".encode() in environ:
                    line = (path / "cmdline").read_bytes().replace(b"\0", b" ")
                    found.append(f"{path.name}: {line.decode(errors='replace'):.200}")
    return found


def wait_until_nothing(find: Callable[[], Any]) -> Any:
    """Wait until there is nothing to be found; return what there is in the end."""
    deadline = time.monotonic() + LIMIT_S / 2
    while (found := find()) and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.02)
    return found


def descriptors() -> set[tuple[str, str]]:
    """Return the descriptors of this process, with what they lead to."""
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add((path.name, str(path.readlink())))
    return {one for one in found if not one[1].startswith("/proc/")}


def run(plan: dict[str, Any], futures: list[jf.AppFuture[Any]]) -> None:
    """Run the tasks in a ``with`` block, and leave it as the plan says."""
    with jf.load(plan["config"]):
        futures += submit(plan["tasks"])
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        time.sleep(plan["delay"])
        ending = plan["ending"]
        if ending == "exception":
            raise ZeroDivisionError
        if ending == "sys_exit":
            sys.exit(0)
        if ending == "cancel":
            for future in futures:
                future.cancel()
            # On threads, what runs cannot be cancelled: it is cut short.
            raise ZeroDivisionError
        if ending == "walltime":
            for future in futures:
                future.exception(LIMIT_S) if not future.cancelled() else None
            return
        time.sleep(LIMIT_S)  # until the test does something
        raise ZeroDivisionError


def main() -> None:
    plan = json.loads(sys.argv[1])
    if plan["ending"] == "walltime":
        LIMITED["walltime"] = 0.5
    if plan["ending"] == "exit":
        jf.load(plan["config"])
        submit(plan["tasks"])
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        time.sleep(plan["delay"])
        return
    before = descriptors()
    futures: list[jf.AppFuture[Any]] = []
    with contextlib.suppress(ZeroDivisionError, KeyboardInterrupt, SystemExit):
        run(plan, futures)
    tag = os.environ[TAG]
    left = {
        "pending": [repr(one) for one in futures if not one.done()],
        "processes": wait_until_nothing(lambda: others(tag)),
        "descriptors": sorted(wait_until_nothing(lambda: descriptors() - before)),
    }
    sys.stdout.write(json.dumps(left) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
