from __future__ import annotations

from collections.abc import Callable

import pytest

from jackfield.errors import PluginLoadError, PluginNotFoundError
from jackfield.plugins import PluginManager
from jackfield.plugins.selection import VARIABLE, blocking
from jackfield_cli._listing import listing

Install = Callable[..., None]

WATCH = """
    import jackfield as jf

    @jf.hookimpl
    def jackfield_task_events(events): ...
"""
EXECUTOR = """
    import jackfield as jf

    @jf.hookimpl
    def jackfield_create_executor(kind): ...
"""


@pytest.fixture(autouse=True)
def two_observers_and_an_executor(install: Install) -> None:
    install(
        "lab-tools",
        "[jackfield.plugins]\na = lab_a\nb = lab_b\n[jackfield.executors]\nx = lab_x\n",
        lab_a=WATCH,
        lab_b=WATCH,
        lab_x=EXECUTOR,
    )


def loaded(manager: PluginManager) -> str:
    """Load what loads unasked; return the names of the lab's plugins in use."""
    manager.load_general()
    infos = listing(manager)
    return "".join(
        one.name for one in infos if one.loaded and one.distribution == "lab-tools"
    )


def test_all_load_by_default() -> None:
    assert loaded(PluginManager()) == "ab"


def test_a_list_of_allowed_plugins_leaves_out_the_others() -> None:
    assert loaded(PluginManager(allow=["b"])) == "b"


def test_an_empty_list_leaves_out_all() -> None:
    assert loaded(PluginManager(allow=[])) == ""


def test_a_blocked_plugin_does_not_load() -> None:
    assert loaded(PluginManager(block=["b"])) == "a"


def test_blocking_wins_over_allowing() -> None:
    assert loaded(PluginManager(allow=["a", "b"], block=["b"])) == "a"


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("", ""),
        ("-*", ""),
        ("-*,b", "b"),
        ("a", "a"),
        (" a , b ,", "ab"),
        ("-a", "b"),
        ("a,b,-a", "b"),
    ],
)
def test_the_variable_says_which_load(
    monkeypatch: pytest.MonkeyPatch, value: str, names: str
) -> None:
    monkeypatch.setenv(VARIABLE, value)

    assert loaded(PluginManager()) == names


def test_the_variables_list_replaces_the_configurations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, "a")

    assert loaded(PluginManager(allow=["b"])) == "a"


def test_blocks_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "-a")

    assert loaded(PluginManager(block=["b"])) == ""


def test_what_is_asked_for_needs_no_permission() -> None:
    manager = PluginManager(allow=[])
    manager.load("executor", "x")

    assert loaded(manager) == "x"


def test_asking_for_a_blocked_plugin_tells_who_blocks_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(PluginLoadError, match=r"lab-tools 1\.0.*\[plugins\] block"):
        PluginManager(block=["x"]).load("executor", "x")

    monkeypatch.setenv(VARIABLE, "-x")
    with pytest.raises(PluginLoadError, match="JACKFIELD_PLUGINS or --no-plugin"):
        PluginManager().load("executor", "x")


def test_an_allowed_name_that_is_not_installed_is_an_error() -> None:
    with pytest.raises(PluginNotFoundError, match="No installed plugin is named 'bb'"):
        PluginManager(allow=["bb"]).load_general()


def test_an_executor_may_be_listed_as_allowed() -> None:
    assert loaded(PluginManager(allow=["a", "x"])) == "a"


def test_blocked_plugins_are_not_imported(install: Install) -> None:
    install("bad", "[jackfield.plugins]\nboom = bad\n", bad="raise SystemExit")

    assert loaded(PluginManager(block=["boom"])) == "ab"


@pytest.mark.parametrize(
    ("before", "after"),
    [(None, "-x"), ("", "-*,-x"), ("a", "a,-x"), ("-b,a", "-b,a,-x"), ("-*", "-*,-x")],
)
def test_a_further_block_keeps_what_the_variable_says(
    before: str | None, after: str
) -> None:
    assert blocking(before, ["x"]) == after
