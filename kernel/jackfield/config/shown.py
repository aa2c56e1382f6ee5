"""A configuration as people may see it: key to value, without secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jackfield.config.check import spelled
from jackfield.config.merge import leaves
from jackfield.config.redact import redacted

if TYPE_CHECKING:
    from jackfield.config.model import Config


def shown(config: Config) -> dict[str, object]:
    """Return each value under its key as files write it, ``"executors.cpu.workers"``.

    What may be a secret is replaced by asterisks.
    """
    return {spelled(key): redacted(key, value) for key, value in leaves(config)}
