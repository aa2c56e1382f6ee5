from __future__ import annotations

import importlib
import signal
import sys
import warnings
from collections.abc import Callable
from threading import Barrier, Thread

import pytest

from jackfield.errors import (
    DuplicatePluginError,
    PluginLoadError,
    PluginNotFoundError,
    PluginWarning,
)
from jackfield.plugins import PluginManager
from jackfield_cli._listing import PluginInfo, listing, load_all

Install = Callable[..., None]

EXECUTOR = """
    import jackfield as jf

    @jf.hookimpl
    def jackfield_create_executor(kind): ...
"""
ONE = "[jackfield.executors]\nlab = lab\n"
GENERAL = "[jackfield.plugins]\nlab = lab\n"


def info(manager: PluginManager, distribution: str = "lab-tools") -> PluginInfo:
    (one,) = [one for one in listing(manager) if one.distribution == distribution]
    return one


def failure(name: str = "lab") -> str:
    """Ask for an executor that cannot be had; return the message."""
    manager = PluginManager()
    with pytest.raises(PluginLoadError) as caught:
        manager.load("executor", name)
    assert not info(manager).loaded
    return str(caught.value)


ODD = """
    import sys

    class Odd(type(sys)):
        def __dir__(self):
            1 / 0

    sys.modules[__name__].__class__ = Odd
"""


# -- What works


def test_nothing_is_imported_before_it_is_asked_for(install: Install) -> None:
    install("lab-tools", ONE, lab=EXECUTOR)
    manager = PluginManager()

    manager.load_general()

    assert "lab" in manager.installed("executor")
    assert "lab" not in sys.modules
    manager.load("executor", "lab")
    assert "lab" in sys.modules


def test_loading_twice_is_loading_once(install: Install) -> None:
    install("lab-tools", ONE, lab=EXECUTOR)
    manager = PluginManager()

    manager.load("executor", "lab")
    manager.load("executor", "lab")

    assert info(manager).hooks == ("jackfield_create_executor",)


@pytest.mark.parametrize("target", ["lab", "lab:Lab", "lab:lab", "lab:Box.inner"])
def test_an_entry_point_names_a_module_a_class_or_an_object(
    install: Install, target: str
) -> None:
    install(
        "lab-tools",
        f"[jackfield.executors]\nlab = {target}\n",
        lab="""
            import jackfield as jf

            class Lab:
                @jf.hookimpl
                def jackfield_create_executor(self, kind): ...

            class Box:
                inner = Lab()

            lab = Lab()

            @jf.hookimpl
            def jackfield_create_executor(kind): ...
        """,
    )
    manager = PluginManager()

    manager.load("executor", "lab")

    assert info(manager).loaded


def test_one_module_may_serve_under_many_names(install: Install) -> None:
    install(
        "lab-tools",
        "[jackfield.staging]\ngopher = lab\nsftp = lab\n"
        "[jackfield.plugins]\nlab = lab\n",
        lab="""
            import jackfield as jf

            @jf.hookimpl
            def jackfield_stage_in(transfer): ...
        """,
    )
    manager = PluginManager()

    manager.load("staging", "gopher")
    manager.load("staging", "sftp")
    manager.load_general()

    assert len(manager.staging("sftp", "jackfield_stage_in")) == 1


def test_one_class_under_many_names_has_one_instance(install: Install) -> None:
    install(
        "lab-tools",
        "[jackfield.staging]\ngopher = lab:Lab\nsftp = lab:Lab\n",
        lab="""
            import jackfield as jf

            class Lab:
                count = 0

                def __init__(self):
                    Lab.count += 1

                @jf.hookimpl
                def jackfield_stage_in(self, transfer): ...
        """,
    )
    manager = PluginManager()

    manager.load("staging", "gopher")
    manager.load("staging", "sftp")

    assert sys.modules["lab"].Lab.count == 1


def test_threads_that_load_at_once_share_one_registration(install: Install) -> None:
    install("lab-tools", ONE, lab=EXECUTOR + "\n    import time; time.sleep(0.05)\n")
    manager = PluginManager()
    together = Barrier(4)
    errors: list[BaseException] = []

    def load() -> None:
        together.wait(60)
        try:
            manager.load("executor", "lab")
        except BaseException as error:
            errors.append(error)

    threads = [Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert errors == []
    assert info(manager).loaded


def test_an_import_may_use_the_manager_on_another_thread(install: Install) -> None:
    """An import that waits for another thread must not block that thread."""
    install(
        "lab-tools",
        ONE,
        lab=EXECUTOR
        + """
    import threading, lab_bridge
    other = threading.Thread(target=lambda: lab_bridge.manager.register(lab_bridge))
    other.start()
    other.join(60)
    assert not other.is_alive()
    """,
        lab_bridge="""
            import jackfield as jf

            @jf.hookimpl
            def jackfield_task_events(events): ...
        """,
    )
    manager = PluginManager()
    vars(importlib.import_module("lab_bridge"))["manager"] = manager

    manager.load("executor", "lab")

    assert len(manager.hooks.task_events) == 1


# -- What does not work, asked for by name


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(PluginNotFoundError, match="did you mean 'threads'") as caught:
        PluginManager().load("executor", "thread")

    assert "threads" in caught.value.installed


def test_an_import_error_names_distribution_and_cause(install: Install) -> None:
    install("lab-tools", ONE, lab="import lab_that_is_missing")

    message = failure()

    assert "Plugin 'lab' (lab-tools 1.0) cannot be used" in message
    assert "No module named 'lab_that_is_missing'" in message


def test_the_extra_that_is_missing_is_named(install: Install) -> None:
    install(
        "lab-tools",
        "[jackfield.executors]\nlab = lab [slurm]\n",
        lab="import lab_that_is_missing",
    )

    assert failure().endswith("pip install 'lab-tools[slurm]'")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("raise SystemExit(3)", "importing lab raised SystemExit: 3"),
        ("def (", "SyntaxError"),
        ("", "no function that is marked with @jackfield.hookimpl"),
        (ODD, "looking for its hooks raised ZeroDivisionError"),
        ("JACKFIELD_API = '>=2'", "needs plugin API >=2, and this Jackfield has 1.0"),
        ("JACKFIELD_API = '>=1,<1.0'", "needs plugin API >=1,<1.0"),
        ("JACKFIELD_API = 'newest'", "JACKFIELD_API is 'newest'; write a range"),
        ("JACKFIELD_API = 1", "JACKFIELD_API is 1; write a range"),
    ],
    ids=["exit", "syntax", "empty", "odd", "newer", "older", "nonsense", "number"],
)
def test_a_broken_module_is_told_as_what_it_is(
    install: Install, source: str, words: str
) -> None:
    install("lab-tools", ONE, lab=source)

    assert words in failure()


@pytest.mark.parametrize("required", [">=1,<2", "==1.0", " > 0.9 , != 2", "<=1"])
def test_a_plugin_for_this_api_loads(install: Install, required: str) -> None:
    install("lab-tools", ONE, lab=EXECUTOR + f"\n    JACKFIELD_API = {required!r}\n")
    manager = PluginManager()

    manager.load("executor", "lab")

    assert info(manager).problem is None


def test_the_api_of_a_module_counts_for_its_classes(install: Install) -> None:
    install(
        "lab-tools",
        "[jackfield.executors]\nlab = lab:Lab\n",
        lab="JACKFIELD_API = '>=2'\nclass Lab: ...\n",
    )

    assert "needs plugin API >=2" in failure()


def test_a_class_that_cannot_be_made_is_told(install: Install) -> None:
    install(
        "lab-tools",
        "[jackfield.executors]\nlab = lab:Lab\n",
        lab="class Lab:\n    def __init__(self, size): ...\n",
    )

    assert "making an instance of lab:Lab raised TypeError" in failure()


HEAD = "import jackfield as jf\n@jf.hookimpl\n"
WRAPPER = "import jackfield as jf\n@jf.hookimpl(wrapper=True)\n"
OLD_WRAPPER = "import jackfield as jf\n@jf.hookimpl(hookwrapper=True)\n"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            HEAD + "def jackfield_create_executr(kind): ...\n",
            "which is no hook; did you mean 'jackfield_create_executor'?",
        ),
        (
            HEAD + "def jackfield_create_executor(knd): ...\n",
            "takes 'knd', which this hook does not give; did you mean 'kind'?",
        ),
        (
            HEAD + "def jackfield_retry(task): ...\n",
            "it does not implement jackfield_create_executor.",
        ),
        (
            "def jackfield_create_executor(kind): ...\n",
            "its jackfield_create_executor is not marked with @jackfield.hookimpl",
        ),
        (
            OLD_WRAPPER + "def jackfield_create_executor(kind): yield\n",
            "is a hookwrapper; write it with wrapper=True",
        ),
        (
            WRAPPER + "def jackfield_task_events(events): yield\n",
            "its jackfield_task_events is a wrapper; plugins are told of this one by",
        ),
    ],
    ids=["unknown", "argument", "another", "unmarked", "old-wrapper", "wrapper"],
)
def test_a_wrong_hook_is_told_as_what_it_is(
    install: Install, source: str, words: str
) -> None:
    install("lab-tools", ONE, lab=source)

    message = failure()

    assert words in message
    assert "'lab' (lab-tools 1.0)" in message


def test_a_refused_plugin_leaves_nothing_registered(install: Install) -> None:
    install(
        "lab-tools",
        ONE,
        lab=EXECUTOR
        + """
    @jf.hookimpl
    def jackfield_retry(task): ...

    @jf.hookimpl
    def jackfield_hash_function(function, colour): ...
    """,
    )
    manager = PluginManager()

    with pytest.raises(PluginLoadError):
        manager.load("executor", "lab")

    assert manager.hooks.retry == ()


def test_a_hook_of_a_later_version_may_be_optional(install: Install) -> None:
    install(
        "lab-tools",
        ONE,
        lab=EXECUTOR
        + """
    @jf.hookimpl(optionalhook=True)
    def jackfield_of_tomorrow(task): ...
    """,
    )
    manager = PluginManager()

    manager.load("executor", "lab")

    assert info(manager).loaded


def test_a_quarantined_plugin_stays_there(install: Install) -> None:
    install("lab-tools", ONE, lab="import lab_that_is_missing")
    manager = PluginManager()

    causes = []
    for _ in range(2):
        with pytest.raises(PluginLoadError) as caught:
            manager.load("executor", "lab")
        causes.append(caught.value.__cause__)

    assert isinstance(causes[0], ModuleNotFoundError)
    assert causes[0] is causes[1]


def test_a_name_that_two_distributions_claim_is_refused(install: Install) -> None:
    install("lab-tools", ONE, lab=EXECUTOR)
    install("rival", "[jackfield.executors]\nlab = rival\n", rival=EXECUTOR)

    with pytest.raises(DuplicatePluginError) as caught:
        PluginManager().load("executor", "lab")

    assert caught.value.origins == ("lab-tools 1.0", "rival 1.0")
    assert {"lab", "rival"}.isdisjoint(sys.modules)


def test_a_built_in_name_cannot_be_taken(install: Install) -> None:
    install("rival", "[jackfield.executors]\nthreads = rival\n", rival=EXECUTOR)

    with pytest.warns(PluginWarning, match=r"rival 1\.0 offers executor 'threads' too"):
        plugin = PluginManager().load("executor", "threads")

    assert plugin.origin.startswith("jackfield ")
    assert "rival" not in sys.modules


def test_of_two_others_neither_takes_the_name(install: Install) -> None:
    for name in ("lab", "rival"):
        install(name, f"[jackfield.executors]\ncluster = {name}\n", **{name: EXECUTOR})

    with pytest.raises(DuplicatePluginError, match=r"'cluster'.*lab .* and rival"):
        PluginManager().load("executor", "cluster")


def test_one_name_may_be_of_two_kinds(install: Install) -> None:
    install("lab-tools", "[jackfield.profiles]\nthreads = lab:x\n", lab="x = 1")

    assert PluginManager().profile("threads") == 1


# -- What does not work, and was not asked for


def test_a_broken_general_plugin_is_a_warning_and_the_rest_loads(
    install: Install,
) -> None:
    install(
        "lab-tools",
        "[jackfield.plugins]\na = lab_a\nb = lab_b\nc = lab_c\n",
        lab_a="import lab_that_is_missing",
        lab_b="raise SystemExit",
        lab_c=HEAD + "def jackfield_task_events(events): ...\n",
    )
    manager = PluginManager()

    with pytest.warns(PluginWarning) as caught:
        manager.load_general()

    told = [str(one.message) for one in caught]
    assert len(told) == 2
    assert told[0].startswith("Plugin 'a' (lab-tools 1.0) cannot be used: importing")
    assert told[0].endswith("The run goes on without it.")
    assert len(manager.hooks.task_events) == 1


def test_general_plugins_of_one_name_are_a_warning(install: Install) -> None:
    install("lab-tools", GENERAL, lab="")
    install("rival", "[jackfield.plugins]\nlab = rival\n", rival="")

    with pytest.warns(PluginWarning, match=r"lab-tools 1\.0 and rival 1\.0"):
        PluginManager().load_general()


def test_a_broken_plugin_that_is_listed_as_allowed_is_an_error(
    install: Install,
) -> None:
    install("lab-tools", GENERAL, lab="import lab_that_is_missing")

    with pytest.raises(PluginLoadError, match="lab_that_is_missing"):
        PluginManager(allow=["lab"]).load_general()


def test_an_interrupted_import_is_no_quarantine(install: Install) -> None:
    install("lab-tools", ONE, lab="raise KeyboardInterrupt")
    manager = PluginManager()

    with pytest.raises(KeyboardInterrupt):
        manager.load("executor", "lab")

    assert info(manager).problem is None


IN_A_CLASS = """
class Interrupts:
    def __set_name__(self, owner, name):
        raise KeyboardInterrupt

class Lab:
    attribute = Interrupts()
"""


def test_an_interrupt_while_a_class_is_made_is_one_too(install: Install) -> None:
    install("lab-tools", ONE, lab=IN_A_CLASS)
    manager = PluginManager()

    with pytest.raises(KeyboardInterrupt):
        manager.load("executor", "lab")

    assert info(manager).problem is None


BY_A_SIGNAL = """
import signal
signal.raise_signal(signal.SIGUSR1)
"""


@pytest.mark.parametrize("error", [SystemExit(42), TimeoutError("enough")])
def test_what_a_handler_of_signals_raises_during_an_import_is_the_users(
    install: Install, error: BaseException
) -> None:
    install("lab-tools", ONE, lab=BY_A_SIGNAL)
    manager = PluginManager()

    def handle(*_: object) -> None:
        raise error

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        with pytest.raises(type(error)) as raised:
            manager.load("executor", "lab")
    finally:
        signal.signal(signal.SIGUSR1, before)

    assert raised.value is error
    assert info(manager).problem is None


def test_a_module_that_exits_is_a_broken_plugin(install: Install) -> None:
    install("lab-tools", ONE, lab="import sys; sys.exit(3)")

    with pytest.raises(PluginLoadError, match="SystemExit"):
        PluginManager().load("executor", "lab")


def test_general_plugins_load_once(install: Install) -> None:
    install("lab-tools", GENERAL, lab=HEAD + "def jackfield_task_events(events): ...\n")
    manager = PluginManager()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        manager.load_general()
        manager.load_general()

    assert len(manager.hooks.task_events) == 1


# -- Looking at everything


def test_checking_loads_all_and_lists_what_is_wrong(install: Install) -> None:
    install(
        "lab-tools",
        "[jackfield.executors]\nbad = lab_bad\ngood = lab\n"
        "[jackfield.profiles]\nodd = lab:nothing\n",
        lab=EXECUTOR,
        lab_bad="import lab_that_is_missing",
    )

    found = {
        one.name: one
        for one in load_all(PluginManager(block=["processes"]))
        if one.distribution == "lab-tools" or one.name == "processes"
    }

    assert found["good"].loaded
    assert found["good"].problem is None
    assert "lab_that_is_missing" in str(found["bad"].problem)
    assert "AttributeError" in str(found["odd"].problem)
    assert found["processes"].blocked
    assert not found["processes"].loaded


def test_the_listing_tells_of_rivals_without_importing_them(install: Install) -> None:
    install("rival", "[jackfield.executors]\nthreads = rival\n", rival="")
    manager = PluginManager()

    problems = {
        one.distribution: one.problem
        for one in listing(manager)
        if one.name == "threads"
    }

    assert problems["rival"] is not None
    assert "jackfield" in problems["rival"]
    assert problems["jackfield"] is None
    assert "rival" not in sys.modules
