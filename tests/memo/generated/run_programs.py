"""Runs generated programs and compares each answer with that of a plain call.

Run as ``python run_programs.py DIRECTORY FIRST LAST STEPS``: it writes the packages
into the directory, keeps results in a store there, and prints what it found as JSON. A
second run in the same directory finds the results of the first.
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

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).parent))

from programs import (  # type: ignore[import-not-found]  # noqa: E402  (beside this)
    LAZY,
    Maker,
    Program,
    Step,
)

import jackfield as jf  # noqa: E402

LIMIT_S = 60.0
SCRIPT_NAMES = vars(sys.modules["__main__"])


class Runner:
    """Runs programs one after the other, in this process and one kernel."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.packages = directory / "packages"
        self.decoys = directory / "decoys"
        for one in (self.packages, self.decoys):
            one.mkdir(exist_ok=True)
        self.cells = 0
        self.found: dict[str, Any] = {
            "wrong": [],
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
        importlib.invalidate_caches()
        importlib.import_module(f"{program.package}.app")
        self.cell(f"import {program.package}.app")
        self.cell(program.script)
        last: dict[str, Any] = {}
        for step in program.steps:
            self.happen(program, step)
            for name in step.calls:
                self.call(program, step, name, last)
        for name in [one for one in sys.modules if one.startswith(program.package)]:
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
            os.chdir(self.decoys)

    def call(
        self, program: Program, step: Step, name: str, last: dict[str, Any]
    ) -> None:
        """Call a function in each way, and compare."""
        function = eval(name, SCRIPT_NAMES)
        answers: dict[str, tuple[str, int]] = {}
        for where, argument in (("threads", 3), ("processes", 4)):
            self.forget_lazy(program)
            app = jf.python_app(cache=True, executors=[where])(function)
            future = app(argument)
            answer = self.outcome(future)
            answers[f"cached on {where}"] = answer, argument
            self.count(program, step, name, where, future, last, answer)
        self.forget_lazy(program)
        plain = jf.python_app(executors=["processes"])(function)(5)
        answers["plain on processes"] = self.outcome(plain), 5
        for way, (answer, argument) in answers.items():
            self.forget_lazy(program)
            try:
                ought = repr(function(argument))
            except Exception as error:
                ought = repr(error)
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
        if program.keeps_lazy:
            return
        for name in LAZY:
            full = f"{program.package}.{name}"
            if sys.modules.pop(full, None) is not None:
                delattr(sys.modules[program.package], name)


def main() -> None:
    """Run the programs that the command line names."""
    directory, first, last, steps = sys.argv[1:]
    runner = Runner(Path(directory))
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
        for number in range(int(first), int(last)):
            runner.run(Maker(number).make(int(steps)))
    print(json.dumps(runner.found))


if __name__ == "__main__":
    main()
