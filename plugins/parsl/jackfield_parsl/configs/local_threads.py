"""Two threads."""

from __future__ import annotations

from jackfield_parsl.config import Config
from jackfield_parsl.executors.threads import ThreadPoolExecutor


def fresh_config() -> Config:
    """Make the configuration once more."""
    return Config(executors=[ThreadPoolExecutor()])


config: Config = fresh_config()
