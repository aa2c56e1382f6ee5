"""Files of every scheme that an installed filesystem of fsspec serves.

``pip install gcsfs`` is all that ``gs://bucket/key`` takes; likewise ``adlfs`` for
``az:``, ``paramiko`` for ``sftp:`` and so on. Paths in URLs are decoded.

The table ``[staging.SCHEME]`` and the credentials go to the filesystem's constructor;
those of SFTP go to paramiko's ``connect``, those of WebDAV to httpx.

Outputs are sent under another name and renamed over SFTP and WebDAV; other filesystems
are trusted to show a file when it is whole, as object stores do. Whatever reaches this
machine's own files is refused: a URL may come from anybody.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from fsspec.registry import get_filesystem_class, known_implementations, registry

from jackfield import ConfigurationError, Remote, TransferError
from jackfield_staging._any_files import Async, Blocking, Memory, WebDAVFiles, Wrapped
from jackfield_staging._core_files import Place
from jackfield_staging._core_hooks import Provider
from jackfield_staging._core_trust import file_of, login_of, warn_insecure

# Schemes that have a plugin of their own.
ELSEWHERE: Final = {"file", "ftp", "ftps", "http", "https", "s3"}

# Local files by other names, and filesystems that wrap others.
REFUSED: Final = {
    *("arrow", "async_wrapper", "asynclocal", "asyncwrapper", "blockcache", "cached"),
    *("data", "dir", "dvc", "filecache", "generic", "git", "libarchive", "local"),
    *("reference", "simplecache", "tar", "zip"),
}
CHAINED: Final = r"(?i)::[a-z][a-z0-9+.-]*://|^[a-z][a-z0-9+.-]*::"

WEBDAV: Final = {"dav", "webdav"}
SFTP: Final = {"sftp", "ssh"}


def reach(remote: Remote) -> Place:
    """Say how to reach a URL, and by which filesystem.

    Raises that the URL is a chain of filesystems, or reaches local files.
    """
    if re.search(CHAINED, remote.url):
        raise TransferError(str(remote), "chains of filesystems are not staged")
    scheme = remote.scheme
    kind = _class(scheme)
    if getattr(kind, "local_file", False):
        raise TransferError(str(remote), "it would reach local files")
    files: type[Wrapped] = Async if kind.async_impl else Blocking
    if scheme in WEBDAV:
        files, arguments = WebDAVFiles, _webdav(remote)
        path = urlsplit(remote.url).path.strip("/")  # it sends what it is given
    else:
        named = kind._get_kwargs_from_urls(remote.url)
        path = _path(remote, kind)
        options = remote.options
        if scheme in SFTP:
            from jackfield_staging._any_sftp import SFTPFiles, VerifyingSFTP

            files, kind, options = SFTPFiles, VerifyingSFTP, _sftp(remote)
        elif scheme == "memory":
            files = Memory
        arguments = {**named, **options, **_login(remote)}
    key = (scheme, kind, repr(sorted(arguments.items())))
    return Place(key, path, lambda: files(scheme, kind, arguments))


def serves(scheme: str) -> bool:
    """Look the scheme up in fsspec's registry, which imports no implementation."""
    if scheme in ELSEWHERE or scheme in REFUSED:
        return False
    return scheme in known_implementations or scheme in registry or scheme in WEBDAV


def _path(remote: Remote, kind: Any) -> str:
    try:
        return unquote(str(kind._strip_protocol(remote.url)), errors="strict")
    except UnicodeDecodeError as error:
        reason = "its name is no UTF-8, as those of fsspec's filesystems have to be"
        raise TransferError(str(remote), reason) from error


def _class(scheme: str) -> Any:
    try:
        return get_filesystem_class("webdav" if scheme in WEBDAV else scheme)
    except (ImportError, ValueError) as error:
        raise ConfigurationError(
            f"{scheme}: URLs need a package that is not installed: {error}"
        ) from error


def _login(remote: Remote) -> dict[str, Any]:
    """Return named credentials, else the URL's, decoded as fsspec would not."""
    if remote.credentials:
        called = {"user": "username"}  # by most implementations
        return {called.get(name, name): v for name, v in remote.credentials.items()}
    login = zip(("username", "password"), login_of(remote) or (), strict=False)
    return {name: value for name, value in login if value}


def _webdav(remote: Remote) -> dict[str, Any]:
    """Return what webdav4's client is made with: a base URL and httpx's options."""
    import httpx

    options, parts = dict(remote.options), urlsplit(remote.url)
    _ = parts.port  # a ValueError if that is no number
    if options.get("verify") is False:
        warn_insecure(remote, f"{remote.scheme}: verify = false")
    scheme = "https" if options.pop("tls", True) else "http"
    login = _login(remote)
    if "username" in login:
        options["auth"] = login.pop("username"), login.pop("password", "")
    return {
        "base_url": f"{scheme}://{parts.netloc.rpartition('@')[2]}",
        "timeout": httpx.Timeout(remote.timeouts.idle, connect=remote.timeouts.connect),
        "retry": False,
        "headers": {"Accept-Encoding": "identity"},
        **options,
        **login,
    }


def _sftp(remote: Remote) -> dict[str, Any]:
    """Return what paramiko connects with; ``key_file`` is its ``key_filename``."""
    options = dict(remote.options)
    if options.get("insecure_host_keys"):
        warn_insecure(remote, f"{remote.scheme}: insecure_host_keys = true")
    if "user" in options:
        options["username"] = options.pop("user")
    for name, called in (("key_file", "key_filename"), ("known_hosts", "known_hosts")):
        if name in options:
            option = f"staging.{remote.scheme}.{name}"
            options[called] = str(file_of(option, options.pop(name)))
    return {**options, "waits": remote.timeouts}


provider: Final = Provider(serves, reach)
