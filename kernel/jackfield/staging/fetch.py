"""Stage in: one remote file to one local name, whole and verified or not at all."""

from __future__ import annotations

import time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from jackfield.errors import (
    RemoteChangedError,
    RemoteNotFoundError,
    TransferCancelledError,
    TransferError,
)
from jackfield.files import redact
from jackfield.staging import monitor
from jackfield.staging.local import (
    discard,
    mismatch,
    part_name,
    publish,
    regular_size,
    safe_name,
    size_of,
)
from jackfield.staging.remote import UNKNOWN, RemoteInfo, Stop
from jackfield.staging.retrying import is_transient, persist
from jackfield.staging.site import Site, ask
from jackfield.staging.steps import Stage, Step, Told, nobody, progress
from jackfield.staging.transfer import Transfer

if TYPE_CHECKING:
    from jackfield.files import File


def fetch(
    file: File,
    site: Site,
    directory: Path,
    stop: Stop,
    told: Told = nobody,
    *,
    place: Path | None = None,
) -> File:
    """Bring a file into a directory; return it with its local path.

    Args:
        file: What to bring, with what its user says of it.
        site: Where it is.
        directory: Exists, and is this file's alone: what else a provider leaves there
            goes with a failure.
        stop: Ends it.
        told: Is told how it goes.
        place: Where to put it at last; by default into the directory, under the name
            that it has now, made safe.

    Raises:
        NoProviderError: No plugin takes the URL.
        TransferCancelledError: It was stopped.
        TransferError: Or whatever else a provider raised: it did not arrive. Nothing
            of it is left.
    """
    return fetch_known(file, site, directory, stop, told, place=place)[0]


def fetch_known(
    file: File,
    site: Site,
    directory: Path,
    stop: Stop,
    told: Told = nobody,
    *,
    place: Path | None = None,
) -> tuple[File, RemoteInfo]:
    """Do as ``fetch`` does; return also what the other side told of the file."""
    target = place or directory / safe_name(PurePosixPath(file.path).name)
    moving = _Fetch(file, site, directory, target, stop, told)
    return moving.run(), moving.info


class _Fetch:
    """One file on its way, over all attempts."""

    def __init__(
        self,
        file: File,
        site: Site,
        directory: Path,
        target: Path,
        stop: Stop,
        told: Told,
    ) -> None:
        self._file: File = file
        self._site: Site = site
        self._target: Path = target
        self._directory: Path = directory
        self._part: Path = part_name(directory)
        self._offset: int = 0
        self._size: int = 0
        self._stop: Stop = stop
        self._told: Told = told
        self._known: RemoteInfo = UNKNOWN
        self.info: RemoteInfo = UNKNOWN

    def run(self) -> File:
        attempts = 0

        def attempt(number: int) -> str:
            nonlocal attempts
            attempts = number
            return self._attempt(number)

        try:
            verified = persist(attempt, self._site.rules, self._stop, self._retry)
            self._publish()
        except BaseException as error:
            self._clear(keep=False)
            cancelled = self._stop.event.is_set()
            stage: Stage = "cancelled" if cancelled else "failed"
            self._told(Step(stage, attempts, error=error))
            if cancelled and not isinstance(error, TransferCancelledError):
                raise TransferCancelledError(redact(self._file.url)) from None
            raise
        size = self._size
        self._told(Step("done", attempts, size, size, verified=verified))
        return self._file.at(self._target, verified=verified)

    def _publish(self) -> None:
        """Give the part its name, if somebody still wants it."""
        if self._stop.event.is_set():
            raise TransferCancelledError(redact(self._file.url))
        publish(self._part, self._target, sync=self._site.rules.sync)

    def _retry(self, number: int, error: BaseException, delay: float) -> None:
        self._told(Step("retrying", number, error=error, delay=delay))

    def _attempt(self, number: int) -> str:
        """Try once; return how it is known that the file is right."""
        transfer = self._transfer()
        began = time.monotonic()
        self._told(Step("started", number, transfer.offset, self._known.size))
        whole = False
        try:
            with monitor.watched(
                transfer, lambda one: self._told(progress(one, number, began))
            ):
                info = self.info = self._ask(transfer)
            whole = self._is_whole(info)
            return self._verify(info, resumed=transfer.offset > 0)
        except BaseException as error:
            self._keep(transfer, error, whole=whole)
            raise

    def _transfer(self) -> Transfer:
        return Transfer(
            url=self._file.url,
            path=self._part,
            offset=self._offset,
            known=self._known,
            max_bytes=self._site.rules.max_bytes or None,
            sync=self._site.rules.sync,
            stop=self._stop,
            moved=self._offset,
            **self._site.common(),
        )

    def _ask(self, transfer: Transfer) -> RemoteInfo:
        try:
            info = ask(self._site, self._site.provider.stage_in, transfer, RemoteInfo)
        except Exception as error:
            if transfer.stalled and not is_transient(error):
                idle = transfer.timeouts.idle
                reason = f"nothing moved for {idle:g} s (idle_timeout)"
                raise TransferError(str(transfer), reason, transient=True) from error
            raise
        if info is None:
            raise self._site.unserved(self._file.url)
        return info

    def _keep(self, transfer: Transfer, error: BaseException, *, whole: bool) -> None:
        """Decide what the next attempt may go on from."""
        known = transfer.known
        strong = known.etag is not None and not known.etag.startswith("W/")
        changed = isinstance(error, RemoteChangedError)
        size = size_of(self._part)
        fits = known.size is None or size < known.size
        resumable = strong and fits and size > 0 and not (changed or whole)
        self._known = known if resumable else UNKNOWN
        self._offset = size if resumable else 0
        self._clear(keep=resumable)

    def _clear(self, *, keep: bool) -> None:
        """Remove what is in the directory, but for a part to ``keep``."""
        for path in self._directory.iterdir():
            if path != self._part or not keep:
                discard(path)

    # -- verification

    def _is_whole(self, info: RemoteInfo) -> bool:
        """See that as many bytes are there as the other side has declared.

        Raises:
            TransferError: There is no regular file, or another number.
        """
        size = self._size = regular_size(self._file.url, self._part)
        if info.size is not None and size != info.size:
            reason = f"{size} bytes arrived, the server declares {info.size}"
            raise TransferError(redact(self._file.url), reason, transient=True)
        return True

    def _verify(self, info: RemoteInfo, *, resumed: bool) -> str:
        """Say how it is known that what arrived is right.

        Raises:
            TransferError: It is not what the user declared.
            RemoteChangedError: The file is another one by now.
        """
        wrong = mismatch(self._file, self._part)
        if wrong is not None:
            # What two attempts put together may be of two versions after all.
            raise TransferError(redact(self._file.url), wrong, transient=resumed)
        confirmed = info.settled or self._is_unchanged(info)
        if self._file.sha256 is not None:
            return "digest"
        if info.etag is not None and confirmed:
            return "etag"
        return "none" if info.size is None and self._file.size is None else "size"

    def _is_unchanged(self, info: RemoteInfo) -> bool:
        """Look at the remote file again; tell whether it can be looked at."""
        remote = self._site.remote(self._file.url, self._stop)
        try:
            after = ask(self._site, self._site.provider.stat, remote, RemoteInfo)
        except RemoteNotFoundError as error:
            raise RemoteChangedError(str(remote), "it is gone") from error
        if after is None:
            return False
        difference = info.differs(after)
        if difference is not None:
            raise RemoteChangedError(str(remote), difference)
        return after.etag is not None
