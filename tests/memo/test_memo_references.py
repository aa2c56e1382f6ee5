"""What a function refers to, as its code object or its syntax tree has it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from jackfield_memo.key_maker import PythonKeyMaker
from jackfield_memo.references import (
    Import,
    changed_chains,
    global_chains,
    imports_in_code,
)

Importer = Callable[..., ModuleType]


def made(text: str, **names: Any) -> Any:
    """Return the function ``f`` of a text that nobody can find."""
    exec(text, names)
    return names["f"]


# -- The bodies of classes


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("helper = helper", True),
        ("x = helper.part", True),
        ("helper = 1\n  x = helper", False),
        ("if x:\n    helper = 1\n  y = helper", True),
        ("for helper in x:\n    pass\n  y = helper", True),
        ("while x:\n    y = helper\n    helper = 1", True),
        (
            "try:\n    y = x()\n    helper = 1\n  except E:\n    pass\n  z = helper",
            True,
        ),
        ("with x:\n    y()\n    helper = 1\n  z = helper", True),
        ("helper = 1\n  del helper\n  y = helper", True),
        ("helper = 1\n  while x:\n    y = helper\n    del helper", True),
        ("helper = 1\n  del helper\n  helper = 2\n  y = helper", False),
        ("helper = 1\n  if x:\n    y = helper", False),
        ("helper = 1\n  def run(self):\n    return helper", True),
        ("def helper(self):\n    pass\n  y = helper", False),
    ],
)
def test_a_name_in_a_class_is_a_global_until_it_is_bound_for_certain(
    body: str, found: bool
) -> None:
    function = made(f"def f(x, y):\n class A:\n  {body}\n return A")

    chains = global_chains(function.__code__)

    assert ("helper" in {chain[0] for chain in chains}) is found


def test_an_edit_of_a_global_that_a_class_binds_again_is_seen(
    identity: PythonKeyMaker, project: Importer
) -> None:
    found = set()
    for number in (1, 2):
        sys.modules.pop("app", None)
        app = project(
            app=f"def helper():\n    return {number}\n"
            "def f():\n    class A:\n        helper = helper\n    return A.helper()\n"
        )
        assert app.f() == number
        found.add(identity.function(app.f).digest)

    assert len(found) == 2


# -- Imports without source


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("import a", {(0, "a", ())}),
        ("import a.b.c", {(0, "a", ()), (0, "a.b", ()), (0, "a.b.c", ())}),
        ("from a.b import c", {(0, "a.b", ()), (0, "a.b", ("c",))}),
        ("from .a import b", {(1, "a", ()), (1, "a", ("b",))}),
        ("from .. import a as b", {(2, "", ()), (2, "", ("a",))}),
    ],
)
def test_imports_are_found_in_code(
    statement: str, found: set[tuple[int, str, tuple[str, ...]]]
) -> None:
    code = made(f"def f():\n def g():\n  {statement}\n return g").__code__

    assert imports_in_code(code) == {Import(*one) for one in found}


def test_an_import_is_found_in_long_code() -> None:
    many = "\n".join(f" x = {number}.5, x.a{number}" for number in range(300))
    code = made(f"def f(x):\n{many}\n from ..last import one").__code__

    assert imports_in_code(code) == {Import(2, "last", ()), Import(2, "last", ("one",))}


@pytest.mark.parametrize(
    "statement", ["from .mod import g", "from . import mod", "from pkg import mod"]
)
def test_an_edit_of_a_module_that_code_without_source_imports_is_seen(
    identity: PythonKeyMaker, project: Importer, statement: str, tmp_path: Any
) -> None:
    package = tmp_path / "project" / "pkg"
    package.mkdir()
    (package / "__init__.py").write_text("")
    project(app="")
    found = set()
    for number in (1, 2):
        (package / "mod.py").write_text(f"def g():\n    return {number}\n")
        maker = PythonKeyMaker(value_hooks=lambda _: (), function_hooks=lambda: ())
        function = made(f"def f():\n {statement}\n", __package__="pkg")
        found.add(maker.function(function).digest)

    assert len(found) == 2


# -- What code changes


@pytest.mark.parametrize(
    "call",
    [
        "difference_update(x)",
        "intersection_update(x)",
        "symmetric_difference_update(x)",
        "rotate(1)",
        "move_to_end(x)",
        "popitem()",
        "setdefault(x, 1)",
        "__setitem__(x, 1)",
        "__delitem__(x)",
    ],
)
def test_methods_that_change_containers_are_known(call: str) -> None:
    tree = ast.parse(f"module.STATE.{call}")

    assert changed_chains([tree]) == {("module", "STATE")}


@pytest.mark.parametrize(
    ("state", "change"),
    [
        ("{1, 2}", "difference_update({x})"),
        ("{1, 2}", "intersection_update({x})"),
        ("{1, 2}", "symmetric_difference_update({x})"),
        ("collections.deque([1, 2])", "rotate(1)"),
        ("collections.OrderedDict(a=1, b=2)", "move_to_end('a')"),
        ("{}", "__setitem__(x, 1)"),
        ("{1: 2}", "__delitem__(1)"),
    ],
)
def test_a_function_that_changes_its_own_container_stays_the_same(
    identity: PythonKeyMaker, project: Importer, state: str, change: str
) -> None:
    app = project(
        app=f"import collections\nSTATE = {state}\n"
        f"def f(x):\n    STATE.{change}\n    return x\n"
    )
    before = identity.function(app.f)
    app.f(1)

    assert identity.function(app.f) is before
