"""Tells the makers of a site's tools how it is used, if the site wants that.

Nothing is sent unless the configuration names an address. What is sent is written into
the run's directory first, and ``jackfield usage`` shows it, byte for byte.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import sys
import threading
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from jackfield import ConfigurationError, hookimpl
from jackfield.files import redact
from jackfield.version import installed_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from jackfield import DataFlowKernel, TaskState

JACKFIELD_API = ">=1,<2"

FILE_NAME: Final = "usage.json"

LIMIT_S: Final = 3.0
"""Seconds that sending may take; the end of a run waits no longer for it."""

_KINDS: Final = frozenset({"adapter", "dask", "processes", "threads"})
"""Executors that are told by name; the name of another may be that of a site."""

_NO: Final = frozenset({"", "0", "false", "no", "off"})

log: Final = logging.getLogger("jackfield.usage")
log.setLevel(logging.INFO)  # that something was sent is to be in the run's log


class Usage:
    """At the end of a run, sends how many tasks there were, and on what they ran.

    Args:
        url: Where to; empty: the file is written, and nothing is sent.

    Raises:
        ConfigurationError: It is no URL of http or https.
    """

    def __init__(self, *, url: str = "") -> None:
        parts = urlsplit(url) if isinstance(url, str) else None
        good = parts is not None and parts.scheme in {"http", "https"}
        if url != "" and not (good and parts is not None and parts.hostname):
            raise ConfigurationError(
                "plugins.usage.url must be an address of http or https, or '' to send "
                "nothing."
            )
        self._url: str = url

    @hookimpl
    def jackfield_kernel_closing(self, kernel: DataFlowKernel) -> None:
        """Write what is to be sent, then send it.

        Raises:
            OSError: It cannot be written, and so is not sent; the kernel logs it.
        """
        if refused(os.environ):
            return
        summary = kernel.summary()
        kinds = kinds_of(kernel.settings())
        body = payload(summary.counts, kinds, summary.elapsed)
        _write(kernel.run_dir / FILE_NAME, body)
        if self._url:
            thread = threading.Thread(
                target=_send, args=(self._url, body), name="jackfield-usage",
                daemon=True,
            )  # fmt: skip
            thread.start()
            thread.join(LIMIT_S)


def refused(environ: Mapping[str, str]) -> bool:
    """Tell whether the environment forbids it, whatever the configuration says."""
    if environ.get("DO_NOT_TRACK", "").lower() not in _NO:
        return True
    return environ.get("JACKFIELD_USAGE", "on").lower() in _NO


def payload(
    counts: Mapping[TaskState, int], executors: Iterable[str], seconds: float
) -> bytes:
    """Return all that is sent: no names, paths, hosts or users are in it."""
    told = {
        "jackfield": installed_version(),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "platform": f"{sys.platform}-{platform.machine()}",
        "executors": sorted(executors),
        "tasks": {state.value: number for state, number in counts.items() if number},
        "seconds": round(seconds, 1),
    }
    return json.dumps(told, indent=1).encode() + b"\n"


def kinds_of(settings: Mapping[str, object]) -> set[str]:
    """Return the kinds of executors in a configuration, which says nothing of labels.

    Its keys are as files write them: ``executors.cpu.plugin``. An executor that is an
    object of the program has a key without options.
    """
    ours = {key: one for key, one in settings.items() if key.startswith("executors.")}
    objects = {"other" for key in ours if key.count(".") == 1}
    kinds = {str(one) for key, one in ours.items() if key.endswith(".plugin")}
    return objects | {kind if kind in _KINDS else "other" for kind in kinds}


def _write(path: Path, body: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        file.write(body)


def _send(url: str, body: bytes) -> None:
    """Send it once; that this may fail is nobody's concern."""
    from urllib.request import HTTPRedirectHandler, Request, build_opener

    class Stay(HTTPRedirectHandler):
        """Goes nowhere but to the address that the site has named."""

        def redirect_request(self, *args: Any, **kwargs: Any) -> None:
            """Follow none."""

    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"jackfield/{installed_version()}",
    }
    try:
        request = Request(url, body, headers, method="POST")  # noqa: S310  (checked)
        with build_opener(Stay).open(request, timeout=LIMIT_S):
            pass
    except Exception as error:
        log.debug("Usage was not sent: %r", error)
    else:
        log.info("Usage was sent to %s: %s", redact(url), body.decode())
