"""The kernel's hooks, answered for some schemes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from jackfield import Remote, RemoteInfo, Transfer, TransferError, hookimpl
from jackfield_staging._core_lending import close_idle, lent

if TYPE_CHECKING:
    from jackfield_staging._core_files import Place


class Provider:
    """A plugin: answers the hooks for URLs of some schemes.

    ``serves`` tells whether a scheme is one of them, ``reach`` where a URL points.
    """

    def __init__(
        self, serves: Callable[[str], bool], reach: Callable[[Remote], Place]
    ) -> None:
        self._serves = serves
        self._reach = reach

    @hookimpl
    def jackfield_serves_scheme(self, scheme: str) -> bool:
        """Tell whether a scheme is one of them: asked only of who serves any."""
        return self._serves(scheme)

    @hookimpl
    def jackfield_stage_in(self, transfer: Transfer) -> RemoteInfo | None:
        """Bring a file, or what is missing of it, and look whether it is still that."""
        if not self._serves(transfer.scheme):
            return None
        place = self._reach(transfer)
        with (
            lent(transfer, place) as loan,
            loan.streaming(transfer, place.path) as stream,
        ):
            blocks = loan.blocks(stream)
            info = transfer.receive(blocks, stream.info, start=stream.start)
            # A digest that the user knows proves more than a look at the file does.
            if stream.confirm is not None and transfer.sha256 is None:
                info = loan.call(stream.confirm, info)
            return info

    @hookimpl
    def jackfield_check_options(
        self, kind: str, name: str, options: Mapping[str, Any]
    ) -> bool | None:
        """Check the options of a scheme."""
        if kind != "staging" or not self._serves(name):
            return None
        with suppress(TransferError):  # of the URL, which is made up
            self._reach(Remote(url=f"{name}://example.org/file", options=options))
        return True

    @hookimpl
    def jackfield_stage_out(self, transfer: Transfer) -> RemoteInfo | None:
        """Take a file to where it is wanted."""
        if not self._serves(transfer.scheme):
            return None
        place = self._reach(transfer)
        with lent(transfer, place) as loan:
            info: RemoteInfo = loan.send(transfer, place.path)
            return info

    @hookimpl
    def jackfield_stat_file(self, remote: Remote) -> RemoteInfo | None:
        """Look at a file."""
        if not self._serves(remote.scheme):
            return None
        place = self._reach(remote)
        with lent(remote, place) as loan:
            info: RemoteInfo = loan.call(loan.files.look, remote, place.path)
            return info

    @hookimpl
    def jackfield_list_files(self, remote: Remote) -> Mapping[str, RemoteInfo] | None:
        """Find the files below a directory."""
        if not self._serves(remote.scheme):
            return None
        place = self._reach(remote)
        with lent(remote, place) as loan:
            found = loan.files.listed(loan.call, remote, place.path)
        return {remote.url + name: info for name, info in found.items()}

    @hookimpl
    def jackfield_kernel_closing(self) -> None:
        """Close the connections that no transfer uses."""
        close_idle()
