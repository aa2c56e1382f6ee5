"""Configuration: what there is to set, what may be set, and who is asked for it.

``model`` has the keys, ``check`` what their values may be, ``finding`` what a plugin is
asked that finds a configuration, and ``shown`` what people may see of one.
"""

from __future__ import annotations

from jackfield.config.check import checked
from jackfield.config.finding import Request, Resolved, make_request, set_default_source
from jackfield.config.model import Config

__all__ = [
    "Config",
    "Request",
    "Resolved",
    "checked",
    "make_request",
    "set_default_source",
]
