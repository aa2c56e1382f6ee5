"""Whoever runs the command lines of bash apps, the kernel uses it in the same way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import jackfield as jf
from jackfield.abc import Command
from jackfield.errors import PluginLoadError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Noted(Command):
    """Runs nothing, and notes what it was to run."""

    def __init__(self, function: Callable[..., str], name: str) -> None:
        self.function = function
        self.name = name
        self.lines: list[str] = []

    def __call__(self, /, *args: Any, **kwargs: Any) -> int:
        given = {name: kwargs[name] for name in kwargs if name.isidentifier()}
        given.pop("_jackfield_stderr")
        self.lines.append(self.function(*args, **given))
        return 7


class Shell:
    """Makes them, and knows them."""

    def __init__(self) -> None:
        self.made: list[Noted] = []

    @jf.hookimpl
    def jackfield_create_command(
        self, function: Callable[..., str], name: str
    ) -> Command:
        self.made.append(Noted(function, name))
        return self.made[-1]


@jf.bash_app
def say(what: str, times: int = 1) -> str:
    return "; ".join([f"echo {what}"] * times)


class Speaker:
    """Has a bash app for a method."""

    @jf.bash_app
    def speak(self) -> str:
        return "echo hello"


def config(tmp_path: Path, *plugins: object) -> jf.Config:
    return jf.Config(run_dir=tmp_path / "runs", plugins=plugins)


def test_one_command_is_made_for_an_app_in_each_kernel(tmp_path: Path) -> None:
    shell = Shell()
    for _ in range(2):
        with jf.load(config(tmp_path, shell)) as kernel:
            assert say("a").result(60) == 7
            assert kernel.submit(say, "b", times=2).result(60) == 7
            assert [Speaker().speak().result(60) for _ in range(2)] == [7, 7]

    names = [one.name for one in shell.made]
    assert names == ["say", "speak"] * 2
    assert [one.lines for one in shell.made if one.name == "say"] == [
        ["echo a", "echo b; echo b"]
    ] * 2


def test_without_any_the_call_of_a_bash_app_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JACKFIELD_PLUGINS", "-bash")

    with jf.load(config(tmp_path)) as kernel:
        with pytest.raises(PluginLoadError, match="bash"):
            say("a")
        assert kernel.submit(len, "ab").result(60) == 2
