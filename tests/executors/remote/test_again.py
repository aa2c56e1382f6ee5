"""Results that only an agent had which is gone: they are made again."""

from __future__ import annotations

import gc
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.executors.remote.test_stays import NEVER_S, SIZE, Driven, driving, more

from jackfield.errors import ExecutorLostError, ResultLostError, StaleCodeError
from jackfield.events import AttemptRecord, Rerun
from jackfield_executors.remote import again, driver, post, stays
from jackfield_executors.remote.stays import Stayed
from jackfield_testing.executors import tasks
from jackfield_testing.executors.case import until_entered
from jackfield_testing.footprint import WAIT_S, settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jackfield.abc import Work

    Agents = Callable[[int], Driven]


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have agents answer soon, and no result come home by itself."""
    monkeypatch.setattr(post, "POLL_S", 0.1)
    monkeypatch.setattr(stays, "HOME_S", NEVER_S)


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """The file in which works note that they run."""
    return tmp_path / "notes"


@pytest.fixture
def gate(tmp_path: Path) -> tasks.Gate:
    """What the later runs of ``made_behind`` wait at, opened before agents end."""
    return tasks.Gate(tmp_path / "gate")


@pytest.fixture
def agents(tmp_path: Path, gate: tasks.Gate) -> Iterator[Agents]:
    """Start an executor with so many agents, of one worker each."""
    with ExitStack() as stack:
        yield lambda number: stack.enter_context(driving(number, tmp_path))
        gate.open()


@pytest.fixture
def two(agents: Agents) -> Driven:
    return agents(2)


def made(notes: Path, name: str) -> bytes:
    """Return something large, and note the run."""
    with notes.open("a") as file:
        file.write(f"{name}\n")
    return name.encode() * SIZE


def longer(notes: Path, name: str, data: bytes) -> bytes:
    """Return that and a little more, and note the run."""
    with notes.open("a") as file:
        file.write(f"{name}\n")
    return data + name.encode()


def runs(notes: Path) -> list[str]:
    return notes.read_text().split()


def made_behind(gate: tasks.Gate, notes: Path, name: str) -> bytes:
    """Return at once the first time; later ones wait at the gate."""
    again = notes.exists()
    data = made(notes, name)
    if again:
        gate.hold(f"run {len(runs(notes))}")
    return data


def fail_again(notes: Path) -> bytes:
    """Return something large once, and raise from then on."""
    again = notes.exists()
    data = made(notes, "x")
    if again:
        raise LookupError("not twice")
    return data


def lose(driven: Driven, kept: Stayed) -> None:
    """Take the agent away that has a result."""
    before = driven.executor.workers
    driven.link_of(kept).dead.set()
    assert settled(lambda: driven.executor.workers < before, WAIT_S)


def lose_all(driven: Driven) -> None:
    for link in driven.links:
        link.dead.set()
    assert settled(lambda: driven.executor.workers == 0, WAIT_S)


def reading(kept: Stayed) -> tuple[threading.Thread, list[Any]]:
    """Read a result on a thread of its own; return that, and what comes."""
    read: list[Any] = []

    def fetch() -> None:
        try:
            read.append(kept.fetch())
        except Exception as error:
            read.append(error)

    thread = threading.Thread(target=fetch, daemon=True)
    thread.start()
    return thread, read


# -- it is made again


def test_who_reads_a_lost_result_gets_it(two: Driven, notes: Path) -> None:
    kept = two.kept(two.submit(made, notes, "x"))

    lose(two, kept)

    assert kept.fetch() == b"x" * SIZE
    assert kept.fetch() is kept.fetch()
    assert runs(notes) == ["x", "x"]


def test_works_that_get_a_lost_result_wait_for_it(
    agents: Agents, notes: Path, gate: tasks.Gate
) -> None:
    three = agents(3)
    kept = three.kept(three.submit(made_behind, gate, notes, "x"))

    lose(three, kept)
    until_entered(gate, "run 2")
    following = [three.take(more, kept) for _ in range(2)]
    thread, read = reading(kept)

    assert three.value(three.submit(tasks.add, 40, 2)) == 42  # others do not wait
    assert not any(map(three.reported, following))
    assert not read
    gate.open()
    for work in following:
        assert three.kept(work).fetch() == b"x" * SIZE + b"!"
    thread.join(WAIT_S)
    assert read == [b"x" * SIZE]
    assert runs(notes) == ["x", "x"]


def test_what_was_dropped_is_made_again_for_what_came_of_it(
    two: Driven, notes: Path
) -> None:
    kept = two.kept(two.submit(made, notes, "a"))
    for name in ("b", "c", "d"):
        kept = two.kept(two.take(longer, notes, name, kept))
        two.forget()
    gc.collect()

    lose(two, kept)

    assert kept.fetch() == b"a" * SIZE + b"bcd"
    assert runs(notes) == [*"abcd", *"abcd"]


def test_what_is_still_there_is_not_made_again(two: Driven, notes: Path) -> None:
    first = two.kept(two.submit(made, notes, "a"))
    first.fetch()  # it is home
    kept = two.kept(two.take(longer, notes, "b", first))

    lose(two, kept)

    assert kept.fetch() == b"a" * SIZE + b"b"
    assert runs(notes) == ["a", "b", "b"]


def test_one_origin_of_two_results_is_made_again_once(two: Driven, notes: Path) -> None:
    first = two.kept(two.submit(made, notes, "a"))
    both = [two.kept(two.take(longer, notes, name, first)) for name in ("b", "c")]
    two.forget()
    del first
    gc.collect()
    assert both[0].post is both[1].post

    lose(two, both[0])

    assert [one.fetch()[-1:] for one in both] == [b"b", b"c"]
    assert sorted(runs(notes)) == [*"aabbcc"]


def test_what_comes_again_is_home_and_survives_the_next_loss(
    two: Driven, notes: Path
) -> None:
    kept = two.kept(two.submit(made, notes, "x"))
    lose(two, kept)
    assert settled(lambda: kept.at_hand, WAIT_S)  # though nobody has asked for it

    lose_all(two)

    assert kept.fetch() == b"x" * SIZE
    assert runs(notes) == ["x", "x"]


def test_a_result_that_its_agent_cannot_read_is_made_again(
    agents: Agents, notes: Path
) -> None:
    alone = agents(1)
    kept = alone.kept(alone.submit(made, notes, "x"))
    shelf = alone.links[0].agent._shelf
    shelf.forget([kept.number])

    assert kept.fetch() == b"x" * SIZE
    assert runs(notes) == ["x", "x"]


def test_nothing_is_made_again_that_nobody_refers_to(two: Driven, notes: Path) -> None:
    kept = two.kept(two.submit(made, notes, "x"))
    link = two.link_of(kept)
    two.forget()
    del kept
    gc.collect()

    link.dead.set()

    assert settled(lambda: two.executor.workers == 1, WAIT_S)
    assert two.value(two.submit(tasks.add, 40, 2)) == 42
    assert runs(notes) == ["x"]


def test_a_work_that_waits_for_it_can_be_cancelled(
    two: Driven, notes: Path, gate: tasks.Gate
) -> None:
    kept = two.kept(two.submit(made_behind, gate, notes, "x"))
    lose(two, kept)
    until_entered(gate, "run 2")
    waiting = two.take(longer, notes, "y", kept)

    assert two.executor.cancel(waiting)
    assert not two.executor.cancel(waiting)

    gate.open()
    assert kept.fetch() == b"x" * SIZE
    assert runs(notes) == ["x", "x"]


# -- what is not to run again does not stay


def test_the_result_of_a_work_that_runs_once_comes_home(
    agents: Agents, notes: Path
) -> None:
    alone = agents(1)
    work = alone.work(made, notes, "x")
    work.once = True
    alone.submit_batch([work])

    assert alone.outcome(work) == b"x" * SIZE


def with_outputs(outputs: list[str]) -> bytes:
    Path(outputs[0]).write_text("made")
    return bytes(SIZE)


def test_the_result_of_a_work_that_makes_files_comes_home(
    agents: Agents, tmp_path: Path
) -> None:
    alone = agents(1)
    work = alone.submit(with_outputs, outputs=[str(tmp_path / "file")])

    assert alone.outcome(work) == bytes(SIZE)


def test_a_result_with_a_long_history_comes_home(
    two: Driven, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(again, "DEEP", 3)
    value: Any = two.outcome(two.submit(made, notes, "1"))
    stayed = [isinstance(value, Stayed)]
    for name in "2345":
        value = two.outcome(two.take(longer, notes, name, value))
        stayed.append(isinstance(value, Stayed))
    two.forget()
    gc.collect()

    assert stayed == [True, True, True, False, True]
    lose(two, value)
    assert value.fetch() == b"1" * SIZE + b"2345"
    assert runs(notes) == [*"12345", "5"]


# -- and told


def test_each_run_is_told_with_its_reason_and_its_end(
    agents: Callable[[int], Driven], tmp_path: Path
) -> None:
    two, notes = agents(2), tmp_path / "notes"
    gate = tasks.Gate(tmp_path / "gate")
    two.cleanups.append(gate.open)
    work = two.submit(made_behind, gate, notes, "x")
    kept = two.kept(work)
    assert two.news == []
    lose(two, kept)
    until_entered(gate, "run 2")

    (begin,) = two.news
    assert isinstance(begin, Rerun)
    assert (begin.task, begin.attempt, begin.executor) == (work.id, 2, "far")
    assert begin.reason.endswith("is gone: TimeoutError: no answer")
    gate.open()
    assert kept.fetch() == b"x" * SIZE
    _, end = two.news
    assert isinstance(end, AttemptRecord)
    assert (end.task, end.attempt, end.executor) == (work.id, 2, "far")
    assert (end.failure, end.retry_in) == (None, None)
    assert begin.monotonic == end.launched <= end.reported


def test_a_run_that_fails_is_told(
    agents: Callable[[int], Driven], tmp_path: Path
) -> None:
    two, notes = agents(2), tmp_path / "notes"
    kept = two.kept(two.submit(fail_again, notes))
    lose(two, kept)
    with pytest.raises(ResultLostError):
        kept.fetch()

    assert settled(lambda: len(two.news) == 2, WAIT_S)
    end = two.news[1]
    assert isinstance(end, AttemptRecord)
    assert end.failure is not None
    assert end.failure[:2] == ("LookupError", "not twice")
    assert end.retry_in is None


# -- and if that fails


def test_an_error_of_the_second_run_says_what_is_lost(two: Driven, notes: Path) -> None:
    kept = two.kept(two.submit(fail_again, notes))
    lose(two, kept)

    errors = []
    for _ in range(2):
        with pytest.raises(ResultLostError) as caught:
            kept.fetch()
        errors.append(caught.value)
        error = two.error(two.take(more, kept))
        assert isinstance(error, ResultLostError)
        errors.append(error)
    assert "(fail_again) is lost" in str(errors[0])
    assert "has run again, and failed: LookupError: not twice" in str(errors[0])
    assert all(isinstance(error.__cause__, LookupError) for error in errors)
    assert len(set(map(id, errors))) == 4
    assert runs(notes) == ["x", "x"]
    assert two.value(two.submit(tasks.add, 40, 2)) == 42


def other_code(notes: Path, names: list[tuple[str, str]], times: int) -> bytes:
    """Return something large once, then raise so often, as if code had changed."""
    data = made(notes, "x")
    if 1 < len(runs(notes)) < times + 2:
        raise StaleCodeError(tuple(names))
    return data


def test_code_that_has_changed_is_told_and_not_tried_again(
    agents: Callable[[int], Driven], tmp_path: Path
) -> None:
    many, notes, later = agents(3), tmp_path / "notes", tmp_path / "later"
    work = many.submit(other_code, notes, [("lab.steps", "align"), ("lab", "")], 9)
    kept = many.kept(work)
    longest = many.kept(many.take(longer, later, "y", kept))
    assert kept.post is longest.post
    lose(many, longest)

    with pytest.raises(ResultLostError) as caught:
        kept.fetch()
    assert caught.value.task == f"{work.id} (other_code)"
    assert "its code has changed since" in str(caught.value)
    assert "lab.steps.align, lab. Start the script again" in str(caught.value)
    assert isinstance(caught.value.__cause__, StaleCodeError)
    with pytest.raises(ResultLostError, match="cannot run again without what it got"):
        longest.fetch()
    assert runs(notes) == ["x", "x"]
    assert runs(later) == ["y"]


def test_code_that_was_imported_anew_just_then_is_tried_again(
    agents: Callable[[int], Driven], tmp_path: Path
) -> None:
    two, notes = agents(2), tmp_path / "notes"
    kept = two.kept(two.submit(other_code, notes, [], 1))
    lose(two, kept)

    assert kept.fetch() == b"x" * SIZE
    assert runs(notes) == ["x", "x", "x"]


def test_it_is_made_again_a_few_times_only(
    agents: Agents, notes: Path, gate: tasks.Gate
) -> None:
    many = agents(again.MOST + 2)
    kept = many.kept(many.submit(made_behind, gate, notes, "x"))
    waiting = None
    lose(many, kept)
    for run in range(again.MOST):
        until_entered(gate, f"run {run + 2}")
        waiting = waiting or many.take(more, kept)
        book = many.executor._book  # type: ignore[attr-defined]  # no user needs it
        (busy,) = [one for one in book.posts if one.flying]
        busy.link.dead.set()

    with pytest.raises(ResultLostError, match=f"so it was with {again.MOST} more runs"):
        kept.fetch()
    assert waiting is not None
    assert isinstance(many.error(waiting), ResultLostError)
    assert len(runs(notes)) == 1 + again.MOST


def test_without_any_agent_it_is_lost_within_patience(two: Driven, notes: Path) -> None:
    kept = two.kept(two.submit(made, notes, "a"))
    kept = two.kept(two.take(longer, notes, "b", kept))
    lose_all(two)
    waiting = two.take(more, kept)
    thread, read = reading(kept)

    assert isinstance(two.error(waiting), ResultLostError)
    thread.join(WAIT_S)
    (error,) = read
    assert isinstance(error, ResultLostError)
    assert "(longer) is lost" in str(error)
    cause: BaseException | None = error  # of the first of the two, or of the second
    while isinstance(cause, ResultLostError):
        assert "could not run again" in str(cause) or "without what" in str(cause)
        cause = cause.__cause__
    assert isinstance(cause, ExecutorLostError)


# -- the end


def test_the_end_waits_for_what_is_made_again(
    two: Driven, notes: Path, gate: tasks.Gate
) -> None:
    kept = two.kept(two.submit(made_behind, gate, notes, "x"))
    lose(two, kept)
    until_entered(gate, "run 2")
    ending = threading.Thread(target=two.executor.shutdown)
    ending.start()

    gate.open()

    ending.join(WAIT_S)
    assert not ending.is_alive()
    assert kept.fetch() == b"x" * SIZE


def test_the_end_without_grace_does_not(
    two: Driven, notes: Path, gate: tasks.Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "END_S", 0.2)
    kept = two.kept(two.submit(made_behind, gate, notes, "x"))
    lose(two, kept)
    until_entered(gate, "run 2")
    thread, read = reading(kept)

    two.executor.shutdown(grace=0)

    thread.join(WAIT_S)
    (error,) = read
    assert "the executor has been shut down" in str(error)


def test_a_result_that_is_lost_at_the_end_is_made_again(
    two: Driven, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = two.kept(two.submit(made, notes, "x"))
    link = two.link_of(kept)
    asked = threading.Event()
    monkeypatch.setattr(link, "put", lambda *_: asked.set())  # nothing gets there
    ending = threading.Thread(target=two.executor.shutdown)
    ending.start()
    assert asked.wait(WAIT_S)  # to send it home

    link.dead.set()

    ending.join(WAIT_S)
    assert not ending.is_alive()
    assert kept.fetch() == b"x" * SIZE
    assert runs(notes) == ["x", "x"]


def test_a_work_names_its_run(two: Driven, notes: Path) -> None:
    work: Work = two.submit(made, notes, "x")
    kept = two.kept(work)

    origin = kept.origin
    assert origin is not None
    another = origin.work(lambda one: one)

    assert (another.id, another.name) == (work.id, work.name)
    assert another.attempt == work.attempt + 1
