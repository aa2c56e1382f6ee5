"""Frames are cut out of whatever a socket brings."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from jackfield_executors.processes.wire import (
    LARGE,
    RECEIVE_SIZE,
    FrameReader,
    Kind,
    large_frame,
    send_all,
    small_frame,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jackfield_executors.processes.wire import Data, Frame

LIMIT_S = 20.0


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    here, there = socket.socketpair()
    for sock in (here, there):
        sock.settimeout(LIMIT_S)
    with here, there:
        yield here, there


def joined(pieces: list[Data]) -> bytes:
    return b"".join(pieces)


def content(frame: Frame) -> tuple[int, int, bytes, list[bytes]]:
    return (
        frame.kind,
        frame.number,
        bytes(frame.body),
        [bytes(b) for b in frame.buffers],
    )


def test_one_read_may_bring_thousands_of_frames_with_buffers(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    here, there = sockets
    frame = joined(large_frame(Kind.VALUE, [b"body"], [b"buffer"], 7))
    count = RECEIVE_SIZE // len(frame)
    assert count > 1_000  # Python's limit of recursion
    there.sendall(frame * count)
    reader = FrameReader(here)

    frames: list[Frame] = []
    while len(frames) < count:
        frames += reader.read()

    expected = (Kind.VALUE, 7, b"body", [b"buffer"])
    assert [content(one) for one in frames] == [expected] * count


@pytest.mark.parametrize("size", [1, 7, 24, 100, 1_000_000])
def test_frames_may_arrive_in_pieces_of_any_size(
    sockets: tuple[socket.socket, socket.socket], size: int
) -> None:
    here, there = sockets
    body = b"x" * (LARGE if size > 1 else 100)
    sent = b"".join(
        (
            small_frame(Kind.RESULTS, b"first", 1),
            joined(
                large_frame(Kind.VALUE, [b"a", b"b"], [b"", b"one", b"", b"two"], 2)
            ),
            joined(large_frame(Kind.VALUE, [], [b""], 3)),
            joined(large_frame(Kind.BYTES, [body], [], 4)),
            small_frame(Kind.READY),
        )
    )
    reader = FrameReader(here)

    frames: list[Frame] = []
    for start in range(0, len(sent), size):
        send_all(there, [sent[start : start + size]])
        here.setblocking(False)
        while True:
            try:
                frames += reader.read()
            except BlockingIOError:
                break

    assert [content(one) for one in frames] == [
        (Kind.RESULTS, 1, b"first", []),
        (Kind.VALUE, 2, b"ab", [b"", b"one", b"", b"two"]),
        (Kind.VALUE, 3, b"", [b""]),
        (Kind.BYTES, 4, body, []),
        (Kind.READY, 0, b"", []),
    ]
    there.close()
    with pytest.raises(EOFError):
        reader.read()
