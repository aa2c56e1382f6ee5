"""The kernel's hooks, answered with filesystems that are kept and lent to transfers.

One that runs on fsspec's loop is shared by all transfers that reach the same account.
Any other is lent to one at a time, and waits for the next if the last has left it in
good order.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from jackfield import (
    JackfieldError,
    Remote,
    RemoteInfo,
    Transfer,
    TransferError,
    clock,
    hookimpl,
)
from jackfield_staging._core_calls import Loan
from jackfield_staging._core_files import Files, Place, Runs, get_loop

T = TypeVar("T")

MOST_IDLE: Final = 16
CLOSING_S: Final = 2.0  # that closing connections on the loop may take


class Provider:
    """A plugin: answers the hooks for URLs of some schemes.

    ``serves`` tells whether a scheme is one of them, ``reach`` where a URL points.
    """

    def __init__(
        self, serves: Callable[[str], bool], reach: Callable[[Remote], Place]
    ) -> None:
        self._serves = serves
        self._reach = reach

    def _answer(self, remote: Remote, ask: Callable[[Loan], T]) -> T | None:
        if not self._serves(remote.scheme):
            return None
        with lent(remote, self._place(remote)) as loan:
            return ask(loan)

    def _place(self, remote: Remote) -> Place:
        """Say where a URL points, or raise that it cannot be read as one."""
        try:
            return self._reach(remote)
        except JackfieldError:
            raise
        except ValueError:  # its text may hold a password
            reason = "its URL, or the login for it, cannot be read"
            raise TransferError(str(remote), reason) from None

    @hookimpl
    def jackfield_serves_scheme(self, scheme: str) -> bool:
        """Tell whether a scheme is one of them: asked only of who serves any."""
        return self._serves(scheme)

    @hookimpl
    def jackfield_check_options(
        self, kind: str, name: str, options: Mapping[str, Any]
    ) -> bool | None:
        """Check the options of a scheme."""
        if kind != "staging" or not self._serves(name):
            return None
        with suppress(TransferError):  # of the URL, which is made up
            self._place(Remote(url=f"{name}://example.org/file", options=options))
        return True

    @hookimpl
    def jackfield_stage_in(self, transfer: Transfer) -> RemoteInfo | None:
        """Bring a file, or what is missing of it."""
        return self._answer(transfer, Loan.receive)

    @hookimpl
    def jackfield_stage_out(self, transfer: Transfer) -> RemoteInfo | None:
        """Take a file to where it is wanted."""
        return self._answer(transfer, Loan.send)

    @hookimpl
    def jackfield_stat_file(self, remote: Remote) -> RemoteInfo | None:
        """Look at a file."""
        return self._answer(remote, Loan.look)

    @hookimpl
    def jackfield_list_files(self, remote: Remote) -> Mapping[str, RemoteInfo] | None:
        """Find the files below a directory."""
        return self._answer(remote, Loan.find)

    @hookimpl
    def jackfield_kernel_closing(self) -> None:
        """Close the connections that no transfer uses."""
        close_idle()


@dataclass(eq=False, slots=True, repr=False)
class _Kept:
    """A filesystem, how many use it, and since when nobody does."""

    key: Hashable
    files: Files
    users: int = 1
    since: float = 0.0
    logged_in: bool = False

    @property
    def shared(self) -> bool:
        return self.files.runs is Runs.LOOP

    def close(self) -> None:
        """Close its connections, which ends what still hangs on them."""
        with suppress(Exception):
            leaving = self.files.leave()
            if self.shared:
                asyncio.run_coroutine_threadsafe(leaving, get_loop()).result(CLOSING_S)


@dataclass
class _Pool:
    """All filesystems of this process that are lent or wait, the longest idle first."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    kept: list[_Kept] = field(default_factory=list)


_pool = _Pool()

# A forked child keeps what it has from its parent, so that no finalizer runs, which
# would touch what the parent's loop waits on.
_inherited: list[_Kept] = []


@contextmanager
def lent(remote: Remote, place: Place) -> Iterator[Loan]:
    """Lend a filesystem for the block, from which ``remote`` may be cut off."""
    remote.check()
    kept = _taken(remote, place)
    loan = Loan(remote, kept.files, place.path)
    good = False
    try:
        with remote.broken_by(loan.cut), closing(loan):
            if not (kept.logged_in or kept.shared):
                loan.call(kept.files.log_in)
                kept.logged_in = True
            yield loan
        good = loan.usable
    except (FileNotFoundError, PermissionError):
        good = loan.usable  # a refusal in good order is no reason to connect anew
        raise
    finally:
        _give_back(kept, good=good)


def close_idle() -> None:
    """Close all that nobody uses. On any thread."""
    with _pool.lock:
        idle = [one for one in _pool.kept if not one.users]
        _pool.kept = [one for one in _pool.kept if one.users]
    for one in idle:
        one.close()


def _taken(remote: Remote, place: Place) -> _Kept:
    """Find one that works, and close those that do not; else make one."""
    while (found := _found(place.key)) is not None:
        alive = False
        try:
            alive = found.files.is_alive(remote, clock.monotonic() - found.since)
        finally:
            if not alive:
                _give_back(found, good=False)
        if alive:
            return found
    made = _Kept(place.key, place.make())
    return _found(place.key, made) or made


def _found(key: Hashable, made: _Kept | None = None) -> _Kept | None:
    """Take the one that was used last of those that fit, or else keep a new one.

    That was made outside the lock, as it may take long. So another thread may have made
    one as well; of two to be shared, the later goes away unused.
    """
    with _pool.lock:
        for one in reversed(_pool.kept):
            if one.key == key and (one.shared or not (one.users or made)):
                one.users += 1
                return one
        _pool.kept += [made] if made else []
    return made


def _give_back(kept: _Kept, *, good: bool) -> None:
    good = kept.shared or (good and kept.files.is_quiet())
    with _pool.lock:
        kept.users -= 1
        kept.since = clock.monotonic()
        closing = [] if good else [kept]
        if kept in _pool.kept:  # not in a child that was forked meanwhile
            _pool.kept.remove(kept)
            _pool.kept += [kept] if good else []
        closing += [one for one in _pool.kept if not one.users][:-MOST_IDLE]
        _pool.kept = [one for one in _pool.kept if one not in closing]
    for one in closing:
        one.close()


def _forget() -> None:
    """In a forked child: the parent's connections and threads are not ours."""
    _pool.lock = threading.Lock()
    _inherited.extend(_pool.kept)
    _pool.kept = []
    for one in _inherited:
        one.files.abandon()


os.register_at_fork(after_in_child=_forget)
atexit.register(close_idle)
