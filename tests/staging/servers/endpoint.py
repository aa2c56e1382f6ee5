"""What tests see of a server: where it is, how to log in, and what is really there."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from jackfield_testing.servers._process import Server


USER = "writer"
PASSWORD = "only-on-loopback"
READER = "reader"


class Content(Protocol):
    """The files behind a server, reached by another way than its protocol."""

    def put(self, name: str, data: bytes) -> None: ...

    def get(self, name: str) -> bytes: ...

    def names(self, folder: str = "") -> list[str]: ...

    def delete(self, name: str) -> None: ...


@dataclass(frozen=True)
class Endpoint:
    """A running server.

    Attributes:
        url: Of the folder that tests work in, without a slash at its end.
        server: The process: ``log()``, ``running``, ``start_up_s``.
        content: The files below `url`.
        options: What a client must know beside the URL to read and to write there.
        readonly: The same for someone who may read only; None where there is none.
    """

    url: str
    server: Server
    content: Content
    options: Mapping[str, Any] = field(default_factory=dict)
    readonly: Mapping[str, Any] | None = None

    def at(self, name: str) -> str:
        """Return the URL of a name."""
        return f"{self.url}/{name}"

    def put(self, name: str, data: bytes) -> str:
        """Place a file there by another way than the protocol; return its URL."""
        self.content.put(name, data)
        return self.at(name)

    def get(self, name: str) -> bytes:
        """Return what is there, byte for byte; FileNotFoundError if nothing is."""
        return self.content.get(name)

    def names(self, folder: str = "") -> list[str]:
        """Return the sorted names of all files below a folder, hidden ones too."""
        return self.content.names(folder)

    def delete(self, name: str) -> None:
        """Remove a file; FileNotFoundError if there is none."""
        self.content.delete(name)

    def kill(self) -> None:
        """Kill the server with SIGKILL; its content stays.

        The next test finds it started again.
        """
        self.server.kill()

    def restart(self) -> None:
        """Kill the server if it runs, and start it at the same URL."""
        self.server.restart()


@dataclass(frozen=True)
class Tree:
    """Content in a directory.

    Attributes:
        root: The directory.
        owner: Name of the user that the server writes as, None for the tests' own.
    """

    root: Path
    owner: str | None = None

    def __post_init__(self) -> None:
        self._make(self.root)

    def put(self, name: str, data: bytes) -> None:
        path = self.root / name
        self._make(path.parent)
        path.write_bytes(data)
        self._hand_over(path)

    def get(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def names(self, folder: str = "") -> list[str]:
        found = (self.root / folder).rglob("*")
        return sorted(str(p.relative_to(self.root)) for p in found if p.is_file())

    def delete(self, name: str) -> None:
        (self.root / name).unlink()

    def _make(self, directory: Path) -> None:
        if not directory.is_dir():
            self._make(directory.parent)
            directory.mkdir()
            self._hand_over(directory)

    def _hand_over(self, path: Path) -> None:
        if self.owner is not None:
            user = pwd.getpwnam(self.owner)
            os.chown(path, user.pw_uid, user.pw_gid)
