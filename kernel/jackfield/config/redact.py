"""Showing configured values without the secrets among them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from jackfield.files import redact as redact_url

HIDDEN: Final = "***"

_SHOWN: Final = frozenset(
    (
        *("plugin", "workers", "max_tasks_per_worker", "max_memory_per_worker"),
        *("memory_limit_per_worker", "threads_per_worker", "nice", "max_shared"),
        *("initializer",),
        *("store", "mode", "period", "read", "trust", "key_file", "files", "sync"),
        *("on_failure", "busy_timeout", "journal", "attempts", "backoff", "max_delay"),
        *("deadline", "connect_timeout", "idle_timeout", "connections", "max_bytes"),
        *("credentials", "threads", "schemes", "cache", "cache_quota", "roots"),
        *("credentials_file", "max_redirects", "ca_file", "client_cert", "client_key"),
        *("endpoint_url", "region", "max_megabytes", "give_up", "memory_executor"),
        *("address", "endpoint", "port", "cluster", "jobs", "least", "most", "init"),
        *("patience", "carry", "ship", "bundle", "ahead", "cores", "memory", "queue"),
        *("walltime", "n_workers", "processes"),
    )
)
"""Options whose values are shown. Nobody can list the names of all secrets."""

_CONNECTS: Final = re.compile(r"[=;@]")
"""What connection strings have; no path or name that we know needs it."""


def redacted(key: tuple[str, ...], value: object) -> object:
    """Return a value to be shown: asterisks, unless it is known to be no secret.

    Yes and no are never secrets, the kernel's own options are not, and of plugins the
    options are not that are listed here. In URLs, who asks and the query are secrets.
    """
    if isinstance(value, Mapping):
        return {name: redacted((*key, str(name)), one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(key, one) for one in value] if _is_shown(key) else HIDDEN
    if value is None or isinstance(value, bool):
        return value
    if not isinstance(value, str | int | float | Path):
        return f"<{type(value).__name__}>"  # its ``repr`` may show anything
    if not _is_shown(key):
        return HIDDEN
    text = str(value)
    if "://" in text:
        return re.sub(r"://[^/@]*@", f"://{HIDDEN}@", redact_url(text))
    return HIDDEN if _CONNECTS.search(text) and len(key) > 1 else value


def _is_shown(key: tuple[str, ...]) -> bool:
    """Tell whether an option may be shown.

    Its name is listed, and it stands where options of plugins stand. Users' own names,
    as in a table ``env`` among the options, may be listed ones by chance only.
    """
    match key:
        case (_,):
            return True
        case (("checkpoint" | "transfers"), name):
            return name in _SHOWN
        case (("executors" | "monitors" | "staging" | "use_plugins"), _, name):
            return name in _SHOWN
        case ("staging", _, "hosts", _, name):
            return name in _SHOWN
        case ("executors", _, "cluster_options", name):
            return name in _SHOWN
    return False
