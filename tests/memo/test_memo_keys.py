"""The key of a call: which arguments count, under which names, and what is told."""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from jackfield import File
from jackfield.errors import MemoKeyError
from jackfield_results.manifests import changes

if TYPE_CHECKING:
    from types import ModuleType

    from jackfield_memo.key_maker import PythonKeyMaker

    Importer = Callable[..., ModuleType]

UNKNOWN = object()


def f(x: Any, y: Any = 2, *rest: Any, z: Any = 3, **more: Any) -> Any:
    return x, y, rest, z, more


def only(x: Any, /, y: Any = 2, **more: Any) -> Any:
    return x, y, more


def sentinel(x: Any = UNKNOWN) -> Any:
    return x


def key(
    identity: PythonKeyMaker, function: Callable[..., Any], *args: Any, **kwargs: Any
) -> bytes:
    known = identity.function(function)
    return identity.key("app", known, args, kwargs)[0]


def test_a_key_has_32_bytes(identity: PythonKeyMaker) -> None:
    assert len(key(identity, f, 1)) == 32


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((1, 2), {}),
        ((1,), {"y": 2}),
        ((), {"x": 1}),
        ((), {"y": 2, "x": 1}),
        ((1,), {"z": 3}),
        ((1, 2), {"z": 3}),
    ],
)
def test_the_same_call_written_otherwise_has_the_same_key(
    args: tuple[Any, ...], kwargs: dict[str, Any], identity: PythonKeyMaker
) -> None:
    assert key(identity, f, *args, **kwargs) == key(identity, f, 1)


def test_different_calls_have_different_keys(identity: PythonKeyMaker) -> None:
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((1,), {}),
        ((2,), {}),
        ((1.0,), {}),
        ((True,), {}),
        (("1",), {}),
        ((1, 3), {}),
        ((1,), {"z": 2}),
        ((1, 2, 3), {}),
        ((1, 2, 3, 4), {}),
        ((1, 2, (3, 4)), {}),
        ((1, 2), {"w": 3}),
        ((1, 2), {"w": 4}),
        ((1, 2), {"v": 3}),
        ((1, 2), {"rest": (3,)}),
        ((1, 2), {"more": {"w": 3}}),
        ((), {}),
        ((), {"y": 5}),
    ]

    found = [key(identity, f, *args, **kwargs) for args, kwargs in calls]

    assert len(set(found)) == len(calls)


def test_the_order_of_keywords_does_not_matter(identity: PythonKeyMaker) -> None:
    assert key(identity, f, 1, v=1, w=2) == key(identity, f, 1, w=2, v=1)


def test_a_keyword_is_not_the_positional_parameter_of_its_name(
    identity: PythonKeyMaker,
) -> None:
    assert key(identity, only, 1, x=2) != key(identity, only, 2, x=1)
    assert key(identity, only, 1, y=2) == key(identity, only, 1)


def test_a_default_that_has_no_identity_may_be_left_out(
    identity: PythonKeyMaker,
) -> None:
    assert key(identity, sentinel) == key(identity, sentinel, UNKNOWN)
    assert key(identity, sentinel) != key(identity, sentinel, 1)
    with pytest.raises(MemoKeyError, match="argument 'x'"):
        key(identity, sentinel, object())


def test_functions_without_a_signature_have_keys(identity: PythonKeyMaker) -> None:
    assert key(identity, max, 1, 2) == key(identity, max, 1, 2)
    assert key(identity, max, 1, 2) != key(identity, max, 2, 1)
    assert key(identity, dict, a=1) != key(identity, dict, b=1)


def test_ignored_arguments_do_not_count(identity: PythonKeyMaker) -> None:
    known = identity.function(f)

    def ignoring(*args: Any, **kwargs: Any) -> bytes:
        return identity.key("f", known, args, kwargs, ["y", "w"])[0]

    assert ignoring(1, 5) == ignoring(1) == ignoring(1, y=threading.Lock())
    assert ignoring(1, w=1) == ignoring(1, w=2)
    assert ignoring(1) != ignoring(2)


def test_the_function_counts(identity: PythonKeyMaker) -> None:
    assert key(identity, f, 1) != key(identity, only, 1)


def test_files_to_be_written_count_by_name(
    identity: PythonKeyMaker, tmp_path: Any
) -> None:
    def work(inputs: Any = (), outputs: Any = (), stdout: Any = None) -> None:
        pass

    path = tmp_path / "a.txt"
    written = File(path)
    before = key(identity, work, outputs=[written], stdout=written)
    unread = key(identity, work, inputs=[written])
    path.write_text("old")

    assert key(identity, work, outputs=[written], stdout=written) == before
    assert key(identity, work, inputs=[written]) != unread
    assert key(identity, work, outputs=[File("b.txt")]) != key(identity, work)


# -- Errors


class Holder:
    def __init__(self, lock: Any) -> None:
        self.lock = lock


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (threading.Lock(), "argument 'x': "),
        ([1, threading.Lock()], "argument 'x', at x[1]: "),
        ({"a": [0, 1, 2, Holder(threading.Lock())]}, "at x['a'][3].lock: "),
        ({1: (threading.Lock(),)}, "at x[1][0]: "),
        ({2.5, Holder(threading.Lock())}, "at x.lock: "),
        (iter([1]), "argument 'x': a builtins.list_iterator: it is used up"),
        ((n for n in "a"), "argument 'x': a builtins.generator: it is used up"),
        (object(), "argument 'x': a builtins.object: it is only itself"),
        ({}.keys(), "argument 'x': a builtins.dict_keys: .*cannot pickle"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_an_error_names_the_app_the_argument_and_the_place(
    value: object, place: str, identity: PythonKeyMaker
) -> None:
    import re

    with pytest.raises(MemoKeyError) as caught:
        key(identity, f, value)

    assert caught.value.task == "app"
    assert re.search(place.replace("[", r"\[").replace("]", r"\]"), str(caught.value))


def test_an_error_says_how_to_teach(identity: PythonKeyMaker) -> None:
    with pytest.raises(MemoKeyError, match=r"ignore_for_cache.*__jackfield_hash__"):
        key(identity, f, threading.Lock())


@pytest.mark.parametrize(
    "name", ["__reduce_ex__", "__getstate__", "__jackfield_hash__"]
)
def test_a_value_that_raises_fails_its_call_only(
    name: str, identity: PythonKeyMaker
) -> None:
    def fail(self: object, *args: object) -> Any:
        raise OSError("no luck")

    nasty = type("Nasty", (), {name: fail})

    with pytest.raises(MemoKeyError, match="no luck"):
        key(identity, f, nasty())
    assert key(identity, f, 1)


def test_a_value_whose_texts_raise_fails_its_call_only(
    identity: PythonKeyMaker,
) -> None:
    class Nasty:
        def __init__(self) -> None:
            self.lock = threading.Lock()

        def __repr__(self) -> str:
            raise OSError("no luck")

        def __eq__(self, other: object) -> bool:
            raise OSError("no luck")

        __hash__ = object.__hash__

    with pytest.raises(MemoKeyError, match=r"at x\[<Nasty>\]\.lock|at x\.lock"):
        key(identity, f, {Nasty(): 1})


# -- Manifests


def test_a_manifest_names_every_part(
    identity: PythonKeyMaker, project: Importer
) -> None:
    app = project(
        helpers="def clean(x):\n    return x\n",
        app="import helpers\nRATE = 1\n"
        "def f(x, y=2):\n    return helpers.clean(x), RATE\n",
    )
    _, manifest = identity.key("f", identity.function(app.f), (1,), {})

    assert [name.partition(" (")[0] for name in manifest()] == [
        "function app.f",
        "global app.RATE",
        "function helpers.clean",
        f"Python {sys.version_info[0]}.{sys.version_info[1]}",
        "argument x",
        "argument y",
    ]
    assert all(len(bytes.fromhex(digest)) == 32 for digest in manifest().values())


def test_a_manifest_tells_what_has_changed(
    identity: PythonKeyMaker, project: Importer
) -> None:
    def manifest(text: str, rate: int, *args: Any) -> Any:
        for name in ("app", "helpers"):
            sys.modules.pop(name, None)
        app = project(
            helpers=text,
            app="import helpers\n" + f"RATE = {rate}\n"
            "def f(x, y=2):\n    return helpers.clean(x), RATE\n",
        )
        return identity.key("f", identity.function(app.f), args, {})[1]()

    text = "def clean(x):\n    return x\n"
    base = manifest(text, 1, 1)
    moved = manifest("# a comment\n\n" + text, 1, 1)
    edited = manifest("def clean(x):\n    return -x\n", 2, 5, 2)

    assert changes(base, moved) == []
    told = [
        sentence.split(" (")[0].removesuffix(" has changed")
        for sentence in changes(base, edited)
    ]
    assert told == ["global app.RATE", "function helpers.clean", "argument x"]


def test_a_manifest_tells_what_is_new_and_gone() -> None:
    told = changes({"function a (f.py:1)": "1"}, {"function b (f.py:1)": "1"})

    assert told == ["function b (f.py:1) is new", "function a (f.py:1) is gone"]


def test_a_value_is_identified_alone(identity: PythonKeyMaker) -> None:
    assert identity.value("app", "argument 'x'", [1]) == identity.value("b", "c", [1])
    with pytest.raises(MemoKeyError, match=r"argument 'x', at \[1\]"):
        identity.value("app", "argument 'x'", [1, threading.Lock()])


def test_a_manifest_costs_nothing_until_it_is_asked_for(
    identity: PythonKeyMaker,
) -> None:
    made, manifest = identity.key("f", identity.function(f), (1,), {})

    assert manifest()["argument x"] == hashlib.sha256(b"i\x01\x01").hexdigest()
    assert made == identity.key("f", identity.function(f), (1,), {})[0]
