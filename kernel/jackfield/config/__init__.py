"""Configuration: what there is to set, and where it comes from.

``model`` has the keys, ``check`` what their values may be, ``sources`` reads files,
profiles and the environment, ``merge`` lays them over each other, and
``resolution`` puts it together.
"""

from __future__ import annotations

from jackfield.config.check import checked_executors
from jackfield.config.model import Config
from jackfield.config.resolution import Resolved, resolve, set_default_source

__all__ = ["Config", "Resolved", "checked_executors", "resolve", "set_default_source"]
