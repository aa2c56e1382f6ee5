"""The conformance kit notices staging providers that break the contract."""

from __future__ import annotations

import inspect
import os
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pytest

import jackfield as jf
from jackfield_testing import (
    DirectorySite,
    StagingConformance,
    StagingFaults,
    StagingSite,
)
from jackfield_testing.servers import HostileHTTPServer, StallMidBody, Truncate
from jackfield_testing.staging.case import StagingCase

SECRET = "th3 s3cret"


class Folder:
    """A provider without a fault, for others to inherit."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, url: str) -> Path:
        return self.root / unquote(urlsplit(url).path).lstrip("/")

    def bring(self, transfer: jf.Transfer) -> jf.RemoteInfo:
        with self.path(transfer.url).open("rb") as file:
            return transfer.receive(file)

    def send(self, transfer: jf.Transfer) -> jf.RemoteInfo:
        self.path(transfer.url).write_bytes(transfer.path.read_bytes())
        return jf.RemoteInfo()

    def find(self, remote: jf.Remote) -> dict[str, jf.RemoteInfo]:
        top = self.path(remote.url)
        below = [path for path in top.rglob("*") if path.is_file()]
        names = [quote(path.relative_to(top).as_posix()) for path in below]
        return {remote.url + name: jf.RemoteInfo() for name in names}

    @jf.hookimpl
    def jackfield_stage_in(self, transfer: jf.Transfer) -> jf.RemoteInfo:
        return self.bring(transfer)

    @jf.hookimpl
    def jackfield_stage_out(self, transfer: jf.Transfer) -> jf.RemoteInfo:
        return self.send(transfer)

    @jf.hookimpl
    def jackfield_list_files(self, remote: jf.Remote) -> dict[str, jf.RemoteInfo]:
        return self.find(remote)


class TranslatesText(Folder):
    def bring(self, transfer: jf.Transfer) -> jf.RemoteInfo:
        data = self.path(transfer.url).read_bytes()
        transfer.path.write_bytes(data.replace(b"\r\n", b"\n"))
        return jf.RemoteInfo()


class DecodesNothing(Folder):
    def path(self, url: str) -> Path:
        return self.root / urlsplit(url).path.lstrip("/")


class DecodesTwice(Folder):
    def path(self, url: str) -> Path:
        return super().path(unquote(url))


class KnowsLastNamesOnly(Folder):
    def path(self, url: str) -> Path:
        name = Path(urlsplit(url).path).name
        return next(iter(self.root.rglob(name)), self.root / name)


class BringsNothingForNothing(Folder):
    def bring(self, transfer: jf.Transfer) -> jf.RemoteInfo:
        path = self.path(transfer.url)
        transfer.path.write_bytes(path.read_bytes() if path.exists() else b"")
        return jf.RemoteInfo()


class HasItsOwnErrors(Folder):
    def bring(self, transfer: jf.Transfer) -> jf.RemoteInfo:
        try:
            return super().bring(transfer)
        except OSError as error:
            raise jf.TransferError(str(transfer), "it did not work") from error


class TriesForEver(Folder):
    def bring(self, transfer: jf.Transfer) -> jf.RemoteInfo:
        try:
            return super().bring(transfer)
        except OSError as error:
            raise ConnectionError(str(error)) from error


class SendsHalf(Folder):
    def send(self, transfer: jf.Transfer) -> jf.RemoteInfo:
        data = transfer.path.read_bytes()
        self.path(transfer.url).write_bytes(data[: max(1, len(data) // 2)])
        return jf.RemoteInfo()


class SendsNothingOverOldFiles(Folder):
    def send(self, transfer: jf.Transfer) -> jf.RemoteInfo:
        path = self.path(transfer.url)
        return jf.RemoteInfo() if path.exists() else super().send(transfer)


class ListsFlat(Folder):
    def find(self, remote: jf.Remote) -> dict[str, jf.RemoteInfo]:
        found = super().find(remote)
        return {url: one for url, one in found.items() if url.count("/") < 5}


class ListsUnquoted(Folder):
    def find(self, remote: jf.Remote) -> dict[str, jf.RemoteInfo]:
        return {unquote(url): one for url, one in super().find(remote).items()}


class HasOneValidator(Folder):
    """Says of every version that it is the same, and goes on where it was."""

    info = jf.RemoteInfo(etag='"constant"')

    def bring(self, transfer: jf.Transfer) -> jf.RemoteInfo:
        with self.path(transfer.url).open("rb") as file:
            file.seek(transfer.offset)
            return transfer.receive(file, self.info, start=transfer.offset)

    @jf.hookimpl
    def jackfield_stat_file(self, remote: jf.Remote) -> jf.RemoteInfo:
        return self.info


class ReplacesInTwoSteps(Folder):
    def send(self, transfer: jf.Transfer) -> jf.RemoteInfo:
        self.path(transfer.url).unlink(missing_ok=True)
        time.sleep(0.05)  # a slow server
        part = self.path(transfer.url + ".part")
        part.write_bytes(transfer.path.read_bytes())
        part.rename(self.path(transfer.url))
        return jf.RemoteInfo()


class ShowsSecrets(Folder):
    def bring(self, transfer: jf.Transfer) -> jf.RemoteInfo:
        print(transfer.credentials["password"])
        raise jf.errors.RemoteForbiddenError(str(transfer), "wrong password")


class KeepsThreads(Folder):
    released = threading.Event()

    def bring(self, transfer: jf.Transfer) -> jf.RemoteInfo:
        threading.Thread(target=self.released.wait, daemon=True).start()
        return super().bring(transfer)


class KeepsFilesOpen(Folder):
    kept: list[int] = []

    def bring(self, transfer: jf.Transfer) -> jf.RemoteInfo:
        self.kept.append(os.open(os.devnull, os.O_RDONLY))
        return super().bring(transfer)


class Kit(StagingConformance):
    verified = "none"
    large = 1 << 20
    short_cycles = 2


@pytest.fixture(autouse=True)
def _leaks_end() -> Iterator[None]:
    KeepsThreads.released.clear()
    yield
    KeepsThreads.released.set()
    while KeepsFilesOpen.kept:
        os.close(KeepsFilesOpen.kept.pop())


def folder_site(kind: type[Folder], tmp_path: Path) -> DirectorySite:
    root = tmp_path / "served"
    root.mkdir()
    login = {"user": "me", "password": SECRET}
    return DirectorySite(
        root, "folder://here/", plugins=[kind(root)], credentials=login
    )


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (TranslatesText, "test_text_is_not_translated"),
        (DecodesNothing, "test_awkward_names_are_names"),
        (DecodesTwice, "test_awkward_names_are_names"),
        (KnowsLastNamesOnly, "test_files_of_one_name_do_not_meet"),
        (BringsNothingForNothing, "test_a_missing_file_leaves_nothing_behind"),
        (HasItsOwnErrors, "test_a_missing_file_leaves_nothing_behind"),
        (HasItsOwnErrors, "test_a_full_disk_fails_the_task_and_leaves_nothing_behind"),
        (TriesForEver, "test_a_missing_file_leaves_nothing_behind"),
        (Folder, "test_an_unknown_option_is_named"),
        (Folder, "test_files_of_other_schemes_are_left_to_others"),
        (SendsHalf, "test_a_large_output_is_there_byte_for_byte"),
        (
            SendsNothingOverOldFiles,
            "test_an_output_takes_the_place_of_an_older_file",
        ),
        (ListsUnquoted, "test_a_directory_arrives_with_all_that_is_in_it"),
        (HasOneValidator, "test_a_version_of_the_same_size_is_moved_again"),
        (
            HasOneValidator,
            "test_what_is_broken_off_and_is_another_file_now_begins_again",
        ),
        (Folder, "test_what_is_broken_off_goes_on_or_begins_again"),
        (
            ReplacesInTwoSteps,
            "test_others_see_the_older_file_or_the_new_one_at_every_moment",
        ),
        (ListsFlat, "test_a_directory_arrives_with_all_that_is_in_it"),
        (Folder, "test_a_missing_directory_leaves_nothing_behind"),
        (KeepsThreads, "test_a_kernel_leaves_no_thread_and_no_connection"),
        (KeepsFilesOpen, "test_a_kernel_leaves_no_thread_and_no_connection"),
    ],
)
def test_a_provider_that_breaks_its_contract_is_noticed(
    broken: type[Folder],
    test: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("jackfield_testing.staging.end.WAIT_S", 1.0)
    site = folder_site(broken, tmp_path)

    assert notices(Kit, test, site, tmp_path)


def test_a_provider_that_shows_secrets_is_noticed(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    site = folder_site(ShowsSecrets, tmp_path)
    test = "test_wrong_credentials_are_refused_and_not_shown"

    assert notices(Kit, test, site, tmp_path, caplog, capfd)


# -- A provider for HTTP that hopes for the best


class Hopes:
    """Waits as long as it takes, and takes what comes."""

    @jf.hookimpl
    def jackfield_stage_in(self, transfer: jf.Transfer) -> jf.RemoteInfo:
        with urllib.request.urlopen(transfer.url, timeout=120) as answer:
            while block := answer.read(1000):
                with transfer.path.open("ab") as file:
                    file.write(block)
        return jf.RemoteInfo()


class HopefulFaults(StagingFaults):
    def __init__(self, server: HostileHTTPServer) -> None:
        self.server = server

    def truncate(self, name: str, after: int, times: int | None = None) -> None:
        self.server.fault(f"/{name}", Truncate(after), times)

    def stall(self, name: str, after: int, times: int | None = None) -> None:
        self.server.fault(f"/{name}", StallMidBody(after), times)

    def wait_stalled(self, limit: float) -> bool:
        return self.server.stalled.wait(limit)

    def release(self) -> None:
        self.server.release.set()


class HopefulSite(StagingSite):
    def __init__(self, server: HostileHTTPServer) -> None:
        # A scheme of its own would do, but urllib has to understand it.
        faults = HopefulFaults(server)
        super().__init__(server.url("/"), plugins=[Hopes()], faults=faults)
        self.server = server

    def put(self, name: str, data: bytes) -> None:
        self.server.files[f"/{name}"] = data

    def get(self, name: str) -> bytes | None:
        return self.server.files.get(f"/{name}")

    def delete(self, name: str) -> None:
        del self.server.files[f"/{name}"]


@pytest.mark.parametrize(
    "test",
    [
        "test_a_file_that_is_always_cut_short_leaves_nothing_behind",
        "test_an_interrupted_transfer_goes_on_where_it_was",
        "test_a_stalled_transfer_that_is_cancelled_ends_at_once",
        "test_a_run_that_is_cut_short_does_not_wait_for_a_stalled_transfer",
        "test_it_is_told_how_a_file_is_known_to_be_right",
    ],
)
def test_a_provider_that_hopes_for_the_best_is_noticed(
    test: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jackfield_testing.staging.faults.AT_ONCE_S", 1.5)
    with HostileHTTPServer() as server:
        assert notices(StagingConformance, test, HopefulSite(server), tmp_path)


def test_a_subclass_without_a_site_is_told_what_it_needs() -> None:
    function = inspect.unwrap(vars(StagingCase)["site"])

    with pytest.raises(NotImplementedError, match="Kit needs a fixture named 'site'"):
        function(Kit())


def notices(kind: type[StagingConformance], test: str, *arguments: Any) -> bool:
    """Run a test of the kit; tell whether it fails."""
    try:
        getattr(kind(), test)(*arguments)
    except Exception:
        return True
    return False
