"""Objects in S3 and in stores that speak like it: ``s3://bucket/key``.

A key is written in a URL as it is, but for ``%``, ``?``, ``#``, ``*`` and control
characters, which are written ``%25``, ``%3F``, ``%23``, ``%2A`` and so on; anything
else may be. ``?versionId=...`` names one version of an object to stage in.

Credentials are those named in the configuration (``key``, ``secret`` and perhaps
``token``), else the URL's ``key:secret@``, else what botocore finds: the environment,
``~/.aws``, the machine's role. Options: see ``S3Options``.
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
        from jackfield_staging import _s3_files
    except ImportError as error:
        raise ConfigurationError(
            "s3: URLs need s3fs: pip install 'jackfield[s3]'"
        ) from error
    return _s3_files.reach(remote)


JACKFIELD_SHOWN = (
    "endpoint_url",
    "region",
    "addressing_style",
    "ca_file",
    "storage_class",
    "part_size",
)

provider: Final = Provider("s3".__eq__, reach)
