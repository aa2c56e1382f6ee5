"""An error of a task says which call it is of: in message, log, repr and events."""

from __future__ import annotations

import dataclasses
import logging
import os
import pickle
import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import jackfield as jf
from jackfield.graph.calls import shown, shown_call
from jackfield.messages import LONGEST
from jackfield_bash.streams import shown_command

LIMIT_S = 60.0
EXECUTORS = ["threads", "processes"]


@pytest.fixture(params=EXECUTORS)
def kernel(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    executors = {"here": {"plugin": request.param, "workers": 2}}
    events = Events()
    config = {"executors": executors, "run_dir": tmp_path / "runs"}
    with jf.load(config, plugins=[events]) as kernel:
        kernel.events = events  # type: ignore[attr-defined]  # for the tests alone
        yield kernel


class Events:
    def __init__(self) -> None:
        self.errors: list[str] = []

    @jf.hookimpl
    def jackfield_task_events(self, events: Any) -> None:
        self.errors += [one.error for one in events if one.error]


def caught(future: Future[Any]) -> BaseException:
    error = future.exception(LIMIT_S)
    assert error is not None
    return error


@jf.python_app
def broken(sample: str, depth: int = 3, **options: Any) -> None:
    raise ValueError("no header")


@jf.python_app
def merge(*parts: Any, name: str = "") -> str:
    return "merged"


@jf.python_app
def die() -> None:
    os.abort()


@jf.bash_app
def sort(path: str, outputs: Any = ()) -> str:
    return f"echo reading >&2; nosuchtool sort {path}"


@jf.bash_app
def makes_nothing(path: str, outputs: Any = ()) -> str:
    return "echo nearly >&2"


@jf.bash_app
def sleeps(path: str) -> str:
    return "echo begun >&2; sleep 600"


# -- where it is told


def test_an_error_of_the_users_has_a_note(kernel: Any) -> None:
    future = broken("s1.bam", depth=4)

    assert str(caught(future)) == "no header"
    assert "In task 0: broken('s1.bam', depth=4)" in caught(future).__notes__


def test_the_summary_the_log_and_the_repr_have_the_call(kernel: Any) -> None:
    future = broken("s1.bam", label="first of all")
    caught(future)
    kernel.cleanup()
    call = "[in broken('s1.bam', label='first of all')]"

    assert kernel.summary().failures == (
        f"Task 0 (broken) failed: ValueError: no header {call}",
    )
    assert call in (kernel.run_dir / "jackfield.log").read_text()
    assert repr(future) == f"<AppFuture 0 (broken): raised ValueError {call}>"


def test_the_event_has_the_call(kernel: Any) -> None:
    caught(broken("s1.bam"))
    kernel.cleanup()

    assert kernel.events.errors == ["ValueError: no header [in broken('s1.bam')]"]


def test_whoever_depends_on_it_learns_of_the_call_and_of_its_own(kernel: Any) -> None:
    error = caught(merge(broken("s1.bam"), name="all"))

    assert "failed with ValueError: no header [in broken('s1.bam')]" in str(error)
    assert str(error).endswith("[in merge(<0 (broken)>, name='all')]")


def test_each_attempt_that_is_tried_again_is_logged_with_its_call(
    tmp_path: Path,
) -> None:
    with jf.load({"run_dir": tmp_path, "retries": 1}) as kernel:
        caught(broken("s1.bam"))
        text = (kernel.run_dir / "jackfield.log").read_text()

    assert "attempt 1 failed: ValueError: no header [in broken('s1.bam')]" in text


def test_an_error_of_ours_says_it_in_its_message_and_keeps_it_in_a_pickle(
    kernel: Any,
) -> None:
    future = sleeps("s1.bam", walltime=0.2)
    again = pickle.loads(pickle.dumps(caught(future)))

    assert isinstance(again, jf.AppTimeout)
    assert again.call == "sleeps('s1.bam', walltime=0.2)"
    assert str(again).endswith("walltime of 0.2 s [in sleeps('s1.bam', walltime=0.2)]")


def test_one_exception_that_many_raise_is_not_buried_in_notes(tmp_path: Path) -> None:
    shared = ValueError("shared")

    def raises(number: int) -> None:
        raise shared

    with jf.load({"run_dir": tmp_path}) as kernel:
        for future in [kernel.submit(raises, number) for number in range(50)]:
            assert caught(future) is shared

    assert 1 <= len(shared.__notes__) <= 5


def test_an_exception_that_takes_no_notes_is_raised_as_it_is(tmp_path: Path) -> None:
    class Closed(Exception):
        __notes__ = property(lambda self: 1 / 0)

    def raises(number: int) -> None:
        raise Closed("as it is")

    with jf.load({"run_dir": tmp_path}) as kernel:
        assert str(caught(kernel.submit(raises, 1))) == "as it is"


def test_a_repr_of_a_pending_future_has_the_call(tmp_path: Path) -> None:
    gate = threading.Event()

    def wait(number: int) -> None:
        gate.wait(LIMIT_S)

    with jf.load({"run_dir": tmp_path}) as kernel:
        future = kernel.submit(wait, 7)
        text = repr(future)
        gate.set()

    assert text.endswith("[in wait(7)]>")


# -- bash apps


def test_a_bash_error_has_the_command_and_the_end_of_stderr(kernel: Any) -> None:
    error = caught(sort("s.bam"))

    assert isinstance(error, jf.BashExitFailure)
    assert error.command == "echo reading >&2; nosuchtool sort s.bam"
    first, *rest = str(error).splitlines()
    assert "nosuchtool: command not found" in first
    assert "command: echo reading >&2; nosuchtool sort s.bam" in first
    assert rest[1] == "reading"


def test_what_it_wrote_is_kept_in_the_run_directory(kernel: Any) -> None:
    error = caught(sort("s.bam", label="one"))
    [path] = (kernel.run_dir / "task_logs").rglob("*.stderr")

    assert path.name == "task_0000_sort_one.stderr"
    assert f"see {path}" in str(error)
    assert path.read_text().startswith("reading\n")


def test_a_command_that_wrote_nothing_leaves_no_file(kernel: Any) -> None:
    silent = jf.bash_app(quiet)
    assert silent().result(LIMIT_S) == 0

    assert not list(kernel.run_dir.rglob("*.stderr"))


def quiet() -> str:
    return "true"


def test_the_function_does_not_see_that_its_stderr_is_kept(kernel: Any) -> None:
    app = jf.bash_app(tells_arguments)

    assert app(1, colour="red").result(LIMIT_S) == 0
    assert app(1, colour="red").stderr is None


def tells_arguments(number: int, stderr: Any = None, **others: Any) -> str:
    return f"test '{number} {stderr} {'-'.join(others)}' = '1 None colour'"


@pytest.mark.parametrize(
    ("app", "kwargs", "wrote"),
    [
        (makes_nothing, {"outputs": [jf.File("nowhere")]}, "nearly"),
        (sleeps, {"walltime": 0.3}, "begun"),
    ],
    ids=["missing outputs", "walltime"],
)
def test_other_bash_errors_have_it_in_a_note(
    kernel: Any, app: Any, kwargs: Any, wrote: str
) -> None:
    notes = "\n".join(caught(app("s.bam", **kwargs)).__notes__)

    assert f"it wrote: {wrote}; command: echo {wrote} >&2" in notes


@pytest.mark.parametrize("given", [{}, {"stderr": "err.txt"}], ids=["kept", "given"])
def test_of_a_command_that_wrote_nothing_no_file_is_named(
    kernel: Any, given: dict[str, Any]
) -> None:
    text = str(caught(jf.bash_app(fails_silently)(**given)))

    assert "it wrote nothing to standard error; command: false" in text
    assert "see " not in text


def test_a_note_is_set_off_from_the_message(kernel: Any) -> None:
    caught(makes_nothing_silently(outputs=[jf.File("nowhere")]))
    [line] = kernel.summary().failures

    assert "/nowhere'; it wrote nothing" in line


@jf.bash_app
def makes_nothing_silently(outputs: Any = ()) -> str:
    return "true"


def test_what_was_in_the_file_before_is_not_taken_for_its_words(
    kernel: Any, tmp_path: Path
) -> None:
    old = tmp_path / "err.txt"
    old.write_text("an older failure\n")
    error = caught(jf.bash_app(fails_silently)(stderr=str(old)))

    assert "older" not in str(error)
    assert f"see {old}" in str(error)


def fails_silently() -> str:
    return "false"


def test_equal_bash_calls_are_one_though_each_has_a_file_of_its_own(
    kernel: Any,
) -> None:
    app = jf.bash_app(quiet).options(cache=True)
    app().result(LIMIT_S)
    again = app()
    again.result(LIMIT_S)

    assert again.memo.status == "hit"


def test_where_the_run_directory_is_not_seen_the_end_comes_all_the_same(
    tmp_path: Path,
) -> None:
    from jackfield.files import KEPT_STDERR
    from jackfield_bash.command import BashCommand

    far = tmp_path / "elsewhere" / "task_logs" / "0000" / "x.stderr"
    kept: dict[str, Any] = {KEPT_STDERR: str(far)}
    with pytest.raises(jf.BashExitFailure, match="command not found"):
        BashCommand(sort.__wrapped__, "sort")("s.bam", **kept)

    assert not (tmp_path / "elsewhere").exists()


# -- how a call is shown


class Colour(Enum):
    RED = 1


@dataclasses.dataclass
class Options:
    depth: int
    password: str


class Point(NamedTuple):
    x: int
    y: int


class Hostile:
    """Whatever is asked of it, it never answers."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __repr__(self) -> str:
        raise RuntimeError("repr")

    __str__ = __iter__ = __len__ = __eq__ = __bool__ = __hash__ = __repr__  # type: ignore[assignment]  # on purpose


class HostileList(list[Any]):
    def __iter__(self) -> Any:
        raise RuntimeError("iter")

    __repr__ = __len__ = __getitem__ = __iter__  # type: ignore[assignment]  # on purpose


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (None, "None"),
        ("a\x1b[31mb", r"'a\x1b[31mb'"),
        ("\u202egnp.exe", r"'\u202egnp.exe'"),
        (b"xyz", "b'xyz'"),
        (10**5000, "<int of 16610 bits>"),
        ([1, "a", None], "[1, 'a', None]"),
        (list(range(100)), "[0, 1, 2, 3, 4, 5, ...]"),
        ((1, 2), "(1, 2)"),
        ({"a": {"b": 1}}, "{'a': {'b': 1}}"),
        ({"token": "hush"}, "{'token': ***}"),
        ([[[[[]]]]], "[[[<list>]]]"),
        (OrderedDict(a=1), "OrderedDict({'a': 1})"),
        (Point(1, 2), "Point(x=1, y=2)"),
        (Options(3, "hush"), "Options(depth=3, password=***)"),
        (Colour.RED, "Colour.RED"),
        (Decimal("1.5"), "Decimal('1.5')"),
        (Path("/a/b"), "'/a/b'"),
        (Options, "Options"),
        (jf.File("https://me:hush@h/x?token=hush"), "File('https://me:***@h/x?***')"),
        ("curl https://me:hush@h/x", "'curl https://me:***@h/x'"),
        ("--password=hush --all", "'***'"),
        ("{'api_key': 'hush'}", "'***'"),
        ("/data/tokens/secret_garden.txt", "'/data/tokens/secret_garden.txt'"),
        (Future(), "<Future>"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_shown(value: Any, text: str) -> None:
    assert shown(value) == text


def test_no_code_of_users_runs_for_it() -> None:
    assert shown(Hostile()) == "<Hostile>"
    assert shown([{1: Hostile()}]) == "[{1: <Hostile>}]"
    assert shown(HostileList([1, 2])) == "HostileList([1, 2])"


def test_arrays_and_tables_are_shown_by_their_shape() -> None:
    numpy = pytest.importorskip("numpy")

    assert shown(numpy.zeros((3, 4))) == "<ndarray (3, 4)>"
    hostile = numpy.empty(1, dtype=object)
    hostile[0] = Hostile()
    assert shown(hostile) == "<ndarray (1,)>"


def test_a_long_path_keeps_both_ends() -> None:
    text = shown("/scratch/" + "x" * 500 + "/sample_17.bam")

    assert text.startswith("'/scratch/")
    assert text.endswith("/sample_17.bam'")
    assert len(text) < 70


@pytest.mark.parametrize("length", [10, 300, 1_000, 5_000, 10**6])
def test_a_url_of_any_length_shows_no_secret(length: int) -> None:
    url = f"https://me:hush@h/x?sig=hush{'x' * length}hush"

    assert "hush" not in shown(url)
    assert "hush" not in shown(f"wget {url} {url}")
    assert "hush" not in shown(jf.File(url))


def test_a_list_that_holds_itself_ends() -> None:
    loop: list[Any] = []
    loop.append(loop)

    assert shown(loop) == "[[[<list>]]]"


def test_a_call_is_never_long() -> None:
    huge = [{str(n) * 1000: "y" * 10**6 for n in range(50)}] * 50

    assert len(shown_call("f", None, tuple(huge), {"k": huge}, "l" * 999)) < LONGEST + 9


def test_a_name_of_any_length_is_cut_wherever_it_is_told(tmp_path: Path) -> None:
    def generated(value: int) -> float:
        return 1 / value

    generated.__name__ = "begin" + "x" * 10**6
    with jf.load({"run_dir": tmp_path}) as kernel:
        future = jf.python_app(generated)(0)
        future.exception(LIMIT_S)
        kernel.submit(generated, 0).exception(LIMIT_S)

    told = [path.read_text() for path in kernel.run_dir.glob("*") if path.is_file()]
    assert any("begin" in text for text in told)
    assert max(map(len, [repr(future), *told])) < 20_000


def test_an_argument_with_the_name_of_a_secret_is_not_shown() -> None:
    def login(user: str, password: str) -> None: ...

    text = shown_call("login", login, ("me", "hush"), {"api_key": "hush"}, "")

    assert text == "login('me', ***, api_key=***)"


def test_a_command_is_shown_in_one_line_without_secrets() -> None:
    text = shown_command("wget https://me:hush@h/x\nsort --token=hush x")

    assert text == r"wget https://me:***@h/x\nsort --token=*** x"
    assert "hush" not in shown_command("login --password='not one hush word'")


def test_nothing_of_a_lazy_proxy_is_asked_where_a_task_fails(tmp_path: Path) -> None:
    called: list[str] = []

    class Lazy:
        def __repr__(self) -> str:
            called.append("repr")
            return "loaded"

    def raises(value: Any) -> None:
        raise ValueError("lazy")

    with jf.load({"run_dir": tmp_path}) as kernel:
        caught(kernel.submit(raises, Lazy()))
        assert "[in raises(<Lazy>)]" in kernel.summary().failures[0]

    assert called == []


def test_the_log_says_nothing_of_an_argument_that_is_a_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def raises(token: str) -> None:
        raise ValueError("refused")

    with caplog.at_level(logging.DEBUG), jf.load({"run_dir": tmp_path}) as kernel:
        caught(kernel.submit(raises, "hush"))
        assert "hush" not in (kernel.run_dir / "jackfield.log").read_text()

    assert "hush" not in caplog.text
