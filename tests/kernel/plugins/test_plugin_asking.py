from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import pytest

import jackfield as jf
from jackfield.abc import CheckpointStore
from jackfield.errors import (
    CheckpointError,
    ConfigurationError,
    PluginLoadError,
    PluginNotFoundError,
    PluginWarning,
)
from jackfield.plugins import PluginManager

Install = Callable[..., None]

POOLS = "[jackfield.executors]\none = lab_one\ntwo = lab_two\n"
POOL = """
    import jackfield as jf
    from concurrent.futures import ThreadPoolExecutor

    @jf.hookimpl
    def jackfield_create_executor(label):
        return ThreadPoolExecutor(1, thread_name_prefix={tag!r} + label)
"""


def prefix(executor: object) -> str:
    return str(vars(executor)["_thread_name_prefix"])


class Answers:
    """A plugin that gives one answer for everything it is asked for."""

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.asked: list[Any] = []

    def _give(self, *arguments: object) -> Any:
        self.asked.append(arguments)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer

    @jf.hookimpl
    def jackfield_create_executor(
        self, kind: str, label: str, options: Mapping[str, Any]
    ) -> Any:
        return self._give(kind, label, options)

    @jf.hookimpl
    def jackfield_open_checkpoint(self, url: str, options: Mapping[str, Any]) -> Any:
        return self._give(url, options)


# -- Executors


def test_only_the_plugin_of_that_name_is_asked(install: Install) -> None:
    install(
        "lab-tools",
        POOLS,
        lab_one=POOL.format(tag="one-"),
        lab_two=POOL.format(tag="two-"),
    )
    manager = PluginManager()

    made = [manager.create_executor(kind, "cpu", {}) for kind in ("one", "two", "one")]

    assert list(map(prefix, made)) == ["one-cpu", "two-cpu", "one-cpu"]


def test_the_program_is_asked_first() -> None:
    pool = ThreadPoolExecutor(1)
    plugin = Answers(pool)

    made = PluginManager([plugin]).create_executor("threads", "cpu", {"workers": 3})

    assert made is pool
    assert plugin.asked == [("threads", "cpu", {"workers": 3})]


def test_the_program_may_answer_for_a_name_that_is_not_installed() -> None:
    pool = ThreadPoolExecutor(1)

    assert PluginManager([Answers(pool)]).create_executor("mine", "cpu", {}) is pool


def test_the_program_may_leave_it_to_the_installed_one() -> None:
    plugin = Answers(None)

    made = PluginManager([plugin]).create_executor("threads", "cpu", {"workers": 1})

    assert type(made).__module__ == "jackfield_executors.threads"
    assert len(plugin.asked) == 1


def test_nobody_is_a_plugin_that_is_not_found() -> None:
    with pytest.raises(PluginNotFoundError, match="did you mean 'processes'"):
        PluginManager([Answers(None)]).create_executor("proceses", "cpu", {})


def test_a_plugin_that_disowns_its_name_is_told(install: Install) -> None:
    install(
        "lab-tools",
        POOLS,
        lab_one="""
            import jackfield as jf

            @jf.hookimpl
            def jackfield_create_executor(): ...
        """,
    )

    with pytest.raises(PluginLoadError, match=r"'one' \(lab-tools.*answers None for"):
        PluginManager().create_executor("one", "cpu", {})


def test_a_wrong_kind_of_answer_is_told() -> None:
    with pytest.raises(PluginLoadError) as caught:
        PluginManager([Answers("pool")]).create_executor("mine", "cpu", {})

    assert "'Answers'" in str(caught.value)
    assert "its jackfield_create_executor gave a str, not a" in str(caught.value)


def test_a_bad_option_stays_what_it_is_and_names_the_plugin() -> None:
    error = ConfigurationError("workers is 0")

    with pytest.raises(ConfigurationError, match="workers is 0") as caught:
        PluginManager([Answers(error)]).create_executor("mine", "cpu", {})

    assert caught.value is error
    assert "plugin 'Answers'" in caught.value.__notes__[0]


@pytest.mark.parametrize("error", [ZeroDivisionError("oh"), SystemExit("oh")])
def test_another_exception_is_the_plugins_fault(error: BaseException) -> None:
    with pytest.raises(PluginLoadError) as caught:
        PluginManager([Answers(error)]).create_executor("mine", "cpu", {})

    assert f"raised {type(error).__name__}: oh" in str(caught.value)
    assert "jackfield_create_executor" in str(caught.value)
    assert caught.value.__cause__ is error


def test_an_exception_whose_message_raises_is_told_all_the_same() -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    with pytest.raises(PluginLoadError, match="raised Odd"):
        PluginManager([Answers(Odd())]).create_executor("mine", "cpu", {})


def test_ctrl_c_passes() -> None:
    with pytest.raises(KeyboardInterrupt):
        PluginManager([Answers(KeyboardInterrupt())]).create_executor("a", "b", {})


def test_a_wrapper_of_the_program_gets_hold_of_an_installed_executor() -> None:
    seen: list[object] = []

    class Wrap:
        @jf.hookimpl(wrapper=True)
        def jackfield_create_executor(self) -> Any:
            made = yield
            seen.append(made)
            return made

    made = PluginManager([Wrap()]).create_executor("threads", "cpu", {"workers": 1})

    assert seen == [made]
    assert isinstance(made, (jf.abc.Executor, Executor))


# -- Checkpoint stores


class Store(CheckpointStore):
    def get(self, key: bytes) -> None: ...

    def put_many(self, records: Any) -> None: ...

    def keys(self) -> Any: ...

    def delete(self, keys: Any) -> None: ...

    def close(self) -> None: ...


STORE = """
    import jackfield as jf

    @jf.hookimpl
    def jackfield_open_checkpoint(url, options):
        raise jf.ConfigurationError(f"{url} {options}")
"""


def test_a_store_comes_from_the_program_or_from_its_scheme(install: Install) -> None:
    install("lab-tools", "[jackfield.checkpoint]\nlabdb = lab\n", lab=STORE)
    store = Store()

    assert PluginManager([Answers(store)]).open_checkpoint("mem:", {}) is store
    with pytest.raises(ConfigurationError, match=r"LABDB://x \{'a': 1\}"):
        PluginManager().open_checkpoint("LABDB://x", {"a": 1})


def test_an_unknown_scheme_is_a_plugin_that_is_not_found() -> None:
    with pytest.raises(
        PluginNotFoundError, match="No checkpoint plugin is named 'zzz'"
    ):
        PluginManager().open_checkpoint("zzz://x", {})


def test_a_store_without_a_scheme_is_told_how_to_write_it() -> None:
    with pytest.raises(ConfigurationError, match=r"'results\.db' names no plugin"):
        PluginManager().open_checkpoint("results.db", {})


def test_a_store_that_cannot_be_opened_says_so_itself() -> None:
    with pytest.raises(CheckpointError, match="locked"):
        PluginManager([Answers(CheckpointError("locked"))]).open_checkpoint("a://", {})


# -- Files

FTP = """
    import jackfield as jf

    @jf.hookimpl
    def jackfield_stage_in(transfer):
        return "gopher"
"""


class Everything:
    @jf.hookimpl
    def jackfield_stage_in(self, transfer: Any) -> str:
        return "program"


def answers(functions: tuple[Callable[..., Any], ...]) -> list[Any]:
    return [function(None) for function in functions]


def test_staging_asks_the_program_and_then_the_scheme(install: Install) -> None:
    install("lab-tools", "[jackfield.staging]\ngopher = lab\n", lab=FTP)
    manager = PluginManager([Everything()])

    assert answers(manager.staging("gopher", "jackfield_stage_in")) == [
        "program",
        "gopher",
    ]
    assert answers(manager.staging("http2", "jackfield_stage_in")) == ["program"]
    assert manager.staging("gopher", "jackfield_stage_out") == ()


def test_a_scheme_is_loaded_when_it_is_first_asked_for(install: Install) -> None:
    install("lab-tools", "[jackfield.staging]\ngopher = lab\n", lab=FTP)
    manager = PluginManager()

    assert manager.staging("irods", "jackfield_stage_in") == ()
    assert "lab" not in sys.modules
    assert answers(manager.staging("gopher", "jackfield_stage_in")) == ["gopher"]
    assert manager.staging("gopher", "jackfield_stage_in") is manager.staging(
        "gopher", "jackfield_stage_in"
    )


def test_a_plugin_registered_later_stages_too(install: Install) -> None:
    install("lab-tools", "[jackfield.staging]\ngopher = lab\n", lab=FTP)
    manager = PluginManager()
    manager.staging("gopher", "jackfield_stage_in")

    manager.register(Everything())

    assert answers(manager.staging("gopher", "jackfield_stage_in")) == [
        "program",
        "gopher",
    ]


def test_a_broken_scheme_is_an_error_where_it_is_needed(install: Install) -> None:
    install(
        "lab-tools", "[jackfield.staging]\ngopher = lab\n", lab="import lab_missing"
    )

    with pytest.raises(PluginLoadError, match="lab_missing"):
        PluginManager().staging("gopher", "jackfield_stage_in")


# -- Memo keys

ARRAY = """
    import jackfield as jf

    class Array: ...

    @jf.hookimpl
    def jackfield_hash_value(value):
        return b"array"
"""


class Hasher:
    @jf.hookimpl
    def jackfield_hash_value(self, value: Any) -> bytes:
        return b"program"


def test_a_type_is_hashed_by_the_plugin_named_like_its_package(
    install: Install,
) -> None:
    install("lab-memo", "[jackfield.memo]\nlab_array = lab_memo\n", lab_memo=ARRAY)
    array = type("Array", (), {"__module__": "lab_array.core"})
    manager = PluginManager([Hasher()])

    assert answers(manager.value_hashers(array)) == [b"program", b"array"]
    assert answers(manager.value_hashers(Hasher)) == [b"program"]
    assert answers(manager.value_hashers(int)) == [b"program"]


def test_a_broken_hasher_is_warned_of(install: Install) -> None:
    install("lab-memo", "[jackfield.memo]\nlab_array = lab_memo\n", lab_memo="1 / 0")
    array = type("Array", (), {"__module__": "lab_array"})

    with pytest.warns(PluginWarning, match="ZeroDivisionError"):
        assert PluginManager().value_hashers(array) == ()


def test_a_hasher_that_is_not_allowed_is_left_out(install: Install) -> None:
    install("lab-memo", "[jackfield.memo]\nlab_array = lab_memo\n", lab_memo="1 / 0")
    array = type("Array", (), {"__module__": "lab_array"})

    assert PluginManager(allow=[]).value_hashers(array) == ()
    assert PluginManager(block=["lab_array"]).value_hashers(array) == ()


# -- Profiles


def test_a_profile_is_what_the_entry_point_names(install: Install) -> None:
    install(
        "lab-tools",
        "[jackfield.profiles]\nlab = lab:make\ntable = lab:TABLE\n",
        lab="def make(): ...\nTABLE = {'retries': 1}\n",
    )
    manager = PluginManager()

    assert manager.profile("table") == {"retries": 1}
    assert manager.profile("lab") is sys.modules["lab"].make


def test_an_unknown_profile_gets_a_suggestion(install: Install) -> None:
    install("lab-tools", "[jackfield.profiles]\nlab-site = lab:make\n", lab="")

    with pytest.raises(PluginNotFoundError, match="did you mean 'lab-site'"):
        PluginManager().profile("labsite")


def test_a_broken_profile_is_told_with_its_distribution(install: Install) -> None:
    install("lab-tools", "[jackfield.profiles]\nlab = lab:make\n", lab="")

    with pytest.raises(PluginLoadError, match=r"lab-tools 1\.0.*AttributeError"):
        PluginManager().profile("lab")


ANY = """
    import jackfield as jf

    @jf.hookimpl
    def jackfield_stage_in(transfer): ...

    @jf.hookimpl{mark}
    def {serves}
"""


@pytest.mark.parametrize(
    ("serves", "mark", "served"),
    [
        ("jackfield_serves_scheme(scheme): return scheme == 'gopher'", "", True),
        ("jackfield_serves_scheme(scheme): return scheme == 'x'", "", False),
        ("jackfield_serves_scheme(): return False", "", False),
        ("jackfield_serves_scheme(): return None", "", True),
        ("no(scheme): return 0 > 1", "(specname='jackfield_serves_scheme')", False),
    ],
    ids=str,
)
def test_the_plugin_any_says_which_schemes_it_serves(
    install: Install, serves: str, mark: str, served: bool
) -> None:
    # The distribution's name hides our own `any`, and nothing can be named like it.
    source = ANY.format(serves=serves, mark=mark)
    install("jackfield", "[jackfield.staging]\nany = lab_any\n", lab_any=source)

    asked = PluginManager().staging("gopher", "jackfield_stage_in")

    assert len(asked) == served


def test_the_plugin_any_is_blamed_for_what_it_raises(install: Install) -> None:
    source = ANY.format(serves="jackfield_serves_scheme(): 1 / 0", mark="")
    install("jackfield", "[jackfield.staging]\nany = lab_any\n", lab_any=source)

    with pytest.raises(PluginLoadError, match=r"'any' .* raised ZeroDivisionError"):
        PluginManager().staging("gopher", "jackfield_stage_in")
