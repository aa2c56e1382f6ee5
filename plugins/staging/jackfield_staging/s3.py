"""Objects in S3 and in stores that speak like it: ``s3://bucket/key``.

A key is written in a URL as it is, but for ``%``, ``?``, ``#``, ``*`` and control
characters, which are written ``%25``, ``%3F``, ``%23``, ``%2A`` and so on; anything
else may be. ``?versionId=...`` names one version of an object to stage in.

Credentials are those named in the configuration (``key``, ``secret`` and perhaps
``token``), else the URL's ``key:secret@``, else what botocore finds: the environment,
``~/.aws``, the machine's role. Options: see ``S3Options``.
"""

from __future__ import annotations

from typing import Final

from jackfield import ConfigurationError, Remote
from jackfield_staging._core_files import Place
from jackfield_staging._core_hooks import Provider
from jackfield_staging._core_trust import warn_insecure
from jackfield_staging._s3_address import account_of, target_of


def reach(remote: Remote) -> Place:
    """Say how to reach a URL, and by which account."""
    target, account = target_of(remote), account_of(remote)
    if not account.options.verify:
        warn_insecure(remote, "s3: verify = false")
    try:
        from jackfield_staging._s3_files import S3Files
    except ImportError as error:
        raise ConfigurationError(
            "s3: URLs need s3fs: pip install 'jackfield[s3]'"
        ) from error
    return Place(account, target, lambda: S3Files(account))


provider: Final = Provider("s3".__eq__, reach)
