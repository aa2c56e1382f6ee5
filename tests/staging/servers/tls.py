"""An authority that nobody trusts unless told to, for servers with TLS."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from jackfield_testing.servers._listening import HOST


@dataclass(frozen=True)
class Authority:
    """A certificate authority.

    Attributes:
        ca: Its certificate, as a PEM file that clients may trust.
        server: Key and certificate for loopback, in one PEM file.
    """

    ca: Path
    server: Path

    def context(self) -> ssl.SSLContext:
        """Return a client's context that trusts this authority alone."""
        return ssl.create_default_context(cafile=self.ca)


def make(directory: Path) -> Authority:
    """Write a new authority and a server's certificate into a directory."""
    import trustme

    issuer = trustme.CA()
    made = Authority(directory / "ca.pem", directory / "server.pem")
    issuer.cert_pem.write_to_path(made.ca)
    certificate = issuer.issue_cert(HOST, "localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(made.server)
    made.server.chmod(0o600)
    return made
