"""The address of this machine, for executors that were told one; ours need none."""

from __future__ import annotations

import socket


def address_by_hostname() -> str:
    """Return the name of this machine."""
    return socket.gethostname()


def address_by_route() -> str:
    """Return the name of this machine, as all of these do: no executor of ours asks."""
    return socket.gethostname()


def address_by_interface(ifname: str) -> str:
    """Return the name of this machine, as all of these do: no executor of ours asks."""
    del ifname
    return socket.gethostname()


def get_any_address() -> str:
    """Return the name of this machine, as all of these do: no executor of ours asks."""
    return socket.gethostname()
