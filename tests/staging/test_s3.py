"""S3: objects arrive whole and of one version, and refusals say what they mean."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import psutil
import pytest

from jackfield import ConfigurationError, File, Remote
from jackfield.errors import (
    RemoteChangedError,
    RemoteForbiddenError,
    RemoteNotFoundError,
    TransferCancelledError,
    TransferError,
)
from jackfield.staging.remote import RemoteInfo, Timeouts
from jackfield_staging import s3
from jackfield_testing.servers import (
    Answer,
    Exchange,
    HostileHTTPServer,
    HTTPFault,
    NoRanges,
    Reset,
    StallBeforeHeaders,
    StallMidBody,
    Status,
    Truncate,
)
from jackfield_transfers.transfer import Transfer

if TYPE_CHECKING:
    from tests.staging.servers.endpoint import Endpoint

LIMIT_S = 60.0
MIB = 1 << 20
BODY = bytes(range(256)) * 4000
PATIENT = Timeouts(connect=10 * LIMIT_S, idle=10 * LIMIT_S)
"""So that what ends a stalled transfer is not a timeout."""

HURRIED = Timeouts(connect=LIMIT_S, idle=0.3)
LOGIN = {"key": "AKIDEXAMPLE", "secret": "not-to-be-shown"}
SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Reduce your rate.</Message></Error>"


def close_idle() -> None:
    s3.provider.jackfield_kernel_closing()


@pytest.fixture(autouse=True)
def _no_connection_is_left() -> Iterator[None]:
    yield
    close_idle()


@pytest.fixture
def server() -> Iterator[HostileHTTPServer]:
    """Serves ``s3://bucket/x``; it takes any signature."""
    with HostileHTTPServer({"/bucket/x": BODY}) as server:
        yield server


def told(
    server: HostileHTTPServer | Endpoint, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return options and credentials for a server."""
    if isinstance(server, HostileHTTPServer):
        options = {"endpoint_url": server.url("").rstrip("/"), **options}
        return {"options": options, "credentials": LOGIN}
    given = {**server.options, **options}
    login = {name: given.pop(name) for name in ("key", "secret")}
    return {"options": given, "credentials": login}


def transfer(
    server: HostileHTTPServer | Endpoint,
    url: str,
    path: Path,
    options: Mapping[str, Any] = {},
    **more: Any,
) -> Transfer:
    common = {"timeouts": PATIENT, **told(server, options), **more}
    return Transfer(url=url, path=path, **common)


def stage_in(
    server: HostileHTTPServer | Endpoint, url: str, path: Path, **more: Any
) -> RemoteInfo:
    info = s3.provider.jackfield_stage_in(transfer(server, url, path, **more))
    assert info is not None
    return info


def stage_out(
    server: HostileHTTPServer | Endpoint, url: str, path: Path, **more: Any
) -> RemoteInfo:
    info = s3.provider.jackfield_stage_out(transfer(server, url, path, **more))
    assert info is not None
    return info


def at(server: HostileHTTPServer | Endpoint, url: str, **more: Any) -> Remote:
    return Remote(url=url, timeouts=PATIENT, **told(server, more))


def unfinished(endpoint: Endpoint) -> list[str]:
    """Return the keys of uploads that were begun and neither completed nor aborted."""
    import botocore.session

    login = told(endpoint, {})
    client = botocore.session.Session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=login["options"]["endpoint_url"],
        aws_access_key_id=login["credentials"]["key"],
        aws_secret_access_key=login["credentials"]["secret"],
    )
    try:
        answer = client.list_multipart_uploads(Bucket=endpoint.url.partition("//")[2])
    finally:
        client.close()
    return [upload["Key"] for upload in answer.get("Uploads", [])]


class StoppedAfter(Transfer):
    """A transfer that somebody gives up when so many bytes have moved."""

    limit: int = 0

    def advance(self, moved: int) -> None:
        super().advance(moved)
        if self.moved > self.limit:
            self.stop.stop()


# -- Objects and their names


def test_a_file_makes_the_way_to_a_store_and_back(
    seaweedfs: Endpoint, tmp_path: Path
) -> None:
    (tmp_path / "out").write_bytes(BODY)

    sent = stage_out(seaweedfs, seaweedfs.at("way/there"), tmp_path / "out")
    fetched = stage_in(seaweedfs, seaweedfs.at("way/there"), tmp_path / "in")

    assert (tmp_path / "in").read_bytes() == BODY
    assert sent.size == fetched.size == len(BODY)
    assert sent.etag == fetched.etag == f'"{hashlib.md5(BODY).hexdigest()}"'
    assert fetched.settled


def test_an_empty_file_is_an_object_too(seaweedfs: Endpoint, tmp_path: Path) -> None:
    (tmp_path / "out").touch()

    stage_out(seaweedfs, seaweedfs.at("empty"), tmp_path / "out")
    info = stage_in(seaweedfs, seaweedfs.at("empty"), tmp_path / "in")

    assert info.size == 0
    assert (tmp_path / "in").read_bytes() == b""


def test_a_look_tells_what_the_transfer_tells(
    seaweedfs: Endpoint, tmp_path: Path
) -> None:
    url = seaweedfs.at("looked-at")
    (tmp_path / "out").write_bytes(BODY)
    stage_out(seaweedfs, url, tmp_path / "out")

    fetched = stage_in(seaweedfs, url, tmp_path / "in")
    looked = s3.provider.jackfield_stat_file(at(seaweedfs, url))

    assert looked is not None
    assert fetched.differs(looked) is None
    assert None not in (looked.size, looked.etag, looked.modified)


NAMES = ["a%b", "a?b#c", "with space", "star*", "Ünï", "plus+&=;@:,!'()~"]


def test_keys_with_signs_are_listed_as_urls_that_name_them(
    seaweedfs: Endpoint, tmp_path: Path
) -> None:
    base = seaweedfs.at("signs/")
    for number, name in enumerate(NAMES):
        (tmp_path / "out").write_bytes(b"%d" % number)
        coded = name.replace("%", "%25").replace("?", "%3F").replace("#", "%23")
        stage_out(seaweedfs, base + coded.replace("*", "%2A"), tmp_path / "out")

    listed = s3.provider.jackfield_list_files(at(seaweedfs, base))

    assert listed is not None
    names = {File(url).path.removeprefix("/signs/"): url for url in listed}
    assert set(names) == set(NAMES)
    for number, name in enumerate(NAMES):
        stage_in(seaweedfs, names[name], tmp_path / "in")
        assert (tmp_path / "in").read_bytes() == b"%d" % number


def test_listings_of_more_than_a_page_are_whole(seaweedfs: Endpoint) -> None:
    names = [f"many/{number:04}" for number in range(1005)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: seaweedfs.content.put(name, b"."), names))

    listed = s3.provider.jackfield_list_files(at(seaweedfs, seaweedfs.at("many/")))

    assert listed is not None
    assert list(listed) == [seaweedfs.at(name) for name in names]
    assert {info.size for info in listed.values()} == {1}


def test_a_directory_that_is_not_there_is_missing(seaweedfs: Endpoint) -> None:
    with pytest.raises(RemoteNotFoundError):
        s3.provider.jackfield_list_files(at(seaweedfs, seaweedfs.at("no/such/")))


def test_a_bucket_with_dots_is_addressed_by_path(
    server: HostileHTTPServer, tmp_path: Path
) -> None:
    server.files["/my.bucket.example/x"] = BODY

    stage_in(server, "s3://my.bucket.example/x", tmp_path / "in")

    assert (tmp_path / "in").read_bytes() == BODY


def test_one_version_of_an_object_is_asked_for_by_its_name(
    server: HostileHTTPServer, tmp_path: Path
) -> None:
    stage_in(server, "s3://bucket/x?versionId=3%2F4", tmp_path / "in")

    assert server.requests[0].target == "/bucket/x?versionId=3%2F4"


@pytest.mark.parametrize(
    "url", ["s3://bucket/", "s3://bucket", "s3:///key", "s3://b/k?x=1", "s3://b/k#1"]
)
def test_a_url_that_names_no_object_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(TransferError, match=r"BUCKET|%3F"):
        s3.provider.jackfield_stage_in(Transfer(url=url, path=tmp_path / "in"))


def test_other_schemes_are_left_to_other_plugins(tmp_path: Path) -> None:
    other = Transfer(url="gs://bucket/x", path=tmp_path / "in")

    assert s3.provider.jackfield_stage_in(other) is None
    assert s3.provider.jackfield_stage_out(other) is None
    assert s3.provider.jackfield_stat_file(other) is None
    assert s3.provider.jackfield_list_files(other) is None


# -- Refusals


def test_a_missing_object_is_not_found(seaweedfs: Endpoint, tmp_path: Path) -> None:
    with pytest.raises(RemoteNotFoundError, match="NoSuchKey"):
        stage_in(seaweedfs, seaweedfs.at("nothing"), tmp_path / "in")
    with pytest.raises(RemoteNotFoundError, match="404"):
        s3.provider.jackfield_stat_file(at(seaweedfs, seaweedfs.at("nothing")))

    assert not (tmp_path / "in").exists()


def test_row_70_a_missing_bucket_is_not_found(
    seaweedfs: Endpoint, tmp_path: Path
) -> None:
    (tmp_path / "out").write_bytes(BODY)

    with pytest.raises(RemoteNotFoundError, match="NoSuchBucket"):
        stage_in(seaweedfs, "s3://no-such-bucket/x", tmp_path / "in")
    with pytest.raises(RemoteNotFoundError, match="NoSuchBucket"):
        s3.provider.jackfield_list_files(at(seaweedfs, "s3://no-such-bucket/x/"))


@pytest.mark.parametrize("wrong", ["key", "secret"])
def test_row_70_a_wrong_key_or_secret_is_forbidden(
    wrong: str, seaweedfs: Endpoint, tmp_path: Path
) -> None:
    given = transfer(seaweedfs, seaweedfs.at("x"), tmp_path / "in")
    given.credentials = {**given.credentials, wrong: "someone-elses"}

    for hook in (s3.provider.jackfield_stage_in, s3.provider.jackfield_stat_file):
        with pytest.raises(RemoteForbiddenError) as caught:
            hook(given)
        assert "someone-elses" not in str(caught.value)
        assert not caught.value.transient


def test_row_70_a_reader_may_not_write(seaweedfs: Endpoint, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(BODY)

    with pytest.raises(RemoteForbiddenError, match="AccessDenied"):
        stage_out(
            seaweedfs,
            seaweedfs.at("readers"),
            tmp_path / "out",
            options=seaweedfs.readonly,
        )

    assert "readers" not in seaweedfs.names()


def test_without_credentials_the_error_says_so(
    server: HostileHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    given = transfer(server, "s3://bucket/x", tmp_path / "in")
    given.credentials = {}

    with pytest.raises(RemoteForbiddenError, match="credentials"):
        s3.provider.jackfield_stage_in(given)


def test_anonymous_requests_are_not_signed(
    server: HostileHTTPServer, tmp_path: Path
) -> None:
    stage_in(server, "s3://bucket/x", tmp_path / "in", options={"anonymous": True})

    assert "authorization" not in server.requests[0].headers
    assert (tmp_path / "in").read_bytes() == BODY


@pytest.mark.parametrize(
    "options",
    [{"anonymus": True}, {"part_size": 1000}, {"part_size": "64M"}],
    ids=["misspelt", "too-small", "text"],
)
def test_a_bad_option_is_named(options: dict[str, Any], tmp_path: Path) -> None:
    given = Transfer(url="s3://bucket/x", path=tmp_path / "in", options=options)

    with pytest.raises(ConfigurationError, match=next(iter(options))):
        s3.provider.jackfield_stage_in(given)


def test_a_file_of_certificates_that_is_missing_is_named(tmp_path: Path) -> None:
    options = {"endpoint_url": "https://127.0.0.1:1", "ca_file": "/none.pem"}
    asked = Remote(url="s3://bucket/x", options=options, credentials=LOGIN)

    with pytest.raises(ConfigurationError, match="ca_file names '/none"):
        s3.provider.jackfield_stat_file(asked)


def test_row_75_credentials_in_the_url_are_used_and_not_shown(
    server: HostileHTTPServer, tmp_path: Path
) -> None:
    given = transfer(server, "s3://AKID:s3cr%2Ft@bucket/nothing", tmp_path / "in")
    given.credentials = {}

    with pytest.raises(RemoteNotFoundError) as caught:
        s3.provider.jackfield_stage_in(given)

    assert "Credential=AKID/" in server.requests[0].headers["authorization"]
    assert "s3cr" not in str(caught.value)


# -- A store in trouble


@pytest.mark.parametrize(("status", "body"), [(503, SLOW_DOWN), (500, b""), (503, b"")])
def test_row_69_trouble_costs_one_request_for_each_attempt(
    status: int, body: bytes, server: HostileHTTPServer, tmp_path: Path
) -> None:
    server.fault("*", Status(status, retry_after=7, body=body))
    (tmp_path / "out").write_bytes(BODY)
    attempts: list[Callable[[], object]] = [
        lambda: stage_in(server, "s3://bucket/x", tmp_path / "in"),
        lambda: stage_out(server, "s3://bucket/x", tmp_path / "out"),
        lambda: s3.provider.jackfield_stat_file(at(server, "s3://bucket/x")),
        lambda: s3.provider.jackfield_list_files(at(server, "s3://bucket/x/")),
    ]

    for number, attempt in enumerate(attempts, 1):
        with pytest.raises(TransferError, match=str(status)) as caught:
            attempt()
        assert caught.value.transient
        assert caught.value.retry_after == 7
        assert server.count() == number


@pytest.mark.parametrize(
    "fault", [Truncate(at=5000), Reset(after=5000), Reset(after=None)]
)
def test_row_71_a_connection_that_is_cut_is_a_transient_error(
    fault: HTTPFault, server: HostileHTTPServer, tmp_path: Path
) -> None:
    server.fault("/bucket/x", fault)
    given = transfer(server, "s3://bucket/x", tmp_path / "in")

    with pytest.raises(TransferError) as caught:
        s3.provider.jackfield_stage_in(given)

    assert caught.value.transient
    there = (tmp_path / "in").read_bytes() if (tmp_path / "in").exists() else b""
    assert there == BODY[: len(there)]
    assert len(there) <= 5000


def test_row_71_the_rest_is_asked_for_by_its_version(
    server: HostileHTTPServer, tmp_path: Path
) -> None:
    server.fault("/bucket/x", Truncate(at=5000), times=1)
    first = transfer(server, "s3://bucket/x", tmp_path / "in")
    with pytest.raises(TransferError):
        s3.provider.jackfield_stage_in(first)

    second = transfer(
        server, "s3://bucket/x", tmp_path / "in", offset=5000, known=first.known
    )
    info = s3.provider.jackfield_stage_in(second)

    assert (tmp_path / "in").read_bytes() == BODY
    assert info is not None
    assert info.size == len(BODY)
    assert server.requests[-1].range == "bytes=5000-"
    assert server.requests[-1].headers["if-match"] == first.known.etag


def test_row_62_a_new_version_is_not_added_to_an_old_one(
    server: HostileHTTPServer, tmp_path: Path
) -> None:
    server.fault("/bucket/x", Truncate(at=5000), times=1)
    first = transfer(server, "s3://bucket/x", tmp_path / "in")
    with pytest.raises(TransferError):
        s3.provider.jackfield_stage_in(first)
    server.files["/bucket/x"] = BODY[::-1]

    second = transfer(
        server, "s3://bucket/x", tmp_path / "in", offset=5000, known=first.known
    )
    with pytest.raises(RemoteChangedError) as caught:
        s3.provider.jackfield_stage_in(second)

    assert caught.value.transient


def test_a_store_without_ranges_sends_the_whole_again(
    server: HostileHTTPServer, tmp_path: Path
) -> None:
    server.fault("/bucket/x", NoRanges())
    (tmp_path / "in").write_bytes(b"old")
    info = s3.provider.jackfield_stat_file(at(server, "s3://bucket/x"))
    assert info is not None

    stage_in(server, "s3://bucket/x", tmp_path / "in", offset=3, known=info)

    assert (tmp_path / "in").read_bytes() == BODY


@pytest.mark.parametrize("fault", [StallBeforeHeaders(), StallMidBody(after=5000)])
def test_a_silent_store_is_given_up_after_the_idle_timeout(
    fault: HTTPFault, server: HostileHTTPServer, tmp_path: Path
) -> None:
    server.fault("/bucket/x", fault)

    with pytest.raises(TransferError) as caught:
        stage_in(server, "s3://bucket/x", tmp_path / "in", timeouts=HURRIED)

    assert caught.value.transient


def test_a_store_that_is_not_there_is_a_transient_error(
    server: HostileHTTPServer, tmp_path: Path
) -> None:
    server.close()

    with pytest.raises(TransferError) as caught:
        stage_in(server, "s3://bucket/x", tmp_path / "in")
    with pytest.raises(TransferError) as looked:
        s3.provider.jackfield_stat_file(at(server, "s3://bucket/x"))

    assert caught.value.transient
    assert looked.value.transient


@pytest.mark.parametrize("fault", [StallBeforeHeaders(), StallMidBody(after=5000)])
def test_row_76_a_cancelled_transfer_ends_at_once_also_when_it_is_stalled(
    fault: HTTPFault, server: HostileHTTPServer, tmp_path: Path
) -> None:
    server.fault("/bucket/x", fault)
    given = transfer(server, "s3://bucket/x", tmp_path / "in")

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(s3.provider.jackfield_stage_in, given)
        assert server.stalled.wait(LIMIT_S)
        given.stop.stop()
        with pytest.raises(TransferCancelledError):
            future.result(LIMIT_S)


@dataclass(frozen=True)
class Elsewhere(HTTPFault):
    """The bucket is in another region than requests are signed for."""

    region: str

    def answer(self, normal: Callable[[], Answer], exchange: Exchange) -> Answer:
        if f"/{self.region}/s3/" in exchange.request.headers["authorization"]:
            return normal()
        code = b"<Error><Code>PermanentRedirect</Code></Error>"
        answer = Answer.of(301, code, "application/xml")
        answer.headers["x-amz-bucket-region"] = self.region
        return answer


def test_a_bucket_in_another_region_is_found(
    server: HostileHTTPServer, tmp_path: Path
) -> None:
    server.fault("*", Elsewhere("eu-north-1"))

    for _ in range(2):
        stage_in(server, "s3://bucket/x", tmp_path / "in")

    assert (tmp_path / "in").read_bytes() == BODY
    assert server.count("GET") == 3


# -- Uploads


def test_a_large_file_is_sent_in_parts(seaweedfs: Endpoint, tmp_path: Path) -> None:
    body = os.urandom(MIB) * 12
    (tmp_path / "out").write_bytes(body)
    given = transfer(
        seaweedfs, seaweedfs.at("large"), tmp_path / "out", {"part_size": 5 * MIB}
    )

    info = s3.provider.jackfield_stage_out(given)

    assert info is not None
    assert info.size == given.moved == len(body)
    assert cast("str", info.etag).endswith('-3"')
    assert seaweedfs.get("large") == body


def test_row_70_an_upload_that_fails_leaves_no_parts(
    seaweedfs: Endpoint, tmp_path: Path
) -> None:
    (tmp_path / "out").write_bytes(bytes(12 * MIB))
    given = transfer(
        seaweedfs, seaweedfs.at("cut"), tmp_path / "out", {"part_size": 5 * MIB}
    )

    class Shrinking(Transfer):
        def advance(self, moved: int) -> None:
            super().advance(moved)
            if self.moved > 5 * MIB:
                os.truncate(self.path, 6 * MIB)

    given.__class__ = Shrinking
    with pytest.raises(OSError, match="shorter"):
        s3.provider.jackfield_stage_out(given)

    assert unfinished(seaweedfs) == []
    assert "cut" not in seaweedfs.names()


def test_row_70_a_cancelled_upload_leaves_no_parts(
    seaweedfs: Endpoint, tmp_path: Path
) -> None:
    (tmp_path / "out").write_bytes(bytes(12 * MIB))
    given = transfer(
        seaweedfs, seaweedfs.at("given-up"), tmp_path / "out", {"part_size": 5 * MIB}
    )
    given.__class__ = StoppedAfter
    cast("StoppedAfter", given).limit = 6 * MIB

    with pytest.raises(TransferCancelledError):
        s3.provider.jackfield_stage_out(given)

    assert unfinished(seaweedfs) == []
    assert "given-up" not in seaweedfs.names()


def test_row_76_an_upload_that_was_cancelled_does_not_appear_later(
    server: HostileHTTPServer, tmp_path: Path
) -> None:
    (tmp_path / "out").write_bytes(BODY)
    given = transfer(server, "s3://bucket/new", tmp_path / "out")
    given.__class__ = StoppedAfter
    cast("StoppedAfter", given).limit = len(BODY) // 2

    with pytest.raises(TransferCancelledError):
        s3.provider.jackfield_stage_out(given)

    assert server.count("PUT") == 0
    assert "/bucket/new" not in server.files


def test_row_70_a_silent_upload_can_be_cancelled(
    server: HostileHTTPServer, tmp_path: Path
) -> None:
    server.fault("/bucket/new", StallBeforeHeaders())
    (tmp_path / "out").write_bytes(BODY)
    given = transfer(server, "s3://bucket/new", tmp_path / "out")

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(s3.provider.jackfield_stage_out, given)
        assert server.stalled.wait(LIMIT_S)
        given.stop.stop()
        with pytest.raises(TransferCancelledError):
            future.result(LIMIT_S)


@pytest.mark.parametrize("size", [1000, 12 * MIB], ids=["whole", "in-parts"])
def test_row_70_with_create_only_what_is_there_stays(
    size: int, seaweedfs: Endpoint, tmp_path: Path
) -> None:
    name = f"first-{size}"
    url = seaweedfs.at(name)
    (tmp_path / "out").write_bytes(bytes(size))
    options = {"create_only": True, "part_size": 5 * MIB}
    stage_out(seaweedfs, url, tmp_path / "out", options=options)
    (tmp_path / "out").write_bytes(b"x" * size)

    with pytest.raises(TransferError, match="create_only") as caught:
        stage_out(seaweedfs, url, tmp_path / "out", options=options)

    assert not caught.value.transient
    assert seaweedfs.get(name) == bytes(size)
    assert unfinished(seaweedfs) == []


def test_the_stores_wishes_for_an_output_are_sent(
    server: HostileHTTPServer, tmp_path: Path
) -> None:
    (tmp_path / "out").write_bytes(BODY)
    options = {
        "storage_class": "STANDARD_IA",
        "server_side_encryption": "AES256",
        "requester_pays": True,
    }

    stage_out(server, "s3://bucket/new", tmp_path / "out", options=options)

    headers = server.requests[0].headers
    assert headers["x-amz-storage-class"] == "STANDARD_IA"
    assert headers["x-amz-server-side-encryption"] == "AES256"
    assert headers["x-amz-request-payer"] == "requester"
    assert headers["x-amz-content-sha256"] == hashlib.sha256(BODY).hexdigest()


# -- Connections


def test_connections_are_used_again_and_closed_with_the_kernel(
    server: HostileHTTPServer, tmp_path: Path
) -> None:
    for number in range(5):
        stage_in(server, "s3://bucket/x", tmp_path / f"in{number}")
    assert server.accepted == 1

    close_idle()

    own = psutil.Process().net_connections()
    assert not [one for one in own if one.raddr and one.raddr.port == server.port]
    stage_in(server, "s3://bucket/x", tmp_path / "again")


def test_a_connection_that_the_store_has_closed_is_made_anew(
    server: HostileHTTPServer, tmp_path: Path
) -> None:
    stage_in(server, "s3://bucket/x", tmp_path / "in")
    server.fault("/bucket/x", Reset(after=None), times=1)

    stage_in(server, "s3://bucket/x", tmp_path / "in")

    assert (tmp_path / "in").read_bytes() == BODY


def test_many_threads_share_a_client(server: HostileHTTPServer, tmp_path: Path) -> None:
    start = threading.Barrier(8)

    def fetch(number: int) -> RemoteInfo:
        start.wait(LIMIT_S)
        return stage_in(server, "s3://bucket/x", tmp_path / f"in{number}")

    with ThreadPoolExecutor(8) as pool:
        infos = list(pool.map(fetch, range(8)))

    assert len(set(infos)) == 1
    assert all((tmp_path / f"in{number}").read_bytes() == BODY for number in range(8))


def test_a_local_error_stays_what_it_is(
    server: HostileHTTPServer, tmp_path: Path
) -> None:
    with pytest.raises(OSError, match="No such file") as caught:
        stage_in(server, "s3://bucket/x", tmp_path / "no" / "where")

    assert not isinstance(caught.value, TransferError)
