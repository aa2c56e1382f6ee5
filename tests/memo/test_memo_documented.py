"""What the page on identity shows is so."""

from __future__ import annotations

import re
import types
from pathlib import Path
from typing import Any

import pytest

from jackfield.errors import MemoKeyError
from jackfield.memo_keys import with_parts
from jackfield_memo.key_maker import PythonKeyMaker

PAGE = Path(__file__).parents[2] / "docs" / "memo-identity.md"


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> types.SimpleNamespace:
    """The names that the page's examples define, and what they print."""
    names: dict[str, Any] = {"__name__": "page"}
    blocks = re.findall(
        r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL
    )
    assert len(blocks) == 6
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    return types.SimpleNamespace(**names, globals=names, printed=capsys.readouterr())


def test_a_constant_that_a_helper_uses_counts(
    identity: PythonKeyMaker, shown: Any
) -> None:
    before = identity.function(shown.work).digest
    shown.globals["RATE"] = 4

    assert identity.function(shown.work).digest != before


def test_a_setting_that_changes_while_the_program_runs_counts(
    identity: PythonKeyMaker, shown: Any
) -> None:
    before = identity.function(shown.search).digest
    shown.OPTIONS["depth"] = 3

    assert identity.function(shown.search).digest != before


def test_dynamic_code_is_noted(shown: Any) -> None:
    """Its module counts as a whole, so what is noted of that follows."""
    assert re.match(r"page\.by_name \(.*\) calls globals\n", shown.printed.out)


def test_a_class_is_taught(identity: PythonKeyMaker, shown: Any) -> None:
    def of(url: str) -> bytes:
        return identity.value("app", "argument 'x'", shown.Connection(url))

    assert of("a") == of("a") != of("b")


def test_a_plugin_teaches_a_class(identity: PythonKeyMaker, shown: Any) -> None:
    plugin = shown.ShelfPlugin()
    taught = PythonKeyMaker(
        value_hooks=lambda kind: (with_parts(plugin.jackfield_hash_value),),
        function_hooks=lambda: (),
    )

    def of(*books: str) -> bytes:
        return taught.value("app", "argument 'x'", shown.Shelf(*books))

    assert of("a") == of("a") != of("b")
    with pytest.raises(MemoKeyError):
        identity.value("app", "argument 'x'", shown.Shelf("a"))


def test_the_place_in_an_argument_is_named_as_the_page_says(
    identity: PythonKeyMaker, shown: Any
) -> None:
    def f(x: Any) -> None:
        pass

    holder = types.SimpleNamespace(lock=object())
    with pytest.raises(MemoKeyError) as caught:
        identity.key("f", identity.function(f), ({"a": [0, 1, 2, holder]},), {})

    assert f"`{caught.value.what}`" in PAGE.read_text()
