"""The HTTP provider passes the kit, on a server that fails in every way."""

from __future__ import annotations

import base64
import logging
import os
import re
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

import pytest

import jackfield as jf
from jackfield_testing import StagingConformance, StagingFaults, StagingSite
from jackfield_testing.servers import (
    ChangeAfter,
    Drip,
    HostileHTTPServer,
    Reset,
    StallBeforeHeaders,
    StallMidBody,
    Status,
    Truncate,
)

LIMIT_S: Final = 60.0
USER: Final = "writer"
PASSWORD: Final = "s3cret/of:the writer%"


def path_of(name: str) -> str:
    return f"/{quote(name)}"


class HTTPFaults(StagingFaults):
    def __init__(self, server: HostileHTTPServer) -> None:
        self.server = server

    def interrupt(self, name: str, after: int, times: int | None = None) -> None:
        self.server.fault(path_of(name), Reset(after), times, methods=["GET"])

    def truncate(self, name: str, after: int, times: int | None = None) -> None:
        self.server.fault(path_of(name), Truncate(after), times)

    def stall(self, name: str, after: int, times: int | None = None) -> None:
        fault = StallMidBody(after) if after else StallBeforeHeaders()
        self.server.fault(path_of(name), fault, times, methods=["GET", "PUT"])

    def wait_stalled(self, limit: float) -> bool:
        return self.server.stalled.wait(limit)

    def release(self) -> None:
        self.server.release.set()

    def slow_down(self, name: str, pause: float) -> None:
        size = len(self.server.files[path_of(name)])
        self.server.fault(path_of(name), Drip(size // 8, pause))

    def refuse_for_now(self, name: str, times: int) -> None:
        self.server.fault(path_of(name), Status(503), times)

    def forbid(self, name: str) -> None:
        self.server.fault(path_of(name), Status(403))

    def change(self, name: str, after: int, data: bytes) -> None:
        self.server.fault(path_of(name), ChangeAfter(after, data), times=1)

    def break_upload(self, name: str, after: int, times: int | None = None) -> None:
        self.server.fault(path_of(name), Reset(after), times, methods=["PUT"])

    def starts(self, name: str) -> Sequence[int]:
        ranges = [
            re.match(r"bytes=(\d+)-", request.range or "bytes=0-")
            for request in self.server.requests
            if request.method == "GET" and request.path == path_of(name)
        ]
        return [int(found[1]) for found in ranges if found]


class HTTPSite(StagingSite):
    def __init__(self, server: HostileHTTPServer) -> None:
        login = {"user": USER, "password": PASSWORD}
        super().__init__(server.url("/"), credentials=login, faults=HTTPFaults(server))
        self.server = server

    def put(self, name: str, data: bytes) -> None:
        self.server.files[path_of(name)] = data

    def get(self, name: str) -> bytes | None:
        return self.server.files.get(path_of(name))

    def delete(self, name: str) -> None:
        del self.server.files[path_of(name)]


class TestHTTP(StagingConformance):
    login_in_url = True
    lists = False  # the server has no index

    @pytest.fixture
    def site(self) -> Iterator[HTTPSite]:
        pair = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        with HostileHTTPServer(
            authorization=f"Basic {pair}", protected=("GET", "HEAD", "PUT")
        ) as server:
            yield HTTPSite(server)


def test_a_signed_query_is_sent_and_not_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    signed = "?X-Amz-Signature=c4n4ry&X-Amz-Expires=60"
    with HostileHTTPServer({"/x": b"signed"}) as server:
        config = jf.Config(run_dir=tmp_path / "runs", log_level="DEBUG")
        with jf.load(config) as kernel:
            right: jf.AppFuture[int] = kernel.submit(
                os.path.getsize, jf.File(server.url(f"/x{signed}"))
            )
            wrong: jf.AppFuture[int] = kernel.submit(
                os.path.getsize, jf.File(server.url(f"/y{signed}"))
            )
            assert right.result(LIMIT_S) == 6
            error = wrong.exception(LIMIT_S)
        targets = {request.target for request in server.requests}

    assert isinstance(error, FileNotFoundError)
    assert {f"/x{signed}", f"/y{signed}"} <= targets
    log = (kernel.run_dir / "jackfield.log").read_text()
    for shown in (log, caplog.text, *traceback.format_exception(error)):
        assert "c4n4ry" not in shown
