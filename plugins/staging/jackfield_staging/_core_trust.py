"""Connections: who one is there, whom TLS trusts to be that, and how they fail."""

from __future__ import annotations

import errno
import functools
import socket
import ssl
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import unquote_to_bytes, urlsplit

from jackfield import ConfigurationError

if TYPE_CHECKING:
    from jackfield import Remote

# A file and when it was changed, so that a renewed certificate is read again.
Stamped: TypeAlias = tuple[str, int] | None


_NO_WAY: Final = errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN


def login_of(
    remote: Remote, name: str = "user", word: str = "password"
) -> tuple[str, str] | None:
    """Return who asks, as the configuration says it, or else the URL; or nobody."""
    known = remote.credentials
    if name in known or word in known:
        return known.get(name, ""), known.get(word, "")
    login, mark, _ = urlsplit(remote.url).netloc.rpartition("@")
    user, _, password = login.partition(":")
    return (decoded(user), decoded(password)) if mark else None


def decoded(text: str) -> str:
    """Return what a part of a URL stands for; bytes that are no UTF-8 escape."""
    return unquote_to_bytes(text).decode("utf-8", "surrogateescape")


def warn_insecure(remote: Remote, option: str) -> None:
    """Warn that an option lets anybody answer, in the run's log and as Python does."""
    host = urlsplit(remote.url).hostname
    text = f"{option}: whoever answers for {host!r} is believed to be it"
    remote.warn(text)
    warnings.warn(text, stacklevel=2)


def tls_context(
    ca_file: str, cert: str = "", key: str = "", *, insecure: bool = False
) -> ssl.SSLContext:
    """Return what TLS connections are made with; the same one for equal options.

    To read what the system trusts takes a while.
    """
    return _context(
        _stamped("ca_file", ca_file),
        _stamped("client_cert", cert),
        _stamped("client_key", key),
        insecure,
    )


def file_of(option: str, name: Any) -> Path:
    """Return the file that an option names, or raise that there is none."""
    with suppress(OSError, RuntimeError, TypeError):  # no such user, or no text
        path = Path(name).expanduser()
        if path.is_file():
            return path
    raise ConfigurationError(f"{option} names {name!r}; there is no such file.")


def _stamped(option: str, name: str) -> Stamped:
    if not name:
        return None
    path = file_of(f"The option {option}", name)
    return str(path), path.stat().st_mtime_ns


@functools.lru_cache(maxsize=16)
def _context(
    ca_file: Stamped, cert: Stamped, key: Stamped, insecure: bool
) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file[0] if ca_file else None)
        if cert is not None:
            # For a key that has a password, OpenSSL would ask for it at the terminal
            # and wait. An empty one is given, so that this is an error instead.
            context.load_cert_chain(cert[0], key[0] if key else None, lambda: b"")
    except OSError as error:
        names = ", ".join(repr(one[0]) for one in (ca_file, cert, key) if one)
        reason = f"No certificates can be read from {names}: {error}"
        raise ConfigurationError(reason) from error
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def broken(remote: Remote, error: BaseException) -> tuple[str, bool] | None:
    """Say how a connection has failed, and whether it may go well a moment later.

    ``None`` for what is no error of a connection.
    """
    limits, words = remote.timeouts, getattr(error, "strerror", None) or error
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {error.verify_message}", False
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            # It ended by itself, rather than in a disagreement.
            return f"the TLS connection broke: {words}", True
        case ssl.SSLError():
            return f"no TLS connection: {words}", False
        case socket.gaierror():
            return f"the host is not known: {words}", True
        case UnicodeError():
            return f"its host is no name: {words}", False
        case TimeoutError():
            within = f"no answer in {limits.connect:g} s"
            return f"{within}, or no byte in {limits.idle:g} s", True
        case EOFError():
            return "the server has hung up", True
        case ConnectionRefusedError():
            return f"no connection: {words}", True
        case ConnectionError():
            return f"the connection fails: {words}", True
        case OSError() if error.errno in _NO_WAY:
            return f"there is no way to the server: {words}", True
    return None
