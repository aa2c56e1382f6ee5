"""Files on HTTP and HTTPS servers: GET, HEAD, PUT, and indexes as directories.

Plugin names: ``http`` and ``https``. Options: see ``HttpOptions``. Credentials:
``token`` (sent as a bearer's), or ``user`` and ``password``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jackfield import ConfigurationError, Remote
from jackfield_staging._core_hooks import Provider

if TYPE_CHECKING:
    from jackfield_staging._core_files import Place


def reach(remote: Remote) -> Place:
    """Say how to reach a URL."""
    try:
        from jackfield_staging import _http_files
    except ImportError as error:
        raise ConfigurationError(
            f"http and https need aiohttp: pip install 'jackfield[http]' ({error})"
        ) from error
    return _http_files.reach(remote)


JACKFIELD_SHOWN = ("max_redirects", "ca_file", "client_cert", "client_key")

provider: Final = Provider({"http", "https"}.__contains__, reach)
