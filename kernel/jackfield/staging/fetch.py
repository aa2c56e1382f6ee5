"""Stage in: brings one remote file to one local name, verified, or leaves nothing.

The provider writes a *part*: a file under a name that nobody else knows, in a directory
of its own. Each attempt gets a ``Transfer``. If one fails, its bytes stay for the next,
provided the server has named the version by a strong validator (an ETag), and the next
attempt asks for the rest of that very version. What has arrived is compared with what
the server and the user have declared, the server is asked whether it still has the same
version, and only then the part gets its final name.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from jackfield.errors import RemoteChangedError, RemoteNotFoundError, TransferError
from jackfield.files import redact
from jackfield.staging.attempts import ask_to_move, move
from jackfield.staging.local import (
    discard,
    mismatch,
    part_name,
    publish,
    regular_size,
    safe_name,
    size_of,
)
from jackfield.staging.progress import OnProgress, ignore_progress
from jackfield.staging.remote import UNKNOWN, RemoteInfo, Stop
from jackfield.staging.site import Site, ask
from jackfield.staging.transfer import Transfer

if TYPE_CHECKING:
    from jackfield.files import File


def fetch(
    file: File,
    site: Site,
    directory: Path,
    stop: Stop,
    on_progress: OnProgress = ignore_progress,
    *,
    place: Path | None = None,
) -> tuple[File, RemoteInfo]:
    """Bring a file into a directory.

    Args:
        file: What to bring, with what its user says of it.
        site: Where it is.
        directory: Exists, and belongs to this file alone. After a failure it is empty:
            whatever a provider has left there is removed.
        stop: Ends the transfer.
        on_progress: Called with how far it is.
        place: The final path; by default in the directory, under the file's remote
            name, made safe.

    Returns:
        The file with its local path, and what the server said of it.

    Raises:
        NoProviderError: No plugin takes the URL.
        TransferCancelledError: The transfer was stopped.
        TransferError: The file did not arrive; a provider may raise any other exception
            for that. Nothing of the file is left.
    """
    target = place or directory / safe_name(PurePosixPath(file.path).name)
    moving = _Fetch(file, site, directory, target, stop, on_progress)
    return moving.run(), moving.info


class _Fetch:
    """All attempts at one file.

    ``_known`` and ``_offset`` go from one attempt to the next: what the server said of
    the version that the part's bytes are of, and how many bytes these are.
    """

    def __init__(
        self,
        file: File,
        site: Site,
        directory: Path,
        target: Path,
        stop: Stop,
        on_progress: OnProgress,
    ) -> None:
        self._file: File = file
        self._site: Site = site
        self._target: Path = target
        self._directory: Path = directory
        self._part: Path = part_name(directory)
        self._offset: int = 0
        self._stop: Stop = stop
        self._on_progress: OnProgress = on_progress
        self._known: RemoteInfo = UNKNOWN
        self.info: RemoteInfo = UNKNOWN

    def run(self) -> File:
        told = self._stop, self._on_progress
        try:
            verified = move(self._file, self._site, *told, self._attempt, self._target)
        except BaseException:
            self._clear(keep=False)
            raise
        return self._file.at(self._target, verified=verified)

    def _attempt(self, number: int) -> str:
        """Try once; return how the file was verified, as in ``File.verified``."""
        transfer = self._transfer()
        whole = False
        hooks = self._site.provider.stage_in
        try:
            info = self.info = ask_to_move(
                self._site, hooks, transfer, self._on_progress, number
            )
            whole = self._is_whole(info)
            verified = self._verify(info, resumed=transfer.offset > 0)
            transfer.check()  # does nobody want the file any more?
            publish(self._part, self._target, sync=self._site.rules.sync)
        except BaseException as error:
            self._keep(transfer, error, whole=whole)
            raise
        return verified

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

    def _keep(self, transfer: Transfer, error: BaseException, *, whole: bool) -> None:
        """Decide after a failure which bytes the next attempt may go on from.

        None without a strong validator, because the next answer could be of another
        version without anybody noticing. None if the file has changed, or if it was
        whole and turned out wrong: to fetch the rest would not make it right.
        """
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
        """Empty the directory.

        Args:
            keep: Whether the part stays.
        """
        for path in self._directory.iterdir():
            if path != self._part or not keep:
                discard(path)

    # -- verification

    def _is_whole(self, info: RemoteInfo) -> bool:
        """Return True if as many bytes have arrived as the server has declared.

        Raises:
            TransferError: Another number has arrived, or there is no regular file.
        """
        size = regular_size(self._file.url, self._part)
        if info.size is not None and size != info.size:
            reason = f"{size} bytes arrived, the server declares {info.size}"
            raise TransferError(redact(self._file.url), reason, transient=True)
        return True

    def _verify(self, info: RemoteInfo, *, resumed: bool) -> str:
        """Verify the whole part; return how, as in ``File.verified``.

        Raises:
            TransferError: It is not what the user has declared.
            RemoteChangedError: The server has another version by now, so that the bytes
                may be of both.
        """
        wrong = mismatch(self._file, self._part)
        if wrong is not None:
            # If two attempts have put the file together, the server may have resumed
            # with another version in spite of its validator, so it is worth a new try.
            raise TransferError(redact(self._file.url), wrong, transient=resumed)
        confirmed = info.settled or self._is_unchanged(info)
        if self._file.sha256 is not None:
            return "digest"
        if info.etag is not None and confirmed:
            return "etag"
        return "none" if info.size is None and self._file.size is None else "size"

    def _is_unchanged(self, info: RemoteInfo) -> bool:
        """Ask for the remote file's state again, after the transfer.

        Returns:
            Whether the version is confirmed. It is not where the provider cannot ask or
            the server names no version.

        Raises:
            RemoteChangedError: It is another version, or gone.
        """
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
