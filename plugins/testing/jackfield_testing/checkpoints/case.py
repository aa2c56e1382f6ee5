"""What all parts of the checkpoint conformance kit share."""

from __future__ import annotations

import inspect
import json
import shutil
import subprocess
import sys
import warnings
from abc import ABC, abstractmethod
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Final

import pytest

from jackfield.errors import CheckpointError, CheckpointWarning
from jackfield_testing.checkpoints.child import key_of, record_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from jackfield.abc import CheckpointStore

CHILD_LIMIT_S: Final = 120.0
"""Seconds that a job in another process may take, in the short form."""

LONG_LIMIT_S: Final = 3600.0


class CheckpointStoreCase(ABC):
    """How to make the store under test, and what tests cannot find out about it."""

    local_damage: ClassVar[bool] = True
    """Whether a damaged byte costs one record at most. Where it is false, it may cost
    more, or the whole store, which then says so; it may never give a wrong value."""

    private_files: ClassVar[bool] = True
    """Whether the store is made of files, which nobody else may read or write, and
    refuses those that somebody else could have written."""

    gives_space_back: ClassVar[bool] = True
    """Whether the files are smaller soon after most records were deleted."""

    readers_touch_files: ClassVar[bool] = False
    """Whether files of the store change though it was opened ``read_only``: a lock,
    a note of who reads. Its records never do."""

    kills: ClassVar[int] = 300
    """Processes killed in the long form of that test (``-m slow``)."""

    short_kills: ClassVar[int] = 12
    """Processes killed in its short form."""

    flips: ClassVar[int] = 20_000
    """Bits flipped in the long form of that test (``-m slow``)."""

    short_flips: ClassVar[int] = 60
    """Bits flipped in its short form."""

    million: ClassVar[int] = 1_000_000
    """Records in the test of a large store (``-m slow``)."""

    @abstractmethod
    def make_store(self, directory: Path, **options: Any) -> CheckpointStore:
        """Open the store under test; for the same directory, the same store.

        Called in other processes too, which run the subclass's file: it must do
        without fixtures, and the class must stand at the top level of its module.

        Args:
            directory: Exists, and is otherwise empty: for the store's files.
            options: As in a ``[checkpoint]`` table: ``read_only``, ``sync``.
        """

    def make_newer(self, directory: Path) -> None:
        """Make a closed store look as if a later version had written it."""
        del directory
        pytest.skip("it is not said how a newer format of this store looks")

    # -- for the tests

    @contextmanager
    def opened(self, directory: Path, **options: Any) -> Iterator[CheckpointStore]:
        """Open the store and close it."""
        store = self.make_store(directory, **options)
        try:
            yield store
        finally:
            store.close()

    def fill(self, directory: Path, numbers: Sequence[int], extra: int = 0) -> None:
        """Put numbered records, and close the store."""
        with self.opened(directory) as store:
            store.put_many([record_of(n, extra) for n in numbers])

    def survivors(
        self, directory: Path, numbers: Sequence[int], extra: int = 0
    ) -> tuple[set[int], str]:
        """Find out which records a damaged store still gives; fail if one is wrong.

        Returns:
            Their numbers, and what was told: warnings, or the error of a store that
            cannot be opened.
        """
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                found = self._look(directory, numbers, extra)
            except CheckpointError as error:
                return set(), str(error)
        others = [str(w.message) for w in caught if w.category is not CheckpointWarning]
        assert not others
        return found, " ".join(str(one.message) for one in caught)

    def _look(self, directory: Path, numbers: Sequence[int], extra: int) -> set[int]:
        with self.opened(directory) as store:
            found = set()
            for number in numbers:
                record = store.get(key_of(number))
                assert record in (None, record_of(number, extra)), "a wrong record"
                if record is not None:
                    found.add(number)
            assert len(list(store.scan())) <= len(list(store.keys()))
            return found

    def files(self, directory: Path) -> list[Path]:
        """The store's files."""
        return sorted(path for path in directory.rglob("*") if path.is_file())

    # -- other processes

    def start(
        self, directory: Path, job: str, prefix: Sequence[str] = (), **arguments: Any
    ) -> subprocess.Popen[str]:
        """Start another process that does one of the jobs of ``child``."""
        kind = type(self)
        return subprocess.Popen(
            [
                *prefix,
                *(sys.executable, "-m", "jackfield_testing.checkpoints.child"),
                *(inspect.getfile(kind), kind.__qualname__, str(directory), job),
                json.dumps(arguments),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def answer(
        self, process: subprocess.Popen[str], limit: float = CHILD_LIMIT_S
    ) -> dict[str, Any]:
        """Wait for a job that ends well, and return what it says."""
        with process:
            try:
                out, errors = process.communicate(timeout=limit)
            except BaseException:
                process.kill()
                raise
        assert process.returncode == 0, errors
        answer: dict[str, Any] = json.loads(out.splitlines()[-1])
        return answer

    def child(self, directory: Path, job: str, **arguments: Any) -> dict[str, Any]:
        """Let another process do a job, and return what it says."""
        return self.answer(self.start(directory, job, **arguments))


def needs(wanted: bool, what: str) -> None:
    """Skip the test, with a reason, unless it applies to this store."""
    if not wanted:
        pytest.skip(f"this store {what}")


@cache
def namespace() -> tuple[str, ...]:
    """Return a command that runs its arguments in a mount namespace of their own.

    What they mount is seen by them alone, and gone when they end. Skips the test where
    that is not allowed.
    """
    for options in ("-m", "-Urm"):
        command = (shutil.which("unshare") or "unshare", options)
        probe = "mount -t tmpfs -o size=64k tmpfs /tmp"
        try:
            done = subprocess.run(
                [*command, "sh", "-c", probe],
                capture_output=True,
                timeout=10,
                check=False,
            )
        except OSError:
            break
        if done.returncode == 0:
            return command
    pytest.skip("nothing can be mounted here (unshare)")


def mounted(command: str) -> tuple[str, ...]:
    """Return a prefix for a command, which runs a shell command before it.

    Args:
        command: Mounts something, for the prefixed command alone.
    """
    return (*namespace(), "sh", "-c", f'{command} && exec "$@"', "sh")
