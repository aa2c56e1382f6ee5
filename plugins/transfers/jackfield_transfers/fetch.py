"""Stage in: brings one remote file to one local name, verified, or leaves nothing.

The provider writes a *part*: a file under a name that nobody else knows, in a directory
of its own. Each attempt gets a ``Transfer``. If one fails, its bytes stay for the next,
provided the server has named the version by a strong validator (an ETag), and the next
attempt asks for the rest of that very version. What has arrived is compared with what
the server and the user have declared, the server is asked whether it still has the same
version, and only then the part gets its final name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from jackfield.errors import RemoteChangedError, TransferError
from jackfield.files import redact
from jackfield.staging.remote import UNKNOWN, RemoteInfo, Stop
from jackfield_system.local_names import safe_name
from jackfield_transfers.attempts import ask_to_move, move
from jackfield_transfers.host_site import OnProgress, ignore_progress
from jackfield_transfers.local import (
    digest_of,
    discard,
    mismatch,
    part_name,
    publish,
    regular_size,
    size_of,
)
from jackfield_transfers.site import Site, look
from jackfield_transfers.transfer import Transfer

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


@dataclass(eq=False)
class _Fetch:
    """All attempts at one file.

    ``known`` and ``offset`` go from one attempt to the next: what the server said of
    the version that the part's bytes are of, and how many bytes these are. So does
    ``digest``, of a whole part whose version had changed.
    """

    file: File
    site: Site
    directory: Path
    target: Path
    stop: Stop
    on_progress: OnProgress
    info: RemoteInfo = UNKNOWN
    known: RemoteInfo = UNKNOWN
    offset: int = 0
    digest: str | None = None

    def __post_init__(self) -> None:
        self.part: Path = part_name(self.directory)

    def run(self) -> File:
        try:
            verified = move(
                self.file,
                self.site,
                self.stop,
                self.on_progress,
                self._attempt,
                self.target,
            )
        except BaseException:
            self._clear(keep=False)
            raise
        return self.file.at(self.target, verified=verified)

    def _attempt(self, number: int) -> str:
        """Try once; return how the file was verified, as in ``File.verified``."""
        transfer = self._transfer()
        whole = False
        hooks = self.site.provider.stage_in
        try:
            info = self.info = ask_to_move(
                self.site, hooks, transfer, self.on_progress, number
            )
            whole = self._is_whole(info)
            verified = self._verify(info, resumed=transfer.offset > 0)
            transfer.check()  # does nobody want the file any more?
            publish(self.part, self.target, sync=self.site.rules.sync)
        except BaseException as error:
            if isinstance(error, RemoteChangedError) and self._is_the_same(transfer):
                publish(self.part, self.target, sync=self.site.rules.sync)
                return "size"
            self._keep(transfer, error, whole=whole)
            raise
        return verified

    def _is_the_same(self, transfer: Transfer) -> bool:
        """Tell whether this attempt has brought the same bytes as the one before.

        Some servers give each answer a new ETag. Two attempts that are whole, and
        alike, show that it does not stand for the content.
        """
        earlier, self.digest = self.digest, None
        if transfer.offset == 0 and size_of(self.part) == transfer.known.size:
            self.digest = digest_of(self.part)
        same = self.digest is not None and self.digest == earlier
        return same and mismatch(self.file, self.part) is None

    def _transfer(self) -> Transfer:
        return Transfer(
            url=self.file.url,
            path=self.part,
            offset=self.offset,
            known=self.known,
            sha256=self.file.sha256,
            max_bytes=self.site.rules.max_bytes or None,
            sync=self.site.rules.sync,
            stop=self.stop,
            moved=self.offset,
            **self.site.common(),
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
        size = size_of(self.part)
        fits = known.size is None or size < known.size
        resumable = strong and fits and size > 0 and not (changed or whole)
        self.known = known if resumable else UNKNOWN
        self.offset = size if resumable else 0
        self._clear(keep=resumable)

    def _clear(self, *, keep: bool) -> None:
        """Empty the directory, but for the part if that is to stay."""
        for path in self.directory.iterdir():
            if path != self.part or not keep:
                discard(path)

    # -- verification

    def _is_whole(self, info: RemoteInfo) -> bool:
        """Return True if as many bytes have arrived as the server has declared.

        Raises:
            TransferError: Another number has arrived, or there is no regular file.
        """
        size = regular_size(self.file.url, self.part)
        if info.size is not None and size != info.size:
            reason = f"{size} bytes arrived, the server declares {info.size}"
            raise TransferError(redact(self.file.url), reason, transient=True)
        return True

    def _verify(self, info: RemoteInfo, *, resumed: bool) -> str:
        """Verify the whole part; return how, as in ``File.verified``.

        Raises:
            TransferError: It is not what the user has declared.
            RemoteChangedError: The server has another version by now, so that the bytes
                may be of both.
        """
        wrong = mismatch(self.file, self.part)
        if wrong is None and self.file.sha256 is not None:
            return "digest"  # whatever the server says of the file now
        confirmed = info.settled or self._is_unchanged(info)
        if wrong is not None:
            # If two attempts have put the file together, the server may have resumed
            # with another version in spite of its validator, so it is worth a new try.
            raise TransferError(redact(self.file.url), wrong, transient=resumed)
        if info.etag is not None and confirmed:
            return "etag"
        return "none" if info.size is None and self.file.size is None else "size"

    def _is_unchanged(self, info: RemoteInfo) -> bool:
        """Ask for the remote file's state again; tell whether the version is confirmed.

        It is not where nobody can ask, or the server refuses or names no version.

        Raises:
            RemoteChangedError: It is another version.
        """
        remote = self.site.remote(self.file.url, self.stop)
        after = look(self.site, remote)
        if after is None:
            return False
        difference = info.differs(after)
        if difference is not None:
            raise RemoteChangedError(str(remote), difference)
        return after.etag is not None
