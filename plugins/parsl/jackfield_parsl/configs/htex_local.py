"""As many processes as there are cores."""

from __future__ import annotations

from jackfield_parsl.config import Config
from jackfield_parsl.executors import HighThroughputExecutor


def fresh_config() -> Config:
    """Make the configuration once more."""
    return Config(executors=[HighThroughputExecutor(label="htex_local")])


config: Config = fresh_config()
