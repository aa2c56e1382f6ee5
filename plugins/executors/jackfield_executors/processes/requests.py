"""What the driver and the fork server say to each other, beside frames.

It stands apart from the fork server's code, so that the driver need not import that.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

REQUEST: Final = Struct("<cxxxxxxxQ")
"""A request: what to do (``START``, ``KILL`` or ``PRELOAD``), and the worker's number.

A start carries four descriptors: the worker's socket, its progress page, its standard
output and its standard error. A preloading carries a socket and the two for output. The
driver writes to that socket what it wants, a ``preload.Wanted``, and closes it when it
wants that no more. It reads ``LOG`` frames there, an ``UNFIT`` frame with a reason for
each module that was at fault, and then ``READY``."""

NOTICE: Final = Struct("<cxxxiQQ")
"""A notice: what has happened, a code, the worker's number, an amount; what code and
amount mean is told by ``forkserver_client.Notice``."""

START: Final = b"S"
KILL: Final = b"K"
PRELOAD: Final = b"P"
STARTED: Final = b"s"
NOT_STARTED: Final = b"n"
ENDED: Final = b"e"

RAISES: Final = "its import raises"
"""How the reason begins for a module that is at fault, but no surprise: the task will
raise it, too."""
