"""The kernel's hooks, answered for some schemes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from jackfield import Remote, RemoteInfo, Transfer, TransferError, hookimpl
from jackfield_staging._core_calls import Loan
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

    def _answer(self, remote: Remote, ask: Callable[[Loan], Any]) -> Any:
        if not self._serves(remote.scheme):
            return None
        with lent(remote, self._reach(remote)) as loan:
            return ask(loan)

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
            self._reach(Remote(url=f"{name}://example.org/file", options=options))
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
        return self._answer(remote, Loan.list)

    @hookimpl
    def jackfield_kernel_closing(self) -> None:
        """Close the connections that no transfer uses."""
        close_idle()
