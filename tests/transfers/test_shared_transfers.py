"""What the engine of staging does for every provider, with one made of a dict."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.errors import RemoteChangedError, RemoteNotFoundError

LIMIT_S = 60.0

Action = Callable[[jf.Transfer, bytes], jf.RemoteInfo]


def etag(content: bytes) -> str:
    return f'"{hashlib.md5(content).hexdigest()}"'


class Shelf:
    """Serves ``shelf:`` from a dict; a script says what each attempt does."""

    def __init__(self, **files: bytes) -> None:
        self.files: dict[str, bytes] = {
            name.replace("__", "/"): content for name, content in files.items()
        }
        self.script: list[Action] = []
        self.asked: Counter[str] = Counter()
        self.offsets: list[int] = []
        self.events: list[jf.TransferEvent] = []
        self.told = threading.Condition()

    def name(self, remote: jf.Remote) -> str:
        return jf.File(remote.url).path.lstrip("/")

    def content(self, remote: jf.Remote) -> bytes:
        try:
            return self.files[self.name(remote)]
        except KeyError:
            raise RemoteNotFoundError(str(remote), "no such file") from None

    def info(self, remote: jf.Remote) -> jf.RemoteInfo:
        content = self.content(remote)
        return jf.RemoteInfo(len(content), etag(content))

    @jf.hookimpl
    def jackfield_stage_in(self, transfer: jf.Transfer) -> jf.RemoteInfo | None:
        if transfer.scheme != "shelf":
            return None
        self.asked[self.name(transfer)] += 1
        self.offsets.append(transfer.offset)
        action = self.script.pop(0) if self.script else whole
        return action(transfer, self.content(transfer))

    @jf.hookimpl
    def jackfield_stage_out(self, transfer: jf.Transfer) -> jf.RemoteInfo:
        if self.script:
            self.script.pop(0)(transfer, b"")
        with transfer.open() as file:
            content = file.read()
        self.files[self.name(transfer)] = content
        return jf.RemoteInfo()

    @jf.hookimpl
    def jackfield_stat_file(self, remote: jf.Remote) -> jf.RemoteInfo:
        return self.info(remote)

    @jf.hookimpl
    def jackfield_list_files(self, remote: jf.Remote) -> Mapping[str, jf.RemoteInfo]:
        top = self.name(remote)
        base = remote.url
        return {
            base + name[len(top) :]: jf.RemoteInfo(len(content))
            for name, content in self.files.items()
            if name.startswith(top)
        }

    @jf.hookimpl
    def jackfield_transfer_events(self, events: Sequence[jf.TransferEvent]) -> None:
        with self.told:
            self.events += events
            self.told.notify_all()

    def stages(self) -> list[str]:
        return [one.stage for one in self.events if one.stage != "progress"]


def whole(transfer: jf.Transfer, content: bytes) -> jf.RemoteInfo:
    info = jf.RemoteInfo(len(content), etag(content))
    rest = content[transfer.offset :]
    return transfer.receive(io.BytesIO(rest), info, start=transfer.offset)


def cut(after: int, error: Exception | None = None) -> Action:
    """Break off after so many bytes, all told."""

    def act(transfer: jf.Transfer, content: bytes) -> jf.RemoteInfo:
        def blocks() -> Iterator[bytes]:
            yield content[transfer.offset : after]
            raise error or ConnectionResetError("cut")

        info = jf.RemoteInfo(len(content), etag(content))
        return transfer.receive(blocks(), info, start=transfer.offset)

    return act


def raises(error: BaseException) -> Action:
    def act(transfer: jf.Transfer, content: bytes) -> jf.RemoteInfo:
        raise error

    return act


@jf.python_app
def read(file: Any, *_: Any) -> bytes:
    return Path(file).read_bytes()


@jf.python_app
def write(content: bytes, outputs: Sequence[jf.File] = ()) -> None:
    for file in outputs:
        Path(file).write_bytes(content)


Load = Callable[..., jf.DataFlowKernel]

QUICK = {"backoff": 0.01, "max_delay": 0.02}


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load(*plugins: object, **options: Any) -> jf.DataFlowKernel:
        options.setdefault("executors", {"t": {"plugin": "threads", "workers": 2}})
        options["transfers"] = {**QUICK, **options.get("transfers", {})}
        options.setdefault("exit_grace", 0.2)
        return jf.load(jf.Config(run_dir=tmp_path / "runs", plugins=plugins, **options))

    return load


def left(kernel: jf.DataFlowKernel) -> list[Path]:
    directory = kernel.run_dir / "files"
    return [path for path in directory.rglob("*") if not path.is_dir()]


# -- Trying again ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError("cut"),
        TimeoutError("late"),
        EOFError("short"),
        jf.TransferError("shelf:", "busy", transient=True),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_passing_failure_is_tried_again(load: Load, error: Exception) -> None:
    shelf = Shelf(x=b"abc")
    shelf.script = [raises(error), raises(error)]
    with load(shelf):
        assert read(jf.File("shelf://h/x")).result(LIMIT_S) == b"abc"

    assert shelf.asked == {"x": 3}
    assert shelf.stages() == [
        *("started", "retrying", "started", "retrying", "started", "done"),
    ]


@pytest.mark.parametrize(
    "error",
    [
        RemoteNotFoundError("shelf:", "gone"),
        PermissionError("closed"),
        ValueError("a bug"),
        OSError(28, "No space left on device"),
        jf.ConfigurationError("no such option"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_lasting_failure_is_not_tried_again(load: Load, error: Exception) -> None:
    shelf = Shelf(x=b"abc")
    shelf.script = [raises(error)] * 2
    with load(shelf) as kernel:
        raised = read(jf.File("shelf://h/x")).exception(LIMIT_S)

    assert raised is error
    assert shelf.asked == {"x": 1}
    assert left(kernel) == []


def test_attempts_end(load: Load) -> None:
    shelf = Shelf(x=b"abc")
    shelf.script = [raises(ConnectionError(str(n))) for n in range(9)]
    with load(shelf, transfers={"attempts": 3}) as kernel:
        error = read(jf.File("shelf://h/x")).exception(LIMIT_S)

    assert str(error) == "2"
    assert shelf.asked == {"x": 3}
    assert "This was attempt 3." in error.__notes__  # type: ignore[union-attr]  # it is one
    assert left(kernel) == []


def test_the_other_side_says_when_to_come_again(load: Load) -> None:
    shelf = Shelf(x=b"abc")
    busy = jf.TransferError("shelf:", "busy", transient=True, retry_after=0.3)
    shelf.script = [raises(busy)]
    with load(shelf):
        assert read(jf.File("shelf://h/x")).result(LIMIT_S) == b"abc"

    begun = [one.monotonic for one in shelf.events if one.stage == "started"]
    assert begun[1] - begun[0] >= 0.3


def test_who_wants_to_be_asked_tomorrow_is_not_waited_for(load: Load) -> None:
    shelf = Shelf(x=b"abc")
    busy = jf.TransferError("shelf:", "busy", transient=True, retry_after=86400)
    shelf.script = [raises(busy)]
    with load(shelf):
        assert read(jf.File("shelf://h/x")).exception(LIMIT_S) is busy


def test_after_the_deadline_no_attempt_begins(load: Load) -> None:
    shelf = Shelf(x=b"abc")
    busy = jf.TransferError("shelf:", "busy", transient=True, retry_after=5.0)
    shelf.script = [raises(busy)]
    with load(shelf, transfers={"deadline": 1.0}):
        assert read(jf.File("shelf://h/x")).exception(LIMIT_S) is busy


# -- Going on -------------------------------------------------------------------------


def test_an_attempt_goes_on_where_the_last_one_broke_off(load: Load) -> None:
    content = os.urandom(3_000_000)
    shelf = Shelf(x=content)
    shelf.script = [cut(1_000_000), cut(2_500_000)]
    with load(shelf):
        assert read(jf.File("shelf://h/x")).result(LIMIT_S) == content

    assert shelf.offsets == [0, 1_000_000, 2_500_000]


def test_what_was_replaced_meanwhile_is_brought_from_its_beginning(load: Load) -> None:
    old, new = b"a" * 3000, b"b" * 3000
    shelf = Shelf(x=old)

    def replace(transfer: jf.Transfer, content: bytes) -> jf.RemoteInfo:
        shelf.files["x"] = new
        return whole(transfer, new)

    shelf.script = [cut(1000), replace]
    with load(shelf):
        assert read(jf.File("shelf://h/x")).result(LIMIT_S) == new

    assert shelf.offsets == [0, 1000, 0]


def test_what_changes_while_it_is_moved_is_moved_again(load: Load) -> None:
    old, new = b"a" * 3000, b"b" * 3000
    shelf = Shelf(x=old)

    def mix(transfer: jf.Transfer, content: bytes) -> jf.RemoteInfo:
        shelf.files["x"] = new
        info = jf.RemoteInfo(len(old), etag(old))
        return transfer.receive([old[:1000], new[1000:]], info)

    shelf.script = [mix]
    with load(shelf):
        assert read(jf.File("shelf://h/x")).result(LIMIT_S) == new
    assert shelf.offsets == [0, 0]


def test_what_changes_each_time_is_an_error(load: Load) -> None:
    shelf = Shelf(x=b"0")

    def swap(transfer: jf.Transfer, content: bytes) -> jf.RemoteInfo:
        info = whole(transfer, content)
        shelf.files["x"] = b"%d" % (int(content) + 1)
        return info

    shelf.script = [swap] * 9
    with load(shelf, transfers={"attempts": 3}) as kernel:
        error = read(jf.File("shelf://h/x")).exception(LIMIT_S)

    assert isinstance(error, RemoteChangedError)
    assert "it changed on the way: its etag was" in str(error)
    assert left(kernel) == []


def test_what_vanishes_when_it_has_arrived_is_known_by_its_size(load: Load) -> None:
    shelf = Shelf(x=b"abc")

    def vanish(transfer: jf.Transfer, content: bytes) -> jf.RemoteInfo:
        info = whole(transfer, content)
        del shelf.files["x"]
        return info

    shelf.script = [vanish]
    with load(shelf):
        assert read(jf.File("shelf://h/x")).result(LIMIT_S) == b"abc"
    [done] = [one for one in shelf.events if one.stage == "done"]
    assert done.verified == "size"
    assert shelf.asked == {"x": 1}


@pytest.mark.parametrize("declared", [2, 4])
def test_another_number_of_bytes_than_declared_is_tried_again(
    load: Load, declared: int
) -> None:
    shelf = Shelf(x=b"abc")
    shelf.script = [lambda t, c: t.receive([c], jf.RemoteInfo(declared))]
    with load(shelf):
        assert read(jf.File("shelf://h/x")).result(LIMIT_S) == b"abc"
    assert shelf.asked == {"x": 2}


def test_a_wrong_digest_is_final_unless_parts_were_put_together(load: Load) -> None:
    content = b"a" * 1000 + b"b" * 1000
    shelf = Shelf(x=content)

    def other_part(transfer: jf.Transfer, content: bytes) -> jf.RemoteInfo:
        info = jf.RemoteInfo(len(content), etag(content))
        return transfer.receive([b"c" * 1000], info, start=transfer.offset)

    digest = hashlib.sha256(content).hexdigest()
    shelf.script = [cut(1000), other_part]
    with load(shelf):
        good = read(jf.File("shelf://h/x", sha256=digest))
        assert good.result(LIMIT_S) == content
        assert shelf.asked == {"x": 3}

        wrong = read(jf.File("shelf://h/x", sha256="0" * 64))
        assert "its sha256 is" in str(wrong.exception(LIMIT_S))
        assert shelf.asked == {"x": 4}


def test_a_file_larger_than_allowed_is_refused(load: Load) -> None:
    shelf = Shelf(x=b"a" * 1001)
    shelf.script = [lambda t, c: t.receive([c]), whole]
    with load(shelf, transfers={"max_bytes": "1 kB"}) as kernel:
        for _ in range(2):
            error = read(jf.File("shelf://h/x")).exception(LIMIT_S)
            assert "max_bytes = 1000" in str(error)
    assert left(kernel) == []


# -- What is known of it --------------------------------------------------------------


@pytest.mark.parametrize(
    ("info", "declared", "verified"),
    [
        (jf.RemoteInfo(), {}, "none"),
        (jf.RemoteInfo(3), {}, "size"),
        (jf.RemoteInfo(), {"size": 3}, "size"),
        (jf.RemoteInfo(3, etag(b"abc")), {}, "etag"),
        (jf.RemoteInfo(), {"sha256": hashlib.sha256(b"abc").hexdigest()}, "digest"),
    ],
)
def test_a_file_tells_how_it_was_verified(
    load: Load, info: jf.RemoteInfo, declared: dict[str, Any], verified: str
) -> None:
    shelf = Shelf(x=b"abc")
    shelf.script = [lambda t, c: t.receive([c], info)]

    @jf.python_app
    def look(file: jf.File) -> str | None:
        return file.verified

    with load(shelf):
        file = jf.File("shelf://h/x", **declared)
        assert look(file).result(LIMIT_S) == verified
    assert [one.verified for one in shelf.events if one.stage == "done"] == [verified]


def test_a_local_file_is_compared_with_what_is_declared(
    load: Load, tmp_path: Path
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"abc")
    digest = hashlib.sha256(b"abc").hexdigest()
    with load():
        good = read(jf.File(path, sha256=digest, size=3))
        wrong = read([jf.File(path, size=4)][0])
        missing = read(jf.File(tmp_path / "y", size=4))

        assert good.result(LIMIT_S) == b"abc"
        assert "it has 3 bytes, size= declares 4" in str(wrong.exception(LIMIT_S))
        assert isinstance(missing.exception(LIMIT_S), FileNotFoundError)


def test_file_urls_are_used_in_place_unless_copies_are_wanted(
    load: Load, tmp_path: Path
) -> None:
    @jf.python_app
    def where(file: jf.File) -> tuple[str, str | None]:
        return file.filepath, file.verified

    path = tmp_path / "a b"
    path.write_bytes(b"abc")
    url = path.as_uri()
    with load():
        assert where(jf.File(url)).result(LIMIT_S) == (str(path), None)
    with load(staging={"file": {"copy": True}}) as kernel:
        copy, verified = where(jf.File(url)).result(LIMIT_S)
        assert where(jf.File(path)).result(LIMIT_S) == (str(path), None)
        assert Path(copy).read_bytes() == b"abc"
        assert Path(copy).is_relative_to(kernel.run_dir)
    assert verified == "etag"


def test_a_file_url_as_an_output_is_whole_or_absent_where_copies_are_wanted(
    load: Load, tmp_path: Path
) -> None:
    @jf.python_app
    def half(outputs: Sequence[jf.File] = ()) -> None:
        Path(outputs[0]).write_bytes(b"ha")
        raise RuntimeError("in the middle")

    good = tmp_path / "out"
    with load(staging={"file": {"copy": True}}):
        write(b"whole", outputs=[jf.File(good.as_uri())]).result(LIMIT_S)
        half(outputs=[jf.File(good.as_uri())]).exception(LIMIT_S)
    assert good.read_bytes() == b"whole"


# -- Progress and cancelling ----------------------------------------------------------


class Gate:
    """An endless source, broken by whoever stops the transfer."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.broken = threading.Event()

    def __call__(self, transfer: jf.Transfer, content: bytes) -> jf.RemoteInfo:
        def blocks() -> Iterator[bytes]:
            yield content
            self.begun.set()
            with transfer.broken_by(self.broken.set):
                assert self.broken.wait(LIMIT_S)
            raise OSError("broken")

        info = jf.RemoteInfo(len(content) + 1)
        return transfer.receive(blocks(), info)


def test_a_transfer_that_nobody_wants_any_more_is_stopped(load: Load) -> None:
    shelf, gate = Shelf(x=b"abc"), Gate()
    shelf.script = [gate]
    with load(shelf) as kernel:
        first, second = read(jf.File("shelf://h/x")), read(jf.File("shelf://h/x"))
        assert gate.begun.wait(LIMIT_S)

        assert first.cancel()
        assert not gate.broken.is_set()
        assert second.cancel()
        assert gate.broken.wait(LIMIT_S)
        kernel.wait_for_current_tasks()

    assert left(kernel) == []
    assert shelf.stages() == ["started", "cancelled"]


def test_a_file_that_was_given_up_can_be_wanted_again(load: Load) -> None:
    shelf, gate = Shelf(x=b"abc"), Gate()
    shelf.script = [gate]
    with load(shelf):
        first = read(jf.File("shelf://h/x"))
        assert gate.begun.wait(LIMIT_S)
        first.cancel()
        assert gate.broken.wait(LIMIT_S)
        again = read(jf.File("shelf://h/x"))

        assert again.result(LIMIT_S) == b"abc"


def test_what_moves_no_more_is_broken_off_and_tried_again(load: Load) -> None:
    shelf, gate = Shelf(x=b"abc"), Gate()
    shelf.script = [gate]
    with load(shelf, transfers={"idle_timeout": 0.2}):
        assert read(jf.File("shelf://h/x")).result(LIMIT_S) == b"abc"

    assert gate.broken.is_set()
    # On a busy machine, the next attempt may move nothing for so long as well.
    retried, *_ = [one for one in shelf.events if one.stage == "retrying"]
    assert "nothing moved for 0.2 s (idle_timeout)" in str(retried.error)


def test_progress_is_told(load: Load) -> None:
    shelf, gate = Shelf(x=b"abc"), Gate()
    shelf.script = [gate]
    with load(shelf):
        future = read(jf.File("shelf://h/x"))
        with shelf.told:
            assert shelf.told.wait_for(
                lambda: any(one.moved for one in shelf.events), LIMIT_S
            )
        future.cancel()

    event = next(one for one in shelf.events if one.moved)
    assert (event.stage, event.moved, event.size) == ("progress", 3, 4)
    assert event.url == "shelf://h/x"
    assert event.rate > 0


def test_the_end_of_a_run_stops_its_transfers(load: Load) -> None:
    shelf, gate = Shelf(x=b"abc"), Gate()
    shelf.script = [gate]
    kernel = load(shelf)
    read(jf.File("shelf://h/x"))
    assert gate.begun.wait(LIMIT_S)
    kernel.cleanup(wait=False)

    assert gate.broken.is_set()
    assert left(kernel) == []


@pytest.mark.parametrize("attempt", range(10))
def test_the_end_of_a_run_cancels_who_waits_for_a_file(
    load: Load, attempt: int
) -> None:
    shelf, gate = Shelf(x=b"abc"), Gate()
    shelf.script = [gate]
    kernel = load(shelf)
    future = read(jf.File("shelf://h/x"))
    after = read(jf.File("shelf://h/x"), future)
    assert gate.begun.wait(LIMIT_S)

    kernel.cleanup(wait=False)

    assert future.cancelled()
    assert after.cancelled()


def test_the_outputs_of_a_join_are_staged_out_when_its_tasks_have_ended(
    load: Load,
) -> None:
    shelf = Shelf()

    @jf.join_app
    def both(outputs: Sequence[jf.File] = ()) -> Any:
        first = write(b"one", outputs=[outputs[0].filepath])
        return write(b"two", outputs=[outputs[1].filepath]), first

    with load(shelf):
        future = both(outputs=[jf.File("shelf://h/a"), jf.File("shelf://h/b")])

        assert future.result(LIMIT_S) == (None, None)
        assert [one.result(0).url for one in future.outputs] == [
            "shelf://h/a",
            "shelf://h/b",
        ]
    assert shelf.files == {"a": b"one", "b": b"two"}


# -- Hosts ----------------------------------------------------------------------------


def test_one_host_gets_so_many_connections_and_others_pass_it(load: Load) -> None:
    class Counts(Shelf):
        most = 0
        now = 0
        lock = threading.Lock()
        gate = threading.Event()

        @jf.hookimpl
        def jackfield_stage_in(self, transfer: jf.Transfer) -> jf.RemoteInfo:
            if "//slow" not in transfer.url:
                return transfer.receive([b"quick"])
            with self.lock:
                self.now += 1
                self.most = max(self.most, self.now)
            assert self.gate.wait(LIMIT_S)
            with self.lock:
                self.now -= 1
            return transfer.receive([b"slow"])

        @jf.hookimpl
        def jackfield_stat_file(self, remote: jf.Remote) -> jf.RemoteInfo:
            return jf.RemoteInfo()

    counts = Counts()
    with load(counts, transfers={"connections": 2, "threads": 4}):
        slow = [read(jf.File(f"shelf://slow/{n}")) for n in range(10)]
        quick = [read(jf.File(f"shelf://quick/{n}")) for n in range(10)]
        assert [future.result(LIMIT_S) for future in quick] == [b"quick"] * 10
        counts.gate.set()
        assert [future.result(LIMIT_S) for future in slow] == [b"slow"] * 10

    assert counts.most == 2


def test_options_and_rules_may_differ_by_host(load: Load) -> None:
    seen: dict[str, tuple[dict[str, Any], float]] = {}

    class Looks:
        @jf.hookimpl
        def jackfield_stage_in(self, transfer: jf.Transfer) -> jf.RemoteInfo:
            host = jf.File(transfer.url).netloc
            seen[host] = dict(transfer.options), transfer.timeouts.idle
            return transfer.receive([b""])

    table = {
        "color": "red",
        "idle_timeout": 7,
        "hosts": {"b:80": {"color": "blue", "idle_timeout": 9}},
    }
    with load(Looks(), staging={"shelf": table}):
        for host in ("a", "me@b:80"):
            read(jf.File(f"shelf://{host}/x")).result(LIMIT_S)

    assert seen == {"a": ({"color": "red"}, 7.0), "me@b:80": ({"color": "blue"}, 9.0)}


def test_a_scheme_that_is_not_allowed_is_refused_at_submit(load: Load) -> None:
    shelf = Shelf(x=b"abc")
    with load(shelf, transfers={"schemes": ["https"]}):
        with pytest.raises(jf.ConfigurationError, match="does not allow 'shelf'"):
            read(jf.File("shelf://h/x"))
        with pytest.raises(jf.ConfigurationError, match="does not allow 'shelf'"):
            write(b"", outputs=[jf.File("shelf://h/x")])


# -- Results that are files, and streams ----------------------------------------------


def test_a_remote_file_that_a_task_returns_is_staged_for_the_next(load: Load) -> None:
    @jf.python_app
    def choose() -> jf.File:
        return jf.File("shelf://h/x")

    @jf.python_app
    def choose_two() -> list[jf.File]:
        return [jf.File("shelf://h/x"), jf.File("shelf://h/y")]

    @jf.python_app
    def read_all(files: list[jf.File]) -> list[bytes]:
        return [Path(file).read_bytes() for file in files]

    shelf = Shelf(x=b"abc", y=b"de")
    with load(shelf):
        assert read(choose()).result(LIMIT_S) == b"abc"
        assert read_all(choose_two()).result(LIMIT_S) == [b"abc", b"de"]
    assert shelf.asked == {"x": 1, "y": 1}


def test_a_returned_file_that_cannot_be_had_fails_who_wants_it(load: Load) -> None:
    @jf.python_app
    def choose(url: str) -> jf.File:
        return jf.File(url)

    with load(Shelf()):
        missing = read(choose("shelf://h/none")).exception(LIMIT_S)
    assert isinstance(missing, RemoteNotFoundError)


def test_streams_of_a_bash_app_are_staged_out(load: Load) -> None:
    @jf.bash_app
    def talk(stdout: Any = None, stderr: Any = None) -> str:
        return "echo out; echo err >&2"

    shelf = Shelf()
    with load(shelf):
        future = talk(
            stdout=jf.File("shelf://h/out"), stderr=(jf.File("shelf://h/err"), "w")
        )
        assert future.result(LIMIT_S) == 0

    assert shelf.files == {"out": b"out\n", "err": b"err\n"}


# -- Trees ----------------------------------------------------------------------------


@jf.python_app
def tree_of(top: Any) -> dict[str, bytes]:
    return {
        path.relative_to(top).as_posix(): path.read_bytes()
        for path in Path(top).rglob("*")
        if path.is_file()
    }


def test_a_directory_is_staged_with_all_below_it(load: Load) -> None:
    shelf = Shelf(d__a=b"1", d__e__b=b"2", other=b"3")
    with load(shelf):
        found = tree_of(jf.File("shelf://h/d/")).result(LIMIT_S)
    assert found == {"a": b"1", "e/b": b"2"}


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("d/*.txt", {"a.txt"}),
        ("d/*/b.txt", {"e/b.txt"}),
        ("d/**/*.txt", {"a.txt", "e/b.txt"}),
        ("d/e*/*", {"e/b.txt"}),
    ],
)
def test_a_pattern_stages_what_fits(load: Load, pattern: str, names: set[str]) -> None:
    shelf = Shelf()
    shelf.files = {"d/a.txt": b"1", "d/e/b.txt": b"2", "d/c.csv": b"3", "x.txt": b"4"}
    with load(shelf):
        found = tree_of(jf.File(f"shelf://h/{pattern}")).result(LIMIT_S)
    assert set(found) == names


def test_a_pattern_that_fits_nothing_is_an_error(load: Load) -> None:
    with load(Shelf(d__a=b"1")) as kernel:
        error = tree_of(jf.File("shelf://h/d/*.txt")).exception(LIMIT_S)
    assert isinstance(error, RemoteNotFoundError)
    assert left(kernel) == []


def test_a_tree_of_which_one_file_fails_is_not_there(load: Load) -> None:
    shelf = Shelf(d__a=b"1", d__b=b"2", d__c=b"3")
    shelf.script = [whole, raises(PermissionError("closed"))]
    with load(shelf) as kernel:
        error = tree_of(jf.File("shelf://h/d/")).exception(LIMIT_S)
    assert isinstance(error, PermissionError)
    assert left(kernel) == []


def test_a_failure_in_a_tree_stops_the_others(load: Load) -> None:
    shelf, gate = Shelf(d__a=b"1", d__b=b"2"), Gate()

    def fail(transfer: jf.Transfer, content: bytes) -> jf.RemoteInfo:
        assert gate.begun.wait(LIMIT_S)
        raise PermissionError("closed")

    shelf.script = [gate, fail]
    with load(shelf) as kernel:
        error = tree_of(jf.File("shelf://h/d/")).exception(LIMIT_S)
    assert isinstance(error, PermissionError)
    assert gate.broken.is_set()
    assert left(kernel) == []


def test_a_tree_that_nobody_wants_any_more_is_stopped(load: Load) -> None:
    shelf, gate = Shelf(d__a=b"1"), Gate()
    shelf.script = [gate]
    with load(shelf) as kernel:
        future = tree_of(jf.File("shelf://h/d/"))
        assert gate.begun.wait(LIMIT_S)
        assert future.cancel()
        assert gate.broken.wait(LIMIT_S)
    assert left(kernel) == []


@pytest.mark.parametrize("name", ["d/../../x", "d/%2e%2e/x"])
def test_a_listing_leads_nowhere_else(load: Load, name: str) -> None:
    class Lies(Shelf):
        @jf.hookimpl
        def jackfield_list_files(self, remote: jf.Remote) -> Any:
            return {f"shelf://h/{name}": jf.RemoteInfo()}

    with load(Lies(x=b"1")) as kernel:
        error = tree_of(jf.File("shelf://h/d/")).exception(LIMIT_S)
    assert "leads out of the directory" in str(error)
    assert left(kernel) == []


def test_a_listing_of_another_place_is_refused(load: Load) -> None:
    class Lies(Shelf):
        @jf.hookimpl
        def jackfield_list_files(self, remote: jf.Remote) -> Any:
            return {"file:///etc/passwd": jf.RemoteInfo()}

    with load(Lies()):
        error = tree_of(jf.File("shelf://h/d/")).exception(LIMIT_S)
    assert "which is not below it" in str(error)


def test_a_directory_of_outputs_is_staged_out(load: Load) -> None:
    @jf.python_app
    def make(outputs: Sequence[jf.File] = ()) -> None:
        top = Path(outputs[0])
        (top / "e").mkdir(parents=True)
        (top / "a b").write_bytes(b"1")
        (top / "e" / "b%").write_bytes(b"2")

    shelf = Shelf()
    with load(shelf):
        make(outputs=[jf.File("shelf://h/out/")]).result(LIMIT_S)
    assert shelf.files == {"out/a b": b"1", "out/e/b%": b"2"}


# -- Out ------------------------------------------------------------------------------


def test_a_stage_out_is_tried_again(load: Load) -> None:
    shelf = Shelf()
    shelf.script = [raises(ConnectionError("cut"))]
    with load(shelf):
        future = write(b"abc", outputs=[jf.File("shelf://h/x")])
        assert future.outputs[0].result(LIMIT_S).url == "shelf://h/x"
    assert shelf.files == {"x": b"abc"}
    assert [one.direction for one in shelf.events][-1] == "out"


def test_what_did_not_arrive_whole_is_an_error(load: Load) -> None:
    class Loses(Shelf):
        @jf.hookimpl
        def jackfield_stage_out(self, transfer: jf.Transfer) -> jf.RemoteInfo:
            self.files["x"] = transfer.path.read_bytes()[:-1]
            return jf.RemoteInfo()

    with load(Loses()):
        future = write(b"abc", outputs=[jf.File("shelf://h/x")])
        error = future.outputs[0].exception(LIMIT_S)
    assert "2 bytes are there now; 3 were sent" in str(error)


def test_a_file_that_is_changed_while_it_is_sent_is_an_error(load: Load) -> None:
    class Changes(Shelf):
        @jf.hookimpl
        def jackfield_stage_out(self, transfer: jf.Transfer) -> jf.RemoteInfo:
            transfer.path.write_bytes(b"other")
            return jf.RemoteInfo(3)

    with load(Changes()):
        future = write(b"abc", outputs=[jf.File("shelf://h/x")])
        assert "was changed while it was sent" in str(future.exception(LIMIT_S))


# -- The cache ------------------------------------------------------------------------


def test_a_later_run_takes_a_file_from_the_cache(load: Load, tmp_path: Path) -> None:
    shelf = Shelf(x=b"abc")
    cache = {"cache": str(tmp_path / "cache")}
    for _ in range(2):
        with load(shelf, transfers=cache):
            assert read(jf.File("shelf://h/x")).result(LIMIT_S) == b"abc"
    assert shelf.asked == {"x": 1}

    shelf.files["x"] = b"new"
    with load(shelf, transfers=cache):
        assert read(jf.File("shelf://h/x")).result(LIMIT_S) == b"new"
    assert shelf.asked == {"x": 2}


def test_another_version_than_the_one_looked_at_is_not_kept(
    load: Load, tmp_path: Path
) -> None:
    class Stale(Shelf):
        @jf.hookimpl
        def jackfield_stat_file(self, remote: jf.Remote) -> jf.RemoteInfo:
            return jf.RemoteInfo(3, '"A"')

    shelf, settled = Stale(x=b"BBB"), jf.RemoteInfo(3, '"B"', None, True)
    for _ in range(2):
        shelf.script = [lambda t, c: t.receive([c], settled)]
        with load(shelf, transfers={"cache": str(tmp_path / "cache")}):
            read(jf.File("shelf://h/x")).result(LIMIT_S)
    assert shelf.asked == {"x": 2}


def test_a_look_at_a_file_or_a_directory_is_tried_again(
    load: Load, tmp_path: Path
) -> None:
    class Moody(Shelf):
        failures = 0

        def cut(self) -> None:
            self.failures += 1
            if self.failures % 2:
                raise ConnectionError("cut")

        @jf.hookimpl
        def jackfield_stat_file(self, remote: jf.Remote) -> jf.RemoteInfo:
            self.cut()
            return self.info(remote)

        @jf.hookimpl
        def jackfield_list_files(self, remote: jf.Remote) -> Mapping[str, Any]:
            self.cut()
            return {f"{remote.url}a": jf.RemoteInfo()}

    with load(Moody(x=b"abc"), transfers={"cache": str(tmp_path / "cache")}):
        assert read(jf.File("shelf://h/x")).result(LIMIT_S) == b"abc"
    with load(Moody(d__a=b"abc")):
        assert tree_of(jf.File("shelf://h/d/")).result(LIMIT_S) == {"a": b"abc"}


def test_a_tree_is_verified_as_well_as_its_worst_file(load: Load) -> None:
    @jf.python_app
    def how(file: jf.File) -> str | None:
        return file.verified

    shelf = Shelf(d__a=b"1", d__b=b"2")
    shelf.script = [lambda t, c: t.receive([c], jf.RemoteInfo(settled=True))]
    with load(shelf):
        assert how(jf.File("shelf://h/d/")).result(LIMIT_S) == "none"
        assert how(jf.File("shelf://h/*/a")).result(LIMIT_S) == "etag"


def test_a_task_that_changes_its_file_does_not_change_the_cache(
    load: Load, tmp_path: Path
) -> None:
    @jf.python_app
    def spoil(file: jf.File) -> None:
        Path(file).write_bytes(b"spoilt")

    shelf = Shelf(x=b"abc")
    cache = {"cache": str(tmp_path / "cache")}
    for _ in range(2):
        with load(shelf, transfers=cache):
            spoil(jf.File("shelf://h/x")).result(LIMIT_S)
    with load(shelf, transfers=cache):
        assert read(jf.File("shelf://h/x")).result(LIMIT_S) == b"abc"
    assert shelf.asked == {"x": 1}


def test_a_damaged_entry_is_dropped(load: Load, tmp_path: Path) -> None:
    shelf = Shelf(x=b"abc")
    cache = {"cache": str(tmp_path / "cache")}
    with load(shelf, transfers=cache):
        read(jf.File("shelf://h/x")).result(LIMIT_S)
    (entry,) = (tmp_path / "cache").glob("??/*-*")
    entry.write_bytes(b"abd")

    with load(shelf, transfers=cache):
        assert read(jf.File("shelf://h/x")).result(LIMIT_S) == b"abc"
    assert shelf.asked == {"x": 2}


def test_what_is_not_verified_is_not_kept(load: Load, tmp_path: Path) -> None:
    class Vague(Shelf):
        @jf.hookimpl
        def jackfield_stat_file(self, remote: jf.Remote) -> jf.RemoteInfo:
            return jf.RemoteInfo()

    shelf = Vague(x=b"abc")
    for _ in range(2):
        shelf.script = [lambda t, c: t.receive([c])]
        with load(shelf, transfers={"cache": str(tmp_path / "cache")}):
            read(jf.File("shelf://h/x")).result(LIMIT_S)
    assert shelf.asked == {"x": 2}


def test_the_cache_keeps_to_its_quota_and_drops_the_oldest(
    load: Load, tmp_path: Path
) -> None:
    shelf = Shelf(**{f"f{n}": os.urandom(400) for n in range(4)})
    cache = {"cache": str(tmp_path / "cache"), "cache_quota": 1000}
    for name in ("f0", "f1", "f0", "f2", "f0", "f1"):
        with load(shelf, transfers=cache):
            content = read(jf.File(f"shelf://h/{name}")).result(LIMIT_S)
            assert content == shelf.files[name]

    entries = list((tmp_path / "cache").glob("??/*-*"))
    assert sum(entry.stat().st_size for entry in entries) <= 1000
    assert shelf.asked == {"f0": 1, "f1": 2, "f2": 1}


def test_a_cache_that_others_may_write_is_refused(load: Load, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    with load(Shelf(x=b"abc"), transfers={"cache": str(tmp_path / "cache")}):
        error = read(jf.File("shelf://h/x")).exception(LIMIT_S)
    assert isinstance(error, jf.ConfigurationError)
    assert "chmod 700" in str(error)


# -- In the task ----------------------------------------------------------------------

PROVIDER = """
from __future__ import annotations
from pathlib import Path
import jackfield as jf

@jf.hookimpl
def jackfield_stage_in(transfer):
    path = Path(jf.File(transfer.url).path)
    return transfer.receive([path.read_bytes()], jf.RemoteInfo(path.stat().st_size))

@jf.hookimpl
def jackfield_stage_out(transfer):
    path = Path(jf.File(transfer.url).path)
    path.write_bytes(transfer.path.read_bytes())
    return jf.RemoteInfo(path.stat().st_size)
"""


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module that workers can import, too."""
    import importlib
    import sys

    (tmp_path / "lab_provider.py").write_text(PROVIDER)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    yield importlib.import_module("lab_provider")
    del sys.modules["lab_provider"]


def copy_upper(source: jf.File, outputs: Sequence[jf.File] = ()) -> tuple[int, str]:
    Path(outputs[0]).write_bytes(Path(source).read_bytes().upper())
    return os.getpid(), source.filepath


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_files_may_be_moved_in_the_task(
    load: Load, tmp_path: Path, provider: Any, executor: str
) -> None:
    (tmp_path / "in.txt").write_bytes(b"abc")
    app = jf.python_app(copy_upper)
    with load(
        provider,
        executors={"e": {"plugin": executor, "workers": 1}},
        staging={"lab": {"in_task": True}},
    ) as kernel:
        future = app(
            jf.File(f"lab://{tmp_path}/in.txt"),
            outputs=[jf.File(f"lab://{tmp_path}/out.txt")],
        )
        pid, path = future.result(LIMIT_S)
        out = future.outputs[0].result(LIMIT_S)
        again = read(out).result(LIMIT_S)

    assert (pid != os.getpid()) is (executor == "processes")
    assert (tmp_path / "out.txt").read_bytes() == b"ABC"
    assert again == b"ABC"
    assert not Path(path).exists()
    assert not (kernel.run_dir / "files").exists() or left(kernel) == []


def test_a_failure_in_the_task_names_the_file(
    load: Load, tmp_path: Path, provider: Any
) -> None:
    with load(
        provider,
        executors={"e": {"plugin": "processes", "workers": 1}},
        staging={"lab": {"in_task": True}},
    ):
        error = read(jf.File(f"lab://{tmp_path}/none")).exception(LIMIT_S)
    assert isinstance(error, FileNotFoundError)


# -- Credentials ----------------------------------------------------------------------


class Asks:
    def __init__(self) -> None:
        self.given: dict[str, str] = {}

    @jf.hookimpl
    def jackfield_stage_in(self, transfer: jf.Transfer) -> jf.RemoteInfo:
        self.given = dict(transfer.credentials)
        assert "hunter2" not in repr(transfer) + repr(transfer.credentials)
        if transfer.url.endswith("bad"):
            raise ValueError(f"login with {transfer.credentials['password']} failed")
        return transfer.receive([b""])


def test_credentials_come_from_the_environment(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JACKFIELD_CREDENTIALS_MY_LAB_USER", "me")
    monkeypatch.setenv("JACKFIELD_CREDENTIALS_MY_LAB_PASSWORD", "hunter2")
    asks = Asks()
    with load(asks, staging={"shelf": {"credentials": "my-lab"}}) as kernel:
        read(jf.File("shelf://h/x")).result(LIMIT_S)
        error = read(jf.File("shelf://h/bad")).exception(LIMIT_S)

    assert asks.given == {"user": "me", "password": "hunter2"}
    assert "login with *** failed" in str(error)
    everything = b"".join(path.read_bytes() for path in kernel.run_dir.rglob("*.log"))
    assert b"hunter2" not in everything


def test_credentials_come_from_a_private_file(load: Load, tmp_path: Path) -> None:
    path = tmp_path / "credentials.toml"
    path.write_text('[lab]\nuser = "me"\npassword = "hunter2"\n')
    path.chmod(0o644)
    options = {
        "staging": {"shelf": {"credentials": "lab"}},
        "transfers": {"credentials_file": str(path)},
    }
    asks = Asks()
    with load(asks, **options):
        error = read(jf.File("shelf://h/x")).exception(LIMIT_S)
        assert "chmod 600" in str(error)
        path.chmod(0o600)
        read(jf.File("shelf://h/x")).result(LIMIT_S)
    assert asks.given == {"user": "me", "password": "hunter2"}


def test_credentials_come_from_a_plugin_first(load: Load) -> None:
    class Vault(Asks):
        @jf.hookimpl
        def jackfield_credentials(self, name: str) -> dict[str, str] | None:
            return {"token": f"{name}-hunter2"} if name == "lab" else None

    vault = Vault()
    with load(vault, staging={"shelf": {"credentials": "lab"}}):
        read(jf.File("shelf://h/x")).result(LIMIT_S)
    assert vault.given == {"token": "lab-hunter2"}


def test_unknown_credentials_are_an_error_that_says_where_to_put_them(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with load(Asks(), staging={"shelf": {"credentials": "lab"}}):
        error = read(jf.File("shelf://h/x")).exception(LIMIT_S)
    assert isinstance(error, jf.ConfigurationError)
    assert "JACKFIELD_CREDENTIALS_LAB_USER" in str(error)
    assert "credentials.toml" in str(error)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("ftp://me:p/w@h/x", "ftp://me:***@h/x"),
        ("ftp://me:p@h/x", "ftp://me:***@h/x"),
        ("http://h:80/a@b", "http://h:80/a@b"),
        ("http://[::1]/a@b", "http://[::1]/a@b"),
        ("http://h/a?token=1", "http://h/a?***"),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert repr(jf.File(url)) == f"File({shown!r})"
