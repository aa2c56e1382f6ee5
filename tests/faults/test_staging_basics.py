"""Remote files by way of a plugin of ten lines: one transfer, whole or not at all."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.errors import NoProviderError

LIMIT_S = 10.0
SECRET = "s3cretpw"


class Shelf:
    """Serves ``shelf:`` URLs from a dict."""

    def __init__(self) -> None:
        self.files = {"/a/x.txt": b"from a", "/b/x.txt": b"from b", "/empty": b""}
        self.fetched: Counter[str] = Counter()
        self.gate = threading.Event()
        self.gate.set()

    @jf.hookimpl
    def jackfield_stage_in(self, transfer: jf.Transfer) -> jf.Transferred | None:
        if transfer.scheme != "shelf":
            return None
        assert self.gate.wait(LIMIT_S)
        name = jf.File(transfer.url).path
        self.fetched[name] += 1
        transfer.path.write_bytes(b"part of it")
        content = self.files[name]
        transfer.path.write_bytes(content)
        return jf.Transferred(size=len(content) + (name == "/lie"))

    @jf.hookimpl
    def jackfield_stage_out(self, transfer: jf.Transfer) -> jf.Transferred | None:
        if transfer.scheme != "shelf":
            return None
        assert self.gate.wait(LIMIT_S)
        if "refused" in transfer.url:
            raise PermissionError("the shelf is full")
        self.files[jf.File(transfer.url).path] = transfer.path.read_bytes()
        return jf.Transferred()


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def staging(shelf: Shelf, tmp_path: Path) -> Iterator[jf.DataFlowKernel]:
    with jf.load(plugins=[shelf], run_dir=tmp_path / "runs") as kernel:
        yield kernel


@jf.python_app
def read(path: Any) -> bytes:
    return Path(path).read_bytes()


@jf.python_app
def write(content: bytes, outputs: Any = ()) -> None:
    Path(outputs[0]).write_bytes(content)


def leftovers(kernel: jf.DataFlowKernel) -> list[str]:
    return [str(path) for path in (kernel.run_dir / "files").rglob("*")]


def test_a_remote_file_is_there_when_the_task_runs(staging: jf.DataFlowKernel) -> None:
    assert read(jf.File("shelf://host/a/x.txt")).result(LIMIT_S) == b"from a"
    assert read(jf.File("shelf://host/empty")).result(LIMIT_S) == b""


def test_files_are_found_at_any_depth(staging: jf.DataFlowKernel) -> None:
    @jf.python_app
    def all_of(tree: Any, inputs: Any = ()) -> list[bytes]:
        return [Path(p).read_bytes() for p in (*tree["deep"], *inputs)]

    files = [jf.File("shelf://h/a/x.txt"), jf.File("shelf://h/b/x.txt")]

    assert all_of({"deep": files}, inputs=files).result(LIMIT_S) == [
        b"from a",
        b"from b",
        b"from a",
        b"from b",
    ]


def test_many_tasks_cause_one_transfer(
    staging: jf.DataFlowKernel, shelf: Shelf
) -> None:
    futures = [read(jf.File("shelf://h/a/x.txt")) for _ in range(200)]

    assert {future.result(LIMIT_S) for future in futures} == {b"from a"}
    assert shelf.fetched == {"/a/x.txt": 1}


def test_a_failure_reaches_all_and_leaves_nothing(staging: jf.DataFlowKernel) -> None:
    futures = [read(jf.File("shelf://h/none")) for _ in range(20)]

    for future in futures:
        with pytest.raises(KeyError, match="/none"):
            future.result(LIMIT_S)
    assert leftovers(staging) == []


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (jf.File("shelf://h/a/x.txt", size=7), "6 bytes arrived, size= declares 7"),
        (jf.File("shelf://h/a/x.txt", sha256="0" * 64), "its sha256 is"),
        (jf.File("shelf://h/lie"), "5 bytes arrived, the server declares 6"),
    ],
    ids=["size", "sha256", "server"],
)
def test_what_is_not_as_declared_does_not_arrive(
    staging: jf.DataFlowKernel, shelf: Shelf, file: jf.File, message: str
) -> None:
    shelf.files["/lie"] = b"false"

    with pytest.raises(jf.TransferError, match=message):
        read(file).result(LIMIT_S)
    assert leftovers(staging) == []


def test_the_right_digest_is_accepted(staging: jf.DataFlowKernel) -> None:
    digest = hashlib.sha256(b"from b").hexdigest()

    assert (
        read(jf.File("shelf://h/b/x.txt", sha256=digest)).result(LIMIT_S) == b"from b"
    )


@pytest.mark.parametrize("name", ["..%2f..%2fetc", "a%00b", "x" * 300, "..", "%2e%2e"])
def test_an_unsafe_name_stays_in_its_directory(
    staging: jf.DataFlowKernel, shelf: Shelf, name: str
) -> None:
    file = jf.File(f"shelf://h/{name}")
    shelf.files[file.path] = b"content"

    @jf.python_app
    def where(path: Any) -> str:
        return str(Path(path).resolve())

    inside = where(file).result(LIMIT_S)

    assert Path(inside).parent.parent == staging.run_dir / "files"


def test_an_output_is_complete_when_it_is_staged_out(
    staging: jf.DataFlowKernel, shelf: Shelf
) -> None:
    shelf.gate.clear()
    future = write(b"result", outputs=[jf.File("shelf://h/out")])
    with pytest.raises(TimeoutError):
        future.outputs[0].result(0.2)
    assert not future.done()
    shelf.gate.set()

    assert future.outputs[0].result(LIMIT_S).url == "shelf://h/out"
    assert shelf.files["/out"] == b"result"


def test_a_stage_out_that_fails_is_the_tasks_failure(
    staging: jf.DataFlowKernel,
) -> None:
    future = write(b"result", outputs=[jf.File("shelf://h/refused")])

    with pytest.raises(PermissionError, match="full"):
        future.result(LIMIT_S)
    with pytest.raises(PermissionError, match="full"):
        future.outputs[0].result(LIMIT_S)


def test_a_scheme_that_nobody_serves_is_an_error_at_once(
    kernel: jf.DataFlowKernel,
) -> None:
    with pytest.raises(NoProviderError, match="No staging plugin serves s4:"):
        read(jf.File("s4://h/x"))
    with pytest.raises(NoProviderError):
        write(b"", outputs=[jf.File("s4://h/x")])


def test_a_url_that_every_plugin_declines_fails_the_task(
    staging: jf.DataFlowKernel,
) -> None:
    with pytest.raises(NoProviderError, match="No staging plugin serves s4:"):
        read(jf.File("s4://h/x")).result(LIMIT_S)


def test_no_password_is_shown(staging: jf.DataFlowKernel) -> None:
    file = jf.File(f"shelf://me:{SECRET}@h/a/x.txt?token={SECRET}", size=1)
    future = read(file)
    with pytest.raises(jf.TransferError) as info:
        future.result(LIMIT_S)
    with pytest.raises(NoProviderError) as other:
        read(jf.File(f"s4://me:{SECRET}@h/x")).result(LIMIT_S)
    staging.wait_for_current_tasks(LIMIT_S)

    log = (staging.run_dir / "jackfield.log").read_text()
    shown = [str(info.value), repr(info.value), str(other.value), repr(file), log]
    assert not any(SECRET in text for text in shown)
    assert "me:***@h" in str(info.value)
