"""Races of the loop with the thread that passes on output, made certain."""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Any

from jackfield_executors.processes.output import Output

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


class Queue(deque[Any]):
    """Calls back when somebody has just found it empty."""

    when_empty: Callable[[], None] | None = None

    def __len__(self) -> int:
        found = super().__len__()
        call, self.when_empty = self.when_empty, None
        if call is not None:
            call()
        return found


def test_a_worker_may_start_and_end_while_the_new_ones_are_taken_in(
    capfd: pytest.CaptureFixture[str],
) -> None:
    output = Output("cpu")
    output._new = Queue()

    def start_and_end() -> None:
        out, err, pipes = output.open()
        os.write(out, b"last words\n")
        os.close(out)
        os.close(err)
        output.end(pipes)

    output._new.when_empty = start_and_end
    output._wake()
    while output._new.when_empty is not None:
        output._thread.join(0.01)
        assert output._thread.is_alive()

    output.close()

    assert "last words\n" in capfd.readouterr().out
