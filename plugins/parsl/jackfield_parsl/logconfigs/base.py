"""The base of what is logged."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable


class LogConfig:
    """Begins to log when a kernel starts; one of the user's own may be derived."""

    def __init__(self) -> None:
        self.uuid: uuid.UUID = uuid.uuid4()

    def initialize_logging(
        self, *, log_dir: str | os.PathLike[str], log_name: str
    ) -> Callable[[], None]:
        """Begin to log; return what ends it."""
        raise NotImplementedError
