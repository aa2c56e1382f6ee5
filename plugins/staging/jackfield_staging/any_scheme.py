"""Files of every scheme that an installed filesystem of fsspec serves.

``pip install gcsfs`` is all that ``gs://bucket/key`` takes; likewise ``adlfs`` for
``az:``, ``huggingface_hub`` for ``hf:``, ``paramiko`` for ``sftp:``,
``webdav4[fsspec]`` for ``webdav:``, ``smbprotocol`` for ``smb:``. Paths in URLs are
decoded.

The table ``[staging.SCHEME]`` and the credentials go to the filesystem's constructor,
such as ``port`` or ``project``; the name ``user`` becomes ``username``. But for:

- ``sftp``, ``ssh``: ``known_hosts``, a file instead of ``~/.ssh/known_hosts``;
  ``insecure_host_keys``, to take any host's word; ``key_file``. The rest goes to
  paramiko's ``connect``.
- ``webdav``, ``dav``: ``tls``, false for plain HTTP; ``base_url``, where paths begin.
  The rest goes to httpx.

Outputs are sent under another name and renamed over SFTP and WebDAV; other
filesystems are trusted to show a file when it is whole, as object stores do.
``memory:`` is within the process only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from jackfield import hookimpl
from jackfield.errors import RemoteNotFoundError
from jackfield_staging._any_access import access, served
from jackfield_staging._any_info import look, told
from jackfield_staging._any_pool import ask, close_idle, lent
from jackfield_staging._any_receive import receive
from jackfield_staging._any_send import send
from jackfield_staging._escape import escape

if TYPE_CHECKING:
    from jackfield import DataFlowKernel, Remote, RemoteInfo, Transfer
    from jackfield_staging._any_access import Access
    from jackfield_staging._any_pool import Lease


@hookimpl
def jackfield_serves_scheme(scheme: str) -> bool:
    """Look the scheme up in fsspec's registry, which imports no implementation."""
    return served(scheme)


@hookimpl
def jackfield_stage_in(transfer: Transfer) -> RemoteInfo | None:
    """Look at the file, then read it."""
    if not served(transfer.scheme):
        return None
    reached = access(transfer)
    with lent(transfer, reached) as lease:
        return receive(lease, transfer, reached.path)


@hookimpl
def jackfield_stage_out(transfer: Transfer) -> RemoteInfo | None:
    """Send a file, and look at it."""
    if not served(transfer.scheme):
        return None
    reached = access(transfer)
    with lent(transfer, reached) as lease:
        return send(lease, transfer, reached.path)


@hookimpl
def jackfield_stat_file(remote: Remote) -> RemoteInfo | None:
    """Ask for what the filesystem tells of a file."""
    if not served(remote.scheme):
        return None
    reached = access(remote)
    with lent(remote, reached) as lease:
        return look(lease, remote, reached.path)


@hookimpl
def jackfield_list_files(remote: Remote) -> Mapping[str, RemoteInfo] | None:
    """Walk down a directory."""
    if not served(remote.scheme):
        return None
    reached = access(remote)
    with lent(remote, reached) as lease:
        return _listing(lease, remote, reached)


@hookimpl
def jackfield_kernel_closing(kernel: DataFlowKernel) -> None:  # noqa: ARG001  (the hook's)
    """Let go of the filesystems that no transfer is using."""
    close_idle()


def _listing(lease: Lease, remote: Remote, reached: Access) -> dict[str, RemoteInfo]:
    lease.filesystem.invalidate_cache()
    found = ask(lease, remote, "find", reached.path, detail=True)
    if not found:
        info = ask(lease, remote, "info", reached.path)
        if info.get("type") != "directory":
            raise RemoteNotFoundError(str(remote), "there is no such directory")
    top = f"{reached.name.strip('/')}/".lstrip("/")
    names = {name.lstrip("/"): info for name, info in found.items()}
    return {
        remote.url + escape(name.removeprefix(top)): told(info)
        for name, info in names.items()
        if name.startswith(top)
    }
