"""The FTP provider passes the kit, on a server that fails in every way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from jackfield_testing import DirectorySite, StagingConformance, StagingFaults
from jackfield_testing.servers import DropData, KillControl, Refuse, StallData
from jackfield_testing.servers.ftp import HostileFTPServer

COMPLETE = "226 Transfer complete."


class FTPFaults(StagingFaults):
    """Faults of commands: a test has trouble with one file only."""

    def __init__(self, server: HostileFTPServer) -> None:
        self.server = server

    def interrupt(self, name: str, after: int, times: int | None = None) -> None:
        self.server.fault("RETR", KillControl(after), times)

    def truncate(self, name: str, after: int, times: int | None = None) -> None:
        self.server.fault("RETR", DropData(after, COMPLETE), times)

    def stall(self, name: str, after: int, times: int | None = None) -> None:
        self.server.fault("RETR", StallData(after), times)
        self.server.fault("STOR", StallData(after), times)

    def wait_stalled(self, limit: float) -> bool:
        return self.server.stalled.wait(limit)

    def release(self) -> None:
        self.server.release.set()

    def refuse_for_now(self, name: str, times: int) -> None:
        self.server.fault("RETR", Refuse("450 Busy."), times)

    def forbid(self, name: str) -> None:
        for command in ("RETR", "STOR"):
            self.server.fault(command, Refuse("550 Permission denied."))

    def break_upload(self, name: str, after: int, times: int | None = None) -> None:
        self.server.fault("STOR", KillControl(after), times)

    def starts(self, name: str) -> Sequence[int]:
        starts, start = [], 0
        for verb, argument in self.server.commands:
            if verb == "REST":
                start = int(argument)
            elif verb == "RETR":
                if argument.endswith(name):
                    starts.append(start)
                start = 0
        return starts


class TestFTP(StagingConformance):
    login_in_url = True
    notices_changes = False  # times are told in seconds

    @pytest.fixture
    def site(self) -> Iterator[DirectorySite]:
        with HostileFTPServer(password="s3cret/of:the writer%") as server:
            login = {"user": server.user, "password": server.password}
            faults = FTPFaults(server)
            base = server.url("/")
            yield DirectorySite(server.root, base, credentials=login, faults=faults)
