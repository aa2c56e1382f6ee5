"""Files on HTTP and HTTPS servers: GET, HEAD, PUT, and indexes as directories.

Plugin names: ``http`` and ``https``. Options: see ``HttpOptions``. Credentials:
``token`` (sent as a bearer's), or ``user`` and ``password``.
"""

from __future__ import annotations

from typing import Final

from jackfield import ConfigurationError, Remote
from jackfield_staging._core_files import Place
from jackfield_staging._core_hooks import Provider
from jackfield_staging._core_trust import warn_insecure
from jackfield_staging._http_options import read_options

SCHEMES: Final = frozenset({"http", "https"})


def reach(remote: Remote) -> Place:
    """Say how to reach a URL. One filesystem serves all: it keeps no secrets."""
    options = read_options(remote)
    if options.insecure and remote.scheme == "https":
        warn_insecure(remote, "https: insecure = true")
    try:
        from jackfield_staging._http_files import HTTPFiles
        from jackfield_staging._http_trail import Trail
    except ImportError as error:
        raise ConfigurationError(
            f"http and https need aiohttp: pip install 'jackfield[http]' ({error})"
        ) from error
    return Place("http", Trail(remote, options), HTTPFiles)


provider: Final = Provider(SCHEMES.__contains__, reach)
