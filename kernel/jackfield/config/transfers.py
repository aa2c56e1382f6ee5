"""Checks of ``[transfers]`` and ``[staging]``: how files are moved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from jackfield.config.primitives import (
    Check,
    Key,
    Wrong,
    flag,
    integer,
    names,
    number,
    refuse,
    table,
    tables,
)
from jackfield.errors import suggest
from jackfield.files import NO_NAME

HOSTS: Final = "hosts"
"""Key of the table of hosts in the table of a scheme: ``[staging.http.hosts."h"]``."""

_UNITS: Final = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_SIZE: Final = r"(?i)(\d{1,18}(?:\.\d+)?)\s*([kmgt]?)b?"
_SCHEME: Final = r"[a-z][a-z0-9+.-]*"


def transfers_table(key: Key, value: Any) -> object:
    """Check ``[transfers]``."""
    given = table(key, value)
    for name in given:
        if name not in _TRANSFERS:
            hint = suggest(name, _TRANSFERS)
            raise Wrong((*key, name), f"is no option{hint}")
    return {name: _TRANSFERS[name]((*key, name), one) for name, one in given.items()}


def staging_tables(key: Key, value: Any) -> object:
    """Check what every ``[staging.SCHEME]`` may have; keep what is the plugin's."""
    kept = {}
    for scheme, options in tables(key, value).items():
        here = (*key, scheme)
        if not re.fullmatch(_SCHEME, scheme):
            refuse(here, "a URL scheme in lower case", scheme)
        hosts = tables((*here, HOSTS), options.get(HOSTS, {}))
        kept[scheme] = _rules(here, options)
        if hosts:
            kept[scheme][HOSTS] = {
                host: _rules((*here, HOSTS, host), one) for host, one in hosts.items()
            }
    return kept


def _rules(key: Key, options: Mapping[str, Any]) -> dict[str, Any]:
    kept = dict(options)
    for name in RULES.keys() & kept.keys():
        kept[name] = RULES[name]((*key, name), kept[name])
    return kept


def _text(key: Key, value: Any) -> object:
    if not isinstance(value, str) or NO_NAME.search(value):
        refuse(key, "text without a NUL", value)
    return value


def _size(key: Key, value: Any) -> object:
    """Return a number of bytes, which may be written as ``"20 GB"``."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = re.fullmatch(_SIZE, value.strip()) if isinstance(value, str) else None
    if match is None:
        refuse(key, "a number of bytes, such as 1000000 or '20 GB'", value)
    return int(float(match[1]) * _UNITS[match[2].lower()])


def _float(least: float) -> Check:
    check = number(least)  # as good as no limit is less than what sockets can take
    return lambda key, value: min(float(check(key, value)), 1e9)  # type: ignore[arg-type]  # checked


RULES: Final[Mapping[str, Check]] = {
    "attempts": integer(1),
    "backoff": _float(0),
    "max_delay": _float(0),
    "deadline": _float(0),
    "connect_timeout": _float(0.001),
    "idle_timeout": _float(0.001),
    "connections": integer(1),
    "max_bytes": _size,
    "sync": flag,
    "in_task": flag,
    "credentials": _text,
}
"""What may be set for all files, for a scheme and for a host; see docs/staging.md."""

_TRANSFERS: Final[Mapping[str, Check]] = {
    **RULES,
    "threads": integer(1),
    "schemes": names(),
    "cache": _text,
    "cache_quota": _size,
    "credentials_file": _text,
}
