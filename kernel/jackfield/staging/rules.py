"""The limits that the configuration sets for transfers: retries, timeouts, sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from jackfield.staging.names import HOSTS
from jackfield.staging.remote import Timeouts


@dataclass(frozen=True, slots=True)
class Rules:
    """How the files of one scheme and host are moved.

    The keys may stand in ``[transfers]``, in ``[staging.SCHEME]`` and in
    ``[staging.SCHEME.hosts."HOST"]``; a later one of these overrides the earlier.

    Attributes:
        attempts: How often a transfer is tried whose failures are transient.
        backoff: Seconds that the first wait between two attempts takes at most; it
            doubles with each further wait. The wait itself is drawn at random between 0
            and that ("full jitter", Brooker, "Exponential Backoff and Jitter", 2015).
        max_delay: Seconds that no wait exceeds, unless the server asks for more.
        deadline: Seconds after which no new attempt begins, or 0 for no limit.
        connect_timeout: Seconds for a connection.
        idle_timeout: Seconds without a byte after which an attempt has failed.
        connections: How many files are moved to or from one host at a time.
        max_bytes: The largest file that is staged in, or 0 for no limit.
        sync: Whether a file must be on the disk, and not only in the machine's memory,
            before it gets its final name.
        in_task: Whether the task itself moves its files, on any executor.
        credentials: The name of the user's credentials there, or ``""`` for none.
    """

    attempts: int = 5
    backoff: float = 0.5
    max_delay: float = 30.0
    deadline: float = 0.0
    connect_timeout: float = 10.0
    idle_timeout: float = 60.0
    connections: int = 8
    max_bytes: int = 0
    sync: bool = True
    in_task: bool = False
    credentials: str = ""

    @property
    def timeouts(self) -> Timeouts:
        """The two timeouts, as a provider gets them."""
        return Timeouts(self.connect_timeout, self.idle_timeout)


RULE_TYPES: Final[Mapping[str, type]] = {
    one.name: type(one.default) for one in fields(Rules)
}
"""The name of each rule, with its type."""


def rules_and_options(
    transfers: Mapping[str, Any], scheme: Mapping[str, Any], host: str
) -> tuple[Rules, dict[str, Any]]:
    """Return the rules for a host, and the rest, which is the provider's options.

    Args:
        transfers: The table ``[transfers]``, checked.
        scheme: The table ``[staging.SCHEME]``, checked.
        host: Host and port, without user and password.
    """
    below = {name: value for name, value in scheme.items() if name != HOSTS}
    special = scheme.get(HOSTS, {}).get(host, {})
    merged = {**below, **special}
    rules = {**transfers, **merged}
    return (
        Rules(**{name: rules[name] for name in RULE_TYPES if name in rules}),
        {name: value for name, value in merged.items() if name not in RULE_TYPES},
    )
