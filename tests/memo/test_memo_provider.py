"""Who makes keys: a plugin, asked with the first cached call, and only then."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import jackfield as jf
from jackfield.errors import PluginLoadError
from jackfield.memo_keys import CallKey, FunctionIdentity, KeyMaker
from jackfield.plugins import PluginManager
from jackfield.plugins.key_makers import create_key_maker

LIMIT_S = 20.0


class ByName(KeyMaker):
    """Functions count by name, arguments by their text."""

    def function(
        self,
        function: Callable[..., Any],
        *,
        version: str | None = None,
        depends_on: Sequence[Callable[..., Any]] = (),
    ) -> FunctionIdentity:
        name = function.__name__
        digest = hashlib.sha256(name.encode()).digest()
        return FunctionIdentity(digest, {f"function {name}": digest.hex()})

    def is_costly(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        outputs: Sequence[jf.File] = (),
    ) -> bool:
        return "costly" in args

    def key(
        self,
        app: str,
        function: FunctionIdentity,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        ignore: Collection[str] = (),
    ) -> CallKey:
        given = repr(args[0]) if args else ""
        key = hashlib.sha256(function.digest + given.encode()).digest()
        return key, lambda: {**function.parts, "argument first": given}

    def file(self, path: str) -> bytes:
        return Path(path).read_bytes()


class Provider:
    def __init__(self) -> None:
        self.asked: list[str] = []

    @jf.hookimpl
    def jackfield_create_key_maker(self, files: str) -> KeyMaker:
        self.asked.append(files)
        return ByName()


@jf.python_app(cache=True)
def twice(x: Any, unseen: Any = None) -> Any:
    return x, x


@jf.python_app
def uncached(x: int) -> int:
    return x


@jf.python_app(cache=True)
def written(outputs: Sequence[jf.File] = ()) -> str:
    Path(outputs[0]).write_text("made")
    return "done"


# -- A plugin of the program


def test_a_plugin_of_the_program_makes_the_keys(tmp_path: Path) -> None:
    provider = Provider()
    config = {"run_dir": str(tmp_path)}
    with jf.load(config, plugins=[provider]):
        first = twice(1, unseen="a")
        assert first.result(LIMIT_S) == (1, 1)
        second = twice(1, unseen="b")
        assert second.result(LIMIT_S) == (1, 1)
        assert twice("costly").result(LIMIT_S) == ("costly", "costly")

        assert (first.memo.status, second.memo.status) == ("miss", "hit")
        name = hashlib.sha256(b"twice").digest()
        assert first.memo.key == hashlib.sha256(name + b"1").hexdigest()
    assert provider.asked == ["content"]


def test_nobody_is_asked_without_a_cached_call(tmp_path: Path) -> None:
    provider = Provider()
    with jf.load({"run_dir": str(tmp_path)}, plugins=[provider]):
        assert uncached(1).result(LIMIT_S) == 1

    assert provider.asked == []


def test_a_provider_is_told_what_files_count_by(tmp_path: Path) -> None:
    provider = Provider()
    table = {"store": "memory", "files": "stat"}
    config = {"run_dir": str(tmp_path), "checkpoint": table}
    with jf.load(config, plugins=[provider]):
        twice(1).result(LIMIT_S)

    assert provider.asked == ["stat"]


def test_explain_compares_the_parts_that_the_plugin_gives(tmp_path: Path) -> None:
    for number, argument in enumerate((1, 2)):
        with jf.load({"run_dir": str(tmp_path)}, plugins=[Provider()]):
            future = twice(argument)
            future.result(LIMIT_S)
            told = str(jf.explain(future))
        assert ("argument first has changed" in told) == bool(number)


def test_outputs_are_compared_by_what_the_plugin_says(tmp_path: Path) -> None:
    path = tmp_path / "made.txt"

    def status() -> str:
        future = written(outputs=[jf.File(path)])
        future.result(LIMIT_S)
        return future.memo.status

    with jf.load({"run_dir": str(tmp_path / "runs")}, plugins=[Provider()]):
        assert [status(), status()] == ["miss", "hit"]
        path.write_text("edited")
        assert status() == "miss"


# -- The one that is installed


def test_the_installed_plugin_makes_the_keys_of_all_others() -> None:
    maker = create_key_maker(PluginManager())

    assert type(maker).__module__ == "jackfield_memo.on_use"
    assert isinstance(maker, KeyMaker)


def test_without_a_key_maker_a_cached_call_says_what_to_do(tmp_path: Path) -> None:
    with jf.load({"run_dir": str(tmp_path)}, block_plugins=["python"]):
        assert uncached(1).result(LIMIT_S) == 1
        for _ in range(2):
            with pytest.raises(PluginLoadError) as caught:
                twice(1).result(LIMIT_S)

            assert caught.value.plugin == "python"
            told = str(caught.value)
            assert told.startswith("Plugin 'python' (jackfield ")
            assert "it is blocked" in told
            assert "app_cache = false" in told
        assert uncached(2).result(LIMIT_S) == 2


def test_a_key_maker_that_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    site = tmp_path / "site" / "jackfield-0.dist-info"
    site.mkdir(parents=True)
    (site / "METADATA").write_text("Name: jackfield\nVersion: 0\n")
    monkeypatch.syspath_prepend(site.parent)  # hides the distribution that is installed

    with pytest.raises(PluginLoadError, match=r"'python' .*it is not installed"):
        create_key_maker(PluginManager())


def test_a_blocked_one_is_not_missed_where_another_answers() -> None:
    manager = PluginManager([Provider()], block=["python"])

    assert isinstance(create_key_maker(manager), ByName)


def test_a_provider_that_raises_is_named(tmp_path: Path) -> None:
    class Broken:
        @jf.hookimpl
        def jackfield_create_key_maker(self) -> KeyMaker:
            raise OSError("no luck")

    with jf.load({"run_dir": str(tmp_path)}, plugins=[Broken()]):
        error = twice(1).exception(LIMIT_S)

    assert isinstance(error, PluginLoadError)
    assert "Broken" in str(error)
    assert "no luck" in str(error)


def test_a_provider_that_gives_something_else_is_named() -> None:
    class Wrong:
        @jf.hookimpl
        def jackfield_create_key_maker(self) -> Any:
            return "key maker"

    with pytest.raises(PluginLoadError, match=r"gave a str, not a .*KeyMaker"):
        create_key_maker(PluginManager([Wrong()]))


# -- What is imported when


LOADED = """
import sys
import jackfield as jf

@jf.python_app(cache={cache})
def work(x):
    return x

def ours():
    names = [name for name in sys.modules if name.startswith("jackfield_memo")]
    return sorted(names)

if __name__ == "__main__":
    print(ours())
    with jf.load({{"run_dir": {run_dir!r}}}):
        assert work(1).result() == 1
        print(ours())
"""


def loaded(directory: Path, *, cache: bool) -> list[str]:
    text = LOADED.format(cache=cache, run_dir=str(directory / "runs"))
    script = directory / "script.py"
    script.write_text(text)
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=directory,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_run_without_cached_apps_imports_nothing_of_it(tmp_path: Path) -> None:
    assert loaded(tmp_path, cache=False) == ["[]", "[]"]


def test_a_cached_call_imports_it(tmp_path: Path) -> None:
    before, after = loaded(tmp_path, cache=True)

    assert before == "[]"
    assert "'jackfield_memo.key_maker'" in after
    assert "'jackfield_memo.numpy'" not in after


# -- What the page of hooks shows


def test_the_key_maker_of_the_documents_works(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "hooks.md").read_text()
    section = page.partition("## jackfield_create_key_maker")[2]
    shown = re.search(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert shown
    plugin = ModuleType("by_name")
    exec(compile(shown[1], "docs/hooks.md", "exec"), vars(plugin))
    out = jf.File(tmp_path / "made.txt")

    with jf.load({"run_dir": str(tmp_path / "runs")}, plugins=[plugin]):
        calls = [twice(1), twice(1), twice(2), written(outputs=[out])]
        for call in calls:
            call.result(LIMIT_S)
        again = written(outputs=[out])
        again.result(LIMIT_S)

        found = [call.memo.status for call in [*calls, again]]
        assert sorted(found[:2]) == ["hit", "miss"]
        assert found[2:] == ["miss", "miss", "hit"]
        assert calls[0].memo.key == calls[1].memo.key != calls[2].memo.key
