"""What fsspec's implementations tell of a file, each in its own words."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from jackfield import RemoteInfo, TransferError
from jackfield_staging._any_pool import ask

if TYPE_CHECKING:
    from jackfield import Remote
    from jackfield_staging._any_pool import Lease

VALIDATORS: Final = (
    *("ETag", "etag", "generation", "md5Hash", "md5", "content_md5", "crc32c"),
    *("checksum", "sha256", "blob_id", "oid"),
)
DATES: Final = (
    *("LastModified", "last_modified", "modified", "mtime", "updated", "timeModified"),
    *("modify", "created"),
)


def look(lease: Lease, remote: Remote, path: str) -> RemoteInfo:
    """Ask for a file, past what the filesystem remembers of directories.

    Raises:
        RemoteNotFoundError: There is none.
        TransferError: It is a directory, or cannot be told.
    """
    lease.filesystem.invalidate_cache()
    info = ask(lease, remote, "info", path)
    if info.get("type") == "directory":
        raise TransferError(str(remote), "it is a directory")
    return told(info)


def told(info: Mapping[str, Any]) -> RemoteInfo:
    """Translate what ``info`` returns."""
    size = info.get("size")
    etag, modified = _first(info, VALIDATORS), _first(info, DATES)
    return RemoteInfo(
        size if isinstance(size, int) else None,
        None if etag is None else str(etag),
        None if modified is None else _date(modified),
    )


def _first(info: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((info[name] for name in names if info.get(name)), None)


def _date(value: Any) -> str:
    """Write a date one way, however it is told; some tell it in two ways."""
    if isinstance(value, int | float):
        value = datetime.fromtimestamp(value, UTC)
    return value.isoformat() if isinstance(value, datetime) else str(value)
