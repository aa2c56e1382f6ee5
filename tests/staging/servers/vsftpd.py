"""vsftpd: an FTP server that lists directories as ``ls -l`` does, without MLSD."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.staging.servers import needs
from tests.staging.servers.endpoint import PASSWORD, USER, Endpoint, Tree

from jackfield_testing.servers._listening import HOST
from jackfield_testing.servers._process import (
    Server,
    connect,
    free_ports,
    running,
)

GUEST = "ftp"
"""Whom those who log in write as; vsftpd wants a user with a home that is there."""

STRANGER = "daemon"
"""Whom the anonymous read as: likewise, and not one who could write there."""

CONFIG = """
listen=YES
listen_ipv6=NO
listen_address={host}
listen_port={port}
background=NO
seccomp_sandbox=NO
secure_chroot_dir={directory}/empty
xferlog_enable=YES
vsftpd_log_file={directory}/transfers

anonymous_enable=YES
ftp_username={stranger}
no_anon_password=YES
anon_root={root}

local_enable=YES
write_enable=YES
delay_failed_login=0
guest_enable=YES
guest_username={guest}
virtual_use_local_privs=YES
local_root={root}
chroot_local_user=YES
allow_writeable_chroot=YES
local_umask=022
pam_service_name={service}
"""

PAM = f"""
auth required pam_succeed_if.so quiet user = {USER}
auth required pam_permit.so
account required pam_permit.so
"""
"""A service of its own, so that no account of the machine can log in.

It takes any password: vsftpd hangs with modules that start a program to check one.
"""


@contextmanager
def start(directory: Path) -> Iterator[Endpoint]:
    """Run it for someone who may write, and for the anonymous, who may not."""
    vsftpd = needs.program("vsftpd", "vsftpd")
    needs.root("vsftpd")
    [port] = free_ports()
    content = Tree(directory / "files", GUEST)
    (directory / "empty").mkdir()
    pam = Path("/etc/pam.d") / directory.name
    config = directory / "vsftpd.conf"
    config.write_text(
        CONFIG.format(
            host=HOST,
            port=port,
            directory=directory,
            root=content.root,
            guest=GUEST,
            stranger=STRANGER,
            service=pam.name,
        )
    )
    server = Server(
        "vsftpd", [vsftpd, config], directory, partial(connect, port), [pam]
    )
    try:
        pam.write_text(PAM)
        with running(server):
            yield Endpoint(
                f"ftp://{HOST}:{port}",
                server,
                content,
                {"username": USER, "password": PASSWORD},
                {"username": "anonymous", "password": ""},
            )
    finally:
        pam.unlink(missing_ok=True)
