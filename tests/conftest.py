"""What all tests share: a look for leaks, a kernel, distributions, limits, groups."""

from __future__ import annotations

import faulthandler
import gc
import importlib
import itertools
import os
import re
import signal
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any, Final

import hypothesis
import pytest

import jackfield as jf

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile(
    "jackfield",
    hypothesis.settings(),
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("jackfield")

LIMIT_S = 60.0
"""Seconds that a test waits for what ought to happen at once."""

SLOW_LIMIT_S: Final = 3600.0
"""Seconds that a test marked ``slow`` may take, unless it has a limit of its own."""

GRACE_S: Final = 60.0
"""Seconds after its limit at which a test that went on ends with its process."""

WORKERS_PER_CORE: Final = 2
"""The tests wait more than they compute; those of a quick run do not."""

MOST_WORKERS: Final = 16
"""Each worker imports all tests, which costs some seconds."""

LONG: Final = Path(__file__).with_name("long_tests.txt")
"""Names of test functions that ``make quick`` leaves out, one a line.

``make test ARGS=--note-long`` writes it anew.
"""

QUICK_S: Final = 50.0
"""Seconds that all tests together may take which are not noted as long.

The processes that share them and the import of the tests make it under a minute on two
cores.
"""

_STDERR: Final = pytest.StashKey[int]()
"""The descriptor of what people see; while a test runs, pytest has put another in 2."""

SERVERS: Final = {
    "seaweedfs": "seaweedfs",
    "nginx": "nginx",
    "nginx_tls": "nginx",
    "vsftpd": "vsftpd",
    "sshd": "sshd",
    "ftp_server": "ftp_server",
    "ftps_server": "ftp_server",
    "webdav_server": "webdav_server",
    "http_files": "http_files",
    "browser": "chromium",
    # What some parameters call the servers that they stand for.
    "sftp": "sshd",
    "webdav": "webdav_server",
    "s3a": "seaweedfs",
}
"""Fixtures of ``staging/conftest.py``, and the server that each of them starts.

A browser, of ``monitoring/conftest.py``, is started like a server.

A test that uses several belongs to the first: those that take longest come first.
"""


ENGINES: Final = "engines"
"""The group of tests on Dask, Ray and Parsl, most of which start a cluster."""


# -- Which tests run, and in which of several processes


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of ``make quick`` and of who keeps it quick."""
    parser.addoption(
        "--quick",
        action="store_true",
        help=f"leave out the tests in {LONG.name}, and those on servers and engines",
    )
    parser.addoption(
        "--note-long",
        action="store_true",
        help=f"after a run of all tests: write the longest to {LONG.name}",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Keep the standard error that people see, for ``_end_later``; hear of Ctrl-C.

    A shell that starts these tests in the background has them ignore SIGINT. So would
    all programs that tests start, and then interrupt.
    """
    config.stash[_STDERR] = os.dup(2)
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    in_worker = hasattr(config, "workerinput")
    if config.getoption("--note-long") and not in_worker:
        config.pluginmanager.register(_LongTests())


def pytest_unconfigure(config: pytest.Config) -> None:
    """Close it."""
    os.close(config.stash[_STDERR])


class _LongTests:
    """Adds up what each test function takes, and writes down which take longest.

    A function counts with all its parameters, and in all classes that inherit it.
    """

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.nodeid.rpartition("@")[2] in {*SERVERS.values(), ENGINES}:
            return  # a group: ``--quick`` leaves it out anyhow
        name = report.location[2].partition("[")[0].rpartition(".")[2]
        self._seconds[name] += report.duration

    def pytest_sessionfinish(self) -> None:
        """Leave the shortest out of the list, as many as may run in a quick run."""
        shortest_first = sorted(self._seconds, key=self._seconds.__getitem__)
        sums = itertools.accumulate(self._seconds[name] for name in shortest_first)
        long = [name for name, so_far in zip(shortest_first, sums) if so_far > QUICK_S]
        LONG.write_text("".join(f"{name}\n" for name in sorted(long)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return how many processes ``-n auto`` means.

    Each has to find all tests, which is a good part of a quick run.
    """
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    per_core = 1 if config.getoption("--quick") else WORKERS_PER_CORE
    return min(per_core * (cores or 1), MOST_WORKERS)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Have a test that ends its process run once, and the others all the same."""
    from xdist.scheduler import LoadGroupScheduling

    class Scheduler(LoadGroupScheduling):  # type: ignore[misc]  # it ships no types
        """xdist's, with flaws mended that show when a process has died."""

        def remove_node(self, node: Any) -> str | None:
            """Take the test off the list that a process has died of; return it.

            It would be given to process after process, until none is left. Units of
            work that are done would be handed on as well, and count for work.
            """
            units = self.assigned_work[node]
            died_of = None
            for scope, unit in list(units.items()):
                left = [test for test, ended in unit.items() if not ended]
                if died_of is None and left:
                    died_of = left.pop(0)
                    unit[died_of] = True
                if not left:
                    del units[scope]
            super().remove_node(node)
            return died_of

        def schedule(self) -> None:
            """Give new processes a second unit of work, or the news that none is left.

            A process runs a test only when it knows the next one, or that there is
            none: with a single test, it would wait for ever.
            """
            super().schedule()
            for node in self.nodes:
                self._reschedule(node)

        def _reschedule(self, node: Any) -> None:
            """Give nothing to a process that has not yet said which tests it has found.

            When a second process dies at that time, work for the first's successor
            would be lost, and the run would wait for it for ever.
            """
            if node in self.registered_collections:
                super()._reschedule(node)

    if config.getoption("dist") != "loadgroup":
        return None
    return Scheduler(config, log)


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in this same hook
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Group what shares something, give slow tests time, leave out long ones."""
    for item in items:
        if (group := _group(item)) is not None:
            item.add_marker(pytest.mark.xdist_group(group))
        limit = item.get_closest_marker("timeout")
        if limit is None and item.get_closest_marker("slow") is not None:
            item.add_marker(pytest.mark.timeout(SLOW_LIMIT_S))
    if config.getoption("--quick"):
        long = set(LONG.read_text().split())
        kept: list[pytest.Item] = []
        left_out: list[pytest.Item] = []
        for one in items:
            heavy = _is_heavy(one) or _name(one) in long
            (left_out if heavy else kept).append(one)
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


def pytest_collection_finish() -> None:
    """Leave all tests and what they import out of each later search for garbage.

    That is half a million containers; tests look for what they themselves have left.
    """
    gc.collect()
    gc.freeze()


def _name(item: pytest.Item) -> str:
    assert isinstance(item, pytest.Function)
    return item.originalname


def _is_heavy(item: pytest.Item) -> bool:
    """Tell whether a test runs on a server or an engine, which take long to start."""
    group = item.get_closest_marker("xdist_group")
    return _server(item) is not None or (group is not None and ENGINES in group.args)


def _server(item: pytest.Item) -> str | None:
    """Name the server that a test needs, be it by a fixture or by a parameter."""
    assert isinstance(item, pytest.Function)
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    wanted = {*item.fixturenames, *(one for one in parameters if isinstance(one, str))}
    return next((server for name, server in SERVERS.items() if name in wanted), None)


def _group(item: pytest.Item) -> str | None:
    """Name what a test shares with others; those run one by one in one process.

    So a server starts once, and so does what a class or a file makes for all its tests.
    Every other test runs wherever there is room.
    """
    assert isinstance(item, pytest.Function)
    if item.get_closest_marker("xdist_group") is not None:
        return None  # it says so itself, and xdist would put the names together
    if (server := _server(item)) is not None:
        return server
    fixtures = item._fixtureinfo.name2fixturedefs.values()  # pytest has no other way
    scopes = {definitions[-1].scope for definitions in fixtures}
    if "module" in scopes:
        return item.path.stem
    if "class" in scopes and item.cls is not None:
        return f"{item.path.stem}.{item.cls.__name__}"
    return None


# -- What a process tells of its tests


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Escape what a test has printed or logged where it is no text that can be sent.

    Names of files and messages of errors may have surrogates, on which the connection
    of xdist's processes breaks, and the whole run with it.
    """
    report: Any = yield
    report.sections = [(title, _sendable(text)) for title, text in report.sections]
    return report  # type: ignore[no-any-return]  # pytest's own, whatever it is


def _sendable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


# -- How long a test may take


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """End the process if a test goes on even after the error that its limit raises.

    pytest-timeout raises that error from a signal. What waits in native code does not
    see it, and what catches everything swallows it. xdist names the test that its
    process ended in; without xdist it stands in the traceback.
    """
    _end_later(item)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Iterator[None]:
    """Watch the teardown as well: after a failure, pytest has ended all watches.

    Engines leave sockets and loops that end when they are collected. That is done
    before tests come that allow no such thing, or one of those would fail by it.
    """
    _end_later(item)
    yield
    if _leaves_open(item) and not (nextitem and _leaves_open(nextitem)):
        gc.collect()


def _end_later(item: pytest.Item) -> None:
    marker = item.get_closest_marker("timeout")
    limit = marker.args[0] if marker else float(item.config.getini("timeout"))
    stderr = item.config.stash[_STDERR]
    faulthandler.dump_traceback_later(limit + GRACE_S, exit=True, file=stderr)


# -- What every test has


def _leaves_open(item: pytest.Item) -> bool:
    """Tell whether a test is marked as one that leaves resources to the collector."""
    marks = item.iter_markers("filterwarnings")
    return any("ignore::ResourceWarning" in mark.args for mark in marks)


_numbers = itertools.count()


def _new_directory(factory: pytest.TempPathFactory, name: str) -> Path:
    """Make a directory that no other test of this process has.

    ``mktemp`` lists all that are there to find a number that is free. After 1,500 tests
    that takes 3 ms, for each of two directories a test.
    """
    new = factory.getbasetemp() / f"{name}-{next(_numbers)}"
    new.mkdir(mode=0o700)
    return new


@pytest.fixture
def tmp_path(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Take the place of pytest's own: an empty directory with the test's name."""
    name = re.sub(r"\W", "_", request.node.name)
    return _new_directory(tmp_path_factory, name[:30])


@pytest.fixture(autouse=True)
def _nothing_is_left(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[None]:
    """Run each test in a directory of its own; see that it ends what it starts."""
    monkeypatch.chdir(_new_directory(tmp_path_factory, "cwd"))
    for name in list(os.environ):
        if name.startswith("JACKFIELD_"):
            monkeypatch.delenv(name)
    # The key that signs results is the user's; tests have one of their own.
    monkeypatch.setenv(
        "XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "config")
    )
    before = set(threading.enumerate())
    yield
    loaded = _loaded()
    if loaded is not None:
        loaded.cleanup(wait=False)
    assert loaded is None, f"{request.node.name} left a kernel loaded: {loaded!r}"
    left = [t for t in threading.enumerate() if t not in before and _is_ours(t)]
    for thread in left:
        thread.join(LIMIT_S)
    alive = [thread.name for thread in left if thread.is_alive()]
    assert not alive, f"{request.node.name} left threads: {alive}"


def _loaded() -> jf.DataFlowKernel | None:
    try:
        return jf.dfk()
    except jf.NoDataFlowKernelError:
        return None


def _is_ours(thread: threading.Thread) -> bool:
    return thread.name.startswith("jackfield") and thread.name != "jackfield-walltime"


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[jf.DataFlowKernel]:
    """A loaded kernel with four threads, ended after the test."""
    options: dict[str, Any] = {
        "executors": {"threads": {"plugin": "threads", "workers": 4}},
        "run_dir": tmp_path / "runs",
        "exit_grace": 1.0,
    }
    with jf.load(options) as loaded:
        yield loaded


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory of installed distributions, first on the path."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    yield site
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(site)):
            del sys.modules[name]


@pytest.fixture
def install(site: Path) -> Callable[..., None]:
    """Install a distribution: its ``entry_points.txt``, and modules by name."""

    def install(
        distribution: str, entry_points: str, /, version: str = "1.0", **modules: str
    ) -> None:
        info = site / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
        )
        (info / "entry_points.txt").write_text(dedent(entry_points))
        for name, source in modules.items():
            (site / f"{name}.py").write_text(dedent(source))
        importlib.invalidate_caches()

    return install
