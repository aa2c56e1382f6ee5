"""A configuration to choose by name, in the form of ``jackfield.toml``."""

from __future__ import annotations

from typing import Any

NEWEST_FIRST: dict[str, Any] = {
    "retries": 1,
    "executors": {"main": {"plugin": "newest-first"}},
}
