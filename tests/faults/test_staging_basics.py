"""Files from and to elsewhere: once, whole, or not at all."""

from __future__ import annotations

import hashlib
import logging
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.errors import NoProviderError

LIMIT_S = 60.0


class Memory:
    """Serves every scheme from a dict; what is missing there does not arrive."""

    def __init__(self, **files: bytes) -> None:
        self.files: dict[str, bytes] = files
        self.fetched: Counter[str] = Counter()
        self.gate = threading.Event()
        self.gate.set()
        self.begun = threading.Event()

    @jf.hookimpl
    def jackfield_stage_in(self, transfer: jf.Transfer) -> jf.RemoteInfo:
        name = transfer.url.rpartition("/")[2]
        self.fetched[name] += 1
        self.begun.set()
        assert self.gate.wait(LIMIT_S)
        transfer.path.write_bytes(b"half of it")
        if name not in self.files:
            raise FileNotFoundError(f"no {name}")
        transfer.path.write_bytes(self.files[name])
        return jf.RemoteInfo(size=len(self.files[name]))

    @jf.hookimpl
    def jackfield_stage_out(self, transfer: jf.Transfer) -> jf.RemoteInfo:
        self.begun.set()
        assert self.gate.wait(LIMIT_S)
        self.files[transfer.url.rpartition("/")[2]] = transfer.path.read_bytes()
        return jf.RemoteInfo()


@jf.python_app
def read(file: jf.File, *_: Any) -> bytes:
    return Path(file).read_bytes()


@jf.python_app
def write(text: str, outputs: Sequence[jf.File] = ()) -> str:
    for file in outputs:
        Path(file).write_text(text)
    return text


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., jf.DataFlowKernel]:
    """Load a kernel with these plugins."""

    def load(*plugins: object, **options: Any) -> jf.DataFlowKernel:
        options.setdefault(
            "executors", {"threads": {"plugin": "threads", "workers": 2}}
        )
        options.setdefault("exit_grace", 0.2)
        # So that no test waits for the pauses between the attempts of a transfer.
        options.setdefault("transfers", {"backoff": 0.01})
        return jf.load(jf.Config(run_dir=tmp_path / "runs", plugins=plugins, **options))

    return load


Load = Callable[..., jf.DataFlowKernel]


def files_of(kernel: jf.DataFlowKernel) -> list[Path]:
    directory = kernel.run_dir / "files"
    return [path for path in directory.rglob("*") if not path.is_dir()]


# -- In -------------------------------------------------------------------------------


def test_many_tasks_share_one_transfer(load: Load) -> None:
    memory = Memory(x=b"abc")
    memory.gate.clear()
    with load(memory) as kernel:
        futures = [read(jf.File("mem://host/x")) for _ in range(100)]
        assert memory.begun.wait(LIMIT_S)
        memory.gate.set()
        later = read(jf.File("mem://host/x"))
        nested: jf.AppFuture[Any] = kernel.submit(list, [jf.File("mem://host/x")])

    assert {future.result(0) for future in [*futures, later]} == {b"abc"}
    assert nested.exception(0) is None
    assert memory.fetched == {"x": 1}


def test_a_transfer_that_fails_fails_all_and_leaves_nothing_behind(load: Load) -> None:
    memory = Memory()
    memory.gate.clear()
    with load(memory) as kernel:
        futures = [read(jf.File("mem://host/none")) for _ in range(20)]
        assert memory.begun.wait(LIMIT_S)
        memory.gate.set()

    errors = [future.exception(0) for future in futures]
    assert all(isinstance(error, FileNotFoundError) for error in errors)
    assert memory.fetched == {"none": 1}
    assert list((kernel.run_dir / "files").iterdir()) == []


def test_a_transfer_that_failed_is_tried_again_for_a_later_task(load: Load) -> None:
    memory = Memory()
    with load(memory):
        assert isinstance(
            read(jf.File("mem://host/x")).exception(LIMIT_S), FileNotFoundError
        )
        memory.files["x"] = b"there now"

        assert read(jf.File("mem://host/x")).result(LIMIT_S) == b"there now"


def test_a_transfer_that_failed_is_not_retried_with_the_task(load: Load) -> None:
    memory = Memory()
    with load(memory, retries=3):
        error = read(jf.File("mem://host/x")).exception(LIMIT_S)

    assert isinstance(error, FileNotFoundError)
    assert memory.fetched == {"x": 1}


def test_what_is_declared_is_verified(load: Load) -> None:
    memory = Memory(x=b"abc")
    digest = hashlib.sha256(b"abc").hexdigest()
    with load(memory):
        good = read(jf.File("mem://host/x", size=3, sha256=digest.upper()))
        short = read(jf.File("mem://host/x", size=4))
        other = read(jf.File("mem://host/x", sha256="0" * 64))

    assert good.result(0) == b"abc"
    assert "it has 3 bytes, size= declares 4" in str(short.exception(0))
    assert digest in str(other.exception(0))


def test_what_is_declared_of_an_output_is_compared_when_it_is_made(
    load: Load, tmp_path: Path
) -> None:
    good = hashlib.sha256(b"abc").hexdigest()
    place = tmp_path / "made.txt"
    long = "it has 4 bytes, size= declares 3"
    with load(Memory()):
        for text, file, wrong in [
            ("abc", jf.File(place, sha256=good), None),  # it is not there before
            ("other", jf.File(place, sha256=good), "expected"),  # and here it is right
            ("abcd", jf.File(place, size=3), long),
            ("abcd", jf.File("mem://host/x", size=3), long),
        ]:
            future = write(text, outputs=[file])
            for one in (future, future.outputs[0]):
                error = one.exception(LIMIT_S)
                if wrong is None:
                    assert error is None
                else:
                    assert isinstance(error, jf.TransferError)
                    assert wrong in str(error)


def test_a_result_does_not_stand_for_an_output_that_is_declared_otherwise(
    load: Load, tmp_path: Path
) -> None:
    cached = jf.python_app(cache=True)(write.__wrapped__)
    place, good = tmp_path / "made.txt", hashlib.sha256(b"abc").hexdigest()
    with load():
        futures = []
        for digest in (None, good, good.upper(), "0" * 64):
            futures.append(cached("abc", outputs=[jf.File(place, sha256=digest)]))
            futures[-1].exception(LIMIT_S)

    statuses = [future.memo.status for future in futures]
    assert statuses == ["miss", "miss", "hit", "miss"]
    assert isinstance(futures[-1].exception(0), jf.TransferError)


def test_two_files_of_one_name_do_not_meet(load: Load) -> None:
    class ByHost:
        @jf.hookimpl
        def jackfield_stage_in(self, transfer: jf.Transfer) -> jf.RemoteInfo:
            transfer.path.write_text(transfer.url)
            return jf.RemoteInfo()

    urls = ["mem://a/data", "mem://b/data", "mem://a/x/data", "mem://a/data?v=2"]
    with load(ByHost()):
        futures = [read(jf.File(url)) for url in urls]

    assert [future.result(0).decode() for future in futures] == urls


@pytest.mark.parametrize(
    "url",
    [
        "mem://host/../../etc/passwd",
        "mem://host/%2e%2e/%2e%2e/x",
        "mem://host/..",
        "mem://host/.",
        "mem://host",
        "mem://host/a%2fb",
        "mem://host/%2fetc%2fpasswd",
        "mem://host/a%0ab%00c",
        "mem://host/" + "n" * 300,
        "mem://host/a\\b",
        "mem://host/.hidden",
    ],
)
def test_no_name_leads_out_of_the_directory_of_the_run(load: Load, url: str) -> None:
    class Writes:
        @jf.hookimpl
        def jackfield_stage_in(self, transfer: jf.Transfer) -> jf.RemoteInfo:
            transfer.path.write_text("x")
            return jf.RemoteInfo()

    with load(Writes()) as kernel:
        path = Path(kernel.submit(str, jf.File(url)).result(LIMIT_S))
        (staged,) = files_of(kernel)

    assert staged == path
    assert path.resolve().is_relative_to(kernel.run_dir.resolve() / "files")
    assert len(path.name) <= 200


def test_what_a_plugin_leaves_beside_the_file_goes_with_a_failure(load: Load) -> None:
    class Litters:
        @jf.hookimpl
        def jackfield_stage_in(self, transfer: jf.Transfer) -> jf.RemoteInfo:
            (transfer.path.parent / "litter").write_text("x")
            (transfer.path.parent / "more").mkdir()
            raise ConnectionError("cut")

    with load(Litters()) as kernel:
        error = read(jf.File("mem://host/x")).exception(LIMIT_S)

    assert isinstance(error, ConnectionError)
    assert list((kernel.run_dir / "files").iterdir()) == []


def test_a_file_may_come_late_to_tasks_that_wait_for_more(load: Load) -> None:
    memory = Memory(x=b"abc")
    memory.gate.clear()
    with load(memory) as kernel:
        first = kernel.submit(abs, -1)
        future = read(jf.File("mem://host/x"), first)
        assert memory.begun.wait(LIMIT_S)
        assert first.result(LIMIT_S) == 1
        assert not future.done()
        memory.gate.set()

    assert future.result(0) == b"abc"


def test_an_end_by_an_error_tells_transfers_that_run(load: Load) -> None:
    seen = threading.Event()
    begun = threading.Event()

    class Looks:
        @jf.hookimpl
        def jackfield_stage_in(self, transfer: jf.Transfer) -> None:
            begun.set()
            if transfer.cancelled.wait(LIMIT_S):
                seen.set()
            raise ConnectionError("given up")

    kernel = load(Looks(), exit_grace=LIMIT_S)
    future = read(jf.File("mem://host/x"))
    assert begun.wait(LIMIT_S)

    kernel.cleanup(wait=False)

    assert seen.is_set()
    assert future.cancelled()
    assert list((kernel.run_dir / "files").iterdir()) == []


# -- Out ------------------------------------------------------------------------------


def test_an_output_is_there_when_its_future_is_done(load: Load) -> None:
    memory = Memory()
    memory.gate.clear()
    with load(memory):
        future = write("abc", outputs=[jf.File("mem://host/x")])
        (output,) = future.outputs
        assert memory.begun.wait(LIMIT_S)
        assert not future.done()
        assert not output.done()
        memory.gate.set()

        assert output.result(LIMIT_S).url == "mem://host/x"
        assert memory.files == {"x": b"abc"}
        assert future.result(LIMIT_S) == "abc"


def test_an_output_that_does_not_arrive_fails_the_task_and_what_follows(
    load: Load,
) -> None:
    class Refuses:
        @jf.hookimpl
        def jackfield_stage_out(self, transfer: jf.Transfer) -> None:
            raise ConnectionError("cut")

    with load(Refuses()):
        future = write("abc", outputs=[jf.File("mem://host/x")])
        after = read(future.outputs[0])

    assert "cut" in str(future.exception(0))
    assert "cut" in str(future.outputs[0].exception(0))
    assert "cut" in str(after.exception(0))


def test_an_output_that_is_not_made_is_named(load: Load) -> None:
    memory = Memory()
    with load(memory):
        future = jf.python_app(lambda outputs=(): None)(
            outputs=[jf.File("mem://host/x")]
        )

    assert isinstance(future.exception(0), jf.MissingOutputs)
    assert memory.files == {}


def test_an_output_of_a_task_that_fails_is_not_sent(load: Load) -> None:
    memory = Memory()

    @jf.python_app
    def fail(outputs: Sequence[jf.File] = ()) -> None:
        Path(outputs[0]).write_text("abc")
        raise ValueError("failed")

    with load(memory):
        future = fail(outputs=[jf.File("mem://host/x")])

    assert isinstance(future.outputs[0].exception(0), ValueError)
    assert memory.files == {}


def test_outputs_are_sent_under_a_limit_of_pending_tasks(load: Load) -> None:
    memory = Memory()
    with load(memory, max_pending=1):
        futures = [
            write(str(number), outputs=[jf.File(f"mem://host/{number}")])
            for number in range(10)
        ]

    assert [future.result(0) for future in futures] == [str(n) for n in range(10)]
    assert len(memory.files) == 10


# -- Schemes and secrets --------------------------------------------------------------


def test_a_scheme_that_nobody_serves_is_refused_at_submit(load: Load) -> None:
    with load():
        with pytest.raises(NoProviderError, match=r"No staging plugin serves nosuch:"):
            read(jf.File("nosuch://host/x"))
        with pytest.raises(NoProviderError, match=r"Schemes served: file, ftp"):
            write("abc", outputs=[jf.File("nosuch://host/x")])


PASSWORD = "s3cret/pw"
QUOTED = "s3cret%2Fpw"
SECRET_URL = f"mem://user:{QUOTED}@host/x?X-Amz-Signature=t0ken"
SECRETS = [PASSWORD, QUOTED, "t0ken"]


class TellsAll:
    """A provider that shows the whole URL, here and there."""

    def __init__(self, error: Callable[[str], BaseException]) -> None:
        self.error = error

    @jf.hookimpl
    def jackfield_stage_in(self, transfer: jf.Transfer) -> None:
        error = self.error(transfer.url)
        if isinstance(error, OSError):
            raise error from ValueError(f"cause: {transfer.url}")
        raise error

    @jf.hookimpl
    def jackfield_stage_out(self, transfer: jf.Transfer) -> None:
        raise self.error(transfer.url)


def shown(error: BaseException | None) -> str:
    assert error is not None
    return repr(error) + "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError,
        lambda url: ValueError(f"cannot open {url}"),
        lambda url: OSError(5, "cannot read"),
        lambda url: PermissionError(f"wrong password {PASSWORD}"),
        lambda url: SystemExit(f"cannot open {url}"),
    ],
    ids=["not-found", "value", "cause", "password", "exit"],
)
def test_no_secret_of_a_url_is_told_by_anybody(
    load: Load,
    caplog: pytest.LogCaptureFixture,
    error: Callable[[str], BaseException],
) -> None:
    caplog.set_level(logging.DEBUG)
    told: list[str] = []

    class Collects:
        @jf.hookimpl
        def jackfield_task_events(self, events: Sequence[jf.TaskEvent]) -> None:
            told.extend(map(repr, events))

    with load(TellsAll(error), Collects(), log_level="DEBUG") as kernel:
        file = jf.File(SECRET_URL)
        wanting = read(file)
        after = kernel.submit(len, wanting)
        making = write("abc", outputs=[file])
        everything = [repr(file), repr(wanting), repr(making), repr(making.outputs)]
        for future in (wanting, after, making, making.outputs[0]):
            everything.append(shown(future.exception(LIMIT_S)))
        everything.append(repr(kernel.summary()))
    everything += [*told, caplog.text, (kernel.run_dir / "jackfield.log").read_text()]

    for text in everything:
        for secret in SECRETS:
            assert secret not in text
    assert "mem://user:***@host/x" in shown(wanting.exception(0))


def test_no_secret_is_told_of_a_file_that_is_not_what_was_declared(load: Load) -> None:
    with load(Memory(**{"x?X-Amz-Signature=t0ken": b"abc"})):
        error = read(jf.File(SECRET_URL, size=4)).exception(LIMIT_S)

    assert "it has 3 bytes" in str(error)
    assert not any(secret in shown(error) for secret in SECRETS)


def test_no_secret_is_told_of_a_scheme_that_nobody_serves(load: Load) -> None:
    with load(), pytest.raises(NoProviderError) as caught:
        read(jf.File(SECRET_URL))

    assert not any(secret in shown(caught.value) for secret in SECRETS)


def test_an_error_that_tells_no_secret_comes_as_it_was_raised(load: Load) -> None:
    raised = ConnectionResetError("cut off")
    with load(TellsAll(lambda _: raised)):
        error = write("abc", outputs=[jf.File(SECRET_URL)]).exception(LIMIT_S)

    while error is not None and error is not raised:
        error = error.__cause__
    assert error is raised
