"""What ``jackfield run`` runs, and how Python makes a process look to it.

Nothing is put back afterwards: threads of the program may outlive its last line.
"""

from __future__ import annotations

import builtins
import io
import runpy
import sys
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any


class Program(ABC):
    """A program that can become ``__main__``.

    Attributes:
        module: The module that it runs in.
        argv: What it finds in ``sys.argv``.
    """

    def __init__(self, name: str, args: Sequence[str]) -> None:
        self.module: ModuleType = ModuleType("__main__")
        self.module.__dict__["__builtins__"] = builtins
        self.argv: list[str] = [name, *args]

    @abstractmethod
    def place(self) -> str:
        """Return what ``sys.path`` begins with."""

    @abstractmethod
    def run(self) -> None:
        """Run it; what it raises goes through."""

    def become_main(self) -> None:
        """Make this process look as Python makes it look to a program."""
        sys.modules["__main__"] = self.module
        sys.argv[:] = self.argv
        if not sys.flags.safe_path:
            sys.path[0] = self.place()


def of_path(path: str, args: Sequence[str]) -> Program:
    """Return the program of a file, of a directory or zip file, or of ``-``."""
    if path == "-":
        return _Input(path, args)
    packed = Path(path).is_dir() or zipfile.is_zipfile(path)
    return (_Packed if packed else _Script)(path, args)


class _Script(Program):
    def __init__(self, name: str, args: Sequence[str]) -> None:
        super().__init__(name, args)
        path = str(Path(name).absolute())
        self.module.__file__ = path
        self.module.__loader__ = SourceFileLoader("__main__", path)

    def place(self) -> str:
        return str(Path(self.argv[0]).resolve().parent)

    def run(self) -> None:
        assert self.module.__file__
        with io.open_code(self.module.__file__) as source:
            text = source.read()
        _execute(self.module, text, self.module.__file__)


class _Input(Program):
    def place(self) -> str:
        return ""

    def run(self) -> None:
        _execute(self.module, sys.stdin.buffer.read(), "<stdin>")


def _execute(module: ModuleType, text: bytes, name: str) -> None:
    code = compile(text, name, "exec", dont_inherit=True)
    exec(code, module.__dict__)  # noqa: S102  (to run it is what we are for)


class _Packed(Program):
    """A directory or zip file with a ``__main__.py``."""

    def place(self) -> str:
        return str(Path(self.argv[0]).absolute())

    def run(self) -> None:
        _run_as_main("__main__", alter_argv=False)


class Module(Program):
    """A module, as ``python -m`` runs one."""

    def __init__(self, name: str, args: Sequence[str]) -> None:
        super().__init__("-m", args)
        self._name = name

    def place(self) -> str:
        return str(Path.cwd())

    def run(self) -> None:
        _run_as_main(self._name, alter_argv=True)


def _run_as_main(name: str, *, alter_argv: bool) -> None:
    """Run a module in the present ``__main__``, which ``run_module`` would put back.

    This is what Python itself calls for ``-m``, for directories and for zip files.
    """
    run: Any = runpy._run_module_as_main  # type: ignore[attr-defined]  # no public twin
    run(name, alter_argv)
