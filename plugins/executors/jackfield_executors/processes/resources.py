"""What this machine gives us: cores, memory, and traces of the out-of-memory killer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

CGROUPS: Final = Path("/sys/fs/cgroup")


def available_cores() -> int:
    """How many cores this process may use: affinity and cgroup quota respected."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        cores = os.cpu_count() or 1
    quota = cpu_quota(_own_cgroups())
    return max(1, cores if quota is None else min(cores, round(quota)))


def cpu_quota(directories: Iterable[Path]) -> float | None:
    """Return the smallest CPU quota of some control groups, in cores."""
    quotas = [
        quota
        for directory in directories
        for quota in (_quota_v2(directory), _quota_v1(directory))
        if quota is not None
    ]
    return min(quotas, default=None)


def _own_cgroups() -> list[Path]:
    """Directories of our cgroups and of those around them; v1 and v2 alike."""
    text = _read(Path("/proc/self/cgroup"))
    found: list[Path] = []
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        for root in (CGROUPS, CGROUPS / controllers, CGROUPS / "cpu"):
            own = root / path.lstrip("/")
            found += [own, *(p for p in own.parents if p.is_relative_to(root))]
    return list(dict.fromkeys(found))


def _quota_v2(directory: Path) -> float | None:
    fields = _read(directory / "cpu.max").split()
    if len(fields) != 2 or fields[0] == "max":
        return None
    return int(fields[0]) / int(fields[1])


def _quota_v1(directory: Path) -> float | None:
    quota = _read(directory / "cpu.cfs_quota_us").strip()
    period = _read(directory / "cpu.cfs_period_us").strip()
    if not quota or not period or int(quota) <= 0:
        return None
    return int(quota) / int(period)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def measures_memory() -> bool:
    """Whether ``memory_used`` can answer on this system."""
    return memory_used(os.getpid()) > 0


def memory_used(pid: int) -> int:
    """Bytes of real memory that a process holds; 0 where that is unknown."""
    fields = _read(Path(f"/proc/{pid}/statm")).split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if len(fields) > 1 else 0


def memory_kills() -> int:
    """How many processes the kernel has killed for want of memory since it booted."""
    for line in _read(Path("/proc/vmstat")).splitlines():
        if line.startswith("oom_kill "):
            return int(line.split()[1])
    return 0
