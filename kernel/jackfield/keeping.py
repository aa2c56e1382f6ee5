"""The contract of what keeps results of cached calls for later runs.

The kernel lets equal calls of one run share an execution. What was found out in
earlier runs, and is to be found again in later ones, is the business of a
``ResultKeeper``, which a plugin makes (``jackfield_create_keeper``): which stores there
are, when they are written, and what of them may be believed.
"""

from __future__ import annotations

import pickle
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from jackfield.errors import CheckpointError, printable

if TYPE_CHECKING:
    from jackfield.abc import CheckpointStore
    from jackfield.futures import MemoStatus
    from jackfield.memo_keys import Manifest

SHOWN: Final = 20
"""Reasons that ``str`` of an ``Explanation`` shows."""

IdentifyCode: TypeAlias = Callable[[Any], bytes]
"""Gives the identity of a class or a function: see ``KeyMaker.function``."""

Done: TypeAlias = Callable[[CheckpointError | None], None]
"""Called when a task may end: well, or because its result could not be stored."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a keeper gets of its kernel.

    Attributes:
        directory: Where runs have their directories: the place of a store that nobody
            has configured.
        started: When the kernel was made, in seconds since the epoch.
        open_store: Opens the store of a URL with options of its own, by the plugin of
            the URL's scheme.
        gathering: Entered while ``done`` of several tasks is called.
        warn: Tells the user and the log of the run, with a level of ``logging``.
        stop_run: Called with a reason: no further task is taken.
    """

    directory: Path
    started: float
    open_store: Callable[[str, Mapping[str, Any]], CheckpointStore]
    gathering: Callable[[], AbstractContextManager[object]]
    warn: Callable[[str, int], None]
    stop_run: Callable[[str], None]


class Stored(NamedTuple):
    """A result of an earlier run.

    Attributes:
        value: The result.
        data: The same, as ``pack`` made it.
    """

    value: Any
    data: bytes | memoryview


class CachedCall(NamedTuple):
    """A call whose hit or miss is to be explained.

    Attributes:
        app: Name of the app's function.
        task: Number of the task, or ``None`` for a call of an earlier run.
        key: Its memo key.
        manifest: What the key was made of.
        looked_up: When it was looked up, in seconds since the epoch.
        hit: Whether it was a hit.
    """

    app: str
    task: int | None
    key: bytes
    manifest: Manifest
    looked_up: float
    hit: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a call was a hit or a miss. ``str`` of it is for people.

    Attributes:
        app: Name of the app's function.
        task: Number of the task, or ``None`` for a call of an earlier run.
        status: As in ``MemoInfo``.
        key: Memo key in hexadecimal, or ``None``.
        reasons: What differs from the nearest stored call, or what else is to be
            said, one sentence each.
        nearest: Key of the stored call that was compared with, or ``None``.
        stored: When that call, or of a hit the result, was stored, in seconds since
            the epoch; or ``None``.
        store: URL of the store that has it, or ``None``.
        note: What was left out of the search, or ``""``.
    """

    app: str
    task: int | None
    status: MemoStatus
    key: str | None
    reasons: tuple[str, ...]
    nearest: str | None = None
    stored: float | None = None
    store: str | None = None
    note: str = ""

    def __str__(self) -> str:
        """Return some lines that end without a line break."""
        title = self.app if self.task is None else f"{self.app} (task {self.task})"
        key = "" if self.key is None else f", key {self.key}"
        lines = [f"{title}: {self.status}{key}"]
        if self.nearest is not None and self.stored is not None:
            when = shown_time(self.stored)
            lines.append(f"nearest stored call: {self.nearest}, {when}, {self.store}")
        lines += [f"  {reason}" for reason in self.reasons[:SHOWN]]
        if len(self.reasons) > SHOWN:
            lines.append(f"  and {len(self.reasons) - SHOWN} more")
        told = [*lines, self.note] if self.note else lines
        return printable("\n".join(told), keep="\n")


def shown_time(seconds: float) -> str:
    """Return a time in the local zone, to the second."""
    try:
        return time.strftime("%F %T", time.localtime(seconds))
    except (OverflowError, OSError, ValueError):
        return f"{seconds:g}"


class ResultKeeper(ABC):
    """Keeps results of cached calls. All methods may be called on any thread.

    Made with the kernel if a store is configured, so that a mistake shows at once; else
    for the first cached call.
    """

    @property
    @abstractmethod
    def writes(self) -> bool:
        """Whether results are stored at all."""

    @property
    @abstractmethod
    def promise(self) -> str:
        """A sentence on the results of this run in later ones; ``""`` if none are."""

    def pack(self, value: Any, identify: IdentifyCode) -> bytes:
        """Return a result as bytes, so that each who gets it has a copy of its own.

        By default it is pickled, with all code by name.

        Args:
            value: The result.
            identify: Gives what tells code of the script that the result refers to from
                other code.

        Raises:
            Exception: It cannot be copied, or is used up by reading it.
        """
        del identify
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)

    def unpack(self, data: bytes | memoryview, identify: IdentifyCode) -> Any:
        """Undo ``pack``; runs code of the result's classes.

        Raises:
            Exception: Code that it refers to is not the same now, or whatever that
                code raises.
        """
        del identify
        return pickle.loads(data)

    @abstractmethod
    def load(
        self, app: str, key: bytes, identify: IdentifyCode, missing: str = ""
    ) -> Stored | str:
        """Look a result up. Never raises: what goes wrong is a miss, and warned of.

        Args:
            app: Name of the app, for messages.
            key: The memo key.
            identify: Tells whether code of the script that a result refers to is what
                it was.
            missing: Why a result would be of no use although it is stored; ``""``: it
                is of use.

        Returns:
            What is stored; or why what is stored is not used, ``""`` if nothing is.
        """

    @abstractmethod
    def save(
        self, app: str, key: bytes, value: bytes, manifest: Manifest, done: Done
    ) -> None:
        """Store a pickled result, and call ``done`` when the task may end.

        Never raises. ``done`` gets ``None``; or an error if the result is not stored
        and the configuration wants the task to fail then. It is called on this thread,
        or on one of the keeper.
        """

    @abstractmethod
    def not_stored(self, app: str, error: BaseException) -> None:
        """Tell, once for each app, that a result cannot be stored."""

    @abstractmethod
    def flush(self) -> None:
        """Write what is to be written, and wait for it.

        Raises:
            CheckpointError: It is not written; or results are kept in memory only.
        """

    @abstractmethod
    def explain(self, call: CachedCall) -> Explanation:
        """Tell why a call was a hit or a miss. May be called after ``close``.

        Raises:
            CheckpointError: What is stored cannot be read.
        """

    @abstractmethod
    def close(self) -> None:
        """Write the rest, and close the stores. A second call does nothing."""
