"""Transfers that Parsl takes for good, or mixes up; here they are errors, or right.

Each was seen there with a server like this one: the bodies of error pages delivered as
the input, a truncated body accepted, two URLs of one name sharing a file, an uploaded
half taken for the whole, the wrapper of in-task staging hashed in the function's place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import jackfield as jf
from jackfield.errors import RemoteNotFoundError
from jackfield_testing.servers import HostileHTTPServer, Status, Truncate

LIMIT_S = 60.0


@jf.python_app
def read(file: jf.File) -> bytes:
    return Path(file).read_bytes()


@pytest.fixture
def server() -> Iterator[HostileHTTPServer]:
    with HostileHTTPServer({"/a/x.csv": b"first", "/b/x.csv": b"second"}) as server:
        yield server


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., jf.DataFlowKernel]:
    def load(**options: Any) -> jf.DataFlowKernel:
        transfers = {"attempts": 2, "backoff": 0.01}
        return jf.load(
            jf.Config(run_dir=tmp_path / "runs", transfers=transfers, **options)
        )

    return load


Load = Callable[..., jf.DataFlowKernel]


def test_the_page_of_a_404_is_not_an_input_file(
    load: Load, server: HostileHTTPServer
) -> None:
    with load():
        error = read(jf.File(server.url("/none.csv"))).exception(LIMIT_S)
    assert isinstance(error, RemoteNotFoundError)
    assert "404" in str(error)


def test_the_page_of_a_500_is_not_an_input_file(
    load: Load, server: HostileHTTPServer
) -> None:
    server.fault("/a/x.csv", Status(500))
    with load():
        error = read(jf.File(server.url("/a/x.csv"))).exception(LIMIT_S)
    assert isinstance(error, jf.TransferError)
    assert "500" in str(error)


def test_a_truncated_body_is_not_an_input_file(
    load: Load, server: HostileHTTPServer
) -> None:
    server.fault("/a/x.csv", Truncate(2))
    with load() as kernel:
        error = read(jf.File(server.url("/a/x.csv"))).exception(LIMIT_S)
    assert error is not None
    assert list((kernel.run_dir / "files").iterdir()) == []


def test_two_urls_of_one_name_are_two_files(
    load: Load, server: HostileHTTPServer
) -> None:
    with load():
        first = read(jf.File(server.url("/a/x.csv")))
        second = read(jf.File(server.url("/b/x.csv")))
        assert (first.result(LIMIT_S), second.result(LIMIT_S)) == (b"first", b"second")


def test_an_upload_that_is_refused_fails_the_task_and_its_output(
    load: Load, server: HostileHTTPServer
) -> None:
    @jf.python_app
    def write(outputs: Any = ()) -> None:
        Path(outputs[0]).write_bytes(b"result")

    server.fault("/out.csv", Status(403), methods=["PUT"])
    with load():
        future = write(outputs=[jf.File(server.url("/out.csv"))])
        assert isinstance(future.exception(LIMIT_S), PermissionError)
        assert isinstance(future.outputs[0].exception(LIMIT_S), PermissionError)
    assert "/out.csv" not in server.files


def test_two_apps_that_stage_in_the_task_are_two_apps(
    load: Load, server: HostileHTTPServer
) -> None:
    @jf.python_app(cache=True)
    def one(file: jf.File) -> str:
        return f"one {Path(file).read_text()}"

    @jf.python_app(cache=True)
    def two(file: jf.File) -> str:
        return f"two {Path(file).read_text()}"

    digest = "a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e"
    file = jf.File(server.url("/a/x.csv"), sha256=digest)
    with load(staging={"http": {"in_task": True}}):
        assert one(file).result(LIMIT_S) == "one first"
        assert two(file).result(LIMIT_S) == "two first"
