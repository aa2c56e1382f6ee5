"""Stage-in and stat over HTTP, from servers that lie, break off and hang."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from jackfield import ConfigurationError, Remote, RemoteInfo, TransferError
from jackfield.errors import (
    RemoteChangedError,
    RemoteForbiddenError,
    RemoteNotFoundError,
    TransferCancelledError,
)
from jackfield.staging.remote import Timeouts
from jackfield_staging import _core_hooks, http
from jackfield_testing.footprint import settled
from jackfield_testing.servers import (
    Answer,
    BadRange,
    Bomb,
    ChangeAfter,
    ChangeBetween,
    Drip,
    Exchange,
    Garbage,
    Gzip,
    HostileHTTPServer,
    HTTPFault,
    HugeHeaders,
    LieLong,
    NoLength,
    NoRanges,
    Portal,
    Request,
    Reset,
    StallBeforeHeaders,
    StallMidBody,
    Status,
    Truncate,
    TruncateChunked,
    WeakETag,
)
from jackfield_transfers.transfer import Transfer

CONTENT = bytes(range(256)) * 1200
HALF = len(CONTENT) // 2
OTHER = CONTENT[::-1]
BIG = CONTENT * 16
LIMIT_S = 60.0
PATIENT = Timeouts(connect=10 * LIMIT_S, idle=10 * LIMIT_S)
"""So that what ends a stalled transfer is not a timeout."""


@pytest.fixture
def server() -> Iterator[HostileHTTPServer]:
    with HostileHTTPServer({"/x.dat": CONTENT, "/big.dat": BIG, "/empty": b""}) as made:
        yield made
    http.provider.jackfield_kernel_closing()


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "part"


def fetch(url: str, path: Path, **more: Any) -> RemoteInfo:
    more.setdefault("timeouts", PATIENT)
    info = http.provider.jackfield_stage_in(Transfer(url=url, path=path, **more))
    assert info is not None
    return info


def look(url: str, **more: Any) -> RemoteInfo:
    info = http.provider.jackfield_stat_file(Remote(url=url, **more))
    assert info is not None
    return info


def last_get(server: HostileHTTPServer) -> Request:
    return [one for one in server.requests if one.method == "GET"][-1]


def broken_off(server: HostileHTTPServer, path: Path) -> Transfer:
    """Make a first attempt fail in its middle, and the transfer that follows it."""
    first = Transfer(url=server.url("/x.dat"), path=path)
    server.fault("/x.dat", Truncate(at=HALF), times=1)
    with pytest.raises(TransferError):
        http.provider.jackfield_stage_in(first)
    offset = path.stat().st_size
    assert 0 < offset <= HALF
    return Transfer(url=first.url, path=path, offset=offset, known=first.known)


# -- What goes well


@pytest.mark.parametrize("name", ["/x.dat", "/big.dat", "/empty"])
def test_a_file_arrives_whole_with_what_is_known_of_it(
    server: HostileHTTPServer, part: Path, name: str
) -> None:
    info = fetch(server.url(name), part)

    assert part.read_bytes() == server.files[name]
    assert info.size == len(server.files[name])
    assert info.etag is not None
    assert info.modified is not None


@pytest.mark.parametrize("name", ["/x.dat", "/big.dat", "/empty"])
def test_a_file_is_asked_for_and_looked_at_again(
    server: HostileHTTPServer, part: Path, name: str
) -> None:
    info = fetch(server.url(name), part)

    assert info.settled
    assert [one.method for one in server.requests] == ["GET", "HEAD"]


def test_connections_are_kept(server: HostileHTTPServer, part: Path) -> None:
    for _ in range(5):
        fetch(server.url("/x.dat"), part)

    assert server.accepted == 1


def test_stat_tells_what_stage_in_tells(server: HostileHTTPServer, part: Path) -> None:
    url = server.url("/x.dat")

    assert fetch(url, part).differs(look(url)) is None
    assert look(url).size == len(CONTENT)


@pytest.mark.parametrize("code", [403, 405, 501])
def test_stat_asks_for_a_byte_where_head_is_refused(
    server: HostileHTTPServer, code: int
) -> None:
    server.fault("/x.dat", Status(code), methods=["HEAD"])

    assert look(server.url("/x.dat")).size == len(CONTENT)
    assert server.requests[-1].range == "bytes=0-0"


def test_stat_of_an_empty_file_works_without_head(server: HostileHTTPServer) -> None:
    server.fault("/empty", Status(405), methods=["HEAD"])

    assert look(server.url("/empty")).size == 0


def test_other_schemes_are_left_to_other_plugins(part: Path) -> None:
    transfer = Transfer(url="ftp://127.0.0.1/x", path=part)

    assert http.provider.jackfield_stage_in(transfer) is None
    assert http.provider.jackfield_stage_out(transfer) is None
    assert http.provider.jackfield_stat_file(transfer) is None
    assert http.provider.jackfield_list_files(transfer) is None


def test_a_signed_query_is_sent_as_it_is_written(
    server: HostileHTTPServer, part: Path
) -> None:
    fetch(server.url("/x.dat") + "?sig=a%2Fb%3D+c&X=%7e", part)

    assert server.requests[0].target == "/x.dat?sig=a%2Fb%3D+c&X=%7e"


def test_a_name_with_spaces_and_accents_is_quoted(
    server: HostileHTTPServer, part: Path
) -> None:
    server.files["/a%20%C3%A9"] = CONTENT

    fetch(server.url("/a é"), part)

    assert part.read_bytes() == CONTENT


def test_many_threads_may_fetch_at_once(
    server: HostileHTTPServer, tmp_path: Path
) -> None:
    def one(number: int) -> None:
        fetch(server.url("/big.dat"), tmp_path / str(number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(24)))

    assert {path.read_bytes() == BIG for path in tmp_path.iterdir()} == {True}


def test_an_etag_that_is_the_md5_settles_the_matter(
    server: HostileHTTPServer, part: Path
) -> None:
    class Digest(HTTPFault):
        def answer(self, normal: Any, exchange: Exchange) -> Answer:
            answer: Answer = normal()
            digest = hashlib.md5(answer.body, usedforsecurity=False).hexdigest()
            answer.headers["ETag"] = f'"{digest}"'
            return answer

    server.fault("/x.dat", Digest())

    assert fetch(server.url("/x.dat"), part).settled
    assert server.count("HEAD") == 0


# -- Row 56 to 59: bodies that end early, late or never


@pytest.mark.parametrize(
    "fault",
    [Truncate(HALF), TruncateChunked(HALF), Reset(HALF), Reset(0), LieLong(5)],
    ids=repr,
)
def test_row_56_a_body_that_breaks_off_is_a_transient_error(
    server: HostileHTTPServer, part: Path, fault: HTTPFault
) -> None:
    server.fault("/x.dat", fault)

    with pytest.raises(TransferError) as caught:
        fetch(server.url("/x.dat"), part)

    assert caught.value.transient


def test_row_56_a_reset_before_the_headers_is_a_transient_error(
    server: HostileHTTPServer, part: Path
) -> None:
    server.fault("/x.dat", Reset(None))

    with pytest.raises(TransferError) as caught:
        fetch(server.url("/x.dat"), part)

    assert caught.value.transient
    assert not part.exists()


def test_row_57_a_body_without_length_has_no_known_size(
    server: HostileHTTPServer, part: Path
) -> None:
    server.fault("/x.dat", NoLength())

    assert fetch(server.url("/x.dat"), part).size is None
    assert part.read_bytes() == CONTENT


def test_row_58_a_length_that_is_too_great_is_a_transient_error(
    server: HostileHTTPServer, part: Path
) -> None:
    server.fault("/big.dat", LieLong(1))

    with pytest.raises(TransferError, match="ended before it was complete") as caught:
        fetch(server.url("/big.dat"), part)

    assert caught.value.transient


@pytest.mark.parametrize("fault", [StallBeforeHeaders(), StallMidBody(HALF)], ids=repr)
def test_row_59_a_stall_ends_after_the_idle_timeout(
    server: HostileHTTPServer, part: Path, fault: HTTPFault
) -> None:
    server.fault("/x.dat", fault)

    with pytest.raises(TransferError, match=r"nothing came for 0\.3 s") as caught:
        fetch(server.url("/x.dat"), part, timeouts=Timeouts(idle=0.3))

    assert caught.value.transient


def test_row_59_what_came_before_a_stall_is_kept(
    server: HostileHTTPServer, part: Path
) -> None:
    server.fault("/x.dat", StallMidBody(HALF))

    with pytest.raises(TransferError):
        fetch(server.url("/x.dat"), part, timeouts=Timeouts(idle=2.0))

    assert part.read_bytes() == CONTENT[:HALF]


def test_row_59_a_slow_body_is_progress(server: HostileHTTPServer, part: Path) -> None:
    server.files["/slow"] = b"0123456789"
    server.fault("/slow", Drip(block=1, pause=0.35))
    transfer = Transfer(url=server.url("/slow"), path=part, timeouts=Timeouts(idle=3.0))
    seen: list[int] = []
    advance = transfer.advance

    def counting(moved: int) -> None:
        seen.append(moved)
        advance(moved)

    transfer.advance = counting  # type: ignore[method-assign]  # to see it happen
    http.provider.jackfield_stage_in(transfer)

    assert part.read_bytes() == b"0123456789"
    assert len(seen) > 2


# -- Row 60: statuses


@pytest.mark.parametrize(
    ("code", "kind", "transient"),
    [
        (404, RemoteNotFoundError, False),
        (410, RemoteNotFoundError, False),
        (401, RemoteForbiddenError, False),
        (403, RemoteForbiddenError, False),
        (400, TransferError, False),
        (408, TransferError, True),
        (423, TransferError, True),
        (425, TransferError, True),
        (429, TransferError, True),
        (500, TransferError, True),
        (501, TransferError, False),
        (503, TransferError, True),
        (204, TransferError, False),
        (206, TransferError, False),
    ],
)
def test_row_60_a_status_is_an_error_of_its_kind(
    server: HostileHTTPServer,
    part: Path,
    code: int,
    kind: type[TransferError],
    transient: bool,
) -> None:
    server.fault("/x.dat", Status(code))
    transfer = Transfer(url=server.url("/x.dat"), path=part)

    with pytest.raises(TransferError, match=f"answered {code}") as caught:
        http.provider.jackfield_stage_in(transfer)

    assert type(caught.value) is kind
    assert caught.value.transient is transient
    assert not part.exists()


def test_row_60_stat_knows_missing_from_forbidden(server: HostileHTTPServer) -> None:
    server.fault("/x.dat", Status(403))

    with pytest.raises(RemoteForbiddenError):
        look(server.url("/x.dat"))
    with pytest.raises(RemoteNotFoundError):
        look(server.url("/nothing"))


@pytest.mark.parametrize("code", [429, 503])
def test_row_60_retry_after_is_told_in_seconds(
    server: HostileHTTPServer, part: Path, code: int
) -> None:
    server.fault("/x.dat", Status(code, retry_after=7))

    with pytest.raises(TransferError) as caught:
        fetch(server.url("/x.dat"), part)

    assert caught.value.retry_after == 7.0


def test_row_60_retry_after_may_be_a_date(
    server: HostileHTTPServer, part: Path
) -> None:
    date = formatdate(time.time() + 100, usegmt=True)
    server.fault("/x.dat", Status(503, retry_after=date))

    with pytest.raises(TransferError) as caught:
        fetch(server.url("/x.dat"), part)

    assert caught.value.retry_after == pytest.approx(100, abs=10)


@pytest.mark.parametrize("fault", [Garbage(), HugeHeaders()], ids=["garbage", "huge"])
def test_what_is_not_http_is_a_permanent_error(
    server: HostileHTTPServer, part: Path, fault: HTTPFault
) -> None:
    server.fault("/x.dat", fault)

    with pytest.raises(TransferError, match="not HTTP") as caught:
        fetch(server.url("/x.dat"), part)

    assert not caught.value.transient


def test_a_refused_connection_is_a_transient_error(part: Path) -> None:
    with HostileHTTPServer() as server:
        url = server.url("/x.dat")

    with pytest.raises(TransferError, match="no connection") as caught:
        fetch(url, part)

    assert caught.value.transient


def test_an_unknown_host_is_a_transient_error(part: Path) -> None:
    with pytest.raises(TransferError, match="host is not known") as caught:
        fetch("http://no-such-host.invalid/x", part)

    assert caught.value.transient


@pytest.mark.parametrize(
    "url", ["http:///x", "http://h:99999/x", "http://[::1/x", "http://u:s3cret@/x"]
)
def test_a_url_that_cannot_be_is_a_permanent_error(part: Path, url: str) -> None:
    with pytest.raises(TransferError, match="no URL that can be asked") as caught:
        fetch(url, part)

    assert not caught.value.transient
    assert "s3cret" not in str(caught.value)


# -- Row 62: another version; and going on where another attempt left off


@pytest.mark.parametrize("name", ["/x.dat", "/big.dat", "/small"])
@pytest.mark.parametrize("fault", [ChangeAfter, ChangeBetween])
def test_row_62_a_change_meanwhile_is_seen(
    server: HostileHTTPServer, part: Path, name: str, fault: type[HTTPFault]
) -> None:
    server.files["/small"] = b"0123456789"
    other = server.files[name][::-1]
    made = ChangeAfter(5, other) if fault is ChangeAfter else ChangeBetween(other)
    server.fault(name, made, times=1)

    with pytest.raises(RemoteChangedError) as caught:
        fetch(server.url(name), part)

    assert caught.value.transient
    fetch(server.url(name), part)
    assert part.read_bytes() == other


@pytest.mark.parametrize("name", ["/x.dat", "/big.dat"])
def test_row_62_a_file_that_cannot_be_looked_at_again_is_known_by_its_size(
    server: HostileHTTPServer, part: Path, name: str
) -> None:
    server.fault(name, HTTPFault(), times=1, methods=["GET"])
    server.fault(name, Status(410))

    info = fetch(server.url(name), part)

    assert part.read_bytes() == server.files[name]
    assert info == RemoteInfo(size=len(server.files[name]), settled=True)


@pytest.mark.parametrize(
    "fault",
    [Status(400), Status(403), Status(404), Status(500), Status(503), Reset(None)],
    ids=repr,
)
def test_row_62_a_head_that_fails_in_any_way_is_asked_for_by_get(
    server: HostileHTTPServer, part: Path, fault: HTTPFault
) -> None:
    server.fault("/x.dat", fault, methods=["HEAD"])

    assert look(server.url("/x.dat")).size == len(CONTENT)
    assert fetch(server.url("/x.dat"), part).settled


def test_a_server_whose_head_lies_is_asked_otherwise(
    server: HostileHTTPServer, part: Path
) -> None:
    server.fault("/x.dat", LieLong(7), methods=["HEAD"])

    assert fetch(server.url("/x.dat"), part).settled


def test_what_the_second_look_does_not_confirm_is_not_settled(
    server: HostileHTTPServer, part: Path
) -> None:
    class Silent(HTTPFault):
        def answer(self, normal: Any, exchange: Exchange) -> Answer:
            answer: Answer = normal()
            del answer.headers["ETag"]
            return answer

    server.fault("/x.dat", Silent(), methods=["HEAD"])

    assert not fetch(server.url("/x.dat"), part).settled


def test_a_second_attempt_asks_for_the_rest_of_that_version(
    server: HostileHTTPServer, part: Path
) -> None:
    again = broken_off(server, part)

    info = http.provider.jackfield_stage_in(again)

    assert part.read_bytes() == CONTENT
    assert info is not None
    assert info.size == len(CONTENT)
    assert last_get(server).range == f"bytes={again.offset}-"
    assert last_get(server).headers["if-range"] == info.etag


def test_a_second_attempt_gets_all_of_another_version(
    server: HostileHTTPServer, part: Path
) -> None:
    again = broken_off(server, part)
    server.files["/x.dat"] = OTHER

    info = http.provider.jackfield_stage_in(again)

    assert part.read_bytes() == OTHER
    assert info is not None
    assert info.differs(look(again.url)) is None


def test_a_part_of_another_version_is_refused(
    server: HostileHTTPServer, part: Path
) -> None:
    again = broken_off(server, part)
    server.files["/x.dat"] = OTHER
    server.fault("/x.dat", BadRange("if-range"))

    with pytest.raises(RemoteChangedError):
        http.provider.jackfield_stage_in(again)

    assert part.read_bytes() == CONTENT[: again.offset]


@pytest.mark.parametrize(
    "fault", [BadRange("ignored"), BadRange("elsewhere"), NoRanges()], ids=repr
)
def test_a_server_without_honest_ranges_sends_all_again(
    server: HostileHTTPServer, part: Path, fault: HTTPFault
) -> None:
    again = broken_off(server, part)
    server.fault("/x.dat", fault)

    http.provider.jackfield_stage_in(again)

    assert part.read_bytes() == CONTENT


def test_a_range_beyond_the_end_is_asked_for_again_from_the_beginning(
    server: HostileHTTPServer, part: Path
) -> None:
    again = broken_off(server, part)
    server.fault("/x.dat", Status(416), times=1)

    http.provider.jackfield_stage_in(again)

    assert part.read_bytes() == CONTENT
    assert last_get(server).range is None


def test_a_weak_etag_is_never_resumed_from(
    server: HostileHTTPServer, part: Path
) -> None:
    server.fault("/x.dat", WeakETag())
    again = broken_off(server, part)

    http.provider.jackfield_stage_in(again)

    assert part.read_bytes() == CONTENT
    assert last_get(server).range is None


# -- Row 63 and 64: bodies that are not the file


def test_row_63_no_encoding_is_asked_for(server: HostileHTTPServer, part: Path) -> None:
    fetch(server.url("/x.dat"), part)

    assert server.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("fault", [Gzip(), Bomb(1 << 22)], ids=["gzip", "bomb"])
def test_row_63_an_encoded_body_is_refused(
    server: HostileHTTPServer, part: Path, fault: HTTPFault
) -> None:
    server.fault("/x.dat", fault)

    with pytest.raises(TransferError, match="accept_encoded") as caught:
        fetch(server.url("/x.dat"), part)

    assert not caught.value.transient
    assert not part.exists()


def test_row_63_an_encoded_body_is_taken_as_it_is_on_demand(
    server: HostileHTTPServer, part: Path
) -> None:
    server.fault("/x.dat", Gzip())

    info = fetch(server.url("/x.dat"), part, options={"accept_encoded": True})

    assert part.read_bytes()[:2] == b"\x1f\x8b"
    assert info.size is None


def test_row_64_a_page_in_the_place_of_data_is_warned_of(
    server: HostileHTTPServer, part: Path
) -> None:
    server.fault("/x.dat", Portal())
    told: list[str] = []

    fetch(server.url("/x.dat") + "?token=s3cret", part, warn=told.append)

    [text] = told
    assert "page of HTML" in text
    assert "s3cret" not in text


# -- Row 75: secrets


@pytest.mark.parametrize(
    "fault", [Status(404), Status(500), Garbage(), Reset(None), LieLong()], ids=repr
)
def test_row_75_no_error_shows_a_secret(
    server: HostileHTTPServer, part: Path, fault: HTTPFault
) -> None:
    server.fault("/x.dat", fault)
    url = server.url("/x.dat?sig=s3cret").replace("//", "//me:pa55word@")

    with pytest.raises(TransferError) as caught:
        fetch(url, part)

    error: BaseException | None = caught.value
    while error is not None:
        shown = f"{error} {error!r}"
        assert "s3cret" not in shown
        assert "pa55word" not in shown
        error = error.__cause__


@pytest.mark.parametrize(
    ("userinfo", "credentials", "expected"),
    [
        ("", {"token": "t0ken"}, "Bearer t0ken"),
        ("", {"user": "a", "password": "ü"}, "Basic YTrDvA=="),
        ("a:p%40x@", {}, "Basic YTpwQHg="),
        ("a:p%40x@", {"token": "t0ken"}, "Bearer t0ken"),
    ],
    ids=["token", "password", "url", "token-before-url"],
)
def test_credentials_are_sent(
    part: Path, userinfo: str, credentials: dict[str, str], expected: str
) -> None:
    with HostileHTTPServer(
        {"/x": b"1"}, authorization=expected, protected=["GET", "HEAD"]
    ) as server:
        url = server.url("/x").replace("//", f"//{userinfo}")

        fetch(url, part, credentials=credentials)
        look(url, credentials=credentials)

    assert part.read_bytes() == b"1"


def test_wrong_credentials_are_forbidden(part: Path) -> None:
    with (
        HostileHTTPServer(
            {"/x": b"1"}, authorization="Bearer right", protected=["GET"]
        ) as server,
        pytest.raises(RemoteForbiddenError),
    ):
        fetch(server.url("/x"), part, credentials={"token": "wrong"})


def test_netrc_is_asked_only_on_demand(
    server: HostileHTTPServer,
    part: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login a password p@x\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))

    fetch(server.url("/x.dat"), part)
    fetch(server.url("/x.dat"), part, options={"netrc": True})

    sent = [one.headers.get("authorization") for one in server.requests]
    assert sent == [None, None, "Basic YTpwQHg=", "Basic YTpwQHg="]


def test_a_proxy_is_used_only_on_demand(
    server: HostileHTTPServer, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url(""))
    monkeypatch.delenv("no_proxy", raising=False)
    elsewhere = "http://no-such-host.invalid/x.dat"

    with pytest.raises(TransferError, match="host is not known"):
        fetch(elsewhere, part)
    with pytest.raises(RemoteNotFoundError):
        fetch(elsewhere, part, options={"trust_env": True})

    assert server.requests[-1].target == elsewhere


# -- Row 76: the end of a transfer


@pytest.mark.parametrize("fault", [StallBeforeHeaders(), StallMidBody(HALF)], ids=repr)
def test_row_76_a_cancelled_transfer_ends_at_once_and_writes_no_more(
    server: HostileHTTPServer, part: Path, fault: HTTPFault
) -> None:
    server.fault("/x.dat", fault)
    transfer = Transfer(url=server.url("/x.dat"), path=part, timeouts=PATIENT)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(http.provider.jackfield_stage_in, transfer)
        assert server.stalled.wait(LIMIT_S)
        transfer.stop.stop()
        with pytest.raises(TransferCancelledError):
            running.result(LIMIT_S)
    left = part.stat().st_size if part.exists() else 0

    server.release.set()
    look(server.url("/x.dat"))

    assert (part.stat().st_size if part.exists() else 0) == left


def test_a_transfer_that_was_cancelled_before_asks_for_nothing(
    server: HostileHTTPServer, part: Path
) -> None:
    transfer = Transfer(url=server.url("/x.dat"), path=part)
    transfer.stop.stop()

    with pytest.raises(TransferCancelledError):
        http.provider.jackfield_stage_in(transfer)

    assert not part.exists()


def test_a_transfer_that_is_broken_off_can_be_tried_again(
    server: HostileHTTPServer, part: Path
) -> None:
    server.fault("/x.dat", StallMidBody(HALF), times=1)
    transfer = Transfer(url=server.url("/x.dat"), path=part)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(http.provider.jackfield_stage_in, transfer)
        assert server.stalled.wait(LIMIT_S)
        transfer.stop.interrupt()
        with pytest.raises(TransferError, match="nothing moved") as caught:
            running.result(LIMIT_S)
    assert caught.value.transient

    fetch(server.url("/x.dat"), part)

    assert part.read_bytes() == CONTENT


def test_an_error_of_the_local_disk_passes_through(
    server: HostileHTTPServer, tmp_path: Path
) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        fetch(server.url("/big.dat"), tmp_path / "nowhere" / "part")

    assert not isinstance(caught.value, TransferError)


# -- Options and ends


@pytest.mark.parametrize(
    "options",
    [
        {"header": {}},
        {"headers": ["a"]},
        {"headers": {"A": "b\r\nC: d"}},
        {"headers": {"range": "bytes=0-1"}},
        {"client_key": "x"},
        {"max_redirects": "3"},
    ],
    ids=["unknown", "no-table", "newline", "reserved", "key-alone", "text"],
)
def test_bad_options_are_named(part: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        fetch("http://127.0.0.1:1/x", part, options=options)


def test_configured_headers_are_sent(server: HostileHTTPServer, part: Path) -> None:
    fetch(server.url("/x.dat"), part, options={"headers": {"X-Key": "k"}})

    assert server.requests[0].headers["x-key"] == "k"


def test_credentials_go_before_a_configured_authorization(
    server: HostileHTTPServer, part: Path
) -> None:
    options = {"headers": {"authorization": "Custom x"}}

    fetch(server.url("/x.dat"), part, options=options)
    fetch(server.url("/x.dat"), part, options=options, credentials={"token": "t0ken"})

    sent = [one.headers["authorization"] for one in server.requests]
    assert sent == ["Custom x"] * 2 + ["Bearer t0ken"] * 2


def test_closing_a_kernel_leaves_no_connection(
    server: HostileHTTPServer, part: Path
) -> None:
    fetch(server.url("/x.dat"), part)

    http.provider.jackfield_kernel_closing()

    assert _core_hooks._pool.kept == []


def test_closing_a_kernel_leaves_running_transfers_alone(
    server: HostileHTTPServer, part: Path
) -> None:
    server.fault("/x.dat", StallMidBody(HALF))
    transfer = Transfer(url=server.url("/x.dat"), path=part)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(http.provider.jackfield_stage_in, transfer)
        assert server.stalled.wait(LIMIT_S)
        http.provider.jackfield_kernel_closing()
        server.release.set()
        running.result(LIMIT_S)

    assert part.read_bytes() == CONTENT


def test_errors_leave_no_thread_behind(server: HostileHTTPServer, part: Path) -> None:
    fetch(server.url("/x.dat"), part)
    before = threading.active_count()
    server.fault("/x.dat", Status(500))

    for _ in range(20):
        with pytest.raises(TransferError):
            fetch(server.url("/x.dat"), part)

    assert settled(lambda: threading.active_count() <= before, LIMIT_S)
