"""What a hostile FTP server can do to one command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

TRANSFERS: Final = frozenset({"RETR", "STOR", "APPE", "STOU"})
"""The commands that move a file."""

DATA: Final = TRANSFERS | {"LIST", "NLST", "MLSD"}
"""The commands that use a data connection."""

PASSIVE: Final = frozenset({"PASV", "EPSV"})


class FTPCommand(NamedTuple):
    """One command as it came.

    Attributes:
        verb: The command in upper case.
        argument: What follows it; a password too.
    """

    verb: str
    argument: str


class FTPFault:
    """What goes wrong with a command."""

    def fits(self, verb: str) -> bool:
        """Whether it can happen to a command."""
        del verb
        return True


@dataclass(frozen=True)
class Refuse(FTPFault):
    """The command is answered with ``reply`` and not carried out.

    A reply that begins with 421 also ends the connection.
    """

    reply: str = "550 Refused."


@dataclass(frozen=True)
class Unknown(FTPFault):
    """The server does not know the command: 500, and ``FEAT`` does not list it."""


@dataclass(frozen=True)
class BogusAddress(FTPFault):
    """``PASV`` gives an address where nobody is, ``EPSV`` a port where nobody listens.

    The port of both refuses connections on the server's own address too, for clients
    that do not believe the address.
    """

    def fits(self, verb: str) -> bool:
        return verb in PASSIVE


@dataclass(frozen=True)
class DropData(FTPFault):
    """The data connection ends after ``after`` bytes.

    Attributes:
        after: Bytes that are sent, or received and stored. Nothing happens to a
            transfer that is shorter.
        reply: Then said on the control connection; None for nothing at all. With a
            reply that begins with 226 an upload is read to its end, and the rest is
            thrown away.
    """

    after: int = 0
    reply: str | None = "426 Connection closed; transfer aborted."

    def fits(self, verb: str) -> bool:
        return verb in DATA


@dataclass(frozen=True)
class KillControl(FTPFault):
    """The control connection ends without a word, and the data connection with it.

    Attributes:
        after: Bytes that are sent or received before. Does not matter to a command
            without data, which ends the connection at once.
    """

    after: int = 0


@dataclass(frozen=True)
class StallData(FTPFault):
    """Nothing happens after ``after`` bytes until the server's ``release`` is set.

    A command without data is not answered until then.
    """

    after: int = 0
