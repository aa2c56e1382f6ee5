"""Plugins that raise, answer nonsense, or do not come back."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.abc import CheckpointStore
from jackfield.errors import MemoKeyError, NoProviderError, TaskExitError
from jackfield.graph.task import task_of
from jackfield_stream.stream import CAPACITY, Stream

LIMIT_S = 60.0

ERRORS = [RuntimeError("broken"), SystemExit("broken")]
RAISES = pytest.mark.parametrize(
    "error", ERRORS, ids=lambda error: type(error).__name__
)


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., jf.DataFlowKernel]:
    """Load a kernel with two threads and these plugins."""

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


def log_of(kernel: jf.DataFlowKernel) -> str:
    return (kernel.run_dir / "jackfield.log").read_text()


def fail() -> None:
    raise ValueError("its own")


# -- Hooks that raise -----------------------------------------------------------------


class RaisesInSelect:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    @jf.hookimpl
    def jackfield_select_executor(self, task: jf.TaskView) -> None:
        if task.app == "len":
            raise self.error


class RaisesInRetry:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    @jf.hookimpl
    def jackfield_retry(self) -> None:
        raise self.error


class RaisesInStageIn:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    @jf.hookimpl
    def jackfield_stage_in(self) -> None:
        raise self.error


class RaisesInStageOut:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    @jf.hookimpl
    def jackfield_stage_out(self) -> None:
        raise self.error


class Value:
    """Of a type that the kernel does not know."""

    def __reduce__(self) -> Any:
        raise TypeError("not to be pickled")


class RaisesInHashValue:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    @jf.hookimpl
    def jackfield_hash_value(self, value: object) -> None:
        if isinstance(value, Value):
            raise self.error


class RaisesInHashFunction:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    @jf.hookimpl
    def jackfield_hash_function(self) -> None:
        raise self.error


def assert_blamed(
    kernel: jf.DataFlowKernel, caught: BaseException | None, plugin: object, hook: str
) -> None:
    """Look for the plugin's name: beside the error, and in the log."""
    text = f"plugin {type(plugin).__name__!r}"
    notes: list[str] = []
    error = caught
    while error is not None:
        notes += [str(error), *getattr(error, "__notes__", ())]
        error = error.__cause__
    assert any(text in note and hook in note for note in notes), notes
    assert hook in log_of(kernel)


@RAISES
def test_an_error_in_select_fails_the_task_it_was_asked_for(
    load: Load, error: BaseException
) -> None:
    plugin = RaisesInSelect(error)
    with load(plugin) as kernel:
        asked = kernel.submit(len, "abc")
        other = kernel.submit(abs, -1)

    assert "broken" in str(asked.exception(0))
    assert isinstance(asked.exception(0), Exception)
    assert other.result(0) == 1
    assert_blamed(kernel, asked.exception(0), plugin, "jackfield_select_executor")


@RAISES
def test_an_error_in_retry_ends_the_retries_with_the_failure_as_its_cause(
    load: Load, error: BaseException
) -> None:
    plugin = RaisesInRetry(error)
    with load(plugin, retries=5) as kernel:
        failed = kernel.submit(fail)
        other = kernel.submit(abs, -1)

    caught = failed.exception(0)
    assert "broken" in str(caught)
    assert isinstance(caught, Exception)
    cause = caught.__cause__
    while cause is not None and not isinstance(cause, ValueError):
        cause = cause.__cause__
    assert str(cause) == "its own"
    assert other.result(0) == 1
    assert_blamed(kernel, caught, plugin, "jackfield_retry")


@RAISES
def test_an_error_in_stage_in_fails_the_tasks_that_want_the_file(
    load: Load, error: BaseException
) -> None:
    plugin = RaisesInStageIn(error)
    with load(plugin) as kernel:
        wanting = [kernel.submit(str, jf.File("mem://host/x")) for _ in range(3)]
        other = kernel.submit(abs, -1)

    for future in wanting:
        assert "broken" in str(future.exception(0))
        assert isinstance(future.exception(0), Exception)
    assert other.result(0) == 1
    assert_blamed(kernel, wanting[0].exception(0), plugin, "jackfield_stage_in")


@RAISES
def test_an_error_in_stage_out_fails_the_task_and_its_output(
    load: Load, error: BaseException
) -> None:
    plugin = RaisesInStageOut(error)

    @jf.python_app
    def write(outputs: Sequence[jf.File] = ()) -> None:
        Path(outputs[0]).write_text("x")

    with load(plugin) as kernel:
        future = write(outputs=[jf.File("mem://host/x")])

    assert "broken" in str(future.exception(0))
    assert "broken" in str(future.outputs[0].exception(0))
    assert_blamed(kernel, future.exception(0), plugin, "jackfield_stage_out")


@RAISES
def test_an_error_in_hash_value_fails_the_cached_call(
    load: Load, error: BaseException
) -> None:
    plugin = RaisesInHashValue(error)
    with load(plugin) as kernel:
        failed = kernel.submit(repr, Value(), cache=True)
        other = kernel.submit(abs, -1, cache=True)

    assert isinstance(failed.exception(0), MemoKeyError | TaskExitError)
    assert other.result(0) == 1
    assert_blamed(kernel, failed.exception(0), plugin, "jackfield_hash_value")


@RAISES
def test_an_error_in_hash_function_fails_the_cached_call(
    load: Load, error: BaseException
) -> None:
    plugin = RaisesInHashFunction(error)
    with load(plugin) as kernel:
        failed = kernel.submit(abs, -1, cache=True)
        uncached = kernel.submit(abs, -1)

    assert isinstance(failed.exception(0), Exception)
    assert uncached.result(0) == 1
    assert_blamed(kernel, failed.exception(0), plugin, "jackfield_hash_function")


class RaisesWhenTold:
    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.calls = 0

    @jf.hookimpl
    def jackfield_kernel_started(self) -> None:
        self.calls += 1
        raise self.error

    @jf.hookimpl
    def jackfield_task_events(self, events: Sequence[jf.TaskEvent]) -> None:
        self.calls += 1
        raise self.error

    @jf.hookimpl
    def jackfield_kernel_closing(self) -> None:
        self.calls += 1
        raise self.error


class Counts:
    def __init__(self) -> None:
        self.events = 0
        self.closed = 0

    @jf.hookimpl
    def jackfield_task_events(self, events: Sequence[jf.TaskEvent]) -> None:
        self.events += len(events)

    @jf.hookimpl
    def jackfield_kernel_closing(self) -> None:
        self.closed += 1


@RAISES
def test_an_error_of_an_observer_reaches_nobody_but_the_log(
    load: Load, error: BaseException
) -> None:
    plugin, other = RaisesWhenTold(error), Counts()
    with load(plugin, other) as kernel:
        futures = [kernel.submit(abs, -number) for number in range(20)]

    assert [future.result(0) for future in futures] == list(range(20))
    assert (other.events, other.closed) == (40, 1)
    assert plugin.calls >= 3
    for hook in ("kernel_started", "task_events", "kernel_closing"):
        assert f"hook jackfield_{hook} raised {type(error).__name__}" in log_of(kernel)


class RaisesInCreate:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    @jf.hookimpl
    def jackfield_create_executor(self, kind: str) -> None:
        if kind == "odd":
            raise self.error

    @jf.hookimpl
    def jackfield_open_checkpoint(self, url: str) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("options", "hook"),
    [
        ({"executors": {"a": {"plugin": "odd"}}}, "jackfield_create_executor"),
        ({"checkpoint": {"store": "odd:///x"}}, "jackfield_open_checkpoint"),
    ],
    ids=["executor", "checkpoint"],
)
@RAISES
def test_an_error_in_making_an_object_ends_the_start_and_names_the_plugin(
    load: Load, error: BaseException, options: dict[str, Any], hook: str
) -> None:
    with pytest.raises(jf.PluginError, match="RaisesInCreate") as caught:
        load(RaisesInCreate(error), **options)

    assert hook in str(caught.value)
    assert "broken" in str(caught.value)


# -- Wrong answers --------------------------------------------------------------------


class Answers:
    """Gives the same answer in every hook, where there is one."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers

    @jf.hookimpl
    def jackfield_select_executor(self, task: jf.TaskView) -> Any:
        return self.answers.get("select") if task.app != "abs" else None

    @jf.hookimpl
    def jackfield_retry(self) -> Any:
        return self.answers.get("retry")

    @jf.hookimpl
    def jackfield_hash_value(self, value: object) -> Any:
        return self.answers.get("hash_value") if isinstance(value, Value) else None

    @jf.hookimpl
    def jackfield_hash_function(self) -> Any:
        return self.answers.get("hash_function")

    @jf.hookimpl
    def jackfield_create_executor(self, kind: str) -> Any:
        return self.answers.get("create") if kind == "odd" else None

    @jf.hookimpl
    def jackfield_open_checkpoint(self) -> Any:
        return self.answers.get("open")


@pytest.mark.parametrize("answer", ["nowhere", 7, ("threads",)])
def test_a_label_that_was_not_offered_fails_the_task(
    load: Load, answer: object
) -> None:
    plugin = Answers(select=answer)
    with load(plugin) as kernel:
        failed = kernel.submit(len, "abc")
        other = kernel.submit(abs, -1)

    assert isinstance(failed.exception(0), jf.ConfigurationError)
    assert repr(answer) in str(failed.exception(0))
    assert other.result(0) == 1
    assert_blamed(kernel, failed.exception(0), plugin, "jackfield_select_executor")


@pytest.mark.parametrize(
    "answer",
    [
        True,
        3,
        jf.Retry(cost="1"),  # type: ignore[arg-type]  # what a plugin may do wrong
        jf.Retry(cost=math.nan),
        jf.Retry(delay="1"),  # type: ignore[arg-type]  # likewise
        jf.Retry(delay=math.nan),
    ],
    ids=repr,
)
def test_an_answer_that_is_no_retry_fails_the_task(load: Load, answer: object) -> None:
    plugin = Answers(retry=answer)
    with load(plugin, retries=2) as kernel:
        failed = kernel.submit(fail)
        other = kernel.submit(abs, -1)

    caught = failed.exception(0)
    assert isinstance(caught, TypeError)
    assert str(caught.__cause__) == "its own"
    assert other.result(0) == 1
    assert_blamed(kernel, caught, plugin, "jackfield_retry")


def test_a_retry_elsewhere_than_anywhere_fails_the_task(load: Load) -> None:
    with load(Answers(retry=jf.Retry(executor="nowhere")), retries=2) as kernel:
        failed = kernel.submit(fail)

    assert "nowhere" in str(failed.exception(0))


def test_a_retry_in_a_million_years_does_not_stop_the_others(load: Load) -> None:
    with load(Answers(retry=jf.Retry(delay=1e300)), retries=2) as kernel:
        late = kernel.submit(fail)
        while not (task_of(late).attempt == 2 and late.task_status() == "waiting"):
            kernel.submit(abs, -1).result(LIMIT_S)
        assert kernel.submit(abs, -1).result(LIMIT_S) == 1
        kernel.cleanup(wait=False)

    assert late.cancelled()


@pytest.mark.parametrize("answer", [7, "text", object()], ids=["int", "str", "object"])
@pytest.mark.parametrize("hook", ["hash_value", "hash_function"])
def test_an_identity_that_is_no_bytes_fails_the_cached_call(
    load: Load, answer: object, hook: str
) -> None:
    plugin = Answers(**{hook: answer})
    with load(plugin) as kernel:
        failed = kernel.submit(repr, Value(), cache=True)

    assert isinstance(failed.exception(0), TypeError)
    assert_blamed(kernel, failed.exception(0), plugin, f"jackfield_{hook}")


@pytest.mark.parametrize(
    ("answers", "options"),
    [
        ({"create": object()}, {"executors": {"a": {"plugin": "odd"}}}),
        ({"create": "threads"}, {"executors": {"a": {"plugin": "odd"}}}),
        ({"open": object()}, {"checkpoint": {"store": "odd:///x"}}),
    ],
    ids=["object", "str", "store"],
)
def test_an_object_of_another_kind_ends_the_start_and_names_the_plugin(
    load: Load, answers: dict[str, Any], options: dict[str, Any]
) -> None:
    with pytest.raises(jf.PluginError, match="Answers"):
        load(Answers(**answers), **options)


class StagesIn:
    """Does in ``jackfield_stage_in`` what it is told."""

    def __init__(self, action: Callable[[jf.Transfer], Any]) -> None:
        self.action = action

    @jf.hookimpl
    def jackfield_stage_in(self, transfer: jf.Transfer) -> Any:
        return self.action(transfer)


def write(transfer: jf.Transfer, text: str = "abc") -> jf.RemoteInfo:
    transfer.path.write_text(text)
    return jf.RemoteInfo()


def write_and_answer(transfer: jf.Transfer) -> bool:
    write(transfer)
    return True


def link(transfer: jf.Transfer) -> jf.RemoteInfo:
    transfer.path.symlink_to("/etc/passwd")
    return jf.RemoteInfo()


def make_directory(transfer: jf.Transfer) -> jf.RemoteInfo:
    transfer.path.mkdir()
    (transfer.path / "x").write_text("abc")
    return jf.RemoteInfo()


def declare_more(transfer: jf.Transfer) -> jf.RemoteInfo:
    write(transfer)
    return jf.RemoteInfo(size=4)


WRONG: list[tuple[Callable[[jf.Transfer], Any], dict[str, Any], str]] = [
    (lambda _: jf.RemoteInfo(), {}, "wrote no file"),
    (link, {}, "wrote no file"),
    (make_directory, {}, "wrote no file"),
    (write_and_answer, {}, "answered bool, not a jackfield.RemoteInfo"),
    (declare_more, {}, "3 bytes arrived, the server declares 4"),
    (write, {"size": 2}, "it has 3 bytes, size= declares 2"),
    (write, {"sha256": "0" * 64}, "its sha256 is ba7816bf"),
]


@pytest.mark.parametrize(
    ("action", "declared", "message"),
    WRONG,
    ids=["nothing", "link", "directory", "answer", "size", "own-size", "sha256"],
)
def test_a_file_that_is_not_what_was_declared_fails_the_task_and_is_removed(
    load: Load,
    action: Callable[[jf.Transfer], Any],
    declared: dict[str, Any],
    message: str,
) -> None:
    with load(StagesIn(action)) as kernel:
        failed = kernel.submit(str, jf.File("mem://host/x", **declared))

    assert isinstance(failed.exception(0), jf.TransferError)
    assert message in str(failed.exception(0))
    assert "mem://host/x" in str(failed.exception(0))
    assert list((kernel.run_dir / "files").iterdir()) == []


def test_a_file_that_every_plugin_declines_fails_the_task(load: Load) -> None:
    with load(StagesIn(lambda _: None)) as kernel:
        failed = kernel.submit(str, jf.File("mem://host/x"))

    assert isinstance(failed.exception(0), NoProviderError)


# -- Observers that do not come back --------------------------------------------------


class Blocks:
    """Blocks in its first call until it is let go."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.began = threading.Event()

    @jf.hookimpl
    def jackfield_task_events(self, events: Sequence[jf.TaskEvent]) -> None:
        self.began.set()
        self.gate.wait(LIMIT_S * 3)


@pytest.fixture
def blocks() -> Iterator[Blocks]:
    plugin = Blocks()
    yield plugin
    plugin.gate.set()


def test_who_watches_and_never_returns_holds_up_no_task_and_the_end_only_so_long(
    load: Load, blocks: Blocks
) -> None:
    with load(blocks) as kernel:
        first = kernel.submit(abs, -1)
        first.add_done_callback(lambda _: blocks.gate.wait(LIMIT_S * 3))
        assert blocks.began.wait(LIMIT_S)
        futures = [kernel.submit(abs, -number) for number in range(1000)]
        assert [future.result(LIMIT_S) for future in futures] == list(range(1000))
        events = kernel._parts.observation.tasks
        begun = time.monotonic()

    assert time.monotonic() - begun < LIMIT_S
    assert first.result(0) == 1
    assert isinstance(events, Stream)
    assert len(events._events) <= CAPACITY


def test_a_hook_that_blocks_a_task_for_ever_does_not_keep_the_end(load: Load) -> None:
    gate, began = threading.Event(), threading.Event()

    class BlocksInSelect:
        @jf.hookimpl
        def jackfield_select_executor(self, task: jf.TaskView) -> None:
            if task.app == "len":
                began.set()
                gate.wait(LIMIT_S * 3)

    kernel = load(BlocksInSelect())
    stuck = kernel.submit(len, "abc")
    assert began.wait(LIMIT_S)
    behind = kernel.submit(abs, -1)
    begun = time.monotonic()

    kernel.cleanup(wait=False)

    assert time.monotonic() - begun < LIMIT_S
    assert stuck.cancelled()
    assert behind.done()
    gate.set()


class Store(CheckpointStore):
    """Does nothing, and says when it is closed."""

    def __init__(self) -> None:
        self.closed = 0

    def get(self, key: bytes) -> None:
        return None

    def put_many(self, records: object) -> None:
        pass

    def keys(self) -> Iterator[bytes]:
        return iter(())

    def delete(self, keys: object) -> None:
        pass

    def close(self) -> None:
        self.closed += 1
        raise SystemExit("in close")


def test_a_store_that_raises_in_close_does_not_keep_the_rest_from_ending(
    load: Load,
) -> None:
    store, counts = Store(), Counts()
    with load(Answers(open=store), counts, checkpoint={"store": "odd:///x"}) as kernel:
        future = kernel.submit(abs, -1)

    assert future.result(0) == 1
    assert (store.closed, counts.closed) == (1, 1)
    assert "Closing went wrong" in log_of(kernel)


def test_a_store_is_closed_when_an_executor_does_not_start(load: Load) -> None:
    store = Store()

    with pytest.raises(jf.PluginError):
        load(
            Answers(open=store, create=object()),
            checkpoint={"store": "odd:///x"},
            executors={"a": {"plugin": "odd"}},
        )

    assert store.closed == 1
