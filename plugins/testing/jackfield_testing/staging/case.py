"""What all parts of the staging conformance kit share."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import pytest

import jackfield as jf
from jackfield.hookspecs import hookimpl
from jackfield_testing.footprint import WAIT_S, settled
from jackfield_testing.staging import tasks
from jackfield_testing.staging.site import NOTHING, StagingFaults, StagingSite

if TYPE_CHECKING:
    from concurrent.futures import Future

    from jackfield import AppFuture, DataFlowKernel, File, TransferEvent

AT_ONCE_S: Final = 30.0
"""Seconds that something may take which has nothing to wait for.

A busy machine may need them; what waits for the wrong thing takes ten times as long.
"""

BLOCK: Final = (1 << 20) + 1
"""Bytes of a file that does not come in one piece."""

QUICK: Final[Mapping[str, Any]] = {"backoff": 0.01, "max_delay": 0.05}
"""So that tests need not wait between two attempts."""

CREDENTIALS: Final = "kit"
"""The name under which a kernel of the kit finds its credentials."""

AWKWARD_NAMES: Final = (
    "with space.dat",
    "a%20b 100%.dat",
    "%41.dat",
    "a+b&c=d;e,f!g.dat",
    "what?.dat",
    "a#b.dat",
    "quo'te\"d.dat",
    "[0]{1}.dat",
    "grüße-日本語-😀.dat",
    "n" * 196 + ".dat",
    ".hidden",
    "-dash",
    "no suffix",
    "UPPER.DAT",
)


class Watcher:
    """Collects the events of transfers.

    Attributes:
        events: Those so far, in order for each transfer.
    """

    def __init__(self) -> None:
        self.events: list[TransferEvent] = []

    @hookimpl
    def jackfield_transfer_events(self, events: Sequence[TransferEvent]) -> None:
        """Note them."""
        self.events.extend(events)

    def stages(self, direction: str = "in") -> list[str]:
        """The stages so far, without those of progress."""
        return [
            event.stage
            for event in list(self.events)
            if event.direction == direction and event.stage != "progress"
        ]

    def until(self, stage: str, direction: str = "in", limit: float = WAIT_S) -> None:
        """Wait until a transfer has come to a stage."""
        assert settled(lambda: stage in self.stages(direction), limit), (
            f"transfers: {self.stages(direction)}, wanted: {stage} in {limit:g} s"
        )


class Keyring:
    """Knows the credentials."""

    def __init__(self, credentials: Mapping[str, str]) -> None:
        self.credentials: dict[str, str] = dict(credentials)

    @hookimpl
    def jackfield_credentials(self, name: str) -> Mapping[str, str] | None:
        """Give them."""
        return self.credentials if name == CREDENTIALS else None


class Run:
    """A kernel with the plugin under test.

    Attributes:
        kernel: The kernel.
        site: Where files are.
        watcher: What is told of transfers.
    """

    def __init__(
        self, kernel: DataFlowKernel, site: StagingSite, watcher: Watcher
    ) -> None:
        self.kernel: DataFlowKernel = kernel
        self.site: StagingSite = site
        self.watcher: Watcher = watcher

    def file(self, name: str, **declared: Any) -> File:
        """The file of a name."""
        return jf.File(self.site.url(name), **declared)

    def submit(
        self, function: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> AppFuture[Any]:
        """Submit a task."""
        return self.kernel.submit(function, *args, **kwargs)

    def read(self, name: str, **declared: Any) -> AppFuture[bytes]:
        """Submit a task that reads a file."""
        return self.submit(tasks.read, self.file(name, **declared))

    def write(self, name: str, size: int, seed: int = 0) -> AppFuture[int]:
        """Submit a task that makes a file."""
        return self.submit(tasks.write, size, seed, outputs=[self.file(name)])

    def left(self) -> list[Path]:
        """Return what staging has on the disk at the moment."""
        return sorted((self.kernel.run_dir / "files").glob("*"))


class StagingCase:
    """Where files are, and what tests cannot find out about the plugin under test."""

    stages_out: ClassVar[bool] = True
    """Whether outputs can be sent."""

    replaces_whole: ClassVar[bool] = True
    """Whether a file that is replaced stays as it was until the new one is there."""

    lists: ClassVar[bool] = True
    """Whether directories and patterns can be staged in."""

    verified: ClassVar[Literal["etag", "size", "none"]] = "etag"
    """What shows that a file is right if its user declares neither size nor digest."""

    notices_changes: ClassVar[bool] = True
    """Whether a file can be told from another of the same size and the same second."""

    resumes: ClassVar[bool] = True
    """Whether a transfer that was interrupted goes on where it was."""

    caches: ClassVar[bool] = True
    """Whether a file's version can be told without moving it, as the cache needs it."""

    checks_options: ClassVar[bool] = True
    """Whether an option that it does not have is refused."""

    login_in_url: ClassVar[bool] = False
    """Whether user and password may stand in the URL."""

    other_processes: ClassVar[bool] = True
    """Whether the plugin finds the same files in other processes."""

    names: ClassVar[Sequence[str]] = AWKWARD_NAMES
    """Awkward names. Leave out which your server cannot have."""

    large: ClassVar[int] = 64 << 20
    """Bytes of a large file."""

    cycles: ClassVar[int] = 30
    """Kernels started and ended in the long form of the leak test (``-m slow``)."""

    short_cycles: ClassVar[int] = 3
    """The same in its short form."""

    @pytest.fixture
    def site(self) -> Iterator[StagingSite]:
        """Give the place that files are moved from and to.

        Of any scope. Files that tests leave there are replaced by others.
        """
        raise NotImplementedError(
            f"{type(self).__name__} needs a fixture named 'site' that gives a "
            f"jackfield_testing.StagingSite"
        )

    # -- for the tests

    @contextmanager
    def running(
        self,
        site: StagingSite,
        directory: Path,
        *,
        credentials: Mapping[str, str] | None = None,
        options: Mapping[str, Any] = NOTHING,
        **config: Any,
    ) -> Iterator[Run]:
        """Give a kernel for one test alone.

        Args:
            site: Where files are.
            directory: Where it may work.
            credentials: Others than the right ones.
            options: More of ``[staging.SCHEME]``.
            config: More of the configuration.
        """
        watcher = Watcher()
        known = site.credentials if credentials is None else credentials
        table = {**QUICK, **site.options, **options}
        if known:
            table["credentials"] = CREDENTIALS
        config.setdefault("executors", {"threads": {"plugin": "threads", "workers": 2}})
        config.setdefault("exit_grace", 1.0)
        whole = jf.Config(
            run_dir=directory / "runs",
            plugins=(*site.plugins, Keyring(known), watcher),
            staging={site.scheme: table},
            **config,
        )
        with jf.load(whole) as kernel:
            yield Run(kernel, site, watcher)


def needs(wanted: bool, what: str) -> None:
    """Skip the test, with a reason, unless it applies to this provider."""
    if not wanted:
        pytest.skip(f"this provider {what}")


def faults_of(site: StagingSite) -> StagingFaults:
    """Return what makes the site fail; where nothing does, skip the test."""
    if site.faults is None:
        pytest.skip("nothing is given that makes this site fail (StagingSite.faults)")
    return site.faults


def difference(given: bytes | None, wanted: bytes) -> str | None:
    """Say in one line where bytes differ from those wanted; ``None`` if they do not."""
    if given == wanted:
        return None
    if given is None:
        return "there is no file"
    first, size = 0, 1 << (min(len(given), len(wanted)) or 1).bit_length()
    while size := size // 2:
        if given[first : first + size] == wanted[first : first + size]:
            first += size
    first = min(first, len(given), len(wanted))
    return f"{len(given)} bytes for {len(wanted)}, other ones from byte {first} on"


def failure(future: Future[Any], limit: float = WAIT_S) -> BaseException:
    """Wait for a task that has to fail, and return its error."""
    error = future.exception(limit)
    assert error is not None, "it succeeded"
    return error


def ended(began: float, limit: float) -> None:
    """Fail if more than ``limit`` seconds have passed since ``began``."""
    took = time.monotonic() - began
    assert took < limit, f"it took {took:.1f} s, longer than {limit:g} s"
