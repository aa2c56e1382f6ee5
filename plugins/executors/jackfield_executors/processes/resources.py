"""The machine's resources: cores, memory, and how often the memory has run out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

CGROUPS: Final = Path("/sys/fs/cgroup")


def available_cores() -> int:
    """Return how many cores this process may use, by its affinity and its cgroups."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        cores = os.cpu_count() or 1
    quota = cpu_quota(_own_cgroups())
    return max(1, cores if quota is None else min(cores, round(quota)))


def available_memory() -> int:
    """Return how many bytes there are, by the machine and its control groups."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for directory in _own_cgroups():
        limit = _read(directory / "memory.max").strip()
        if limit.isdigit():
            memory = min(memory, int(limit))
    return memory


def available() -> dict[str, float]:
    """Return what tasks of this machine share, as far as it can be found out."""
    return {"cores": float(available_cores()), "memory": float(available_memory())}


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
    """Return the directories of our cgroups and of their parents, of versions 1 and 2.

    A quota on a parent limits all that is below it.
    """
    text = _read(Path("/proc/self/cgroup"))
    found: list[Path] = []
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        for root in (CGROUPS, CGROUPS / controllers, CGROUPS / "cpu"):
            own = root / path.lstrip("/")
            found += [own, *(p for p in own.parents if p.is_relative_to(root))]
    return [one for one in dict.fromkeys(found) if one.is_dir()]


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
    """Tell whether ``memory_used`` can answer on this system."""
    return memory_used(os.getpid()) > 0


def memory_used(pid: int) -> int:
    """Return the bytes of real memory that a process holds; 0 if that is unknown."""
    fields = _read(Path(f"/proc/{pid}/statm")).split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") if len(fields) > 1 else 0


def memory_kills() -> int:
    """Return how many processes Linux has killed for lack of memory since it booted."""
    for line in _read(Path("/proc/vmstat")).splitlines():
        if line.startswith("oom_kill "):
            return int(line.split()[1])
    return 0
