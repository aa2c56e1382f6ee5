"""Answers calls of generated programs as fresh interpreters do, knowing no Jackfield.

What is the right answer of a call? That of a plain call in an interpreter that has done
what the script has done up to then, and nothing else: no call before, no key, no store,
no worker. What the script has done belongs to the program, so it is done again here:

- the modules are imported from the files, in the state that these have at that time. A
  file that is edited later and not loaded anew changes nothing, as in the script;
- what the script sets, in its own names and in those of modules, is set; modules are
  loaded anew when it does so, in the same order;
- the working directory is the script's;
- a module that functions import is as the script has it if one of its calls has
  imported it there, and as its file is at the moment of the call if not;
- where compiled files are written, a module that the script has imported or loaded anew
  itself is what Python has made of it there, though that may be the text before the
  last edit (see ``drop_stale``); a module that only functions import is its text.

What the script's calls have left behind (caches, counters) is not done again: a call
must not depend on it.

One process, which has imported nothing but what these programs need of Python, forks
a *replica* for each program. It follows the script step by step and never calls. For
each function that is to be called it forks once more, and that process ends with its
answer. Requests and answers are lines of JSON, one answer to each request.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

    from programs import Program, Step  # type: ignore[import-not-found]  # beside this

LAZY = ("lazy", "deep")
"""Modules that are imported by functions only."""
PRELOADED = dataclasses, enum, functools
NOWHERE = "/nonexistent"
_CHUNK = 1 << 16


def forget_lazy(package: str) -> None:
    """Have modules that functions import be imported by the next call anew."""
    for name in LAZY:
        full = f"{package}.{name}"
        if sys.modules.pop(full, None) is not None:
            delattr(sys.modules[package], name)


def loaded(package: str) -> list[str]:
    """Return which modules of a package are imported here."""
    return [
        one for one in sys.modules if one == package or one.startswith(f"{package}.")
    ]


class Oracle:
    """The process that answers; in the script. Used with ``with``."""

    def __init__(self) -> None:
        command = [sys.executable, "-B", __file__]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.answers = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def begin(self, program: Program) -> None:
        """Have a replica import a program, from the files as they are now."""
        self._ask(
            do="begin",
            package=program.package,
            keeps_lazy=program.keeps_lazy,
            path=sys.path[:2],  # as the script has put them there
            directory=str(Path.cwd()),
            script=program.script,
        )

    def step(self, step: Step) -> None:
        """Have it do what the script has done, whose files are written."""
        run, reload = step.run, step.reload
        self._ask(do="step", reload=reload, run=run, directory=str(Path.cwd()))

    def calls(
        self, package: str, names: Sequence[str], arguments: Sequence[int]
    ) -> dict[str, list[str]]:
        """Return the answers of functions to each of the arguments."""
        found: dict[str, list[str]] = self._ask(
            do="calls", names=names, arguments=arguments, loaded=loaded(package)
        )
        self.answers += len(names) * len(arguments)
        return found

    def end(self) -> None:
        """End the replica."""
        self._ask(do="end")

    def _ask(self, **request: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if isinstance(answer, str):
            raise AssertionError(f"the oracle failed: {answer}")
        return answer


# -- In the process that answers


def requests() -> Iterator[dict[str, Any]]:
    """Give requests, and read no more than one: the next may be another process's."""
    while True:
        line = b""
        while not line.endswith(b"\n"):
            chunk = os.read(0, _CHUNK)
            if not chunk:
                return
            line += chunk
        yield json.loads(line)


def answer(value: Any) -> None:
    os.write(1, json.dumps(value).encode() + b"\n")


class Replica:
    """A program as the script has it, without its calls."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.package: str = request["package"]
        self.keeps_lazy: bool = request["keeps_lazy"]
        self.names: dict[str, Any] = vars(sys.modules["__main__"])
        os.chdir(request["directory"])
        sys.path[:0] = request["path"]
        importlib.import_module(f"{self.package}.app")
        exec(f"import {self.package}.app", self.names)
        exec(request["script"], self.names)

    def serve(self) -> None:
        for request in requests():
            result: Any = {}
            if request["do"] == "end":
                answer(result)
                return
            if request["do"] == "step":
                self.step(request)
            else:
                result = self.calls(request)
            answer(result)

    def step(self, request: dict[str, Any]) -> None:
        importlib.invalidate_caches()
        for name in request["reload"]:
            importlib.reload(sys.modules[f"{self.package}.{name}"])
        if request["run"]:
            exec(request["run"], self.names)
        os.chdir(request["directory"])

    def calls(self, request: dict[str, Any]) -> dict[str, list[str]]:
        with texts_only():
            found = {
                name: apart(lambda name=name: self.ask(name, request["arguments"]))
                for name in request["names"]
            }
            for name in request["loaded"]:
                importlib.import_module(name)
        return found

    def ask(self, name: str, arguments: list[int]) -> list[str]:
        function = eval(name, self.names)
        found = []
        for argument in arguments:
            if not self.keeps_lazy:
                forget_lazy(self.package)
            try:
                found.append(repr(function(argument)))
            except Exception as error:
                found.append(repr(error))
        return found


@contextmanager
def texts_only() -> Iterator[None]:
    """Have modules be made from their texts, whatever compiled files there are."""
    importlib.invalidate_caches()
    sys.pycache_prefix = NOWHERE
    try:
        yield
    finally:
        sys.pycache_prefix = None


def apart(ask: Any) -> Any:
    """Call something in a process of its own, and return what it returned."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, json.dumps(ask()).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        found = file.read()
    os.waitpid(child, 0)
    return json.loads(found)


def main() -> None:
    """Fork a replica for each program, which serves until that has ended."""
    for request in requests():
        child = os.fork()
        if child == 0:
            try:
                replica = Replica(request)
                answer({})
                replica.serve()
            except BaseException as error:
                answer(f"{type(error).__name__}: {error}")
            finally:
                os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
