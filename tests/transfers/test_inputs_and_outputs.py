"""Inputs that are outputs too, outputs that are none, and names of every sort."""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import socket
import threading
import time
import unicodedata
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import pytest
from tests.transfers.test_shared_transfers import (
    LIMIT_S,
    Load,
    Shelf,
    load,
    read,
    write,
)

import jackfield as jf
from jackfield.errors import (
    MissingOutputs,
    RemoteChangedError,
    RemoteForbiddenError,
    RemoteNotFoundError,
    TransferError,
)
from jackfield_testing.servers import HostileHTTPServer, HTTPFault, NoETag, Status

__all__ = ["load"]

NO_FILE = "(a named pipe, socket or device, and no file)"

EXECUTORS: dict[str, Callable[[], Any]] = {
    "threads": lambda: {"plugin": "threads", "workers": 2},
    "processes": lambda: {"plugin": "processes", "workers": 1},
    "adapter": lambda: ThreadPoolExecutor(2),
}


@jf.python_app
def extend(source: Any, outputs: Sequence[jf.File] = ()) -> str:
    text = Path(source).read_text()
    Path(outputs[0]).write_text(f"{text}+new")
    return text


@jf.bash_app
def extend_by_shell(source: Any, outputs: Sequence[jf.File] = ()) -> str:
    return f"cat {source} > {outputs[0]}; printf +new >> {outputs[0]}"


# -- An output with the URL of an input


@pytest.mark.parametrize("app", [extend, extend_by_shell])
@pytest.mark.parametrize("in_task", [False, True])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_an_output_may_have_the_url_of_an_input(
    load: Load, app: Callable[..., Any], in_task: bool, executor: str
) -> None:
    with HostileHTTPServer({"/t": b"old"}) as server:
        file = jf.File(server.url("/t"))
        with load(
            executors={"x": EXECUTORS[executor]()}, transfers={"in_task": in_task}
        ):
            before = read(file)
            assert before.result(LIMIT_S) == b"old"
            assert app(file, outputs=[file]).result(LIMIT_S) in ("old", 0)
            assert server.files["/t"] == b"old+new"
            if not in_task:
                assert read(file).result(LIMIT_S) == b"old"  # the copy of this run


def test_an_output_may_be_in_a_container_with_the_input(load: Load) -> None:
    @jf.python_app
    def swap(files: dict[str, jf.File], outputs: Sequence[jf.File] = ()) -> list[str]:
        Path(outputs[0]).write_bytes(Path(files["in"]).read_bytes()[::-1])
        return [files["in"].filepath, outputs[0].filepath]

    shelf = Shelf(x=b"abc")
    file = jf.File("shelf://h/x")
    with load(shelf):
        places = swap({"in": file}, outputs=[file]).result(LIMIT_S)

    assert shelf.files["x"] == b"cba"
    assert places[0] != places[1]


@jf.python_app
def hold(gate: threading.Event, outputs: Sequence[jf.File] = ()) -> None:
    assert gate.wait(LIMIT_S)
    Path(outputs[0]).write_text("held")


def test_running_tasks_with_one_remote_output_are_warned_of_once(load: Load) -> None:
    gate, out = threading.Event(), jf.File("shelf://me:secret@h/x")
    with load(Shelf()) as kernel:
        first = hold(gate, outputs=[out])
        second = write(b"1", outputs=[out])
        second.result(LIMIT_S)
        write(b"2", outputs=[out]).result(LIMIT_S)
        gate.set()
        first.result(LIMIT_S)
        write(b"3", outputs=[out]).result(LIMIT_S)

    log = (kernel.run_dir / "jackfield.log").read_text()
    both = f"by task {first.tid} (hold) and by task {second.tid} (write)"
    assert log.count(f"shelf://me:***@h/x is written {both}") == 1
    assert log.count("neither waits for the other") == 1
    assert "secret" not in log


# -- Outputs that are something else


def a_directory(path: str) -> None:
    Path(path).mkdir()


def a_pipe(path: str) -> None:
    os.mkfifo(path)


def a_socket(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(path))


def a_device(path: str) -> None:
    Path(path).symlink_to("/dev/zero")


def a_file(path: str) -> None:
    Path(path).write_text("lost")


def a_loop(path: str) -> None:
    Path(path, "a").mkdir(parents=True)
    Path(path, "a", "up").symlink_to("..")


def a_link_to_nowhere(path: str) -> None:
    Path(path).mkdir()
    Path(path, "link").symlink_to("nowhere")


def a_pipe_below(path: str) -> None:
    Path(path).mkdir()
    os.mkfifo(f"{path}/pipe")


@jf.python_app
def make(maker: Callable[[str], None], outputs: Sequence[jf.File] = ()) -> None:
    maker(outputs[0].filepath)


@pytest.mark.parametrize("in_task", [False, True])
@pytest.mark.parametrize(
    ("maker", "url", "reason"),
    [
        (a_directory, "shelf://h/x", "is a directory; expected a file"),
        (a_pipe, "shelf://h/x", "is a named pipe; expected a file"),
        (a_device, "shelf://h/x", "is a device; expected a file"),
        (a_file, "shelf://h/d/", "is a file; expected a directory"),
        (a_pipe, "shelf://h/d/", "is a named pipe; expected a directory"),
        (a_loop, "shelf://h/d/", "up' is a link to a directory that it is in"),
        (a_link_to_nowhere, "shelf://h/d/", "link' cannot be read: No such file"),
        (a_pipe_below, "shelf://h/d/", "pipe' is a named pipe; expected a file"),
    ],
)
def test_an_output_that_is_something_else_is_an_error_that_names_it(
    load: Load, maker: Callable[[str], None], url: str, reason: str, in_task: bool
) -> None:
    shelf = Shelf()
    with load(shelf, transfers={"in_task": in_task, "attempts": 9}):
        error = make(maker, outputs=[jf.File(url)]).exception(LIMIT_S)

    if maker in (a_pipe, a_device):  # told before anything is moved
        assert isinstance(error, MissingOutputs)
        assert f"{Path(jf.File(url).path).name} {NO_FILE}" in str(error)
    else:
        assert isinstance(error, TransferError)
        assert reason in str(error)
    assert shelf.files == {}


@pytest.mark.parametrize("url", ["shelf://h/x*", "shelf://h/*/"])
def test_a_pattern_is_no_output(load: Load, url: str) -> None:
    with load(Shelf()), pytest.raises(jf.ConfigurationError, match="is a pattern"):
        write(b"", outputs=[jf.File(url)])


def test_a_socket_is_no_output(
    load: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path has a hundred letters at most
    with load(Shelf()):
        error = make(a_socket, outputs=[jf.File("shelf://h/x")]).exception(LIMIT_S)

    assert isinstance(error, MissingOutputs)
    assert f"x {NO_FILE}" in str(error)


@pytest.mark.parametrize("declared", [{"size": 3}, {"sha256": "0" * 64}])
def test_an_output_is_compared_with_what_is_declared(
    load: Load, declared: dict[str, Any]
) -> None:
    shelf = Shelf()
    digest = hashlib.sha256(b"four").hexdigest()
    with load(shelf):
        good = jf.File("shelf://h/good", size=4, sha256=digest)
        write(b"four", outputs=[good]).result(LIMIT_S)
        bad = jf.File("shelf://h/bad", **declared)
        error = write(b"four", outputs=[bad]).exception(LIMIT_S)

    assert isinstance(error, TransferError)
    assert shelf.files == {"good": b"four"}


@jf.python_app
def make_both(
    source: jf.File, data: bytes, outputs: Sequence[jf.File | Path] = ()
) -> None:
    """Write the data, if there is some, to each local output, and 1 to the others."""
    assert Path(source).read_bytes() == b"1"
    for file in outputs:
        remote = isinstance(file, jf.File) and file.remote
        if data or remote:
            Path(file).write_bytes(b"1" if remote else data)


@pytest.mark.parametrize("in_task", [False, True])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_local_outputs_are_looked_at_wherever_the_others_are_moved(
    load: Load, tmp_path: Path, in_task: bool, executor: str
) -> None:
    digest = hashlib.sha256(b"four").hexdigest()
    local = tmp_path / "local"
    with HostileHTTPServer({"/in": b"1"}) as server:
        source, remote = jf.File(server.url("/in")), jf.File(server.url("/out"))
        with load(
            executors={"x": EXECUTORS[executor]()}, transfers={"in_task": in_task}
        ):

            def made(data: bytes, **declared: Any) -> BaseException | None:
                server.files.pop("/out", None)
                local.unlink(missing_ok=True)
                outputs = [jf.File(str(local), **declared), remote]
                return make_both(source, data, outputs=outputs).exception(LIMIT_S)

            assert made(b"four") is None
            assert made(b"four", size=4, sha256=digest) is None
            assert server.files["/out"] == b"1"
            missing = made(b"")
            assert isinstance(missing, MissingOutputs)
            assert str(local) in str(missing)
            for declared in ({"size": 3}, {"sha256": "0" * 64}):
                wrong = made(b"four", **declared)
                assert isinstance(wrong, TransferError)
                assert "local" in str(wrong)


@jf.python_app
def places_of(*files: jf.File) -> list[tuple[str, str | None]]:
    return [(file.filepath, file.verified) for file in files]


@pytest.mark.parametrize("in_task", [False, True])
def test_local_inputs_are_compared_where_they_are(
    load: Load, tmp_path: Path, in_task: bool
) -> None:
    (tmp_path / "local").write_bytes(b"four")
    with (
        HostileHTTPServer({"/in": b"1"}) as server,
        load(transfers={"in_task": in_task}),
    ):

        def placed(size: int) -> Any:
            local = jf.File(str(tmp_path / "local"), size=size)
            return places_of(local, jf.File(server.url("/in")))

        (place, verified), (other, _) = placed(4).result(LIMIT_S)
        assert (place, verified) == (str(tmp_path / "local"), "size")
        assert Path(other).exists() is not in_task
        wrong = placed(3).exception(LIMIT_S)

    assert "4 bytes" in str(wrong)
    assert "3" in str(wrong)


@pytest.mark.parametrize("maker", [a_directory, a_pipe, a_device])
def test_a_local_file_with_a_digest_is_a_file(
    load: Load, tmp_path: Path, maker: Callable[[str], None]
) -> None:
    maker(str(tmp_path / "x"))
    with load():
        error = read(jf.File(str(tmp_path / "x"), size=1)).exception(LIMIT_S)

    assert isinstance(error, TransferError)
    assert "expected a file" in str(error)


# -- Directories with links, and names of every sort

ODD_NAMES = [
    b"latin-\xe4",
    b"latin-\xe5",
    unicodedata.normalize("NFD", "é-nfd").encode(),
    unicodedata.normalize("NFC", "é-nfd").encode(),
    b"case",
    b"CASE",
    b"a\nb",
    b"a*b?c#d%41",
    b"sp ace",
    b"\\",
]


class ByteShelf(Shelf):
    """A shelf whose names are bytes, as those of files are."""

    def name(self, remote: jf.Remote) -> str:
        path = remote.url.partition("://h/")[2]
        return os.fsdecode(unquote_to_bytes(path))


@jf.python_app
def make_tree(names: list[bytes], outputs: Sequence[jf.File] = ()) -> None:
    top = Path(outputs[0])
    (top / "real").mkdir(parents=True)
    (top / "link").symlink_to("real")
    for name in names:
        (top / "real" / os.fsdecode(name)).write_bytes(name)


@jf.python_app
def read_tree(top: jf.File) -> dict[str, bytes]:
    where = Path(top)
    return {
        str(path.relative_to(where)): path.read_bytes()
        for path in where.rglob("*")
        if path.is_file()
    }


def test_names_go_as_the_bytes_that_they_are_and_links_are_followed(load: Load) -> None:
    shelf = ByteShelf()
    with load(shelf):
        make_tree(ODD_NAMES, outputs=[jf.File("shelf://h/d/")]).result(LIMIT_S)

    assert shelf.files == {
        f"d/{folder}/{os.fsdecode(name)}": name
        for folder in ("real", "link")
        for name in ODD_NAMES
    }


def test_names_arrive_as_they_are(load: Load) -> None:
    """But for what no terminal should be shown, and bytes that are no UTF-8."""
    nfd = unicodedata.normalize("NFD", "é")
    nfc = unicodedata.normalize("NFC", "é")
    names = [nfd, nfc, "case", "CASE", "a*b?c#d%41", "sp ace"]
    shelf = Shelf()
    shelf.files = {f"d/{name}": name.encode() for name in names}
    shelf.jackfield_list_files = None  # type: ignore[assignment,method-assign]  # it lists nothing

    class Quoting(Shelf):
        @jf.hookimpl
        def jackfield_list_files(self, remote: jf.Remote) -> dict[str, jf.RemoteInfo]:
            return {
                remote.url + quote(name.removeprefix("d/")): jf.RemoteInfo()
                for name in self.files
            }

    quoting = Quoting()
    quoting.files = shelf.files
    with load(quoting):
        found = read_tree(jf.File("shelf://h/d/")).result(LIMIT_S)

    assert found == {name: name.encode() for name in names}


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["a", "a/b"], "its local directory would be the file"),
        (["%E4", "%E5"], "its local name would be that of"),
        (["a%0Ab", "a%0Bb"], "its local name would be that of"),
    ],
)
def test_names_that_cannot_be_had_together_are_an_error(
    load: Load, names: list[str], reason: str
) -> None:
    class Twins(Shelf):
        @jf.hookimpl
        def jackfield_list_files(self, remote: jf.Remote) -> dict[str, jf.RemoteInfo]:
            return {remote.url + name: jf.RemoteInfo() for name in names}

        def content(self, remote: jf.Remote) -> bytes:
            return b"1"

    with load(Twins()) as kernel:
        error = read_tree(jf.File("shelf://h/d/")).exception(LIMIT_S)

    assert isinstance(error, TransferError)
    assert reason in str(error)
    assert names[1] in str(error)
    assert list((kernel.run_dir / "files").glob("*")) == []


@pytest.mark.parametrize("quoted", [True, False])
@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("a b*", ["a b.txt"]),
        ("a%20b*", ["a b.txt"]),
        ("*%2A*", ["star*.txt"]),
        ("%67rün*", ["grün.txt"]),
        ("gr%C3%BCn.*", ["grün.txt"]),
        ("*.txt", ["a b.txt", "star*.txt", "grün.txt"]),
        ("**/*.txt", ["a b.txt", "star*.txt", "grün.txt", "sub/deep one.txt"]),
        ("sub/deep%20*", ["sub/deep one.txt"]),
        ("*a*b*.t*t", ["a b.txt"]),
        ("*.*t*", ["a b.txt", "star*.txt", "grün.txt"]),
        ("**d*e*.txt", ["sub/deep one.txt"]),
        ("s*/*o*e*", ["sub/deep one.txt"]),
    ],
)
def test_patterns_compare_names_that_are_decoded(
    load: Load, pattern: str, fits: list[str], quoted: bool
) -> None:
    """However a provider writes them: all that must be is a URL's."""
    safe = "/" if quoted else "/ ü"

    class Listing(Shelf):
        @jf.hookimpl
        def jackfield_list_files(self, remote: jf.Remote) -> dict[str, jf.RemoteInfo]:
            top = self.name(remote)
            return {
                remote.url + quote(name.removeprefix(top), safe=safe): jf.RemoteInfo()
                for name in self.files
                if name.startswith(top)
            }

    shelf = Listing()
    for name in ("a b.txt", "star*.txt", "grün.txt", "sub/deep one.txt"):
        shelf.files[f"d/{name}"] = b"1"
    with load(shelf):
        found = read_tree(jf.File(f"shelf://h/d/{pattern}")).result(LIMIT_S)

    top = "sub/" if pattern.startswith("sub/") else ""
    assert sorted(found) == sorted(name.removeprefix(top) for name in fits)


@pytest.mark.parametrize("pattern", ["*a*a*a*a*b.txt", "**/*a*a*b/*", "*.d*/*a*a*b"])
def test_names_made_to_be_slow_are_compared_in_no_time(
    load: Load, pattern: str
) -> None:
    class Names(Shelf):
        @jf.hookimpl
        def jackfield_list_files(self, remote: jf.Remote) -> dict[str, jf.RemoteInfo]:
            names = ["a" * (4000 + n) for n in range(50)]
            return {remote.url + name: jf.RemoteInfo() for name in names}

    began = time.monotonic()
    with load(Names()):
        error = read_tree(jf.File(f"shelf://h/d/{pattern}")).exception(LIMIT_S)

    assert isinstance(error, RemoteNotFoundError)
    assert time.monotonic() - began < LIMIT_S / 2


def test_a_name_without_measure_is_an_error(load: Load) -> None:
    class Name(Shelf):
        @jf.hookimpl
        def jackfield_list_files(self, remote: jf.Remote) -> dict[str, jf.RemoteInfo]:
            return {remote.url + "a" * 100_000: jf.RemoteInfo()}

    with load(Name()):
        error = read_tree(jf.File("shelf://h/d/*")).exception(LIMIT_S)

    assert "more than 16384 letters" in str(error)


# -- What a digest proves, and what nobody can look at


class Ask(Shelf):
    """A shelf that counts looks, and refuses them."""

    def __init__(self, error: Exception | None = None, **files: bytes) -> None:
        super().__init__(**files)
        self.error = error
        self.looks = 0

    @jf.hookimpl
    def jackfield_stat_file(self, remote: jf.Remote) -> jf.RemoteInfo:
        self.looks += 1
        if self.error is not None:
            raise self.error
        return self.info(remote)


def verified(shelf: Shelf) -> str | None:
    [done] = [one for one in shelf.events if one.stage == "done"]
    return done.verified


def test_nobody_looks_again_at_what_a_digest_proves(load: Load) -> None:
    shelf = Ask(x=b"abc")
    digest = hashlib.sha256(b"abc").hexdigest().upper()
    with load(shelf):
        read(jf.File("shelf://h/x", sha256=digest)).result(LIMIT_S)

    assert shelf.looks == 0
    assert verified(shelf) == "digest"


REFUSALS = [
    RemoteForbiddenError("shelf:", "no"),
    RemoteNotFoundError("shelf:", "no such file"),
    TransferError("shelf:", "busy", transient=True),
    ConnectionResetError("cut"),
    TimeoutError("late"),
    ValueError("broken"),
]


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
def test_a_file_that_cannot_be_looked_at_has_arrived_all_the_same(
    load: Load, error: Exception
) -> None:
    shelf = Ask(error, x=b"abc")
    with load(shelf):
        assert read(jf.File("shelf://h/x")).result(LIMIT_S) == b"abc"

    assert shelf.asked == {"x": 1}
    assert verified(shelf) == "size"


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: type(error).__name__)
def test_a_place_that_shows_nothing_has_got_what_was_sent(
    load: Load, error: Exception
) -> None:
    shelf = Ask(error)
    with load(shelf):
        write(b"abc", outputs=[jf.File("shelf://h/x")]).result(LIMIT_S)

    assert shelf.files == {"x": b"abc"}
    assert verified(shelf) == "none"


def test_a_file_that_cannot_be_looked_at_is_not_cached_and_arrives(
    load: Load, tmp_path: Path
) -> None:
    for error in REFUSALS[:2]:
        shelf = Ask(error, x=b"abc")
        with load(shelf, transfers={"cache": str(tmp_path / "cache")}):
            assert read(jf.File("shelf://h/x")).result(LIMIT_S) == b"abc"
        assert shelf.asked == {"x": 1}


class Restless(Ask):
    """A shelf whose validator is another one each time; so is the content, if asked."""

    numbers = itertools.count()
    lively = False

    def info(self, remote: jf.Remote) -> jf.RemoteInfo:
        number = next(self.numbers)
        if self.lively:
            self.files["x"] = b"%03d" % number
        return jf.RemoteInfo(len(self.content(remote)), f'"{number}"')

    @jf.hookimpl
    def jackfield_stage_in(self, transfer: jf.Transfer) -> jf.RemoteInfo:
        self.asked["x"] += 1
        info = self.info(transfer)
        return transfer.receive([self.content(transfer)], info)


def test_a_validator_that_changes_without_the_bytes_proves_nothing(load: Load) -> None:
    shelf = Restless(x=b"abc")
    with load(shelf):
        assert read(jf.File("shelf://h/x")).result(LIMIT_S) == b"abc"
        assert shelf.asked == {"x": 2}
        wrong = jf.File("shelf://h/x", size=4)
        assert isinstance(read(wrong).exception(LIMIT_S), TransferError)
    assert verified(shelf) == "size"


def test_a_file_that_changes_with_its_validator_is_not_taken(load: Load) -> None:
    shelf = Restless(x=b"abc")
    shelf.lively = True
    with load(shelf):
        error = read(jf.File("shelf://h/x")).exception(LIMIT_S)

    assert isinstance(error, RemoteChangedError)
    assert shelf.asked == {"x": 5}


class OneAnswer(HTTPFault):
    """Each answer has an ETag of its own."""

    numbers = itertools.count()
    lasting = True

    def answer(self, normal: Any, exchange: Any) -> Any:
        answer = normal()
        answer.headers["ETag"] = f'"{next(self.numbers)}"'
        return answer


@pytest.mark.parametrize("size", [1000, 3_000_000])
def test_a_server_that_makes_up_etags_gives_its_files(load: Load, size: int) -> None:
    content = os.urandom(size)
    with HostileHTTPServer({"/x": content, "/y": content}) as server:
        server.fault("*", OneAnswer())
        with load():
            assert read(jf.File(server.url("/x"))).result(LIMIT_S) == content
            assert server.count("GET", "/x") >= 2
            digest = hashlib.sha256(content).hexdigest()
            known = jf.File(server.url("/y"), sha256=digest)
            assert read(known).result(LIMIT_S) == content
            assert server.count(path="/y") == 1


@pytest.mark.parametrize("status", [403, 404, 405, 501])
def test_a_drop_box_takes_files_by_put(load: Load, status: int) -> None:
    with HostileHTTPServer() as server:
        server.fault("*", Status(status), methods=["GET", "HEAD"])
        with load():
            box = jf.File(server.url("/box?signature=1"))
            write(b"abc", outputs=[box]).result(LIMIT_S)
        assert server.files == {"/box": b"abc"}
        assert server.count("PUT") == 1


def test_a_file_without_length_or_validator_is_taken_as_it_comes(load: Load) -> None:
    with HostileHTTPServer({"/get/": b"abc"}) as server:
        server.fault("*", NoETag(last_modified=False))
        with load():
            file = jf.File(server.url("/get/?id=5"))
            assert read(file).result(LIMIT_S) == b"abc"


# -- Warnings of providers


class Warner(Shelf):
    @jf.hookimpl
    def jackfield_stage_in(self, transfer: jf.Transfer) -> jf.RemoteInfo:
        transfer.warn("the shelf leans")
        return transfer.receive([self.content(transfer)])


def test_a_providers_warning_goes_to_the_log_of_its_run_once(load: Load) -> None:
    for _ in range(2):
        shelf = Warner(x=b"1", y=b"2")
        with load(shelf) as kernel:
            read(jf.File("shelf://h/x")).result(LIMIT_S)
            read(jf.File("shelf://h/y")).result(LIMIT_S)
        log = (kernel.run_dir / "jackfield.log").read_text()
        assert log.count("the shelf leans") == 1
        assert "WARNING" in log


class Ear(logging.Handler):
    def __init__(self, heard: list[tuple[str, str]]) -> None:
        super().__init__()
        self.heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append((record.name, record.getMessage()))


class Heard(list[tuple[str, str]]):
    """A plugin that workers can have: it warns, and its file is what was logged."""

    @jf.hookimpl
    def jackfield_stage_in(self, transfer: jf.Transfer) -> jf.RemoteInfo:
        logger = logging.getLogger("jackfield")
        handler = Ear(self)
        logger.addHandler(handler)
        try:
            transfer.warn("the shelf leans")
        finally:
            logger.removeHandler(handler)
        return transfer.receive([repr(list(self)).encode()])


def test_a_providers_warning_in_a_task_goes_to_its_logger_in_the_worker(
    load: Load,
) -> None:
    executors = {"x": EXECUTORS["processes"]()}
    with load(Heard(), executors=executors, transfers={"in_task": True}):
        heard = read(jf.File("shelf://h/x")).result(LIMIT_S)

    assert heard.decode() == "[('jackfield.staging', 'the shelf leans')]"


def test_a_providers_warning_in_a_task_on_a_thread_goes_to_the_log_of_its_run(
    load: Load,
) -> None:
    with load(Warner(x=b"1"), transfers={"in_task": True}) as kernel:
        read(jf.File("shelf://h/x")).result(LIMIT_S)

    log = (kernel.run_dir / "jackfield.log").read_text()
    assert log.count("the shelf leans") == 1


def test_a_page_of_html_for_a_file_is_told_by_the_log(load: Load) -> None:
    class Page(HTTPFault):
        lasting = True

        def answer(self, normal: Any, exchange: Any) -> Any:
            answer = normal()
            answer.headers["Content-Type"] = "text/html"
            return answer

    with HostileHTTPServer({"/x.dat": b"<html>"}) as server:
        server.fault("*", Page())
        with load() as kernel:
            read(jf.File(server.url("/x.dat"))).result(LIMIT_S)

    assert "sent a page of HTML" in (kernel.run_dir / "jackfield.log").read_text()
