"""What ``run.json`` has in it; the contract between who writes and who reads.

A file is one JSON object. Readers ignore names that they do not know, and take each
one for absent if it is missing or has another type: the file may have been written by
an older or a newer Jackfield, or by hand.
"""

from __future__ import annotations

from typing import Final, TypedDict

FILE_NAME: Final = "run.json"

FORMAT: Final = 1
"""Raised when a name changes its meaning; a new name needs no new number."""

BEAT_S: Final = 30.0
"""Seconds after which a run that goes on writes its file again."""


class Program(TypedDict, total=False):
    """What ran. All are facts of the driver, the process that loaded the kernel.

    Attributes:
        argv: The command line, without what looks like a secret.
        cwd: The directory in which the kernel was loaded.
        host: The machine's name.
        user: Who ran it, by name or number.
        pid: The driver's process.
        started: When that process started, in the clock ticks since the machine
            started that Linux counts; absent where the system does not tell. A pid is
            used again, a pid with its start is not.
        boot: What Linux calls this start of the machine.
        namespace: What Linux calls the pids that this process can see: those of the
            machine, or of a container. Only there its pid means it.
        python: Version of Python.
        executable: Its path.
        platform: The operating system.
    """

    argv: list[str]
    cwd: str
    host: str
    user: str
    pid: int
    started: int
    boot: str
    namespace: str
    python: str
    executable: str
    platform: str


class Code(TypedDict, total=False):
    """Which text of the script ran, if it lies in a Git repository.

    Attributes:
        root: The repository's top directory.
        commit: The commit that was checked out.
        dirty: Whether files that Git follows were changed since; absent if Git did not
            answer in time.
    """

    root: str
    commit: str
    dirty: bool


class Record(TypedDict, total=False):
    """One run.

    Attributes:
        format: ``FORMAT``.
        id: Tells this run from all others anywhere: 32 hexadecimal digits.
        state: ``"running"``; or, when the run has ended, ``"failed"`` if a task failed
            and ``"done"`` if none did.
        began: When the kernel was loaded, in seconds since the epoch.
        beat: When this file was written last.
        ended: When the run ended; absent while it runs, and if it was killed.
        elapsed: Seconds from load to end, or to the last beat, on a clock that does
            not jump.
        counts: State to number of tasks, without states that no task is in.
        failures: The first failures, a line each, without what looks like a secret.
        failed: How many tasks failed, without those that depended on them.
        executors: Labels of the executors.
        program: What ran, and where.
        code: Which text of it; not of runs that took no more than a moment.
        versions: Name to version: of distributions that bring plugins, Jackfield among
            them, and of packages that the driver has imported.
        settings: The configuration, key to value; secrets are asterisks.
    """

    format: int
    id: str
    state: str
    began: float
    beat: float
    ended: float
    elapsed: float
    counts: dict[str, int]
    failures: list[str]
    failed: int
    executors: list[str]
    program: Program
    code: Code
    versions: dict[str, str]
    settings: dict[str, object]
