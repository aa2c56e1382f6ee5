"""Files in archives."""

from __future__ import annotations

from jackfield_parsl.data_provider.staging import Known


class ZipFileStaging(Known):
    """The kernel sees to them."""
