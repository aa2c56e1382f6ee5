"""Control and data connection of a hostile FTP session, subclasses of pyftpdlib's.

Imported when a server is made, because it needs pyftpdlib.

Everything here runs on the thread of the server's loop.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

from pyftpdlib import handlers  # type: ignore[import-untyped]  # it ships no types
from pyftpdlib.authorizers import (  # type: ignore[import-untyped]  # likewise
    DummyAuthorizer,
)
from pyftpdlib.log import logger  # type: ignore[import-untyped]  # likewise

from jackfield_testing.servers._ftp_faults import (
    DATA,
    TRANSFERS,
    BogusAddress,
    KillControl,
    Refuse,
    StallData,
)

if TYPE_CHECKING:
    from pathlib import Path

    from jackfield_testing.servers._ftp_plan import Plan

NOWHERE = "192,0,2,1"
"""Of the block that RFC 5737 keeps for examples: nobody has this address."""


class HostileData(handlers.DTPHandler):  # type: ignore[misc]  # the base is untyped
    """A data connection on which a fault strikes at some byte.

    The loop asks ``readable`` and ``writable`` just before it moves bytes; there a
    fault can close the connection without anybody in the middle of using it.
    """

    struck = False
    file_obj: Any

    def push_with_producer(self, producer: Any) -> None:
        self._began()
        super().push_with_producer(producer)

    def enable_receiving(self, type: str, cmd: str) -> None:  # noqa: A002  # theirs
        self._began()
        super().enable_receiving(type, cmd)

    def _began(self) -> None:
        if self.cmd_channel.verb in TRANSFERS:
            self.cmd_channel.plan.transfers += 1

    def readable(self) -> bool:
        return not (self.receive and self._strikes()) and bool(super().readable())

    def writable(self) -> bool:
        return not (not self.receive and self._strikes()) and bool(super().writable())

    def recv(self, buffer_size: int) -> bytes:
        left = self._left()
        data: bytes = super().recv(buffer_size if left is None else left)
        return data

    def send(self, data: bytes) -> int:
        left = self._left()
        if left == 0:
            return 0
        sent: int = super().send(data if left is None else data[:left])
        return sent

    def _left(self) -> int | None:
        """Return how many bytes are left until the fault strikes; None if none will."""
        fault = self.cmd_channel.data_fault
        if fault is None or self.struck:
            return None
        after: int = fault.after
        return max(0, after - int(self.get_transmitted_bytes()))

    def _strikes(self) -> bool:
        """Do what the fault does, if its byte has come.

        Returns:
            Whether the loop is to move no bytes on this connection now.
        """
        if self._left() != 0 or getattr(self, "_ssl_accepting", False):
            return False  # a handshake is let through: it is not the transfer's
        self.struck = True
        fault = self.cmd_channel.data_fault
        if isinstance(fault, KillControl):
            self.cmd_channel.close()
        elif isinstance(fault, StallData):
            self._stall()
        elif self.receive and (fault.reply or "").startswith("226"):
            self.file_obj.close()
            self.file_obj = open(os.devnull, "wb")  # noqa: PTH123, SIM115  # closed as theirs
            return False
        else:
            self._resp = (fault.reply, logger.debug) if fault.reply else ()
            self.close()
        return True

    def _stall(self) -> None:
        events = self.ioloop.READ if self.receive else self.ioloop.WRITE
        self.del_channel()
        self.cmd_channel.plan.hold(partial(self._resume, events))

    def _resume(self, events: int) -> None:
        if not self._closed:
            self.add_channel(events=events)


class HostileControl(handlers.FTPHandler):  # type: ignore[misc]  # the base is untyped
    """A control connection that asks for the faults of each command."""

    plan: Plan
    use_sendfile = False  # bytes are counted in send()
    auth_failed_timeout = 0
    banner = "ready."
    data_channel = None  # pyftpdlib deletes its own on close, and reads it afterwards
    data_fault: Any = None
    verb = ""

    def on_connect(self) -> None:
        self.plan.sessions += 1

    @property
    def proto_cmds(self) -> dict[str, Any]:
        """The commands that the server knows at present."""
        unknown = self.plan.unknown()
        known: dict[str, Any] = super().proto_cmds
        return {verb: facts for verb, facts in known.items() if verb not in unknown}

    def pre_process_command(self, line: str, cmd: str, arg: str) -> None:
        self.plan.note(cmd, arg)
        super().pre_process_command(line, cmd, arg)

    def process_command(self, cmd: str, *args: Any, **kwargs: Any) -> None:
        fault = self.plan.due(cmd)
        proceed = partial(super().process_command, cmd, *args, **kwargs)
        if cmd in DATA:
            self.verb = cmd
            self.data_fault = None
        if isinstance(fault, Refuse):
            self._refuse(fault.reply)
        elif isinstance(fault, BogusAddress):
            self._mislead(cmd)
        elif cmd not in DATA and isinstance(fault, KillControl):
            self.close()
        elif cmd not in DATA and isinstance(fault, StallData):
            self.plan.hold(proceed)
        else:
            self.data_fault = fault
            proceed()

    def _refuse(self, reply: str) -> None:
        self.respond(reply)
        if reply.startswith("421"):
            self.close_when_done()

    def _mislead(self, verb: str) -> None:
        port = self.plan.dead_port
        if verb == "PASV":
            where = f"{NOWHERE},{port // 256},{port % 256}"
            self.respond(f"227 Entering passive mode ({where}).")
        else:
            self.respond(f"229 Entering extended passive mode (|||{port}|).")


def make_authorizer(root: Path, user: tuple[str, str], *, anonymous: bool) -> Any:
    """Say who may log in: a user with a password, and perhaps anybody."""
    authorizer = DummyAuthorizer()
    authorizer.add_user(*user, str(root), perm="elradfmwMT")
    if anonymous:
        authorizer.add_anonymous(str(root))
    return authorizer


def make_handler(
    plan: Plan, authorizer: Any, certificate: Path | None, key: Path | None
) -> type[HostileControl]:
    """Make the class of one server's sessions.

    Raises:
        ImportError: A certificate is given, and pyOpenSSL is not installed.
    """
    members: dict[str, Any] = {"plan": plan, "authorizer": authorizer}
    if certificate is None:
        members["dtp_handler"] = HostileData
        return type("Control", (HostileControl,), members)
    if not hasattr(handlers, "TLS_FTPHandler"):
        raise ImportError(
            "HostileFTPServer needs pyOpenSSL for a certificate: pip install pyopenssl"
        )
    data = type("Data", (HostileData, handlers.TLS_DTPHandler), {})
    members |= {"dtp_handler": data, "certfile": str(certificate)}
    members["keyfile"] = None if key is None else str(key)
    return type("Control", (HostileControl, handlers.TLS_FTPHandler), members)
