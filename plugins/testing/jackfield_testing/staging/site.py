"""Where the staging conformance kit puts files, and how it makes a server fail."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Never
from urllib.parse import quote, urlsplit

import pytest

NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class StagingFaults:
    """Makes a server fail. A test whose fault a server does not have is skipped.

    Override what your server can do. Names are those of ``StagingSite``. ``times``
    is to how many requests it happens; ``None`` stands for all. Called on the test's
    thread, before the requests.
    """

    def interrupt(self, name: str, after: int, times: int | None = None) -> None:
        """Let the connection break when ``after`` bytes of a file have been sent."""
        del name, after, times
        _cannot("break a connection")

    def truncate(self, name: str, after: int, times: int | None = None) -> None:
        """Let an answer end in good order after ``after`` bytes of a larger file."""
        del name, after, times
        _cannot("send half a file")

    def stall(self, name: str, after: int, times: int | None = None) -> None:
        """Let nothing move after ``after`` bytes, in or out, until ``release``."""
        del name, after, times
        _cannot("stall")

    def wait_stalled(self, limit: float) -> bool:
        """Wait until something has stalled; tell whether it has within ``limit`` s."""
        del limit
        _cannot("tell that it stalls")

    def release(self) -> None:
        """Let all that is stalled go on."""

    def slow_down(self, name: str, pause: float) -> None:
        """Send a file in at least five pieces, with ``pause`` seconds before each."""
        del name, pause
        _cannot("send slowly")

    def refuse_for_now(self, name: str, times: int) -> None:
        """Answer requests for a file with an error that will pass."""
        del name, times
        _cannot("be overloaded")

    def forbid(self, name: str) -> None:
        """Let nobody read or write a file, not even users who have logged in."""
        del name
        _cannot("forbid a file")

    def change(self, name: str, after: int, data: bytes) -> None:
        """Once, replace a file by ``data`` when ``after`` bytes of it have been sent.

        What is sent then is of the new file, which is as long as the old one. Called
        more than once, it happens to as many requests, one after another.
        """
        del name, after, data
        _cannot("change a file while it sends it")

    def break_upload(self, name: str, after: int, times: int | None = None) -> None:
        """Let the connection break when ``after`` bytes of a file have come."""
        del name, after, times
        _cannot("break an upload")

    def starts(self, name: str) -> Sequence[int]:
        """Tell at which byte each request for a file's content began, in order."""
        del name
        _cannot("tell what was asked for")


def _cannot(do: str) -> Never:
    pytest.skip(f"this server cannot be made to {do}")


class StagingSite(ABC):
    """A place for files, reached by the plugin under test and behind its back.

    Names have parts separated by ``/``, may hold anything else, and are not encoded.

    Attributes:
        base: The URL below which files are; it ends with ``/``.
        plugins: Objects to register. Empty if an entry point serves the scheme.
        options: What stands in ``[staging.SCHEME]``.
        credentials: What the place wants to know of who asks: ``user`` and
            ``password``, ``key`` and ``secret``, ``token``. Empty if nothing.
        faults: Makes the server fail, or ``None``.
    """

    def __init__(
        self,
        base: str,
        *,
        plugins: Sequence[object] = (),
        options: Mapping[str, Any] = NOTHING,
        credentials: Mapping[str, str] = NOTHING,
        faults: StagingFaults | None = None,
    ) -> None:
        self.base: str = base if base.endswith("/") else f"{base}/"
        self.plugins: Sequence[object] = plugins
        self.options: Mapping[str, Any] = options
        self.credentials: Mapping[str, str] = credentials
        self.faults: StagingFaults | None = faults

    @property
    def scheme(self) -> str:
        """The scheme of its URLs."""
        return urlsplit(self.base).scheme

    def url(self, name: str) -> str:
        """Give the URL of a name, whether there is such a file or not."""
        return self.base + quote(name)

    @abstractmethod
    def put(self, name: str, data: bytes) -> None:
        """Place a file, new or in the place of an old one; make its directories."""

    @abstractmethod
    def get(self, name: str) -> bytes | None:
        """Give what a file holds, or ``None`` if there is none."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove a file that is there."""

    def make_room(self, name: str) -> None:
        """Make the directories that a file of this name is going to be sent to.

        By default, a file is placed there and removed. Override it to do nothing where
        the server makes directories by itself.
        """
        self.put(name, b"")
        self.delete(name)


class DirectorySite(StagingSite):
    """A site whose files lie in a local directory.

    Attributes:
        root: The directory.
    """

    def __init__(self, root: Path, base: str, **more: Any) -> None:
        """Say where the files are.

        Args:
            root: The directory that the server shows.
            base: Its URL.
            more: As for ``StagingSite``.
        """
        super().__init__(base, **more)
        self.root: Path = root

    def put(self, name: str, data: bytes) -> None:
        """Write the file."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def get(self, name: str) -> bytes | None:
        """Read the file."""
        path = self.root / name
        return path.read_bytes() if path.is_file() else None

    def delete(self, name: str) -> None:
        """Remove the file."""
        (self.root / name).unlink()
