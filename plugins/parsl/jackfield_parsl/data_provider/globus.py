"""Files that Globus moves; refused when the kernel starts."""

from __future__ import annotations

from typing import Any

from jackfield_parsl.data_provider.staging import Staging


class GlobusStaging(Staging):
    """No provider of Jackfield's; a plugin with ``jackfield_stage_in`` can be one."""

    def __init__(self, *values: Any, **options: Any) -> None:
        self.values: tuple[Any, ...] = values
        self.options: dict[str, Any] = options
