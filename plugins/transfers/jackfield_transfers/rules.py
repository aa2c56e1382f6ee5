"""The limits that the configuration sets for transfers: retries, timeouts, sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from jackfield.config.transfers import HOSTS
from jackfield.staging.remote import Timeouts


@dataclass(frozen=True, slots=True)
class Rules:
    """How the files of one scheme and host are moved.

    docs/staging.md explains the keys. They may stand in ``[transfers]``, in
    ``[staging.SCHEME]`` and in ``[staging.SCHEME.hosts."HOST"]``; a later one of these
    overrides the earlier. Of ``deadline`` and ``max_bytes``, 0 means no limit.
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

    ``transfers`` and ``scheme`` are the tables ``[transfers]`` and
    ``[staging.SCHEME]``, checked; the host may have a port, but no user.
    """
    merged = {**scheme, **scheme.get(HOSTS, {}).get(host, {})}
    merged.pop(HOSTS, None)
    rules = {**transfers, **merged}
    return (
        Rules(**{name: rules[name] for name in RULE_TYPES if name in rules}),
        {name: value for name, value in merged.items() if name not in RULE_TYPES},
    )
