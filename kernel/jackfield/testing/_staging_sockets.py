"""Who is connected to a server; from ``/proc``, and taken as nobody elsewhere."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

ESTABLISHED = "01"


def connections_to(url: str) -> int:
    """Count the connections to a URL's port that this machine's clients hold open."""
    port = urlsplit(url).port
    if port is None:
        return 0
    return sum(
        remote.endswith(f":{port:04X}") and state == ESTABLISHED
        for remote, state in _connections()
    )


def _connections() -> list[tuple[str, str]]:
    lines = []
    for name in ("tcp", "tcp6"):
        try:
            lines += (Path("/proc/net") / name).read_text().splitlines()[1:]
        except OSError:
            continue
    fields = [line.split() for line in lines]
    return [(one[2], one[3]) for one in fields]
