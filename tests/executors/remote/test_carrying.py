"""Files that travel with calls to agents that do not see the driver's disk, and back.

The agents run in this process, and their pools beside it; they are only told that they
do not see the disk. ``test_elsewhere`` has those that really do not.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import jackfield as jf
from jackfield.clock import monotonic
from jackfield.errors import (
    BashExitFailure,
    ConfigurationError,
    MissingOutputs,
    TransferError,
    WorkerLostError,
)
from jackfield_executors.checking import DISKS, checked_options
from jackfield_executors.remote import post
from jackfield_executors.remote.agent import Agent
from jackfield_executors.remote.driver import AgentsExecutor
from jackfield_executors.remote.trees import (
    HostileNameError,
    check_tree,
    publish_tree,
    read_tree,
    write_tree,
)
from jackfield_testing import Harness
from jackfield_testing.footprint import WAIT_S, settled

if TYPE_CHECKING:
    from jackfield_executors.remote.agent import Answer
    from jackfield_executors.remote.link import Link
    from jackfield_executors.remote.places import Home


class NearLink:
    """The way to an agent in this process; while ``dead`` is set, no answer comes."""

    def __init__(self, name: str, agent: Agent) -> None:
        self.name: str = name
        self.workers: int = 1
        self.job: str = ""
        self.ends: float = math.inf
        self.agent = agent
        self.dead = threading.Event()

    def hello(self) -> str:
        return self.agent.hello()

    def put(self, number: int, data: bytes) -> None:
        self.agent.put(number, data)

    def take(self, patience: float, seen: int) -> Answer:
        answer = self.agent.take(patience, seen)
        if self.dead.is_set():  # it breaks while the answer is on its way
            raise ConnectionResetError("reset by peer")
        return self.tampered(answer)

    def tampered(self, answer: Answer) -> Answer:
        return answer

    def there(self) -> bool:
        return True

    def stop(self) -> None:
        self.agent.stop()


class NearSite:
    """Starts an agent of one worker in this process, and another if it is lost."""

    kind = NearLink

    why = ""

    def __init__(self) -> None:
        self.links: list[NearLink] = []
        self.closed = False
        self._wanted = threading.Event()
        self._wanted.set()

    def open(self, label: str, expected: str, home: Home, logs: Path) -> None:
        del logs
        self._arguments = label, expected, 1, home

    def look(self) -> list[Link]:
        if not self._wanted.is_set():
            return []
        self._wanted.clear()
        link = self.kind(f"place-{len(self.links)}", Agent(*self._arguments))
        self.links.append(link)
        return [link]

    def forget(self, link: Link) -> None:
        del link
        self._wanted.set()

    def close(self) -> None:
        self.closed = True
        for link in self.links:
            link.stop()


class FarExecutors:
    """A plugin whose executors have agents of a site."""

    def __init__(self, site: NearSite) -> None:
        self._site = site

    @jf.hookimpl
    def jackfield_create_executor(
        self, kind: str, label: str, options: dict[str, Any]
    ) -> AgentsExecutor | None:
        if kind != "far-away":
            return None
        return AgentsExecutor(label, self._site, patience=60.0, **options)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The script's directory."""
    directory = tmp_path / "project"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory


def loaded(site: NearSite, **options: Any) -> Any:
    table = {"plugin": "far-away", "shared_filesystem": False, "ship": [], **options}
    return jf.load(
        run_dir="runs", executors={"far": table}, plugins=[FarExecutors(site)]
    )


# -- There and back


@jf.python_app
def count(inputs: Any = (), outputs: Any = (), **named: Any) -> Any:
    """Write the inputs' sizes, and return where all that is."""
    sizes = [len(Path(one).read_bytes()) for one in inputs]
    Path(outputs[0]).write_text(f"{sizes}")
    place = Path(named["deep"]["in"][0])
    (Path(outputs[1]) / "inner").mkdir(parents=True)
    (Path(outputs[1]) / "inner" / "names").write_text(
        " ".join(sorted(one.name for one in place.iterdir()))
    )
    os.chmod(outputs[0], 0o750)  # noqa: PTH101  (a File is at hand)
    return outputs[0], str(inputs[0]), str(Path.cwd())


@jf.bash_app
def join(
    inputs: Any = (),
    outputs: Any = (),
    stdout: Any = jf.AUTO_LOGNAME,
    stderr: Any = None,
) -> str:
    return (
        f"cat {inputs[0]} data/b.txt > {outputs[0]}; echo made > made.txt;"
        f" echo said; echo warned >&2"
    )


@jf.bash_app
def fail(outputs: Any = ()) -> str:
    return f"echo in {outputs[0]} >&2; exit 3"


@jf.python_app
def idle(outputs: Any = ()) -> None:
    pass


@jf.python_app
def write(text: str, outputs: Any = ()) -> int:
    Path(outputs[0]).write_text(text)
    return os.getpid()


@pytest.mark.usefixtures("here")
def test_inputs_and_outputs_of_python_apps_travel(here: Path) -> None:
    (here / "a.txt").write_text("12345")
    data = here / "data"
    data.mkdir()
    (data / "b").write_text("b")
    (here.parent / "beside.txt").write_text("123")
    digest = hashlib.sha256(b"12345").hexdigest()
    with loaded(NearSite()):
        inputs = [jf.File("a.txt", sha256=digest), jf.File("../beside.txt")]
        deep = {"in": [jf.File(data)]}
        outputs = ["out/counted.txt", here / "tree"]
        future = count(inputs=inputs, outputs=outputs, deep=deep)

        made, there, directory = future.result(WAIT_S)
        assert future.outputs[0].result(WAIT_S) == jf.File("out/counted.txt")

    assert Path("out/counted.txt").read_text() == "[5, 3]"
    assert Path("out/counted.txt").stat().st_mode & 0o777 == 0o750
    assert (here / "tree/inner/names").read_text() == "b"
    # What is returned has the path that it has here; what was there is gone.
    assert made.filepath == str(here / "out/counted.txt")
    assert directory != str(here)
    assert there == f"{directory}/a.txt"
    assert not Path(directory).exists()
    assert not [*here.rglob("*.part"), *here.rglob(".seen-by*")]


def test_files_and_streams_of_bash_apps_travel(here: Path) -> None:
    (here / "data").mkdir()
    (here / "data/a.txt").write_text("a")
    (here / "data/b.txt").write_text("b")
    Path("err.txt").write_text("before\n")
    with loaded(NearSite()):
        # A name that is written out means the same as on this machine.
        inputs = [jf.File("data/a.txt"), jf.File("data/b.txt")]
        outputs = ["joined.txt", "made.txt"]
        joined = join(inputs=inputs, outputs=outputs, stderr="err.txt")
        failed = fail(outputs=["never.txt"])

        assert joined.result(WAIT_S) == 0
        error = failed.exception(WAIT_S)

    assert Path("joined.txt").read_text() == "ab"
    assert Path("made.txt").read_text() == "made\n"
    assert Path("err.txt").read_text() == "before\nwarned\n"
    assert Path(joined.stdout).read_text() == "said\n"
    assert isinstance(error, BashExitFailure)
    assert f"in {here}/never.txt" in str(error)
    kept = str(error).rpartition("see ")[2].split(" ")[0]
    assert Path(kept).read_text().endswith("/never.txt\n")
    assert not Path("never.txt").exists()


def test_what_cannot_travel_is_told_with_the_way_out(here: Path) -> None:

    Path("large.bin").write_bytes(bytes(3_000_000))
    Path("other.txt").write_text("other")
    with loaded(NearSite(), carry="2 MB"):
        absent = count(inputs=[jf.File("absent.txt")], outputs=["a"])
        large = count(inputs=[jf.File("large.bin")], outputs=["a"])
        other = count(inputs=[jf.File("other.txt", sha256="0" * 64)], outputs=["a"])
        too_much = write("x" * 3_000_000, outputs=["much.txt"])
        missing = idle(outputs=["missing.txt"])

        with pytest.raises(FileNotFoundError, match=r"'count'.*'far'.*not there.*out"):
            absent.result(WAIT_S)
        with pytest.raises(
            TransferError,
            match=r"large\.bin: executor 'far'.*3\.0 MB.*carry = '2 MB'.*s3://",
        ):
            large.result(WAIT_S)
        with pytest.raises(TransferError, match=r"its sha256 is .*, expected 000"):
            other.result(WAIT_S)
        with pytest.raises(
            TransferError, match=rf"{here}/much\.txt: it was made, but .*carry = '2 MB'"
        ):
            too_much.result(WAIT_S)
        with pytest.raises(MissingOutputs, match=rf"{here}/missing\.txt"):
            missing.result(WAIT_S)
    assert not Path("much.txt").exists()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("carry", "much", "a size such as '2 GB'"),
        ("ship", "lab", "a list of files"),
        ("shared_filesystem", "no", "true or false"),
    ],
)
def test_a_wrong_option_is_told(name: str, value: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        checked_options("dask", "far", {name: value}, DISKS)


@pytest.mark.usefixtures("here")
def test_to_ship_what_is_not_there_is_an_error_at_once() -> None:
    with (
        pytest.raises(ConfigurationError, match=r"'far': ship names '.*/lab', which"),
        loaded(NearSite(), ship=["lab"]),
    ):
        pass


# -- What is printed


@jf.python_app
def say(text: str) -> None:
    print(text)
    logging.getLogger("lab").warning("logged %s", text)


def test_what_tasks_print_and_log_comes_home(
    here: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with loaded(NearSite(), shared_filesystem=None):
        for number in range(20):
            say(f"said {number}").result(WAIT_S)

    lines = [f"said {number}" for number in range(20)]
    assert [
        line for line in capsys.readouterr().out.splitlines() if "said" in line
    ] == lines
    assert [one.message for one in caplog.records if one.name == "lab"] == [
        f"logged {line}" for line in lines
    ]
    (kept,) = here.glob("runs/*/far/place-0.log")
    assert [
        line for line in kept.read_text().splitlines() if line[:4] == "said"
    ] == lines
    assert kept.read_text().count("WARNING lab: logged said") == 20


# -- Agents that are lost, and ends


def write_it(outputs: Any = ()) -> str:
    Path(outputs[0]).write_text("made")
    return "made"


def test_files_of_an_agent_that_was_given_up_are_dropped(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(post, "POLL_S", 0.1)
    monkeypatch.setattr(post, "RETRY_S", 0.01)
    monkeypatch.setattr(post, "SILENCE_S", 0.5)
    target = here / "out.txt"
    target.write_text("before")
    site = NearSite()
    with loaded(site):
        (link,) = site.links
        link.dead.set()
        lost = write("late", outputs=[target])
        error = lost.exception(WAIT_S)
        assert isinstance(error, WorkerLostError)
        # The file was made, and waits for a question.
        assert settled(lambda: bool(link.agent.take(0.1, 0)[2]), WAIT_S)
        assert target.read_text() == "before"
        link.dead.clear()

        assert write("again", outputs=[target]).result(WAIT_S)
    assert target.read_text() == "again"
    assert len(site.links) == 2


def test_a_report_of_files_may_end_the_executor(tmp_path: Path) -> None:
    site = NearSite()
    executor = AgentsExecutor("far", site, patience=60.0, shared_filesystem=False)
    with Harness(executor, tmp_path, "far").start() as driven:
        driven.on_report = lambda _: executor.shutdown()
        target = jf.File(tmp_path / "made")
        work = driven.submit(write_it, outputs=[target])

        assert driven.value(work) == "made"
        assert settled(lambda: site.closed, WAIT_S)
    assert (tmp_path / "made").read_text() == "made"


# -- What an agent may send


class HostileLink(NearLink):
    """Sends other files than those that were asked for."""

    change: Any = staticmethod(lambda number: [])

    def tampered(self, answer: Answer) -> Answer:
        following, first, results = answer
        changed: list[Any] = []
        for token, seconds, packed, ran, returned in results:
            files: Any = returned
            if returned is not None:
                files = returned[0], self.change(returned[1][0][0]), returned[2]
            changed.append((token, seconds, packed, ran, files))
        return following, first, changed


@pytest.mark.parametrize(
    "files",
    [
        lambda number: [],
        lambda number: [(number + 1, [("", 0o600, b"x")])],
        lambda number: [(number, [("", None, b""), ("../evil", 0o600, b"x")])],
        lambda number: [(number, [("", None, b""), ("/evil", 0o600, b"x")])],
        lambda number: [(number, [("", None, b""), ("a/../../evil", 0o600, b"x")])],
        lambda number: [(number, [("", None, b""), ("a/evil", 0o600, b"x")])],
        lambda number: [(number, "evil")],
    ],
    ids=["none", "other", "up", "absolute", "hidden up", "no directory", "no tree"],
)
def test_files_that_were_not_asked_for_are_refused(here: Path, files: Any) -> None:
    class Link(HostileLink):
        change = staticmethod(files)

    class Site(NearSite):
        kind = Link

    before = sorted(here.parent.rglob("*"))
    with loaded(Site()), pytest.raises(TransferError, match="what came back is refus"):
        write("text", outputs=["out.txt"]).result(WAIT_S)

    after = [one for one in here.parent.rglob("*") if "runs" not in one.parts]
    assert sorted(after) == before


def test_no_link_is_followed_where_files_are_put(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    kept = tmp_path / "kept"
    kept.write_text("kept")
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "inner").symlink_to(tmp_path / "elsewhere")
    (tree / "file").symlink_to(kept)

    publish_tree([("", None, b""), ("file", 0o4777, b"new")], tree)
    with pytest.raises(HostileNameError, match=r"is a link, which is not followed"):
        publish_tree([("", None, b""), ("inner", None, b"")], tree)

    assert kept.read_text() == "kept"
    assert (tree / "file").read_text() == "new"
    assert (tree / "file").stat().st_mode & 0o6000 == 0
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("made", ["link", "dangling link", "file"])
def test_what_others_have_made_where_a_file_is_written_is_neither_followed_nor_used(
    made: str, tmp_path: Path
) -> None:
    """The victim writes into a directory in which somebody else may write, too."""
    victims = tmp_path / "victims"
    if made != "dangling link":
        victims.write_text("kept")
    place = tmp_path / "shared" / "file"
    place.parent.mkdir()
    if made == "file":
        place.write_text("kept")
    else:
        place.symlink_to(victims)

    with pytest.raises(FileExistsError):
        write_tree([("", None, b""), ("file", 0o600, b"secret")], place.parent)

    if made == "dangling link":
        assert not victims.exists()
    else:
        assert (place if made == "file" else victims).read_text() == "kept"


ATTACKER = """\
import os, sys
shared, victims = sys.argv[1:]
print("ready", flush=True)
while True:
    for name in os.listdir(shared):
        if name.endswith(".part"):
            try:
                os.symlink(victims, os.path.join(shared, name, "last"))
            except OSError:
                continue
            print(name, flush=True)
"""


def test_a_link_that_another_process_plants_meanwhile_is_not_followed(
    tmp_path: Path,
) -> None:
    """They watch the shared directory, and know by what names we write there."""
    victims = tmp_path / "victims"
    victims.write_text("kept")
    shared = tmp_path / "shared"
    shared.mkdir()
    first = [(f"{n:03}", 0o600, b"x" * 1000) for n in range(100)]
    tree = [("", None, b""), *first, ("last", 0o600, b"secret")]
    attacker = subprocess.Popen(
        [sys.executable, "-c", ATTACKER, shared, victims],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert attacker.stdout is not None
    refused = 0
    try:
        assert attacker.stdout.readline() == "ready\n"
        began = monotonic()
        while not refused and monotonic() - began < WAIT_S:
            try:
                publish_tree(tree, shared / "made")
            except FileExistsError:
                refused += 1
                assert attacker.stdout.readline().endswith(".part\n")
            else:
                # They were too late, or there would be an error. Again.
                shutil.rmtree(shared / "made")
                assert victims.read_text() == "kept"
    finally:
        attacker.kill()
        attacker.communicate()

    assert refused == 1
    assert victims.read_text() == "kept"


def test_links_are_sent_as_what_they_lead_to(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "link").symlink_to(__file__)
    read = read_tree(str(tree), 10**6)
    check_tree(read)
    assert read[1][2] == Path(__file__).read_bytes()

    (tree / "circle").symlink_to(tree)
    with pytest.raises(OSError, match=r"a link to a directory that it is in"):
        read_tree(str(tree), 10**6)


# -- A driver that is killed

PUBLISHER = """\
import itertools, sys
from pathlib import Path
from jackfield_executors.remote.trees import publish_tree

target = Path(sys.argv[1])
for letter in itertools.cycle((b"a", b"b")):
    publish_tree([("", 0o600, letter * 5_000_000)], target)
    print(flush=True)
"""


def test_a_killed_driver_leaves_no_torn_file(tmp_path: Path) -> None:
    target = tmp_path / "target"
    for turns in range(1, 4):
        with subprocess.Popen(
            [sys.executable, "-c", PUBLISHER, str(target)], stdout=subprocess.PIPE
        ) as killed:
            assert killed.stdout is not None
            for _ in range(turns):
                killed.stdout.readline()
            killed.kill()

        assert set(target.read_bytes()) in ({ord("a")}, {ord("b")})
        assert target.stat().st_size == 5_000_000
