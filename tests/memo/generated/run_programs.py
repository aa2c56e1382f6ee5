"""Runs generated programs and compares each answer with that of a fresh interpreter.

Run as ``python run_programs.py DIRECTORY FIRST LAST STEPS``: it writes the packages
into the directory, keeps results in a store there, and prints what it found as JSON. A
second run in the same directory finds the results of the first. ``oracle.py`` says what
the right answers are.
"""

from __future__ import annotations

import importlib
import json
import linecache
import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from oracle import (  # type: ignore[import-not-found]  # beside this
    Oracle,
    forget_lazy,
    loaded,
)
from programs import (  # type: ignore[import-not-found]  # the same
    Maker,
    Program,
    Step,
)

import jackfield as jf

LIMIT_S = 60.0
WAYS = {3: "cached on threads", 4: "cached on processes", 5: "plain on processes"}
"""Arguments, and how functions are called with each."""
SCRIPT_NAMES = vars(sys.modules["__main__"])


class Runner:
    """Runs programs one after the other, in this process and one kernel."""

    def __init__(self, directory: Path, oracle: Oracle) -> None:
        self.directory = directory
        self.oracle = oracle
        self.packages = directory / "packages"
        self.decoys = directory / "decoys"
        for one in (self.packages, self.decoys):
            one.mkdir(exist_ok=True)
        self.cells = 0
        self.found: dict[str, Any] = {
            "wrong": [],
            "programs": 0,
            "calls": 0,
            "hits": 0,
            "needless": 0,
            "needless_after": {},
            "needless_same": [],
        }

    def run(self, program: Program) -> None:
        """Run one program."""
        package = self.packages / program.package
        package.mkdir(exist_ok=True)
        decoy = self.decoys / program.package
        decoy.mkdir(exist_ok=True)
        for name, text in program.files.items():
            self.write(package / name, text)
            self.write(decoy / name, "" if name.endswith(".py") else "0")
        os.chdir(self.packages)
        self.begin(program)
        last: dict[str, Any] = {}
        for step in program.steps:
            self.happen(program, step)
            answers = {
                name: self.call(program, step, name, last) for name in step.calls
            }
            self.compare(program, step, answers)
        self.end(program)
        self.found["programs"] += 1

    def begin(self, program: Program) -> None:
        """Import the program, and define what its script defines."""
        importlib.invalidate_caches()
        importlib.import_module(f"{program.package}.app")
        self.cell(f"import {program.package}.app")
        self.cell(program.script)
        self.oracle.begin(program)

    def end(self, program: Program) -> None:
        """Forget the program."""
        self.oracle.end()
        for name in loaded(program.package):
            del sys.modules[name]

    def write(self, path: Path, text: str) -> None:
        if not path.exists() or path.read_text() != text:
            path.write_text(text)

    def cell(self, text: str) -> None:
        """Run code in the script's namespace, with its source, as a notebook does."""
        self.cells += 1
        name = f"<cell {self.cells}>"
        linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
        exec(compile(text, name, "exec"), SCRIPT_NAMES)

    def happen(self, program: Program, step: Step) -> None:
        """Do what happens in a step."""
        for name, text in step.files.items():
            self.write(self.packages / program.package / name, text)
        for name in step.reload:
            importlib.reload(sys.modules[f"{program.package}.{name}"])
        if step.run:
            self.cell(step.run)
        if step.move:
            os.chdir(self.directory / step.move)
        if step.anew:
            os.chdir(self.packages)
            self.end(program)
            program.script = step.anew
            self.begin(program)
        else:
            self.oracle.step(step)

    def call(
        self, program: Program, step: Step, name: str, last: dict[str, Any]
    ) -> list[str]:
        """Call a function in each of the ``WAYS``."""
        function = eval(name, SCRIPT_NAMES)
        answers = []
        for where, argument in (("threads", 3), ("processes", 4)):
            self.forget_lazy(program)
            app = jf.python_app(cache=True, executors=[where])(function)
            future = app(argument)
            answer = self.outcome(future)
            answers.append(answer)
            self.count(program, step, name, where, future, last, answer)
        self.forget_lazy(program)
        plain = jf.python_app(executors=["processes"])(function)(5)
        return [*answers, self.outcome(plain)]

    def compare(
        self, program: Program, step: Step, answers: dict[str, list[str]]
    ) -> None:
        """Compare the answers of a step with those of fresh interpreters."""
        self.forget_lazy(program)
        right = self.oracle.calls(program.package, list(answers), list(WAYS))
        for name, given in answers.items():
            for (argument, way), answer, ought in zip(
                WAYS.items(), given, right[name], strict=True
            ):
                if answer != ought:
                    self.found["wrong"].append(
                        f"{program.package}: after {step.what!r}, {name}({argument}) "
                        f"{way}: {answer}, ought to be {ought}"
                    )

    def outcome(self, future: Any) -> str:
        try:
            return repr(future.result(LIMIT_S))
        except Exception as error:
            return repr(error)

    def count(
        self,
        program: Program,
        step: Step,
        name: str,
        where: str,
        future: Any,
        last: dict[str, Any],
        answer: str,
    ) -> None:
        """Count calls and hits, and what was executed though it gave the same."""
        self.found["calls"] += 1
        hit = future.memo.status == "hit"
        self.found["hits"] += hit
        before = last.get(name + where)
        last[name + where] = answer
        if not hit and before == answer:
            self.found["needless"] += 1
            after = self.found["needless_after"]
            called = name.rpartition(".")[2]
            what = f"{called}: {step.what}".replace(program.package, "P")
            after[what] = after.get(what, 0) + 1
            if step.same:
                self.found["needless_same"].append(f"{name} on {where}")

    def forget_lazy(self, program: Program) -> None:
        """Have modules that functions import be imported by each call anew."""
        if not program.keeps_lazy:
            forget_lazy(program.package)


def main() -> None:
    """Run the programs that the command line names."""
    directory, first, last, steps = sys.argv[1:]
    with Oracle() as oracle:
        runner = Runner(Path(directory), oracle)
        run(runner, range(int(first), int(last)), int(steps))
    runner.found["compared"] = oracle.answers
    print(json.dumps(runner.found))


def run(runner: Runner, numbers: range, steps: int) -> None:
    """Run programs in one kernel."""
    sys.path.insert(0, str(runner.packages))
    sys.path.insert(0, "")
    warnings.simplefilter("ignore")
    logging.getLogger("jackfield").setLevel(logging.ERROR)
    config = {
        "run_dir": str(runner.directory / "runs"),
        "executors": {
            "threads": {"plugin": "threads", "workers": 1},
            "processes": {
                "plugin": "processes",
                "workers": 1,
                "max_tasks_per_worker": 50,
            },
        },
        "checkpoint": {"store": f"sqlite:///{runner.directory / 'store.db'}"},
    }
    with jf.load(config):
        for number in numbers:
            runner.run(Maker(number).make(steps))


if __name__ == "__main__":
    main()
