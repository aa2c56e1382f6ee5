"""Files of FTP servers."""

from __future__ import annotations

from jackfield_parsl.data_provider.staging import Known


class FTPSeparateTaskStaging(Known):
    """The kernel sees to them."""


class FTPInTaskStaging(Known):
    """The task moves them."""

    in_task_schemes: tuple[str, ...] = ("ftp", "ftps")
