"""Files of web servers."""

from __future__ import annotations

from jackfield_parsl.data_provider.staging import Known


class HTTPSeparateTaskStaging(Known):
    """The kernel sees to them."""


class HTTPInTaskStaging(Known):
    """The task moves them."""

    in_task_schemes: tuple[str, ...] = ("http", "https")
