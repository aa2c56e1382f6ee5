"""Retries: which failures are tried again, how often, and after which delay."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from jackfield import clock
from jackfield.errors import TransferCancelledError, TransferError
from jackfield.staging.mover import Progress

if TYPE_CHECKING:
    from jackfield.staging.remote import Stop
    from jackfield_transfers.host_site import OnProgress
    from jackfield_transfers.rules import Rules

T = TypeVar("T")

_LONGEST_ASKED_S: Final = 600.0
"""The longest ``Retry-After`` that is obeyed; if a server asks for more, we give up."""


def is_transient(error: BaseException) -> bool:
    """Tell whether the same transfer may succeed a moment later."""
    if isinstance(error, TransferError):
        return error.transient
    return isinstance(error, ConnectionError | TimeoutError | EOFError)


def call_with_retries(
    attempt: Callable[[int], T], rules: Rules, stop: Stop, on_progress: OnProgress
) -> T:
    """Call ``attempt(number)`` until it returns, or until another try is not worth it.

    ``attempt`` is called with 1, 2, ..., as often and after such delays as ``rules``
    say; ``on_progress`` after each failed attempt that is not the last. ``stop`` ends a
    wait.

    Raises:
        TransferCancelledError: The transfer was stopped.
        Exception: What the last attempt raised.
    """
    began = clock.monotonic()
    number = 1
    while True:
        try:
            return attempt(number)
        except Exception as error:
            delay = _delay(error, number, rules, clock.monotonic() - began)
            if delay is None or stop.event.is_set():
                if number > 1 and not isinstance(error, TransferCancelledError):
                    error.add_note(f"This was attempt {number}.")
                raise
            on_progress(Progress("retrying", number, error=error, delay=delay))
            stop.event.wait(delay)
            if stop.event.is_set():
                raise
        number += 1


def _delay(error: Exception, number: int, rules: Rules, elapsed: float) -> float | None:
    """Return the seconds to wait after an attempt, of which ``number`` counts from 1.

    ``None`` for no other attempt. ``elapsed`` is since the first one began.
    """
    if number >= rules.attempts or not is_transient(error):
        return None
    most = min(rules.max_delay, rules.backoff * 2.0 ** (number - 1))
    # "Full jitter": Brooker, "Exponential Backoff and Jitter", 2015.
    delay = random.uniform(0.0, most)  # noqa: S311  (to spread load, not to hide)
    asked = error.retry_after if isinstance(error, TransferError) else None
    if asked is not None:
        if asked > _LONGEST_ASKED_S:
            return None
        delay = asked + min(delay, 1.0)
    if rules.deadline and elapsed + delay > rules.deadline:
        return None
    return delay
