"""What goes between a driver and its agents beside calls: files, modules, and texts.

One object for each executor. To read a call's files, and to write what it has made,
takes time, so it is done on threads of their own: neither the kernel's thread that
submits waits for that, nor the one that hears an agent, which would take the driver for
dead if it were not asked for too long.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jackfield.errors import ConfigurationError
from jackfield_executors.checking import DISKS
from jackfield_executors.processes import output
from jackfield_executors.remote import places
from jackfield_executors.remote.agent import LOGGED
from jackfield_executors.remote.carrying import (
    Limit,
    pack,
)
from jackfield_executors.remote.shipping import Shipment
from jackfield_executors.remote.stays import Call
from jackfield_executors.shares import parse_size
from jackfield_serialize import dump_call
from jackfield_system.local_names import safe_name
from jackfield_system.own_files import open_no_link

if TYPE_CHECKING:
    from jackfield.abc import Work
    from jackfield_executors.remote.places import Home
    from jackfield_executors.remote.post import Post
    from jackfield_executors.remote.shipping import Code

log: logging.Logger = logging.getLogger("jackfield.executors.remote")

THREADS: Final = 4


class Travel:
    """Packs and unpacks for the agents of one executor. May be used on any thread.

    Args:
        label: The executor's label.
        options: The values of ``DISKS``.
    """

    def __init__(self, label: str, options: Mapping[str, Any]) -> None:
        given = {name: one.default for name, one in DISKS.items()} | {**options}
        self.shared: bool | None = given["shared_filesystem"]
        size = parse_size(given["carry"])
        if size is None:
            raise ConfigurationError(f"Executor {label!r}: 'carry' must be a size.")
        self._limit = Limit(size, str(given["carry"]), label)
        self._named: Sequence[str] | None = given["ship"]
        self._label = label
        self._lock = threading.Lock()
        self._shipment: Shipment | None = None
        self._home: Home | None = None
        self._hands = ThreadPoolExecutor(THREADS, f"jackfield-{label}-travel")
        self._writing = threading.Lock()  # held to write a log
        self._thread = threading.local()  # of our threads, ``own`` is set

    def open(self, run_dir: Path) -> Home:
        """Look where the driver is, and what is to be shipped.

        Raises:
            ConfigurationError: ``ship`` names what is not there.
        """
        self._logs = run_dir / self._label
        self._shipment = Shipment(self._label, self._named)
        self._home = places.home_of(run_dir, shared=self.shared)
        return self._home

    def close(self) -> None:
        """Remove the token file, and end the threads when they have nothing to do."""
        if self._home is not None:
            places.forget(self._home)
        self._hands.shutdown(wait=False)

    def later(self, action: Callable[..., None], *args: Any) -> None:
        """Have something done on another thread; after ``close``, nothing is."""
        with contextlib.suppress(RuntimeError):
            self._hands.submit(self._guarded, action, *args)

    def _guarded(self, action: Callable[..., None], *args: Any) -> None:
        self._thread.own = True
        try:
            action(*args)
        except Exception:
            log.exception("Executor %r: an action has failed", self._label)

    def is_here(self) -> bool:
        """Tell whether this thread is one of those."""
        return getattr(self._thread, "own", False)

    # -- there

    def code(self, post: Post) -> Code | None:
        """Return the modules to send to an agent, if it has none, or others."""
        if self._shipment is None or (post.sees and self._named is None):
            return None
        with self._lock:
            code = self._shipment.code()
        if code[0] == post.code:
            return None
        post.code = code[0]
        return code

    def pack(
        self, post: Post, token: int, work: Work
    ) -> tuple[bytes, bytes, Sequence[int]]:
        """Return a call and its files, as an agent gets them.

        The numbers are those of the agent's kept results that the call names.

        Raises:
            Exception: An argument cannot be pickled, or a file cannot be sent.
        """
        if post.sees and not work.kept:
            args, kwargs = work.args, work.kwargs
            return dump_call(work.name, work.function, args, kwargs), b"", ()
        with Call(post) as going:
            return *self._pack(post, token, work), going.takes

    def _pack(self, post: Post, token: int, work: Work) -> tuple[bytes, bytes]:
        if post.sees:
            return dump_call(work.name, work.function, work.args, work.kwargs), b""
        packed = pack(work, self._limit)
        call, parcel = packed.call, packed.parcel
        if parcel:
            packed.call = packed.parcel = b""  # they are large, and not needed any more
            post.packed[token] = packed
        return call, parcel

    # -- and back

    def show(self, worker: str, texts: Sequence[tuple[str, Any]]) -> None:
        """Show what tasks have printed and logged, and keep it in the run directory."""
        kept = []
        for stream, data in texts:
            if stream == LOGGED:
                output.handle(data)
                record = logging.makeLogRecord(pickle.loads(data))
                kept.append(
                    f"{record.levelname} {record.name}: {record.getMessage()}\n"
                )
            else:
                output.write("stderr" if stream == "stderr" else "stdout", str(data))
                kept.append(str(data))
        try:
            with self._writing:
                self._logs.mkdir(mode=0o700, exist_ok=True)
                path = str(self._logs / f"{safe_name(worker)}.log")
                with open(path, "a", errors="replace", opener=open_no_link) as file:
                    file.write("".join(kept))
        except OSError as error:
            log.warning("The log of %s cannot be kept: %s", worker, error)
